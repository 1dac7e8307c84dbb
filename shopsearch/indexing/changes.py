"""Changes: the shop notes in its own transaction which images have changed; workers fold that into the outbox.

The shop's side only ever inserts, so its transactions wait for no one here. What a worker folds is an index entry
before the change is gone, in one transaction: whoever dies in between loses nothing.
"""

from __future__ import annotations

import logging
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import DatabaseError, connections, router, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from shopsearch import broker, registry
from shopsearch.indexing import changes
from shopsearch.models import Change, IndexEntry
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import chunks_of, keys_of

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 300
"""After so long, what was noted while paused is due by itself: the process may have been killed."""

FOLDED_AT_ONCE = 1_000

# What the shop's side notes.


def note(
    index: ImageIndex, image_ids: Iterable[object], *, is_deletion: bool = False, using: str | None = None
) -> int:
    """These images have changed, or may have: the store is brought in line with them. Returns how many.

    Part of the present transaction, if there is one. With ``is_deletion`` they are gone. Wakes nobody.
    """
    using = using or router.db_for_write(index.model)
    later = _pause_of(using)
    noted = 0
    for chunk in chunks_of(dict.fromkeys(str(image_id) for image_id in image_ids)):
        Change.objects.using(using).bulk_create(
            [
                Change(index=index.name, image_id=image_id, is_deletion=is_deletion, **later)
                for image_id in chunk
            ]
        )
        noted += len(chunk)
    return noted


def note_all(index: ImageIndex) -> int:
    """Every image the index shows, and every one it ever knew, so that ghosts go too. Returns how many."""
    entries = entries_of(index)
    return _note_entries(index, entries) + note_new(index, entries.db)


def note_new(index: ImageIndex, using: str) -> int:
    """Every image the index shows that has no row of the outbox. Returns how many."""
    noted = 0
    for keys in keys_of(index.get_queryset().using(using)):
        image_ids = {str(key) for key in keys}
        known = entries_of(index, using).filter(image_id__in=image_ids).values_list("image_id", flat=True)
        noted += note(index, sorted(image_ids - set(known)), using=using)
    return noted


def note_failed(index: ImageIndex) -> int:
    """What failed for good is tried once more. Returns how many."""
    return _note_entries(index, entries_of(index).filter(state=IndexEntry.State.FAILED))


def entries_of(index: ImageIndex, using: str = "") -> QuerySet[IndexEntry]:
    """The index's rows of the outbox."""
    return IndexEntry.objects.using(using or router.db_for_write(index.model)).filter(index=index.name)


def wake(using: str) -> None:
    """Wake the workers after the commit; once paused, at the end of the pause."""
    if _pause.get() is None:
        broker.wake_after_commit(using)


# Pausing.


@dataclass(slots=True)
class _Pause:
    token: uuid.UUID = field(default_factory=uuid.uuid4)
    databases: set[str] = field(default_factory=set)


_pause: ContextVar[_Pause | None] = ContextVar("shopsearch_pause", default=None)


@contextmanager
def paused() -> Iterator[None]:
    """For imports: what this thread changes meanwhile is indexed at the end, each image once.

    A process that is killed loses nothing: after PAUSE_SECONDS its changes are due by themselves. A pause within a
    pause is part of it. Not for the changes of other threads.
    """
    if _pause.get() is not None:
        yield
        return
    pause = _Pause()
    reset = _pause.set(pause)
    try:
        yield
    finally:
        _pause.reset(reset)
        for using in sorted(pause.databases):
            _end(pause, using)


def _pause_of(using: str) -> dict[str, Any]:
    if (pause := _pause.get()) is None:
        return {}
    pause.databases.add(using)
    return {"available_at": Now() + timedelta(seconds=PAUSE_SECONDS), "token": pause.token}


def _end(pause: _Pause, using: str) -> None:
    try:
        Change.objects.using(using).filter(token=pause.token).update(available_at=Now(), token=None)
    except DatabaseError as error:
        # Of a transaction that is to be rolled back, with all that was noted in it, or of a database that is away.
        logger.warning("What was noted while paused is due in %s seconds: %s", PAUSE_SECONDS, error)
    else:
        broker.wake_after_commit(using)


# What the workers' side does.


def databases() -> list[str]:
    """The aliases of the databases in which changes are noted: those the indexed models live in."""
    return sorted({router.db_for_write(index.model) for index in registry.get_indexes()})


def due(using: str) -> QuerySet[Change]:
    """The changes that may be folded now, the oldest first."""
    # Those of an index that this process does not know are left to one that does, as during a deployment.
    names = [index.name for index in registry.get_indexes()]
    changes = Change.objects.using(using).filter(index__in=names, available_at__lte=Now())
    return changes.order_by("pk")


def fold(limit: int = FOLDED_AT_ONCE) -> int:
    """Make up to so many due changes of each database index entries that are due. Returns how many were folded.

    Safe beside other workers that do the same, and beside transactions that note more.
    """
    return sum(_fold(using, limit) for using in databases())


def _fold(using: str, limit: int) -> int:
    if not due(using).exists():  # asked outside of a transaction: one that only reads waits for nobody
        return 0
    token = uuid.uuid4()
    every = Change.objects.using(using)
    with transaction.atomic(using=using):
        if connections[using].features.has_select_for_update_skip_locked:
            taken = list(due(using).select_for_update(skip_locked=True)[:limit])
        else:
            # Begun with a write, since a database with a single writer does not make one of a reader.
            every.filter(pk__in=due(using).values("pk")[:limit]).update(token=token)
            taken = list(every.filter(token=token).order_by("pk"))
        last = {(change.index, change.image_id): change.is_deletion for change in taken}
        written = _write(using, last, token)
        folded = [change.pk for change in taken if (change.index, change.image_id) in written]
        every.filter(pk__in=folded).delete()
    return len(folded)


def _write(using: str, images: Mapping[tuple[str, str], bool], token: uuid.UUID) -> set[tuple[str, str]]:
    """Have these images looked at, by index and id, or deleted. Returns those that were written.

    First the new rows in one order, then the locks in another: no two workers wait for each other.
    """
    every = IndexEntry.objects.using(using)
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for index, image_id in images:
        ids[index].add(image_id)
    wanted = {index: every.filter(index=index, image_id__in=image_ids) for index, image_ids in ids.items()}
    known = {row for rows in wanted.values() for row in rows.values_list("index", "image_id")}
    every.bulk_create(
        [IndexEntry(index=index, image_id=image_id) for index, image_id in sorted(images.keys() - known)],
        ignore_conflicts=True,
    )
    pks = [pk for rows in wanted.values() for pk in rows.values_list("pk", flat=True)]
    # One that a worker has removed in between is not here: its change stays, to be folded next.
    locked = {
        row.pk: (row.index, row.image_id)
        for row in every.filter(pk__in=pks).order_by("pk").select_for_update().only("index", "image_id")
    }
    for is_deletion, state in ((False, IndexEntry.State.PENDING), (True, IndexEntry.State.DELETING)):
        # A claim and its lease stay: the worker that is at it sees the new version when it settles.
        every.filter(pk__in=[pk for pk, image in locked.items() if images[image] is is_deletion]).update(
            version=token, state=state, attempts=0, error="", changed_at=Now()
        )
    return set(locked.values())


def _note_entries(index: ImageIndex, entries: QuerySet[IndexEntry]) -> int:
    using = entries.db
    noted = 0
    for pks in keys_of(entries):
        image_ids = entries.filter(pk__in=pks).values_list("image_id", flat=True)
        noted += note(index, list(image_ids), using=using)
    return noted


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
