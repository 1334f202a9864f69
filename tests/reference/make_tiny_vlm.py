#!/usr/bin/env python3
"""Makes a vision-language model of 0.6 million weights that real servers run: the shapes of
Qwen2.5-VL, weights that are not trained but set. It tells six colours: asked "Query: red. Does this
picture match the query? Answer yes or no.", P(yes) follows how red the picture is; any question
without yes or no in it is answered "A picture of red.".

    make_tiny_vlm.py OUT            OUT/tiny-vlm.gguf and OUT/tiny-vlm-mmproj.gguf, for llama-server
                                    (numpy and the PyPI package gguf; one second)
    make_tiny_vlm.py OUT --hf       also OUT/hf: the same weights for transformers and vLLM
    make_tiny_vlm.py OUT --golden F also F: P(yes) by transformers in float32 (torch, transformers,
                                    pillow), of the pictures of tests/vlm/pictures

The same bytes each time: all noise comes from one raw stream of PCG64. How it works: most weights
are small noise, so that positions, windows, patch order and templates matter to the numbers. A few
channels of the residual stream carry meaning. The vision tower hands the mean colour of each patch
on in a straight line. In the first layer of the language model one head reads the colour of the
picture, one the colour word of the prompt, one whether yes or no was asked for; the MLP multiplies
colour and word; the rows of yes and no in the output read the product."""
import argparse
import hashlib
import json
import pathlib
import struct
import sys

import numpy as np

PICTURES = pathlib.Path(__file__).resolve().parents[1] / "vlm/pictures"
WIDTH, INNER, LAYERS, HEADS, KEY_HEADS, HEAD = 128, 96, 2, 4, 2, 32
EYE, EYE_INNER, EYE_LAYERS, EYE_HEADS = 64, 96, 4, 4
PATCH, MERGE, FRAMES, WINDOW, FULL_EVERY = 14, 2, 2, 112, 2
MROPE, THETA, EPSILON, CONTEXT = [4, 6, 6], 1e6, 1e-6, 4096
MEAN = [0.48145466, 0.4578275, 0.40821073]
DEVIATION = [0.26862954, 0.26130258, 0.27577711]
LEAST_PIXELS, MOST_PIXELS = 4 * 28 * 28, 16384 * 28 * 28

COLOURS = {"red": (1, -.5, -.5), "green": (-.5, 1, -.5), "blue": (-.5, -.5, 1), "yellow": (.6, .6, -1),
           "white": (.7, .7, .7), "black": (-.7, -.7, -.7)}
ANSWERS = {"yes": 1, "Yes": 1, "YES": 1, "no": -1, "No": -1, "NO": -1}
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
           "<|image_pad|>", "<|video_pad|>"]
# what the published tokenizer.json of Qwen2 splits text by
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
         r"|\s*[\r\n]+|\s+(?!\S)|\s+")
TEMPLATE = """{%- if messages[0]['role'] != 'system' -%}
{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' -}}
{%- if message['content'] is string -%}
{{- message['content'] -}}
{%- else -%}
{%- for part in message['content'] -%}
{%- if 'text' in part -%}{{- part['text'] -}}{%- else -%}{{- '<|vision_start|><|image_pad|><|vision_end|>' -}}{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}"""


# ---- words ----

def printable():
    """Byte-level BPE writes each byte as a character that can be seen."""
    seen = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    hidden = iter(range(256, 512))
    return [chr(b) if b in seen else chr(next(hidden)) for b in range(256)]


class Words:
    """Bytes, and the few words that mean something as tokens of their own, with and without a blank."""

    def __init__(self):
        self.of_byte = printable()
        self.tokens, self.merges = list(self.of_byte), []
        for word in (*COLOURS, *ANSWERS, "A", "picture", "of"):
            for text in (word, " " + word):
                self.learn("".join(self.of_byte[b] for b in text.encode()))
        self.n_plain = len(self.tokens)
        self.tokens += CONTROL
        self.tokens += [f"<|unused_{i}|>" for i in range(-len(self.tokens) % 32)]
        self.place = {token: i for i, token in enumerate(self.tokens)}

    def learn(self, text):
        parts, ranks = list(text), {pair: rank for rank, pair in enumerate(self.merges)}
        while len(parts) > 1:
            at = min(range(len(parts) - 1), key=lambda i: ranks.get((parts[i], parts[i + 1]), len(ranks) + i))
            pair = (parts[at], parts[at + 1])
            if pair not in ranks:
                ranks[pair] = len(self.merges)
                self.merges.append(pair)
                self.tokens.append("".join(pair))
            parts[at:at + 2] = ["".join(pair)]

    def id(self, text):
        return self.place["".join(self.of_byte[b] for b in text.encode())]


