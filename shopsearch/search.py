"""Answer a query: the one function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from shopsearch import serving
from shopsearch.backends import embedder_of, get_embedder, get_query_embedder, get_vector_store
from shopsearch.calibrations import match_of, weak_below
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, EmptyQuery, QueryError
from shopsearch.filters import Filter, parse
from shopsearch.images import normalised
from shopsearch.keys import keys_from
from shopsearch.metrics import timed
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex, get_index, get_indexes
from shopsearch.types import Hit, Query, Result, Results
from shopsearch.vector_stores.entities import conditions

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Vector

IMAGES_PER_PRODUCT = 3
"""How many hits to ask for per product wanted, at first: several images of a product give one result."""
MOST_HITS = 16_384
"""Milvus gives no more in one search."""
ROWS_PER_SELECT = 500


@timed("total")
def search(
    text: str = "",
    image: Image | None = None,
    *,
    index: str = "",
    filters: Mapping[str, object] | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> Results:
    """The products that match the words, the picture, or both together, best first, each once.

    ``image`` is a picture from ``shopsearch.images.decode``; only a copy of SHOPSEARCH["QUERY_IMAGE_SIDE"] pixels is
    looked at, kept or sent on. ``filters`` is what ``shopsearch.filters.parse``
    takes: ``{"category": ["mug", "plate"], "price__lte": 20}``. ``limit`` is SHOPSEARCH["PAGE_SIZE"] unless
    given. Only images in the index's queryset are in the answer, whatever the vector store still holds.

    Raises EmptyQuery, FilterError and QueryError for what the caller can mend; EmbedderError and
    VectorStoreError while a backend is away.
    """
    image_index = _index_named(index)
    query = Query(text=" ".join(text.split()), image=None if image is None else normalised(image))
    if not query.text and image is None:
        raise EmptyQuery
    if len(query.text) > settings.MAX_QUERY_CHARACTERS:
        raise QueryError(f"The text is too long; use at most {settings.MAX_QUERY_CHARACTERS} characters.")
    limit = settings.PAGE_SIZE if limit is None else limit
    if not 1 <= limit <= settings.MAX_PAGE_SIZE:
        raise QueryError(f"limit must be a number from 1 to {settings.MAX_PAGE_SIZE}.")
    if offset < 0 or offset + limit > settings.MAX_RESULTS:
        raise QueryError(
            f"offset and limit reach past the first {settings.MAX_RESULTS} results; narrow the search."
        )
    condition = parse(filters or {}, image_index.filter_types)

    ranked, floor = _ranked(image_index, query, condition, offset + limit + 1)
    found = ranked[offset:]
    return Results(
        query=query,
        results=tuple(
            Result(rank=offset + place, score=hit.score, product=image_index.get_product(row), image=row)
            for place, (hit, row) in enumerate(found[:limit], start=1)
        ),
        offset=offset,
        limit=limit,
        has_next=len(found) > limit and offset + limit < settings.MAX_RESULTS,
        weak_below=floor,
        match=match_of(ranked[0][0].score if ranked else None, floor),
    )


def _index_named(name: str) -> ImageIndex:
    if name and name not in {known.name for known in get_indexes()}:
        known_names = ", ".join(known.name for known in get_indexes())
        raise QueryError(f"There is no index {name!r}; use one of: {known_names}.")
    return get_index(name)


class _Replaced(Exception):
    """The collection that was live when the search began is not any more, and may be gone."""


def _ranked(
    index: ImageIndex, query: Query, condition: Filter | None, wanted: int
) -> tuple[list[tuple[Hit, Any]], float | None]:
    """The best so many products, and the score under which they are a weak match.

    The model that embeds the query is the one that the live collection was made by, whatever goes live meanwhile.
    """
    while True:
        collection = serving.live(index)
        if collection is not None:
            _check_filters(condition, index, collection)
        space = collection.space if collection else ""
        with timed("embed"):
            vector = get_query_embedder(space).embed([query])[0]
        try:
            ranked = list(islice(_products(index, collection, vector, condition, wanted), wanted))
        except _Replaced:
            continue
        return ranked, weak_below(index.name, embedder_of(space) or get_embedder(), query.kind, vector)


def _check_filters(condition: Filter | None, index: ImageIndex, collection: Collection) -> None:
    """Raises BackendError for a filter that was declared after the live collection was made."""
    types = index.filter_types
    for each in conditions(condition):
        if collection.fields.get(each.field) != types[each.field]:
            raise BackendError(
                f"The filter {each.field!r} is being built; it works as soon as "
                "`manage.py shopsearch_reindex --rebuild` is done."
            )


def _products(
    index: ImageIndex, collection: Collection | None, vector: Vector, condition: Filter | None, wanted: int
) -> Iterator[tuple[Hit, Any]]:
    """Each visible product's best hit and its image, best first; asks for more hits until ``wanted`` are found."""
    if collection is None:
        return
    store = get_vector_store()
    seen_products: set[object] = set()
    seen_hits: set[str] = set()
    window = wanted * IMAGES_PER_PRODUCT
    while True:
        with timed("store"):
            hits = store.search(collection.name, vector, limit=min(window, MOST_HITS), filters=condition)
        if not hits and serving.live(index) != collection:
            raise _Replaced
        fresh = [hit for hit in hits if hit.id not in seen_hits]
        seen_hits.update(hit.id for hit in fresh)
        for start in range(0, len(fresh), ROWS_PER_SELECT):
            chunk = fresh[start : start + ROWS_PER_SELECT]
            with timed("database"):
                images = _visible(index, chunk)
            for hit in chunk:
                image = images.get(hit.image_id)
                product = index.get_product(image) if image is not None else None
                if product is not None and product.pk not in seen_products:
                    seen_products.add(product.pk)
                    yield hit, image
        if len(seen_products) >= wanted or len(hits) < window or window >= MOST_HITS:
            return
        window *= 4


def _visible(index: ImageIndex, hits: Sequence[Hit]) -> dict[str, Any]:
    """The hits' images that the shop shows, by ``str(pk)``; not what was deleted or hidden a moment ago."""
    keys = keys_from(index.model, (hit.image_id for hit in hits))
    return {str(image.pk): image for image in index.get_queryset().filter(pk__in=keys)}
