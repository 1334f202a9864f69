#!/usr/bin/env python3
"""The library's Unix socket, by which the command line uses its daemon; sockets that a service
manager passes; what it is told."""
import contextlib
import hashlib
import json
import os
import random
import signal
import socket
import stat
import subprocess
import threading
import time

import serving
from serving import Server, read_all
from support import MODEL, SANITIZED, main, need, png

home = serving.library(40)
RUN = os.path.join(home.base, "run")
os.mkdir(RUN, 0o700)
WITH = {"XDG_RUNTIME_DIR": RUN}
SOCKET = os.path.join(RUN, "imago", hashlib.sha256(os.path.realpath(home.library).encode()).hexdigest()[:32] + ".sock")
for number in range(1, 30, 2):
    home.run("tag", f"id:{number}", "--add", "odd é")
with open(os.path.join(home.base, "outside.png"), "wb") as picture:
    picture.write(png(7))
strange = os.path.join(home.base, os.fsdecode(b"not-utf8-\xff.png"))
with open(strange, "wb") as picture:
    picture.write(png(8))
ready = None


def wait_ready(server):
    for _ in range(600):
        if server.ask("/health").status == 200:
            return server
        time.sleep(0.05)
    raise AssertionError(server.ask("/health").body)


def asked(server):
    """How many answers of the library there were: asking for that is none."""
    metrics = server.ask("/metrics").body.decode()
    return sum(int(float(line.split()[-1])) for line in metrics.splitlines()
               if line.startswith("imago_requests_total") and ("/v1/search/command" in line or "/v1/items/{id}" in line))


def without_times(output):
    answer = json.loads(output)
    answer.pop("took_ms", None)
    return json.dumps(answer)


def queries():
    outside = os.path.join(home.base, "outside.png")
    inside = os.path.join(home.pictures, "d0", "00.png")
    yield from (["search", "red car"], ["search", "red", "car", "-k", "3"], ["search", "caf\u00e9 \u2028 x"],
                ["search", "red ^0.5 -blue"], ["search", '"two words" green'], ["search", "+odd red"],
                ["search", "type:png"], ["search", "-k", "7", "--filter", "tag:\"odd é\"", "sky"],
                ["search", "--filter", "type:png", "--filter", "id:>3", "x"],
                ["search", "--sort", "bytes", "--order", "asc", "type:png"],
                ["search", "--text", "a", "--not", "b", "--weight", "2"],
                ["search", "--text", "-x", "--combine", "any", "--text", "y"],
                ["search", "--combine", "all", "--text", "a", "--text", "b"],
                ["search", "--id", "3", "--text", "red", "--weight", "0.3"],
                ["search", "--image", outside], ["search", "--not-image", inside, "--text", "x"],
                ["search", "--image", outside, "--crop", "10%,0,50%,100%"],
                ["search", "--image", outside, "--crop", "1,2,8,9", "red", "@#4"],
                ["search", f"@{outside} red"], ["search", f"@{outside}[10%,10%,50%,50%] ^2 night"],
                ["search", f"@{outside}", f"@{inside}", "tag:\"odd é\""],
                ["search", "--min-score", "0.01", "red"], ["search", "--min-score", "99", "red"],
                ["search", "--group", "type:2", "red"], ["search", "--offset", "5", "-k", "5", "red"],
                ["search", "--exact", "red"], ["search", "--fast", "red"], ["search", "tag:none red"],
                ["search", "--exact-decode", "--image", inside],
                ["similar", "id:5"], ["similar", "5", "-k", "100"], ["similar", outside], ["similar", inside],
                ["similar", outside, "--crop", "0,0,50%,50%"], ["similar", "id:5", "--filter", "tag:\"odd é\""],
                ["show", "id:1"], ["show", "7"], ["show", "40"])
    rng = random.Random(5)
    words = "red green blue car house @#3 @#9 -cat sky ^2 (type:png) tag:odd night \u4e2d\u6587 \U0001f600".split()
    for _ in range(10 if SANITIZED else 60):
        yield ["search", " ".join(rng.choice(words) for _ in range(rng.randrange(1, 6))), "-k", str(rng.randrange(1, 50))]


