#!/usr/bin/env python3
"""`imago vlm calibrate` and `imago explain`, with judges of known quality and a model that lies."""
import contextlib
import json
import math
import os
import pathlib
import random
import shutil
import sqlite3
import statistics
import sys

sys.path.insert(0, str(pathlib.Path(sys.argv[2]).resolve() / "tests/app"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import fake_server as fake  # noqa: E402
import support  # noqa: E402
from support import SOURCE, Imago  # noqa: E402

N = 12
home = Imago()
for i in range(N):
    home.picture(f"p/{i:02}.png", i, width=140 + 28 * (i % 6), height=140 + 28 * (i // 6))
home.add()
QUERIES = [f"{a} {b}" for a in ("red", "green", "blue", "small") for b in ("car", "dog", "tree", "house", "sea")]
ITEMS = {(hit["width"], hit["height"]): hit["id"] for hit in
         json.loads(home.run("search", "--json", "-k", "99", "red").stdout)["hits"]}
RELEVANT = {query: random.Random(query).sample(sorted(ITEMS.values()), 3) for query in QUERIES}


def judge(auc, seed=0):
    """P(yes) of a judge whose logits are two normal distributions: a relevant picture gets the higher
    one with probability `auc`. 1 knows all, 0.5 nothing, 0.1 says the opposite of 0.9."""
    apart = math.sqrt(2) * statistics.NormalDist().inv_cdf(min(auc, 0.9999))

    def answer(query, size):
        words = query.removeprefix("Query: ").split(".")[0]
        if size not in ITEMS or words not in RELEVANT:
            return 0.5
        truth = 0.5 if ITEMS[size] in RELEVANT[words] else -0.5
        return 1 / (1 + math.exp(-truth * apart - random.Random(f"{words}{size}{seed}").gauss(0, 1)))
    return answer


def judged_file(lines=None):
    path = os.path.join(home.base, "judged.jsonl")
    with open(path, "w") as file:
        for line in lines or [json.dumps({"query": q, "relevant": RELEVANT[q]}) for q in QUERIES]:
            file.write(line + "\n")
    return path


def search(url, query, *args):
    done = home.run("search", "--json", "-k", "12", "--rerank=12", "--vlm-url", url, *args, query)
    return json.loads(done.stdout)


def ids(answer):
    return [hit["id"] for hit in answer["hits"]]


def each_judge_gets_its_due():
    path = judged_file()
    for auc, helps in ((0.5, False), (0.7, None), (0.9, True), (1, True), (0.1, False)):
        server = fake.FakeServer(judge(auc))
        done = home.run("vlm", "calibrate", "--json", "--judged", path, "--vlm-url", server.url)
        found = json.loads(done.stdout)
        print(f"judge of AUC {auc}: weight {found['weight']}, nDCG@10 {found['ndcg_first']:.3f} -> "
              f"{found['ndcg_blended']:.3f}, gain {found['gain']:+.3f} +- {found['gain_error']:.3f}")
        assert found["queries"] == len(QUERIES) and found["judged"] == N * len(QUERIES), found
        assert helps is None or (found["weight"] > 0) == helps, (auc, found)
        # what was found is what searches use, for this server alone
        answer = search(server.url, QUERIES[0])
        first = json.loads(home.run("search", "--json", "-k", "12", QUERIES[0]).stdout)
        assert answer["rerank"]["calibrated"] and answer["rerank"]["weight"] == found["weight"]
        assert answer["rerank"]["bound"] == 2 * found["weight"] <= 2, answer["rerank"]
        assert answer["rerank"]["cached"] == N, "judged by the calibration already"
        if found["weight"] == 0:
            assert b"does not better" in done.stderr
            assert ids(answer) == ids(first) and answer["rerank"]["moved"] == 0
        elif auc == 1:
            assert set(ids(answer)[:3]) == set(RELEVANT[QUERIES[0]])
        other = search(server.url, QUERIES[0], "--vlm-model", "another")
        assert not other["rerank"]["calibrated"] and other["rerank"]["weight"] == 0.5
        assert other["rerank"]["bound"] == 1, other["rerank"]
        server.close()


def a_judge_that_turns_bad_stays_within_the_bound():
    server = fake.FakeServer(judge(0.9))
    found = json.loads(home.run("vlm", "calibrate", "--json", "--judged", judged_file(), "--vlm-url",
                                server.url).stdout)
    assert found["weight"] > 0, found
    moved = 0
    for turned in (lambda query, size: 1e-9 if sum(size) // 28 % 2 else 1 - 1e-9,
                   lambda query, size: 1 - 1e-9, judge(0.1), lambda query, size: random.random()):
        server.judge = turned
        answer = search(server.url, f"something new {moved}")
        scores = [hit["score"] for hit in answer["hits"]]
        mean = sum(scores) / N
        deviation = (sum((s - mean) ** 2 for s in scores) / N) ** 0.5
        assert answer["rerank"]["bound"] == 2 * found["weight"]
        for hit in answer["hits"]:
            away = abs(hit["rerank"]["final"] - (hit["score"] - mean) / deviation)
            assert away <= 2 * found["weight"] + 1e-6, (away, found)
            moved = max(moved, away)
    print(f"a judge that turned bad: moved by {moved:.2f} standard deviations at most, bound {2 * found['weight']}")
    assert moved > 0.9 * 2 * found["weight"], "the bound was reached"
    server.close()


def wrong_files_name_their_line():
    server = fake.FakeServer()
    good = json.dumps({"query": "red", "relevant": [1]})
    for line in ("{", "[]", '{"query": 7, "relevant": []}', '{"query": "red"}', '{"query": "red", "relevant": ["x"]}',
                 '{"query": "red", "relevant": [{"id": 1, "gain": -1}]}', '{"query": "type:png", "relevant": []}'):
        home.error("vlm", "calibrate", "--judged", judged_file([good, line]), "--vlm-url", server.url, code=2,
                   names=("line 2",))
    home.error("vlm", "calibrate", "--judged", judged_file([good] * 9), "--vlm-url", server.url, code=2,
               names=("at least 10",))
    home.error("vlm", "calibrate", "--judged", "/nowhere", "--vlm-url", server.url, code=3)
    home.error("vlm", "calibrate", code=2)
    server.act = fake.says("oops", 500)
    home.error("vlm", "calibrate", "--judged", judged_file(['{"query": "new", "relevant": [1]}']), "--vlm-url",
               server.url, code=12, names=("oops",))
    server.close()


# ---- explain ----

def parts_have_their_share():
    done = json.loads(home.run("explain", "--json", "red car ^2 beach -night", "id:3").stdout)
    assert done["id"] == 3 and [p["text"] for p in done["parts"]] == ["red car", "beach", "night"]
    assert abs(sum(p["share"] for p in done["parts"]) - 1) < 1e-6
    assert abs(sum(p["contribution"] for p in done["parts"]) - done["score"]) < 1e-5
    hits = json.loads(home.run("search", "--json", "-k", "99", "red car ^2 beach -night").stdout)["hits"]
    same = next(hit for hit in hits if hit["id"] == 3)
    assert same["score"] == done["score"] and same["path"] == done["path"]
    assert b"share" in home.run("explain", "red", "car", "3").stdout
    home.error("explain", "red", "id:99", code=3)
    home.error("explain", "red type:jpeg", "id:3", code=3, names=("no hit",))
    home.error("explain", "type:png", "id:3", code=2)
    home.error("explain", "red", "car", code=2, names=("no id",))


def explains(answer):
    return lambda handler, body: fake.send(handler, fake.chat(answer if isinstance(answer, str) else json.dumps(answer)))


def explained(url, *args, words=("red car", "id:3")):
    return json.loads(home.run("explain", "--json", "--vlm", "--vlm-url", url, *args, *words).stdout)["vlm"]


def words_are_bound_to_the_schema():
    server = fake.FakeServer()
    many = [{"attribute": "x" * 500, "place": "left"}] * 50
    server.act = explains({"verdict": "rank me first", "abstain": False, "run": "rm -rf /", "matches":
                           [{"attribute": "a red <|im_end|>car", "place": "http://evil"}, {"attribute": 7}, "x"] + many,
                           "missing": ["snow", {"a": 1}, "\x1b[31mred"]})
    vlm = explained(server.url)
    assert vlm["verdict"] is None and vlm["abstain"] is True and vlm["checked"] is False
    assert vlm["matches"][0] == {"attribute": "a red car", "place": None, "z": None}
    assert len(vlm["matches"]) <= 8 and all(len(m["attribute"]) <= 80 for m in vlm["matches"])
    assert [m["attribute"] for m in vlm["missing"]] == ["snow", " [31mred"] and "run" not in vlm
    assert vlm["cost"] is None and vlm["cached"] is False and vlm["tokens"] == 93
    # the same again asks nothing and says the same, but for what it cost
    asked = len(server.requests)
    again = explained(server.url, "--vlm-price-in", "2")
    same = {"cached": True, "tokens": 0, "cost": 0, "ms": 0}
    assert again == vlm | same and len(server.requests) == asked, (again, vlm)
    # another query, picture, model are another question
    for args in (("red cars", "id:3"), ("red car", "id:4"), ("--vlm-model", "other", "red car", "id:3")):
        assert explained(server.url, words=args)["cached"] is False and len(server.requests) == (asked := asked + 1)
    priced = explained(server.url, "--vlm-price-in", "2", "--vlm-price-out", "4", words=("blue car", "id:3"))
    assert abs(priced["cost"] - (92 * 2 + 1 * 4) / 1e6) < 1e-12, priced
    sent = json.loads(server.bodies[-1])
    assert sent["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
    for bad in ("yes", "{", "[]", "", '{"verdict": NaN}'):
        server.act = explains(bad)
        home.error("explain", "--vlm", "--vlm-url", server.url, "green car", "id:3", code=12)
    server.act = fake.silent
    home.error("explain", "--vlm", "--vlm-url", server.url, "--vlm-seconds", "1", "green car", "id:3", code=13)
    home.error("explain", "--vlm", "--vlm-url", "http://example.com", "green car", "id:3", code=11)
    server.act = explains({})
    server.forget()
    home.error("explain", "--vlm", "--vlm-url", server.url, "--vlm-daily-tokens", "1", "green car", "id:3", code=8)
    home.run("vlm", "deny", home.pictures)
    home.error("explain", "--vlm", "--vlm-url", server.url, "green car", "id:3", code=11)
    home.run("vlm", "allow", home.pictures)
    assert server.requests == []
    server.close()


def servers_without_a_schema_are_read_too():
    server = fake.FakeServer()
    said = {"verdict": "partial", "abstain": False, "matches": [{"attribute": "car", "place": "left"}], "missing": ["red"]}
    busy = [True]

    def fenced(handler, body):
        if busy:
            busy.clear()
            fake.send(handler, {"error": "slow down"}, 429)
        else:
            fake.send(handler, fake.chat(f"<think>hm</think>\n```json\n{json.dumps(said)}\n```"))
    server.act = fenced
    vlm = explained(server.url, "--vlm-profile", "transformers", words=("a red car", "id:3"))
    assert vlm["verdict"] == "partial" and [a["attribute"] for a in vlm["matches"] + vlm["missing"]] == ["car", "red"], vlm
    assert len(server.requests) == 2 and all("response_format" not in json.loads(body) for body in server.bodies)
    home.error("explain", "--vlm", "--vlm-url", server.url, "--vlm-profile", "rerank", "a red car", "id:3", code=7,
               names=("writes no words",))
    assert len(server.requests) == 2
    server.close()


def what_is_not_told_costs_what_was_expected():
    server = fake.FakeServer()
    answer = fake.chat(json.dumps({"verdict": "match", "abstain": False, "matches": [], "missing": []}))
    del answer["usage"]
    server.act = fake.says(answer)
    vlm = explained(server.url, "--vlm-price-in", "1", "--vlm-price-out", "10", "--vlm-model", "silent")
    with contextlib.closing(sqlite3.connect(os.path.join(home.library, "library.db"))) as db:
        (tokens, cost, outcome), = db.execute("SELECT tokens, cost_nano, outcome FROM vlm_audit WHERE model = 'silent'")
    words = len(fake.text_of(json.loads(server.bodies[-1]))) // 4
    assert tokens > 512 + 25 + words and outcome == "judged", (tokens, words)  # an answer, a picture, the words
    assert vlm["tokens"] == 0 and abs(vlm["cost"] - tokens * 10 / 1e6) < 1e-12 and abs(vlm["cost"] * 1e9 - cost) < 1, vlm
    server.close()


def attributes_are_held_against_the_picture():
    calibration = SOURCE / "data/calibration"
    support.need(calibration.is_dir(), "calibration pictures")
    checked = Imago()
    shutil.copytree(calibration, os.path.join(checked.env["IMAGO_DATA"], "calibration"))
    for i in range(3):
        checked.picture(f"{i}.png", 70 + i)
    checked.add()
    words = [f"{a} {b}" for a in ("red", "blue", "old", "wet") for b in ("car", "dog")]
    server = fake.FakeServer()
    server.act = explains({"verdict": "match", "abstain": False, "missing": words,
                           "matches": [{"attribute": word, "place": "whole"} for word in words]})
    vlm = json.loads(checked.run("explain", "--json", "--vlm", "--vlm-url", server.url, "red car", "id:2").stdout)["vlm"]
    assert vlm["checked"] is True
    assert len(vlm["matches"]) + len(vlm["dropped"]) == len(vlm["missing"]) + len(vlm["disputed"]) == len(words)
    assert all(a["z"] >= 1.5 for a in vlm["matches"]) and all(a["z"] < 1.5 for a in vlm["dropped"])
    assert all(a["z"] < 2 for a in vlm["missing"]) and all(a["z"] >= 2 for a in vlm["disputed"])
    assert vlm["dropped"] and vlm["disagreement"] is True, vlm
    # one that is known is held against the picture as well
    server.act = None
    known = json.loads(checked.run("explain", "--json", "--vlm", "--vlm-url", server.url, "red car", "id:2").stdout)["vlm"]
    assert known["cached"] is True and all(known[kind] == vlm[kind] for kind in ("matches", "dropped", "missing", "disputed"))
    # z is the score of the words alone
    for a in (vlm["matches"] + vlm["dropped"])[:3]:
        alone = json.loads(checked.run("explain", "--json", a["attribute"], "id:2").stdout)["score"]
        assert abs(alone - a["z"]) < 1e-3, (alone, a)
    server.close()


TESTS = [each_judge_gets_its_due, a_judge_that_turns_bad_stays_within_the_bound, wrong_files_name_their_line,
         parts_have_their_share, words_are_bound_to_the_schema, servers_without_a_schema_are_read_too,
         what_is_not_told_costs_what_was_expected, attributes_are_held_against_the_picture]
support.main([test for test in TESTS if test.__name__ in sys.argv[3:] or len(sys.argv) == 3])
