#!/usr/bin/env python3
"""A text search from the start of the process to its printed hits, beside what starts ONNX Runtime.

    bench_start.py --program build/release/cli/imago [--work FOLDER] [--pictures 10000] [--rounds 21]

FOLDER is that of bench_peers.py, which has the peers, the B/32 checkpoint of random weights and its int8
model in ONNX. Makes a library of small pictures there (once; two minutes), then takes turns: `imago
search`, warm page cache; a Python that loads ONNX Runtime and its text model and runs one text of ten
tokens that is tokenised already; the same Python with transformers' tokenizer. Prints a JSON object:
milliseconds by the clock and of processor time, median and least, and MiB resident at most (RssAnon + RssFile)."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

RUNTIME = """
import sys, numpy, onnxruntime
s = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
ids = numpy.ones((1, 10), dtype=numpy.int64)
if len(sys.argv) > 2:
    from transformers import CLIPTokenizerFast
    ids = numpy.array(CLIPTokenizerFast.from_pretrained(sys.argv[2])(["red car"])["input_ids"], dtype=numpy.int64)
s.run(None, {s.get_inputs()[0].name: ids})
"""
MAKE = """
import sys, numpy, os
from PIL import Image
rng = numpy.random.default_rng(1)
for i in range(int(sys.argv[2])):
    colours = rng.integers(0, 255, (6, 6, 3), dtype=numpy.uint8)
    Image.fromarray(colours).resize((96, 96), Image.Resampling.BICUBIC).save(os.path.join(sys.argv[1], f"{i:05d}.jpg"))
"""


def library(args, python):
    folder = args.work / f"start-{args.pictures}"
    if not (folder / "done").exists():
        (folder / "pictures").mkdir(parents=True, exist_ok=True)
        subprocess.run([python, "-c", MAKE, folder / "pictures", str(args.pictures)], check=True)
        subprocess.run([args.program, "--library", folder / "library", "--precision", "bf16", "add", "--model",
                        args.work / "b32", folder / "pictures"], check=True)
        (folder / "done").touch()
    return folder / "library"


def once(command):
    """Milliseconds by the clock, of processor time, and MiB at most."""
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{command} ends with {child.returncode}")
    return wall * 1e3, (used.ru_utime + used.ru_stime) * 1e3, used.ru_maxrss / 1024


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--program", type=pathlib.Path, required=True)
    p.add_argument("--work", type=pathlib.Path, default=pathlib.Path("/tmp/imago-peers"))
    p.add_argument("--pictures", type=int, default=10000)
    p.add_argument("--rounds", type=int, default=21)
    args = p.parse_args()
    python = args.work / "venv/bin/python"
    model = args.work / "b32-onnx/text-int8.onnx"
    if not model.exists():
        sys.exit(f"{model} is not there: run bench_peers.py --shapes b32 --work {args.work} first")
    ways = {"imago": [args.program, "--library", library(args, python), "search", "red car"],
            "onnxruntime": [python, "-c", RUNTIME, model],
            "onnxruntime and tokenizer": [python, "-c", RUNTIME, model, args.work / "b32"]}
    rounds = {name: [] for name in ways}
    for command in ways.values():  # fills the page cache
        once(command)
    for _ in range(args.rounds):
        for name, command in ways.items():
            rounds[name].append(once(command))
    out = {"what": "start", "pictures": args.pictures, "rounds": args.rounds, "load": round(os.getloadavg()[0], 1)}
    for name, times in rounds.items():
        wall, cpu, memory = zip(*times)
        out[name] = {"wall_ms": statistics.median(wall), "wall_least_ms": min(wall),
                     "cpu_ms": statistics.median(cpu), "cpu_least_ms": min(cpu), "most_mib": max(memory)}
        out[name] = {k: round(v, 1) for k, v in out[name].items()}
        out[name]["times_imago"] = round(out[name]["wall_ms"] / out["imago"]["wall_ms"], 1)
    print(json.dumps(out))


if __name__ == "__main__":
    main()
