"""Primary keys of a queryset, in chunks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

from django.db.models import QuerySet

CHUNK = 1_000
"""Keys held, and rows written, at once."""


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
