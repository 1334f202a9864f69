#!/usr/bin/env python3
"""`imago vlm start`, `stop`, `status` and `imago serve --vlm-model-file` with a program that plays
llama-server, well and badly, and with a real one where there is one (real_server.py)."""
import contextlib
import fcntl
import json
import os
import pathlib
import signal
import stat
import subprocess
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(sys.argv[2]).resolve() / "tests/app"))
HERE = pathlib.Path(__file__).resolve().parent
import real_server  # noqa: E402
import support  # noqa: E402
from support import Imago  # noqa: E402

SLOW = 6 if support.SANITIZED else 1
home = Imago()
for i in range(3):
    home.picture(f"{i}.png", i, width=140, height=112)
home.add()
FILE = os.path.join(home.library, "vlm-server")
LOG = os.path.join(home.base, "starts")
MODEL, MMPROJ = os.path.join(home.base, "tiny, 1.gguf"), os.path.join(home.base, "mmproj.gguf")


def gguf(path, kind):
    """The head of a GGUF file with its first key."""
    def text(value):
        return len(value).to_bytes(8, "little") + value
    with open(path, "wb") as file:
        file.write(b"GGUF" + (3).to_bytes(4, "little") + bytes(16) + text(b"general.architecture") +
                   (8).to_bytes(4, "little") + text(kind) + bytes(4096))


gguf(MODEL, b"qwen2vl")
gguf(MMPROJ, b"clip")


def starts():
    with contextlib.suppress(FileNotFoundError):
        return [json.loads(line) for line in open(LOG)]
    return []


def arguments(*more, model=MODEL, mmproj=MMPROJ, program=HERE / "fake_llama.py"):
    return ["vlm", "start", "--library", home.library, "--model", model, "--mmproj", mmproj, "--server",
            os.fspath(program), *more]


def environment(how, **more):
    with contextlib.suppress(FileNotFoundError):
        os.unlink(LOG)
    return dict(home.env, FAKE_LLAMA=how, FAKE_LLAMA_LOG=LOG, **more)


@contextlib.contextmanager
def started(how="good", *more, ready=True, env=None, args=None):
    """A running `imago vlm start`; it is ended with its server, whatever happens."""
    command = [support.PROGRAM, *(args or arguments(*more))]
    process = subprocess.Popen(command, env=env or environment(how), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        if ready:
            wait_for(lambda: status()["local"] == "ready" or process.poll() is not None)
            assert process.poll() is None, process.communicate()
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)


def status():
    return json.loads(home.run("vlm", "status", "--json").stdout)


def wait_for(condition, seconds=20):
    end = time.monotonic() + seconds * SLOW
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


def is_there(pid):
    with contextlib.suppress(ProcessLookupError, FileNotFoundError):
        os.kill(pid, 0)
        return open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()[0] != "Z"
    return False


def run_to_the_end(how, *more, **kw):
    done = subprocess.run([support.PROGRAM, *arguments(*more, **kw)], env=environment(how), capture_output=True,
                          timeout=60 * SLOW)
    return done.returncode, done.stderr.decode()


# ---- well ----

def it_is_used_by_itself():
    with started() as process:
        child = starts()[0]["pid"]
        assert status() | {"url": 0} == {"local": "ready", "pid": process.pid, "by": "vlm start", "url": 0,
                                         "model": "tiny__1", "mode": "logprobs", "probed": None}
        answer = json.loads(home.run("search", "--json", "--rerank", "red").stdout)
        assert answer["rerank"]["status"] == "done" and answer["rerank"]["model"] == "tiny__1", answer["rerank"]
        # a key of the environment belongs to another server
        again = json.loads(home.run("search", "--json", "--rerank", "blue", env={"IMAGO_VLM_KEY": "x"}).stdout)
        assert again["rerank"]["status"] == "done", again["rerank"]
        assert home.run("vlm", "stop").returncode == 0
        assert process.wait(10) == 0
        assert not is_there(child) and status()["local"] == "none"
    error = home.error("search", "--rerank", "red", code=2)
    assert "vlm start" in error["hint"], error
    assert home.run("vlm", "stop", code=3).stderr


