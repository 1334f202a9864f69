#!/usr/bin/env python3
"""The library's Unix socket, by which the command line uses its daemon; sockets that a service
manager passes; what it is told."""
import contextlib
import fcntl
import hashlib
import json
import os
import random
import signal
import socket
import sqlite3
import stat
import subprocess
import threading
import time

import serving
from serving import Server, read_all
from support import MODEL, PROGRAM, SANITIZED, SOURCE, main, need, png

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
               if line.startswith("imago_requests_total") and
               any(route in line for route in ("/v1/search/command", "/v1/items/{id}", "/v1/embeddings/command", "/v1/library")))


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


def vectors_are_those_made_without_a_daemon():
    outside, inside = os.path.join(home.base, "outside.png"), os.path.join(home.pictures, "d0", "00.png")
    long = " ".join(["long"] * 500)
    for query in (["--text", "red"], ["--text", "caf\u00e9 \u2028 x", outside], [inside, "--text", long, outside, "--text", "b"],
                  [inside] * 16, ["--text", "a", "--batch", "3", inside]):
        for form in (["--json"], [], ["--format", "npy"], ["--format", "f32"]):
            before = asked(server)
            ours = home.run("embed", *query, *form, "--no-daemon", env=WITH)
            assert asked(server) == before
            theirs = home.run("embed", *query, *form, env=WITH)
            assert (ours.stdout, ours.stderr) == (theirs.stdout, theirs.stderr), (query, form, ours, theirs)
            assert asked(server) - before == 1, (query, form)
            assert (b"cut" in ours.stdout + ours.stderr) == (long in query), (query, form)
    assert json.loads(home.run("embed", "--json", "--text", "a", env=WITH).stdout)["model"] == os.path.basename(MODEL)
    for query, most in (([strange], 1), (["--text", ""], 1), ([os.path.join(home.library, "library.db"), "--text", "a"], 1),
                        (["/no/such/file"], 0), (["--text", "a", "--exact-decode"], 0), (["--text", "a", "--model", MODEL], 0),
                        (["--text", "a", "--precision", "fp32"], 0), ([inside] * 17, 0), (["--text", "a", "--threads", "1"], 0)):
        before = asked(server)
        ours, theirs = (home.run("embed", *query, *more, code=None, env=WITH) for more in (["--no-daemon"], []))
        assert (ours.returncode, ours.stdout, ours.stderr) == (theirs.returncode, theirs.stdout, theirs.stderr), query
        assert asked(server) - before <= most, query  # what fails there is told from here


def vectors_are_made_in_the_librarys_precision():
    own = serving.library(2)
    status = own.status()["model"]
    with contextlib.closing(sqlite3.connect(os.path.join(own.library, "library.db"))) as base, base:
        base.execute("INSERT OR REPLACE INTO setting (name, value) VALUES (?, '1.0')", (f"bf16_cosine {status['digest']}",))
    chosen = own.status()["model"]["precision"]  # bf16 where that is faster
    daemon = wait_ready(Server(own, env=WITH))
    vectors = {}
    for args in (["--no-daemon"], [], ["--precision", "fp32"], ["--precision", "bf16"], ["--model", MODEL]):
        done = own.run("embed", "--json", "--text", "a red car", os.path.join(own.pictures, "d0", "00.png"), *args, env=WITH)
        vectors[" ".join(args)] = [row["embedding"] for row in json.loads(done.stdout)["data"]]
    assert vectors[""] == vectors["--no-daemon"] == vectors[f"--precision {chosen}"], chosen
    assert vectors["--precision fp32"] != vectors["--precision bf16"] and vectors["--model " + MODEL] == vectors["--precision fp32"]
    print(f"    in {chosen}")
    daemon.stop()


