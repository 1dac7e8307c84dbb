"""Reranks with the embedder, on each candidate's picture and words together: no other model, no training.

Retrieval compares the query with pictures only, because a collection of pictures serves every kind of query. For the
few candidates there is time to embed picture and words jointly, which Visualized BGE and similar models are made for.
Each candidate is judged by itself, so their order does not matter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from shopsearch.embedders.base import Embedder
from shopsearch.exceptions import RerankerError
from shopsearch.rerankers.base import Reranker
from shopsearch.types import Candidate, Query, RerankerOutput

_WORD = re.compile(r"[^\W\d_]{3,}")


@dataclass(kw_only=True, eq=False)
class JointReranker(Reranker):
    """Scores a candidate by how near its picture, alone or with its words, is to the query: the nearer counts."""

    prompt_version: str = "3"
    most_candidates: int = 9

    _embedder: Embedder | None = field(default=None, init=False, repr=False)

    @property
    def model(self) -> str:
        return f"joint/{self._bound.space}"

    def bind(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @property
    def _bound(self) -> Embedder:
        if self._embedder is None:
            raise RerankerError(
                "The reranker has no embedder; get it from shopsearch.backends.get_reranker()."
            )
        return self._embedder

    def rerank(self, query: Query, candidates: Sequence[Candidate]) -> RerankerOutput:
        joint = [Query(image=candidate.image, text=candidate.text) for candidate in candidates]
        pictures = [Query(image=candidate.image) for candidate in candidates]
        vectors = self._bound.embed([query, *joint, *pictures])
        cosines = (vectors[1:] @ vectors[0]).reshape(2, len(candidates))
        # Words may only help: a brand that the model does not know must not outweigh what the picture shows.
        scores = [float(score) for score in cosines.max(axis=0)]
        likeness: list[float] = []
        caption = ""
        if query.image is not None:
            words = _shared(query, candidates)
            alone = self._bound.embed(
                [
                    Query(image=query.image),
                    *(Query(text=word) for word in words),
                ]
            )
            likeness = [float(cosine) for cosine in vectors[1 + len(candidates) :] @ alone[0]]
            named = [float(cosine) for cosine in alone[1:] @ alone[0]]
            if words:
                caption = f"Looks like: {words[named.index(max(named))]}"
        return RerankerOutput(
            scores=scores,
            caption=caption,
            reason=_reason(query, candidates, scores, likeness),
            raw=" ".join(f"{score:.4f}" for score in scores),
        )


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())


def _shared(query: Query, candidates: Sequence[Candidate]) -> list[str]:
    """Words that most candidates share and the query's text lacks: the query's picture may have brought them in."""
    asked = set(_words(query.text))
    named = Counter(word for candidate in candidates for word in set(_words(candidate.text)) - asked)
    return sorted(word for word, count in named.items() if count * 2 > len(candidates))


def _reason(
    query: Query, candidates: Sequence[Candidate], scores: Sequence[float], likeness: Sequence[float]
) -> str:
    """Why the best candidate is the best: computed facts, not a model's prose."""
    if not candidates:
        return ""
    best = max(range(len(candidates)), key=lambda place: scores[place])
    named = set(_words(candidates[best].text))
    shared = [word for word in dict.fromkeys(_words(query.text)) if word in named]
    facts = []
    if shared:
        facts.append(f"its words name “{' '.join(shared)}”")
    if likeness and likeness[best] == max(likeness):
        facts.append(f"of the {len(candidates)} leading pictures its own is the most like yours")
    if not facts:
        facts.append("its picture and its words together are the nearest to your search")
    return f"{' and '.join(facts)}."
