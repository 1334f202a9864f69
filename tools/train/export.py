"""Writes a checkpoint as a Hugging Face CLIP folder in fp16, and checks it with transformers.

    export.py OUT [--work .train] [--weights raw|ema]

The folder appears by rename, whole or not at all. Checked before that: every id of the
tokenizer on all train texts and on odd ones, and both towers in fp16 against the fp32 weights.
"""

import argparse
import json
import os
import pickle
import random
import shutil

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

import model as clip
import texts
from batches import MEAN, STD
from tokenizer import CONTEXT, END, START, Tokenizer

ODD_TEXTS = [
    "",
    " ",
    "A  Cat\tand\na DOG",
    "don't can't we'll",
    "café crème",
    "日本語 text",
    "🐱 emoji!",
    "3.14 <3 42nd",
    "a_b-c",
    "ALL CAPS!!! ...",
    "naïve façade",
    "x" * 200,
    "one two three " * 20,
    "Ünïcödé Straße",
]


def tokenizer_files(tokenizer, folder):
    """vocab.json, merges.txt, tokenizer_config.json, special_tokens_map.json."""
    tokenizer.save(folder)
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    with open(f"{folder}/tokenizer_config.json", "w", encoding="utf-8") as f:
        json.dump(
            {
                "tokenizer_class": "CLIPTokenizer",
                "model_max_length": CONTEXT,
                "do_lower_case": True,
                "errors": "replace",
                "add_prefix_space": False,
                **special,
            },
            f,
            indent=2,
        )
    with open(f"{folder}/special_tokens_map.json", "w", encoding="utf-8") as f:
        json.dump(special, f, indent=2)


def preprocessor_file(folder):
    """preprocessor_config.json: shortest edge 128, centre crop 128, (x - MEAN) / STD."""
    with open(f"{folder}/preprocessor_config.json", "w", encoding="utf-8") as f:
        json.dump(
            {
                "image_processor_type": "CLIPImageProcessor",
                "do_convert_rgb": True,
                "do_resize": True,
                "size": {"shortest_edge": clip.IMAGE},
                "resample": 3,
                "do_center_crop": True,
                "crop_size": {"height": clip.IMAGE, "width": clip.IMAGE},
                "do_rescale": True,
                "rescale_factor": 1 / 255,
                "do_normalize": True,
                "image_mean": [MEAN] * 3,
                "image_std": [STD] * 3,
            },
            f,
            indent=2,
        )


def check_tokenizer(tokenizer, folder, prepared):
    """Compares ids with transformers' CLIPTokenizer; returns the number of texts compared."""
    reference = CLIPTokenizer.from_pretrained(folder)
    with open(f"{prepared}/train.pickle", "rb") as f:
        rows = pickle.load(f)
    said = sorted({t for p, _ in rows for t in texts.all_texts(p)})
    random.Random(1).shuffle(said)
    said = ODD_TEXTS + said[:4000]
    for text in said:
        theirs = reference(text, truncation=True, max_length=CONTEXT)["input_ids"]
        if theirs != tokenizer.encode(text):
            raise SystemExit(
                f"tokenizers differ on {text!r}: {theirs} and {tokenizer.encode(text)}"
            )
    return len(said)


def check_towers(net, folder, prepared, tokenizer):
    """Least cosine (pictures, texts) between the fp16 folder, read by transformers, and fp32."""
    half = CLIPModel.from_pretrained(folder, dtype=torch.float32).eval()
    pixels = torch.from_numpy(np.load(f"{prepared}/dev.npy", mmap_mode="r")[::100].copy())
    pixels = (pixels.permute(0, 3, 1, 2).float() / 255 - MEAN) / STD
    ids = torch.tensor(
        tokenizer.batch(["a photo of a cat.", "three red circles", "milk", "", "a blue shirt"])
    )
    with torch.inference_mode():
        out = half(input_ids=ids, pixel_values=pixels)
        images = clip.image_vectors(net, clip.pooled_image(net, pixels))
        words = clip.text_vectors(net, ids)
    return (out.image_embeds * images).sum(1).min().item(), (out.text_embeds * words).sum(
        1
    ).min().item()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", help="folder to write")
    parser.add_argument("--work", default=".train")
    parser.add_argument("--weights", choices=["raw", "ema"], default="raw")
    args = parser.parse_args()
    torch.set_num_threads(1)
    state = torch.load(f"{args.work}/checkpoint.pt", weights_only=False)
    net = clip.create(CLIPConfig.from_dict(state["config"])).eval()
    net.load_state_dict(state[args.weights])
    prepared = f"{args.work}/prepared"
    tokenizer = Tokenizer.load(prepared)
    new = args.out.rstrip("/") + ".new"
    shutil.rmtree(new, ignore_errors=True)
    os.makedirs(new)
    net.config.save_pretrained(new)
    with open(f"{new}/config.json", encoding="utf-8") as f:
        conf = json.load(f)
    conf.update(architectures=["CLIPModel"], dtype="float16")
    with open(f"{new}/config.json", "w", encoding="utf-8") as f:
        json.dump(conf, f, indent=2, sort_keys=True)
    tensors = {
        k: v.half().contiguous()
        for k, v in net.state_dict().items()
        if not k.endswith("position_ids")
    }
    save_file(tensors, f"{new}/model.safetensors", metadata={"format": "pt"})
    os.chmod(f"{new}/model.safetensors", 0o644)
    preprocessor_file(new)
    tokenizer_files(tokenizer, new)
    n = check_tokenizer(tokenizer, new, prepared)
    pictures, said = check_towers(net, new, prepared, tokenizer)
    if min(pictures, said) < 0.9999:
        raise SystemExit(
            f"fp16 strays from fp32: least cosine {pictures:.6f} of pictures, {said:.6f} of texts"
        )
    shutil.rmtree(args.out, ignore_errors=True)
    os.rename(new, args.out)
    size = os.path.getsize(f"{args.out}/model.safetensors") / 1e6
    print(
        f"{args.out}: {size:.1f} MB, {args.weights} weights of step {state['step']}, {state['seen']} pictures seen; "
        f"{n} texts give the same ids, least cosine fp16 to fp32 {pictures:.6f} (pictures) {said:.6f} (texts)"
    )


if __name__ == "__main__":
    main()