def status_is_the_same():
    """But for the memory, which is that of whoever answers."""
    def told(*args):
        status = json.loads(home.run("status", "--json", *args, env=WITH).stdout)
        return status.pop("memory"), status
    before = asked(server)
    ours, theirs = told("--no-daemon"), told()
    assert asked(server) == before + 1
    assert ours[1] == theirs[1] and list(ours[1]) == list(theirs[1]), (ours, theirs)
    assert set(ours[0]) == set(theirs[0]) and theirs[0]["private_bytes"] > 0
    home.run("tag", "id:2", "--add", "seen at once")
    shown = [home.run("status", *more, env=WITH).stdout.replace(b" ", b"").splitlines() for more in ([], ["--no-daemon"])]
    same = [[line for line in lines if not line.startswith((b"privatebytes", b"mappedbytes"))] for lines in shown]
    assert same[0] == same[1] and len(same[0]) > 10, same
    home.run("tag", "id:2", "--remove", "seen at once")


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
            with sock, contextlib.suppress(OSError):  # it may have heard enough
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


# ---- the service manager ----

class Manager:
    """What systemd would be: listens for words about the service."""

    def __init__(self, abstract=False):
        self.name = ("\0" if abstract else os.path.join(home.base, "n")) + f"notify{os.getpid()}{random.random()}"
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.name)
        self.socket.settimeout(60)
        self.env = {"NOTIFY_SOCKET": self.name.replace("\0", "@"), "XDG_RUNTIME_DIR": ""}

    def next(self):
        return dict(line.split("=", 1) for line in self.socket.recv(4096).decode().splitlines())


def passed(listeners, *args, env=None, code=None, pid="$$"):
    """The daemon with these sockets as descriptors 3 ..., as sd_listen_fds(3) has it."""
    moves = " ".join(f"{3 + i}<&{sock.fileno()}" for i, sock in enumerate(listeners))
    command = home.command("serve", *args)
    script = f'LISTEN_PID={pid} LISTEN_FDS={len(listeners)} exec "$@" {moves}'
    process = subprocess.Popen(["/bin/bash", "-c", script, "bash", *command], stderr=subprocess.PIPE,
                               env=dict(home.env, XDG_RUNTIME_DIR="", **(env or {})),
                               pass_fds=[sock.fileno() for sock in listeners])
    if code is None:
        return process
    _, words = process.communicate(timeout=30)
    assert process.returncode == code, (process.returncode, words)
    return words


def high(sock):
    """At a descriptor that none of the passed ones will be."""
    number = fcntl.fcntl(sock.fileno(), fcntl.F_DUPFD, 50)
    sock.close()
    return socket.socket(fileno=number)


def listening(family=socket.AF_INET, address=("127.0.0.1", 0)):
    sock = socket.socket(family)
    sock.bind(address)
    sock.listen(16)
    return high(sock)


def get(address, path=b"/v1/items/1", family=socket.AF_INET):
    with socket.socket(family) as sock:
        sock.settimeout(30)
        sock.connect(address)
        sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return read_all(sock)[0][0]


def the_manager_is_told():
    for abstract in (False, True):
        manager = Manager(abstract)
        it = Server(home, env=manager.env)
        assert manager.next() == {"READY": "1"}
        it.process.send_signal(signal.SIGHUP)
        told = manager.next()
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        assert told["RELOADING"] == "1" and 0 <= now - int(told["MONOTONIC_USEC"]) < 60e6, told
        assert manager.next() == {"READY": "1"}
        it.process.send_signal(signal.SIGTERM)
        assert manager.next() == {"STOPPING": "1"}
        it.stop(told=True)
    for name in ("/no/such/socket", "x", "@", "/" + "x" * 200, ""):
        Server(home, env={"NOTIFY_SOCKET": name, "XDG_RUNTIME_DIR": ""}).stop()


