#!/usr/bin/env python3
"""Photo to tensor, and 200 photos into a library, beside Pillow and transformers in the same run.

    bench_decode.py decode BENCH_DECODE PHOTOS [-n 12] [--rounds 5]
    bench_decode.py add IMAGO PHOTOS MODEL BENCH_DECODE [-n 200] [--loop 16] [--precision bf16]
                        [--library PREPARED]

PHOTOS is a folder of make_photos.py, MODEL one of make_clip.py b32; the peers are Pillow, torch,
torchvision and transformers. `decode` is one core: processor time, the least of the rounds, which take turns file by
file; `add` is wall and processor time of one command. Prints a table and, last, one JSON object.
The bound of `add` is the processor time of decoding these photos and of encoding as many pictures of
224 x 224, over the cores: what no pipeline can beat."""
import argparse
import glob
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time

SIDE = 224


def machine():
    with open("/proc/cpuinfo") as f:
        model = next((line.split(":")[1].strip() for line in f if line.startswith("model name")), "")
    return {"cpu": model or platform.machine(), "cores": len(os.sched_getaffinity(0)),
            "load": round(os.getloadavg()[0], 1)}


def photos(folder, n):
    found = sorted(glob.glob(os.path.join(folder, "*.jpg")))[:n]
    if not found:
        sys.exit(f"no .jpg in {folder}: make them with make_photos.py")
    return found


def draft(path):
    """Pillow as one who knows it uses it: reduced decode, then the resize and the crop."""
    from PIL import Image

    with Image.open(path) as picture:
        picture.draft("RGB", (2 * SIDE, 2 * SIDE))
        rgb = picture.convert("RGB")
    w, h = rgb.size
    size = (SIDE, int(SIDE * h / w)) if w <= h else (int(SIDE * w / h), SIDE)
    rgb = rgb.resize(size, Image.Resampling.BICUBIC)
    x, y = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    return rgb.crop((x, y, x + SIDE, y + SIDE))


def processors(model=None):
    """The classes behind AutoProcessor: the PIL-based one and the one on torchvision."""
    import transformers

    size = {"size": {"shortest_edge": SIDE}, "crop_size": {"height": SIDE, "width": SIDE}}
    names = {"pil": ("CLIPImageProcessorPil", "CLIPImageProcessor"),
             "torchvision": ("CLIPImageProcessorFast", "CLIPImageProcessor")}
    return {kind: next(getattr(transformers, n) for n in order if hasattr(transformers, n))(**size)
            for kind, order in names.items()}


def least(times, key, run):
    start = time.process_time()
    out = run()
    ms = (time.process_time() - start) * 1e3
    times[key] = min(ms, times.get(key, ms))
    return out


def decode(args):
    import numpy as np
    import torch
    from PIL import Image

    torch.set_num_threads(1)
    kinds = processors()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in photos(args.photos, args.n):
            row = {}
            for _ in range(args.rounds):
                kept = os.path.join(folder, "pixels")
                ours = json.loads(subprocess.run([args.program, path, "1", kept], check=True,
                                                 stdout=subprocess.PIPE).stdout)
                for key, value in ours.items():
                    if key.endswith("_ms"):
                        row[key[:-3]] = min(value, row.get(key[:-3], value))
                    elif key.endswith("_bytes"):
                        row[key] = value
                least(row, "pillow_draft", lambda: draft(path))
                for kind, processor in kinds.items():
                    least(row, f"transformers_{kind}", lambda: processor(
                        images=Image.open(path).convert("RGB"), return_tensors="pt"))
            reference = kinds["pil"](images=Image.open(path).convert("RGB"), do_rescale=False,
                                     do_normalize=False, return_tensors="np")["pixel_values"][0]
            mine = np.fromfile(kept, np.uint8).reshape(SIDE, SIDE, 3).transpose(2, 0, 1)
            away = np.abs(np.rint(reference).astype(int) - mine.astype(int))
            row["mean_difference"], row["most_difference"] = float(away.mean()), int(away.max())
            row["megabytes"] = os.path.getsize(path) / 1e6
            rows.append(row)
            print(f"{os.path.basename(path)}: " + " ".join(
                f"{k} {v:.1f}" for k, v in row.items() if not k.endswith("_bytes")), file=sys.stderr)
    mean = {key: sum(row[key] for row in rows) / len(rows) for key in rows[0]}
    default = min(mean["transformers_pil"], mean["transformers_torchvision"])
    ratios = {"of_pillow_draft": mean["read"] / mean["pillow_draft"],
              "times_transformers_pil": mean["transformers_pil"] / mean["read"],
              "times_transformers_torchvision": mean["transformers_torchvision"] / mean["read"],
              "times_default": default / mean["read"],
              "mean_difference": mean["mean_difference"]}
    for key, value in mean.items():
        print(f"{key:28} {value:12.2f}" if not key.endswith("_bytes") else
              f"{key:28} {value / 2**20:9.2f} MiB")
    for key, value in ratios.items():
        print(f"{key:28} {value:12.2f}")
    return {"what": "decode", "photos": len(rows), "mean": mean, "ratios": ratios}