def answers_are_those_given_without_a_daemon():
    before, n = asked(server), 0
    for query in queries():
        for form in [[], ["--json"]] + ([["--paths"], ["-0"]] if query[0] != "show" else []):
            args = query + form
            ours = home.run(*args, "--no-daemon", code=None, env=WITH)
            theirs = home.run(*args, code=None, env=WITH)
            assert ours.returncode == theirs.returncode, (args, ours, theirs)
            if form == ["--json"] and ours.returncode == 0:
                assert without_times(ours.stdout) == without_times(theirs.stdout), (args, ours.stdout, theirs.stdout)
            else:
                assert ours.stdout == theirs.stdout and ours.stderr == theirs.stderr, (args, ours, theirs)
            n += 1 if ours.returncode == 0 and "exact-decode" not in args else 0
    assert asked(server) - before >= n, (asked(server) - before, n)  # it was the daemon that answered


def standard_input_is_sent():
    before = asked(server)
    for args in (["similar", "-"], ["search", "--image", "-", "red"], ["search", "@- red"]):
        ours = home.run(*args, "--json", "--no-daemon", env=WITH, input=png(9))
        theirs = home.run(*args, "--json", env=WITH, input=png(9))
        assert without_times(ours.stdout) == without_times(theirs.stdout), args
    assert asked(server) == before + 2  # "@-" is read where it is


def what_it_must_not_be_asked():
    before = asked(server)
    for args in (["search", "red", "--threads", "1"], ["search", "red", "--memory", "1G"],
                 ["search", "red", "--precision", "fp32"], ["search", "red", "--model", MODEL],
                 ["search", "red", "--engine", "scan"], ["similar", strange], ["search", "red", "--max-side", "10"],
                 ["show", "id:1", "--no-daemon"], ["search", "red", "--no-daemon"]):
        home.run(*args, env=WITH)
    home.run("search", "red", env=dict(WITH, IMAGO_KERNEL="plain"), code=None)
    assert asked(server) == before
    # what fails there is told as if it had failed here
    for args in (["show", "id:9999"], ["search", "(("], ["similar", "/no/such/file"], ["search", "@/no/such/file"],
                 ["search", "nosuch:5"], ["similar", os.path.join(home.library, "library.db")]):
        ours, theirs = (home.run(*args, *more, code=None, env=WITH) for more in (["--no-daemon"], []))
        assert (ours.returncode, ours.stderr) == (theirs.returncode, theirs.stderr) and ours.returncode, args


def the_socket_is_closed_to_others():
    info, folder = os.stat(SOCKET), os.stat(os.path.dirname(SOCKET))
    assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o600, oct(info.st_mode)
    assert stat.S_IMODE(folder.st_mode) == 0o700, oct(folder.st_mode)


def one_library_has_one_daemon():
    done = home.run("serve", "--listen", "127.0.0.1:0", code=4, env=WITH, timeout=20)
    assert b"another 'imago serve'" in done.stderr, done.stderr
    assert home.run("show", "id:1", env=WITH).returncode == 0
    # whose answers would be others than those of the command line leaves the socket alone
    other = Server(home, "--precision", "fp32", env=WITH)
    other.stop()
    assert os.path.exists(SOCKET)


