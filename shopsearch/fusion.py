"""Fusion: one order of products out of two, by rank, since the scores of vectors and of words cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence

from shopsearch.types import Hit
from shopsearch.words import Asked

SMOOTHING = 60
"""The k of reciprocal rank fusion: the first of an order gains 1/61, the second 1/62."""
STRICTNESS = 8
"""How soon words count less where a product has only some of them: with three of four, 0.10; with half, 0.004."""


def fused(by_vectors: Sequence[Hit], by_words: Sequence[Hit], *, asked: Asked, weight: float) -> list[Hit]:
    """Every hit once, the hits of a product together: first those that are called what was asked, then by both ranks.

    ``weight`` is what the words' rank counts beside the vectors', whose weight is 1. The same lists give the same
    order.
    """
    kept = {hit.product_id: hit.words for hit in by_words}
    gains = _gains(by_vectors)
    for product, gain in _gains(by_words).items():
        share: float = asked.share_in(kept[product]) ** STRICTNESS
        gains[product] = gains.get(product, 0.0) + weight * share * gain
    named = {product for product, words in kept.items() if asked.names(words)}
    products: dict[str, list[Hit]] = {}
    for hit in {hit.id: hit for hit in (*by_words, *by_vectors)}.values():
        products.setdefault(hit.product_id, []).append(hit)
    best = {product: max(hit.score for hit in hits) for product, hits in products.items()}
    order = sorted(products, key=lambda each: (each not in named, -gains[each], -best[each], each))
    return [
        hit for product in order for hit in sorted(products[product], key=lambda hit: (-hit.score, hit.id))
    ]


def _gains(hits: Sequence[Hit]) -> dict[str, float]:
    """By product, whose rank is that of its best hit."""
    products = dict.fromkeys(hit.product_id for hit in hits)
    return {product: 1 / (SMOOTHING + rank) for rank, product in enumerate(products, start=1)}
