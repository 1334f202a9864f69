#!/usr/bin/env python3
"""The daemon as its users meet it: the same answers as the command line, problems, stopping."""
import base64
import contextlib
import json
import os
import select
import signal
import socket
import threading
import time

import serving
from serving import Server
from support import Imago, main

home = serving.library()
server = Server(home, "-v")


def same(served, printed):
    """Equal in all but the times."""
    for answer in (served, printed):
        answer.pop("took_ms")
    assert served == printed, (served, printed)


def cli(*args):
    return json.loads(home.run("search", "--json", *args).stdout)


def answers_are_those_of_the_command_line():
    for query, more in (("red car", ()), ("red -night", ("-k", "5")), ("type:png", ("-k", "3")),
                        ("beach path:d0/*", ()), ("@#3 ^0.5 red", ("--combine", "any"))):
        params = {"q": query}
        for name, value in zip(more[::2], more[1::2]):
            params[name.strip("-")] = value
        served = server.ask("/v1/search?" + serving.urllib.parse.urlencode(params))
        assert served.status == 200, served.body
        same(served.json, cli(query, *more))
    body = {"parts": [{"text": "red"}, {"image": {"id": 3}, "weight": 0.5}], "k": 7}
    printed = json.loads(home.run("search", "--json", "--query-json", "-",
                                  input=json.dumps(body).encode()).stdout)
    same(server.ask("/v1/search", body).json, printed)


