"""Visualized BGE: one model for words, pictures and both, whether the bundled small one or the authors' own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders import model_folder
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.weights import load_weights, verify
from shopsearch.exceptions import EmbedderError
from shopsearch.types import Query

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from shopsearch.embedders.vista import Vista
    from shopsearch.types import Vectors

DataType = Literal["float32", "bfloat16", "float16"]


@dataclass(kw_only=True, eq=False)
class VisualizedBGE(Embedder):
    """Embeds text, pictures and pairs of both with Visualized BGE (VISTA), on transformers' BERT or XLM-R.

    Without options it is the small model that comes with shopsearch, which knows the demo's pictures and little else.
    For the authors', name the text model and the authors' file:
    ``{"model": "BAAI/bge-base-en-v1.5", "weights": "/models/Visualized_base_en_v1.5.pth"}``.
    """

    model: str = ""
    """A folder with config.json and tokenizer.json, or a name on the Hugging Face hub; "" is the bundled model."""
    weights: str = ""
    """The file of weights, .pth or .safetensors; "" is the folder's own model.safetensors."""
    device: str = "auto"
    """A torch device; "auto" is the GPU where there is one, else the CPU."""
    dtype: DataType = "float32"
    """Of the arithmetic. The halves are for GPUs; on most CPUs they are slower. Vectors are float32 always."""
    batch_size: int = 32
    threads: int = 1
    """How many CPU threads torch may use, in the whole process; 0 leaves that to torch. More than one pays only for a
    large model whose process has the cores to itself: threads that compete spin, and are slower than one."""

    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @cached_property
    def folder(self) -> model_folder.ModelFolder:
        return model_folder.read(model_folder.find(self.model), self.weights)

    @cached_property
    def space(self) -> str:
        return f"visualized_bge_{self.dimension}_{self.folder.fingerprint()[:12]}"

    @property
    def dimension(self) -> int:
        return self.folder.dimension

    def embed(self, queries: Sequence[Query]) -> Vectors:
        import numpy as np

        vectors = np.zeros((len(queries), self.dimension), dtype=np.float32)
        if not queries:
            return vectors
        model, tokenizer = self._loaded
        try:
            for places, part in self._batches(queries, model, tokenizer):
                vectors[places] = part
        except RuntimeError as error:  # torch's: the GPU is full, or gone
            raise EmbedderError(f"The model cannot answer at the moment: {error}") from error
        if not np.isfinite(vectors).all():
            raise ImproperlyConfigured(
                f"The model's numbers overflow in {self.dtype}; use float32 or bfloat16."
            )
        return vectors

    def check(self) -> list[CheckMessage]:
        wrong = []
        if self.dtype not in get_args(DataType):
            wrong.append(f"dtype cannot be {self.dtype!r}; use {', '.join(get_args(DataType))}.")
        if self.batch_size < 1 or self.threads < 0:
            wrong.append("batch_size must be at least 1, and threads at least 0.")
        try:
            if not model_folder.is_on_hub(self.model):
                verify(self.folder.weights)
            elif self.weights:  # the folder is downloaded at first use, and cannot be looked at now
                verify(Path(self.weights).expanduser())
            else:
                wrong.append(
                    "Name the file of Visualized BGE's weights: the hub's model is the text model alone."
                )
        except ImproperlyConfigured as error:
            wrong.append(str(error))
        hint = "See the options of shopsearch.embedders.visualized_bge.VisualizedBGE."
        return [Error(message, hint=hint, id="shopsearch.E020") for message in wrong]

    def _batches(
        self, queries: Sequence[Query], model: Vista, tokenizer: Tokenizer
    ) -> Iterator[tuple[list[int], Any]]:
        """Vectors of a few queries at a time, with their places in the whole."""
        import numpy as np
        import torch

        ids = []
        for query in queries:
            limit = model.text_limit if query.image is None else model.text_limit_beside_picture
            ids.append(_truncate(tokenizer.encode(query.text).ids, limit))
        # Shortest first: a batch is as long as its longest text.
        order = sorted(range(len(queries)), key=lambda place: len(ids[place]))
        for with_picture in (False, True):
            kind = [place for place in order if (queries[place].image is not None) is with_picture]
            for start in range(0, len(kind), self.batch_size):
                places = kind[start : start + self.batch_size]
                texts = [ids[place] for place in places]
                pictures = [image for place in places if (image := queries[place].image) is not None]
                with torch.inference_mode():
                    if pictures:
                        pixels = np.stack([self.folder.preprocessing(image) for image in pictures])
                        part = model.embed_pictures(torch.from_numpy(pixels), texts)
                    else:
                        part = model.embed_texts(texts)
                    yield places, part.cpu().numpy()

    @property
    def _loaded(self) -> tuple[Vista, Tokenizer]:
        with self._lock:
            return self._load_once

    @cached_property
    def _load_once(self) -> tuple[Vista, Tokenizer]:
        # Idle OpenMP threads would spin through other processes' time. Has an effect before torch is imported only.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        import torch
        from tokenizers import Tokenizer

        from shopsearch.embedders.eva02 import Eva02Config
        from shopsearch.embedders.vista import Vista

        if self.threads:
            torch.set_num_threads(self.threads)
        device = self.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        folder = self.folder
        state = load_weights(folder.weights)
        try:
            vision = Eva02Config(image_size=folder.preprocessing.size, **folder.tower)
            model = Vista.load(
                state,
                text=folder.text,
                vision=vision,
                image_token_type=folder.image_token_type,
                dtype=getattr(torch, self.dtype),
                device=device,
            )
            tokenizer = Tokenizer.from_file(str(folder.path / "tokenizer.json"))
        except Exception as error:
            raise ImproperlyConfigured(
                f"The weights {folder.weights} are not a Visualized BGE as {folder.path} describes it: {error}."
            ) from error
        tokenizer.no_truncation()
        tokenizer.no_padding()
        return model, tokenizer


def _truncate(ids: list[int], limit: int) -> list[int]:
    """The first ids, and the closing one."""
    return ids if len(ids) <= limit else [*ids[: limit - 1], ids[-1]]