def keys_are_for_others():
    """The user who runs the daemon owns the library: no key is asked for at its socket."""
    key = json.loads(home.run("key", "add", "--scope", "read", "--json").stdout)
    try:
        assert server.ask("/v1/items/1").status == 401
        before = int(server.ask("/metrics", Authorization="Bearer " + key["key"]).status == 200)
        assert before == 1
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(SOCKET)
            sock.sendall(b"GET /v1/items/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            sock.settimeout(10)
            assert [a.status for a in read_all(sock)[0]] == [200]
    finally:
        subprocess.run(["python3", "-c", "import sqlite3,sys; c=sqlite3.connect(sys.argv[1]); "
                        "c.execute('DELETE FROM api_key'); c.commit()", os.path.join(home.library, "library.db")],
                       check=True)
    assert server.ask("/v1/items/1").status == 200


def fake(behave):
    """Something else at the socket, for one command."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(SOCKET)
    listener.listen(8)
    done = threading.Event()

    def serve():
        while not done.is_set():
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=behave, args=(sock,), daemon=True).start()
    threading.Thread(target=serve, daemon=True).start()

    def end():
        done.set()
        listener.close()
        os.unlink(SOCKET)
    return end


def health(sock):
    data = b""
    while b"\r\n\r\n" not in data:
        piece = sock.recv(4096)
        if not piece:
            return
        data += piece
    version = home.run("version").stdout.split()[-1].decode()
    body = json.dumps({"status": "ready", "reasons": [], "version": version}).encode()
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def a_daemon_that_fails_midway_is_done_without():
    good = home.run("search", "red", "--json", "--no-daemon", env=WITH).stdout
    body = without_times(good).encode()
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: "

    def answering(data, before=True):
        def behave(sock):
            with sock:
                if before:
                    health(sock)
                    sock.recv(1 << 20)
                sock.sendall(data)
        return behave

    cases = [answering(b"", False), answering(b"\0" * 100, False), answering(b""), answering(b"HTTP/1.1 200 OK\r\n"),
             answering(ok + b"10\r\n\r\n{}"), answering(ok + b"2\r\n\r\n{}"), answering(ok + b"2\r\n\r\n[]"),
             answering(ok + b"99999999999999999999\r\n\r\n{}"), answering(ok + b"-1\r\n\r\n{}"),
             answering(ok + b"%d\r\n\r\n" % len(body) + body[:-10]),
             answering(ok + b"%d\r\n\r\n" % (len(body) - 10) + body[:-10]),
             answering(ok + b"%d\r\n\r\n" % (len(body) - 1) + body), answering(b"x" * 100000),
             answering(b"HTTP/1.1 500 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body),
             answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n{}"),
             answering(ok + b"60\r\n\r\n" + b'{"hits":[{"id":0}],"parts":[],"warnings":[]}'.ljust(60)),
             answering(ok + b"60\r\n\r\n" + b'{"hits":{},"parts":[],"warnings":[]}'.ljust(60))]
    for i, behave in enumerate(cases):
        end = fake(behave)
        try:
            for form in (["--json"], []):
                done = home.run("search", "red", *form, env=WITH)
                if form:
                    assert without_times(done.stdout).encode() == body, i
                else:
                    assert done.stdout.startswith(b"0.") or b"\tid:" in done.stdout, (i, done)
                assert not done.stderr, (i, done.stderr)
        finally:
            end()

    def silent(sock):
        time.sleep(3)
        sock.close()
    end = fake(silent)
    start = time.monotonic()
    assert without_times(home.run("search", "red", "--json", env=WITH).stdout).encode() == body
    took = time.monotonic() - start
    end()
    assert 0.15 < took < (10 if SANITIZED else 2), took  # 200 ms, then it is done here


def a_socket_left_behind_is_replaced():
    global server
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    start = time.monotonic()
    home.run("search", "red", env=WITH)
    assert time.monotonic() - start < 10
    with contextlib.suppress(FileNotFoundError):
        os.unlink(SOCKET)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(SOCKET)
    stale.close()
    server = wait_ready(Server(home, env=WITH))
    before = asked(server)
    home.run("search", "red", env=WITH)
    assert asked(server) == before + 1


def a_daemon_that_stops_takes_its_socket_along():
    server.stop()
    assert not os.path.exists(SOCKET)
    home.run("search", "red", env=WITH)


def a_folder_that_others_could_write_is_closed_or_refused():
    folder = os.path.join(RUN, "imago")
    os.chmod(folder, 0o777)
    other = Server(home, env=WITH)
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    other.stop()
    moved = folder + ".moved"
    os.rename(folder, moved)
    os.symlink(moved, folder)
    done = home.run("serve", "--listen", "127.0.0.1:0", code=11, env=WITH, timeout=20)
    assert folder.encode() in done.stderr, done.stderr
    os.unlink(folder)
    os.rename(moved, folder)
    # a name that no socket can have, no folder at all: it serves without
    for runtime in (os.path.join(home.base, "r" * 100), "", "relative"):
        Server(home, env={"XDG_RUNTIME_DIR": runtime}).stop()


server = wait_ready(Server(home, env=WITH))
main([answers_are_those_given_without_a_daemon, standard_input_is_sent, what_it_must_not_be_asked,
      the_socket_is_closed_to_others, one_library_has_one_daemon, keys_are_for_others,
      a_daemon_that_fails_midway_is_done_without, a_socket_left_behind_is_replaced,
      a_daemon_that_stops_takes_its_socket_along, a_folder_that_others_could_write_is_closed_or_refused])