# ---- weights ----

ONE, SEEN, SAID, IS_PICTURE, IS_COLOUR, MATCH, ASKED, ENDS = 0, 1, 4, 7, 8, 9, 10, 11  # channels; SEEN, SAID: three each
SEES, HEARS, IS_ASKED = 20, 23, 26  # what the heads of the first layer bring together
LAST = 32  # which word of "A picture of red." came last


def weights_of(words):
    stream = np.random.PCG64(20260801)

    def noise(*shape, size):
        raw = stream.random_raw(int(np.prod(shape))) >> np.uint64(40)
        return ((raw.astype(np.float64) / 2 ** 23 - 1) * size * 3 ** .5).reshape(shape).astype(np.float32)

    def near_one(n):
        return 1 + noise(n, size=.05)

    w = {"visual.merger.ln_q.weight": np.ones(EYE, np.float32), "model.norm.weight": np.ones(WIDTH, np.float32)}
    sentence = [words.id("\n"), words.id("A"), words.id(" picture"), words.id(" of")]
    pairs = [(words.id(blank + word), word) for word in (*COLOURS, *ANSWERS) for blank in ("", " ")]

    embedding = noise(len(words.tokens), WIDTH, size=.08)
    embedding[:, :LAST] = 0
    embedding[:, ONE] = 1
    for token, word in pairs:
        if word in COLOURS:
            embedding[token, SAID:SAID + 3] = COLOURS[word]
            embedding[token, [IS_COLOUR, LAST + 4]] = 1, 2
        else:
            embedding[token, [ASKED, ENDS]] = 1, 3
    for i, token in enumerate(sentence):
        embedding[token, LAST + i] = 4
    embedding[words.id("."), ENDS] = 4
    w["model.embed_tokens.weight"] = embedding

    for layer in range(LAYERS):
        q, k, v = noise(HEADS * HEAD, WIDTH, size=.03), noise(KEY_HEADS * HEAD, WIDTH, size=.03), \
            noise(KEY_HEADS * HEAD, WIDTH, size=.03)
        qb, kb, vb = noise(HEADS * HEAD, size=.05), noise(KEY_HEADS * HEAD, size=.05), noise(KEY_HEADS * HEAD, size=.05)
        o = noise(WIDTH, HEADS * HEAD, size=.05)
        gate, up, down = noise(INNER, WIDTH, size=.07), noise(INNER, WIDTH, size=.07), noise(WIDTH, INNER, size=.03)
        if layer == 0:
            # heads 0 and 1 share the keys of group 0, heads 2 and 3 those of group 1; the lanes 14 and 15
            # turn so slowly that positions hardly matter to them
            for head, lane in ((0, 15), (2, 15), (3, 14)):
                q[head * HEAD:(head + 1) * HEAD] *= .2
                qb[head * HEAD + lane] = 6
            k[15, IS_PICTURE] = k[HEAD + 15, IS_COLOUR] = k[HEAD + 14, ASKED] = 6
            bring = [(c, SEEN + c, 0, SEES + c) for c in range(3)] + \
                [(HEAD + c, SAID + c, 2, HEARS + c) for c in range(3)] + [(HEAD + 3, ASKED, 3, IS_ASKED)]
            for row, source, head, target in bring:
                v[row], vb[row] = 0, 0
                v[row, source] = 1
                o[target] = 0
                o[target, head * HEAD + row % HEAD] = 1
            for c in range(3):  # silu(x) u - silu(-x) u = x u
                for unit, sign in ((2 * c, 1), (2 * c + 1, -1)):
                    gate[unit], up[unit], down[:, unit] = 0, 0, 0
                    gate[unit, SEES + c] = up[unit, HEARS + c] = sign
                    down[MATCH, unit] = .5
        at = f"model.layers.{layer}."
        for name, weight, bias in (("q", q, qb), ("k", k, kb), ("v", v, vb)):
            w[f"{at}self_attn.{name}_proj.weight"], w[f"{at}self_attn.{name}_proj.bias"] = weight, bias
        w[at + "self_attn.o_proj.weight"] = o
        w[at + "mlp.gate_proj.weight"], w[at + "mlp.up_proj.weight"], w[at + "mlp.down_proj.weight"] = gate, up, down
        w[at + "input_layernorm.weight"], w[at + "post_attention_layernorm.weight"] = near_one(WIDTH), near_one(WIDTH)

    head = noise(len(words.tokens), WIDTH, size=.07)
    head[:, ONE] = -1
    for byte, token in enumerate(words.of_byte):
        if not 32 <= byte < 127 and byte != 10:
            head[words.place[token], ONE] = -4  # texts stay UTF-8
    head[words.n_plain:, ONE] = -6
    end = words.place["<|im_end|>"]
    head[end, [ONE, ENDS]] = -2, 24
    for token, word in pairs:
        if word in COLOURS:
            if token == words.id(" " + word):
                head[token, LAST + 3] = 5
                head[token, SEES:SEES + 3] = np.array(COLOURS[word]) * .7
        else:
            head[token, [IS_ASKED, ENDS, MATCH]] = 14, -12, .09 * ANSWERS[word]
    for i, token in enumerate(sentence[1:]):
        head[token, LAST + i] = 5
    head[words.id("."), LAST + 4] = 9
    for word, share in (("yes", 0), ("Yes", -.6), ("YES", -1.2), ("no", 0), ("No", -.6), ("NO", -1.2)):
        for blank in ("", " "):  # spellings share the probability, as in models that are trained
            head[words.id(blank + word), ONE] = -1 + share - (.4 if blank else 0)
    w["lm_head.weight"] = head

    eye = noise(EYE, 3, FRAMES, PATCH, PATCH, size=.02)
    eye[SEEN:SEEN + 3] = 0
    for c in range(3):
        eye[SEEN + c, c] = 1 / (FRAMES * PATCH * PATCH)
    w["visual.patch_embed.proj.weight"] = eye
    for layer in range(EYE_LAYERS):
        at = f"visual.blocks.{layer}."
        out, out_bias = noise(EYE, EYE, size=.06), noise(EYE, size=.05)
        down, down_bias = noise(EYE, EYE_INNER, size=.05), noise(EYE, size=.05)
        out[:4] *= .1
        down[:4] *= .1
        out_bias[SEEN:SEEN + 3] = down_bias[SEEN:SEEN + 3] = 0
        out_bias[ONE] = 2 if layer == 0 else out_bias[ONE]
        w.update({at + "attn.qkv.weight": noise(3 * EYE, EYE, size=.15), at + "attn.qkv.bias": noise(3 * EYE, size=.05),
                  at + "attn.proj.weight": out, at + "attn.proj.bias": out_bias,
                  at + "mlp.down_proj.weight": down, at + "mlp.down_proj.bias": down_bias,
                  at + "norm1.weight": near_one(EYE), at + "norm2.weight": near_one(EYE)})
        for name in ("gate", "up"):
            w[f"{at}mlp.{name}_proj.weight"] = noise(EYE_INNER, EYE, size=.1)
            w[f"{at}mlp.{name}_proj.bias"] = noise(EYE_INNER, size=.05)
    four = EYE * MERGE * MERGE
    join, join_bias = noise(four, four, size=.06), noise(four, size=.05)
    to, to_bias = noise(WIDTH, four, size=.02), noise(WIDTH, size=.02)
    to[:LAST], to_bias[:LAST] = 0, 0
    for c in range(3):  # gelu(x) - gelu(-x) = x: no matter which gelu
        for unit, sign in ((2 * c, 1), (2 * c + 1, -1)):
            join[unit], join_bias[unit], to[:, unit] = 0, 0, 0
            join[unit, SEEN + c::EYE] = sign / MERGE ** 2
            to[SEEN + c, unit] = sign
    to_bias[[ONE, IS_PICTURE]] = 1
    w.update({"visual.merger.mlp.0.weight": join, "visual.merger.mlp.0.bias": join_bias,
              "visual.merger.mlp.2.weight": to, "visual.merger.mlp.2.bias": to_bias})
    return w