def imago(args, library, *command):
    """Wall and processor seconds, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    out = subprocess.run([args.program, "--library", library, "--precision", args.precision, *command],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=True).stdout
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu, [json.loads(line) for line in out.splitlines() if b'"done"' in line][-1]


def loop(args, paths):
    """Seconds a picture of the usual loop: open, process, get_image_features, eight at a time."""
    import torch
    from PIL import Image
    from transformers import CLIPConfig, CLIPModel

    with torch.inference_mode():
        model = CLIPModel(CLIPConfig.from_pretrained(args.model)).eval()
        processor = processors()["torchvision"]
        best = {}
        for kind in (torch.float32, torch.bfloat16):
            model = model.to(kind)
            wall, cpu = time.monotonic(), time.process_time()
            for at in range(0, len(paths), 8):
                pictures = [Image.open(path).convert("RGB") for path in paths[at:at + 8]]
                tensor = processor(images=pictures, return_tensors="pt")["pixel_values"].to(kind)
                model.get_image_features(pixel_values=tensor)
            best[str(kind)[6:]] = ((time.monotonic() - wall) / len(paths),
                                   (time.process_time() - cpu) / len(paths))
    return best


def add(args):
    from PIL import Image

    paths = photos(args.photos, args.n)
    with tempfile.TemporaryDirectory() as folder:
        sets = {"photos": os.path.join(folder, "photos"), "small": os.path.join(folder, "small"),
                "first": os.path.join(folder, "first")}
        for path in sets.values():
            os.mkdir(path)
        for i, path in enumerate(paths):
            os.link(path, os.path.join(sets["photos"], f"{i}.jpg")) if os.stat(path).st_dev == \
                os.stat(folder).st_dev else shutil.copy(path, os.path.join(sets["photos"], f"{i}.jpg"))
            small = draft(path)
            small.putpixel((0, 0), (i % 256, i // 256, 1))
            small.save(os.path.join(sets["small"], f"{i}.png"), compress_level=0)
        Image.new("RGB", (64, 64), (9, 9, 9)).save(os.path.join(sets["first"], "a.png"))
        empty = os.path.join(folder, "library")
        if args.library is not None:
            shutil.copytree(args.library, empty)
        else:  # prepares the model
            imago(args, empty, "add", "--json", "--model", args.model, sets["first"])
        out = {"what": "add", "n": len(paths), "precision": args.precision}
        for name in ("small", "photos") * args.rounds:
            library = f"{empty}-{name}"
            shutil.rmtree(library, ignore_errors=True)
            shutil.copytree(empty, library)
            wall, cpu, done = imago(args, library, "add", "--json", sets[name])
            if name not in out or cpu < out[name]["cpu_s"]:
                out[name] = {"wall_s": wall, "cpu_s": cpu, "stages": done["stages"],
                             "pace": done["pace"], "memory": done["memory"]}
        wall, cpu, done = imago(args, shutil.copytree(empty, f"{empty}-bound"), "add", "--json",
                                "--memory", "700M", sets["photos"])
        out["bounded"] = {"wall_s": wall, "cpu_s": cpu, "memory": done["memory"]}
    out["decode_cpu_s"] = sum(
        json.loads(subprocess.run([args.decode, path, "1"], check=True, stdout=subprocess.PIPE).stdout)
        ["read_hash_ms"] for path in paths) / 1e3
    out["loop_s_a_picture"] = loop(args, paths[:args.loop])
    cores = len(os.sched_getaffinity(0))
    bound = (out["decode_cpu_s"] + out["small"]["cpu_s"]) / cores
    peer_wall = min(w for w, _ in out["loop_s_a_picture"].values()) * len(paths)
    peer_cpu = min(c for _, c in out["loop_s_a_picture"].values()) * len(paths)
    out["ratios"] = {"bound_s": bound, "work_of_bound": bound * cores / out["photos"]["cpu_s"],
                     "wall_of_bound": bound / out["photos"]["wall_s"],
                     "times_loop_cpu": peer_cpu / out["photos"]["cpu_s"],
                     "times_loop_wall": peer_wall / out["photos"]["wall_s"]}
    for stage in out["photos"]["stages"]:
        print(f"{stage['name']:10} {stage['busy_seconds']:8.2f} s busy, {stage['threads']} threads")
    for key, value in out["ratios"].items():
        print(f"{key:20} {value:8.2f}")
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("decode")
    one.add_argument("program")
    one.add_argument("photos")
    one.add_argument("-n", type=int, default=12)
    one.add_argument("--rounds", type=int, default=5)
    two = commands.add_parser("add")
    two.add_argument("program")
    two.add_argument("photos")
    two.add_argument("model")
    two.add_argument("decode", help="bench_decode")
    two.add_argument("-n", type=int, default=200)
    two.add_argument("--loop", type=int, default=16)
    two.add_argument("--precision", default="bf16")
    two.add_argument("--rounds", type=int, default=2)
    two.add_argument("--library", help="one without these photos whose model is prepared: copied")
    args = parser.parse_args()
    before = machine()
    out = decode(args) if args.command == "decode" else add(args)
    print(json.dumps({"machine": before, "load_after": os.getloadavg()[0], **out}))


if __name__ == "__main__":
    main()
