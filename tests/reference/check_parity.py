"""Holds a built imago against transformers, with what is too large to be committed:

    python tests/reference/check_parity.py --build build/release [--large] [--work FOLDER]

1. Token ids of 10,000 generated strings with CLIP's own vocabulary (from the open_clip_torch wheel)
   equal CLIPTokenizer's.
2. Vectors of random-weight checkpoints with CLIP's real shapes: cosine >= 0.9999 for each text and
   picture, largest difference <= 1e-4 for texts. B/32 always; B/16 and L/14 with --large.
Needs the packages of tools/train/requirements.txt."""
import argparse
import gzip
import json
import pathlib
import random
import subprocess
import sys
import tempfile

import numpy as np
import open_clip
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

sys.path.insert(0, str(pathlib.Path(__file__).parent))
from make_encoder_golden import byte_codes  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SHAPES = {
    "b32": (dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                 patch_size=32), dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=12,
                                      num_attention_heads=8), 512),
    "b16": (dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12,
                 patch_size=16), dict(hidden_size=512, intermediate_size=2048, num_hidden_layers=12,
                                      num_attention_heads=8), 512),
    "l14": (dict(hidden_size=1024, intermediate_size=4096, num_hidden_layers=24,
                 num_attention_heads=16, patch_size=14),
            dict(hidden_size=768, intermediate_size=3072, num_hidden_layers=12,
                 num_attention_heads=12), 768),
}


# Code points that Unicode took up after the tables of the reference's normaliser (14.0) or after our
# library's (16.0): the two then differ in order of marks or in letter or not, 3 of 10,000 strings.
NEWER = [(0x870, 0x89f), (0x8b5, 0x8b5), (0x8c8, 0x8d2), (0x1c89, 0x1c8a)]


def clip_vocabulary():
    path = pathlib.Path(open_clip.__file__).parent / "bpe_simple_vocab_16e6.txt.gz"
    merges = gzip.open(path).read().decode().split("\n")[1:49152 - 256 - 2 + 1]
    # in the order of the original: printable bytes first
    codes = byte_codes()
    order = [b for b in range(256) if ord(codes[b]) == b] + [b for b in range(256) if ord(codes[b]) != b]
    words = [codes[b] for b in order] + [codes[b] + "</w>" for b in order]
    words += ["".join(m.split()) for m in merges] + ["<|startoftext|>", "<|endoftext|>"]
    return {w: i for i, w in enumerate(words)}, merges


def make_checkpoint(folder, shape, layers=None):
    vision, text, dim = SHAPES[shape]
    if layers:
        vision, text = dict(vision, num_hidden_layers=layers), dict(text, num_hidden_layers=layers)
    vocab, merges = clip_vocabulary()
    torch.manual_seed(3)
    config = CLIPConfig(text_config=dict(text, vocab_size=49408, eos_token_id=49407, bos_token_id=49406,
                                         pad_token_id=49407),
                        vision_config=dict(vision, image_size=224), projection_dim=dim)
    model = CLIPModel(config).eval()
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.contiguous() for k, v in model.state_dict().items() if "position_ids" not in k},
              folder / "model.safetensors")
    raw = config.to_dict()
    raw["model_type"] = "clip"
    (folder / "config.json").write_text(json.dumps(raw, default=str))
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    (folder / "preprocessor_config.json").write_text(json.dumps(
        {"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "resample": 3,
         "image_mean": [0.48145466, 0.4578275, 0.40821073],
         "image_std": [0.26862954, 0.26130258, 0.27577711]}))
    return model


