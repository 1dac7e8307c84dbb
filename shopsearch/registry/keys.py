"""Primary keys: those of a queryset, in chunks, and those that texts name."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet

CHUNK = 1_000
"""Keys held, and rows written, at once."""
LONGEST = 2**63
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def keys_of(queryset: QuerySet[Any]) -> Iterator[list[Any]]:
    """The queryset's primary keys, in chunks and in constant memory; those of a slice or a union, all in memory.

    By comparison with the last key rather than by a cursor: a cursor that is open while rows are written makes
    SQLite answer "database is locked" as soon as another process writes too.
    """
    if queryset.query.is_sliced or queryset.query.combinator:
        yield from chunks_of(list(_unordered_parts(queryset).values_list("pk", flat=True)))
        return
    ordered = queryset.order_by("pk").values_list("pk", flat=True)
    found = list(ordered[:CHUNK])
    while found:
        yield found
        if len(found) < CHUNK:
            return
        found = list(ordered.filter(pk__gt=found[-1])[:CHUNK])


def keys_from(model: type[Model], ids: Iterable[object]) -> list[Any]:
    """Those of the ids that the model's primary key can have, as its values; the others name no row of it.

    Whatever the ids are, the database takes what is returned.
    """
    key, keys = model._meta.pk, []
    for each in ids:
        try:
            value = key.to_python(each)
        except (ValidationError, ArithmeticError, TypeError, ValueError):
            continue
        if value is not None and _fits(value):
            keys.append(value)
    return keys


def _fits(value: Any) -> bool:
    """Drivers refuse with errors of their own a number longer than any database has, and a text that is none."""
    if isinstance(value, int):
        return -LONGEST <= value < LONGEST
    return is_storable(value)


def is_storable(value: object) -> bool:
    """Not a text that no database holds: with half a surrogate pair, or with a NUL, which PostgreSQL refuses."""
    return not (isinstance(value, str) and _NOT_TEXT.search(value))


def chunks_of(values: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _unordered_parts(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """SQLite refuses an order inside of a union, be it only the model's default one, and it means nothing there."""
    queryset = queryset.all()
    parts = [query.clone() for query in queryset.query.combined_queries]
    for query in parts:
        query.clear_ordering(force=not query.is_sliced)
    queryset.query.combined_queries = tuple(parts)
    return queryset
