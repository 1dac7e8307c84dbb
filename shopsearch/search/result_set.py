"""The result set: the products that are no weak match of a query, by their vector or by their words."""

from __future__ import annotations

from dataclasses import dataclass

from shopsearch.conf import settings
from shopsearch.search import retrieval
from shopsearch.search.retrieval import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSet:
    """What facets and the number of results count."""

    products: frozenset[str]
    """Their keys, as the vector store has them. The shop may show fewer."""
    is_complete: bool = True
    """Else there are more: only SHOPSEARCH["MAX_RESULTS"] images were looked at by vector, and as many by words."""


def result_set(target: Target) -> ResultSet | None:
    """The products that match, whatever filters are chosen: give a target without a condition.

    None where scores are not calibrated or everything is a weak match: then there is no such set. Raises Replaced and
    VectorStoreError.
    """
    if target.weak_below is None:
        return None
    most = settings.MAX_RESULTS
    by_vectors = retrieval.nearest(target, most)
    by_words = retrieval.having_words(target, most) if target.terms else []
    found = retrieval.wanted_of(target, (*by_vectors, *by_words), retrieval.unwanted(target))
    products = frozenset(hit.product_id for hit in found if target.is_match(hit))
    is_whole = len(by_vectors) < most or target.is_weak(by_vectors[-1])
    return ResultSet(products=products, is_complete=is_whole and len(by_words) < most) if products else None
