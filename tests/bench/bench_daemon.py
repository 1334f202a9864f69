#!/usr/bin/env python3
"""The daemon over loopback: bench_daemon.py PROGRAM [--folder DIR] [--items N] [--seconds S] [--wrk] [--mixed MINUTES]

A library of its own with the bundled model: the pictures of --folder (data/sample), and --items vectors (vectors.py, needs
NumPy) taken in by `imago import`. Asks for /health, for one search again and again ("same": its text is known) and for
searches of ever new words ("new"), from 1, 8 and 64 connections (one process of clients each 8). --wrk has wrk ask instead
(Debian's package of that name), which takes far less of the processors than clients in Python do.

--mixed then runs eight connections of searches, half of them new ones, while pictures are uploaded and deleted; every 10 s the
daemon's memory is read, every 20 s uploads pause and three searches are held against `imago search`, to the last digit. Prints
the slope of memory behind the second minute.

A JSON object a line. Clients share the machine with the daemon: compare ratios of one run."""
import argparse
import http.client
import json
import multiprocessing
import os
import pathlib
import random
import re
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import zlib

SOURCE = pathlib.Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--folder", default=str(SOURCE / "data/sample"))
    parser.add_argument("--items", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--wrk", action="store_true")
    parser.add_argument("--mixed", type=float, default=0, metavar="MINUTES")
    return parser.parse_args()


ARGS = arguments()
PROGRAM = os.path.abspath(ARGS.program)
SECONDS = ARGS.seconds


def request(kind, n):
    path = {"health": "/health", "same": "/v1/search?q=a+red+car&k=20",
            "new": f"/v1/search?q=a+red+car+number+{n}&k=20"}[kind]
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


def complete(data):
    head = data.find(b"\r\n\r\n")
    if head < 0:
        return False
    at = data.find(b"Content-Length: ") + 16
    return len(data) >= head + 4 + int(data[at:data.find(b"\r", at)])


def clients(port, kind, n, first, out, seconds=None):
    """n connections, each with one request under way."""
    waiting = selectors.DefaultSelector()
    times = []
    number = first
    end = time.perf_counter() + (seconds or SECONDS)
    state = {}
    for _ in range(n):
        sock = socket.create_connection(("127.0.0.1", port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        waiting.register(sock, selectors.EVENT_READ)
        state[sock] = [time.perf_counter(), b""]
        sock.sendall(request(kind, number))
        number += 1
    while time.perf_counter() < end:
        for key, _ in waiting.select(1):
            sock = key.fileobj
            entry = state[sock]
            entry[1] += sock.recv(1 << 20)
            if not complete(entry[1]):
                continue
            assert entry[1].startswith(b"HTTP/1.1 200"), entry[1][:200]
            now = time.perf_counter()
            times.append(now - entry[0])
            state[sock] = [time.perf_counter(), b""]
            sock.sendall(request(kind, number))
            number += 1
    out.put(times)


def ask_health(port):
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(request("health", 0))
        return int(sock.recv(4096).split()[1])


def measure(port, kind, connections, first):
    out = multiprocessing.Queue()
    parts = [min(8, connections - i) for i in range(0, connections, 8)]
    workers = [multiprocessing.Process(target=clients, args=(port, kind, n, first + 100000 * i, out))
               for i, n in enumerate(parts)]
    for worker in workers:
        worker.start()
    times = sorted(t for _ in workers for t in out.get(timeout=SECONDS + 30))
    for worker in workers:
        worker.join()
    print(json.dumps({"kind": kind, "connections": connections, "requests_per_s": round(len(times) / SECONDS),
                      "p50_ms": round(times[len(times) // 2] * 1000, 3),
                      "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 3)}), flush=True)


LUA = """
local n = %d
request = function()
  n = n + 1
  return wrk.format("GET", "%s" .. (%s and n or "") .. "%s")
end
"""


def measure_wrk(port, kind, connections, first, base):
    """One thread of wrk, whose script counts the words on."""
    path = request(kind, "NUMBER").split()[1].decode()
    before, _, behind = path.partition("NUMBER")
    script = os.path.join(base, "wrk.lua")
    with open(script, "w", encoding="ascii") as file:
        file.write(LUA % (first, before, "true" if kind == "new" else "false", behind))
    told = subprocess.run(["wrk", "-t", "1", "-c", str(connections), "-d", f"{SECONDS:.0f}s", "--latency", "-s", script,
                           f"http://127.0.0.1:{port}"], check=True, capture_output=True, text=True).stdout
    assert "Non-2xx" not in told and "Socket errors" not in told, told
    unit = {"us": 0.001, "ms": 1, "s": 1000}
    share = dict(re.findall(r"^ +(50|99)% +(\S+)$", told, re.M))
    ms = {p: round(float(re.match(r"[\d.]+", t)[0]) * unit[re.search(r"[a-z]+", t)[0]], 3) for p, t in share.items()}
    print(json.dumps({"kind": kind, "by": "wrk", "connections": connections,
                      "requests_per_s": round(float(re.search(r"Requests/sec: +([\d.]+)", told)[1])),
                      "p50_ms": ms["50"], "p99_ms": ms["99"]}), flush=True)


def write_vectors(folder, n):
    """n vectors like those of pictures, as `imago import` takes them."""
    import numpy as np
    sys.path.insert(0, str(SOURCE / "tests/bench"))
    import vectors
    info = json.loads(subprocess.run([PROGRAM, "model", "info", "--json"], env=environment("/nowhere"), check=True,
                                     capture_output=True).stdout)
    dim = info["dimensions"]
    os.mkdir(folder)
    np.save(os.path.join(folder, "vectors.npy"), vectors.Pictures(dim).rows(n))
    with open(os.path.join(folder, "items.jsonl"), "w", encoding="utf-8") as file:
        file.writelines(f'{{"name": "picture {i}"}}\n' for i in range(n))


def environment(base):
    return dict(os.environ, IMAGO_DATA=str(SOURCE / "data"), XDG_DATA_HOME=base)


# ---- mixed ----

def png(seed, side=48):
    rng = random.Random(seed)
    rows = b"".join(b"\0" + rng.randbytes(3 * side) for _ in range(side))

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def ids_of(answer):
    """Of the items that an answer to an upload names."""
    if isinstance(answer, dict):
        found = [answer["id"]] if isinstance(answer.get("id"), int) else []
        return found + [i for value in answer.values() if isinstance(value, (dict, list)) for i in ids_of(value)]
    return [i for value in answer if isinstance(value, (dict, list)) for i in ids_of(value)]


def change(port, pause, idle, stop, counts):
    """Uploads pictures and deletes those of a while ago, through the routes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    there = []
    seed = 10**6
    while not stop.is_set():
        if pause.is_set():
            idle.set()
            time.sleep(0.05)
            continue
        idle.clear()
        connection.request("POST", "/v1/items", png(seed), {"Content-Type": "image/png"})
        answer = connection.getresponse()
        body = answer.read()
        assert answer.status in (200, 201), (answer.status, body[:300])
        there += ids_of(json.loads(body))[:1]
        counts[0] += 1
        seed += 1
        if len(there) > 20:
            connection.request("DELETE", f"/v1/items/{there.pop(0)}?purge=true")
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status in (200, 204), (answer.status, body[:300])
            counts[1] += 1
        time.sleep(0.05)


def differing(port, base, n):
    """How many of three searches the command line answers otherwise."""
    wrong = 0
    for query in (f"a red car number {n}", "a dog on the beach", f"picture {n} -night"):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/v1/search?k=20&q={urllib.parse.quote(query)}",
                                    timeout=60) as answer:
            served = json.load(answer)
        printed = json.loads(subprocess.run(
            [PROGRAM, "search", "--no-daemon", "--library", os.path.join(base, "library"), "--json", "-k", "20", query],
            env=environment(base), check=True, capture_output=True).stdout)
        served.pop("took_ms")
        printed.pop("took_ms")
        wrong += served != printed
    return wrong


def memory_mib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) / 1024


def slope(samples):
    """MiB a minute, least squares."""
    n = len(samples)
    mean_t, mean_m = sum(t for t, _ in samples) / n, sum(m for _, m in samples) / n
    return 60 * sum((t - mean_t) * (m - mean_m) for t, m in samples) / sum((t - mean_t) ** 2 for t, _ in samples)


def mixed(port, pid, base):
    seconds = ARGS.mixed * 60
    out = multiprocessing.Queue()
    pause, idle, stop = (multiprocessing.Event() for _ in range(3))
    counts = multiprocessing.Array("l", 2)
    searchers = [multiprocessing.Process(target=clients, args=(port, kind, 4, first, out, seconds))
                 for kind, first in (("same", 0), ("new", 500000000))]
    changer = multiprocessing.Process(target=change, args=(port, pause, idle, stop, counts))
    for process in (*searchers, changer):
        process.start()
    start = time.time()
    samples, compared, wrong = [], 0, 0
    while time.time() - start < seconds - 5:
        time.sleep(10)
        samples.append((time.time() - start, memory_mib(pid)))
        if len(samples) % 2 == 0:
            pause.set()
            idle.wait(30)
            wrong += differing(port, base, len(samples))
            compared += 3
            pause.clear()
            idle.clear()
    times = sorted(t for _ in searchers for t in out.get(timeout=60))
    stop.set()
    for process in (*searchers, changer):
        process.join()
    late = [(t, m) for t, m in samples if t > min(120, seconds / 2)]
    print(json.dumps({"kind": "mixed", "minutes": ARGS.mixed, "changer_ok": changer.exitcode == 0, "uploads": counts[0], "deletes": counts[1],
                      "searches_per_s": round(len(times) / seconds), "p50_ms": round(times[len(times) // 2] * 1000, 3),
                      "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 3), "compared": compared, "differing": wrong,
                      "memory_mib": [round(m, 1) for _, m in samples], "slope_mib_per_min": round(slope(late), 3)}), flush=True)
    return changer.exitcode == 0 and wrong == 0


def main():
    good = True
    with tempfile.TemporaryDirectory(prefix="imago-bench-") as base:
        env = environment(base)
        library = ["--library", os.path.join(base, "library")]
        subprocess.run([PROGRAM, "add", *library, "--quiet", ARGS.folder], env=env, check=True)
        if ARGS.items > 0:
            write_vectors(os.path.join(base, "vectors"), ARGS.items)
            subprocess.run([PROGRAM, "import", *library, "--quiet", "--trust-model", "--normalise",
                            os.path.join(base, "vectors")], env=env, check=True, stdout=subprocess.DEVNULL)
        # an option of its own, so that the command line does not ask this daemon for its answers
        server = subprocess.Popen([PROGRAM, "serve", *library, "--listen", "127.0.0.1:0", "--max-scans", "200"], env=env,
                                  stderr=subprocess.PIPE)
        port = int(server.stderr.readline().split(b":")[-1])
        try:
            while ask_health(port) != 200:
                time.sleep(0.1)
            for i, kind in enumerate(("health", "same", "new")):
                for j, connections in enumerate((1, 8, 64)):
                    first = 10000000 * (3 * i + j)
                    if ARGS.wrk:
                        measure_wrk(port, kind, connections, first, base)
                    else:
                        measure(port, kind, connections, first)
            if ARGS.mixed > 0:
                good = mixed(port, server.pid, base)
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()
    sys.exit(0 if good else 1)


main()
