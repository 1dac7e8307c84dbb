"""Diversity: of the leading results, those that look like one before them move down."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from shopsearch.types import Hit

if TYPE_CHECKING:
    from shopsearch.types import Vector

LEADING = 48
"""How many results may change places. The same for every page, so that pages are parts of one order."""


def diversified(ranked: Sequence[Hit], vectors: Mapping[str, Vector], diversity: float) -> list[Hit]:
    """All hits, the first LEADING of them such that each is relevant and unlike those before it.

    Maximal marginal relevance (Carbonell & Goldstein, SIGIR 1998): the next is always the one with the highest
    (1 - diversity) * relevance - diversity * similarity, the earlier one of two. Relevance falls evenly from 1 with the
    place, as scores of words and of vectors cannot be compared. Similarity is the highest cosine with one chosen
    before, from 0 for the median of all pairs of pictures to 1: in some models all pictures of a shop are alike. The
    first stays the first. ``vectors`` has them by ``Hit.id``; a hit without one resembles nothing.
    """
    import numpy as np

    leading, rest = list(ranked[:LEADING]), list(ranked[LEADING:])
    if not vectors or len(leading) < 3:
        return [*leading, *rest]
    nothing = np.zeros_like(next(iter(vectors.values())))
    rows = np.stack([vectors.get(hit.id, nothing) for hit in leading])
    relevance = 1 - np.arange(len(leading)) / LEADING
    cosines = rows @ rows.T
    seen = [place for place, hit in enumerate(leading) if hit.id in vectors]
    median = min(float(np.median(cosines[np.ix_(seen, seen)])) if seen else 0.0, 0.999)
    alike = np.clip((cosines - median) / (1 - median), 0, 1)
    similarity = np.zeros(len(leading))
    is_left = np.ones(len(leading), bool)
    order: list[int] = []
    for _place in leading:
        value = (1 - diversity) * relevance - diversity * similarity
        chosen = int(np.argmax(np.where(is_left, value, -np.inf)))
        order.append(chosen)
        is_left[chosen] = False
        similarity = np.maximum(similarity, alike[chosen])
    return [*(leading[place] for place in order), *rest]
