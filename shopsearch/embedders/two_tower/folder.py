"""The folder of a two-tower model, CLIP or SigLIP: what is known before its weights are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders import model_folder, weights
from shopsearch.embedders.preprocessing import CenterCrop, Preprocessing, Squash
from shopsearch.embedders.two_tower import open_clip

FAMILIES = ("clip", "siglip")
SAFETENSORS, PICKLED = "model.safetensors", "pytorch_model.bin"
OPTIONAL = ("tokenizer_config.json", "preprocessor_config.json", "processor_config.json", open_clip.CONFIG)
HALF = (0.5, 0.5, 0.5)
ARITHMETIC = 1
"""Increased when the code starts to give other vectors for the same files."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TowerFolder:
    """A two-tower model's files, as far as they are known before the weights are read."""

    path: Path
    weights: Path
    config: Mapping[str, Any]
    """The content of config.json."""
    preprocessing: Preprocessing
    tokens: TextTokens
    open_clip: bool = False
    """Whether weights and texts are in OpenCLIP's form."""

    @property
    def family(self) -> str:
        return str(self.config["model_type"])

    @property
    def dimension(self) -> int:
        if self.family == "siglip":
            return int(self.config["vision_config"].get("hidden_size", 768))
        return int(self.config.get("projection_dim", 512))

    def prepared(self, text: str) -> str:
        """The text, prepared for the tokenizer."""
        if self.open_clip:
            return open_clip.canonical(text)
        return text.lower() if self.tokens.lower else text

    def fingerprint(self) -> str:
        """Depends on the weights, the tokenizer, the architecture and the preprocessing, but not on the path."""
        digest = hashlib.sha256(f"{ARITHMETIC}\n{weights.fingerprint(self.weights)}\n".encode())
        digest.update((self.path / "tokenizer.json").read_bytes())
        pictures = [type(self.preprocessing).__name__, asdict(self.preprocessing)]
        settings = [dict(self.config), pictures, asdict(self.tokens)]
        digest.update(json.dumps(settings, sort_keys=True).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class TextTokens:
    """How a text's tokens are laid out for the text tower."""

    limit: int
    """The most tokens, special ones included."""
    filler: int | None = None
    """The id that pads every text to the limit; None if texts are not padded."""
    filler_first: bool = False
    lower: bool = False
    """Whether to lower-case the text first, because the tokenizer does not."""


def find(model: str, weights_path: str = "", revision: str = "") -> Path:
    """The folder that ``model`` names, with all files that embedding needs. A model on the hub is downloaded once.

    Raises ImproperlyConfigured if there is none.
    """
    if not model:
        raise ImproperlyConfigured("Name the model: a folder, or a model on the Hugging Face hub.")
    files = model_folder.FILES
    choices = [files] if weights_path else [(*files, SAFETENSORS), (*files, PICKLED)]
    return model_folder.find(model, *choices, optional=OPTIONAL, revision=revision)


def read(path: Path, weights_path: str = "") -> TowerFolder:
    """The folder's configuration, checked. Raises ImproperlyConfigured, saying what is wrong with it."""
    model_folder.require(path)
    config = read_json(path / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ImproperlyConfigured(
            f"{path / 'config.json'} is of a model of type {family!r}, not {' or '.join(FAMILIES)}; "
            "shopsearch.embedders.sentence_transformer reads other kinds."
        )
    from_open_clip = open_clip.NAMED in config
    if from_open_clip:
        model_folder.require(path, [open_clip.CONFIG])
    try:
        if from_open_clip:
            config = open_clip.configuration(read_json(path / open_clip.CONFIG))
        towers = {name: config.get(name) or {} for name in ("text_config", "vision_config")}
        return TowerFolder(
            path=path,
            weights=_weights(path, weights_path),
            config={**_shape(config), **{name: _shape(tower) for name, tower in towers.items()}},
            preprocessing=read_preprocessing(
                path, family, int(towers["vision_config"].get("image_size", 224))
            ),
            tokens=_text_tokens(path, family, towers["text_config"]),
            open_clip=from_open_clip,
        )
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise ImproperlyConfigured(f"{path} does not describe a model of two towers: {error!r}.") from error


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file; {} if there is no file. Raises ImproperlyConfigured if it is anything else."""
    try:
        read = json.loads(path.read_bytes()) if path.is_file() else {}
    except (ValueError, RecursionError) as error:
        raise ImproperlyConfigured(f"{path} is not JSON: {error}.") from error
    if not isinstance(read, dict):
        raise ImproperlyConfigured(f"{path} does not hold a JSON object.")
    return read


def read_preprocessing(path: Path, family: str, image_size: int) -> Preprocessing:
    """The preprocessing from either of transformers' files, else the family's default."""
    said = read_json(path / "preprocessor_config.json") or read_json(path / "processor_config.json").get(
        "image_processor", {}
    )
    for name in ("do_resize", "do_rescale", "do_normalize"):
        if said.get(name, True) is not True:
            raise ImproperlyConfigured(
                f"{path} asks for {name} to be {said[name]!r}, which is not done here."
            )
    looks: dict[str, Any] = {"resample": said.get("resample", 3)}
    if family == "siglip":
        looks |= {"mean": HALF, "std": HALF}
    looks |= {name: tuple(said[f"image_{name}"]) for name in ("mean", "std") if said.get(f"image_{name}")}
    size = said.get("size", image_size)
    crop = _edge(said.get("crop_size", image_size))
    squashed = isinstance(size, dict) and "height" in size
    if squashed or not said.get("do_center_crop", family == "clip"):
        preprocessing: Preprocessing = Squash(size=_edge(size), **looks)
    else:
        preprocessing = CenterCrop(size=crop, shorter_edge=_edge(size), **looks)
        if crop > preprocessing.shorter_edge:
            raise ImproperlyConfigured(
                f"{path} asks for a square that is larger than the picture it is cut from."
            )
    if preprocessing.size != image_size:
        raise ImproperlyConfigured(
            f"{path} makes pictures of {preprocessing.size} pixels for a tower that reads {image_size}."
        )
    return preprocessing


def _edge(size: int | Mapping[str, int]) -> int:
    """The edge's length, which transformers writes in several ways."""
    if isinstance(size, int):
        return size
    if "shortest_edge" in size:
        return int(size["shortest_edge"])
    if size["height"] != size["width"]:
        raise ImproperlyConfigured("The model's pictures are not squares, which no tower here reads.")
    return int(size["height"])


def _shape(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration without the entries that do not affect vectors."""
    noise = ("_name_or_path", "transformers_version", "torch_dtype", "dtype", "architectures", "auto_map")
    return {key: value for key, value in config.items() if key not in noise}


def _text_tokens(path: Path, family: str, text: Mapping[str, Any]) -> TextTokens:
    if family == "clip":
        return TextTokens(limit=int(text.get("max_position_embeddings", 77)))
    said = read_json(path / "tokenizer_config.json")
    filler = text.get("pad_token_id", 1)
    if name := said.get("pad_token"):
        name = name["content"] if isinstance(name, dict) else name
        added = read_json(path / "tokenizer.json").get("added_tokens", [])
        filler = next((token["id"] for token in added if token["content"] == name), filler)
    return TextTokens(
        limit=int(text.get("max_position_embeddings", 64)),
        filler=int(filler),
        filler_first=said.get("padding_side") == "left",
        # SigLIP 2 was trained on lower case, but its tokenizer, Gemma's, keeps capitals.
        lower=said.get("tokenizer_class", "").startswith(("Gemma", "Siglip2")),
    )


def _weights(path: Path, weights_path: str) -> Path:
    if weights_path:
        return Path(weights_path).expanduser()
    return path / (
        SAFETENSORS if (path / SAFETENSORS).is_file() or not (path / PICKLED).is_file() else PICKLED
    )
