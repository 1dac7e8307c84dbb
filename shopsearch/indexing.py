"""Indexing: make the vector store hold the shop's images as they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from django.db import router
from django.db.models import QuerySet

from shopsearch import changes, outbox, registry
from shopsearch.batches import IndexBatch
from shopsearch.conf import settings
from shopsearch.keys import keys_of
from shopsearch.models import IndexEntry


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of the rows that were claimed at once; the other numbers add up to ``claimed``."""

    claimed: int = 0
    embedded: int = 0
    """Written with a new vector."""
    updated: int = 0
    """Written with a vector that there was: only the filter values or the collection were new, or it is shown again."""
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    postponed: int = 0


def index_batch() -> Batch:
    """Claim one batch of due rows and bring the store in line with their images. Raises only what claiming raises.

    What cannot be done now is tried again later. An image that can never be indexed is FAILED with a sentence, is no
    longer found by its older picture, and does not keep the others from being indexed.
    """
    entries = sorted(outbox.claim(settings.BATCH_SIZE), key=_source)
    counts = Counter(claimed=len(entries))
    for (using, name), group in groupby(entries, key=_source):
        counts += IndexBatch(registry.get_index(name), using, list(group)).run()
    return Batch(**counts)


def index_pending() -> Iterator[Batch]:
    """Batch after batch, until nothing is due."""
    while (batch := index_batch()).claimed:
        yield batch


def reindex(queryset: QuerySet[Any]) -> int:
    """Have these images looked at again: for ``bulk_create``, ``update`` and raw SQL, which send no signals.

    Takes a queryset of a registered model; returns how many images were noted. Memory stays constant. It is part of
    the present transaction, if there is one; the workers wake after it. Raises ImproperlyConfigured for a model that
    is not registered.
    """
    index = registry.index_for(queryset.model._meta.concrete_model or queryset.model)
    using = router.db_for_write(index.model)
    noted = sum(changes.note(index, keys, using=using) for keys in keys_of(queryset))
    changes.wake(using)
    return noted


def _source(entry: IndexEntry) -> tuple[str, str]:
    return entry._state.db or "default", entry.index
