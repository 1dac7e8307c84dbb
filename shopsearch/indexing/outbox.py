"""The outbox: which images the vector store has still to learn about, who is at it, and what came of it.

Two rules keep it right whatever dies when. First, a change is noted in the transaction that makes it (see
``shopsearch.models.outbox``), and folded into its index entry in one transaction, so nothing is forgotten. Second, what
a row says of the store is only written by the worker that holds its claim, after the store has been written. Every
comparison of time uses the database's clock, so workers need not agree on theirs.

Only workers write these rows, in short transactions that lock them in the order of their keys: nobody waits for long,
and no two wait for each other.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Case, Count, DurationField, ExpressionWrapper, F, Value, When
from django.db.models.functions import Greatest, Now

from shopsearch import registry
from shopsearch.conf import settings
from shopsearch.indexing import vector_cache
from shopsearch.models import Change, IndexEntry, KeptVector
from shopsearch.registry import ImageIndex

State = IndexEntry.State
FOLDED_AT_ONCE = 1_000
FOLDS = 10
"""How often FOLDED_AT_ONCE changes are folded before rows are claimed: enough not to fall behind."""

_LET_GO = Case(When(state=State.CLAIMED, then=Value(State.PENDING)), default=F("state"))
"""The state of a row that is due again: a change or a deletion noted meanwhile stays."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """What the store's collections hold of an image now; nothing at all, with an error, for what it says."""

    entry: IndexEntry
    held: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """As in ``IndexEntry.held``."""
    error: str = ""
    forgotten: Collection[int] = ()
    """The keys of kept vectors that nobody needs any more."""


def has_due(*, beyond: int = 0) -> bool:
    """Whether a worker would find something to do now; with ``beyond``, more than so many rows or changes."""
    return any(
        model.objects.using(using).due()[beyond : beyond + 1].exists()
        for using in registry.databases()
        for model in (IndexEntry, Change)
    )


def fold(limit: int = FOLDED_AT_ONCE) -> int:
    """Make up to so many due changes of each database index entries that are due. Returns how many were folded.

    Safe beside other workers that do the same, and beside transactions that note more.
    """
    return sum(_fold(using, limit) for using in registry.databases())


def _fold(using: str, limit: int) -> int:
    if (
        not Change.objects.using(using).due().exists()
    ):  # asked outside of a transaction: one that only reads waits for nobody
        return 0
    token = uuid.uuid4()
    every = Change.objects.using(using)
    with transaction.atomic(using=using):
        if connections[using].features.has_select_for_update_skip_locked:
            taken = list(every.due().select_for_update(skip_locked=True)[:limit])
        else:
            # Begun with a write, since a database with a single writer does not make one of a reader.
            every.filter(pk__in=every.due().values("pk")[:limit]).update(token=token)
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