def answers_outlive_a_restart():
    with started():
        home.run("search", "--rerank", "a word that is asked once")
        first = status()["url"]
    with started():
        assert status()["url"] != first  # another port, the same model
        answer = json.loads(home.run("search", "--json", "--rerank", "a word that is asked once").stdout)
        assert answer["rerank"]["sent"] == 0 and answer["rerank"]["cached"] == 3, answer["rerank"]
    gguf(MODEL, b"qwen3vl")  # another model in the same file
    with started():
        answer = json.loads(home.run("search", "--json", "--rerank", "a word that is asked once").stdout)
        assert answer["rerank"]["cached"] == 0, answer["rerank"]


def the_key_is_its_users_alone():  # T110
    env = environment("good", LLAMA_API_KEY="of-another", IMAGO_VLM_KEY="of-a-third")
    with started(env=env, args=arguments("-v")) as process:
        key = json.load(open(FILE))["key"]
        child = starts()[0]
        assert stat.S_IMODE(os.stat(FILE).st_mode) == 0o600
        assert len(key) == 64 and key not in json.dumps(child)
        assert not {"LLAMA_API_KEY", "IMAGO_VLM_KEY"} & set(child["environment"])
        for pid in (child["pid"], process.pid):
            for name in ("cmdline", "environ"):
                assert key.encode() not in open(f"/proc/{pid}/{name}", "rb").read(), name
        # standard streams, the key, and what Python itself has open for the moment of looking
        assert child["fds"][:4] == [0, 1, 2, 3] and len(child["fds"]) <= 6, child["fds"]
        told = home.run("vlm", "status").stdout + home.run("vlm", "status", "--json").stdout
        assert key.encode() not in told
        database = open(os.path.join(home.library, "library.db"), "rb").read() + \
            open(os.path.join(home.library, "library.db-wal"), "rb").read()
        assert key.encode() not in database
    out, err = process.communicate()
    assert key.encode() not in out + err and b"a llama-server that is played" in err
    assert os.path.getsize(FILE) == 0


def a_file_of_others_says_nothing():
    with started():
        assert status()["local"] == "ready"
        os.chmod(FILE, 0o644)  # as if somebody else could have written it
        assert status()["local"] == "none"
        os.chmod(FILE, 0o600)
        if support.ROOT:
            os.chown(FILE, 65534, 65534)
            assert status()["local"] == "none"
            os.chown(FILE, 0, 0)
        assert status()["local"] == "ready"


def arguments_reach_it():
    with started("good", "--", "-ngl", "99", "--host", "0.0.0.0", ready=False) as process:
        assert process.wait(10) == 2 and b"'--host'" in process.communicate()[1]
    with started("good", "--", "-ngl", "99"):
        args = starts()[0]["args"]
        assert args[:2] == ["-ngl", "99"] and args[args.index("--model") + 1] == MODEL


def events_are_lines():
    process = subprocess.Popen([support.PROGRAM, *arguments("--json")], env=environment("good"),
                               stdout=subprocess.PIPE)
    line = b""
    while b'"ready"' not in line:
        line = process.stdout.readline()
        assert json.loads(line)["event"] in ("progress", "ready"), line
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    process.stdout.close()


# ---- badly ----

def what_is_not_there_is_named():
    def said(code, words, **kw):
        rc, err = run_to_the_end("good", **kw)
        assert rc == code and all(word in err for word in words), (rc, err)
        assert starts() == []
    said(3, ["llama-server", "PATH"], program="llama-server-that-is-not-there")
    said(3, ["no program"], program="/nowhere/llama-server")
    said(11, ["no program"], program=MODEL)
    said(3, ["/nowhere.gguf"], model="/nowhere.gguf")
    said(5, ["holds a picture projector"], model=MMPROJ)
    said(5, ["holds a language model"], mmproj=MODEL)
    text = os.path.join(home.base, "text.gguf")
    pathlib.Path(text).write_text("no model " * 100)
    said(5, ["no GGUF file"], model=text)
    pathlib.Path(text).write_text("")
    said(5, ["no GGUF file"], model=text)
    done = subprocess.run([support.PROGRAM, "vlm", "start", "--library", home.library], env=home.env, capture_output=True)
    assert done.returncode == 2 and b"--mmproj" in done.stderr, done.stderr
    done = subprocess.run([support.PROGRAM, "serve", "--library", home.library, "--mmproj", MMPROJ], env=home.env,
                          capture_output=True, timeout=60)
    assert done.returncode == 2 and b"--vlm-model-file" in done.stderr, done.stderr


