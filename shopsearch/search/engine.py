"""Answer a query: the one function."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from shopsearch.backends import embedder_of, get_embedder, get_query_embedder, get_vector_store
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, EmptyQuery, QueryError
from shopsearch.filters import Filter, conditions, parse
from shopsearch.images import normalised
from shopsearch.indexing import collections
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex, find_index, get_index, get_indexes
from shopsearch.registry.keys import keys_from
from shopsearch.search.calibration import match_of, weak_below
from shopsearch.search.retrieval import Replaced, Retrieval, products
from shopsearch.search.sorting import checked_sort, in_order
from shopsearch.telemetry.metrics import timed
from shopsearch.types import Hit, Query, Result, Results
from shopsearch.types import Retrieval as Way

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Vector


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
    that reaches past SHOPSEARCH["MAX_RESULTS"] is shorter. ``sort`` is one of ``search.sorting.sort_names``: the
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
        collection = collections.live(index)
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
        held = collection.fields.get(each.field)
        if ("string" if held == "partition" else held) != types[each.field]:
            raise BackendError(
                f"The filter {each.field!r} is being built; it works as soon as "
                "`manage.py shopsearch_reindex --rebuild` is done."
            )


MOST_IMAGES = 64
"""Of a product with more pictures, the first say what it looks like."""


def similar(
    product: Any,
    *,
    index: str = "",
    filters: Mapping[str, object] | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Results:
    """The products that look like this one, most alike first, each once; never itself, nor one that the shop hides.

    Nothing while the product is not indexed, and for one that the shop does not show. ``filters``, ``limit`` and
    ``offset`` are those of ``search``; ``index`` is the one of the product's model unless given. A product of several
    pictures is looked for by the mean of their vectors: neither their order nor a single odd one decides.

    Raises FilterError and QueryError for what the caller can mend, and VectorStoreError while the store is away.
    """
    image_index = index_named(index) if index else _index_of(product)
    images = shown_images(image_index, product.pk)
    found = _results(image_index, images, Query(), filters, limit, offset)
    return found or page_of(image_index, [], Query(), checked_page(limit, offset), offset)


def similar_to_image(
    index: ImageIndex,
    image: Any,
    *,
    query: Query,
    filters: Mapping[str, object] | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Results | None:
    """As ``similar``, by this one picture; None where the store has no vector of it.

    ``query`` is what the answer says that was asked.
    """
    return _results(index, [image], query, filters, limit, offset)


def shown_images(index: ImageIndex, product_id: object) -> list[Any]:
    """The first images of this product that the shop shows; none where it shows no such product."""
    keys = keys_from(index.product_model, [product_id])
    images = index.get_queryset().filter(**{f"{index.product_field or 'pk'}__in": keys})
    return list(images.order_by("pk")[:MOST_IMAGES])


@timed("total")
def _results(
    index: ImageIndex,
    images: Sequence[Any],
    query: Query,
    filters: Mapping[str, object] | None,
    limit: int | None,
    offset: int,
) -> Results | None:
    limit = checked_page(limit, offset)
    condition = parse(filters or {}, index.filter_types)
    found = _found(index, images, condition, offset + limit + 1)
    return None if found is None else page_of(index, found, query, limit, offset)


def _found(
    index: ImageIndex, images: Sequence[Any], condition: Filter | None, wanted: int
) -> list[tuple[Hit, Any]] | None:
    """So many products, each by its best hit and that one's image; None where the images have no vector."""
    own = {index.get_product(image).pk for image in images}
    while images and (collection := collections.live(index)):
        check_filters(condition, index, collection)
        vector = _vector(index, images, collection)
        if vector is not None:
            retrieval = Retrieval(
                index=index, collection=collection, query=Query(), vector=vector, condition=condition
            )
            try:
                return list(islice(products(retrieval, without=own), wanted))
            except Replaced:
                continue
        if collections.live(index) == collection:
            break
    return None


def _vector(index: ImageIndex, images: Sequence[Any], collection: Collection) -> Vector | None:
    """The mean of what the collection holds of these images."""
    with timed("store"):
        held = get_vector_store().fetch(collection.name, [index.entity_id(image.pk) for image in images])
    if not held:
        return None
    mean = np.mean([entity.vector for entity in sorted(held, key=lambda entity: entity.id)], axis=0)
    length = float(np.linalg.norm(mean))
    return np.asarray(mean / length if length else held[0].vector, np.float32)


def _index_of(product: Any) -> ImageIndex:
    """The index that finds products of this one's model; the shop's own where there are several."""
    own = get_index()
    kin = (each for each in (own, *get_indexes()) if isinstance(product, each.product_model))
    return next(kin, own)
