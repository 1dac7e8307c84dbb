"""Converts the file of Visualized BGE's authors to a self-contained folder, which loads without their text model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE


def convert(source: Path, model: str, folder: Path) -> None:
    """Make ``folder`` from the authors' .pth and their text model, a folder or a name on the hub.

    The weights are loaded into the model before anything is written. Raises ImproperlyConfigured if they do not fit.
    """
    from safetensors.torch import save_file

    from shopsearch.embedders.visualized_bge.vista import Vista
    from shopsearch.embedders.weights import load_weights

    embedder = VisualizedBGE(model=model, weights=str(source), device="cpu")
    read = embedder.folder
    if folder.resolve() == read.path.resolve():
        raise ImproperlyConfigured(f"{folder} is the text model's own folder; name another.")
    loaded: tuple[Vista, object] = embedder._loaded
    kept = {
        key: value.contiguous() for key, value in load_weights(source).items() if not loaded[0].ignores(key)
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_bytes((read.path / "tokenizer.json").read_bytes())
    # Written last: without config.json, a folder is refused as incomplete.
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        **read.text,
        "vision": dict(read.tower),
        "image_token_type": read.image_token_type,
        "preprocessing": asdict(read.preprocessing),
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