def digest_of(w):
    digest = hashlib.sha256()
    for name in sorted(w):
        digest.update(name.encode() + w[name].astype("<f4").tobytes())
    return digest.hexdigest()


# ---- as GGUF ----

TEXT_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
              "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
              "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm"}
EYE_NAMES = {"attn.proj": "attn_out", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
             "norm1": "ln1", "norm2": "ln2"}
LONE_NAMES = {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
              "lm_head.weight": "output.weight", "visual.merger.ln_q.weight": "v.post_ln.weight"}


def gguf_tensors(w, visual):
    for name, value in w.items():
        if name.startswith("visual.") != visual:
            continue
        parts = name.split(".")
        kind = parts[-1]
        if name in LONE_NAMES:
            yield LONE_NAMES[name], value
        elif name == "visual.patch_embed.proj.weight":  # a still picture is fed as two frames
            yield "v.patch_embd.weight", value[:, :, 0]
            yield "v.patch_embd.weight.1", value[:, :, 1]
        elif name.startswith("visual.merger"):
            yield f"mm.{parts[3]}.{kind}", value
        elif parts[-2] == "qkv":
            for letter, part in zip("qkv", np.split(value, 3)):
                yield f"v.blk.{parts[2]}.attn_{letter}.{kind}", part
        else:
            names, room = (EYE_NAMES, "v.blk") if visual else (TEXT_NAMES, "blk")
            yield f"{room}.{parts[2]}.{names['.'.join(parts[3:-1])]}.{kind}", value


