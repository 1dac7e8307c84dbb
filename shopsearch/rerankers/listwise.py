"""All candidates on one collage, ranked by one step of a vision-language model, as in the reference but for the parser.

The reference has the model write the whole list, and reads it; one of nine got lost. Here the list's first number ranks
all: its probabilities are the scores (Reddy et al. 2024, "FIRST", arXiv 2406.15657), so that no candidate can be left
out, repeated or invented, and one step is enough.
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
from shopsearch.types import Candidate, Judgement, Query

logger = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class ListwiseReranker(VisionLanguageReranker):
    """Scores each candidate by the probability that the model names it first.

    Any instruction-tuned vision-language model that transformers itself has will do. Whatever it knows or does not, the
    scores are one probability per candidate; caption and reason are in its own words, which nobody has checked.
    """

    caption: bool = True
    """Whether the query's picture is described in a sentence first, which the ranking then reads."""
    reason: bool = True
    """Whether the model says why the best is the best, after the ranking, which no failure of this can cost."""
    titles: bool = True
    """Whether the model reads what the products are called. Without, nothing that a seller writes can speak to it."""
    two_orders: bool = True
    """Whether it is asked again with the candidates reversed and the probabilities averaged, against its liking for
    places: reversing the candidates then changes nothing."""
    most_caption_tokens: int = 40
    most_reason_tokens: int = 60
    most_candidates: int = 9

    _kind = "listwise"

    def __post_init__(self) -> None:
        chosen = "".join("ct2"[place] for place, each in enumerate(self._choices) if each)
        self.prompt_version = f"listwise-{prompts.VERSION}{'-' if chosen else ''}{chosen}"

    @property
    def _choices(self) -> tuple[bool, bool, bool]:
        return self.caption, self.titles, self.two_orders

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> Judgement:
        if not candidates:
            return Judgement(scores=[])
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
        return Judgement(scores=scores, caption=caption, reason=reason, raw=raw)

    def _scores(
        self, model: VisionLanguageModel, query: Query, candidates: Sequence[Candidate], caption: str
    ) -> list[float]:
        """Per candidate the probability that it is named first when they are shown in this order."""
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
        """A sentence of the model's, or none where writing it fails: the order is worth more than words about it."""
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
