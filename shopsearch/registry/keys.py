"""Primary keys: a queryset's, in chunks, and those that arrive as text."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import Model, QuerySet

CHUNK = 1_000
"""How many keys are held, and rows written, at once."""
LONGEST = 2**63
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")


def keys_of(queryset: QuerySet[Any]) -> Iterator[list[Any]]:
    """The queryset's primary keys in chunks, in constant memory; a slice or a union is read into memory.

    Each chunk starts after the last key instead of using a cursor: with a cursor that is open during writes, SQLite
    answers "database is locked" as soon as another process writes too.
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
    """The ids that are possible values of the model's primary key, as such values; the others are dropped.

    The database accepts all that are returned, whatever the ids are.
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
    """Whether a database driver accepts the value: they raise errors of their own for huge numbers and broken texts."""
    if isinstance(value, int):
        return -LONGEST <= value < LONGEST
    return is_storable(value)


def is_storable(value: object) -> bool:
    """Whether a database can store the value: not a text with half a surrogate pair, or a NUL (PostgreSQL)."""
    return not (isinstance(value, str) and _NOT_TEXT.search(value))


def chunks_of(values: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk


def _unordered_parts(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """The union with its parts unordered: SQLite refuses an order inside a union, even the model's default one."""
    queryset = queryset.all()
    parts = [query.clone() for query in queryset.query.combined_queries]
    for query in parts:
        query.clear_ordering(force=not query.is_sliced)
    queryset.query.combined_queries = tuple(parts)
    return queryset
