#!/usr/bin/env python3
"""A CLIP model folder of a real shape with random weights, for benches: make_clip.py b32|b16|l14 DIR.
Needs nothing but Python. The vocabulary has CLIP's size and is made up of random merges; weights are
slices of one pool of normal values (standard deviation 0.02), so that making one takes seconds."""
import array
import json
import os
import random
import struct
import sys

SHAPES = {  # width, mlp, layers, heads, patch; text width, mlp, layers, heads; dim
    "b32": ((768, 3072, 12, 12, 32), (512, 2048, 12, 8), 512),
    "b16": ((768, 3072, 12, 12, 16), (512, 2048, 12, 8), 512),
    "l14": ((1024, 4096, 24, 16, 14), (768, 3072, 12, 12), 768),
}
VOCABULARY = 49408
POOL = 1 << 20


def blocks(prefix, width, mlp, layers):
    for i in range(layers):
        at = f"{prefix}.encoder.layers.{i}"
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield f"{at}.self_attn.{name}.weight", [width, width]
            yield f"{at}.self_attn.{name}.bias", [width]
        yield f"{at}.mlp.fc1.weight", [mlp, width]
        yield f"{at}.mlp.fc1.bias", [mlp]
        yield f"{at}.mlp.fc2.weight", [width, mlp]
        yield f"{at}.mlp.fc2.bias", [width]
        for norm in ("layer_norm1", "layer_norm2"):
            yield f"{at}.{norm}.weight", [width]
            yield f"{at}.{norm}.bias", [width]


def tensors(shape):
    (width, mlp, layers, _, patch), (text_width, text_mlp, text_layers, _), dim = SHAPES[shape]
    yield "logit_scale", []
    yield "vision_model.embeddings.class_embedding", [width]
    yield "vision_model.embeddings.patch_embedding.weight", [width, 3, patch, patch]
    yield "vision_model.embeddings.position_embedding.weight", [(224 // patch) ** 2 + 1, width]
    for norm in ("pre_layrnorm", "post_layernorm"):
        yield f"vision_model.{norm}.weight", [width]
        yield f"vision_model.{norm}.bias", [width]
    yield from blocks("vision_model", width, mlp, layers)
    yield "visual_projection.weight", [dim, width]
    yield "text_model.embeddings.token_embedding.weight", [VOCABULARY, text_width]
    yield "text_model.embeddings.position_embedding.weight", [77, text_width]
    yield from blocks("text_model", text_width, text_mlp, text_layers)
    yield "text_model.final_layer_norm.weight", [text_width]
    yield "text_model.final_layer_norm.bias", [text_width]
    yield "text_projection.weight", [dim, text_width]


def is_norm_weight(name):
    return name.endswith(".weight") and ("norm" in name.split(".")[-2])


def write_weights(path, shape):
    rng = random.Random(1)
    pool = array.array("f", (rng.gauss(0, 0.02) for _ in range(POOL)))
    header, at, sizes = {}, 0, []
    for name, dims in tensors(shape):
        n = 1
        for d in dims:
            n *= d
        header[name] = {"dtype": "F32", "shape": dims, "data_offsets": [at, at + 4 * n]}
        sizes.append((name, n))
        at += 4 * n
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, n in sizes:
            if is_norm_weight(name):
                file.write(array.array("f", [1.0]) * n)
                continue
            while n > 0:
                start = rng.randrange(POOL // 2)
                part = min(n, POOL - start)
                file.write(pool[start:start + part])
                n -= part


def byte_codes():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    codes = {b: chr(b) for b in printable}
    codes.update({b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in codes)})
    return [codes[b] for b in range(256)]


def write_vocabulary(folder):
    rng = random.Random(2)
    codes = byte_codes()
    words = codes + [c + "</w>" for c in codes]
    known, open_words, merges = set(words), [c for c in codes if "a" <= c <= "z"], []
    while len(words) < VOCABULARY - 2:
        left = rng.choice(open_words)
        right = rng.choice(open_words[:26] if rng.random() < 0.7 else open_words)
        right += "</w>" if rng.random() < 0.5 and right + "</w>" in known else ""
        if left + right in known or len(left + right) > 16:
            continue
        merges.append(f"{left} {right}")
        words.append(left + right)
        known.add(left + right)
        if not right.endswith("</w>"):
            open_words.append(left + right)
    words += ["<|startoftext|>", "<|endoftext|>"]
    with open(os.path.join(folder, "vocab.json"), "w", encoding="utf-8") as file:
        json.dump({w: i for i, w in enumerate(words)}, file, ensure_ascii=False)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as file:
        file.write("#version: 0.2\n" + "\n".join(merges) + "\n")


def main():
    shape, folder = sys.argv[1:]
    vision, text, dim = SHAPES[shape]
    os.makedirs(folder, exist_ok=True)
    write_weights(os.path.join(folder, "model.safetensors"), shape)
    write_vocabulary(folder)

    def tower(values):
        return dict(zip(("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"),
                        values), hidden_act="quick_gelu", layer_norm_eps=1e-5)
    config = {"model_type": "clip", "architectures": ["CLIPModel"], "projection_dim": dim,
              "text_config": dict(tower(text), vocab_size=VOCABULARY, max_position_embeddings=77,
                                  eos_token_id=49407, bos_token_id=49406, pad_token_id=49407),
              "vision_config": dict(tower(vision[:4]), patch_size=vision[4], image_size=224)}
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(config, file, indent=1)
    with open(os.path.join(folder, "preprocessor_config.json"), "w", encoding="utf-8") as file:
        json.dump({"size": {"shortest_edge": 224}, "crop_size": {"height": 224, "width": 224}, "resample": 3,
                   "do_resize": True, "do_center_crop": True, "do_normalize": True, "do_convert_rgb": True,
                   "image_mean": [0.48145466, 0.4578275, 0.40821073],
                   "image_std": [0.26862954, 0.26130258, 0.27577711]}, file)


main()
