#!/usr/bin/env python3
"""The vision-language model behind the daemon: POST /v1/ask, rerank and explain, whole and as streams, against a server
that judges, answers, is slow, or fails; and searches that do not wait for it."""
import contextlib
import http.client
import json
import os
import pathlib
import socket
import sqlite3
import statistics
import sys
import threading
import time

import contract
import serving
from serving import Server
from support import SANITIZED, Imago, main

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "vlm"))
import fake_server as fake  # noqa: E402

N = 12
SLOW = 6 if SANITIZED else 1
home = Imago()
for i in range(N):
    home.picture(f"p/{i:02}.png", i, width=140 + 28 * (i % 6), height=140 + 28 * (i // 6))
home.add()
GOOD = {"abstain": False, "answer": "The second one shows a receipt.", "references": [2]}
QUESTION = "which of these shows a receipt?"
vlm = fake.FakeServer()
server = Server(home, "--vlm-url", vlm.url, "--vlm-profile", "llama-server")


def rows(sql):
    with contextlib.closing(sqlite3.connect(os.path.join(home.library, "library.db"), timeout=30)) as db, db:
        return db.execute(sql).fetchall()


def begin(act=None, judge=lambda query, size: 0.5):
    """Nothing is known, and the model's server does this from now on."""
    rows("DELETE FROM vlm_cache")
    rows("DELETE FROM vlm_audit")
    vlm.forget()
    vlm.act, vlm.judge = act, judge


def stream(path, body, on=None, timeout=30):
    """The events as they come: (seconds, name, data)."""
    connection = http.client.HTTPConnection("127.0.0.1", (on or server).port, timeout=timeout)
    start = time.monotonic()
    headers = {"Accept": "text/event-stream"}
    if body is not None:
        headers["Content-Type"] = "application/json"
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
    answer = connection.getresponse()
    if answer.status != 200 or answer.getheader("Content-Type") != "text/event-stream":
        raise AssertionError((answer.status, answer.getheader("Content-Type"), answer.read()[:300]))
    name, found = None, []
    for line in answer:
        line = line.decode().rstrip("\n")
        if line.startswith("event: "):
            name = line[7:]
        elif line.startswith("data: "):
            found.append((time.monotonic() - start, name, json.loads(line[6:])))
    connection.close()
    return found


def names(events):
    return [name for _, name, _ in events]


def a_question_is_answered_whole():
    begin(fake.tells(GOOD))
    answer = server.ask("/v1/ask", {"question": QUESTION, "k": 3})
    assert answer.status == 200, answer.body
    assert answer.json["status"] == "answered" and answer.json["answer"] == GOOD["answer"]
    assert answer.json["references"] == [answer.json["pictures"][1]] and len(answer.json["pictures"]) == 3
    assert "stream" not in json.loads(vlm.bodies[-1])
    assert rows("SELECT purpose, outcome FROM vlm_audit") == [("ask", "judged")]
    again = server.ask("/v1/ask", {"question": QUESTION, "k": 3}).json
    assert again["cached"] and len(vlm.judged) == 1
    told = json.loads(home.run("ask", "--json", "-k", "3", "--vlm-url", vlm.url, "--vlm-profile", "llama-server",
                               QUESTION).stdout)
    for key in ("question", "query", "model", "encoder", "status", "answer", "references", "pictures", "k"):
        assert told[key] == again[key], key  # the command line says the same, from the same kept answer
    assert len(vlm.judged) == 1


def a_question_may_bring_its_query():
    begin(fake.tells(GOOD))
    for query, more in (("path:*0[23].png", {}), ({"filter": "path:*0[23].png"}, {}), (None, {"filter": "path:*0[23].png"})):
        answer = server.ask("/v1/ask", {"question": QUESTION, "query": query, **more})
        assert sorted(one["path"][-6:] for one in answer.json["pictures"]) == ["02.png", "03.png"], (query, answer.body)
    assert server.ask("/v1/ask", {"question": QUESTION, "filter": "path:*nowhere*"}).json["status"] == "nothing"


def what_is_no_question_is_refused():
    begin(fake.tells(GOOD))
    bad = [{}, {"question": 3}, {"question": "a", "k": 0}, {"question": "a", "k": 17}, {"question": "a", "k": "5"}, [1],
           {"question": "a", "x": 1}, {"question": "a", "query": 3}, {"question": "a", "query": {"queries": []}},
           {"question": "a", "query": {"parts": [{"text": "a"}], "rerank": {}}}, {"question": "a", "query": {}},
           {"question": "a", "query": "(camera:x"}, {"question": "a", "query": {"parts": [{"text": "a"}]}, "filter": "tag:x"},
           {"question": "a\x00b"}, {"question": "a", "query": {"parts": [{"image": {"path": "/etc/passwd"}}]}}]
    for body in bad:
        status = server.ask("/v1/ask", body).status
        assert status in (400, 403), (status, body)
    assert server.ask("/v1/ask", {"question": " "}).status == 400
    assert server.ask("/v1/ask", {"question": "x" * 9000}).status == 413
    assert not vlm.judged


def words_come_as_they_are_written():
    said = {"abstain": False, "answer": "One two three four five six seven eight nine ten.", "references": [1, 9]}
    begin(fake.tells(said, pause=0.06, step=3))
    events = stream("/v1/ask", {"question": QUESTION, "k": 3})
    assert names(events)[:2] == ["hits", "pictures"] and names(events)[-1] == "answer", names(events)
    words = [(at, data["text"]) for at, name, data in events if name == "words"]
    assert len(words) > 5 and "".join(text for _, text in words) == said["answer"]
    assert words[-1][0] - words[0][0] > 0.4, "they did not come at once"
    hits, last = events[0][2], events[-1][2]
    assert len(hits["hits"]) == 3 and events[0][0] < words[0][0]
    assert [one["id"] for one in events[1][2]["pictures"]] == [hit["id"] for hit in hits["hits"]]
    assert last["answer"] == said["answer"] and last["dropped_references"] == 1 and last["tokens"] == 120


def rerank_comes_behind_the_hits():
    first = server.ask("/v1/search?q=red&k=12").json
    worst = first["hits"][-1]
    size = (worst["width"], worst["height"])
    body = {"parts": [{"text": "red"}], "k": 12, "rerank": {"n": 12}}
    for path, sent in (("/v1/search?q=red&k=12&rerank=12", None), ("/v1/search", body)):
        begin(judge=lambda query, seen: 0.3 if seen == (112, 112) else 0.97 if seen == size else 0.2)
        vlm.act = lambda handler, asked: (time.sleep(0.15), fake.send(handler, vlm.route(handler.path, asked)[1]))
        events = stream(path, sent)
        assert names(events) == ["hits", "rerank"], names(events)
        hits, final = events[0][2], events[1][2]
        assert [hit["id"] for hit in hits["hits"]] == [hit["id"] for hit in first["hits"]] and "rerank" not in hits
        assert events[1][0] - events[0][0] > 0.3, "the hits waited for the model"
        assert final["rerank"]["status"] == "done" and final["rerank"]["moved"] > 0
        moved = next(hit for hit in final["hits"] if hit["id"] == worst["id"])
        assert moved["rank"] < 12 and moved["rerank"]["from_rank"] == 12 and moved["rerank"]["p_yes"] > 0.9
    whole = server.ask("/v1/search", body).json
    assert [hit["id"] for hit in whole["hits"]] == [hit["id"] for hit in final["hits"]] and whole["rerank"]["cached"] == 12
    told = json.loads(home.run("search", "--json", "-k", "12", "--rerank=12", "--vlm-url", vlm.url, "--vlm-profile",
                               "llama-server", "red").stdout)
    assert [(hit["id"], hit["rerank"]["final"]) for hit in told["hits"]] == \
        [(hit["id"], hit["rerank"]["final"]) for hit in whole["hits"]]
    few = stream("/v1/search?q=red&k=12&rerank=4", None)
    assert len(few[0][2]["hits"]) == 12 and len(few[1][2]["hits"]) == 4  # the others stand where they stood
    plain = server.ask("/v1/search", dict(body, rerank=None), Accept="text/event-stream")
    assert plain.headers["content-type"] == "application/json"
    begin()
    head = server.ask("/v1/search?q=green&k=12&rerank=12", method="HEAD")
    assert head.status == 200 and head.body == b"" and not vlm.judged  # who wants no answer asks no model


def rerank_that_fails_leaves_the_order():
    first = [hit["id"] for hit in server.ask("/v1/search?q=red&k=12").json["hits"]]
    state = {"n": 0}

    def some(handler, body):
        state["n"] += 1
        if state["n"] % 2:
            fake.send(handler, vlm.route(handler.path, body)[1])
        else:
            fake.send(handler, {"error": {"message": "boom"}}, 500)
    for act, status in ((fake.says({"error": {"message": "boom"}}, 500), "failed"), (some, "partial"), (fake.huge, "failed")):
        begin(act)
        final = stream("/v1/search?q=red&k=12&rerank=12", None)[-1]
        assert final[1] == "rerank" and final[2]["rerank"]["status"] == status, final[2]["rerank"]
        assert [hit["id"] for hit in final[2]["hits"]] == first or status == "partial"
        assert final[2]["rerank"]["reason"]


def rerank_is_refused_where_it_says_nothing():
    begin()
    bad = [{"parts": [{"text": "a"}], "rerank": {"n": 0}}, {"filter": "width:1..", "rerank": {}},
           {"parts": [{"text": "a"}], "rerank": {}, "sort": "taken"}, {"parts": [{"text": "a"}], "rerank": {}, "offset": 3},
           {"queries": [{"parts": [{"text": "a"}], "rerank": {}}]}]
    for body in bad:
        server.ask("/v1/search", body).problem(400)
    for target in ("q=a&rerank=0", "q=a&rerank=101", "q=a&rerank=x", "q=a&rerank=5&sort=taken", "q=width:1..&rerank=5"):
        server.ask("/v1/search?" + target).problem(400)
    picture = {"parts": [{"image": {"id": 1}}], "rerank": {}}
    assert server.ask("/v1/search", picture).status == 400  # a model judges by words
    assert names(stream("/v1/search", picture)) == ["hits", "problem"]
    assert not vlm.judged


def an_explanation_comes_behind_its_parts():
    said = {"verdict": "match", "matches": [{"attribute": "<img src=x onerror=a>", "place": "left"}], "missing": [],
            "abstain": False}
    begin(fake.tells(said))
    plain = server.ask("/v1/items/3/explain", {"query": "red -night"}).json
    assert plain["id"] == 3 and len(plain["parts"]) == 2 and "vlm" not in plain and not vlm.judged
    told = json.loads(home.run("explain", "--json", "red -night", "id:3").stdout)
    assert {key: told[key] for key in plain} == plain, (told, plain)
    events = stream("/v1/items/3/explain", {"query": {"parts": [{"text": "red"}]}, "vlm": True})
    assert names(events) == ["parts", "explanation"]
    assert events[1][2]["vlm"]["verdict"] == "match" and events[1][2]["vlm"]["matches"][0]["attribute"] == "<img src=x onerror=a>"
    assert server.ask("/v1/items/3/explain", {"query": "red", "vlm": True}).json["vlm"]["verdict"] == "match"
    for body, status in (({}, 400), ({"query": 3}, 400), ({"query": "red", "vlm": 1}, 400), ({"query": "width:1.."}, 400),
                         ({"query": "red path:*nowhere*"}, 404)):
        assert server.ask("/v1/items/3/explain", body).status == status, body
    assert server.ask("/v1/items/999/explain", {"query": "red"}).status == 404


def each_key_is_described():
    """By /openapi.json; the absence of one is a fault, except where it comes only at times."""
    at_times = {"name", "text", "place", "rerank", "vlm"}
    spec = contract.Contract(server.ask("/openapi.json").json)
    said = {"verdict": "match", "matches": [{"attribute": "red", "place": "left"}], "missing": ["green"], "abstain": False}
    seen = set()
    for act, path, operation, body in (
            (None, "/v1/search", "/v1/search", {"parts": [{"text": "red"}], "k": 3, "rerank": {"n": 3}}),
            (fake.says({"error": {"message": "boom"}}, 500), "/v1/search", "/v1/search",
             {"parts": [{"text": "red"}], "k": 3, "rerank": {"n": 3}}),
            (fake.tells(said), "/v1/items/3/explain", "/v1/items/{id}/explain", {"query": "red -night", "vlm": True}),
            (fake.tells(GOOD), "/v1/ask", "/v1/ask", {"question": QUESTION, "k": 3}), (None, "/v1/vlm", "/v1/vlm", None)):
        begin(act)
        answer = server.ask(path, body)
        assert answer.status == 200, (path, answer.body)
        methods = spec.spec["paths"][operation]
        schema = methods["get" if body is None else "post"]["responses"]["200"]["content"]["application/json"]["schema"]
        assert spec.faults(answer.json, schema) == [], (path, spec.faults(answer.json, schema))
        for place in contract.holes(answer.json):
            seen.add(place[-1])
            if place[-1] not in at_times:
                assert spec.faults(contract.without(answer.json, place), schema), (path, place)
    assert seen >= {"bound", "no_list", "cost", "p_yes", "share", "z", "dropped_references", "judges"}, seen


def failures_are_problems_in_the_answer_or_the_stream():
    for act, status in ((fake.says({"error": "no"}, 500), 502), (fake.says("<html>"), 502), (fake.resets, 502),
                        (fake.says({"error": "no"}, 404), 502)):
        begin(act)
        server.ask("/v1/ask", {"question": QUESTION, "k": 1}).problem(status)
        events = stream("/v1/ask", {"question": QUESTION, "k": 1})
        assert names(events) == ["hits", "pictures", "problem"] and events[-1][2]["status"] == status, events[-1]
        assert set(events[-1][2]) >= {"type", "title", "detail", "code", "class", "request_id"}

    def half(handler, body):
        fake.begin_stream(handler)
        fake.event(handler, fake.delta('{"abstain": false, "answer": "Half'))
        time.sleep(0.2)
    begin(half)
    events = stream("/v1/ask", {"question": QUESTION, "k": 1})
    assert names(events) == ["hits", "pictures", "words", "problem"] and events[2][2]["text"] == "Half"


def searches_do_not_wait_for_the_model():
    """8 questions in flight at a slow server; plain searches take as long as before."""
    def latencies(n=60):
        taken = []
        for _ in range(n):
            start = time.monotonic()
            assert server.ask("/v1/search?q=red&k=5").status == 200
            taken.append(time.monotonic() - start)
        return taken
    latencies(10)
    before = latencies()
    let_go = threading.Event()
    begin(lambda handler, body: (let_go.wait(20), fake.tells(GOOD)(handler, body)))
    done = []
    asks = [threading.Thread(target=lambda i=i: done.append(server.ask("/v1/ask", {"question": f"{QUESTION} {i}"}).status))
            for i in range(8)]
    for ask in asks:
        ask.start()
    end = time.monotonic() + 10
    while len(vlm.judged) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    assert len(vlm.judged) == 4, len(vlm.judged)  # so many at once; the others wait for them
    during = latencies()
    assert not done and server.ask("/health").status == 200
    let_go.set()
    for ask in asks:
        ask.join(30)
    assert done == [200] * 8, done
    a, b = statistics.median(before) * 1000, statistics.median(during) * 1000
    print(f"    a search: median {a:.1f} ms, {b:.1f} ms beside 8 questions; worst {max(before) * 1000:.0f}, {max(during) * 1000:.0f}")
    assert max(during) < 5 * SLOW and b < 5 * a + 20 * SLOW, (a, b)


def who_goes_ends_the_asking():
    """A closed stream, and a closed connection that waited for a whole answer."""
    for accept in (b"Accept: text/event-stream\r\n", b""):
        seen = {"n": 0, "gone": None}
        over = threading.Event()

        def act(handler, body):
            fake.begin_stream(handler) if accept else None
            try:
                for _ in range(200):
                    handler.wfile.write(b": still thinking\n\n" if accept else b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
                                        if seen["n"] == 0 else b" ")
                    handler.wfile.flush()
                    seen["n"] += 1
                    time.sleep(0.05)
            except OSError:
                seen["gone"] = time.monotonic()
            over.set()
        begin(act)
        body = json.dumps({"question": QUESTION, "k": 2}).encode()
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=10)
        sock.sendall(b"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\n" + accept +
                     b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        end = time.monotonic() + 10
        while seen["n"] < 3 and time.monotonic() < end:
            time.sleep(0.02)
        assert seen["n"] >= 3
        left = time.monotonic()
        sock.close()
        assert over.wait(10) and seen["gone"] is not None, seen
        assert seen["gone"] - left < 3 * SLOW, seen["gone"] - left
        end = time.monotonic() + 10
        while rows("SELECT outcome FROM vlm_audit") != [("failed",)] and time.monotonic() < end:
            time.sleep(0.05)
        assert rows("SELECT outcome FROM vlm_audit") == [("failed",)]
    # those who go before their turn are never asked for
    let_go = threading.Event()
    begin(lambda handler, body: (let_go.wait(20), fake.tells(GOOD)(handler, body)))
    socks = []
    for i in range(8):
        sock = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        body = json.dumps({"question": f"q {i}"}).encode()
        sock.sendall(b"POST /v1/ask HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Content-Length: %d\r\n\r\n" % len(body) + body)
        socks.append(sock)
        time.sleep(0.1)
    end = time.monotonic() + 10
    while len(vlm.judged) < 4 and time.monotonic() < end:
        time.sleep(0.02)
    for sock in socks[4:]:
        sock.close()
    time.sleep(0.3)
    let_go.set()
    for sock in socks[:4]:
        data = sock.recv(65536)
        assert data.startswith(b"HTTP/1.1 200"), data[:200]
        sock.close()
    time.sleep(0.3)
    assert len(vlm.judged) == 4, len(vlm.judged)


def a_full_queue_says_so():
    let_go = threading.Event()
    begin(lambda handler, body: (let_go.wait(30), fake.tells(GOOD)(handler, body)))
    statuses = []
    asks = [threading.Thread(target=lambda i=i: statuses.append(server.ask("/v1/ask", {"question": f"full {i}", "k": 1}).status))
            for i in range(80)]
    for ask in asks:
        ask.start()
    end = time.monotonic() + 15
    while statuses.count(503) < 80 - 64 - 4 and time.monotonic() < end:
        time.sleep(0.05)
    early = list(statuses)
    let_go.set()
    for ask in asks:
        ask.join(60)
    # 4 are asked and 64 wait; those that were to be asked may not have left the queue yet
    assert set(early) == {503} and 80 - 64 - 4 <= len(early) <= 80 - 64, early
    assert statuses.count(200) == 80 - len(early), statuses


def the_page_learns_what_there_is():
    told = server.ask("/v1/vlm").json
    assert told == {"set": True, "model": "", "profile": "llama-server", "mode": "logprobs", "judges": True, "answers": True}
    assert vlm.url not in json.dumps(told)
    for options, judges, answers in (((), False, False), (("--vlm-url", vlm.url, "--vlm-profile", "rerank"), True, False)):
        other = Server(serving.library(3), *options)
        told = other.ask("/v1/vlm").json
        assert (told["set"], told["judges"], told["answers"]) == (bool(options), judges, answers), told
        if not options:
            other.ask("/v1/ask", {"question": "a"}).problem(400)
            other.ask("/v1/search", {"parts": [{"text": "a"}], "rerank": {}}).problem(400)
            other.ask("/v1/items/1/explain", {"query": "a", "vlm": True}).problem(400)
            assert other.ask("/v1/items/1/explain", {"query": "a"}).status == 200
        else:
            other.ask("/v1/ask", {"question": "a"}).problem(415)
        other.stop()
    # what `imago vlm probe` kept is used, unless it is forbidden
    own = serving.library(3)
    begin(judge=lambda query, size: 0.5)
    own.run("vlm", "probe", "--vlm-url", vlm.url)
    begin(fake.tells(GOOD))
    for options, known in (((), True), (("--no-vlm",), False)):
        other = Server(own, *options)
        assert other.ask("/v1/vlm").json["set"] is known
        assert other.ask("/v1/ask", {"question": QUESTION}).status == (200 if known else 400)
        other.stop()
    assert own.run("serve", "--no-vlm", "--vlm-url", vlm.url, code=2)


def what_the_models_server_refuses_is_not_the_clients_fault():
    own = serving.library(2)
    other = Server(own, "--vlm-url", vlm.url, "--vlm-profile", "llama-server")
    for status, code in ((401, "vlm_refused"), (403, "vlm_refused"), (404, "vlm_no_model")):
        begin(fake.says({"error": {"message": "no"}}, status))
        other.ask("/v1/ask", {"question": f"what is {status}?", "k": 1}).problem(502, code)
    other.stop()


def metrics_tell_what_went_to_the_model_today():
    begin(fake.tells(GOOD))
    own = serving.library(3)
    other = Server(own, "--vlm-url", vlm.url, "--vlm-profile", "llama-server", "--vlm-price-in", "2", "--vlm-price-out", "8")
    tokens = other.ask("/v1/ask", {"question": QUESTION, "k": 2}).json["tokens"]
    end, found = time.monotonic() + 30 * SLOW, {}
    while found.get("imago_vlm_sends_today") != 1 and time.monotonic() < end:  # it counts every ten seconds
        time.sleep(0.2)
        found = {line.split()[0]: float(line.split()[1]) for line in other.ask("/metrics").body.decode().splitlines()
                 if line.startswith("imago_vlm_")}
    assert found["imago_vlm_sends_today"] == 1 and found["imago_vlm_tokens_today"] == tokens, found
    assert abs(found["imago_vlm_cost_today"] - tokens * 2e-6) < 1e-9, found
    other.stop()


def a_key_and_a_ceiling_hold_for_the_daemon_too():
    begin(fake.tells(GOOD))
    own = serving.library(4)
    key = "vlm-secret-key-1234"
    other = Server(own, "-v", "--vlm-url", vlm.url, "--vlm-profile", "llama-server", "--vlm-daily-tokens", "2000",
                   env={"IMAGO_VLM_KEY": key})
    assert other.ask("/v1/ask", {"question": QUESTION, "k": 2}).status == 200
    assert f"Bearer {key}" in vlm.heads[-1]
    asked, i = len(vlm.judged), 0
    while other.ask("/v1/ask", {"question": f"again {i}", "k": 2}).status == 200:
        i += 1
        assert i < 100
    problem = other.ask("/v1/ask", {"question": "once more", "k": 2}).problem(429, "vlm_budget_spent")
    assert "2000" in problem["detail"] and len(vlm.judged) == asked + i  # T111
    said = other.ask("/metrics").body + other.ask("/v1/vlm").body + other.ask("/v1/library").body + json.dumps(problem).encode()
    other.stop()
    path = os.path.join(own.base, "vlm.key")  # the same from a file, which nobody else may read
    with open(path, "w", encoding="utf-8") as file:
        file.write(key + "\n")
    os.chmod(path, 0o644)
    assert b"may be read by others" in own.run("serve", "--vlm-key-file", path, code=11).stderr
    os.chmod(path, 0o600)
    third = Server(own, "-v", "--vlm-url", vlm.url, "--vlm-profile", "llama-server", "--vlm-model", "named", "--vlm-key-file", path)
    assert third.ask("/v1/ask", {"question": QUESTION, "k": 2}).status == 200
    assert f"Bearer {key}" in vlm.heads[-1] and json.loads(vlm.bodies[-1])["model"] == "named"
    third.stop()
    other.log += third.log
    with open(os.path.join(own.library, "library.db"), "rb") as file:
        said += other.log + file.read()
    assert key.encode() not in said  # T110


def the_daemon_stops_while_the_model_thinks():
    begin(fake.silent)
    own = serving.library(3)
    other = Server(own, "--vlm-url", vlm.url, "--vlm-profile", "llama-server")
    status = []
    ask = threading.Thread(target=lambda: status.append(other.ask("/v1/ask", {"question": QUESTION}).status))
    ask.start()
    end = time.monotonic() + 10
    while not vlm.judged and time.monotonic() < end:
        time.sleep(0.02)
    start = time.monotonic()
    other.stop()
    assert time.monotonic() - start < 8 * SLOW
    ask.join(10)
    assert status and status[0] >= 500, status


def the_daemon_stops_well():
    assert server.process.poll() is None
    server.stop()


main([a_question_is_answered_whole, a_question_may_bring_its_query, what_is_no_question_is_refused, words_come_as_they_are_written,
      rerank_comes_behind_the_hits, rerank_that_fails_leaves_the_order, rerank_is_refused_where_it_says_nothing,
      an_explanation_comes_behind_its_parts, each_key_is_described, failures_are_problems_in_the_answer_or_the_stream, searches_do_not_wait_for_the_model,
      who_goes_ends_the_asking, a_full_queue_says_so, the_page_learns_what_there_is,
      what_the_models_server_refuses_is_not_the_clients_fault, metrics_tell_what_went_to_the_model_today,
      a_key_and_a_ceiling_hold_for_the_daemon_too,
      the_daemon_stops_while_the_model_thinks, the_daemon_stops_well])
