#!/usr/bin/env python3
"""The encoder beside PyTorch, ONNX Runtime and OpenVINO, on the same random-weight CLIP, in one run:

    bench_peers.py --build build/release [--shapes b32,b16,l14] [--rounds 15] [--busy 2] [--work FOLDER]

Installs the peers from PyPI into FOLDER/venv (once), makes the checkpoints, converts them, and lets
every contestant do each task once a round, in turn, in a process of its own that sleeps meanwhile.
Prints a table (median, least, p90 of the rounds; ratio of the medians to imago's in the same class of
accuracy) and writes FOLDER/peers.json. `cos` is the lowest cosine to PyTorch in float32. --busy N lets
N processes burn the cores beside it. Each peer has the threads of its line, inter-op parallelism off,
its own attention kernels (PyTorch: sdpa) and passive waiting."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
PACKAGES = ["torch", "transformers", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf", "Pillow", "numpy"]
TEXTS = ["red car on a wet street at", "two dogs run over green hill", "the old man reads his paper"]
N_PICTURES = 8


# ---- one contestant, in its own process: lines in, lines out, as bench_peer.c ----

class Torch:
    def __init__(self, folder, precision, threads):
        import torch
        from transformers import CLIPModel
        self.torch = torch
        torch.set_num_threads(threads)
        torch.set_num_interop_threads(1)
        self.dtype = {"fp32": torch.float32, "bf16": torch.bfloat16}[precision]
        self.model = CLIPModel.from_pretrained(folder, attn_implementation="sdpa").eval().to(self.dtype)

    def pictures(self, values):
        torch, model = self.torch, self.model
        with torch.inference_mode():
            x = torch.from_numpy(values).to(self.dtype)
            y = model.visual_projection(model.vision_model(pixel_values=x).pooler_output).float()
            return torch.nn.functional.normalize(y, dim=-1).numpy()

    def texts(self, ids):
        torch, model = self.torch, self.model
        with torch.inference_mode():
            y = model.text_projection(model.text_model(input_ids=torch.from_numpy(ids)).pooler_output).float()
            return torch.nn.functional.normalize(y, dim=-1).numpy()


def unit(y):
    import numpy as np
    return y / np.linalg.norm(y, axis=-1, keepdims=True)


class OnnxRuntime:
    def __init__(self, folder, precision, threads):
        import onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        work = pathlib.Path(folder).parent / (pathlib.Path(folder).name + "-onnx")
        end = "" if precision == "fp32" else "-int8"
        self.image, self.text = (onnxruntime.InferenceSession(
            str(work / f"{tower}{end}.onnx"), options, providers=["CPUExecutionProvider"])
            for tower in ("image", "text"))

    def pictures(self, values):
        return unit(self.image.run(None, {"x": values})[0])

    def texts(self, ids):
        return unit(self.text.run(None, {"x": ids})[0])


class OpenVino:
    def __init__(self, folder, precision, threads):
        import openvino
        core = openvino.Core()
        config = {"INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
                  "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                  "ENABLE_CPU_PINNING": False}
        work = pathlib.Path(folder).parent / (pathlib.Path(folder).name + "-onnx")
        end = "-nncf.xml" if precision == "int8" else ".xml"
        self.image, self.text = (core.compile_model(str(work / f"{tower}{end}"), "CPU", config)
                                 for tower in ("image", "text"))

    def pictures(self, values):
        return unit(self.image([values])[0])

    def texts(self, ids):
        return unit(self.text([ids])[0])


def work_as(kind, folder, precision, threads, rgb_path, ids_path):
    import numpy as np
    peer = {"torch": Torch, "onnxruntime": OnnxRuntime, "openvino": OpenVino}[kind](folder, precision, threads)
    rgb = np.fromfile(rgb_path, np.uint8).reshape(-1, 224, 224, 3)
    mean = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
    std = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)
    values = np.ascontiguousarray(((rgb / np.float32(255) - mean) / std).transpose(0, 3, 1, 2), np.float32)
    rows = [np.array([row], np.int64) for row in json.loads(pathlib.Path(ids_path).read_text())]
    print(json.dumps({"kernel": kind, "precision": precision}), flush=True)
    for line in sys.stdin:
        verb, *rest = line.split()
        if verb == "save":
            out = ([peer.pictures(values[i:i + 1]) for i in range(len(values))] if rest[0] == "pictures"
                   else [peer.texts(row) for row in rows])
            np.concatenate(out).astype(np.float32).tofile(rest[1])
            print(len(out), flush=True)
            continue
        begun = time.perf_counter()
        if verb == "pictures":
            peer.pictures(values[:int(rest[0])])
        elif verb == "padded":
            peer.texts(np.pad(rows[0], ((0, 0), (0, 77 - rows[0].shape[1])), constant_values=49407))
        else:
            peer.texts(rows[0])
        print(f"{(time.perf_counter() - begun) * 1e3:.4f}", flush=True)


# ---- checkpoints and their conversions ----

def convert(folder):
    """The towers as ONNX, as OpenVINO's form, and both as int8 by their own tools."""
    import numpy as np
    import openvino
    import nncf
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from transformers import CLIPModel
    out = folder.parent / (folder.name + "-onnx")
    if (out / "done").exists():
        return
    out.mkdir(exist_ok=True)
    model = CLIPModel.from_pretrained(folder, attn_implementation="sdpa").eval()

    class Image(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.visual_projection(self.model.vision_model(pixel_values=x).pooler_output)

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, x):
            return self.model.text_projection(self.model.text_model(input_ids=x).pooler_output)

    rng = np.random.default_rng(5)
    samples = {"image": torch.from_numpy(rng.standard_normal((2, 3, 224, 224), np.float32)),
               "text": torch.tensor([[49406, 320, 1125, 539, 320, 1615, 2, 3, 4, 49407]] * 2)}
    for tower, module in (("image", Image()), ("text", Text())):
        x = samples[tower]
        shape = {0: "n"} if tower == "image" else {0: "n", 1: "t"}
        torch.onnx.export(module, (x,), str(out / f"{tower}.onnx"), input_names=["x"], output_names=["y"],
                          dynamic_axes={"x": shape, "y": {0: "n"}}, dynamo=False, opset_version=18)
        quantize_dynamic(str(out / f"{tower}.onnx"), str(out / f"{tower}-int8.onnx"), per_channel=True,
                         weight_type=QuantType.QInt8)
        converted = openvino.convert_model(str(out / f"{tower}.onnx"))
        openvino.save_model(converted, str(out / f"{tower}.xml"), compress_to_fp16=False)
        data = [x[:1].numpy() for _ in range(1)] if tower == "text" else [
            rng.standard_normal((1, 3, 224, 224), np.float32) for _ in range(32)]
        quantised = nncf.quantize(converted, nncf.Dataset(data), model_type=nncf.ModelType.TRANSFORMER,
                                  subset_size=len(data))
        openvino.save_model(quantised, str(out / f"{tower}-nncf.xml"), compress_to_fp16=False)
    (out / "done").touch()