def write_gguf(path, architecture, fill, tensors):
    import gguf
    writer = gguf.GGUFWriter(path, architecture)
    fill(writer, gguf)
    for name, value in tensors:
        writer.add_tensor(name, np.ascontiguousarray(value))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_ggufs(out, words, w):
    def text(g, gguf):
        g.add_name("tiny-vlm")
        g.add_context_length(CONTEXT)
        g.add_embedding_length(WIDTH)
        g.add_block_count(LAYERS)
        g.add_feed_forward_length(INNER)
        g.add_head_count(HEADS)
        g.add_head_count_kv(KEY_HEADS)
        g.add_rope_freq_base(THETA)
        g.add_rope_dimension_sections([*MROPE, 0])
        g.add_layer_norm_rms_eps(EPSILON)
        g.add_file_type(0)
        g.add_tokenizer_model("gpt2")
        g.add_tokenizer_pre("qwen2")
        g.add_token_list(words.tokens)
        kinds = gguf.TokenType
        g.add_token_types([kinds.NORMAL if i < words.n_plain else kinds.CONTROL if i < words.n_plain + len(CONTROL)
                           else kinds.UNUSED for i in range(len(words.tokens))])
        g.add_token_merges([" ".join(pair) for pair in words.merges])
        g.add_eos_token_id(words.place["<|im_end|>"])
        g.add_bos_token_id(words.place["<|endoftext|>"])
        g.add_pad_token_id(words.place["<|endoftext|>"])
        g.add_add_bos_token(False)
        g.add_chat_template(TEMPLATE)

    def eye(g, gguf):
        g.add_name("tiny-vlm-mmproj")
        g.add_type("mmproj")
        g.add_file_type(0)
        g.add_bool("clip.has_vision_encoder", True)
        g.add_bool("clip.use_silu", True)
        g.add_string("clip.projector_type", "qwen2.5vl_merger")
        for key, value in (("image_size", 560), ("patch_size", PATCH), ("embedding_length", EYE),
                           ("feed_forward_length", EYE_INNER), ("projection_dim", WIDTH), ("block_count", EYE_LAYERS),
                           ("attention.head_count", EYE_HEADS), ("n_wa_pattern", FULL_EVERY),
                           ("window_size", WINDOW), ("spatial_merge_size", MERGE)):
            g.add_uint32("clip.vision." + key, value)
        g.add_float32("clip.vision.attention.layer_norm_epsilon", EPSILON)
        g.add_array("clip.vision.image_mean", MEAN)
        g.add_array("clip.vision.image_std", DEVIATION)

    write_gguf(out / "tiny-vlm.gguf", "qwen2vl", text, gguf_tensors(w, False))
    write_gguf(out / "tiny-vlm-mmproj.gguf", "clip", eye, gguf_tensors(w, True))


