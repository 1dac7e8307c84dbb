"""A vision-language model is asked about each candidate by itself: is it what the shopper wants, yes or no?

The prompt is the one that Qwen3-VL-Reranker is trained with; other instruction-tuned models understand it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import ImageOps

from shopsearch.rerankers import prompts
from shopsearch.rerankers.vision_language import VisionLanguageReranker
from shopsearch.types import Candidate, Query, RerankerOutput

if TYPE_CHECKING:
    from PIL.Image import Image

LEAST_SIDE = 32
"""The shortest side in pixels. No side may be more than four times the other: models refuse thinner pictures."""


@dataclass(kw_only=True, eq=False)
class PointwiseReranker(VisionLanguageReranker):
    """Scores each candidate by the probability of "yes" against "no", independent of the other candidates.

    Each batch of candidates takes one forward pass. No text is generated, so there is neither caption nor reason.
    """

    batch_size: int = 9
    """The most candidates at once; halved if the GPU's memory is short."""

    _kind = "pointwise"

    def __post_init__(self) -> None:
        self.prompt_version = f"pointwise-{prompts.VERSION}{'-t' if self.titles else ''}"

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> RerankerOutput:
        if not candidates:
            return RerankerOutput(scores=[])
        picture = _framed(query.image) if query.image is not None else None
        asked = [
            prompts.pointwise(
                query.text, picture, candidate.text if self.titles else "", _framed(candidate.image)
            )
            for candidate in candidates
        ]
        rows = self._loaded.choose(asked, ("yes", "no"), batch_size=self.batch_size)
        scores = [yes for yes, _ in rows]
        return RerankerOutput(scores=scores, raw=" ".join(f"{score:.4f}" for score in scores))

    def _check_more(self) -> list[str]:
        if self.batch_size < 1 or self.most_candidates < 1:
            return ["batch_size and most_candidates must be at least 1."]
        return []


def _framed(picture: Image) -> Image:
    """The picture, on a white background if it is too thin."""
    width, height = picture.size
    size = (max(width, height // 4, LEAST_SIDE), max(height, width // 4, LEAST_SIDE))
    return picture if size == picture.size else ImageOps.pad(picture.convert("RGB"), size, color="white")
