"""Products without a picture, as hits: what a query's words find in the shop's own database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shopsearch.filters import Filter, conditions, holds
from shopsearch.models import PicturelessProduct
from shopsearch.registry import ImageIndex, analyzer
from shopsearch.registry.keys import chunks_of
from shopsearch.registry.relations import blank_images
from shopsearch.telemetry.metrics import timed
from shopsearch.types import Hit

MAX_FOUND = 500
"""Of the products that have the words, so many are looked at."""


def having_words(index: ImageIndex, terms: analyzer.QueryTerms, condition: Filter | None) -> list[Hit]:
    """The products that are called so, then those that have every word, the shortest texts first; none that the query
    excludes or that does not pass the condition. Their hits have no image, and 0 as their score.
    """
    with timed("database"):
        rows = PicturelessProduct.objects.of(index).having(terms)
        held = dict(rows.values_list("key", "terms")[:MAX_FOUND])
        held = {key: each for key, each in held.items() if _is_wanted(terms, each)}
        if condition is not None and held:
            passing = _passing(index, held, condition)
            held = {key: each for key, each in held.items() if key in passing}
    order = sorted(held, key=lambda key: (terms.place_of(held[key]), len(held[key]), key))
    return [hit_of(key, held[key]) for key in order]


def hit_of(key: str, words: str = "") -> Hit:
    """The hit of the product with this key, which has no image and no score."""
    return Hit(id=f"pictureless:{key}", image_id="", product_id=key, score=0.0, words=words)


def saying(index: ImageIndex, terms: Iterable[str]) -> set[str]:
    """The keys of those that have any of these terms."""
    return set(PicturelessProduct.objects.of(index).saying(terms).values_list("key", flat=True)[:MAX_FOUND])


def _is_wanted(terms: analyzer.QueryTerms, stored: str) -> bool:
    """Exactly what the database compared by the rules of a language."""
    place = terms.place_of(stored)
    return place < 2 or (
        (place == 2 or terms.mostly_in(stored)) and set(stored.split()).isdisjoint(terms.excluded)
    )


def images_of(index: ImageIndex, keys: Iterable[str]) -> dict[str, Any]:
    """By key a blank image of each product that the shop shows without a picture at this moment, with the rows that the
    declared paths lead to.
    """
    images: dict[str, Any] = {}
    for chunk in chunks_of(keys):
        products = list(index.pictureless_products(chunk))
        own = blank_images(index, products)
        images |= zip((str(each.pk) for each in products), own, strict=True)
    return images


def _passing(index: ImageIndex, keys: Iterable[str], condition: Filter) -> set[str]:
    asked = list(conditions(condition))
    with index.in_its_language():
        values = {key: index.known_filter_values(image) for key, image in images_of(index, keys).items()}
    return {key for key, each in values.items() if all(holds(one, each.get(one.field)) for one in asked)}