def many_at_once_are_answered_as_one_alone():
    texts = [f"a picture of thing number {i}" for i in range(40)]
    alone = {text: cli(text) for text in texts[::8]}
    answers = {}

    def ask(text):
        answers[text] = server.ask("/v1/search", {"parts": [{"text": text}]}).json

    threads = [threading.Thread(target=ask, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == len(texts)
    for text, printed in alone.items():
        hits = answers[text]["hits"]
        assert hits == printed["hits"], text


def short_searches_do_not_wait_for_all_the_long_ones():
    """One call of the library takes few long requests; a short one that comes behind them goes along."""
    long = json.dumps({"queries": [{"parts": [{"text": f"thing number {i}"}]} for i in range(300)]}).encode()
    request = (b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n" % len(long)) + long
    socks = [server.connect(120) for _ in range(30)]
    for sock in socks:
        sock.sendall(request)
    assert server.ask("/v1/search?q=red").status == 200
    answered = len(select.select(socks, [], [], 0)[0])
    for sock in socks:
        sock.close()
    assert answered <= 20, answered  # all of them, were they one call


def a_failing_search_stops_no_other():
    good = {"parts": [{"text": "red"}]}
    several = server.ask("/v1/search", {"queries": [good, {"parts": [{"image": {"id": 4711}}]}, good]})
    assert several.status == 200, several.body
    answers = several.json["answers"]
    assert answers[0]["hits"] == answers[2]["hits"] and "hits" in answers[0]
    assert answers[1]["error"]["code"] == "item_not_found", answers[1]
    server.ask("/v1/search", {"parts": [{"image": {"id": 4711}}]}).problem(404, "item_not_found")


def pictures_come_as_data_or_from_the_librarys_folders():
    path = os.path.join(home.pictures, "d0", "00.png")
    item = server.ask("/v1/search", {"parts": [{"image": {"path": path}}], "k": 1}).json["hits"][0]
    assert item["path"] == path and item["cosine"] > 0.9999
    with open(path, "rb") as file:
        data = base64.b64encode(file.read()).decode()
    for form in (data, "data:image/png;base64," + data):
        answer = server.ask("/v1/search", {"parts": [{"image": {"data": form}}], "k": 1})
        assert answer.json["hits"][0]["id"] == item["id"], answer.body
    secret = os.path.join(home.base, "secret.png")
    with open(secret, "wb") as file:
        file.write(serving.sys.modules["support"].png(99))
    os.symlink(secret, os.path.join(home.pictures, "link.png"))
    for wrong in (secret, "/etc/passwd", "relative.png", home.pictures + "/../secret.png",
                  os.path.join(home.pictures, "link.png"), home.pictures,
                  "/proc/self/environ", path.replace("/d0/", "//d0/")):
        for ask in (lambda: server.ask("/v1/search", {"parts": [{"image": {"path": wrong}}]}),
                    lambda: server.ask("/v1/search?" + serving.urllib.parse.urlencode(
                        {"q": f'@"{wrong}"'}))):
            ask().problem(403, "path_refused", ("no folder",))
    server.ask("/v1/search", {"parts": [{"image": {"path": home.pictures + "/none.png"}}]}).problem(404)
    server.ask("/v1/search?q=%40-").problem(400)
    os.unlink(os.path.join(home.pictures, "link.png"))


def items_and_library_are_what_show_and_status_print():
    shown = json.loads(home.run("show", "--json", "id:5").stdout)
    assert server.ask("/v1/items/5").json == shown
    assert server.ask("/v1/library").json["items"] == home.status()["items"]
    server.ask("/v1/items/4711").problem(404, "item_not_found")
    for wrong in ("1e3", "+1", "%201", str(2**64), "0", "-1", "5/"):
        answer = server.ask("/v1/items/" + wrong)
        assert answer.status in (400, 404), (wrong, answer.status)


def parameters_are_named_when_wrong():
    for query, name in (("q=red&k=0", "k"), ("q=red&k=10001", "k"), ("q=red&k=x", "k"),
                        ("q=red&offset=-1", "offset"), ("q=red&zoom=1", "zoom"), ("k=3", "q"),
                        ("q=red&mode=slow", "mode"), ("q=a&q=b", "q"), ("q=red&min_score=x", "min_score"),
                        ("q=red&order=up", "order")):
        server.ask("/v1/search?" + query).problem(400, "http_parameter", (f"'{name}'",))
    for query in ("q=%", "q=%4", "q=%zz", "q=a%00b", "q=%ff"):
        server.ask("/v1/search?" + query).problem(400, "http_parameter")
    server.ask("/v1/search?q=sunst:red").problem(400)
    assert server.ask("/v1/search?q=%C3%BCber+a%2Bb").json["query"] == "\u00fcber a+b"


def problems_name_their_field_and_file():
    for ask, field in (("/v1/search?q=red&k=0", "k"), ("/v1/search?q=red&zoom=1", "zoom"), ("/v1/search", "q"),
                       ("/v1/search?q=red&order=up", "order"), ("/v1/search?q=red&min_score=x", "min_score")):
        assert server.ask(ask).problem(400)["field"] == field, ask
    good = {"parts": [{"text": "red"}]}
    for body, field in (({"parts": [{"text": "a"}, {"text": "b", "weight": 0}]}, "parts[1].weight"),
                        ({"parts": [{"text": 5}]}, "parts[0].text"), ({"partz": 1}, "partz"),
                        ({"parts": [{"text": "a", "crop": 1}]}, "parts[0].crop"), ({"k": 3}, "parts"),
                        ({**good, "k": 0}, "k"), ({**good, "exact": True, "fast": True}, "exact"),
                        ({"queries": [good, {**good, "k": "x"}]}, "queries[1].k"),
                        ({"queries": [good, {**good, "offset": 3, "cursor": "x"}]}, "queries[1].cursor"),
                        ({**good, "filter": "nosuch:1"}, "filter"), ({"queries": 5}, "queries")):
        problem = server.ask("/v1/search", body).problem(400)
        assert problem.get("field") == field, (body, problem)
    path = os.path.join(home.pictures, "none.png")
    for wrong, status in ((path, 404), ("/etc/passwd", 403)):
        assert server.ask("/v1/search", {"parts": [{"image": {"path": wrong}}]}).problem(status)["file"] == wrong
    assert "field" not in server.ask("/v1/nothing").problem(404)


def health_and_metrics_count():
    health = server.ask("/health")
    assert health.json["status"] == "ready" and health.json["reasons"] == []
    before = server.ask("/metrics").body.decode()
    server.ask("/v1/search?q=red")
    server.ask("/v1/nothing")
    after = server.ask("/metrics").body.decode()

    def value(text, name):
        lines = [line for line in text.splitlines() if line.startswith(name + " ")]
        return float(lines[0].split()[-1]) if lines else 0.0

    for name in ('imago_requests_total{route="/v1/search",method="GET",status="200"}',
                 'imago_requests_total{route="none",method="",status="404"}',
                 'imago_request_seconds_count{route="/v1/search",method="GET"}'):
        assert value(after, name) == value(before, name) + 1, name
    assert value(after, "imago_index_rows") == 24 and value(after, "imago_ready") == 1
    for line in after.splitlines():
        assert line.startswith("#") or len(line.rsplit(" ", 1)) == 2, line


def the_description_fits_what_is_served():
    spec = server.ask("/openapi.json").json
    assert spec["openapi"] == "3.1.0"
    text = json.dumps(spec)
    for ref in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert ref in spec["components"]["schemas"], ref
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            good = {status for status in operation["responses"] if status.startswith("2")}
            assert operation["summary"] and good and "default" in operation["responses"], path
            assert ("requestBody" in operation) == (method in ("post", "patch")), path
            allowed = {name.upper() for name in operations}
            answer = server.ask(path.replace("{id}", "1"), method="PUT")
            answer.problem(405, "http_method")
            assert allowed <= set(answer.headers["allow"].replace(" ", "").split(",")), path
    schemas = spec["components"]["schemas"]
    answer = server.ask("/v1/search?q=red").json
    assert set(answer) <= set(schemas["Answer"]["properties"]) and set(answer) >= set(schemas["Answer"]["required"])
    assert set(answer["hits"][0]) >= set(schemas["Hit"]["required"])
    for operation in ("/v1/search?" + "&".join(f"{p['name']}=" for p in spec["paths"]["/v1/search"]["get"]["parameters"]),):
        problem = server.ask(operation).problem(400)
        assert "has no parameter" not in problem["detail"], problem


def head_is_get_without_the_body():
    for path in ("/health", "/v1/items/5", "/v1/nothing"):
        get = server.ask(path)
        head = server.ask(path, method="HEAD")
        assert head.status == get.status and head.body == b"", path
        assert head.headers["content-length"] == str(len(get.body)), path


def every_request_is_one_line_of_the_log_without_its_query():
    own = Server(home, "-v")
    own.ask("/v1/search?q=verysecretword")
    own.raw(b"GET /x\x1b[31m HTTP/1.1\r\nHost: localhost\r\n\r\n")
    own.raw(b"GET /%0a%0devil HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    own.stop()
    lines = [json.loads(line) for line in own.log.splitlines() if line.startswith(b"{")]
    assert [line["status"] for line in lines] == [200, 400, 404], lines
    assert b"verysecretword" not in own.log and b"\x1b" not in own.log


def a_log_that_nobody_reads_stops_nothing():
    """Lines beyond what the pipe holds are lost and counted."""
    own = Server(home, "-v")
    ask = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
    answers, closed = own.raw((ask + b"\r\n") * 999 + ask + b"Connection: close\r\n\r\n")
    assert closed and len(answers) == 1000
    text = own.ask("/metrics").body.decode()
    lost = int(text.split("\nimago_log_lines_lost_total ")[1].split()[0])
    assert 0 < lost < 1000, lost
    own.stop()
    lines = [line for line in own.log.splitlines() if line.startswith(b"{")]
    assert len(lines) in (1000 - lost, 1001 - lost) and all(json.loads(line)["status"] for line in lines), (len(lines), lost)


def a_stop_finishes_what_is_under_way():
    own = Server(home)
    # long texts, and more than are answered at once: the signal comes before the last answer on a quick machine too
    body = json.dumps({"queries": [{"parts": [{"text": f"thing {i} " * 30}], "k": 24} for i in range(600)]}).encode()
    request = (b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
               b"Content-Length: %d\r\n\r\n" % len(body)) + body
    with contextlib.ExitStack() as stack:
        idle, half = (stack.enter_context(own.connect()) for _ in range(2))
        busy = [stack.enter_context(own.connect(60)) for _ in range(6)]
        half.sendall(b"GET /health HT")
        for one in busy:
            one.sendall(request)
        time.sleep(0.15)
        own.process.send_signal(signal.SIGTERM)
        n_closed = 0
        for one in busy:
            answers, closed = serving.read_all(one)
            assert closed and answers[0].status == 200, answers
            assert len(answers[0].json["answers"]) == 600
            n_closed += answers[0].headers.get("connection") == "close"
        assert n_closed > 0  # answered behind the signal
        assert serving.read_all(idle) == ([], True) and serving.read_all(half) == ([], True)
    own.stop(told=True)


def it_starts_only_where_it_may():
    for address, name in (("0.0.0.0:0", "API key"), ("[::]:0", "API key"), ("192.0.2.1:80", "API key"),
                          ("127.0.0.1", "ADDRESS:PORT"), ("127.0.0.1:99999", "ADDRESS:PORT"),
                          ("nowhere.example:80", "ADDRESS:PORT"), ("::1:80", "ADDRESS:PORT"),
                          ("127.0.0.1:", "ADDRESS:PORT"), ("", "ADDRESS:PORT")):
        home.error("serve", "--listen", address, code=2, names=(name,))
    home.error("serve", "--listen", f"127.0.0.1:{server.port}", code=4, names=("another program",))
    nothing = Imago()
    nothing.error("serve", "--listen", "127.0.0.1:0", code=3)


def an_empty_library_is_degraded_until_it_is_filled():
    empty = Imago()
    empty.run("init")
    own = Server(empty)
    deadline = time.time() + 10
    while own.ask("/health").json["status"] == "loading" and time.time() < deadline:
        time.sleep(0.05)
    health = own.ask("/health")
    assert health.status == 503 and health.json["status"] == "degraded" and health.json["reasons"]
    own.ask("/v1/search?q=red").problem(404, "library_empty")
    empty.picture("a.png", 1)
    empty.add()
    while own.ask("/health").status != 200 and time.time() < deadline:
        time.sleep(0.1)
    assert own.ask("/health").json["status"] == "ready"
    assert len(own.ask("/v1/search?q=red").json["hits"]) == 1
    own.stop()


def the_model_is_packed_before_anybody_waits():
    """Removed, then damaged: the daemon makes the file and maps it; where it cannot, it serves without."""
    cache = os.path.join(home.env["XDG_CACHE_HOME"], "imago/packed")
    name, = (n for n in os.listdir(cache) if n != ".lock")
    path = os.path.join(cache, name)
    expected = server.ask("/v1/search?q=red").json["hits"]

    def serves(maps, **env):
        own = Server(home, env=env)
        deadline = time.time() + 10
        while own.ask("/health").status != 200 and time.time() < deadline:
            time.sleep(0.05)
        answer = own.ask("/v1/search?q=red").json
        assert answer["hits"] == expected and answer["warnings"] == [], answer
        with open(f"/proc/{own.process.pid}/maps", encoding="utf-8") as file:
            assert (name in file.read()) == maps
        own.stop()
    with open(path, "rb") as file:
        whole = file.read()
    os.remove(path)
    home.run("search", "red")
    assert not os.path.exists(path)  # a search makes none
    serves(True)
    with open(path, "r+b") as file:
        file.write(b"x")
    serves(True)
    with open(path, "rb") as file:
        assert file.read() == whole
    serves(False, XDG_CACHE_HOME="/proc/nowhere")


def a_packed_file_that_is_cut_is_made_anew():
    own = Server(home)
    expected = own.ask("/v1/search?q=red").json["hits"]
    cache = os.path.join(home.env["XDG_CACHE_HOME"], "imago/packed")
    path, = (os.path.join(cache, n) for n in os.listdir(cache) if n != ".lock")
    size = os.path.getsize(path)
    for kept in (0, 4096, size - 1):
        os.truncate(path, kept)
        answer = own.ask("/v1/search?q=red")
        assert answer.status == 200 and answer.json["hits"] == expected, answer.body
        assert os.path.getsize(path) == size
    own.stop()


def health_tells_when_encoding_stops_answering():
    """Infinity #609. One encoding takes 34 s, which is 4 s too long: degraded until it has ended."""
    own = Server(home, env={"IMAGO_FAULT_WAIT": "encode:1:34"})
    deadline = time.time() + 10
    while own.ask("/health").status != 200 and time.time() < deadline:
        time.sleep(0.05)
    assert own.ask("/health").json["status"] == "ready"
    start = time.time()
    answers = []
    thread = threading.Thread(target=lambda: answers.append(own.ask("/v1/search?q=stuck")))
    thread.start()
    seen = []
    while thread.is_alive():
        asked = time.time()
        health = own.ask("/health")
        assert time.time() - asked < 1
        if not seen or seen[-1][1] != health.json["status"]:
            seen.append((asked - start, health.json["status"], health.status, health.json["reasons"]))
        time.sleep(0.2)
    thread.join()
    assert answers[0].status == 200
    assert [(status, code) for _, status, code, _ in seen] == [("ready", 200), ("degraded", 503)], seen
    assert 29 < seen[1][0] < 33 and "30 s" in seen[1][3][0], seen
    assert own.ask("/health").json["status"] == "ready" and "imago_ready 1" in own.ask("/metrics").body.decode()
    own.stop()


def the_smallest_picture_stops_nothing():
    data = base64.b64encode(serving.sys.modules["support"].png(1, 1, 1)).decode()
    assert server.ask("/v1/embeddings", {"input": {"image": data}}).status == 200
    assert len(server.ask("/v1/search", {"parts": [{"image": {"data": data}}], "k": 3}).json["hits"]) == 3
    assert server.ask("/v1/search?q=red").status == 200 and server.ask("/health").json["status"] == "ready"


def the_daemon_stops_well():
    assert server.ask("/health").status == 200
    server.stop()
    with socket.socket() as sock:
        assert sock.connect_ex(("127.0.0.1", server.port)) != 0


main([answers_are_those_of_the_command_line, many_at_once_are_answered_as_one_alone,
      short_searches_do_not_wait_for_all_the_long_ones,
      a_failing_search_stops_no_other, pictures_come_as_data_or_from_the_librarys_folders,
      items_and_library_are_what_show_and_status_print, parameters_are_named_when_wrong,
      problems_name_their_field_and_file,
      health_and_metrics_count, the_description_fits_what_is_served, head_is_get_without_the_body,
      every_request_is_one_line_of_the_log_without_its_query, a_log_that_nobody_reads_stops_nothing,
      a_stop_finishes_what_is_under_way,
      it_starts_only_where_it_may, an_empty_library_is_degraded_until_it_is_filled,
      the_model_is_packed_before_anybody_waits, a_packed_file_that_is_cut_is_made_anew,
      the_smallest_picture_stops_nothing, health_tells_when_encoding_stops_answering,
      the_daemon_stops_well])