def claim(limit: int) -> list[IndexEntry]:
    """Take up to so many due rows for LEASE_SECONDS; no other worker gets them in that time. Folds changes first.

    A row that is to be deleted keeps its state; every other is CLAIMED. A row whose worker died comes back when its
    lease has run out.
    """
    for _ in range(FOLDS):
        if fold() < FOLDED_AT_ONCE:
            break
    aliases = registry.databases()
    share = max(1, limit // max(1, len(aliases)))
    return [entry for using in aliases for entry in _claim(using, share)]


def renew(entries: Sequence[IndexEntry], keys: Collection[str] | None = None) -> list[IndexEntry]:
    """The rows whose claims still hold, with a fresh lease: call it right before writing to the store.

    From here until a row is settled nothing is known of what these collections hold of it, or any at all: the hashes
    under their keys are null, so a worker that dies in between leaves no hash that belongs to another picture.
    """
    renewed: list[IndexEntry] = []
    for using, mine in _by_database(entries):
        with transaction.atomic(using=using):
            locked = _lock(using, (entry.pk for entry in mine))
            rows = IndexEntry.objects.using(using).filter(pk__in=locked, claim=mine[0].claim)
            rows.update(available_at=_lease_end())
            alive = set(rows.values_list("pk", flat=True))
            for doubted, doubtful in _doubted([entry for entry in mine if entry.pk in alive], keys):
                rows.filter(pk__in=[entry.pk for entry in doubtful]).update(held=doubted)
                for entry in doubtful:
                    entry.held = doubted
        renewed += [entry for entry in mine if entry.pk in alive]
    return renewed


def settle(settlements: Sequence[Settlement]) -> None:
    """Record what the store holds of these images now.

    A row that was marked meanwhile is due again at once. One whose claim was lost may have been overwritten by us
    with something older: it is marked, and nothing is believed of it.
    """
    by_pk = {each.entry.pk: each for each in settlements}
    for using, mine in _by_database([each.entry for each in settlements]):
        with transaction.atomic(using=using):
            locked = _lock(using, (entry.pk for entry in mine))
            lost = [entry for entry in mine if entry.pk not in locked or not _settle(using, by_pk[entry.pk])]
            forgotten = [key for entry in mine for key in by_pk[entry.pk].forgotten]
            KeptVector.objects.using(using).filter(pk__in=forgotten).delete()
        for entry in lost:
            _doubt(using, entry)


def look_again(using: str, pks: Iterable[int]) -> int:
    """Make those of the rows due that are at rest; the others are looked at anyway. Returns how many were."""
    rows = IndexEntry.objects.using(using).at_rest()
    with transaction.atomic(using=using):
        locked = rows.filter(pk__in=_lock(using, pks))
        return locked.update(
            state=State.PENDING,
            version=uuid.uuid4(),
            attempts=0,
            error="",
            changed_at=Now(),
            available_at=Now(),
        )


def forget(using: str, pks: Iterable[int], key: str) -> int:
    """These rows hold nothing under this key after all: those at rest are looked at again. Returns how many were."""
    rows = IndexEntry.objects.using(using).filter(state=State.INDEXED)
    with transaction.atomic(using=using):
        chosen = list(rows.filter(pk__in=_lock(using, pks)))
        for entry in chosen:
            held = {each: hashes for each, hashes in entry.held.items() if each != key}
            rows.filter(pk=entry.pk).update(
                held=held, state=State.PENDING, version=uuid.uuid4(), attempts=0, available_at=Now()
            )
    return len(chosen)


def postpone(entries: Sequence[IndexEntry], error: str, *, is_outage: bool = False) -> None:
    """Try these again later: after 1, 2, 4 … MAX_BACKOFF_SECONDS, by attempts. The error says why meanwhile.

    An outage is no attempt, however long it lasts: these wait as long again as since they changed, within the same
    bounds. One whose claim was lost is marked: a write may have taken effect although its answer was an error.
    """
    for using, mine in _by_database(entries):
        waits = (
            _ages(using, mine) if is_outage else {each.pk: 2.0 ** min(each.attempts - 1, 20) for each in mine}
        )
        values: dict[str, Any] = {"error": error}
        if is_outage:
            values["attempts"] = Greatest(F("attempts") - 1, 0)  # 0 already where it was marked meanwhile
        with transaction.atomic(using=using):
            locked = _lock(using, (entry.pk for entry in mine)) & waits.keys()
            lost = [
                entry
                for entry in mine
                if entry.pk not in locked or not _postpone(using, entry, waits[entry.pk], values)
            ]
        for entry in lost:
            _doubt(using, entry)


def counts() -> dict[str, dict[str, int]]:
    """How many images of each index are in each state; every registered index and every state is there.

    An image with a change that is not folded yet is pending, whatever its row says.
    """
    table = {index.name: dict.fromkeys(State.values, 0) for index in registry.get_indexes()}

    def add(name: str, state: str, count: int) -> None:
        table.setdefault(name, dict.fromkeys(State.values, 0))[state] += count

    for using in registry.databases():
        rows = IndexEntry.objects.using(using).order_by()
        for name, state, count in rows.values_list("index", "state").annotate(Count("pk")):
            add(name, state, count)
        noted = Change.objects.using(using).order_by()
        for name, images in noted.values_list("index").annotate(Count("image_id", distinct=True)):
            known = rows.filter(index=name, image_id__in=noted.filter(index=name).values("image_id"))
            for state, count in known.values_list("state").annotate(Count("pk")):
                images -= count
                if state not in IndexEntry.UNFINISHED:
                    add(name, state, -count)
                    add(name, State.PENDING, count)
            add(name, State.PENDING, max(0, images))
    return table


def waiting(indexes: Iterable[ImageIndex]) -> int:
    """How many images of these indexes the store has still to learn about."""
    table = counts()
    return sum(table[index.name][state] for index in indexes for state in IndexEntry.UNFINISHED)


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
            taken = list(every.due().select_for_update(skip_locked=True).values_list("pk", flat=True)[:limit])
            every.filter(pk__in=taken).update(**taking)
            return list(every.filter(pk__in=taken))
    # One statement, so that a database with a single writer need not be asked to upgrade a reader to it.
    every.filter(pk__in=every.due().values("pk")[:limit]).update(**taking)
    # State and time are given for the sake of the index on them; a row may have been marked since.
    return list(every.unfinished().filter(available_at__gt=Now(), claim=token))


def _lock(using: str, pks: Iterable[Any]) -> set[Any]:
    """Lock those of the rows that are still there, until the transaction ends."""
    if not connections[using].features.has_select_for_update:
        return set(pks)  # and read nothing: a database with a single writer does not make one of a reader
    rows = IndexEntry.objects.using(using).filter(pk__in=list(pks)).order_by("pk").select_for_update()
    return set(rows.values_list("pk", flat=True))


def _settle(using: str, settlement: Settlement) -> bool:
    """Whether the claim still held."""
    entry = settlement.entry
    mine = IndexEntry.objects.using(using).filter(pk=entry.pk, claim=entry.claim)
    unchanged = mine.filter(version=entry.version)
    known: dict[str, Any] = {"held": dict(settlement.held), "available_at": Now(), "claim": None}
    if settlement.error:
        settled = unchanged.update(**known, state=State.FAILED, error=settlement.error)
    elif settlement.held:
        settled = unchanged.update(**known, state=State.INDEXED, error="", indexed_at=Now())
    else:
        settled = unchanged.delete()[0]
    return bool(settled or mine.update(**known, state=_LET_GO))


def _postpone(using: str, entry: IndexEntry, wait: float, values: Mapping[str, Any]) -> bool:
    """Whether the claim still held."""
    delay = timedelta(seconds=min(max(1, wait), settings.MAX_BACKOFF_SECONDS))
    mine = IndexEntry.objects.using(using).filter(pk=entry.pk, claim=entry.claim)
    return bool(mine.update(**values, state=_LET_GO, available_at=Now() + delay, claim=None))


def _ages(using: str, entries: Iterable[IndexEntry]) -> dict[int, float]:
    """How many seconds ago they changed, of those that are still there; by the database's clock alone."""
    rows = IndexEntry.objects.using(using).filter(pk__in=[entry.pk for entry in entries])
    aged = rows.annotate(age=ExpressionWrapper(Now() - F("changed_at"), DurationField()))
    return {pk: age.total_seconds() for pk, age in aged.values_list("pk", "age")}


def _doubted(
    entries: Iterable[IndexEntry], keys: Collection[str] | None
) -> Iterator[tuple[dict[str, Any], list[IndexEntry]]]:
    """What is left of what the entries held, where that is less, and whose it is."""
    changed: dict[str, tuple[dict[str, Any], list[IndexEntry]]] = {}
    for entry in entries:
        left = {key: None if keys is None or key in keys else held for key, held in entry.held.items()}
        if left != entry.held:
            changed.setdefault(json.dumps(left, sort_keys=True), (left, []))[1].append(entry)
    yield from changed.values()


def _doubt(using: str, entry: IndexEntry) -> None:
    """Have it looked at again, and whoever is at it doubt as well: nobody knows whose write to the store came last."""
    rows = IndexEntry.objects.using(using).filter(index=entry.index, image_id=entry.image_id)
    marks: dict[str, Any] = {"state": State.PENDING, "attempts": 0, "error": "", "changed_at": Now()}
    with transaction.atomic(using=using):
        if not rows.update(version=uuid.uuid4(), claim=None, held={}, **marks):
            Change.objects.note(registry.get_index(entry.index), [entry.image_id], using=using)
        vector_cache.forget(entry.index, [entry.image_id], using=using)


def _by_database(entries: Sequence[IndexEntry]) -> Iterator[tuple[str, list[IndexEntry]]]:
    """Rows that were claimed together: one database, one claim."""
    claims: dict[tuple[str, uuid.UUID | None], list[IndexEntry]] = {}
    for entry in entries:
        claims.setdefault((entry._state.db or "default", entry.claim), []).append(entry)
    for (using, _), mine in claims.items():
        yield using, sorted(mine, key=lambda entry: entry.pk)
