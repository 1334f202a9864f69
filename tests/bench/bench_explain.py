#!/usr/bin/env python3
"""How well the library's own model tells true attributes from false ones: on rendered pictures of one
coloured shape a model's words are played back, half of them wrong, and `imago explain --vlm` says which
it drops. Prints one JSON object. usage: bench_explain.py IMAGO SOURCE [PICTURES]"""
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zlib

IMAGO, SOURCE = os.path.abspath(sys.argv[1]), pathlib.Path(sys.argv[2]).resolve()
N = int(sys.argv[3]) if len(sys.argv) > 3 else 200
sys.path.insert(0, str(SOURCE / "tests/vlm"))
import fake_server as fake  # noqa: E402

COLOURS = {"red": (220, 30, 30), "green": (30, 160, 50), "blue": (40, 70, 220), "yellow": (240, 220, 40),
           "white": (245, 245, 245), "black": (15, 15, 15), "orange": (245, 140, 20), "purple": (130, 40, 160)}
SHAPES = {"circle": lambda x, y: x * x + y * y < 0.36,
          "square": lambda x, y: max(abs(x), abs(y)) < 0.55,
          "triangle": lambda x, y: -0.6 < y < 0.6 and abs(x) < (y + 0.6) / 2,
          "stripe": lambda x, y: abs(x + y) < 0.25}


def png(colour, shape, ground, size=224):
    rows = bytearray()
    for j in range(size):
        rows.append(0)
        for i in range(size):
            inside = SHAPES[shape](2 * i / size - 1, 2 * j / size - 1)
            rows += bytes(COLOURS[colour if inside else ground])

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0)) +
            chunk(b"IDAT", zlib.compress(bytes(rows))) + chunk(b"IEND", b""))


def main():
    rng = random.Random(17)
    with tempfile.TemporaryDirectory() as work:
        env = dict(os.environ, IMAGO_DATA=str(SOURCE / "data"), XDG_DATA_HOME=work, HOME=work)
        library, pictures, scenes = os.path.join(work, "library"), os.path.join(work, "p"), {}
        os.mkdir(pictures)
        while len(scenes) < N:
            colour, ground = rng.sample(sorted(COLOURS), 2)
            scene = (colour, rng.choice(sorted(SHAPES)), ground)
            name = "-".join(scene) + ".png"
            if name not in scenes:
                scenes[name] = scene
                pathlib.Path(pictures, name).write_bytes(png(*scene))

        def run(*args):
            done = subprocess.run([IMAGO, args[0], "--library", library, "--json", *args[1:]], env=env,
                                  capture_output=True, check=True)
            return json.loads(done.stdout.splitlines()[-1])
        run("add", pictures)
        items = {os.path.basename(hit["path"]): hit["id"] for hit in run("search", "-k", str(N), "shape")["hits"]}
        server, kept, dropped, zs = fake.FakeServer(), [0, 0], [0, 0], [[], []]
        for name, (colour, shape, ground) in scenes.items():
            others = sorted(set(COLOURS) - {colour, ground})
            true = [f"a {colour} {shape}", f"{ground} background"]
            wrong = rng.choice(others), rng.choice(others)
            false = [f"a {wrong[0]} {rng.choice(sorted(set(SHAPES) - {shape}))}", f"{wrong[1]} background"]
            answer = json.dumps({"verdict": "match", "abstain": False, "missing": [],
                                 "matches": [{"attribute": a, "place": "whole"} for a in true + false]})
            server.act = lambda handler, body, answer=answer: fake.send(handler, fake.chat(answer))
            vlm = run("explain", "--vlm", "--vlm-url", server.url, f"a {colour} {shape}", f"id:{items[name]}")["vlm"]
            for kind, counts in (("matches", kept), ("dropped", dropped)):
                for attribute in vlm[kind]:
                    is_false = attribute["attribute"] in false
                    counts[is_false] += 1
                    zs[is_false].append(attribute["z"])
        server.close()
        wins = sum((t > f) + 0.5 * (t == f) for t in zs[0] for f in zs[1]) / (len(zs[0]) * len(zs[1]))
        at = {limit: [round(sum(z >= limit for z in zs[0]) / len(zs[0]), 3),
                      round(sum(z < limit for z in zs[1]) / len(zs[1]), 3)] for limit in (0.5, 1, 1.25, 1.5, 1.75, 2, 2.5)}
        print(json.dumps({"pictures": N, "kept_dropped_at": at, "true_kept": round(kept[0] / (kept[0] + dropped[0]), 3),
                          "false_dropped": round(dropped[1] / (kept[1] + dropped[1]), 3), "auc": round(wins, 3),
                          "mean_z": [round(sum(z) / len(z), 2) for z in zs]}))


main()
