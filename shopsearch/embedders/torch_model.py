"""The base of embedders whose model runs in this process, on torch."""

from __future__ import annotations

import logging
import os
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.hub import is_on_hub
from shopsearch.embedders.weights import load_weights, verify
from shopsearch.exceptions import EmbedderError
from shopsearch.threads import loaded_once
from shopsearch.types import Query

if TYPE_CHECKING:
    import torch
    from tokenizers import Tokenizer

    from shopsearch.types import Vectors

logger = logging.getLogger(__name__)

DataType = Literal["float32", "bfloat16", "float16"]


class Folder(Protocol):
    """A model's files, as far as they are known before the weights are read."""

    @property
    def path(self) -> Path: ...
    @property
    def weights(self) -> Path: ...
    @property
    def dimension(self) -> int: ...
    def fingerprint(self) -> str: ...


@dataclass(kw_only=True, eq=False)
class TorchEmbedder(Embedder):
    """Loads its model from a folder, once, and sorts the errors into the model's and the project's."""

    model: str = ""
    """A folder, or a name on the Hugging Face hub."""
    revision: str = ""
    """The commit on the hub, which pins the model against changes by its authors; "" is the newest."""
    weights: str = ""
    """The file of weights, if it is not the folder's own."""
    device: str = "auto"
    """A torch device; "auto" is the GPU if there is one, else the CPU."""
    dtype: DataType = "float32"
    """Of the arithmetic. The 16-bit types are for GPUs; most CPUs are slower with them. Vectors are always float32."""
    batch_size: int = 32
    threads: int = 1
    """How many CPU threads torch may use in the whole process; 0 leaves that to torch. More than one is faster only
    for a large model whose process has the cores to itself: competing threads spin and are slower than one."""

    family: ClassVar[str]
    """The model's name in spaces: lower-case letters, digits and underscores."""
    packages: ClassVar[tuple[str, ...]] = ("torch", "transformers", "tokenizers", "safetensors")
    title: ClassVar[str]
    """The model's name in messages."""

    @cached_property
    @abstractmethod
    def folder(self) -> Folder:
        """The model's files. Raises ImproperlyConfigured if they are missing or another model's."""

    def read_state(self) -> Mapping[str, torch.Tensor]:
        """The weights for ``build``. Raises ImproperlyConfigured if the file is broken or contains code."""
        return load_weights(self.folder.weights)

    @abstractmethod
    def build(self, state: Mapping[str, torch.Tensor], dtype: torch.dtype, device: str) -> Any:
        """The model with these weights, and its tokenizer. Whatever it raises is reported as a wrong file."""

    @abstractmethod
    def embed_with(self, model: Any, tokenizer: Any, queries: Sequence[Query]) -> Vectors:
        """The vectors of some queries, as ``embed`` promises them. Only torch may raise RuntimeError here."""

    @cached_property
    def space(self) -> str:
        return f"{self.family}_{self.dimension}_{self.folder.fingerprint()[:12]}"

    @property
    def dimension(self) -> int:
        return self.folder.dimension

    def embed(self, queries: Sequence[Query]) -> Vectors:
        import numpy as np

        if not queries:
            return np.zeros((0, self.dimension), dtype=np.float32)
        try:
            vectors = self._embed(queries)
        except RuntimeError as error:  # from torch: the GPU is full, or gone
            raise EmbedderError(f"The model cannot answer at the moment: {error}") from error
        if not np.isfinite(vectors).all():
            raise ImproperlyConfigured(
                f"The model's numbers overflow in {self.dtype}; use float32 or bfloat16."
            )
        return vectors

    def _embed(self, queries: Sequence[Query]) -> Vectors:
        """The vectors; if the batch does not fit into memory, half as many at once from now on."""
        model, tokenizer = self._loaded
        import numpy as np
        import torch

        try:
            with torch.inference_mode():
                return self.embed_with(model, tokenizer, queries)
        except torch.OutOfMemoryError:
            at_once = min(self.batch_size, len(queries))
            if at_once == 1:
                raise
            self.batch_size = at_once // 2
            logger.warning(
                "The memory is full with %d queries at once; from now on %d.", at_once, self.batch_size
            )
            torch.cuda.empty_cache()
        parts = [
            queries[start : start + self.batch_size] for start in range(0, len(queries), self.batch_size)
        ]
        return np.concatenate([self._embed(part) for part in parts])

    def check(self) -> list[CheckMessage]:
        hint = f"See the options of {type(self).__module__}.{type(self).__qualname__}."
        return [Error(message, hint=hint, id="shopsearch.E020") for message in self.faults()]

    def faults(self) -> list[str]:
        """What is wrong with the options, one sentence each."""
        wrong = []
        if self.dtype not in get_args(DataType):
            wrong.append(f"dtype cannot be {self.dtype!r}; use {', '.join(get_args(DataType))}.")
        if self.batch_size < 1 or self.threads < 0:
            wrong.append("batch_size must be at least 1, and threads at least 0.")
        return wrong

    def file_faults(self) -> list[str]:
        """What is wrong with the file of weights, as far as can be told without loading it."""
        try:
            if not is_on_hub(self.model):
                verify(self.folder.weights)
            elif self.weights:  # the folder is downloaded at first use, so only this file can be checked now
                verify(Path(self.weights).expanduser())
        except ImproperlyConfigured as error:
            return [str(error)]
        return []

    @loaded_once
    def _loaded(self) -> Any:
        # Idle OpenMP threads would spin and slow other processes. Only works before torch is imported.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        conf.require_packages(*self.packages)
        import torch

        if self.threads:
            torch.set_num_threads(self.threads)
        device = device_of(self.device)
        folder = self.folder
        state = self.read_state()
        try:
            return self.build(state, getattr(torch, self.dtype), device)
        except Exception as error:
            raise ImproperlyConfigured(
                f"The weights {folder.weights} are not a {self.title} as {folder.path} describes it: {error}."
            ) from error


def device_of(wanted: str) -> str:
    """The torch device; "auto" is the GPU where there is one, else the CPU."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if wanted == "auto" else wanted


def read_tokenizer(folder: Path) -> Tokenizer:
    """The folder's tokenizer, with truncation and padding off."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def truncate(ids: list[int], limit: int) -> list[int]:
    """The first ids and the closing one, ``limit`` in all."""
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