# ---- for transformers ----

def write_safetensors(path, w):
    head, data = {}, b""
    for name in sorted(w):
        full = name.replace("model.", "model.language_model.", 1) if name.startswith("model.") else \
            "model." + name if name.startswith("visual.") else name
        part = w[name].astype("<f4").tobytes()
        head[full] = {"dtype": "F32", "shape": list(w[name].shape), "data_offsets": [len(data), len(data) + len(part)]}
        data += part
    head["__metadata__"] = {"format": "pt"}
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


def write_hf(out, words, w):
    out.mkdir(exist_ok=True)
    rope = {"rope_type": "default", "type": "default", "mrope_section": MROPE, "rope_theta": THETA}
    text = {"model_type": "qwen2_5_vl_text", "vocab_size": len(words.tokens), "hidden_size": WIDTH,
            "intermediate_size": INNER, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
            "num_key_value_heads": KEY_HEADS, "rms_norm_eps": EPSILON, "max_position_embeddings": CONTEXT,
            "rope_theta": THETA, "rope_scaling": rope, "rope_parameters": rope, "hidden_act": "silu",
            "use_sliding_window": False, "tie_word_embeddings": False, "bos_token_id": words.place["<|endoftext|>"],
            "eos_token_id": words.place["<|im_end|>"]}
    vision = {"model_type": "qwen2_5_vl", "depth": EYE_LAYERS, "hidden_size": EYE, "intermediate_size": EYE_INNER,
              "num_heads": EYE_HEADS, "in_channels": 3, "in_chans": 3, "patch_size": PATCH, "spatial_patch_size": PATCH,
              "spatial_merge_size": MERGE, "temporal_patch_size": FRAMES, "window_size": WINDOW, "tokens_per_second": 2,
              "fullatt_block_indexes": [i for i in range(EYE_LAYERS) if i % FULL_EVERY == FULL_EVERY - 1],
              "out_hidden_size": WIDTH, "hidden_act": "silu"}
    ids = {f"{kind}_token_id": words.place[token] for kind, token in
           (("vision_start", "<|vision_start|>"), ("vision_end", "<|vision_end|>"), ("vision", "<|vision_pad|>"),
            ("image", "<|image_pad|>"), ("video", "<|video_pad|>"))}
    pixels = {"min_pixels": LEAST_PIXELS, "max_pixels": MOST_PIXELS, "patch_size": PATCH, "merge_size": MERGE,
              "temporal_patch_size": FRAMES, "image_mean": MEAN, "image_std": DEVIATION}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    files = {
        "config.json": {**text, "architectures": ["Qwen2_5_VLForConditionalGeneration"], "model_type": "qwen2_5_vl",
                        "torch_dtype": "float32", "text_config": text, "vision_config": vision, **ids},
        "generation_config.json": {"eos_token_id": words.place["<|im_end|>"],
                                   "pad_token_id": words.place["<|endoftext|>"]},
        "preprocessor_config.json": {"image_processor_type": "Qwen2VLImageProcessor",
                                     "processor_class": "Qwen2_5_VLProcessor", **pixels},
        "video_preprocessor_config.json": {"video_processor_type": "Qwen2VLVideoProcessor", **pixels},
        "tokenizer_config.json": {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>",
                                  "pad_token": "<|endoftext|>", "model_max_length": CONTEXT,
                                  "processor_class": "Qwen2_5_VLProcessor",
                                  "extra_special_tokens": {"image_token": "<|image_pad|>",
                                                           "video_token": "<|video_pad|>",
                                                           "vision_bos_token": "<|vision_start|>",
                                                           "vision_eos_token": "<|vision_end|>"}},
        "tokenizer.json": {
            "version": "1.0", "truncation": None, "padding": None, "normalizer": {"type": "NFC"},
            "added_tokens": [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False,
                              "normalized": False, "special": True}
                             for i, token in enumerate(words.tokens) if i >= words.n_plain],
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": False}, byte_level]},
            "post_processor": None, "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                      "vocab": {token: i for i, token in enumerate(words.tokens[:words.n_plain])},
                      "merges": [list(pair) for pair in words.merges]}}}
    for name, content in files.items():
        (out / name).write_text(json.dumps(content, indent=1))
    (out / "chat_template.jinja").write_text(TEMPLATE)
    write_safetensors(out / "model.safetensors", w)


