"""Converts the flax file of MagicLens's authors to a folder that the embedder reads."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders.magiclens import flax

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[np.float32]

CLIP_NORMS = {"ln_1": "layer_norm1", "ln_2": "layer_norm2"}


def as_is(array: Array) -> Array:
    return array


def transposed(array: Array) -> Array:
    """(in, …) to (…, in), with all axes but the first flattened into one."""
    return array.reshape(len(array), -1).T


def joined(array: Array) -> Array:
    """(in, heads, width) to (in, heads * width)."""
    return array.reshape(len(array), -1)


def flat(array: Array) -> Array:
    return array.reshape(-1)


def outward(array: Array) -> Array:
    """(heads, width, out) to (out, heads * width)."""
    return array.reshape(-1, array.shape[-1]).T


def convolution(array: Array) -> Array:
    """(height, width, channels, out) to (out, channels, height, width)."""
    return array.transpose(3, 2, 0, 1)


def names(theirs: str, ours: str, kernel: Callable[[Array], Array], *, of: str = "kernel bias") -> Any:
    """The rules for a linear layer's kernel and bias."""
    weight, bias = of.split()
    return [(f"{theirs}/{weight}", f"{ours}.weight", kernel), (f"{theirs}/{bias}", f"{ours}.bias", flat)]


BLOCK = r"clip/(text|visual)/transformer/resblocks[_.](\d+)"
OUR_BLOCK = r"clip.\1_model.encoder.layers.\2"
LAYER = r"multimodal_encoder/x_layers_(\d+)"
POOL = "contrastive_multimodal_pooler"
RULES: list[tuple[str, str, Callable[[Array], Array]]] = [
    ("clip/logit_scale", "clip.logit_scale", as_is),
    ("clip/visual/conv1/kernel", "clip.vision_model.embeddings.patch_embedding.weight", convolution),
    ("clip/visual/class_embedding", "clip.vision_model.embeddings.class_embedding", as_is),
    ("clip/visual/positional_embedding", "clip.vision_model.embeddings.position_embedding.weight", as_is),
    ("clip/visual/ln_pre/scale", "clip.vision_model.pre_layrnorm.weight", as_is),
    ("clip/visual/ln_pre/bias", "clip.vision_model.pre_layrnorm.bias", as_is),
    ("clip/visual/ln_post/scale", "clip.vision_model.post_layernorm.weight", as_is),
    ("clip/visual/ln_post/bias", "clip.vision_model.post_layernorm.bias", as_is),
    ("clip/visual/proj/kernel", "clip.visual_projection.weight", transposed),
    ("clip/text/token_embedding/embedding", "clip.text_model.embeddings.token_embedding.weight", as_is),
    ("clip/text/positional_embedding", "clip.text_model.embeddings.position_embedding.weight", as_is),
    ("clip/text/ln_final/scale", "clip.text_model.final_layer_norm.weight", as_is),
    ("clip/text/ln_final/bias", "clip.text_model.final_layer_norm.bias", as_is),
    ("clip/text/text_projection/kernel", "clip.text_projection.weight", transposed),
    *((f"{BLOCK}/{norm}/scale", f"{OUR_BLOCK}.{ours}.weight", as_is) for norm, ours in CLIP_NORMS.items()),
    *((f"{BLOCK}/{norm}/bias", f"{OUR_BLOCK}.{ours}.bias", as_is) for norm, ours in CLIP_NORMS.items()),
    *names(f"{BLOCK}/attn/query", f"{OUR_BLOCK}.self_attn.q_proj", transposed),
    *names(f"{BLOCK}/attn/key", f"{OUR_BLOCK}.self_attn.k_proj", transposed),
    *names(f"{BLOCK}/attn/value", f"{OUR_BLOCK}.self_attn.v_proj", transposed),
    *names(f"{BLOCK}/attn/out", f"{OUR_BLOCK}.self_attn.out_proj", outward),
    *names(f"{BLOCK}/mlp/c_fc", f"{OUR_BLOCK}.mlp.fc1", transposed),
    *names(f"{BLOCK}/mlp/c_proj", f"{OUR_BLOCK}.mlp.fc2", transposed),
    (f"{LAYER}/layer_norm/(scale|bias)", r"layers.\1.norm1.\2", as_is),
    (f"{LAYER}/ff_layer/layer_norm/(scale|bias)", r"layers.\1.norm2.\2", as_is),
    (rf"{LAYER}/ff_layer/ffn_layer(\d)/linear/w", r"layers.\1.linear\2.weight", transposed),
    (rf"{LAYER}/ff_layer/ffn_layer(\d)/bias/b", r"layers.\1.linear\2.bias", as_is),
    *names(f"{LAYER}/self_attention/(query|key|value)", r"layers.\1.attention.\2", transposed, of="w b"),
    *names(f"{LAYER}/self_attention/post", r"layers.\1.attention.post", joined, of="w b"),
    *names(f"{POOL}/pool_attn/(query|key|value)", r"pool.\1", transposed, of="w b"),
    *names(f"{POOL}/pool_attn/post", "pool.post", joined, of="w b"),
    (f"{POOL}/pool_attn/per_dim_scale/per_dim_scale", "pool.per_dim_scale", as_is),
    (f"{POOL}/pool_attn_ln/(scale|bias)", r"pool_norm.\1", as_is),
    (f"{POOL}/pooling_attn_query", "pool_query", as_is),
]
"""Their path, our key, and how the array is converted."""


