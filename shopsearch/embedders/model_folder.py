"""A model's folder: its configuration, its tokenizer, and the fingerprint of its vector space."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders import hub, weights
from shopsearch.embedders.preprocessing import Preprocessing

BUNDLED = Path(__file__).parent / "bundled"
FILES = ("config.json", "tokenizer.json")

TOWERS: dict[int, dict[str, Any]] = {
    # By the text model's width: EVA02-CLIP-B-16 goes with bge-base-en-v1.5, EVA02-CLIP-L-14 with bge-m3.
    768: {"patch_size": 16, "width": 768, "layers": 12, "heads": 12, "mlp_hidden": 2048},
    1024: {"patch_size": 14, "width": 1024, "layers": 24, "heads": 16, "mlp_hidden": 2730},
}

ARITHMETIC = 1
"""Increased when the code starts to give other vectors for the same files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """What is known of a model before its weights are read."""

    path: Path
    weights: Path
    text: Mapping[str, Any]
    """transformers' configuration of the text model."""
    tower: Mapping[str, Any]
    """The vision tower's shape."""
    image_token_type: bool
    """Whether pictures get the text model's token type too."""
    preprocessing: Preprocessing = field(default_factory=Preprocessing)

    @property
    def dimension(self) -> int:
        return int(self.text["hidden_size"])

    def fingerprint(self) -> str:
        """Depends on the weights, the tokenizer, the architecture and the preprocessing, but not on the path."""
        digest = hashlib.sha256(f"{ARITHMETIC}\n{weights.fingerprint(self.weights)}\n".encode())
        digest.update((self.path / "tokenizer.json").read_bytes())
        settings = [dict(self.text), dict(self.tower), self.image_token_type, asdict(self.preprocessing)]
        digest.update(json.dumps(settings, sort_keys=True).encode())
        return digest.hexdigest()


def find(model: str, *choices: Sequence[str], optional: Sequence[str] = (), revision: str = "") -> Path:
    """The folder that ``model`` names; "" is the bundled one. A model on the Hugging Face hub is downloaded once.

    From the hub come only the files of the first of ``choices`` that the model has, and the ``optional`` ones, as of
    ``revision``. Files that are here already are not downloaded again. Raises ImproperlyConfigured if there is no such
    model.
    """
    if not model:
        return BUNDLED
    if (folder := hub.local_folder(model)) is not None:
        return folder

    def is_complete(folder: Path, files: Sequence[str]) -> bool:
        return all((folder / name).is_file() for name in files)

    choices = choices or (FILES,)
    try:
        cached = hub.snapshot(model, revision, [*choices[0], *optional], local_files_only=True)
        if any(is_complete(cached, files) for files in choices):
            return cached
    except (ImportError, OSError):
        pass  # not here yet
    for files in choices:
        downloaded = hub.download(model, revision, [*files, *optional])
        if is_complete(downloaded, files):
            break
    return downloaded


def require(path: Path, names: Sequence[str] = FILES) -> None:
    """Raise ImproperlyConfigured unless the folder has these files."""
    for name in names:
        if not (path / name).is_file():
            raise ImproperlyConfigured(f"The model's folder {path} has no {name}.")


def read(path: Path, weights_path: str = "") -> ModelFolder:
    """The folder's configuration, checked. Raises ImproperlyConfigured, saying what is wrong with it."""
    require(path)
    try:
        config = json.loads((path / "config.json").read_bytes())
        tower = config.pop("vision", None) or TOWERS.get(config["hidden_size"])
        image_token_type = config.pop("image_token_type", False)
        preprocessing = Preprocessing(**config.pop("preprocessing", {}))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ImproperlyConfigured(
            f"{path / 'config.json'} is not a model's configuration: {error!r}."
        ) from error
    if tower is None:
        raise ImproperlyConfigured(
            f'{path / "config.json"} has no "vision" section, and Visualized BGE has no vision tower for a text '
            f"model of width {config['hidden_size']}; its text models are bge-base-en-v1.5 and bge-m3."
        )
    return ModelFolder(
        path=path,
        weights=Path(weights_path).expanduser() if weights_path else path / "model.safetensors",
        text=config,
        tower=tower,
        image_token_type=image_token_type,
        preprocessing=preprocessing,
    )