def a_model_it_cannot_load_is_its_last_words():
    rc, err = run_to_the_end("exit")
    assert rc == 12 and "number of tensors is wrong" in err and "exit 1" in err, (rc, err)
    assert len(starts()) == 1 and status()["local"] == "none"


def a_port_that_was_taken_is_tried_again():
    with started("port"):
        ports = [start["args"][start["args"].index("--port") + 1] for start in starts()]
        assert len(ports) == 2, ports


def one_that_never_is_ready_is_ended():
    rc, err = run_to_the_end("never", "--wait", "1")
    assert rc == 13 and "not ready after 1 s" in err and "--wait" in err, (rc, err)
    assert not is_there(starts()[0]["pid"])


def one_that_does_not_obey_is_killed():
    with started("stubborn") as process:
        child = starts()[0]["pid"]
        process.send_signal(signal.SIGINT)
        assert process.wait(15 * SLOW) == 0
        assert not is_there(child)


def a_crash_is_mended():
    with started("dies1") as process:
        wait_for(lambda: len(starts()) == 2)
        wait_for(lambda: status()["local"] == "ready")
        ports = [start["args"][start["args"].index("--port") + 1] for start in starts()]
        assert ports[0] != ports[1] and status()["url"].endswith(":" + ports[1]), ports
        assert not is_there(starts()[0]["pid"]) and is_there(starts()[1]["pid"])
    err = process.communicate()[1].decode()
    assert "exit 9" in err and "out of memory" in err and "again in 1 s" in err, err


def it_gives_up_with_the_last_words():
    rc, err = run_to_the_end("dies", "--restarts", "2")
    assert rc == 12 and len(starts()) == 3, (rc, err, starts())
    assert "given up after 3 failures" in err and err.rstrip().split("\n")[-1].count("out of memory") == 1, err


def a_second_one_is_refused():
    with started() as process:
        rc, err = run_to_the_end("good")
        assert rc == 4 and str(process.pid) in err and "vlm stop" in err, (rc, err)
        assert status()["local"] == "ready"  # the first was not harmed


def who_only_looks_keeps_nobody_from_starting():
    looked, done = [], threading.Event()

    def look():  # as `imago vlm status` does, over and over
        with open(os.path.join(home.library, "vlm-server"), "a") as file:
            while not done.is_set():
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                    looked.append(time.sleep(0.02))
                    fcntl.flock(file, fcntl.LOCK_UN)
                time.sleep(0.002)
    looker = threading.Thread(target=look)
    looker.start()
    try:
        with started() as process:
            assert process.poll() is None and looked
    finally:
        done.set()
        looker.join()


def a_kill_leaves_nothing_behind():
    with started() as process:
        child = starts()[0]["pid"]
        process.kill()
        process.wait()
        wait_for(lambda: not is_there(child), 5)
        assert os.path.getsize(FILE) > 0 and status()["local"] == "none"  # what nobody holds says nothing
    with started():
        assert status()["local"] == "ready"


def who_asks_too_early_is_told():
    with started("never", ready=False):
        wait_for(lambda: status()["local"] == "starting")
        error = home.error("explain", "--vlm", "red", "id:1", code=8)
        assert "not ready yet" in error["message"], error


def much_that_is_written_stops_nobody():
    with started("chatty"):
        answer = json.loads(home.run("search", "--json", "--rerank", "a chat").stdout)
        assert answer["rerank"]["status"] == "done"


