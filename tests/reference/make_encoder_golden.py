"""Makes tests/golden/encoder: tiny random-weight CLIP checkpoints and what transformers makes of
them. Run with the packages of tools/train/requirements.txt:

    python tests/reference/make_encoder_golden.py

Each folder holds a model as published (config, safetensors, vocab, merges, preprocessor) and
  texts.json   the texts, their token ids and unit vectors
  pixels.f32   N standardised pictures [N, 3, S, S]
  pictures.f32 their unit vectors [N, D]
stages/ holds what the first of them makes of one picture and one text, stage by stage:
  picture.u8   the picture [S, S, 3]
  stages.json  tower, stage, shape of each, the text and its ids
  stages.f32   their values, one stage behind the other
With the argument "stages" only that folder is made, from the checkpoint that is there. VERSIONS
records the packages and the seed."""
import json
import pathlib
import platform
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, CLIPTokenizer

SEED = 7
ROOT = pathlib.Path(__file__).resolve().parents[1] / "golden" / "encoder"
N_PICTURES = 20


def byte_codes():
    printable = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    codes, extra = {}, 0
    for b in range(256):
        if b in printable:
            codes[b] = chr(b)
        else:
            codes[b] = chr(256 + extra)
            extra += 1
    return codes


def vocabulary():
    """256 bytes, 256 bytes that end a word, some merges, the two specials."""
    codes = byte_codes()
    words = [codes[b] for b in range(256)] + [codes[b] + "</w>" for b in range(256)]
    merges = ["t h", "th e</w>", "a n", "an d</w>", "i n", "in g</w>", "r e", "re d</w>", "c a",
              "ca r</w>", "o f</w>", "p h", "ph o", "t o</w>", "f l", "o w", "fl ow", "flow e",
              "flowe r</w>", "1 2</w>", "' s</w>", "l l</w>", "e r</w>", "o n</w>"]
    words += [m.replace(" ", "") for m in merges]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {w: i for i, w in enumerate(words)}, merges


def texts():
    rng = np.random.default_rng(SEED)
    fixed = ["", "a photo of a flower", "The Red Car", "don't we'll I'd you're they've I'm it's",
             "naïve café", "cafe\u0301", "ÀÉÎ İstanbul ΣΑΣ straße", "日本語 テキスト", "😀👍🏽 emoji 👨‍👩‍👧",
             "12 345 ½ Ⅷ ٣", "tabs\tand\nlines  and   blanks", "a\u00a0b\u3000c", "!?... --- ???",
             "x" * 300, "word " * 90, "<|endoftext|> inside", "before <|startoftext|> after",
             "'s't're", "''''s", "a'b", "UPPER lower MiXeD", "ﬁne ligature", "e\u0301\u0327", "\u202eright",
             "Привет, мир", "مرحبا", "नमस्ते", "한국어", "a_b-c.d,e;f", "http://x.y/z?q=1"]
    letters = list("abcdefghij thereandcaringflower'.,!12 ") + ["é", "ß", "Σ", "中", "😀", "\u0301"]
    return fixed + ["".join(rng.choice(letters, size=rng.integers(1, 60))) for _ in range(200)]


def make(name, dtype, eos, act, text, vision, dim, shards):
    torch.manual_seed(SEED)
    vocab, merges = vocabulary()
    end = vocab["<|endoftext|>"]
    config = CLIPConfig(
        text_config=dict(vocab_size=len(vocab), max_position_embeddings=24, hidden_act=act,
                         bos_token_id=vocab["<|startoftext|>"], pad_token_id=end,
                         eos_token_id=end if eos == "id" else 2, **text),
        vision_config=dict(hidden_act=act, **vision), projection_dim=dim)
    model = CLIPModel(config).eval()
    with torch.no_grad():
        for p in model.parameters():  # wide enough that every stage matters
            p.add_(torch.randn_like(p) * 0.08)
        model.to(dtype).float()
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().to(dtype).contiguous() for k, v in model.state_dict().items()
             if "position_ids" not in k}
    model.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)
    if shards:
        names = sorted(state)
        half = {"model-00001-of-00002.safetensors": names[::2], "model-00002-of-00002.safetensors": names[1::2]}
        for file, keys in half.items():
            save_file({k: state[k] for k in keys}, folder / file)
        index = {"metadata": {}, "weight_map": {k: f for f, keys in half.items() for k in keys}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    else:
        save_file(state, folder / "model.safetensors")
    raw = config.to_dict()
    raw["model_type"] = "clip"
    (folder / "config.json").write_text(json.dumps(raw, indent=1, default=str))
    (folder / "vocab.json").write_text(json.dumps(vocab, ensure_ascii=False))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    size = vision["image_size"]
    (folder / "preprocessor_config.json").write_text(json.dumps(
        {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size},
         "resample": 3, "image_mean": [0.48, 0.46, 0.41], "image_std": [0.27, 0.26, 0.28]}))
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt")) \
        if not hasattr(CLIPTokenizer, "from_pretrained") else CLIPTokenizer.from_pretrained(folder)
    rows = []
    with torch.no_grad():
        for text_ in texts():
            ids = tokenizer(text_, truncation=True, max_length=24)["input_ids"]
            out = model.get_text_features(input_ids=torch.tensor([ids]),
                                          attention_mask=torch.ones(1, len(ids), dtype=torch.long))
            out = getattr(out, "pooler_output", out)
            vector = (out / out.norm(dim=-1, keepdim=True))[0]
            rows.append({"text": text_, "ids": ids, "vector": [float(f"{v:.8g}") for v in vector]})
        pixels = torch.randn(N_PICTURES, 3, size, size)
        out = model.get_image_features(pixel_values=pixels)
        out = getattr(out, "pooler_output", out)
        vectors = out / out.norm(dim=-1, keepdim=True)
    (folder / "texts.json").write_text(json.dumps(rows, ensure_ascii=False))
    pixels.numpy().astype("<f4").tofile(folder / "pixels.f32")
    vectors.numpy().astype("<f4").tofile(folder / "pictures.f32")


