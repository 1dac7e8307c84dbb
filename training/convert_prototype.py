"""Make shopsearch/embedders/bundled from the first trained prototype's checkpoint.

    python -m training.convert_prototype PROTOTYPE_FOLDER shopsearch/embedders/bundled

The prototype was trained with timm's Eva; this renames its tensors to Visualized BGE's own names, drops the heads that
only training needed, and writes half precision. No number is changed beyond that rounding.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

RENAMED = [
    (r"^bert\.encoder\.", "bge_encoder."),
    (r"^bert\.embeddings\.", "bge_embeddings."),
    (r"^proj\.", "visual_proj."),
    (r"^visual\.(.*\.attn)\.([qv])_proj\.bias$", r"visual.\1.\2_bias"),
    (r"^visual\.(.*\.mlp)\.fc1_g\.", r"visual.\1.w1."),
    (r"^visual\.(.*\.mlp)\.fc1_x\.", r"visual.\1.w2."),
    (r"^visual\.(.*\.mlp)\.norm\.", r"visual.\1.ffn_ln."),
    (r"^visual\.(.*\.mlp)\.fc2\.", r"visual.\1.w3."),
    (r"^visual\.", "model_visual.visual."),
]
ONLY_FOR_TRAINING = ("heads.", "vheads.", "logit_scale")


def rename(key: str) -> str:
    for pattern, replacement in RENAMED:
        key = re.sub(pattern, replacement, key)
    return key


def configuration(shape: dict[str, int]) -> dict[str, object]:
    """The prototype's shape as transformers' BERT configuration, with our sections on the vision tower."""
    return {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": shape["vocab"],
        "hidden_size": shape["dim"],
        "num_hidden_layers": shape["depth"],
        "num_attention_heads": shape["heads"],
        "intermediate_size": shape["dim"] * 4,
        "hidden_act": "gelu",
        "layer_norm_eps": 1e-12,
        "max_position_embeddings": 128,
        "type_vocab_size": 1,
        "pad_token_id": 0,
        "image_token_type": True,
        "vision": {
            "patch_size": shape["patch"],
            "width": shape["vdim"],
            "layers": shape["vdepth"],
            "heads": shape["vheads"],
            "mlp_hidden": int(shape["vdim"] * 8 / 3),
            "rope_grid": shape["img"] // shape["patch"],
            "attention_norm": False,
            "final_norm": True,
            "keep_class_token": True,
        },
        "preprocessing": {"size": shape["img"]},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prototype", type=Path)
    parser.add_argument("target", type=Path)
    options = parser.parse_args()
    source = options.prototype / "checkpoint_fp32.pt"
    checkpoint = torch.load(source, map_location="cpu", weights_only=True)
    state = {
        rename(key): value.half().contiguous()
        for key, value in checkpoint["model"].items()
        if not key.startswith(ONLY_FOR_TRAINING)
    }
    options.target.mkdir(exist_ok=True)
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    save_file(state, options.target / "model.safetensors", metadata={"format": "pt", "source_sha256": digest})
    text = json.dumps(configuration(checkpoint["cfg"]), indent=2)
    (options.target / "config.json").write_text(text + "\n")
    shutil.copyfile(options.prototype / "tokenizer.json", options.target / "tokenizer.json")


if __name__ == "__main__":
    main()
