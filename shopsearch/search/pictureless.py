"""Products without a picture, as hits: what a query's words find in the shop's own database."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from shopsearch.filters import Filter, conditions, holds
from shopsearch.models import PicturelessProduct
from shopsearch.registry import ImageIndex, analyzer
from shopsearch.registry.keys import chunks_of, keys_from
from shopsearch.registry.relations import blank_images
from shopsearch.telemetry.metrics import timed
from shopsearch.types import Hit

if TYPE_CHECKING:
    from django.db.models import QuerySet

MAX_FOUND = 500
"""Of the products that have the words, so many are looked at."""


def having_words(index: ImageIndex, terms: analyzer.QueryTerms, condition: Filter | None) -> list[Hit]:
    """The products that are called so, then those that have every word, the shortest texts first; none that the query
    excludes or that does not pass the condition. Their hits have no image, and 0 as their score.
    """
    with timed("database"):
        rows = PicturelessProduct.objects.of(index).having(terms)
        held = dict(rows.order_by("pk").values_list("key", "terms")[:MAX_FOUND])
        held = {key: each for key, each in held.items() if _is_wanted(terms, each)}
        if condition is not None and held:
            passing = _passing(index, held, condition)
            held = {key: each for key, each in held.items() if key in passing}
    order = sorted(held, key=lambda key: (terms.place_of(held[key]), len(held[key]), key))
    return [
        Hit(id=f"pictureless:{key}", image_id="", product_id=key, score=0.0, words=held[key]) for key in order
    ]


def _is_wanted(terms: analyzer.QueryTerms, stored: str) -> bool:
    """Exactly what the database compared by the rules of a language."""
    place = terms.place_of(stored)
    return place < 2 or (
        (place == 2 or terms.mostly_in(stored)) and set(stored.split()).isdisjoint(terms.excluded)
    )


def shown(index: ImageIndex, keys: Iterable[str]) -> QuerySet[Any]:
    """Those of these products that the shop shows without a picture at this moment."""
    return index.pictureless_products().filter(pk__in=keys_from(index.product_model, keys))


def images_of(index: ImageIndex, keys: Iterable[str]) -> dict[str, Any]:
    """By key a blank image of each product that ``shown`` has, with the rows that the declared paths lead to."""
    images = [image for chunk in chunks_of(keys) for image in blank_images(index, shown(index, chunk))]
    return {str(index.get_product(image).pk): image for image in images}


def _passing(index: ImageIndex, keys: Iterable[str], condition: Filter) -> set[str]:
    asked = list(conditions(condition))
    with index.in_its_language():
        values = {key: index.filter_values(image) for key, image in images_of(index, keys).items()}
    return {key for key, each in values.items() if all(holds(one, each.get(one.field)) for one in asked)}
