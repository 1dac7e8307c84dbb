"""Each candidate by itself before a vision-language model: is it what is searched for, yes or no?

Asked in the words that Qwen3-VL-Reranker is trained with; other instruction-tuned models understand them too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import ImageOps

from shopsearch.rerankers import prompts
from shopsearch.rerankers.vision_language import VisionLanguageReranker
from shopsearch.types import Candidate, Judgement, Query

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_SIDE = 32
"""Pixels; and no side is more than four times the other: models refuse what is thinner."""


@dataclass(kw_only=True, eq=False)
class PointwiseReranker(VisionLanguageReranker):
    """Scores each candidate by the probability of "yes" against "no": no candidate can matter to another's score.

    Candidates are asked about in batches, each in one forward pass; nothing is written, so that there is neither a
    caption nor a reason.
    """

    batch_size: int = 9
    """The most candidates at once; halved where the GPU's memory is short."""
    titles: bool = True
    """Whether the model reads what the product is called. Without, nothing that a seller writes can speak to it."""
    most_candidates: int = 9

    _kind = "pointwise"

    def __post_init__(self) -> None:
        self.prompt_version = f"pointwise-{prompts.VERSION}{'-t' if self.titles else ''}"

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> Judgement:
        if not candidates:
            return Judgement(scores=[])
        picture = _framed(query.image) if query.image is not None else None
        asked = [
            prompts.pointwise(
                query.text, picture, candidate.text if self.titles else "", _framed(candidate.image)
            )
            for candidate in candidates
        ]
        rows = self._loaded.choose(asked, ("yes", "no"), batch_size=self.batch_size)
        scores = [yes for yes, _ in rows]
        return Judgement(scores=scores, raw=" ".join(f"{score:.4f}" for score in scores))

    def _check_more(self) -> list[str]:
        if self.batch_size < 1 or self.most_candidates < 1:
            return ["batch_size and most_candidates must be at least 1."]
        return []


def _framed(picture: Image) -> Image:
    """The picture as it is, or on white where it is too thin."""
    width, height = picture.size
    size = (max(width, height // 4, LEAST_SIDE), max(height, width // 4, LEAST_SIDE))
    return picture if size == picture.size else ImageOps.pad(picture.convert("RGB"), size, color="white")
