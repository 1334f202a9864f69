#!/usr/bin/env python3
"""What /openapi.json promises holds, for all operations there are: thousands of random requests (T77), schemathesis, and
checks that would see a key that went missing."""
import collections
import copy
import http.client
import json
import os
import random
import subprocess
import sys
import tempfile

import contract
import serving
from serving import Server
from support import SANITIZED, Skipped, main

home = serving.library()
server = Server(home)
N_REQUESTS = 1500 if SANITIZED else 10000
CALIBRATED = {"relevance"}  # null until something else is there


def with_keys():
    """A library of its own whose keys may be made and revoked, and the header of one that may do all: the last of many,
    so that random numbers do not mean it."""
    own = serving.library()
    for i in range(41):
        key = json.loads(own.run("key", "add", "--scope", "admin" if i % 40 == 0 else "read", "--json").stdout)["key"]
    return Server(own), f"Bearer {key}"


def the_contract(of=None):
    return contract.Contract((of or server).ask("/openapi.json").json)


def ask(connection, method, target, kind, body, key=None):
    """Over a kept connection, made anew when the server ended it. Bytes go as they are."""
    connection.putrequest(method, target, skip_accept_encoding=True)
    if key is not None:
        connection.putheader("Authorization", key)
    if kind is not None:
        connection.putheader("Content-Type", kind)
        connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body if kind is not None else None)
    answer = connection.getresponse()
    if answer.getheader("Content-Type", "").startswith("text/event-stream"):
        connection.close()
        return answer.status, "text/event-stream", b""
    return answer.status, answer.getheader("Content-Type", ""), answer.read()


def every_operation_keeps_its_promises_to_random_requests():
    """T77"""
    rng = random.Random(77)
    own, key = with_keys()
    spec = the_contract(own)
    seen = collections.Counter()
    statuses = collections.Counter()
    connection = http.client.HTTPConnection("127.0.0.1", own.port, timeout=60)
    for i in range(N_REQUESTS):
        path, method, operation = spec.operations[i % len(spec.operations)]
        target, kind, body = spec.request(rng, operation, path)
        what = (method, target[:200], kind, body[:400])
        try:
            status, type_, answer = ask(connection, method, target, kind, body, key if rng.random() < 0.98 else None)
        except (ConnectionError, http.client.BadStatusLine) as error:  # a request that ended its connection
            connection.close()
            assert own.process.poll() is None, (what, error)
            continue
        except OSError as error:
            raise AssertionError((what, error)) from error
        assert status < 500 or status in (501, 503), (what, status, answer[:300])
        # an address that means another route is answered by that one: only its problems are ours to check
        here = operation if status < 400 else {"responses": {"default": operation["responses"]["default"]}}
        assert status not in (404, 405) or type_.startswith("application/problem+json"), (what, type_)
        faults = spec.answer_faults(here if status != 503 or path != "/health" else operation, status, type_, answer)
        assert not faults, (what, status, faults[:3], answer[:300])
        seen[method, path] += 1
        statuses[status] += 1
    assert statuses[200] > sum(statuses.values()) // 4, statuses  # most of it is about what routes do
    assert len(seen) == len(spec.operations), set((m, p) for p, m, _ in spec.operations) - set(seen)
    print(f"    {sum(seen.values())} answers of {len(seen)} operations: " +
          " ".join(f"{status}:{n}" for status, n in sorted(statuses.items())))
    assert own.ask("/health").status in (200, 503)
    own.stop()


EXAMPLES = [("GET", "/health", None), ("GET", "/openapi.json", None), ("GET", "/v1/library", None),
            ("GET", "/v1/search?q=red&k=3", "/v1/search"), ("GET", "/v1/items/5", "/v1/items/{id}"),
            ("POST", "/v1/search", {"parts": [{"text": "red"}, {"image": {"id": 3}}], "k": 2}),
            ("POST", "/v1/search", {"queries": [{"parts": [{"text": "red"}], "k": 1}, {"parts": [{"image": {"id": 999}}]}]}),
            ("POST", "/v1/embeddings", {"input": ["red"]}), ("GET", "/v1/models", None),
            ("POST", "/v1/rerank", {"query": "a", "documents": ["b"], "return_documents": True})]


def examples(spec):
    """(place, schema, answer) of each example that is answered."""
    for method, target, more in EXAMPLES:
        path = more if isinstance(more, str) else target
        operation = spec.spec["paths"][path][method.lower()]
        answer = server.ask(target, more if isinstance(more, dict) else None)
        assert answer.status == 200, (target, answer.body)
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        yield f"{method} {target}", schema, answer.json