def convert(source: Path, tokenizer: Path, folder: Path) -> None:
    """Make ``folder`` from the authors' .pkl and a CLIP's tokenizer.json. Nothing in the file is run.

    Raises ImproperlyConfigured if the file is broken or not a MagicLens; the folder is then left as it was.
    """
    from safetensors.numpy import save_file

    if not tokenizer.is_file():
        raise ImproperlyConfigured(
            f"There is no tokenizer at {tokenizer}; take tokenizer.json of openai/clip-vit-base-patch16."
        )
    arrays = {key.removeprefix("params/"): array for key, array in flax.read(source).items()}
    try:
        config, tensors = configuration(arrays), dict(_renamed(arrays))
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise ImproperlyConfigured(f"The weights {source} are not a MagicLens: {error}.") from error
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes(tokenizer.read_bytes())
    # Written last: without config.json, a folder is refused as incomplete.
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")


def configuration(arrays: Mapping[str, Array]) -> dict[str, Any]:
    """The content of config.json, from the arrays' shapes. Raises KeyError if an array is missing."""
    patch, _, _, vision_width = arrays["clip/visual/conv1/kernel"].shape
    patches = len(arrays["clip/visual/positional_embedding"]) - 1
    limit, text_width = arrays["clip/text/positional_embedding"].shape
    return {
        "model_type": "magiclens",
        "projection_dim": arrays["clip/text/text_projection/kernel"].shape[1],
        "heads": arrays[f"{POOL}/pool_attn/key/b"].shape[0],
        "layers": _count(arrays, r"multimodal_encoder/x_layers_(\d+)/"),
        "text_config": {
            **_tower(arrays, "text", text_width),
            "vocab_size": len(arrays["clip/text/token_embedding/embedding"]),
            "max_position_embeddings": limit,
            # Not an id: tells transformers that the largest id closes a text.
            "eos_token_id": 2,
        },
        "vision_config": {
            **_tower(arrays, "visual", vision_width),
            "patch_size": patch,
            "image_size": patch * round(patches**0.5),
        },
    }


def _tower(arrays: Mapping[str, Array], name: str, width: int) -> dict[str, Any]:
    first = rf"clip/{name}/transformer/resblocks[_.]0/attn/query/bias"
    heads = [len(array) for key, array in arrays.items() if re.fullmatch(first, key)]
    return {
        "hidden_size": width,
        "intermediate_size": 4 * width,
        "num_attention_heads": heads[0],
        "num_hidden_layers": _count(arrays, rf"clip/{name}/transformer/resblocks[_.](\d+)/"),
    }


def _count(arrays: Mapping[str, Array], pattern: str) -> int:
    return len({found[1] for key in arrays if (found := re.match(pattern, key))})


def _renamed(arrays: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
    import numpy as np

    for key, array in arrays.items():
        for theirs, ours, change in RULES:
            if found := re.fullmatch(theirs, key):
                name = found.expand(ours).replace("visual_model", "vision_model")
                yield name, np.array(change(array), order="C")
                break
        else:
            raise ValueError(f"{key} does not belong to it")
