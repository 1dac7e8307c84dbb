"""Grouping: each product once, however many of its pictures were found."""

from __future__ import annotations

from collections.abc import Collection as Keys
from collections.abc import Iterator, Sequence
from typing import Any

from shopsearch.keys import keys_from
from shopsearch.metrics import timed
from shopsearch.registry import ImageIndex
from shopsearch.retrieval import Retrieval
from shopsearch.types import Hit

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
