"""A small MagicLens with random weights, under its authors' names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from shopsearch.embedders.magiclens.conversion import convert
from tests.embedders.magiclens import flax_files
from tests.embedders.two_tower import models as two_tower_models

WIDTH, HEADS, TEXT, VISION = 32, 4, 48, 64
POOL = "contrastive_multimodal_pooler"


def arrays(seed: int = 0) -> dict[str, Any]:
    numbers = np.random.default_rng(seed)

    def linear(*shape: int) -> Any:
        return (numbers.standard_normal(shape) * 1.5 / np.sqrt(shape[0])).astype(np.float32)

    def near(value: float, *shape: int) -> Any:
        return (value + numbers.standard_normal(shape) / 10).astype(np.float32)

    def norm(value: float, width: int) -> Any:
        return {"scale": near(value, width), "bias": near(0, width)}

    def block(width: int, heads: int) -> Any:
        split = {"kernel": (width, heads, width // heads), "bias": (heads, width // heads)}
        attention = {
            name: {"kernel": linear(*split["kernel"]), "bias": near(0, *split["bias"])}
            for name in ("query", "key", "value")
        }
        out = {"kernel": linear(heads, width // heads, width) / 4, "bias": near(0, width)}
        mlp = {
            "c_fc": {"kernel": linear(width, 4 * width), "bias": near(0, 4 * width)},
            "c_proj": {"kernel": linear(4 * width, width), "bias": near(0, width)},
        }
        return {
            "attn": {**attention, "out": out},
            "mlp": mlp,
            "ln_1": norm(1, width),
            "ln_2": norm(1, width),
        }

    def attention(hidden: int) -> Any:
        inner = hidden // HEADS
        made = {
            name: {"w": linear(WIDTH, HEADS, inner), "b": near(0, HEADS, inner)}
            for name in ("query", "key", "value")
        }
        return {**made, "post": {"w": linear(WIDTH, HEADS, inner) / 4, "b": near(0, WIDTH)}}

    def layer() -> Any:
        forward = {
            "ffn_layer1": {"linear": {"w": linear(WIDTH, 4 * WIDTH)}, "bias": {"b": near(0, 4 * WIDTH)}},
            "ffn_layer2": {"linear": {"w": linear(4 * WIDTH, WIDTH)}, "bias": {"b": near(0, WIDTH)}},
            "layer_norm": norm(0, WIDTH),
        }
        return {"layer_norm": norm(0, WIDTH), "self_attention": attention(WIDTH), "ff_layer": forward}

    text = {
        "token_embedding": {"embedding": linear(258, TEXT) * 10},
        "positional_embedding": near(0, 77, TEXT),
        "ln_final": norm(1, TEXT),
        "text_projection": {"kernel": linear(TEXT, WIDTH)},
        "transformer": {f"resblocks_{each}": block(TEXT, 3) for each in range(2)},
    }
    visual = {
        "conv1": {"kernel": linear(16, 16, 3, VISION)},
        "class_embedding": near(0, VISION),
        "positional_embedding": near(0, 17, VISION),
        "ln_pre": norm(1, VISION),
        "ln_post": norm(1, VISION),
        "proj": {"kernel": linear(VISION, WIDTH)},
        "transformer": {f"resblocks_{each}": block(VISION, 2) for each in range(2)},
    }
    pool = {
        "pool_attn": {
            **attention(4 * WIDTH),
            "per_dim_scale": {"per_dim_scale": near(1, WIDTH)},
        },
        "pool_attn_ln": norm(0, WIDTH),
        "pooling_attn_query": near(0, 1, WIDTH),
    }
    clip = {"logit_scale": near(2.5), "text": text, "visual": visual}
    layers = {f"x_layers_{each}": layer() for each in range(2)}
    return dict(_leaves({"clip": clip, "multimodal_encoder": layers, POOL: pool}, ()))


def _leaves(tree: Any, path: tuple[str, ...]) -> Any:
    for name, branch in tree.items():
        if isinstance(branch, dict):
            yield from _leaves(branch, (*path, name))
        else:
            yield "/".join((*path, name)), branch


def make(folder: Path) -> Path:
    """The authors' file, a tokenizer, and the folder that is made of both."""
    folder.mkdir(exist_ok=True)
    flax_files.write(folder / "magic_lens_clip.pkl", arrays())
    two_tower_models.tokenizer().save(str(folder / "tokenizer.json"))
    convert(folder / "magic_lens_clip.pkl", folder / "tokenizer.json", folder / "converted")
    return folder / "converted"
