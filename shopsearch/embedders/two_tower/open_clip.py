"""Converts OpenCLIP's SigLIP models, such as Marqo's for e-commerce, to the form of transformers' SiglipModel."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Mapping
from html import unescape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

CONFIG = "open_clip_config.json"
NAMED = "open_clip_model_name"
"""The key that marks such a model's config.json, which says little else."""

TRUNKS: dict[str, dict[str, int]] = {
    "vit_base_patch16_siglip_224": {
        **{"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12},
        **{"image_size": 224, "patch_size": 16},
    },
    "vit_large_patch16_siglip_256": {
        **{"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16},
        **{"image_size": 256, "patch_size": 16},
    },
}
"""The vision towers of Marqo's models, by timm's names. timm's other SigLIPs differ in more than size."""

MODEL = {"custom_text": True}
TEXT = {
    **{"no_causal_mask": True, "proj_bias": True, "pool_type": "last"},
    **{"tokenizer_kwargs": {"clean": "canonicalize"}},
}
VISION = {"timm_pool": "map", "timm_proj": "none"}
"""The values that must be given, because nothing else is implemented here."""

LAYER, OUR_LAYER = r"visual\.trunk\.blocks\.(\d+)", r"vision_model.encoder.layers.\1"
TEXT_LAYER, OUR_TEXT_LAYER = r"text\.transformer\.resblocks\.(\d+)", r"text_model.encoder.layers.\1"
POOL, OUR_POOL = r"visual\.trunk\.attn_pool", "vision_model.head"
KIND = r"\.(weight|bias)"
QUERY, KEY_AND_VALUE = "vision_model.head.attention.q", "vision_model.head.attention.kv"
RULES: list[tuple[str, *tuple[str, ...]]] = [
    (r"logit_(scale|bias)", r"logit_\1"),
    (r"visual\.trunk\.pos_embed", "vision_model.embeddings.position_embedding.weight"),
    (rf"visual\.trunk\.patch_embed\.proj{KIND}", r"vision_model.embeddings.patch_embedding.\1"),
    (rf"{LAYER}\.norm([12]){KIND}", rf"{OUR_LAYER}.layer_norm\2.\3"),
    (rf"{LAYER}\.attn\.qkv{KIND}", *(rf"{OUR_LAYER}.self_attn.{part}_proj.\2" for part in "qkv")),
    (rf"{LAYER}\.attn\.proj{KIND}", rf"{OUR_LAYER}.self_attn.out_proj.\2"),
    (rf"{LAYER}\.mlp\.fc([12]){KIND}", rf"{OUR_LAYER}.mlp.fc\2.\3"),
    (rf"visual\.trunk\.norm{KIND}", r"vision_model.post_layernorm.\1"),
    (rf"{POOL}\.latent", f"{OUR_POOL}.probe"),
    (rf"{POOL}\.q{KIND}", rf"{QUERY}_\1"),
    (rf"{POOL}\.kv{KIND}", rf"{KEY_AND_VALUE}_\1"),
    (rf"{POOL}\.proj{KIND}", rf"{OUR_POOL}.attention.out_proj.\1"),
    (rf"{POOL}\.norm{KIND}", rf"{OUR_POOL}.layernorm.\1"),
    (rf"{POOL}\.mlp\.fc([12]){KIND}", rf"{OUR_POOL}.mlp.fc\1.\2"),
    (r"text\.positional_embedding", "text_model.embeddings.position_embedding.weight"),
    (r"text\.token_embedding\.weight", "text_model.embeddings.token_embedding.weight"),
    (rf"{TEXT_LAYER}\.ln_([12]){KIND}", rf"{OUR_TEXT_LAYER}.layer_norm\2.\3"),
    (
        rf"{TEXT_LAYER}\.attn\.in_proj_(weight|bias)",
        *(rf"{OUR_TEXT_LAYER}.self_attn.{part}_proj.\2" for part in "qkv"),
    ),
    (rf"{TEXT_LAYER}\.attn\.out_proj{KIND}", rf"{OUR_TEXT_LAYER}.self_attn.out_proj.\2"),
    (rf"{TEXT_LAYER}\.mlp\.c_fc{KIND}", rf"{OUR_TEXT_LAYER}.mlp.fc1.\2"),
    (rf"{TEXT_LAYER}\.mlp\.c_proj{KIND}", rf"{OUR_TEXT_LAYER}.mlp.fc2.\2"),
    (rf"text\.ln_final{KIND}", r"text_model.final_layer_norm.\1"),
    (rf"text\.text_projection{KIND}", r"text_model.head.\1"),
]
"""Their key, and ours. If ours are several, each gets an equal part of the rows."""

ENDLESS = re.compile(r"&#\d{8,};?")
"""No character has a longer number, and Python refuses numbers with thousands of digits."""
CURLY = "\u02bc\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f"
"""Quotes that OpenCLIP straightens before it removes them."""
CLEANED: dict[int, str | None] = {ord(sign): None for sign in string.punctuation + CURLY}
CLEANED[ord("_")] = " "
CLEANED |= {0xFEE0 + code: CLEANED.get(code, chr(code)) for code in range(0x21, 0x7F)}  # in full width


def configuration(described: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in transformers' form, from OpenCLIP's.

    Raises ValueError, KeyError or TypeError for a model that is not known here.
    """
    model = described["model_cfg"]
    text, vision = model["text_cfg"], model["vision_cfg"]
    _check(model, MODEL, ("embed_dim", "init_logit_bias", "vision_cfg", "text_cfg"))
    _check(vision, VISION, ("image_size", "timm_model_name", "timm_model_pretrained"))
    sizes = ("context_length", "vocab_size", "width", "heads", "layers")
    _check(text, TEXT, (*sizes, "hf_tokenizer_name", "norm_kwargs"))
    _check(text["norm_kwargs"], {}, ("eps",))
    trunk = TRUNKS.get(vision["timm_model_name"])
    if trunk is None:
        raise ValueError(f"timm_model_name is {vision['timm_model_name']!r}; known are {', '.join(TRUNKS)}")
    _check(model, {"embed_dim": trunk["hidden_size"]}, model)
    _check(vision, {"image_size": trunk["image_size"]}, vision)
    # Unlike Google's SigLIP and transformers' default, which approximate it with tanh.
    arithmetic = {"hidden_act": "gelu", "layer_norm_eps": 1e-6}
    return {
        "model_type": "siglip",
        "text_config": {
            "hidden_size": text["width"],
            "intermediate_size": 4 * text["width"],
            "num_hidden_layers": text["layers"],
            "num_attention_heads": text["heads"],
            "max_position_embeddings": text["context_length"],
            "vocab_size": text["vocab_size"],
            "projection_size": model["embed_dim"],
            **arithmetic,
            "layer_norm_eps": text["norm_kwargs"]["eps"],
        },
        "vision_config": {**trunk, "intermediate_size": 4 * trunk["hidden_size"], **arithmetic},
    }


def _check(part: Mapping[str, Any], fixed: Mapping[str, Any], known: Any) -> None:
    for name, value in fixed.items():
        if part.get(name) != value:
            raise ValueError(f"{name} is {part.get(name)!r}, and only {value!r} is known here")
    if unknown := sorted({*part} - {*fixed, *known}):
        raise ValueError(f"{unknown[0]} is not known here")


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors under transformers' keys, split and shaped for it, without copying the large ones.

    An unknown key stays as it is: the strict loading will name it. Raises ValueError if a tensor cannot be split.
    """
    import torch

    found: dict[str, Tensor] = {}
    # In the class that transformers would run as remote code, the model is an attribute.
    prefix = "model." if all(key.startswith("model.") for key in state) else ""
    for prefixed, tensor in state.items():
        key = prefixed.removeprefix(prefix)
        ours = _our_keys(key)
        if key.startswith("logit_"):
            tensor = tensor.reshape(-1)
        elif key == "visual.trunk.pos_embed":
            tensor = tensor.flatten(0, 1)
        parts = tensor.chunk(len(ours)) if len(ours) > 1 else [tensor]
        found.update(zip(ours, parts, strict=True))
    for kind in ("weight", "bias"):
        fused = [f"{QUERY}_{kind}", f"{KEY_AND_VALUE}_{kind}"]
        if all(key in found for key in fused):
            found[f"{OUR_POOL}.attention.in_proj_{kind}"] = torch.cat([found.pop(key) for key in fused])
    return found


def _our_keys(key: str) -> list[str]:
    for theirs, *ours in RULES:
        if match := re.fullmatch(theirs, key):
            return [match.expand(each) for each in ours]
    return [key]


def canonical(text: str) -> str:
    """The text as OpenCLIP gives it to the tokenizer: no entities, no capitals, no punctuation, single spaces.

    OpenCLIP also repairs wrongly decoded text and drops control characters; this does not. Of all other single
    characters only ŉ comes out differently, once the tokenizer has composed them.
    """
    for _ in range(2):
        text = unescape(ENDLESS.sub("\ufffd", text))
    composed = unicodedata.normalize("NFC", text)
    return " ".join(composed.translate(CLEANED).lower().split())
