"""Rerankers on transformers' own vision-language models; no code that comes with a checkpoint is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, get_args

from django.core.checks import CheckMessage, Error

from shopsearch import conf
from shopsearch.embedders.hub import is_on_hub
from shopsearch.rerankers.base import Reranker
from shopsearch.rerankers.vision_models import checkpoints
from shopsearch.rerankers.vision_models.base import DataType, VisionLanguageModel
from shopsearch.threads import loaded_once


@dataclass(kw_only=True, eq=False)
class VisionLanguageReranker(Reranker):
    """The base of rerankers with a vision-language model in this process; subclasses say what to ask it."""

    checkpoint: str = ""
    """The model: a folder, or a name on the Hugging Face hub such as ``Qwen/Qwen3-VL-8B-Instruct``."""
    revision: str = ""
    """The hub's commit, tag or branch; "" is the main branch."""
    device: str = "auto"
    """A torch device; "auto" is the GPU if there is one, else the CPU."""
    device_map: str = ""
    """"auto" spreads the model over the machine's GPUs and ignores ``device``; "" keeps it in one piece."""
    dtype: DataType = "auto"
    """Of weights and arithmetic; "auto" is bfloat16 on a GPU, and float32 on a CPU, where 16 bits are slower."""
    titles: bool = True
    """Whether the model is given the products' names. Without them, no text of a seller can influence it."""
    most_candidates: int = 9

    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "safetensors")
    _kind = "vision_language"
    _fingerprint: str = field(default="", init=False, repr=False)

    @property
    def model(self) -> str:
        """The kind, the folder's name and, once the files are on this machine, their fingerprint."""
        if not self._fingerprint:
            path: Path | None = Path(self.checkpoint).expanduser()
            if is_on_hub(self.checkpoint):
                path = checkpoints.find_downloaded(self.checkpoint, self.revision)
            if path is not None and path.is_dir():
                self._fingerprint = checkpoints.fingerprint(path)
        name = self.checkpoint if is_on_hub(self.checkpoint) else Path(self.checkpoint).name
        return f"{self._kind}/{name[-200:]}" + (f"@{self._fingerprint[:12]}" if self._fingerprint else "")

    def check(self) -> list[CheckMessage]:
        wrong = []
        if self.dtype not in get_args(DataType):
            wrong.append(f"dtype cannot be {self.dtype!r}; use {', '.join(get_args(DataType))}.")
        wrong += checkpoints.problems_of(self.checkpoint)
        hint = f"See the options of {type(self).__module__}.{type(self).__name__}."
        return [Error(message, hint=hint, id="shopsearch.E021") for message in [*wrong, *self._check_more()]]

    def _check_more(self) -> list[str]:
        return []

    @loaded_once
    def _loaded(self) -> VisionLanguageModel:
        conf.require_packages(*self.packages)
        from shopsearch.rerankers.vision_models.phi3 import MODEL_TYPE, Phi3Vision

        path = checkpoints.find(self.checkpoint, self.revision)
        is_phi3 = checkpoints.configuration(path)["model_type"] == MODEL_TYPE
        loader = Phi3Vision if is_phi3 else VisionLanguageModel
        return loader.load(path, device=self.device, device_map=self.device_map, dtype=self.dtype)
