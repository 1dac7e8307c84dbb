"""What is measured: whatever puts the shop's products in an order for a query."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from shopsearch import reranking
from shopsearch.conf import settings
from shopsearch.evaluation.measures import DEPTH
from shopsearch.exceptions import BackendError
from shopsearch.registry import ImageIndex
from shopsearch.search import search
from shopsearch.types import Query, Result, Results

logger = logging.getLogger(__name__)


class Searcher(Protocol):
    name: str

    def find(self, query: Query) -> Sequence[str] | None:
        """Products by ``str(pk)``, best first, DEPTH at most; None where it has nothing to go by.

        Raises what ``shopsearch.search.search`` raises.
        """
        ...


@dataclass(kw_only=True)
class LiveSearch:
    """``shopsearch.search.search()``, the very path that shoppers take."""

    index: ImageIndex
    name: str = "search"
    _query: Query | None = field(default=None, init=False)
    _results: tuple[Result, ...] = field(default=(), init=False)

    def find(self, query: Query) -> Sequence[str] | None:
        return [str(result.product.pk) for result in self.results(query)]

    def results(self, query: Query) -> tuple[Result, ...]:
        """What a shopper sees who asks for page after page. The same query object is not searched twice running."""
        if query is not self._query:
            self._results, self._query = tuple(self._pages(query)), query
        return self._results

    def _pages(self, query: Query) -> list[Result]:
        found: list[Result] = []
        depth = min(DEPTH, settings.MAX_RESULTS)
        while len(found) < depth:
            limit = min(settings.MAX_PAGE_SIZE, depth - len(found))
            page = search(query.text, query.image, index=self.index.name, limit=limit, offset=len(found))
            found += page.results
            if not page.has_next:
                break
        return found


@dataclass(kw_only=True)
class Reranked:
    """The same search in the better order that a worker makes of its first page."""

    live: LiveSearch
    name: str = "search + rerank"
    failed: int = 0
    """Queries that kept retrieval's order because the reranker was away."""

    def find(self, query: Query) -> Sequence[str] | None:
        found = self.live.results(query)
        products = [str(result.product.pk) for result in found]
        limit = min(settings.PAGE_SIZE, settings.MAX_PAGE_SIZE)
        page = Results(query=query, results=found[:limit], offset=0, limit=limit, has_next=len(found) > limit)
        try:
            order = reranking.order_of(self.live.index, page)
        except BackendError as error:
            logger.warning("A query keeps its order: %s", error)
            self.failed += 1
            return products
        if order is None:
            return products
        return [products[place] for place in order.positions] + products[len(order.positions) :]


@dataclass(kw_only=True)
class PictureAlone:
    """The same search without the query's words."""

    live: LiveSearch
    name: str = "picture alone"

    def find(self, query: Query) -> Sequence[str] | None:
        if query.image is None:
            return None
        return self.live.find(query if not query.text else replace(query, text=""))


@dataclass(kw_only=True)
class WordsAlone:
    """The same search without the query's picture."""

    live: LiveSearch
    name: str = "words alone"

    def find(self, query: Query) -> Sequence[str] | None:
        if not query.text:
            return None
        return self.live.find(query if query.image is None else replace(query, image=None))