def strings(n):
    rng = random.Random(9)
    words = "the a red car flower photo of don't we'll IT'S naïve café 東京 タワー привет мир مرحبا नमस्ते 한국어 ﬁne straße İstanbul ΣΑΣ 😀 👨‍👩‍👧 ½ Ⅷ 12 2024 :-) ... <|endoftext|> <|startoftext|> e\u0301 \u202e \ufeff x_y http://x.y/z?q=1".split(" ")
    blanks = [" ", "  ", "\t", "\n", "\u00a0", "\u3000", ""]

    def odd():
        while True:
            c = rng.choice([rng.randrange(32, 127), rng.randrange(0x80, 0x250), rng.randrange(0x370, 0x530),
                            rng.randrange(0x3040, 0x30ff), rng.randrange(0x4e00, 0x9fff),
                            rng.randrange(0x1f300, 0x1f700), rng.randrange(0x300, 0x370), rng.randrange(1, 0x3000)])
            if not 0xd800 <= c < 0xe000 and not any(a <= c <= b for a, b in NEWER):
                return chr(c)
    out = []
    for _ in range(n):
        parts = []
        for _ in range(rng.randrange(1, 14)):
            parts.append(rng.choice(words) if rng.random() < 0.6 else "".join(odd() for _ in range(rng.randrange(1, 6))))
            parts.append(rng.choice(blanks))
        out.append("".join(parts))
    return out


def check_ids(build, folder):
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    texts = strings(10000)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(texts, file)
        file.flush()
        done = subprocess.run([build / "tests/encoder/encoder_dump_ids", folder, file.name],
                              capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    differ = 0
    for text, ids in zip(texts, rows):
        expected = tokenizer(text, truncation=True, max_length=77)["input_ids"]
        if ids != expected:
            differ += 1
            if differ <= 8:
                print("differs:", ascii(text), "\n  got     ", ids, "\n  expected", expected)
    print(f"token ids: {len(texts) - differ} of {len(texts)} equal")
    return differ == 0 and len(rows) == len(texts)


def unit(x):
    x = getattr(x, "pooler_output", x)
    return (x / x.norm(dim=-1, keepdim=True)).double().numpy()


def check_vectors(build, folder, model, name):
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    texts = strings(60)
    texts = [t for t in texts if t.strip("\0")]
    pictures = sorted((ROOT / "data/sample").glob("*/*.jpg"))[::6][:20]
    args = [str(build / "cli/imago"), "embed", "--model", str(folder), "--json", "--exact-decode"]
    for t in texts:
        args += ["--text", t]
    data = json.loads(subprocess.run(args + [str(p) for p in pictures], capture_output=True,
                                     check=True).stdout)["data"]
    got = np.array([row["embedding"] for row in data])
    with torch.no_grad():
        expected = [unit(model.get_text_features(**tokenizer([t], truncation=True, max_length=77,
                                                             return_tensors="pt")))[0] for t in texts]
        processor = CLIPImageProcessorPil.from_pretrained(folder)
        for p in pictures:
            pixels = processor([Image.open(p).convert("RGB")], return_tensors="pt")
            expected.append(unit(model.get_image_features(**pixels))[0])
    expected = np.array(expected)
    cosine = (got * expected).sum(1)
    largest = np.abs(got - expected).max(1)
    n = len(texts)
    print(f"{name}: texts lowest cosine {cosine[:n].min():.8f} largest difference {largest[:n].max():.2e}; "
          f"pictures {cosine[n:].min():.8f} {largest[n:].max():.2e}")
    return cosine.min() >= 0.9999 and largest[:n].max() <= 1e-4


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", type=pathlib.Path, required=True)
    parser.add_argument("--work", type=pathlib.Path, default=None)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    work = options.work or pathlib.Path(tempfile.mkdtemp(prefix="imago-parity-"))
    good = True
    for name in ["b32"] + (["b16", "l14"] if options.large else []):
        folder = work / name
        model = make_checkpoint(folder, name)
        if name == "b32":
            good &= check_ids(options.build, folder)
        good &= check_vectors(options.build, folder, model, name)
    print("parity holds" if good else "PARITY BROKEN")
    sys.exit(not good)


if __name__ == "__main__":
    main()
