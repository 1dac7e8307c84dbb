"""Typed decisions: a probability for each candidate from one forward pass; no text is generated or parsed.

transformers has them as DecisionPipeline; ``transformers serve`` and other servers answer them at ``/v1/systemone``.
Any instruction-tuned vision-language model will do; models made for decisions do better.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import RerankerError
from shopsearch.rerankers import prompts
from shopsearch.rerankers.collage import collage
from shopsearch.rerankers.remote import MAX_CANDIDATES, RemoteReranker, base64_jpeg, storable
from shopsearch.rerankers.vision_language import VisionLanguageReranker
from shopsearch.threads import loaded_once
from shopsearch.types import Candidate, Query, RerankerOutput

if TYPE_CHECKING:
    from PIL.Image import Image

VERSION = "1"
"""Increased with every change of the texts below."""

NAME = "best"
PICTURE, COLLAGE = "<query-picture>", "<collage>"
"""Placeholders of the pictures in the texts. No quoted text can contain an angle bracket."""
STATE = "A shopper searches a shop."
QUESTION = "Which product is the most suitable for the search?"


@dataclass(kw_only=True, eq=False)
class DecisionReranker(VisionLanguageReranker):
    """Scores each candidate by the probability that it is the best; the model runs in this process."""

    _kind = "decision"
    _deciding: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def __post_init__(self) -> None:
        self.prompt_version = _version(self.titles)

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> RerankerOutput:
        if not candidates:
            return RerankerOutput(scores=[])
        question = _question(query, candidates, titles=self.titles)
        loaded = self._loaded
        import torch

        try:
            with self._deciding, torch.inference_mode():
                answers = self._pipeline({**question, "assets": _pictures(query, candidates)})
        except RuntimeError as error:  # from torch: the GPU is full, or gone
            raise RerankerError(f"The model cannot answer at the moment: {error}") from error
        except ValueError as error:
            name = type(loaded.model).__name__
            raise ImproperlyConfigured(f"The model, a {name}, cannot take this decision: {error}") from error
        return _output(answers, len(candidates))

    @loaded_once
    def _pipeline(self) -> Any:
        from transformers.pipelines.decision import DecisionPipeline

        loaded = self._loaded
        return DecisionPipeline(
            model=loaded.model, tokenizer=loaded.processor.tokenizer, processor=loaded.processor
        )

    def _check_more(self) -> list[str]:
        if 2 <= self.most_candidates <= MAX_CANDIDATES:
            return []
        return [f"most_candidates must be from 2 to {MAX_CANDIDATES}: a letter stands for each."]


@dataclass(kw_only=True, eq=False)
class DecisionServerReranker(RemoteReranker):
    """Scores each candidate by the probability that it is the best; the model runs on a server."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.prompt_version = _version(self.titles)

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> RerankerOutput:
        if not candidates:
            return RerankerOutput(scores=[])
        assets = {
            name: {"type": "image", "format": "jpeg", "data_base64": base64_jpeg(picture)}
            for name, picture in _pictures(query, candidates).items()
        }
        question = _question(query, candidates, titles=self.titles)
        answer = self._endpoint.ask("/systemone", {"model": self.model, **question, "assets": assets})
        if not isinstance(answer.get("answers"), dict):
            raise RerankerError("The model server's answer has no decisions.")
        return _output(answer["answers"], len(candidates))


def _version(titles: bool) -> str:
    return f"decision-{prompts.VERSION}.{VERSION}{'-t' if titles else ''}"


def _pictures(query: Query, candidates: Sequence[Candidate]) -> dict[str, Image]:
    """At most two pictures; a server takes up to four."""
    pictures = {COLLAGE: collage([candidate.image for candidate in candidates])}
    return {PICTURE: query.image, **pictures} if query.image is not None else pictures


def _question(query: Query, candidates: Sequence[Candidate], *, titles: bool) -> dict[str, Any]:
    lines = [STATE]
    lines += [f"This picture is what they are searching with: {PICTURE}"] if query.image is not None else []
    lines += [f"Their words are {prompts.quoted(query.text)}."] if query.text else []
    lines += [f"{prompts.COLLAGE.format(count=len(candidates))} {COLLAGE}", prompts.DATA]
    criteria = {
        str(number): f"the product called {prompts.quoted(candidate.text)}" if titles else None
        for number, candidate in enumerate(candidates, start=1)
    }
    question = {"type": "choice", "instructions": QUESTION, "criteria": criteria}
    return {"state": "\n".join(lines), "questions": {NAME: question}}


def _output(answers: Mapping[str, Any], count: int) -> RerankerOutput:
    """The candidates' probabilities, unchecked; None for a candidate without one."""
    answer = answers.get(NAME)
    found = answer.get("probabilities") if isinstance(answer, dict) else None
    known = found if isinstance(found, dict) else {}
    return RerankerOutput(
        scores=[known.get(str(number)) for number in range(1, count + 1)], raw=storable(str(known))
    )
