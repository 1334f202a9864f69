#!/usr/bin/env python3
"""Folders of tiny models in the shapes of families whose published weights are large; none is
trained. usage: models.py mllama|deepseek-vl2|nvlm-d OUT. mllama writes random weights (torch,
transformers); the others a configuration and a tokenizer for vLLM's --load-format dummy."""
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "reference"))
import make_tiny_vlm as tiny  # noqa: E402

SPECIAL = {
    "mllama": ["<|image|>"],
    "deepseek-vl2": ["<image>", "<|ref|>", "<|/ref|>", "<|det|>", "<|/det|>", "<|grounding|>", "<|User|>", "<|Assistant|>"],
    "nvlm-d": ["<image>", "<Image>", "</Image>", "<tile_global_thumbnail>"] + [f"<tile_{i}>" for i in range(1, 13)],
}
PICTURE = {"mllama": "<|image|>", "deepseek-vl2": "<image>", "nvlm-d": "<image>\\n"}


def template(family):
    return tiny.TEMPLATE.replace("<|vision_start|><|image_pad|><|vision_end|>", PICTURE[family])


def write_tokenizer(out, family, processor):
    """The tokenizer of the tiny Qwen2.5-VL with the tokens that this family's pictures stand for."""
    words = tiny.Words()
    tiny.write_hf(out, words, {})
    tokenizer = json.loads((out / "tokenizer.json").read_text())
    tokens = {entry["content"]: entry["id"] for entry in tokenizer["added_tokens"]}
    for token in SPECIAL[family]:
        if token not in tokens:
            tokens[token] = words.n_plain + len(tokens)
            tokenizer["added_tokens"].append(dict(tokenizer["added_tokens"][0], id=tokens[token], content=token))
    (out / "tokenizer.json").write_text(json.dumps(tokenizer))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
              "bos_token": "<|endoftext|>", "model_max_length": 8192, "processor_class": processor}
    (out / "tokenizer_config.json").write_text(json.dumps(config))
    (out / "chat_template.jinja").write_text(template(family))
    for name in ("preprocessor_config.json", "video_preprocessor_config.json", "model.safetensors"):
        (out / name).unlink()
    return words, tokens, -(-(max(tokens.values()) + 1) // 64) * 64


def write_json(path, content):
    path.write_text(json.dumps(content, indent=1))


def mllama(out):
    import torch
    from transformers import (MllamaConfig, MllamaForConditionalGeneration, MllamaImageProcessor, MllamaProcessor,
                              PreTrainedTokenizerFast)
    words, tokens, size = write_tokenizer(out, "mllama", "MllamaProcessor")
    config = MllamaConfig(
        vision_config={"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_global_layers": 2,
                       "attention_heads": 2, "num_attention_heads": 2, "vision_output_dim": 64, "image_size": 112,
                       "patch_size": 14, "max_num_tiles": 4, "intermediate_layers_indices": [1],
                       "supported_aspect_ratios": [[1, 1], [1, 2], [1, 3], [1, 4], [2, 1], [2, 2], [3, 1], [4, 1]]},
        text_config={"vocab_size": size, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 4,
                     "num_attention_heads": 4, "num_key_value_heads": 2, "cross_attention_layers": [1, 3],
                     "max_position_embeddings": 4096, "bos_token_id": words.place["<|endoftext|>"],
                     "eos_token_id": words.place["<|im_end|>"], "pad_token_id": words.place["<|endoftext|>"]},
        image_token_index=tokens["<|image|>"])
    torch.manual_seed(5)
    model = MllamaForConditionalGeneration(config)
    for name, weight in model.named_parameters():
        if "gate" in name and weight.numel() == 1:
            weight.data.fill_(1.0)  # they begin closed: pictures would not matter
        elif weight.ndim > 1:
            weight.data *= 4  # so that answers differ between pictures
    model.save_pretrained(out)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(out)
    MllamaProcessor(MllamaImageProcessor(size={"height": 112, "width": 112}, max_image_tiles=4), tokenizer,
                    chat_template=template("mllama")).save_pretrained(out)


def deepseek_vl2(out):
    _, _, size = write_tokenizer(out, "deepseek-vl2", "DeepseekVLV2Processor")
    sizes = [[384 * m, 384 * n] for m in range(1, 10) for n in range(1, 10) if m * n <= 9]
    write_json(out / "config.json", {
        "model_type": "deepseek_vl_v2", "architectures": ["DeepseekVLV2ForCausalLM"], "torch_dtype": "float32",
        "tile_tag": "2D", "global_view_pos": "head", "candidate_resolutions": sizes,
        "vision_config": {"model_type": "vision", "model_name": "siglip_so400m_patch14_384", "image_size": 384,
                          "patch_size": 14, "width": 1152, "layers": 27, "mlp_ratio": 3.7362},
        "projector_config": {"model_type": "mlp_projector", "projector_type": "downsample_mlp_gelu", "input_dim": 1152,
                             "n_embed": 128, "depth": 2, "mlp_ratio": 1, "downsample_ratio": 2},
        "language_config": {"model_type": "deepseek_v2", "architectures": ["DeepseekV2ForCausalLM"],
                            "torch_dtype": "float32", "vocab_size": size, "hidden_size": 128, "intermediate_size": 128,
                            "moe_intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
                            "num_key_value_heads": 4, "n_routed_experts": 4, "n_shared_experts": 1,
                            "first_k_dense_replace": 2, "num_experts_per_tok": 1, "kv_lora_rank": None,
                            "q_lora_rank": None, "qk_nope_head_dim": 0, "qk_rope_head_dim": 0, "v_head_dim": 32,
                            "head_dim": 32, "use_mla": False, "topk_method": "greedy", "n_group": 1, "topk_group": 1,
                            "max_position_embeddings": 8192, "bos_token_id": 0, "eos_token_id": 1}})
    write_json(out / "processor_config.json", {
        "processor_class": "DeepseekVLV2Processor", "candidate_resolutions": sizes, "patch_size": 14,
        "downsample_ratio": 2, "image_mean": [.5] * 3, "image_std": [.5] * 3, "normalize": True, "image_token": "<image>",
        "pad_token": "<|endoftext|>", "add_special_token": False, "sft_format": "deepseek", "mask_prompt": False,
        "ignore_id": -100})


NVLM_CONFIG = '''"""The configuration that the published NVLM-D brings as code of its own."""
from transformers import PretrainedConfig, Qwen2Config


class NVLMVisionConfig(PretrainedConfig):
    model_type = "nvlm_vision"


class NVLMDConfig(PretrainedConfig):
    model_type = "NVLM_D"
    has_no_defaults_at_init = True

    def __init__(self, vision_config=None, llm_config=None, **others):
        self.vision_config = NVLMVisionConfig(**(vision_config or {}))
        self.text_config = self.llm_config = Qwen2Config(**(llm_config or {}))
        super().__init__(**others)

    def get_text_config(self, *args, **kwargs):
        return self.text_config
'''


def nvlm_d(out):
    words, _, size = write_tokenizer(out, "nvlm-d", "NVLMProcessor")
    (out / "configuration_nvlm_d.py").write_text(NVLM_CONFIG)
    write_json(out / "config.json", {
        "model_type": "NVLM_D", "architectures": ["NVLM_D"], "torch_dtype": "float32",
        "auto_map": {"AutoConfig": "configuration_nvlm_d.NVLMDConfig"},
        "downsample_ratio": .5, "dynamic_image_size": True, "force_image_size": 448, "max_dynamic_patch": 6,
        "min_dynamic_patch": 1, "ps_version": "v2", "select_layer": -1, "template": "chatml", "use_thumbnail": True,
        "vision_config": {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
                          "image_size": 448, "patch_size": 14, "num_channels": 3, "qkv_bias": False,
                          "qk_normalization": True, "norm_type": "rms_norm", "layer_norm_eps": 1e-6,
                          "hidden_act": "gelu", "initializer_factor": .1, "initializer_range": 1e-10, "dropout": 0,
                          "attention_dropout": 0, "drop_path_rate": 0, "use_flash_attn": False},
        "llm_config": {"architectures": ["Qwen2ForCausalLM"], "vocab_size": size, "hidden_size": 128,
                       "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4,
                       "num_key_value_heads": 2, "max_position_embeddings": 8192, "torch_dtype": "float32",
                       "bos_token_id": words.place["<|endoftext|>"], "eos_token_id": words.place["<|im_end|>"]}})


def main():
    out = pathlib.Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    {"mllama": mllama, "deepseek-vl2": deepseek_vl2, "nvlm-d": nvlm_d}[sys.argv[1]](out)


main()
