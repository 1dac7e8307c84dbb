"""A small OpenCLIP SigLIP in the files that Marqo's e-commerce models have on the hub, with weights by a rule."""

from __future__ import annotations

import json
from pathlib import Path

from tests.embedders import parity
from tests.embedders.two_tower import models as two_tower_models

CASE = json.loads(Path(__file__).with_name("open_clip_siglip.json").read_text())
"""How OpenCLIP's own outputs beside it, in the .npz, were made."""
TRUNK = CASE["open_clip_config"]["model_cfg"]["vision_cfg"]["timm_model_name"]
NAME = "Marqo/marqo-ecommerce-embeddings-B"


def make(folder: Path) -> Path:
    """The model's files in the folder: both of Marqo's and OpenCLIP's own, as on the hub."""
    import torch
    from safetensors.torch import save_file

    remote = {"AutoModel": "marqo_fashionSigLIP.MarqoFashionSigLIP"}
    half = [0.5, 0.5, 0.5]
    square = {"height": 64, "width": 64}
    for name, said in {
        "config.json": {
            "auto_map": remote,
            "open_clip_model_name": f"hf-hub:{NAME}",
            "model_type": "siglip",
        },
        "open_clip_config.json": CASE["open_clip_config"],
        "preprocessor_config.json": {"size": square, "resample": 3, "image_mean": half, "image_std": half},
        "tokenizer_config.json": {"tokenizer_class": "T5Tokenizer", "pad_token": "</s>"},
    }.items():
        (folder / name).write_text(json.dumps(said))
    two_tower_models.tokenizer("</s>").save(str(folder / "tokenizer.json"))
    state = {key: torch.from_numpy(values) for key, values in parity.weights_of(CASE).items()}
    save_file({f"model.{key}": tensor for key, tensor in state.items()}, folder / "model.safetensors")
    save_file(state, folder / "open_clip_model.safetensors")
    torch.save(state, folder / "open_clip_pytorch_model.bin")
    return folder
