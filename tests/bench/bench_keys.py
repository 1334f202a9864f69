#!/usr/bin/env python3
"""Whether answers to wrong API keys tell how much of a key was right (T79): timed requests with the
first letter of a key wrong against the last one wrong, in random order on one connection; prints
Welch's t of the times below the 95th percentile. Usage: bench_keys.py IMAGO SOURCE [REQUESTS]"""
import json
import math
import os
import random
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "daemon"))
REQUESTS = int(sys.argv[3]) if len(sys.argv) > 3 else 100000
import serving  # noqa: E402
from serving import Server  # noqa: E402

home = serving.library(3)
key = json.loads(home.run("key", "add", "--scope", "read", "--json").stdout)["key"]
server = Server(home)


def wrong(place):
    letters = list(key)
    letters[place] = "0" if letters[place] != "0" else "1"
    return (f"GET /v1/library HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {''.join(letters)}\r\n\r\n").encode()


requests = [wrong(len("imago_")), wrong(len(key) - 1)]
times = [[], []]
rng = random.Random(1)
with server.connect() as sock:
    for i in range(REQUESTS + 200):
        kind = rng.randrange(2)
        start = time.perf_counter_ns()
        sock.sendall(requests[kind])
        data = sock.recv(65536)
        took = time.perf_counter_ns() - start
        assert data.startswith(b"HTTP/1.1 4"), data[:40]
        if i >= 200:
            times[kind].append(took / 1000)
limit = sorted(times[0] + times[1])[int(len(times[0] + times[1]) * 0.95)]
first, last = ([value for value in side if value <= limit] for side in times)
t = (statistics.fmean(first) - statistics.fmean(last)) / math.sqrt(
    statistics.variance(first) / len(first) + statistics.variance(last) / len(last))
print(f"{REQUESTS} requests: first letter wrong {statistics.fmean(first):.2f} us, last letter wrong "
      f"{statistics.fmean(last):.2f} us, t = {t:.2f} (|t| < 4.5: nothing to be learned)")
server.stop()
sys.exit(abs(t) >= 4.5)
