"""A text reranker reads the query beside each candidate's title and description; the embedder judges the pictures.

BGE's rerankers (Chen et al., https://arxiv.org/abs/2402.03216; https://huggingface.co/BAAI/bge-reranker-v2-m3) are
cross-encoders: query and text go through the model together, so that "mug without a handle" is not "mug with a handle".
FlagEmbedding, their authors' package, runs them.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch import conf
from shopsearch.embedders import hub, model_folder, weights
from shopsearch.embedders.torch_model import device_of
from shopsearch.rerankers.base import Reranker
from shopsearch.rerankers.joint import JointReranker
from shopsearch.rerankers.ordering import spread
from shopsearch.threads import loaded_once
from shopsearch.types import Candidate, Query, RerankerOutput

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder

FILES = ("config.json", "tokenizer.json", "model.safetensors")
MOST_TOKENS = 512
"""Of the query and a candidate's text together."""


@dataclass(kw_only=True, eq=False)
class TextReranker(Reranker):
    """Scores by the words of query and product, fused with JointReranker's score; without words that one alone.

    Both scores are laid on [0, 1] over the candidates before they are added, as their scales have nothing in common.
    Each candidate is judged by itself, so the candidates' order cannot matter.
    """

    checkpoint: str = "BAAI/bge-reranker-v2-m3"
    """A cross-encoder with one score: a folder, or a name on the Hugging Face hub."""
    revision: str = ""
    """The hub's commit, tag or branch; "" is its main branch."""
    device: str = "auto"
    """A torch device; "auto" is the GPU where there is one, else the CPU."""
    text_weight: float = 0.5
    """The words' share of the score, from 0 to 1; the picture has the rest."""

    packages = ("torch", "transformers", "tokenizers", "safetensors", "FlagEmbedding")
    _joint: JointReranker = field(default_factory=JointReranker, init=False, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def model(self) -> str:
        """The folder's name, with a fingerprint of its weights where they are on this machine, and the embedder's."""
        path = Path(self.checkpoint).expanduser()
        name = path.name if path.is_dir() else f"{self.checkpoint}:{self.revision}".rstrip(":")
        mark = f"@{self._fingerprint}" if path.is_dir() else ""
        return f"text/{name[-100:]}{mark}*{self.text_weight:g}+{self._joint.model}"

    @cached_property
    def _fingerprint(self) -> str:
        return weights.fingerprint(Path(self.checkpoint).expanduser() / FILES[-1])[:12]

    def bind(self, embedder: Embedder) -> None:
        self._joint.bind(embedder)

    def check(self) -> list[CheckMessage]:
        wrong = []
        if not 0 <= self.text_weight <= 1:
            wrong.append(f"text_weight cannot be {self.text_weight!r}; use a number from 0 to 1.")
        try:
            # What is downloaded at first use cannot be looked at now.
            if not hub.is_on_hub(self.checkpoint):
                self._verify(model_folder.find(self.checkpoint, FILES))
        except ImproperlyConfigured as error:
            wrong.append(str(error))
        hint = f"See the options of {type(self).__module__}.{type(self).__name__}."
        return [Error(message, hint=hint, id="shopsearch.E021") for message in wrong]

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> RerankerOutput:
        by_picture = self._joint.rerank(query, candidates)
        if not query.text or not candidates:
            return by_picture
        by_text = self._text_scores(query.text, [candidate.text for candidate in candidates])
        pictures = spread(cast("Sequence[float]", by_picture.scores))
        scores = [
            self.text_weight * text + (1 - self.text_weight) * picture
            for text, picture in zip(spread(by_text), pictures, strict=True)
        ]
        reason = by_picture.reason
        if _best(scores) != _best(pictures):
            by_words = _best(scores) == _best(by_text)
            reason = "its title and description fit your words the best." if by_words else ""
        return replace(
            by_picture,
            scores=scores,
            reason=reason,
            raw=f"{' '.join(f'{score:.4f}' for score in by_text)} | {by_picture.raw}",
        )

    def _text_scores(self, text: str, texts: Sequence[str]) -> list[float]:
        with self._lock:  # tokenizers are not safe to use from two threads
            found: Sequence[float] = self._loaded.compute_score([(text, each) for each in texts])
        return [float(score) for score in found]

    @loaded_once
    def _loaded(self) -> Any:
        conf.require_packages(*self.packages)
        from FlagEmbedding import FlagReranker

        path = model_folder.find(self.checkpoint, FILES, optional=("*.json",), revision=self.revision)
        self._verify(path)
        device = device_of(self.device)
        return FlagReranker(
            str(path), devices=device, use_fp16=device.startswith("cuda"), max_length=MOST_TOKENS
        )

    @staticmethod
    def _verify(path: Path) -> None:
        """Raises ImproperlyConfigured; weights that are no safetensors file are not read, as they may hold code."""
        model_folder.require(path, FILES[:-1])
        weights.verify(path / FILES[-1])


def _best(scores: Sequence[float]) -> int:
    return max(range(len(scores)), key=scores.__getitem__)
