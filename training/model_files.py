"""The trained model's folder, as VisualizedBGE reads it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from tokenizers import Tokenizer

from training.network import Network

THEIR_NAMES = (
    (r"^bge\.encoder\.", "bge_encoder."),
    (r"^bge\.embeddings\.", "bge_embeddings."),
    (r"^visual\.", "model_visual.visual."),
)
"""Of tensors: what Visualized BGE's authors call them."""


def write(network: Network, configuration: dict[str, Any], tokenizer: Tokenizer, folder: Path) -> None:
    """config.json, tokenizer.json and model.safetensors in half precision, without what only training needs."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {}
    for key, value in network.model.state_dict().items():
        for pattern, name in THEIR_NAMES:
            key = re.sub(pattern, name, key)
        state[key] = value.detach().cpu().half().contiguous()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(configuration, indent=2) + "\n")
    tokenizer.save(str(folder / "tokenizer.json"))
