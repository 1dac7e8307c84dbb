"""Folders of vision-language models: finds, checks and identifies them without loading; loads their processors."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders import weights
from shopsearch.embedders.hub import download, is_on_hub, local_folder, snapshot
from shopsearch.embedders.model_folder import require

TENSORS = "*.safetensors"
DESCRIPTIONS = ("*.json", "*.jinja", "*.txt", "*.model")
"""Configuration, chat template, tokenizer."""
PATTERNS = (TENSORS, *DESCRIPTIONS)
"""Only these files are downloaded: no Python, no pickles."""
INDEX = "model.safetensors.index.json"


def find(checkpoint: str, revision: str = "") -> Path:
    """The folder that ``checkpoint`` names; a model on the Hugging Face hub is downloaded once.

    Raises ImproperlyConfigured if there is none.
    """
    found = local_folder(checkpoint) or find_downloaded(checkpoint, revision)
    return found or download(checkpoint, revision, PATTERNS)


def find_downloaded(checkpoint: str, revision: str = "") -> Path | None:
    """The folder of a hub's model if all of it is on this machine. Does not use the network."""
    try:
        path = snapshot(checkpoint, revision, PATTERNS, local_files_only=True)
    except (ImportError, OSError, ValueError):  # ImportError: without huggingface_hub nothing was downloaded
        return None
    needed = {"config.json"}
    if (path / INDEX).is_file():
        needed |= set(json.loads((path / INDEX).read_bytes())["weight_map"].values())
    return path if all((path / name).is_file() for name in needed) and any(path.glob(TENSORS)) else None


def verify(path: Path) -> None:
    """Raise ImproperlyConfigured if the weights are missing or cut off, or the configuration is. Reads little."""
    configuration(path)
    files = sorted(path.glob(TENSORS))
    if not files:
        raise ImproperlyConfigured(
            f"The model's folder {path} has no *.safetensors; pickled weights are never loaded."
        )
    for file in files:
        weights.verify(file)


def problems_of(checkpoint: str) -> list[str]:
    """What is wrong with a folder, for a check; a model that is downloaded at first use cannot be checked now."""
    try:
        if not is_on_hub(checkpoint):
            verify(find(checkpoint))
    except ImproperlyConfigured as error:
        return [str(error)]
    return []


def fingerprint(path: Path) -> str:
    """64 hexadecimal digits that depend on weights, tokenizer and preprocessing, but not on the folder's path."""
    digest = hashlib.sha256()
    for file in sorted(path.glob(TENSORS)):
        digest.update(f"{file.name} {weights.fingerprint(file)}\n".encode())
    for file in sorted(file for pattern in DESCRIPTIONS for file in path.glob(pattern)):
        digest.update(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def configuration(path: Path) -> Mapping[str, Any]:
    """The folder's config.json. Raises ImproperlyConfigured if it is not a model's."""
    require(path, ["config.json"])
    try:
        config = json.loads((path / "config.json").read_bytes())
        if not isinstance(config["model_type"], str):
            raise TypeError("model_type is not a string")
    except (ValueError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(
            f"{path / 'config.json'} is not a model's configuration: {error!r}."
        ) from error
    return dict(config)


def native_type(path: Path) -> str:
    """The type of a vision-language model that transformers itself implements. Raises ImproperlyConfigured if not."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING

    config = configuration(path)
    model_type = str(config["model_type"])
    if model_type in CONFIG_MAPPING:
        if CONFIG_MAPPING[model_type] in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING:
            return model_type
        raise ImproperlyConfigured(
            f"{path} is a {model_type}, which is not a vision-language model: it cannot look at pictures and write."
        )
    if "auto_map" in config:
        raise ImproperlyConfigured(
            f"{path} is a {model_type}, which needs code of its own; code that comes with a model is never run. Use a "
            "model that transformers itself has."
        )
    raise ImproperlyConfigured(f"{path} is a {model_type}, which the installed transformers does not know.")


def load_processor(path: Path, model_type: str) -> Any:
    """The model's processor. It works without torchvision: it uses PIL, and its part for videos is left out."""
    import transformers

    auto: Any = transformers.AutoProcessor
    known: Any = transformers.PROCESSOR_MAPPING
    processor_class: Any = known.get(transformers.CONFIG_MAPPING[model_type], None)
    if processor_class is None or "video_processor" not in processor_class.get_attributes():
        return auto.from_pretrained(path, local_files_only=True, trust_remote_code=False)

    class Processor(processor_class):  # type: ignore[misc]
        @classmethod
        def get_attributes(cls) -> list[str]:
            return list(processor_class.get_attributes())

        @classmethod
        def _get_arguments_from_pretrained(cls, *args: Any, **kwargs: Any) -> list[Any]:
            parts: dict[str, Any] = {
                "image_processor": transformers.AutoImageProcessor,
                "tokenizer": transformers.AutoTokenizer,
            }
            return [
                _NoVideos()
                if attribute == "video_processor"
                else parts[attribute].from_pretrained(path, local_files_only=True, trust_remote_code=False)
                for attribute in cls.get_attributes()
            ]

        def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
            if argument_name == "video_processor":
                return type(argument)
            return super().check_argument_for_proper_class(argument_name, argument)

        def __repr__(self) -> str:  # transformers logs it, and the inherited one wants every part as JSON
            return f"{processor_class.__name__} without videos"

    return Processor.from_pretrained(path, local_files_only=True)


class _NoVideos:
    """Takes the place of a processor's part for videos; nobody sends any."""

    model_input_names: tuple[str, ...] = ()
    merge_size = temporal_patch_size = 2
    patch_size = 16
    num_frames = fps = 1
    size: Mapping[str, int] = {"longest_edge": 64}
    video_sampling: Mapping[str, Any] = {}
