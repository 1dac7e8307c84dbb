"""The outbox: which images the vector store has still to learn about, who is at it, and what came of it.

Two rules keep it right whatever dies when. A row is written in the transaction that changes the image, so nothing is
forgotten; and what the row says of the store is only ever written by the worker that holds its claim, after the
store has been written. Every comparison of time uses the database's clock, so workers need not agree on theirs.

No function here waits for a row while it holds another: a shop's transaction may hold that row, and would be the
victim of the deadlock. Rows that are locked are left to that transaction's own wake-up, or to the lease.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any

from django.db import connections, router, transaction
from django.db.models import Case, Count, F, QuerySet, Value, When
from django.db.models.functions import Now

from shopsearch import registry
from shopsearch.conf import settings
from shopsearch.models import IndexEntry
from shopsearch.registry import ImageIndex

State = IndexEntry.State
NOT_AT_REST = (State.PENDING, State.DELETING, State.CLAIMED)
CHUNK = 1_000
"""Rows written by one statement."""

_LET_GO = Case(When(state=State.CLAIMED, then=Value(State.PENDING)), default=F("state"))
"""The state of a row that is due again: a change or a deletion noted meanwhile stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What the store holds of an image now. Without a collection: nothing. With an error: nothing, and why."""

    entry: IndexEntry
    image_hash: str = ""
    fields_hash: str = ""
    collection: str = ""
    error: str = ""


# What the shop's side writes.


def mark(index: ImageIndex, image_ids: Iterable[object], *, using: str | None = None) -> int:
    """These images have changed, or may have: the store is brought in line with them. Returns how many."""
    return _write(index, image_ids, State.PENDING, using)


def mark_deleted(index: ImageIndex, image_ids: Iterable[object], *, using: str | None = None) -> int:
    """These images are gone: the store forgets them. Returns how many."""
    return _write(index, image_ids, State.DELETING, using)


def mark_all(index: ImageIndex) -> int:
    """Mark every image the index shows, and every one it ever knew, so that ghosts go too. Returns how many."""
    using = router.db_for_write(index.model)
    _mark_rows(_rows(index, using))
    for ids in keys(index.get_queryset().using(using)):
        IndexEntry.objects.using(using).bulk_create(
            [IndexEntry(index=index.name, image_id=str(image_id)) for image_id in ids], ignore_conflicts=True
        )
    return _rows(index, using).count()


def mark_failed_again(index: ImageIndex) -> int:
    """Try once more what failed for good. Returns how many."""
    return _mark_rows(_rows(index, router.db_for_write(index.model)).filter(state=State.FAILED))


def keys(queryset: QuerySet[Any]) -> Iterator[list[Any]]:
    """The queryset's primary keys, in chunks and in constant memory.

    By comparison with the last key rather than by a cursor: a cursor that is open while rows are written makes
    SQLite answer "database is locked" as soon as another process writes too.
    """
    if queryset.query.is_sliced or queryset.query.combinator:
        yield from _chunks(queryset.values_list("pk", flat=True))
        return
    ordered = queryset.order_by("pk").values_list("pk", flat=True)
    found = list(ordered[:CHUNK])
    while found:
        yield found
        found = list(ordered.filter(pk__gt=found[-1])[:CHUNK])


# What the workers' side does.


def has_due(*, beyond: int = 0) -> bool:
    """Whether a worker would find something to do now; with ``beyond``, more than so many rows."""
    return any(_due(using)[beyond : beyond + 1].exists() for using in databases())


def claim(limit: int) -> list[IndexEntry]:
    """Take up to so many due rows for LEASE_SECONDS; no other worker gets them in that time.

    A row that is to be deleted keeps its state; every other is CLAIMED. A row whose worker died comes back when its
    lease has run out.
    """
    aliases = databases()
    share = max(1, limit // max(1, len(aliases)))
    return [entry for using in aliases for entry in _claim(using, share)]


def renew(entries: Sequence[IndexEntry]) -> list[IndexEntry]:
    """The rows whose claims still hold, with a fresh lease: call it right before writing to the store.

    From here until a row is settled nothing is known of what the store holds of it: its hashes are blank, so a worker
    that dies in between leaves no hash that belongs to another picture.
    """
    held: list[IndexEntry] = []
    for using, mine in _by_database(entries):
        with transaction.atomic(using=using):
            free = _free(using, (entry.pk for entry in mine))
            rows = IndexEntry.objects.using(using).filter(pk__in=free, claim=mine[0].claim)
            rows.update(available_at=_lease_end(), image_hash="", fields_hash="")
            alive = set(rows.values_list("pk", flat=True))
        held += [entry for entry in mine if entry.pk in alive]
    return held


def settle(settlements: Sequence[Settlement]) -> None:
    """Record what the store holds of these images now.

    A row that was marked meanwhile is due again at once. One whose claim was lost may have been overwritten by us
    with something older: it is marked, and nothing is believed of it.
    """
    by_pk = {each.entry.pk: each for each in settlements}
    for using, mine in _by_database([each.entry for each in settlements]):
        with transaction.atomic(using=using):
            free = _free(using, (entry.pk for entry in mine))
            lost = [entry for entry in mine if entry.pk in free and not _settle(using, by_pk[entry.pk])]
        locked = [entry for entry in mine if entry.pk not in free]
        still = IndexEntry.objects.using(using).filter(
            pk__in=[entry.pk for entry in locked], claim=mine[0].claim
        )
        ours = set(still.values_list("pk", flat=True))
        for entry in [*lost, *(entry for entry in locked if entry.pk not in ours)]:
            _doubt(using, entry)


def postpone(entries: Sequence[IndexEntry], error: str) -> None:
    """Try these again later: after 1, 2, 4 … MAX_BACKOFF_SECONDS, by attempts. The error says why meanwhile."""
    for using, mine in _by_database(entries):
        with transaction.atomic(using=using):
            free = _free(using, (entry.pk for entry in mine))
            for entry in mine:
                if entry.pk in free:
                    delay = timedelta(
                        seconds=min(2 ** min(entry.attempts - 1, 20), settings.MAX_BACKOFF_SECONDS)
                    )
                    IndexEntry.objects.using(using).filter(pk=entry.pk, claim=entry.claim).update(
                        state=_LET_GO, available_at=Now() + delay, claim=None, error=error
                    )


def counts() -> dict[str, dict[str, int]]:
    """How many rows of each index are in each state; every registered index and every state is there."""
    table = {index.name: dict.fromkeys(State.values, 0) for index in registry.get_indexes()}
    for using in databases():
        rows = IndexEntry.objects.using(using).values_list("index", "state").annotate(Count("pk")).order_by()
        for name, state, count in rows:
            states = table.setdefault(name, dict.fromkeys(State.values, 0))
            states[state] += count
    return table


def databases() -> list[str]:
    """The aliases of the databases whose transactions write outbox rows: those the indexed models live in."""
    return sorted({router.db_for_write(index.model) for index in registry.get_indexes()})


def _rows(index: ImageIndex, using: str) -> QuerySet[IndexEntry]:
    return IndexEntry.objects.using(using).filter(index=index.name)


def _write(
    index: ImageIndex, image_ids: Iterable[object], state: str, using: str | None, **values: str
) -> int:
    using = using or router.db_for_write(index.model)
    # Sorted, so that two transactions that mark the same images take the rows in one order.
    ids = sorted({str(image_id) for image_id in image_ids})
    target = connections[using].features.supports_update_conflicts_with_target
    for chunk in _chunks(ids):
        # A claim and its lease stay: the worker that is at it sees the new version when it settles.
        IndexEntry.objects.using(using).bulk_create(
            [IndexEntry(index=index.name, image_id=image_id, state=state, **values) for image_id in chunk],
            update_conflicts=True,
            unique_fields=("index", "image_id") if target else None,
            update_fields=("version", "state", "attempts", "error", "changed_at", *values),
        )
    return len(ids)


def _mark_rows(rows: QuerySet[IndexEntry]) -> int:
    every = IndexEntry.objects.using(rows.db)
    marks: dict[str, Any] = {"state": State.PENDING, "attempts": 0, "error": "", "changed_at": Now()}
    marked = 0
    for pks in keys(rows):
        with transaction.atomic(using=rows.db):
            free = _free(rows.db, pks)
            marked += every.filter(pk__in=free).update(version=uuid.uuid4(), **marks)
        for pk in pks:
            if pk not in free:
                marked += every.filter(pk=pk).update(version=uuid.uuid4(), **marks)
    return marked


def _due(using: str) -> QuerySet[IndexEntry]:
    # Rows of an index that this process does not know are left to one that does, as during a deployment.
    names = [index.name for index in registry.get_indexes()]
    return IndexEntry.objects.using(using).filter(
        index__in=names, state__in=NOT_AT_REST, available_at__lte=Now()
    )


def _lease_end() -> Any:
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


def _claim(using: str, limit: int) -> list[IndexEntry]:
    token = uuid.uuid4()
    taking: dict[str, Any] = {
        "state": Case(When(state=State.DELETING, then=F("state")), default=Value(State.CLAIMED)),
        "claim": token,
        "available_at": _lease_end(),
        "attempts": F("attempts") + 1,
    }
    every = IndexEntry.objects.using(using)
    if connections[using].features.has_select_for_update_skip_locked:
        with transaction.atomic(using=using):
            taken = list(_due(using).select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
            every.filter(pk__in=taken).update(**taking)
            return list(every.filter(pk__in=taken))
    # One statement, so that a database with a single writer need not be asked to upgrade a reader to it.
    every.filter(pk__in=_due(using).values("pk")[:limit]).update(**taking)
    # State and time are given for the sake of the index on them; a row may have been marked since.
    return list(every.filter(state__in=NOT_AT_REST, available_at__gt=Now(), claim=token))


def _free(using: str, pks: Iterable[Any]) -> set[Any]:
    """Lock those of the rows that nobody else has locked, until the transaction ends."""
    if not connections[using].features.has_select_for_update_skip_locked:
        return set(pks)
    rows = IndexEntry.objects.using(using).filter(pk__in=list(pks)).select_for_update(skip_locked=True)
    return set(rows.values_list("pk", flat=True))


def _settle(using: str, settlement: Settlement) -> bool:
    """Whether the claim still held."""
    entry = settlement.entry
    mine = IndexEntry.objects.using(using).filter(pk=entry.pk, claim=entry.claim)
    unchanged = mine.filter(version=entry.version)
    held: dict[str, Any] = {
        "image_hash": settlement.image_hash,
        "fields_hash": settlement.fields_hash,
        "collection": settlement.collection,
        "available_at": Now(),
        "claim": None,
    }
    if settlement.error:
        settled = unchanged.update(**held, state=State.FAILED, error=settlement.error)
    elif settlement.collection:
        settled = unchanged.update(**held, state=State.INDEXED, error="", indexed_at=Now())
    else:
        settled = unchanged.delete()[0]
    return bool(settled or mine.update(**held, state=_LET_GO))


def _doubt(using: str, entry: IndexEntry) -> None:
    _write(registry.get_index(entry.index), [entry.image_id], State.PENDING, using, image_hash="")


def _by_database(entries: Sequence[IndexEntry]) -> Iterator[tuple[str, list[IndexEntry]]]:
    """Rows that were claimed together: one database, one claim."""
    claims: dict[tuple[str, uuid.UUID | None], list[IndexEntry]] = {}
    for entry in entries:
        claims.setdefault((entry._state.db or "default", entry.claim), []).append(entry)
    for (using, _), mine in claims.items():
        yield using, sorted(mine, key=lambda entry: entry.pk)


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(values)
    while chunk := list(islice(iterator, CHUNK)):
        yield chunk
