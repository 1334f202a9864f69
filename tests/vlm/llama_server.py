#!/usr/bin/env python3
"""The whole way through a real llama-server with a tiny model that knows six colours
(tests/reference/make_tiny_vlm.py): P(yes) is that of transformers on the same weights, also of
pictures that imago stretches to multiples of 28 itself. Where the server comes from: real_server.py."""
import contextlib
import http.client
import json
import os
import pathlib
import pty
import re
import socket
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CODEC = sys.argv[3]
sys.path.insert(0, str(ROOT / "tests/app"))
import real_server  # noqa: E402
import support  # noqa: E402
from support import Imago  # noqa: E402

if real_server.PROGRAM is None:
    print(f"skipped: needs {real_server.MISSING}")
    sys.exit(77)

COLOURS = ("red", "green", "blue", "yellow", "white", "black")
PICTURES = sorted((HERE / "pictures").glob("*.png"))
GOLDEN = json.loads((ROOT / "tests/golden/vlm/tiny_vlm.json").read_text())
MATCH = "Query: {}. Does this picture match the query? Answer yes or no."
WANTED = {(*row["pictures"], row["text"]): row["p_yes"] for row in GOLDEN["rows"]}

home = Imago()
home.add(str(HERE / "pictures"))
models = real_server.models(GOLDEN["weights_sha256"])

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
URL = f"http://127.0.0.1:{PORT}"
server = subprocess.Popen(
    [real_server.PROGRAM, "--host", "127.0.0.1", "--port", str(PORT), "-m", f"{models}/tiny-vlm.gguf", "--mmproj",
     f"{models}/tiny-vlm-mmproj.gguf", "-ngl", "0", "-t", "2", "-np", "2", "--no-warmup", "-fa", "off", "-ctk", "f32",
     "-ctv", "f32"], cwd=pathlib.Path(real_server.PROGRAM).parent,
    env=dict(os.environ, LD_LIBRARY_PATH=real_server.LIBRARIES),
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def wait_for_health():
    for _ in range(300):
        try:
            if ask("GET", "/health")[0] == 200:
                return
        except OSError:
            assert server.poll() is None, f"llama-server ended with {server.returncode}"
        time.sleep(0.1)
    raise AssertionError("llama-server did not start")


def codec(*args, given=b""):
    return subprocess.run([CODEC, *map(str, args)], input=given, check=True, capture_output=True).stdout


def sent(picture):
    """A picture as imago sends it, in a file."""
    path = os.path.join(home.base, f"sent-{pathlib.Path(picture).stem}.jpg")
    pathlib.Path(path).write_bytes(codec("picture", picture))
    return path


def says(mode, status, data, profile="llama-server"):
    assert status == 200, (status, data[:300])
    return json.loads(codec("read", profile, mode, given=data))


def judged(pictures, text):
    body = codec("write", "llama-server", "logprobs", text, *pictures)
    return says("logprobs", *ask("POST", "/v1/chat/completions", body))


# ---- imago itself ----

def probe_knows_it():
    found = json.loads(home.run("vlm", "probe", "--json", "--vlm-url", URL).stdout)
    assert found["profile"] == "llama-server" and found["mode"] == "logprobs" and found["model"], found


def p_yes_is_that_of_transformers():
    worst = {}
    for colour in COLOURS:
        answer = json.loads(home.run("search", "--json", "--rerank", colour).stdout)
        assert answer["rerank"]["status"] == "done", answer["rerank"]
        judged = {os.path.basename(hit["path"])[:-4]: hit["rerank"]["p_yes"] for hit in answer["hits"]}
        assert set(judged) == {path.stem for path in PICTURES}
        assert max(judged, key=judged.get).startswith(colour), judged
        for name, p in judged.items():
            away = abs(p - WANTED[(name, MATCH.format(colour))])
            worst[name] = max(worst.get(name, 0), away)
    print("P(yes), largest difference from transformers: " +
          ", ".join(f"{name} {away:.5f}" for name, away in sorted(worst.items())))
    assert {"red_300x200", "green_201x150"} <= set(worst)  # those that imago stretches
    assert max(worst.values()) < 0.01, worst


def what_was_asked_is_kept():
    answer = json.loads(home.run("search", "--json", "--rerank", "red").stdout)
    assert answer["rerank"]["cached"] == len(PICTURES) and answer["rerank"]["sent"] == 0, answer["rerank"]
    again = json.loads(home.run("search", "--json", "--rerank", "a red thing").stdout)["rerank"]
    assert again["cached"] == 0 and again["sent"] == len(PICTURES) + 1 and again["tokens"] > 500, again


def explanations_are_bound_to_the_schema():
    """A model of noise writes what it likes, within the schema that the server holds it to."""
    done = home.run("explain", "--json", "--vlm", "red", "id:1", code=None)
    assert done.returncode in (0, 12, 13), done.stderr  # 13: so long that the time was over
    if done.returncode == 0:
        vlm = json.loads(done.stdout)["vlm"]
        assert vlm["verdict"] in ("match", "partial", "no match", None) and vlm["tokens"] > 0, vlm
    elif done.returncode == 12:
        assert b"cut" in done.stderr, done.stderr


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


def a_list_is_asked_for_in_a_form_it_takes():
    """The model of noise orders nothing; the server takes the question with its schema all the same."""
    report = json.loads(home.run("search", "--json", "--rerank=4", "-k", "4", "--rerank-mode", "listwise",
                                 "red").stdout)["rerank"]
    assert report["status"] == "done" and report["judged"] == 4, report
    assert report["mode"] == "listwise" or "order" in report["no_list"] or "cut" in report["no_list"], report


# ---- the codecs over HTTP ----

def no_server_resizes_what_is_sent():
    """Both sides are multiples of 28, so the prompt has as many tokens as transformers counts."""
    for picture in PICTURES:
        tokens = judged([sent(picture)], MATCH.format("red"))["tokens"]
        want = next(row["prompt_tokens"] for row in GOLDEN["rows"] if row["pictures"] == [picture.stem])
        assert tokens == want + 1, (picture, tokens, want)


def two_pictures_are_told_apart():
    rows = [row for row in GOLDEN["rows"] if len(row["pictures"]) == 2]
    assert len(rows) >= 6
    worst = 0
    for row in rows:
        got = judged([sent(HERE / "pictures" / f"{name}.png") for name in row["pictures"]], row["text"])
        assert got["outcome"] == "judged" and got["tokens"] == row["prompt_tokens"] + 1, (row, got)
        worst = max(worst, abs(got["p_yes"] - row["p_yes"]))
    print(f"two pictures: {len(rows)} prompts, largest difference {worst:.5f}")
    assert worst < 0.01


def a_score_is_a_json_object():
    body = codec("write", "llama-server", "score", "Query: red. How well does it match?", sent(PICTURES[0]))
    reply = says("score", *ask("POST", "/v1/chat/completions", body))
    assert reply["outcome"] == "judged" and set(json.loads(reply["text"])) == {"score"}, reply
    assert 0 < reply["tokens_out"] < reply["tokens"], reply


def a_stream_says_the_same():
    question = ("write", "llama-server", "logprobs", MATCH.format("blue"), sent(PICTURES[1]))
    body = json.loads(codec(*question))
    whole = says("logprobs", *ask("POST", "/v1/chat/completions", json.dumps(body)))
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    status, data = ask("POST", "/v1/chat/completions", json.dumps(body))
    assert data.startswith(b"data:") and b"[DONE]" in data
    streamed = says("logprobs", status, data)
    for key in whole:
        same = abs(streamed[key] - whole[key]) < 1e-5 if isinstance(whole[key], float) else streamed[key] == whole[key]
        assert same, (key, streamed, whole)
    body = json.loads(codec("write", "llama-server", "none", "Describe this.", sent(PICTURES[1])))
    text = says("none", *ask("POST", "/v1/chat/completions", json.dumps(body)))["text"]
    assert text.strip() == "A picture of " + PICTURES[1].stem.split("_")[0] + ".", text
    body |= {"stream": True}
    assert says("none", *ask("POST", "/v1/chat/completions", json.dumps(body)))["text"] == text


def its_errors_have_codes():
    good = json.loads(codec("write", "llama-server", "logprobs", "red", sent(PICTURES[0])))
    picture = good["messages"][0]["content"][0]["image_url"]
    cases = [("no picture", lambda: picture.update(url="data:image/jpeg;base64,AAAA"), "picture|image|decode|load"),
             ("odd URL", lambda: picture.update(url="x"), "base64|URL|url"),
             ("no messages", lambda: good.pop("messages"), "messages"),
             ("no JSON", None, "JSON|parse|json")]
    for name, spoil, word in cases:
        if spoil is not None:
            spoil()
        status, data = ask("POST", "/v1/chat/completions", json.dumps(good) if spoil else "{")
        assert status >= 400, (name, status, data)
        said = json.loads(codec("status", "llama-server", status, given=data))
        assert said["code"] == 12 and re.search(word, said["message"]), (name, status, said)
    status, data = ask("GET", "/v1/nothing")
    assert json.loads(codec("status", "llama-server", status, given=data))["code"] == 3, (status, data)


try:
    wait_for_health()
    support.main([probe_knows_it, p_yes_is_that_of_transformers, what_was_asked_is_kept,
                  explanations_are_bound_to_the_schema, a_list_is_asked_for_in_a_form_it_takes,
                  questions_are_answered_whole_and_as_a_stream, no_server_resizes_what_is_sent, two_pictures_are_told_apart,
                  a_score_is_a_json_object, a_stream_says_the_same, its_errors_have_codes])
finally:
    server.terminate()
    server.wait()