def what_a_wrapper_started_ends_too():
    wrapper = os.path.join(home.base, "wrapper.sh")
    pathlib.Path(wrapper).write_text(f"#!/bin/sh\n'{HERE / 'fake_llama.py'}' \"$@\"\nexit $?\n")
    os.chmod(wrapper, 0o755)
    with started(env=environment("good"), args=arguments(program=wrapper)) as process:
        child = starts()[0]["pid"]
        assert open(f"/proc/{child}/stat").read().rsplit(")", 1)[1].split()[1] != str(process.pid)
        os.kill(int(open(f"/proc/{child}/stat").read().rsplit(")", 1)[1].split()[1]), signal.SIGKILL)
        wait_for(lambda: not is_there(child), 5)  # the script died: what it had started must not stay
        wait_for(lambda: len(starts()) == 2 and status()["local"] == "ready")
        child = starts()[1]["pid"]
        assert home.run("vlm", "stop").returncode == 0
        wait_for(lambda: not is_there(child), 5)


# ---- the daemon ----

def it_ends_with_the_daemon():
    serve = [support.PROGRAM, "serve", "--library", home.library, "--listen", "127.0.0.1:0", "--vlm-model-file", MODEL,
             "--mmproj", MMPROJ, "--server", HERE / "fake_llama.py"]
    daemon = subprocess.Popen(list(map(os.fspath, serve)), env=environment("good"), stderr=subprocess.PIPE)
    try:
        wait_for(lambda: status()["local"] == "ready" or daemon.poll() is not None)
        assert daemon.poll() is None, daemon.communicate()
        child = starts()[0]["pid"]
        assert status()["by"] == "serve"
        assert json.loads(home.run("search", "--json", "--rerank", "green").stdout)["rerank"]["status"] == "done"
        assert b"'imago serve'" in home.run("vlm", "stop", code=4).stderr
        daemon.send_signal(signal.SIGTERM)
        err = daemon.communicate(timeout=20)[1].decode()
        assert daemon.returncode == 0 and "tiny__1 is ready" in err, err
        assert not is_there(child) and status()["local"] == "none"
    finally:
        daemon.kill()
        daemon.communicate()
    # what can be said at once keeps it from starting; what comes later does not end it
    serve[serve.index(MMPROJ)] = "/nowhere.gguf"
    assert subprocess.run(list(map(os.fspath, serve)), env=environment("good"), capture_output=True).returncode == 3
    serve[serve.index("/nowhere.gguf")] = MMPROJ
    daemon = subprocess.Popen(list(map(os.fspath, serve)), env=environment("exit"), stderr=subprocess.PIPE)
    try:
        lines = [daemon.stderr.readline().decode() for _ in range(2)]
        assert any("listening" in line for line in lines) and "number of tensors" in " ".join(lines), lines
        assert daemon.poll() is None
    finally:
        daemon.terminate()
        daemon.communicate(timeout=20)


# ---- the real one ----

def a_real_llama_server():
    own = Imago()
    own.add(str(HERE / "pictures"))
    with real_server.started(own) as (process, ready):
        assert ready["mode"] == "logprobs" and ready["model"] == "tiny-vlm", ready
        answer = json.loads(own.run("search", "--json", "--rerank", "red").stdout)
        assert answer["rerank"]["status"] == "done", answer["rerank"]
        best = max(answer["hits"], key=lambda hit: hit["rerank"]["p_yes"])
        assert os.path.basename(best["path"]).startswith("red") and best["rerank"]["p_yes"] > 0.5, best
        os.kill(ready["pid"], signal.SIGKILL)  # it comes back
        assert real_server.next_ready(process)["pid"] != ready["pid"]
        again = json.loads(own.run("search", "--json", "--rerank", "red").stdout)
        assert again["rerank"]["cached"] == len(answer["hits"]), again["rerank"]


support.main([it_is_used_by_itself, answers_outlive_a_restart, the_key_is_its_users_alone,
              a_file_of_others_says_nothing, arguments_reach_it,
              events_are_lines, what_is_not_there_is_named, a_model_it_cannot_load_is_its_last_words,
              a_port_that_was_taken_is_tried_again, one_that_never_is_ready_is_ended, one_that_does_not_obey_is_killed,
              a_crash_is_mended, it_gives_up_with_the_last_words, a_second_one_is_refused, who_only_looks_keeps_nobody_from_starting,
              a_kill_leaves_nothing_behind,
              who_asks_too_early_is_told, much_that_is_written_stops_nobody, what_a_wrapper_started_ends_too,
              it_ends_with_the_daemon, a_real_llama_server])
