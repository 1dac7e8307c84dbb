"""Similar products: by the vectors that the store holds already, so that no model is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from shopsearch import serving
from shopsearch.backends import get_vector_store
from shopsearch.filters import Filter, parse
from shopsearch.grouping import products
from shopsearch.keys import keys_from
from shopsearch.metrics import timed
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex, get_index, get_indexes
from shopsearch.retrieval import Replaced, Retrieval
from shopsearch.search import check_filters, checked_page, index_named, page_of
from shopsearch.types import Hit, Query, Results

if TYPE_CHECKING:
    from shopsearch.types import Vector

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
    while images and (collection := serving.live(index)):
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
        if serving.live(index) == collection:
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