def a_key_that_goes_missing_is_seen():
    """Each key of an answer is described, and its absence is a fault, except where it comes only at times."""
    at_times = {"path_b64", "jobs", "waiting", "running", "precision_why", "bf16_cosine", "bf16_speed", "int8_cosine", "int8_speed", "name", "text", "source", "crop", "must", "min_score", "document", "budget_of", "error", "hint",
                "field", "file", "image"}
    spec = the_contract()
    assert server.ask("/v1/search?q=red").status == 200  # behind the first look at model and index: ready
    n = 0
    for name, schema, answer in examples(spec):
        assert spec.faults(answer, schema) == [], name
        if name == "GET /openapi.json":
            continue
        for place in contract.holes(answer):
            if place[-1] in at_times or "fields" in place[:-1] or "document" in place[:-1] or "gps" in place[:-1]:
                continue
            assert spec.faults(contract.without(answer, place), schema), (name, place)
            n += 1
    assert n > 120, n
    problem = server.ask("/v1/nothing").json
    for key in problem:
        if key not in at_times:
            assert spec.faults(contract.without(problem, (key,)), {"$ref": "#/components/schemas/Problem"}), key


def the_check_itself_sees_faults():
    spec = the_contract()
    answer = server.ask("/v1/search?q=red").json
    for key, value in (("k", "5"), ("total", 1.5), ("hits", {}), ("took_ms", None), ("exact", 1), ("cursor", 3)):
        assert spec.faults(dict(answer, **{key: value}), {"$ref": "#/components/schemas/Answer"}), key
    wrong = copy.deepcopy(spec.spec)
    wrong["components"]["schemas"]["Answer"]["required"].append("gone")
    assert contract.Contract(wrong).faults(answer, {"$ref": "#/components/schemas/Answer"}) == ["$: 'gone' is missing"]
    try:
        spec.faults(1, {"multipleOf": 2})
    except AttributeError:
        return
    raise AssertionError("an unknown word of JSON Schema was passed over")


CONFIG = """
[checks]
# a body above a limit of its own is 413, not 400
negative_data_rejection.expected-statuses = ["4xx", "501", "503"]
# Not described by schemas, and so found wrong in what fits them: texts (the query language, base64, NUL), names of
# things that must be there, limits that count together (offset + k).
positive_data_acceptance.enabled = false
# after 20 wrong keys a minute the answer is 429, not 401 (tests/daemon/security.py asks each route)
ignored_auth.enabled = false
# a body where none belongs, and long addresses, are refused before the method is looked at
unsupported_method.enabled = true

[[operations]]
# to delete a job is to stop it: it stays, and says that it is stopped
include-path-regex = "^/v1/jobs/"
checks = { use_after_free.enabled = false }
"""


def schemathesis_finds_nothing():
    packages = os.environ.get("IMAGO_TEST_PYTHONPATH", "")
    env = dict(os.environ, PYTHONPATH=packages, PYTHONDONTWRITEBYTECODE="1")
    start = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"]
    if subprocess.run([sys.executable, "-c", "import schemathesis"], env=env, capture_output=True, check=False).returncode:
        raise Skipped("needs the Python package schemathesis (IMAGO_TEST_PYTHONPATH names its folder)")
    if SANITIZED:
        raise Skipped("is for the fast build")
    own, key = with_keys()
    with tempfile.TemporaryDirectory(prefix="imago-schema-") as folder:
        with open(os.path.join(folder, "schemathesis.toml"), "w", encoding="utf-8") as file:
            file.write(CONFIG)
        done = subprocess.run([*start, "--config-file", "schemathesis.toml", "run", own.url + "/openapi.json", "--seed", "1",
                               "--max-examples", "12", "--no-color", "--generation-database", "none",
                               "--request-timeout", "20", "-H", f"Authorization: {key}"],
                              env=env, cwd=folder, capture_output=True, timeout=300, check=False)
    text = done.stdout.decode(errors="replace")
    assert done.returncode == 0, "\n".join(line[:300] for line in text.splitlines())[-6000:] + done.stderr.decode()[-800:]
    print("    " + next((line.strip() for line in text.splitlines() if line.strip()[:1].isdigit() and "generated" in line), ""))
    assert own.process.poll() is None
    own.stop()


def the_daemon_stops_well():
    server.stop()


main([a_key_that_goes_missing_is_seen, the_check_itself_sees_faults,
      every_operation_keeps_its_promises_to_random_requests, schemathesis_finds_nothing, the_daemon_stops_well])
