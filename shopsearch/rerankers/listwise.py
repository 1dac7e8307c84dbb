"""All candidates on one collage, ranked by one step of a vision-language model.

Milvus's tutorial has the model write the whole list and parses it; one of nine candidates got lost. Here the
probabilities of the list's first number are the scores (Reddy et al. 2024, "FIRST", arXiv 2406.15657), so no candidate
can be left out, repeated or invented, and one step is enough.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from shopsearch.rerankers import prompts
from shopsearch.rerankers.collage import collage
from shopsearch.rerankers.prompts import Prompt
from shopsearch.rerankers.vision_language import VisionLanguageReranker
from shopsearch.rerankers.vision_models.base import VisionLanguageModel
from shopsearch.types import Candidate, Query, RerankerOutput

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class ListwiseReranker(VisionLanguageReranker):
    """Scores each candidate by the probability that the model names it first.

    Any instruction-tuned vision-language model that transformers itself implements will do. Caption and reason are the
    model's own words, which nobody has checked.
    """

    caption: bool = True
    """Whether the model first describes the query's picture in a sentence, which then helps the ranking."""
    reason: bool = True
    """Whether the model says why the best is the best. It does so after the ranking, so a failure costs no ranking."""
    two_orders: bool = True
    """Whether the model is asked again with the candidates reversed, and the probabilities averaged. This cancels its
    position bias: reversing the candidates then changes nothing."""
    most_caption_tokens: int = 40
    most_reason_tokens: int = 60

    _kind = "listwise"

    def __post_init__(self) -> None:
        chosen = "c" * self.caption + "t" * self.titles + "2" * self.two_orders
        self.prompt_version = f"listwise-{prompts.VERSION}-{chosen}".rstrip("-")

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> RerankerOutput:
        if not candidates:
            return RerankerOutput(scores=[])
        model = self._loaded
        caption = ""
        if self.caption and query.image is not None:
            caption = self._written(model, prompts.caption(query.image), self.most_caption_tokens)
        scores = self._scores(model, query, candidates, caption)
        answers = [scores]
        if self.two_orders:
            answers.append(self._scores(model, query, candidates[::-1], caption)[::-1])
            scores = [(there + back) / 2 for there, back in zip(*answers, strict=True)]
        reason = ""
        if self.reason:
            best = candidates[max(range(len(scores)), key=scores.__getitem__)]
            asked = prompts.reason(
                collage([best.image], query.image),
                best.text if self.titles else "",
                text=query.text,
                caption=caption,
                query_shown=query.image is not None,
            )
            reason = self._written(model, asked, self.most_reason_tokens)
        raw = "\n".join(" ".join(f"{score:.4f}" for score in answer) for answer in answers)
        return RerankerOutput(scores=scores, caption=caption, reason=reason, raw=raw)

    def _scores(
        self, model: VisionLanguageModel, query: Query, candidates: Sequence[Candidate], caption: str
    ) -> list[float]:
        """Each candidate's probability of being named first when they are shown in this order."""
        asked = prompts.listwise(
            collage([candidate.image for candidate in candidates], query.image),
            [candidate.text for candidate in candidates],
            text=query.text,
            caption=caption,
            query_shown=query.image is not None,
            titles=self.titles,
        )
        return model.choose([asked], [str(number) for number in range(1, len(candidates) + 1)])[0]

    def _written(self, model: VisionLanguageModel, prompt: Prompt, most_tokens: int) -> str:
        """A sentence from the model; "" if it fails: the order is worth more than words about it."""
        try:
            return prompts.sentence(model.write(prompt, most_tokens=most_tokens))
        except Exception:
            logger.warning("The model could not put it into words.", exc_info=True)
            return ""

    def _check_more(self) -> list[str]:
        wrong = []
        if not 1 <= self.most_candidates <= 9:
            wrong.append("most_candidates must be from 1 to 9: a candidate's number is one digit.")
        if self.most_caption_tokens < 1 or self.most_reason_tokens < 1:
            wrong.append("most_caption_tokens and most_reason_tokens must be at least 1.")
        return wrong
