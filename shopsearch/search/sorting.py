"""Sorting: the orders, other than the most relevant first, that an index offers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from shopsearch.exceptions import QueryError
from shopsearch.registry import ImageIndex
from shopsearch.registry.index import follow

RELEVANCE, NEWEST = "relevance", "newest"

Row = TypeVar("Row")


def sort_names(index: ImageIndex) -> list[str]:
    """What ``sort`` may be: relevance, newest where the index declares it, and each number up and down."""
    numbers = [name for name, kind in index.filter_types.items() if kind == "number"]
    return [
        RELEVANCE,
        *([NEWEST] if index.newest else []),
        *(sort for name in numbers for sort in (name, f"-{name}")),
    ]


def sort_label(sort: str) -> str:
    """What a shopper reads for it."""
    if sort in (RELEVANCE, NEWEST):
        return _("Most relevant") if sort == RELEVANCE else _("Newest first")
    name = capfirst(_(sort.removeprefix("-").replace("_", " ")))
    return (_("%(name)s: high to low") if sort.startswith("-") else _("%(name)s: low to high")) % {
        "name": name
    }


def is_relevance(sort: str) -> bool:
    """Whether this order is the one that the search finds anyway."""
    return sort in ("", RELEVANCE)


def checked_sort(index: ImageIndex, sort: str) -> str:
    """The order's name; "" for relevance. Raises QueryError with the names there are."""
    if is_relevance(sort):
        return ""
    names = sort_names(index)
    if sort not in names:
        raise QueryError(_("sort must be one of: %(names)s.") % {"names": ", ".join(names)})
    return sort


def in_order(index: ImageIndex, sort: str, found: Sequence[tuple[Row, Any]]) -> list[tuple[Row, Any]]:
    """The rows, each with its image, in this order: ties by relevance, rows without a value last."""
    name = sort.removeprefix("-")

    def value(image: Any) -> Any:
        if sort == NEWEST:
            return index.ask_shop(
                "date", None, lambda image: follow(index.get_product(image), index.newest), image
            )
        return index.known_filter_values(image).get(name)

    values = [(value(image), (hit, image)) for hit, image in found]
    known = [(each, pair) for each, pair in values if each is not None]
    known.sort(key=lambda each: each[0], reverse=sort == NEWEST or sort.startswith("-"))
    return [pair for _each, pair in known] + [pair for each, pair in values if each is None]
