"""Answer a query: the one function."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ValidationError

from shopsearch.backends import collection_of, get_embedder, get_query_embedder, get_vector_store
from shopsearch.calibrations import match_of, weak_below
from shopsearch.conf import settings
from shopsearch.exceptions import EmptyQuery, QueryError
from shopsearch.filters import Filter, parse
from shopsearch.metrics import timed
from shopsearch.registry import ImageIndex, get_index, get_indexes
from shopsearch.types import Hit, Query, Result, Results

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

    ``image`` is a picture from ``shopsearch.images.decode``. ``filters`` is what ``shopsearch.filters.parse``
    takes: ``{"category": ["mug", "plate"], "price__lte": 20}``. ``limit`` is SHOPSEARCH["PAGE_SIZE"] unless
    given. Only images in the index's queryset are in the answer, whatever the vector store still holds.

    Raises EmptyQuery, FilterError and QueryError for what the caller can mend; EmbedderError and
    VectorStoreError while a backend is away.
    """
    image_index = _index_named(index)
    query = Query(text=" ".join(text.split()), image=image)
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

    with timed("embed"):
        vector = get_query_embedder().embed([query])[0]
    wanted = offset + limit + 1
    ranked = list(islice(_products(image_index, vector, condition, wanted), wanted))
    found = ranked[offset:]
    floor = weak_below(image_index.name, get_embedder(), query.kind, vector)
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


def _products(
    index: ImageIndex, vector: Vector, condition: Filter | None, wanted: int
) -> Iterator[tuple[Hit, Any]]:
    """Each visible product's best hit and its image, best first; asks for more hits until ``wanted`` are found."""
    store, collection = get_vector_store(), collection_of(index)
    seen_products: set[object] = set()
    seen_hits: set[str] = set()
    window = wanted * IMAGES_PER_PRODUCT
    while True:
        with timed("store"):
            hits = store.search(collection, vector, limit=min(window, MOST_HITS), filters=condition)
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
    key = index.model._meta.pk
    keys = []
    for hit in hits:
        try:
            keys.append(key.to_python(hit.image_id))
        except ValidationError:
            continue
    return {str(image.pk): image for image in index.get_queryset().filter(pk__in=keys)}