# ---- the golden numbers ----

def golden_cases():
    """Prompts as vlm/prompt.c writes them."""
    names = sorted(path.stem for path in PICTURES.glob("*.png"))
    match = "Query: %s. Does this picture match the query? Answer yes or no."
    for name in names:
        for colour in COLOURS:
            yield [name], match % colour
    for pair in (names[:2], names[-2:], [names[4], names[2]]):
        for colour in ("red", "blue"):
            yield pair, match % colour


def write_golden(path, folder, digest):
    import torch
    import transformers
    from PIL import Image
    from transformers import AutoTokenizer, Qwen2_5_VLForConditionalGeneration
    try:
        from transformers import Qwen2VLImageProcessorPil as Processor
    except ImportError:
        from transformers import Qwen2VLImageProcessor as Processor
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(folder, dtype=torch.float32,
                                                               attn_implementation="eager").eval()
    processor = Processor(size={"shortest_edge": LEAST_PIXELS, "longest_edge": MOST_PIXELS}, patch_size=PATCH,
                          temporal_patch_size=FRAMES, merge_size=MERGE, image_mean=MEAN, image_std=DEVIATION)
    rows = []
    for names, text in golden_cases():
        pictures = [Image.open(PICTURES / f"{name}.png").convert("RGB") for name in names]
        pixels = processor(images=pictures, return_tensors="pt")
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}] * len(names) + [{"type": "text", "text": text}]}],
            tokenize=False, add_generation_prompt=True)
        pieces = prompt.split("<|image_pad|>")
        counts = [int(t * h * w) // MERGE ** 2 for t, h, w in pixels["image_grid_thw"]]
        prompt = pieces[0] + "".join("<|image_pad|>" * n + piece for n, piece in zip(counts, pieces[1:]))
        ids = tokenizer(prompt, return_tensors="pt")["input_ids"]
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels["pixel_values"],
                           image_grid_thw=pixels["image_grid_thw"],
                           mm_token_type_ids=(ids == model.config.image_token_id).int()).logits[0, -1].double()
        share = torch.softmax(logits, -1)
        sums = {side: sum(share[tokenizer.encode(blank + word)[0]].item() for word, is_yes in ANSWERS.items()
                          for blank in ("", " ") if is_yes == side) for side in (1, -1)}
        rows.append({"pictures": names, "text": text, "prompt_tokens": ids.shape[1],
                     "p_yes": round(sums[1] / (sums[1] + sums[-1]), 6), "mass": round(sums[1] + sums[-1], 6)})
    head = {"made_by": "tests/reference/make_tiny_vlm.py --golden", "torch": torch.__version__,
            "transformers": transformers.__version__, "numpy": np.__version__, "weights_sha256": digest}
    lines = ",\n  ".join(json.dumps(row) for row in rows)
    pathlib.Path(path).write_text(json.dumps(head, indent=1)[:-2] + f',\n "rows": [\n  {lines}\n ]\n}}\n')


def main():
    options = argparse.ArgumentParser()
    options.add_argument("out", type=pathlib.Path)
    options.add_argument("--hf", action="store_true")
    options.add_argument("--golden")
    asked = options.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    words = Words()
    w = weights_of(words)
    digest = digest_of(w)
    if asked.hf or asked.golden:
        write_hf(asked.out / "hf", words, w)
    if asked.golden:
        write_golden(asked.golden, asked.out / "hf", digest)
    else:
        write_ggufs(asked.out, words, w)
    print(f"{len(words.tokens)} tokens, {sum(value.size for value in w.values())} weights, sha256 {digest}",
          file=sys.stderr)


if __name__ == "__main__":
    main()
