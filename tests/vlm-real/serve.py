#!/usr/bin/env python3
"""One real server with one tiny model: starts it, waits for it, holds it to what imago believes of its
family, stops it. usage: serve.py mllama|deepseek-vl2|nvlm-d IMAGO CODEC SOURCE MODEL_FOLDER COMMAND…
({port} in the command is replaced)"""
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import time

FAMILY, IMAGO, CODEC, SOURCE, FOLDER = sys.argv[1:6]
sys.argv = [sys.argv[0], IMAGO, SOURCE, *sys.argv[6:]]
sys.path.insert(0, str(pathlib.Path(SOURCE).resolve() / "tests/app"))
from support import Imago, png  # noqa: E402

PICTURES = pathlib.Path(SOURCE).resolve() / "tests/vlm/pictures"
MATCH = "Query: red. Does this picture match the query? Answer yes or no."
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    PORT = free.getsockname()[1]
URL = f"http://127.0.0.1:{PORT}"
home = Imago()
home.add(str(PICTURES))
log = open(os.path.join(FOLDER, "server.log"), "wb")
server = subprocess.Popen([word.replace("{port}", str(PORT)) for word in sys.argv[3:]], stdout=log, stderr=log)


def http_ask(method, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=300)
    connection.request(method, path, body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    return answer.status, answer.read()


def wait_for_health(seconds=1800):
    for _ in range(2 * seconds):
        try:
            if http_ask("GET", "/health")[0] == 200:
                return
        except OSError:
            if server.poll() is not None:
                break
        time.sleep(0.5)
    lines = pathlib.Path(log.name).read_text(errors="replace").splitlines()
    raise AssertionError("the server did not come up:\n" + "\n".join(lines[-12:]))


def codec(*args, given=b""):
    return subprocess.run([CODEC, *map(str, args)], input=given, check=True, capture_output=True).stdout


def model():
    return json.loads(http_ask("GET", "/v1/models")[1])["data"][0]["id"]


def ask(profile, mode, text, pictures):
    body = json.loads(codec("write", profile, mode, text, *pictures))
    body["model"] = model()
    status, data = http_ask("POST", "/v1/systemone" if mode == "systemone" else "/v1/chat/completions", json.dumps(body))
    assert status == 200, (status, data[:400])
    return json.loads(codec("read", profile, mode, given=data)), json.loads(data)


def sent(name, data=None):
    """A picture as imago sends it, in a file."""
    source = PICTURES / name
    if data is not None:
        source = pathlib.Path(home.base, name)
        source.write_bytes(data)
    path = pathlib.Path(home.base, f"sent-{source.stem}.jpg")
    path.write_bytes(codec("picture", source))
    return path


def probed():
    return json.loads(home.run("vlm", "probe", "--json", "--vlm-url", URL, "--vlm-seconds", "300").stdout)


# ---- transformers serve, Llama 3.2 Vision ----

def mllama():
    found = probed()
    assert found["profile"] == "transformers" and found["mode"] == "systemone", found
    answer = json.loads(home.run("search", "--json", "--rerank", "--vlm-seconds", "300", "red", timeout=400).stdout)
    assert answer["rerank"]["status"] == "done" and answer["rerank"]["mode"] == "systemone", answer["rerank"]
    told = {os.path.basename(hit["path"]): hit["rerank"]["p_yes"] for hit in answer["hits"]}
    assert len({round(p, 6) for p in told.values()}) >= 4, told  # the pictures reach the model
    worst = 0
    for name, p in told.items():
        text = "Query: red. Does this picture match the query?"
        worst = max(worst, abs(ask("transformers", "systemone", text, [sent(name)])[0]["p_yes"] - p))
    assert worst < 1e-5, worst
    _, small = ask("transformers", "word", MATCH, [sent("yellow_112x112.png")])
    _, large = ask("transformers", "word", MATCH, [sent("large.png", png(3, 440, 220))])
    assert small["usage"]["prompt_tokens"] == large["usage"]["prompt_tokens"], "read by cross-attention: not in the prompt"
    print(f"ok   {FAMILY}: probed as {found['profile']}, mode {found['mode']}; P(yes) of {len(told)} pictures "
          f"{min(told.values()):.3f} to {max(told.values()):.3f}; largest difference to asking it directly {worst:.1e}; "
          f"{small['usage']['prompt_tokens']} prompt tokens whatever the picture")


# ---- vLLM ----

def deepseek_tokens(width, height, tiled):
    """DeepSeek-VL2's README: the candidate m x n <= 9 of 384 that keeps most of the picture and wastes least."""
    best = (0, 0, 0, 0)
    for m in range(1, 10):
        for n in range(1, 10):
            if m * n <= 9:
                scale = min(384 * m / width, 384 * n / height)
                kept = min(int(width * scale) * int(height * scale), width * height)
                best = max(best, (kept, -384 * 384 * m * n + kept, -m, -n))
    m, n = (-best[2], -best[3]) if tiled else (1, 1)
    return 14 * 15 + 1 + (14 * n) * (14 * m + 1), m, n


def nvlm_tokens(width, height):
    """Tiles of 448, 256 tokens each, one to six by the nearest aspect, and a thumbnail beside several."""
    grids = sorted({(i, j) for i in range(1, 8) for j in range(1, 8) if i * j <= 7}, key=lambda g: g[0] * g[1])
    best, nearest = (1, 1), float("inf")
    for grid in grids:
        away = abs(width / height - grid[0] / grid[1])
        if away < nearest or (away == nearest and width * height > 0.5 * 448 * 448 * grid[0] * grid[1]):
            best, nearest = grid, away
    tiles = best[0] * best[1]
    return 256 * (tiles + (tiles > 1)), tiles


def jpeg_size(path):
    sys.path.insert(0, str(pathlib.Path(SOURCE).resolve() / "tests/vlm"))
    import fake_server
    return fake_server.jpeg_size(pathlib.Path(path).read_bytes())


def prompt_tokens(pictures):
    return ask("vllm", "logprobs", MATCH, pictures)[1]["usage"]["prompt_tokens"]


def families_pictures():
    for name, width, height in (("square.png", 300, 300), ("wide.png", 448, 160), ("tall.png", 150, 448),
                                ("large.png", 448, 392)):
        yield sent(name, png(width, width, height))


def vllm_judges():
    """Weights that are not trained give each token much the same probability: no judgement, said as such, and
    the order of the hits stays."""
    done = home.run("vlm", "probe", "--json", "--vlm-url", URL, "--vlm-seconds", "300", code=None)
    assert done.returncode == 7 and b"low mass" in done.stderr, (done.returncode, done.stdout, done.stderr)
    plain = json.loads(home.run("search", "--json", "-k", "3", "red").stdout)
    answer = json.loads(home.run("search", "--json", "--rerank=3", "-k", "3", "--vlm-url", URL, "--vlm-profile", "vllm",
                                 "--vlm-seconds", "300", "red", timeout=400).stdout)
    report = answer["rerank"]
    assert report["status"] == "failed" and report["reason"] == "3 low mass" and report["sent"] == 4, report
    assert [hit["id"] for hit in answer["hits"]] == [hit["id"] for hit in plain["hits"]]
    assert all(0 <= hit["rerank"]["mass"] < 0.1 for hit in answer["hits"]), answer["hits"]
    return answer["hits"][0]["rerank"]["mass"]


def deepseek_vl2():
    without = prompt_tokens([])
    rows = []
    for path in families_pictures():
        width, height = jpeg_size(path)
        want, m, n = deepseek_tokens(width, height, True)
        got = prompt_tokens([path]) - without
        assert got == want, (width, height, got, want)
        rows.append(f"{width}x{height}: {m}x{n} tiles, {got}")
    three = list(families_pictures())[:3]
    assert prompt_tokens(three) - without == 3 * 421, "above two pictures there is no tiling"
    print(f"ok   {FAMILY}: tokens a picture as its tiling formula says: {'; '.join(rows)}; three pictures 421 each")
    # not probed: a full tower of 400 million weights takes minutes a picture; nvlm_d does that


def nvlm_d():
    without = prompt_tokens([])
    base, rows = None, []
    for path in families_pictures():
        width, height = jpeg_size(path)
        want, tiles = nvlm_tokens(width, height)
        tags = prompt_tokens([path]) - without - want  # <Image>, <tile_k>, </Image>, line ends
        extra = tags - (tiles + (tiles > 1))
        base = extra if base is None else base
        assert extra == base and 0 < extra <= 8, (width, height, tags, tiles)
        rows.append(f"{width}x{height}: {tiles} tiles, {want} and {tags} of tags")
    print(f"ok   {FAMILY}: tokens a picture as its tiling says: {'; '.join(rows)}")
    print(f"ok   {FAMILY}: mass of yes and no {vllm_judges():.3f}: no judgement, the order stays")


try:
    wait_for_health()
    {"mllama": mllama, "deepseek-vl2": deepseek_vl2, "nvlm-d": nvlm_d}[FAMILY]()
finally:
    server.terminate()
    try:
        server.wait(30)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