# ---- the run ----

class Contestant:
    def __init__(self, name, precision, threads, command, environment=None):
        self.name, self.precision, self.threads = name, precision, threads
        quiet = {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0", "OMP_NUM_THREADS": str(threads),
                 "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                        stderr=subprocess.DEVNULL, env=dict(os.environ, **quiet, **(environment or {})))
        self.about = self.process.stdout.readline()
        if not self.about:
            raise RuntimeError(f"{name} {precision} did not start: {' '.join(map(str, command))}")
        self.times = {}

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise RuntimeError(f"{self.name} {self.precision} ended at '{line}'")
        return answer

    def end(self):
        self.process.stdin.close()
        self.process.wait()


def lowest_cosine(a, b, dim):
    import numpy as np
    x, y = (np.fromfile(p, np.float32).reshape(-1, dim).astype(np.float64) for p in (a, b))
    return float((x * y).sum(1).min())


def contestants(args, folder, rgb, texts, ids, threads):
    program = args.build / "tests/bench/bench_peer"
    for precision in args.precisions.split(","):
        for kernel in args.kernels.split(","):
            yield Contestant("imago" + (f" {kernel}" if kernel else ""), precision, threads,
                             [program, folder, precision, str(threads), rgb, texts],
                             {"IMAGO_KERNEL": kernel} if kernel else None)
        for kind in ("torch", "onnxruntime", "openvino"):
            if (kind, precision) not in (("torch", "int8"), ("onnxruntime", "bf16")):
                yield Contestant(kind, precision, threads, [
                    sys.executable, __file__, "--worker", kind, folder, precision, str(threads), rgb, ids])


def tasks(threads):
    one = [("picture, batch 1", "pictures 1", 1), ("picture, batch 8", "pictures 8", 8)]
    return one + ([("text of 10 tokens", "texts 1", 1), ("text padded to 77", "padded", 1)] if threads == 1 else [])


def run_shape(args, shape, work):
    import numpy as np
    folder = work / shape
    if not (folder / "preprocessor_config.json").exists():
        subprocess.run([sys.executable, HERE / "make_clip.py", shape, folder], check=True)
    subprocess.run([sys.executable, __file__, "--convert", folder], check=True)
    rgb, texts, ids = work / "rgb", work / "texts", work / f"{shape}-ids"
    rng = np.random.default_rng(4)
    small = rng.integers(0, 256, (N_PICTURES, 14, 14, 3), np.uint8)
    smooth = np.kron(small, np.ones((1, 16, 16, 1))) + rng.normal(0, 12, (N_PICTURES, 224, 224, 3))
    smooth.clip(0, 255).astype(np.uint8).tofile(rgb)
    write_texts(args, folder, rgb, texts, ids)
    dim = json.loads((folder / "config.json").read_text())["projection_dim"]
    rows = []
    for threads in map(int, args.threads.split(",")):
        all_of = list(contestants(args, folder, rgb, texts, ids, threads))
        truth = {}
        for c in sorted(all_of, key=lambda c: (c.name, c.precision) != ("torch", "fp32")):
            c.cosine = {}
            for kind in ("pictures", "texts"):
                path = work / f"vectors-{kind}-{c.name}-{c.precision}".replace(" ", "-")
                c.ask(f"save {kind} {path}")
                truth.setdefault(kind, path)
                c.cosine[kind] = lowest_cosine(truth[kind], path, dim)
        for task, line, n in tasks(threads):
            able = [c for c in all_of if line != "padded" or not c.name.startswith("imago")]
            for c in able:
                c.ask(line)
                c.ask(line)
            for _ in range(args.rounds):
                for c in able:
                    c.times.setdefault(task, []).append(float(c.ask(line)) / n)
            for c in able:
                t = sorted(c.times[task])
                rows.append({"shape": shape, "threads": threads, "task": task, "who": c.name,
                             "precision": c.precision, "about": json.loads(c.about),
                             "median_ms": statistics.median(t), "least_ms": t[0],
                             "p90_ms": t[int(0.9 * (len(t) - 1))],
                             "cosine": c.cosine["texts" if "text" in task else "pictures"]})
        for c in all_of:
            c.end()
    return rows


def write_texts(args, folder, rgb, texts, ids):
    """Texts of ten tokens, found with imago's tokenizer (the vocabulary is made up)."""
    def tokens(lines):
        texts.write_text("\n".join(lines) + "\n")
        c = Contestant("imago", "fp32", 1, [args.build / "tests/bench/bench_peer", folder, "fp32", "1", rgb, texts])
        rows = json.loads(c.ask("ids"))
        c.end()
        return rows
    candidates = [text[:n] for text in TEXTS for n in range(4, len(text))]
    found = [t for t, row in zip(candidates[:64], tokens(candidates[:64])) if len(row) == 10][:3]
    if not found:
        raise RuntimeError("none of the texts has ten tokens in this vocabulary")
    ids.write_text(json.dumps(tokens(found)))


def print_table(rows):
    own = {(r["shape"], r["threads"], r["task"], r["precision"]): r for r in rows if r["who"] == "imago"}
    print("| model | threads | task | who | precision | median ms | least | p90 | its time / imago's | cos |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for r in rows:
        mine = own.get((r["shape"], r["threads"], r["task"].replace("text padded to 77", "text of 10 tokens"), r["precision"]))
        ratio = f"{r['median_ms'] / mine['median_ms']:.2f} ({r['least_ms'] / mine['least_ms']:.2f})" if mine else ""
        print(f"| {r['shape']} | {r['threads']} | {r['task']} | {r['who']} | {r['precision']} | {r['median_ms']:.2f} | "
              f"{r['least_ms']:.2f} | {r['p90_ms']:.2f} | {ratio} | {r['cosine']:.7f} |")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", type=pathlib.Path)
    p.add_argument("--work", type=pathlib.Path, default=pathlib.Path(os.environ.get("TMPDIR", "/tmp")) / "imago-peers")
    p.add_argument("--shapes", default="b32")
    p.add_argument("--precisions", default="fp32,bf16,int8")
    p.add_argument("--kernels", default="", help="kernel sets to force, '' is the best (IMAGO_KERNEL)")
    p.add_argument("--threads", default="1,2")
    p.add_argument("--rounds", type=int, default=15)
    p.add_argument("--busy", type=int, default=0, help="processes that burn a core each beside the run")
    p.add_argument("--worker", nargs=6)
    p.add_argument("--convert", type=pathlib.Path)
    args = p.parse_args()
    if args.worker:
        kind, folder, precision, threads, rgb, ids = args.worker
        return work_as(kind, folder, precision, int(threads), rgb, ids)
    if args.convert:
        return convert(args.convert)
    if args.build is None:
        p.error("--build names the folder of a build with bench_peer (cmake --build … --target bench_peer)")
    if "fp32" not in args.precisions.split(","):
        p.error("--precisions without fp32: the cosines are to PyTorch's float32, which must be in the run")
    args.build = args.build.resolve()
    args.work.mkdir(parents=True, exist_ok=True)
    venv = args.work / "venv"
    if pathlib.Path(sys.prefix).resolve() != venv.resolve():
        if not (venv / "bin/python").exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "install", "-q", *PACKAGES], check=True)
        os.execv(venv / "bin/python", [str(venv / "bin/python"), __file__, *sys.argv[1:]])
    burners = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(args.busy)]
    rows = []
    try:
        for shape in args.shapes.split(","):
            rows += run_shape(args, shape, args.work)
    finally:
        for burner in burners:
            burner.kill()
    print_table(rows)
    print(f"load {os.getloadavg()[0]:.1f}, {args.busy} busy processes, {args.rounds} rounds")
    (args.work / "peers.json").write_text(json.dumps({"load": os.getloadavg(), "busy": args.busy, "rows": rows}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
