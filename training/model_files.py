"""The trained model's folder, as VisualizedBGE reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import save
from tokenizers import Tokenizer

from training.network import Network

THEIR_NAMES = (
    (r"^bge\.encoder\.", "bge_encoder."),
    (r"^bge\.embeddings\.", "bge_embeddings."),
    (r"^visual\.", "model_visual.visual."),
)
"""Of tensors: what Visualized BGE's authors call them."""


def describe(configuration: dict[str, Any], tokenizer: Tokenizer, folder: Path) -> None:
    """config.json and tokenizer.json: all but the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))


def write(network: Network, file: Path) -> None:
    """The weights in half precision, without what only training needs."""
    state = {}
    for key, value in network.model.state_dict().items():
        for pattern, name in THEIR_NAMES:
            key = re.sub(pattern, name, key)
        state[key] = value.detach().cpu().half().contiguous()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(save(state, metadata={"format": "pt"}))