def sockets_that_were_passed_are_served():
    path = os.path.join(home.base, "passed.sock")
    listeners = [listening(), listening(socket.AF_UNIX, path), listening(socket.AF_INET6, ("::1", 0))]
    process = passed(listeners)
    for sock in listeners:  # they are asked before it is there: the kernel keeps them
        assert get(sock.getsockname(), family=sock.family).status == 200
    process.terminate()
    assert process.wait(timeout=30) == 0
    words = process.stderr.read().decode()
    assert "7070" not in words and words.count("listening on http://") == 2, words
    assert os.path.exists(path)  # not ours to take away
    # with others of its own
    one = listening()
    process = passed([one], "--listen", "127.0.0.1:0")
    lines = [process.stderr.readline().decode() for _ in range(2)]
    ports = [int(line.strip().rsplit(":", 1)[1]) for line in lines]
    assert ports[0] == one.getsockname()[1] and ports[1] != ports[0], lines
    for port in ports:
        assert get(("127.0.0.1", port)).status == 200
    process.terminate()
    assert process.wait(timeout=30) == 0


def what_cannot_be_served_is_refused():
    with open("/dev/null") as nothing:
        assert b"descriptor 3" in passed([nothing], code=2)
    unbound = high(socket.socket())
    assert b"descriptor 4" in passed([listening(), unbound], code=2)
    datagrams = high(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    assert b"descriptor 3" in passed([datagrams], code=2)
    everybody = listening(address=("0.0.0.0", 0))
    assert b"API key" in passed([everybody], code=2)
    # meant for another process: as if there were none
    one = listening()
    process = passed([one], "--listen", "127.0.0.1:0", pid="1")
    assert str(one.getsockname()[1]) not in process.stderr.readline().decode()
    process.terminate()
    assert process.wait(timeout=30) == 0


def the_units_are_sound():
    build = os.path.join(os.path.dirname(os.path.dirname(PROGRAM)), "daemon", "imago.service")
    with open(build) as file:
        unit = file.read()
    assert "Type=notify" in unit and "ExecReload=/bin/kill -HUP $MAINPID" in unit and "@" not in unit, unit
    assert "/bin/imago serve\n" in unit
    verify = "/usr/bin/systemd-analyze"
    need(os.path.exists(verify), "systemd-analyze")
    copy = os.path.join(home.base, "imago.service")
    with open(copy, "w") as file:
        file.write(unit.replace(unit.split("ExecStart=")[1].split()[0], PROGRAM))
    with open(SOURCE / "data/systemd/imago.socket") as source, open(copy.replace("service", "socket"), "w") as file:
        file.write(source.read())
    done = subprocess.run([verify, "--user", "verify", copy, copy.replace("service", "socket")], capture_output=True)
    assert b"imago" not in done.stderr, done.stderr


def reload(server, manager):
    server.process.send_signal(signal.SIGHUP)
    assert manager.next().get("RELOADING") == "1"
    assert manager.next() == {"READY": "1"}
    return json.loads(server.process.stderr.readline())["note"]


def a_library_that_was_exchanged_is_taken_and_a_broken_one_is_not():
    """T94"""
    manager = Manager()
    other = serving.library(5)
    it = wait_ready(Server(home, "--json", env=manager.env))
    assert manager.next() == {"READY": "1"}
    n_before = it.ask("/v1/library").json["items"]
    old = home.library + ".old"
    stop, wrong = threading.Event(), []

    def search():
        while not stop.is_set():
            status = it.ask("/v1/search?q=red").status
            if status != 200:
                wrong.append(status)

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        os.rename(home.library, old)
        assert "could not reload" in reload(it, manager)  # nothing is there
        health = it.ask("/health")  # the command line does not ask a daemon of another library
        assert health.status == 503 and "SIGHUP" in health.json["reasons"][0], health.body
        os.mkdir(home.library)
        with open(os.path.join(home.library, "library.db"), "wb") as file:
            file.write(b"no database" * 1000)
        said = reload(it, manager)
        assert "could not reload" in said and "library.db" in said, said
        assert it.ask("/v1/library").json["items"] == n_before
        subprocess.run(["rm", "-r", home.library], check=True)
        os.rename(other.library, home.library)
        assert it.ask("/health").status == 503
        assert reload(it, manager).startswith("reloaded")
        assert it.ask("/health").status == 200
        assert it.ask("/v1/library").json["items"] == 5
        assert it.ask("/v1/items/5/original").status == it.ask("/v1/items/5/thumbnail").status == 200
        it.ask("/v1/items/6/original").problem(404, "item_not_found")  # all threads have it
        stop.set()
        for thread in threads:
            thread.join()
        assert not wrong, wrong[:5]
        key = json.loads(home.run("key", "add", "--scope", "read", "--json").stdout)  # of that one
        it.ask("/v1/library").problem(401)
        subprocess.run(["rm", "-r", home.library], check=True)
        os.rename(old, home.library)
        it.ask("/v1/library").problem(401)
        assert reload(it, manager).startswith("reloaded")
        assert it.ask("/v1/library").json["items"] == n_before and key
        assert it.ask("/v1/items/6/original").status == 200
    finally:
        stop.set()
        if os.path.exists(old):
            subprocess.run(["rm", "-rf", home.library], check=True)
            os.rename(old, home.library)
    # many at once: as if there had been one behind the one under way
    for _ in range(50):
        it.process.send_signal(signal.SIGHUP)
    assert it.ask("/v1/search?q=red").status == 200
    it.stop()


def a_library_that_one_thread_cannot_take_is_taken_by_none():
    """Searches and keys could, changes not: the folder of its own pictures has moved to where another one is."""
    manager = Manager()
    other = serving.library(5)
    at = Server(other)
    with open(os.path.join(home.pictures, "d0", "00.png"), "rb") as file:
        assert at.ask("/v1/items", file.read() + b"another", Content_Type="image/png").status == 201
    at.stop()
    with sqlite3.connect(os.path.join(other.library, "library.db")) as db:
        db.execute("INSERT INTO root (path, recursive, added_ns) VALUES (?, 1, 1)",
                   (os.path.realpath(home.library).encode() + b"/originals",))
    db.close()
    it = wait_ready(Server(home, "--json", env=manager.env))
    assert manager.next() == {"READY": "1"}
    n_before = it.ask("/v1/library").json["items"]
    old = home.library + ".old"
    os.rename(home.library, old)
    try:
        os.rename(other.library, home.library)
        said = reload(it, manager)
        assert "could not reload" in said, said
        assert it.ask("/v1/library").json["items"] == n_before
        assert it.ask(f"/v1/items/{n_before}/original").status == 200
    finally:
        subprocess.run(["rm", "-rf", home.library], check=True)
        os.rename(old, home.library)
    assert reload(it, manager).startswith("reloaded")
    it.stop()


def a_second_stop_ends_at_once():
    """T94"""
    it = wait_ready(Server(home, env={"XDG_RUNTIME_DIR": ""}))
    with it.connect() as sock:  # a request that is under way for ever
        sock.sendall(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                     b"Content-Length: 100\r\n\r\n{")
        time.sleep(0.3)
        it.process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        assert it.process.poll() is None
        it.process.send_signal(signal.SIGTERM)
        assert it.process.wait(timeout=10) == 128 + signal.SIGTERM
    home.run("check")
    held = wait_ready(Server(home, env={"XDG_RUNTIME_DIR": ""}))
    held.process.send_signal(signal.SIGSTOP)
    time.sleep(1)
    held.process.send_signal(signal.SIGCONT)
    assert held.ask("/v1/search?q=red").status == 200
    held.stop()


server = wait_ready(Server(home, env=WITH))
main([answers_are_those_given_without_a_daemon, vectors_are_those_made_without_a_daemon,
      vectors_are_made_in_the_librarys_precision, status_is_the_same,
      standard_input_is_sent, what_it_must_not_be_asked,
      the_socket_is_closed_to_others, one_library_has_one_daemon, keys_are_for_others,
      a_daemon_that_fails_midway_is_done_without, a_socket_left_behind_is_replaced,
      a_daemon_that_stops_takes_its_socket_along, a_folder_that_others_could_write_is_closed_or_refused,
      the_manager_is_told, sockets_that_were_passed_are_served, what_cannot_be_served_is_refused,
      the_units_are_sound, a_library_that_was_exchanged_is_taken_and_a_broken_one_is_not,
      a_library_that_one_thread_cannot_take_is_taken_by_none,
      a_second_stop_ends_at_once])
