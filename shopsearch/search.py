"""Answer a query: the one function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

from shopsearch import serving
from shopsearch.backends import embedder_of, get_embedder, get_query_embedder
from shopsearch.calibrations import match_of, weak_below
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, EmptyQuery, QueryError
from shopsearch.filters import Filter, parse
from shopsearch.grouping import products
from shopsearch.images import normalised
from shopsearch.metrics import timed
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex, find_index, get_index, get_indexes
from shopsearch.retrieval import Replaced, Retrieval
from shopsearch.sorting import checked_sort, in_order
from shopsearch.types import Hit, Query, Result, Results
from shopsearch.types import Retrieval as Way
from shopsearch.vector_stores.entities import conditions

if TYPE_CHECKING:
    from PIL.Image import Image


@timed("total")
def search(
    text: str = "",
    image: Image | None = None,
    *,
    index: str = "",
    filters: Mapping[str, object] | None = None,
    limit: int | None = None,
    offset: int = 0,
    sort: str = "",
) -> Results:
    """The products that match the words, the picture, or both together, best first, each once.

    ``image`` is a picture from ``shopsearch.images.decode``; only a copy of SHOPSEARCH["QUERY_IMAGE_SIDE"] pixels is
    looked at, kept or sent on. ``filters`` is what ``shopsearch.filters.parse`` takes:
    ``{"category": ["mug", "plate"], "price__lte": 20}``. ``limit`` is SHOPSEARCH["PAGE_SIZE"] unless given; the page
    that reaches past SHOPSEARCH["MAX_RESULTS"] is shorter. ``sort`` is one of ``shopsearch.sorting.sort_names``: the
    SHOPSEARCH["SORTED_RESULTS"] most relevant come in that order, and no others. Only images in the index's queryset
    are in the answer, whatever the vector store still holds.

    Raises EmptyQuery, FilterError and QueryError for what the caller can mend; EmbedderError and
    VectorStoreError while a backend is away.
    """
    image_index = index_named(index)
    query = Query(text=" ".join(text.split()), image=None if image is None else normalised(image))
    if not query.text and image is None:
        raise EmptyQuery
    if len(text) > settings.MAX_QUERY_CHARACTERS:
        raise QueryError(f"The text is too long; use at most {settings.MAX_QUERY_CHARACTERS} characters.")
    limit = checked_page(limit, offset)
    condition = parse(filters or {}, image_index.filter_types)

    sort = checked_sort(image_index, sort)
    answer = _answer(image_index, query, condition, settings.SORTED_RESULTS if sort else offset + limit + 1)
    ranked = in_order(image_index, sort, answer.ranked)
    return page_of(
        image_index,
        ranked,
        query,
        limit,
        offset,
        weak_below=answer.weak_below,
        match=match_of(answer.best, answer.weak_below),
        retrieval=answer.retrieval,
        is_named=answer.is_named,
    )


def checked_page(limit: int | None, offset: int) -> int:
    """How many results the page has at most. Raises QueryError for a page out of bounds, with the bounds."""
    limit = settings.PAGE_SIZE if limit is None else limit
    if not 1 <= limit <= settings.MAX_PAGE_SIZE:
        raise QueryError(f"limit must be a number from 1 to {settings.MAX_PAGE_SIZE}.")
    deepest: int = settings.MAX_RESULTS - 1
    if not 0 <= offset <= deepest:
        raise QueryError(
            f"offset must be a number from 0 to {deepest}; narrow the search to see what is further down."
        )
    return min(limit, deepest + 1 - offset)


def page_of(
    index: ImageIndex, ranked: Sequence[tuple[Hit, Any]], query: Query, limit: int, offset: int, **said: Any
) -> Results:
    """This page of products, each with its best hit's image; ``said`` is what else Results has."""
    return Results(
        query=query,
        results=tuple(
            Result(rank=offset + place, score=hit.score, product=index.get_product(row), image=row)
            for place, (hit, row) in enumerate(ranked[offset : offset + limit], start=1)
        ),
        offset=offset,
        limit=limit,
        has_next=len(ranked) > offset + limit and offset + limit < settings.MAX_RESULTS,
        **said,
    )


def index_named(name: str) -> ImageIndex:
    """The index of this name; without one, that of the shop's product images. Raises QueryError with the names."""
    if name and find_index(name) is None:
        known_names = ", ".join(known.name for known in get_indexes())
        raise QueryError(f"There is no index {name!r}; use one of: {known_names}.")
    return get_index(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """The best so many products, each by its best hit and that one's image."""

    ranked: list[tuple[Hit, Any]] = field(default_factory=list)
    best: float | None = None
    """How well the best of all answers, whatever its place: 1 where it is called what was asked."""
    weak_below: float | None = None
    retrieval: Way = "vectors"
    is_named: bool = False


def _answer(index: ImageIndex, query: Query, condition: Filter | None, wanted: int) -> _Answer:
    """The model that embeds the query is the one that the live collection was made by, whatever goes live meanwhile."""
    while True:
        collection = serving.live(index)
        if collection is not None:
            check_filters(condition, index, collection)
        space = collection.space if collection else ""
        with timed("embed"):
            vector = get_query_embedder(space).embed([query])[0]
        floor = weak_below(index.name, embedder_of(space) or get_embedder(), query.kind, vector)
        if collection is None:
            return _Answer(weak_below=floor)
        retrieval = Retrieval(
            index=index, collection=collection, query=query, vector=vector, condition=condition
        )
        try:
            ranked = list(islice(products(retrieval), wanted))
        except Replaced:
            continue
        is_named = bool(ranked) and ranked[0][0].id in retrieval.named
        return _Answer(
            ranked=ranked,
            best=1.0 if is_named else retrieval.best,
            weak_below=floor,
            retrieval=retrieval.way,
            is_named=is_named,
        )


def check_filters(condition: Filter | None, index: ImageIndex, collection: Collection) -> None:
    """Raises BackendError for a filter that was declared after the live collection was made."""
    types = index.filter_types
    for each in conditions(condition):
        if collection.fields.get(each.field) != types[each.field]:
            raise BackendError(
                f"The filter {each.field!r} is being built; it works as soon as "
                "`manage.py shopsearch_reindex --rebuild` is done."
            )
