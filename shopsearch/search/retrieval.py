"""Retrieval: what the vector store has for a query, best first: by its vector, and by its words where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from collections.abc import Collection as Keys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shopsearch.backends import get_vector_store
from shopsearch.conf import settings
from shopsearch.filters import Filter
from shopsearch.indexing import collections
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex, analyzer
from shopsearch.registry.analyzer import QueryTerms
from shopsearch.registry.keys import keys_from
from shopsearch.telemetry.metrics import timed
from shopsearch.types import Hit, Query
from shopsearch.types import Retrieval as Way

if TYPE_CHECKING:
    from shopsearch.types import Vector

FIRST_HITS = 128
"""How many hits to ask for at first, and four times as many while they are of too few products. The same for every
page: the order among equals, and what an approximate index finds, may depend on how many are asked for."""

MOST_HITS = 16_384
"""Milvus gives no more in one search."""

FUSED_HITS, MOST_FUSED_HITS, FUSED_PRODUCTS = 100, 1_600, 25
"""How many hits of either order are fused: the same for every page, so that pages are parts of one order. Where so many
are of fewer products than that, more are asked for: four times as many, up to the most."""


class Replaced(Exception):
    """The collection that was live when the search began is not any more, and may be gone."""


@dataclass(slots=True, kw_only=True)
class Retrieval:
    """The hits of one query in one collection."""

    index: ImageIndex
    collection: Collection
    query: Query
    vector: Vector
    condition: Filter | None
    named: frozenset[str] = frozenset()
    """The hits, by id, of products that are called what was asked; known when the first hits are."""
    best: float | None = None
    """The highest score of what the shop shows; known when the first hits have been looked at."""
    _asked: QueryTerms | None = field(init=False)
    _weight: float = field(init=False)

    def __post_init__(self) -> None:
        kind = self.query.kind
        self._weight = settings.COMPOSED_WORDS_WEIGHT if kind == "composed" else settings.WORDS_WEIGHT
        has_words = bool(self.query.text and self._weight and finds_by_words(self.index, self.collection))
        # Beside a picture, words say what is to be other than in the picture; they are no product's name.
        asked = analyzer.query_terms(self.query.text, self.index.words_language, may_be_name=kind == "text")
        self._asked = asked if has_words and asked.text else None

    @property
    def way(self) -> Way:
        return "hybrid" if self._asked else "vectors"

    def note_best(self, shown: Iterable[Hit]) -> None:
        """Of the hits that the shop shows: the first lists have the nearest of all among them."""
        if self.best is None:
            self.best = max((hit.score for hit in shown), default=None)

    def hits(self) -> Iterator[list[Hit]]:
        """Every hit once, best first, so many at a time, up to MOST_HITS; always the same ones at the same place.

        Raises Replaced where the collection is not the live one any more, and VectorStoreError.
        """
        seen: set[str] = set()
        if self._asked:
            hits, is_all = self._fused(self._asked)
            seen.update(hit.id for hit in hits)
            yield hits
            if is_all:
                return
        window = FIRST_HITS
        while True:
            hits = self._nearest(window)
            yield [hit for hit in hits if hit.id not in seen]
            seen.update(hit.id for hit in hits)
            if len(hits) < window or window == MOST_HITS:
                return
            window = min(window * 4, MOST_HITS)

    def _fused(self, asked: QueryTerms) -> tuple[list[Hit], bool]:
        """The leading hits of both orders as one, and whether there are no others."""

        def find(limit: int) -> list[Hit]:
            with timed("store"):
                return get_vector_store().search_words(
                    self.collection.name, asked.text, vector=self.vector, limit=limit, filters=self.condition
                )

        by_vectors, is_all = _leading(self._nearest)
        by_words, _ = _leading(find)
        called = {hit.product_id for hit in by_words if asked.names(hit.words)}
        self.named = frozenset(hit.id for hit in (*by_vectors, *by_words) if hit.product_id in called)
        return fused(by_vectors, by_words, asked=asked, weight=self._weight), is_all

    def _nearest(self, limit: int) -> list[Hit]:
        with timed("store"):
            hits = get_vector_store().search(
                self.collection.name, self.vector, limit=limit, filters=self.condition
            )
        if not hits and collections.live(self.index) != self.collection:
            raise Replaced
        return hits


def finds_by_words(index: ImageIndex, collection: Collection) -> bool:
    """Whether the index declares words that the collection has and the vector store can search."""
    return bool(index.words_field) and not why_vectors_alone(index, collection)


def why_vectors_alone(index: ImageIndex, collection: Collection) -> str:
    """Why the words that the index declares find nothing; "" where they do, and where it declares none."""
    if not index.words_field:
        return ""
    if not get_vector_store().full_text:
        return "Words find nothing: the vector store has no full text."
    if collection.fields.get(index.words_field) != "words":
        return "Words find nothing yet; `manage.py shopsearch_reindex --rebuild` changes that."
    return ""


def _leading(find: Callable[[int], list[Hit]]) -> tuple[list[Hit], bool]:
    limit = FUSED_HITS
    while True:
        hits = find(limit)
        is_enough = limit == MOST_FUSED_HITS or len({hit.product_id for hit in hits}) >= FUSED_PRODUCTS
        if len(hits) < limit or is_enough:
            return hits, len(hits) < limit
        limit *= 4


ROWS_PER_SELECT = 500


def products(retrieval: Retrieval, *, without: Keys[object] = ()) -> Iterator[tuple[Hit, Any]]:
    """Each visible product's best hit and its image, best first, but for products with these keys.

    Hits and rows are asked for as far as they are needed: take as many as are wanted. Whatever is taken is the
    beginning of the same order, so that pages of it neither repeat nor skip a product.
    """
    index, seen = retrieval.index, set(without)
    for hits in retrieval.hits():
        for start in range(0, len(hits), ROWS_PER_SELECT):
            chunk = hits[start : start + ROWS_PER_SELECT]
            with timed("database"):
                images = _visible(index, chunk)
            retrieval.note_best(hit for hit in chunk if hit.image_id in images)
            for hit in chunk:
                image = images.get(hit.image_id)
                product = index.get_product(image) if image is not None else None
                if product is not None and product.pk not in seen:
                    seen.add(product.pk)
                    yield hit, image


def _visible(index: ImageIndex, hits: Sequence[Hit]) -> dict[str, Any]:
    """The hits' images that the shop shows, by ``str(pk)``; not what was deleted or hidden a moment ago."""
    keys = keys_from(index.model, (hit.image_id for hit in hits))
    return {str(image.pk): image for image in index.get_queryset().filter(pk__in=keys)}


SMOOTHING = 60
"""The k of reciprocal rank fusion: the first of an order gains 1/61, the second 1/62."""

STRICTNESS = 8
"""How soon words count less where a product has only some of them: with three of four, 0.10; with half, 0.004."""


def fused(
    by_vectors: Sequence[Hit], by_words: Sequence[Hit], *, asked: QueryTerms, weight: float
) -> list[Hit]:
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
