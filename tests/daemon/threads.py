#!/usr/bin/env python3
"""T95: the system gives no more threads, from the start or later: exit 9, 503 for what needs one, all else goes on, and
all is well when there are threads again."""
import os
import resource
import subprocess
import time

import serving
from serving import Server
from support import ROOT, SANITIZED, main, need, png

home = serving.library(5)
UID = 200000 + os.getpid() % 100000  # the kernel counts by user: one of our own
THEM = {"user": UID, "group": UID, "extra_groups": []}
MOST = 64  # threads and processes of that user
LEAST = 2 if SANITIZED else 1  # the search for leaks at the end takes one


def hand_over():
    subprocess.run(["chown", "-R", f"{UID}:{UID}", home.base], check=True)


def folder_of(name, n, first):
    """A folder of n new pictures, which that user may read."""
    path = os.path.join(home.base, name)
    os.makedirs(path)
    for i in range(n):
        with open(os.path.join(path, f"{i}.png"), "wb") as file:
            file.write(png(first + i))
    hand_over()
    return path


def limited(n):
    """Arguments of Popen for at most n threads; a limit set before the user changes would bind the change itself."""
    return dict(THEM, env=home.env, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (n, MOST)))


class Limited(Server):
    def __init__(self, n, *args):  # pylint: disable=super-init-not-called
        self.process = subprocess.Popen(home.command("serve", "--listen", "127.0.0.1:0", *args), stderr=subprocess.PIPE, **limited(n))
        line = self.process.stderr.readline().decode()
        self.said, self.log = line, b""
        if "listening on" in line:
            self.url = line.split()[-1]
            self.port = int(self.url.rsplit(":", 1)[1])

    def n_threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))


def a_start_without_threads_is_9():
    """At each limit: exit 9 with a sentence, or a whole daemon."""
    need(ROOT, "root, to be another user")
    hand_over()
    for args in ((), ("--immich-listen", "127.0.0.1:0", "--immich-upstream", "http://127.0.0.1:9")):
        outcomes = []
        for n in range(LEAST, 16):
            own = Limited(n, *args)
            if "listening on" in own.said:
                assert own.ask("/v1/search?q=red").status == 200 and own.n_threads() <= n, n
                own.stop()
                outcomes.append(0)
            else:
                assert "thread" in own.said, own.said
                outcomes.append(own.process.wait(timeout=30))
                own.process.stderr.close()
        assert set(outcomes) == {0, 9} and outcomes == sorted(outcomes, reverse=True), outcomes  # 9 … 9 0 … 0
    home.sound()


def later_what_needs_a_thread_is_503_and_all_else_is_done():
    need(ROOT, "root, to be another user")
    more = folder_of("more", 12, 100)
    own = Limited(MOST)
    while own.ask("/health").status != 200:
        time.sleep(0.05)
    before, items = own.n_threads(), own.ask("/v1/library").json["items"]
    others = []
    for _ in range(MOST):  # take all that the user may have
        others.append(subprocess.Popen(["sleep", "300"], **THEM))
    try:
        job = own.ask("/v1/jobs", {"kind": "add", "paths": [more]}).json["id"]
        end = time.monotonic() + 30
        while own.ask(f"/v1/jobs/{job}").json["error"] is None and time.monotonic() < end:
            time.sleep(0.05)
        told = own.ask(f"/v1/jobs/{job}").json  # it waits for better days
        assert told["error"]["code"] == "no_memory" and "thread" in told["error"]["message"] and told["ended"] is None, told
        own.ask("/v1/items", png(999), Content_Type="image/png").problem(503, "no_memory", ("thread",))
        for _ in range(20):
            assert own.ask("/v1/search?q=red").status == 200 and own.ask("/v1/items/1/thumbnail").status == 200
            assert own.ask("/health").json["status"] == "ready"
        assert own.n_threads() == before and own.ask("/v1/library").json["items"] == items
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert own.ask("/v1/items", png(999), Content_Type="image/png").status == 201
    end = time.monotonic() + 120
    while own.ask(f"/v1/jobs/{job}").json["ended"] is None and time.monotonic() < end:
        time.sleep(0.2)
    told = own.ask(f"/v1/jobs/{job}").json
    assert told["state"] == "done" and told["error"] is None and told["progress"]["added"] == 12, told
    assert own.ask("/v1/library").json["items"] == items + 13
    own.stop()
    home.sound()


def commands_have_fewer_threads_or_are_9():
    need(ROOT, "root, to be another user")
    path = folder_of("some", 3, 300)
    codes = {}
    for n in range(LEAST, 12):
        for args in (("search", "red"), ("add", "--yes", path), ("rebuild",), ("check",)):
            done = subprocess.run(home.command(*args), capture_output=True, timeout=60, check=False, **limited(n))
            codes.setdefault(args[0], []).append(done.returncode)
            assert done.returncode == 0 or (done.returncode == 9 and b"thread" in done.stderr), (n, args, done)
    assert set(codes["search"] + codes["check"]) == {0}, codes  # alone, then
    assert codes["add"][0] == 9 and codes["add"][-1] == 0, codes
    home.sound()


def each_thread_that_does_not_start_is_told():
    """The same by a fault, for whoever is not root."""
    refused = 0
    for nth in range(12 if not SANITIZED else 8):
        try:
            own = Server(home, env={"IMAGO_FAULT": f"thread:{nth}"})
        except AssertionError as error:
            assert "thread" in error.args[0][0], (nth, error)
            refused += 1
            continue
        assert own.ask("/v1/search?q=red").status == 200, nth
        own.stop()
    assert refused >= 4, refused
    home.sound()


main([a_start_without_threads_is_9, later_what_needs_a_thread_is_503_and_all_else_is_done,
      commands_have_fewer_threads_or_are_9, each_thread_that_does_not_start_is_told])
