#!/usr/bin/env python3
"""Slow clients beside others: bench_slow.py PROGRAM [--clients N] [--seconds S]

Starts the daemon on a library of data/sample with the bundled model. Eight connections ask for searches, first alone, then while
slowhttptest (Debian's package of that name) holds N connections (400): heads that come at some bytes a second (-H), bodies likewise
(-B), answers that are read likewise (-X). One row each: latencies of the others, as a ratio to the run alone beside it; how many of
the slow ones the daemon closed, and what it had taken in memory and descriptors.

A JSON object a line. All share the machine: compare ratios of one run."""
import argparse
import csv
import http.client
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

SOURCE = pathlib.Path(__file__).resolve().parents[2]
KINDS = {
    "alone": None,
    "slow heads": ("-H", "-x", "24", "-i", "2", "-t", "GET"),
    "slow bodies": ("-B", "-x", "10", "-i", "2", "-s", "8192", "-f", "application/json", "-t", "POST"),
    "slow reading": ("-X", "-w", "256", "-y", "512", "-n", "2", "-z", "16", "-k", "3"),
}


def arguments():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--clients", type=int, default=400)
    parser.add_argument("--seconds", type=int, default=25)
    return parser.parse_args()


ARGS = arguments()
PROGRAM = os.path.abspath(ARGS.program)


def search(port, end, times):
    """Searches with words that the daemon has not seen, one after the other, each timed."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    number = threading.get_ident() % 10**6
    while time.perf_counter() < end:
        number += 1
        start = time.perf_counter()
        connection.request("GET", f"/v1/search?q=a+red+car+number+{number}&k=20")
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, answer.status
        times.append(time.perf_counter() - start)
        time.sleep(0.005)


def others(port, seconds):
    """Sorted latencies of eight connections."""
    times = []
    end = time.perf_counter() + seconds
    threads = [threading.Thread(target=search, args=(port, end, times)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sorted(times)


def held(pid):
    """Anonymous memory in MiB, and descriptors."""
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        memory = int(next(line for line in status if line.startswith("RssAnon")).split()[1]) / 1024
    return memory, len(os.listdir(f"/proc/{pid}/fd"))


def slow_clients(port, how, base):
    path = "/v1/search" if how[0] == "-B" else "/openapi.json"  # which costs no search
    return subprocess.Popen(["slowhttptest", *how, "-c", str(ARGS.clients), "-r", str(ARGS.clients), "-l", str(ARGS.seconds), "-p", "3",
                             "-g", "-o", os.path.join(base, "slow"), "-u", f"http://127.0.0.1:{port}{path}"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ended_by_the_server(base):
    """What slowhttptest counted: the most at once, and closed at the end; whether its own probe found the service there."""
    with open(os.path.join(base, "slow.csv"), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    number = lambda row, name: int(float(row.get(name) or 0))
    return {"most_connected": max(number(row, "Connected") for row in rows), "closed": max(number(row, "Closed") for row in rows),
            "always_available": all(number(row, "Service Available") > 0 for row in rows)}


def measure(name, port, pid, base):
    how = KINDS[name]
    process = slow_clients(port, how, base) if how else None
    most = [0.0, 0]
    done = threading.Event()

    def watch():
        while not done.wait(0.5):
            now = held(pid)
            most[0], most[1] = max(most[0], now[0]), max(most[1], now[1])
    watcher = threading.Thread(target=watch)
    watcher.start()
    if process:
        time.sleep(1.5)  # until they are connected
    times = others(port, 6 if name == "alone" else ARGS.seconds - 4)
    done.set()
    watcher.join()
    row = {"kind": name, "searches": len(times), "p50_ms": round(times[len(times) // 2] * 1000, 2),
           "p99_ms": round(times[int(len(times) * 0.99)] * 1000, 2), "max_ms": round(times[-1] * 1000, 1),
           "most_memory_mib": round(most[0], 1), "most_descriptors": most[1]}
    if process:
        process.wait(timeout=60)
        row.update(ended_by_the_server(base))
    return row


def main():
    if shutil.which("slowhttptest") is None:
        sys.exit("slowhttptest is not there: apt install slowhttptest")
    with tempfile.TemporaryDirectory(prefix="imago-bench-") as base:
        env = dict(os.environ, IMAGO_DATA=str(SOURCE / "data"), XDG_DATA_HOME=base)
        library = ["--library", os.path.join(base, "library")]
        subprocess.run([PROGRAM, "add", *library, "--quiet", str(SOURCE / "data/sample")], env=env, check=True)
        server = subprocess.Popen([PROGRAM, "serve", *library, "--listen", "127.0.0.1:0", "--max-scans", "200"], env=env,
                                  stderr=subprocess.PIPE)
        port = int(server.stderr.readline().split(b":")[-1])
        try:
            others(port, 2)
            for name in list(KINDS)[1:]:
                before = measure("alone", port, server.pid, base)
                row = measure(name, port, server.pid, base)
                for key in ("p50_ms", "p99_ms"):
                    row["times_" + key[:3]] = round(row[key] / before[key], 2)
                print(json.dumps(before) + "\n" + json.dumps(row), flush=True)
            time.sleep(3)
            print(json.dumps({"kind": "at rest again", "memory_mib": round(held(server.pid)[0], 1), "descriptors": held(server.pid)[1]}))
        finally:
            server.send_signal(signal.SIGTERM)
            server.wait()


main()