def stages(name="f32-quick-gelu"):
    """What each stage gives, by forward hooks on the checkpoint as committed."""
    folder, out = ROOT / name, ROOT / "stages"
    out.mkdir(exist_ok=True)
    model = CLIPModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    preprocess = json.loads((folder / "preprocessor_config.json").read_text())
    rows, values = [], []

    def keep(tower, stage, tensor):
        tensor = tensor.detach()[0]
        rows.append({"tower": tower, "stage": stage, "shape": list(tensor.shape)})
        values.append(tensor.numpy().astype("<f4").ravel())

    def hook(module, tower, stage, change=lambda t: t):
        def run(_module, _inputs, output):
            keep(tower, stage, change(output[0] if isinstance(output, tuple) else output))
        module.register_forward_hook(run)

    image, text = model.vision_model, model.text_model
    hook(image.embeddings.patch_embedding, "image", "patches", lambda t: t.flatten(2).transpose(1, 2))
    hook(image.embeddings, "image", "embeddings")
    hook(image.pre_layrnorm, "image", "pre-norm")
    for i, layer in enumerate(image.encoder.layers):
        hook(layer, "image", f"block {i}")
    hook(image.post_layernorm, "image", "pooled", lambda t: t[None])
    hook(model.visual_projection, "image", "projection", lambda t: t[None])
    hook(text.embeddings, "text", "embeddings")
    for i, layer in enumerate(text.encoder.layers):
        hook(layer, "text", f"block {i}")
    hook(text.final_layer_norm, "text", "pooled", lambda t: t[:, ids.index(max(ids))][None])
    hook(model.text_projection, "text", "projection", lambda t: t[None])

    size = model.config.vision_config.image_size
    picture = np.random.default_rng(SEED).integers(0, 256, (size, size, 3), dtype=np.uint8)
    mean = np.array(preprocess["image_mean"], dtype=np.float32)
    std = np.array(preprocess["image_std"], dtype=np.float32)
    pixels = ((picture.astype(np.float32) / np.float32(255) - mean) / std).transpose(2, 0, 1)
    words = "The red flower, 12 cars & caf\u00e9"
    ids = tokenizer(words)["input_ids"]
    patch = model.config.vision_config.patch_size
    columns = torch.nn.functional.unfold(torch.tensor(pixels[None]), patch, stride=patch)
    keep("image", "pixels", columns.transpose(1, 2))
    with torch.no_grad():
        for tower, run in (("image", lambda: model.get_image_features(torch.tensor(pixels[None]))),
                           ("text", lambda: model.get_text_features(torch.tensor([ids])))):
            features = run()
            features = getattr(features, "pooler_output", features)
            keep(tower, "vector", (features / features.norm(dim=-1, keepdim=True))[None])
    picture.tofile(out / "picture.u8")
    np.concatenate(values).tofile(out / "stages.f32")
    (out / "stages.json").write_text(json.dumps({"model": name, "text": words, "ids": ids, "stages": rows},
                                                ensure_ascii=False, indent=1))


def main():
    if sys.argv[1:] == ["stages"]:
        stages()
        return
    text = dict(hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    make("f32-quick-gelu", torch.float32, "two", "quick_gelu", text,
         dict(hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=3,
              image_size=28, patch_size=7), 24, False)
    make("f16-gelu-eos", torch.float16, "id", "gelu", dict(text, hidden_size=40, num_attention_heads=5),
         dict(hidden_size=32, intermediate_size=80, num_hidden_layers=3, num_attention_heads=4,
              image_size=32, patch_size=16), 33, False)
    make("bf16-sharded", torch.bfloat16, "id", "gelu", text,
         dict(hidden_size=36, intermediate_size=50, num_hidden_layers=1, num_attention_heads=2,
              image_size=30, patch_size=10), 16, True)
    stages()
    (ROOT / "VERSIONS").write_text(
        f"transformers {transformers.__version__}\ntorch {torch.__version__}\n"
        f"numpy {np.__version__}\npython {platform.python_version()}\nseed {SEED}\n")


if __name__ == "__main__":
    main()
