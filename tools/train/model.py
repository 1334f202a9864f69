"""The model: a plain CLIPModel, and a forward pass that may shrink pictures and drop patches."""

import torch
import torch.nn.functional as F
from transformers import CLIPConfig, CLIPModel

from tokenizer import CONTEXT

IMAGE, PATCH, PROJECTION = 128, 16, 256


def config(n_tokens, width, depth, text_width, text_depth):
    """CLIPConfig of the shipped shape; heads of 64, exact gelu, start 0, end and padding 1."""
    text = dict(
        vocab_size=n_tokens,
        hidden_size=text_width,
        intermediate_size=4 * text_width,
        num_hidden_layers=text_depth,
        num_attention_heads=text_width // 64,
        max_position_embeddings=CONTEXT,
        hidden_act="gelu",
        projection_dim=PROJECTION,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    vision = dict(
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=depth,
        num_attention_heads=width // 64,
        image_size=IMAGE,
        patch_size=PATCH,
        hidden_act="gelu",
        projection_dim=PROJECTION,
    )
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=PROJECTION)


def create(conf):
    """A model with stock initialisation; eager, since the CPU flash kernel is slow backwards."""
    model = CLIPModel(conf)
    model.set_attn_implementation("eager")
    return model


def pooled_image(model, pixels, keep=1.0):
    """Pooled output [B, W] of the image tower for [B, 3, s, s], s a multiple of the patch.

    A smaller s takes the position table reduced to its grid; keep < 1 drops patches at random.
    """
    vision = model.vision_model
    emb = vision.embeddings
    b, _, s, _ = pixels.shape
    g = s // PATCH
    x = pixels.reshape(b, 3, g, PATCH, g, PATCH).permute(0, 2, 4, 1, 3, 5).reshape(b, g * g, -1)
    x = F.linear(x, emb.patch_embedding.weight.flatten(1))
    table = emb.position_embedding.weight
    grid = table[1:]
    if g * PATCH != IMAGE:
        side = IMAGE // PATCH
        grid = F.interpolate(
            grid.T.reshape(1, -1, side, side), size=(g, g), mode="bicubic", align_corners=False
        )
        grid = grid.flatten(2)[0].T
    x = x + grid
    if keep < 1:
        order = torch.rand(b, g * g).argsort(1)[:, : int(g * g * keep)]
        x = x.gather(1, order[..., None].expand(-1, -1, x.shape[-1]))
    x = torch.cat([(emb.class_embedding + table[0]).expand(b, 1, -1), x], 1)
    x = vision.encoder(inputs_embeds=vision.pre_layrnorm(x)).last_hidden_state
    return vision.post_layernorm(x[:, 0])


def image_vectors(model, pooled):
    """Unit vectors [B, P] of pooled outputs."""
    return F.normalize(model.visual_projection(pooled).float(), dim=-1)


def text_vectors(model, ids):
    """Unit vectors [B, P] of id rows padded with the end id."""
    pooled = model.text_model(input_ids=ids).pooler_output
    return F.normalize(model.text_projection(pooled).float(), dim=-1)
