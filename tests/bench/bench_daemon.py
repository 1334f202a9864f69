#!/usr/bin/env python3
"""The daemon over loopback: bench_daemon.py PROGRAM [FOLDER] [SECONDS]

Adds FOLDER (data/sample) with the bundled model to a library of its own, serves it and asks for
/health, for one search again and again and for searches of ever new words, from 1, 8 and 64
connections (one process of clients each 8). A JSON object a line. Clients share the machine with the
daemon: compare ratios of one run."""
import json
import multiprocessing
import os
import pathlib
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
PROGRAM = os.path.abspath(sys.argv[1])
FOLDER = sys.argv[2] if len(sys.argv) > 2 else str(SOURCE / "data/sample")
SECONDS = float(sys.argv[3]) if len(sys.argv) > 3 else 3.0


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


def clients(port, kind, n, first, out):
    """n connections, each with one request under way."""
    waiting = selectors.DefaultSelector()
    times = []
    number = first
    end = time.perf_counter() + SECONDS
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


def main():
    with tempfile.TemporaryDirectory(prefix="imago-bench-") as base:
        env = dict(os.environ, IMAGO_DATA=str(SOURCE / "data"), XDG_DATA_HOME=base)
        library = ["--library", os.path.join(base, "library")]
        subprocess.run([PROGRAM, "add", *library, "--quiet", FOLDER], env=env, check=True)
        server = subprocess.Popen([PROGRAM, "serve", *library, "--listen", "127.0.0.1:0"], env=env,
                                  stderr=subprocess.PIPE)
        port = int(server.stderr.readline().split(b":")[-1])
        try:
            while ask_health(port) != 200:
                time.sleep(0.1)
            for i, kind in enumerate(("health", "same", "new")):
                for j, connections in enumerate((1, 8, 64)):
                    measure(port, kind, connections, 10000000 * (3 * i + j))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


main()
