"""Retrieval: what the vector store has for a query, best first: by its vector, and by its words where there are any."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from shopsearch import serving, words
from shopsearch.backends import get_vector_store
from shopsearch.conf import settings
from shopsearch.filters import Filter
from shopsearch.fusion import fused
from shopsearch.metrics import timed
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex
from shopsearch.types import Hit, Query
from shopsearch.types import Retrieval as Way
from shopsearch.words import Asked

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
    _asked: Asked | None = field(init=False)
    _weight: float = field(init=False)

    def __post_init__(self) -> None:
        kind = self.query.kind
        self._weight = settings.COMPOSED_WORDS_WEIGHT if kind == "composed" else settings.WORDS_WEIGHT
        has_words = bool(self.query.text and self._weight and finds_by_words(self.index, self.collection))
        # Beside a picture, words say what is to be other than in the picture; they are no product's name.
        asked = words.asked(self.query.text, self.index.words_language, may_be_name=kind == "text")
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

    def _fused(self, asked: Asked) -> tuple[list[Hit], bool]:
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
        if not hits and serving.live(self.index) != self.collection:
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
