#!/usr/bin/env python3
"""Plays llama-server as a program: takes its arguments, serves what fake_server.py serves with the key
of its file, and misbehaves as FAKE_LLAMA says. Each start is a line of FAKE_LLAMA_LOG."""
import json
import os
import pathlib
import signal
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import fake_server as fake  # noqa: E402

HOW = os.environ.get("FAKE_LLAMA", "good")
LOG = pathlib.Path(os.environ["FAKE_LLAMA_LOG"])


def value(name):
    return sys.argv[len(sys.argv) - 1 - sys.argv[::-1].index(name) + 1]  # the last one counts


starts = LOG.read_text().count("\n") if LOG.exists() else 0
with open(LOG, "a") as log:
    log.write(json.dumps({"pid": os.getpid(), "args": sys.argv[1:], "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
                          "environment": sorted(os.environ)}) + "\n")
signal.signal(signal.SIGTERM, signal.SIG_IGN if HOW == "stubborn" else lambda *_: os._exit(0))
print("0.00.001.002 I main: a llama-server that is played", flush=True)
if HOW == "exit":
    print("0.00.011.588 E gguf_init_from_reader: number of tensors is wrong\n"
          "0.00.011.589 E srv llama_server: exiting due to model loading error", file=sys.stderr, flush=True)
    sys.exit(1)
if HOW == "port" and starts == 0:
    print("couldn't bind HTTP server socket, hostname: 127.0.0.1", file=sys.stderr, flush=True)
    sys.exit(1)
KEY = pathlib.Path(value("--api-key-file")).read_text().strip()
assert len(KEY) == 64 and value("--host") == "127.0.0.1"


class Llama(fake.FakeServer):
    def answer(self, handler, data):
        if handler.path == "/health":
            ready = HOW != "never"
            fake.send(handler, {"status": "ok"} if ready else {"error": {"message": "Loading model"}},
                      200 if ready else 503)
        elif handler.headers.get("Authorization") != f"Bearer {KEY}":
            fake.send(handler, {"error": {"message": "Invalid API Key"}}, 401)
        else:
            super().answer(handler, data)


server = Llama(lambda query, size: 0.8, port=int(value("--port")))
if HOW.startswith("dies") and (HOW == "dies" or starts < int(HOW[4:])):
    deadline = time.time() + 30
    while not any("chat" in request for request in server.requests) and time.time() < deadline:
        time.sleep(0.02)  # it is ready once it has been probed
    time.sleep(0.5)
    print("0.09.000.000 E ggml: out of memory", file=sys.stderr, flush=True)
    os._exit(9)
if HOW == "chatty":
    while True:
        print("x" * 200, flush=True)
        time.sleep(0.0005)
threading.Event().wait()
