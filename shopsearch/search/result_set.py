"""The result set: the products that are no weak match of a query, by their vector or by their words."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from shopsearch.conf import settings
from shopsearch.search.retrieval import HitLists


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultSet:
    """What facets and the number of results count."""

    products: frozenset[str]
    """Their keys, as the vector store has them. The shop may show fewer."""
    is_complete: bool = True
    """Else there are more: only SHOPSEARCH["MAX_RESULTS"] images were looked at by vector, and as many by words."""


def result_set(lists: HitLists, without: Collection[object] = ()) -> ResultSet | None:
    """The products that match, whatever filters are chosen, except those with the keys ``without``: give the lists of a
    target without a condition.

    None where scores are not calibrated or everything is a weak match: then there is no such set. Raises Replaced and
    VectorStoreError.
    """
    target = lists.target
    if target.weak_below is None:
        return None
    most = settings.MAX_RESULTS
    by_vectors = lists.by_vectors.first(most, until=target.is_weak)
    by_words = lists.all_by_words()
    found = lists.wanted([*by_vectors, *by_words, *lists.pictureless])
    left_out = set(map(str, without))
    products = frozenset(
        hit.product_id for hit in found if hit.product_id not in left_out and lists.is_match(hit)
    )
    is_whole = len(by_vectors) < most or target.is_weak(by_vectors[-1])
    return ResultSet(products=products, is_complete=is_whole and len(by_words) < most) if products else None
