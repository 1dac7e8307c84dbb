"""Searchers: what an evaluation measures. A searcher orders the shop's products for a query."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from shopsearch.conf import settings
from shopsearch.evaluation.measures import DEPTH
from shopsearch.exceptions import BackendError
from shopsearch.registry import ImageIndex
from shopsearch.search import reranking
from shopsearch.search.engine import answer
from shopsearch.search.examples import of_picture
from shopsearch.search.request import SearchAnswer, SearchRequest
from shopsearch.types import Query

logger = logging.getLogger(__name__)


class Searcher(Protocol):
    name: str

    def find(self, query: Query) -> Sequence[str] | None:
        """Products by ``str(pk)``, best first, at most DEPTH; None if the searcher cannot use this kind of query.

        Raises what ``shopsearch.search.search`` raises.
        """


@dataclass(kw_only=True)
class LiveSearch:
    """The search as shoppers use it, without rules of the house: what staff pin and hide is not search's merit."""

    index: ImageIndex
    name: str = "search"
    _query: Query | None = field(default=None, init=False)
    _results: SearchAnswer | None = field(default=None, init=False)

    def find(self, query: Query) -> Sequence[str] | None:
        return [str(result.product.pk) for result in self.results(query).results]

    def results(self, query: Query) -> SearchAnswer:
        """All results that a shopper sees, page after page. The last query object is not searched again."""
        if self._results is None or query is not self._query:
            self._results, self._query = self._search(query), query
        return self._results

    def _search(self, query: Query) -> SearchAnswer:
        depth = min(DEPTH, settings.MAX_RESULTS)
        whole = self._page(query, depth, 0)
        while whole.has_next and len(whole.results) < depth:
            page = self._page(query, depth, len(whole.results))
            whole = replace(whole, results=whole.results + page.results, has_next=page.has_next)
        return whole

    def _page(self, query: Query, depth: int, offset: int) -> SearchAnswer:
        limit = min(settings.MAX_PAGE_SIZE, depth - offset)
        asked = SearchRequest(
            text=query.text,
            examples=of_picture(query.image),
            index=self.index.name,
            limit=limit,
            offset=offset,
            rules=(),
        )
        return answer(asked)


@dataclass(kw_only=True)
class Reranked:
    """The same search with its first page reranked, as a worker does it."""

    live: LiveSearch
    name: str = "search + rerank"
    failed: int = 0
    """How many queries kept retrieval's order because the reranker was away."""

    def find(self, query: Query) -> Sequence[str] | None:
        found = self.live.results(query)
        products = [str(result.product.pk) for result in found.results]
        page = replace(found, results=found.results[: settings.PAGE_SIZE], limit=settings.PAGE_SIZE)
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
