"""The outbox as workers use it: fold changes into entries, claim entries, and record what came of them.

Two rules keep it correct, whichever process dies at whichever moment. First, a change is noted in the transaction that
makes it (see ``shopsearch.models.outbox``), and folded into its index entry in one transaction, so no change is lost.
Second, only the worker that holds the entry's claim records what the store holds, and only after it has written to the
store. Every comparison of times uses the database's clock, so the workers' clocks may differ.

Only workers write these rows, in short transactions that lock entries in the order of their keys: locks are held
briefly, and there are no deadlocks. A database with a single writer refuses to turn a reader into a writer, so each
transaction begins with a write.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Collection as Several
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.db import connections, transaction
from django.db.models import Case, DurationField, ExpressionWrapper, F, PositiveIntegerField, Value, When
from django.db.models.functions import Greatest, Now

from shopsearch import registry
from shopsearch.conf import settings
from shopsearch.models import (
    CachedVector,
    Change,
    Collection,
    Hashes,
    IndexEntry,
    ProductChange,
    RelatedChange,
    StoredImage,
)
from shopsearch.models.outbox import noted_models

State = IndexEntry.State
MAX_ATTEMPTS = 10
"""An image is FAILED after this many attempts, whether they ended in an error or in the death of the worker."""
QUICK = 4
"""So many images that were indexed before are claimed instead of a new one: they rarely have to be embedded."""
FOLDED_AT_ONCE = 1_000
MAX_FOLDS = 10
"""How many times FOLDED_AT_ONCE changes are folded before entries are claimed: enough not to fall behind."""

_RELEASED = Case(When(state=State.CLAIMED, then=Value(State.PENDING)), default=F("state"))
"""The state of an entry that is given back: it keeps a change or a deletion that was noted during the claim."""


def has_due(*, beyond: int = 0) -> bool:
    """Whether a worker would find something to do now; with ``beyond``, more than that many entries or changes.

    One related row is always enough: it may have any number of images.
    """
    return any(
        model._default_manager.using(using).due()[first : first + 1].exists()
        for using in registry.databases()
        for model in (IndexEntry, *noted_models())
        for first in (0 if model is RelatedChange else beyond,)
    )


# Changes become entries.


def fold(limit: int = FOLDED_AT_ONCE) -> int:
    """Turn up to ``limit`` due changes of each database into due entries, and up to ``limit`` images of related rows.

    Returns how many were folded. Safe beside other workers that fold, and beside transactions that note more changes.
    """
    return sum(_fold(using, limit) + _fold_related(using, limit) for using in registry.databases())


def _fold(using: str, limit: int) -> int:
    every = Change.objects.using(using)
    columns = ("pk", "index", "image_id", "is_deletion")
    if not every.due().exists():  # read outside of the transaction, so that it never waits for a lock
        return 0
    token = uuid.uuid4()
    with transaction.atomic(using=using):
        if connections[using].features.has_select_for_update_skip_locked:
            taken = list(every.due().select_for_update(skip_locked=True).values_list(*columns)[:limit])
        else:
            every.filter(pk__in=every.due().values("pk")[:limit]).update(token=token)
            taken = list(every.filter(token=token).order_by("pk").values_list(*columns))
        last = {(index, image): is_deletion for _, index, image, is_deletion in taken}
        written = _write(using, last, token)
        folded = [pk for pk, index, image, _ in taken if (index, image) in written]
        every.filter(pk__in=folded).delete()
    return len(folded)


def _fold_related(using: str, limit: int) -> int:
    """Fold up to ``limit`` images of related rows, the oldest change first. Changes of images do not wait for them.

    A change without images counts as one.
    """
    folded = 0
    while folded < limit and (count := _fold_slice(using, limit - folded)) is not None:
        folded += max(1, count)
    return folded


def _fold_slice(using: str, limit: int) -> int | None:
    """Fold the next images of one related row, and record how far it got, in one transaction. None if no row is due."""
    every = RelatedChange.objects.using(using)
    if not every.due().exists():
        return None
    token = uuid.uuid4()
    with transaction.atomic(using=using):
        if connections[using].features.has_select_for_update_skip_locked:
            related = every.due().select_for_update(skip_locked=True).first()
        else:
            every.filter(pk__in=every.due().values("pk")[:1]).update(token=token)
            related = every.filter(token=token).first()
        if related is None:  # other workers hold all of them
            return None
        if not related.reached:
            _drop_repetitions(using, related)
        keys = list(related.images()[: limit + 1])
        images = {(related.index, str(key)): False for key in keys[:limit]}
        missed = images.keys() - _write(using, images, token)
        index = registry.get_index(related.index)
        Change.objects.note(index, [image_id for _, image_id in missed], using=using)
        if len(keys) > limit:
            every.filter(pk=related.pk).update(reached=str(keys[limit - 1]))
        else:
            if index.finds_pictureless:
                ProductChange.objects.note_at(index, related.lookup, [related.row_id], using)
            related.delete()
    return len(images)


def _drop_repetitions(using: str, related: RelatedChange) -> None:
    """Drop the later changes of a row whose images are about to be read for the first time: this read covers them.

    A change that is folded half-way is not dropped: otherwise a row that is saved again and again never gets finished.
    """
    same = (
        RelatedChange.objects.using(using)
        .due()
        .filter(index=related.index, lookup=related.lookup, row_id=related.row_id, reached="")
        .exclude(pk=related.pk)
    )
    if connections[using].features.has_select_for_update_skip_locked:
        same = same.select_for_update(skip_locked=True)
    RelatedChange.objects.using(using).filter(pk__in=[each.pk for each in same[:FOLDED_AT_ONCE]]).delete()


def _write(using: str, images: Mapping[tuple[str, str], bool], token: uuid.UUID) -> set[tuple[str, str]]:
    """Make the entries of these images, given by index and id, due. Returns those that were written.

    Rows are inserted in the order of their ids and then locked in the order of their keys, so there are no deadlocks.
    """
    every = IndexEntry.objects.using(using)
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for index, image_id in images:
        ids[index].add(image_id)

    def known() -> dict[tuple[str, str], int]:
        return {
            (index, image_id): pk
            for index, wanted in ids.items()
            for image_id, pk in every.filter(index=index, image_id__in=wanted).values_list("image_id", "pk")
        }

    entries = known()
    if new := sorted(images.keys() - entries.keys()):
        every.bulk_create(
            [IndexEntry(index=index, image_id=image_id) for index, image_id in new], ignore_conflicts=True
        )
        entries = known()
    # If another worker has removed an entry since it was read, its change stays and is folded next time.
    locked = set(_lock(using, entries.values()))
    written = {image: pk for image, pk in entries.items() if pk in locked}
    for is_deletion, state in ((False, State.PENDING), (True, State.DELETING)):
        # A claim and its lease stay: the worker that has it sees the new version when it settles. Its attempts stay
        # too, as that worker may be dead.
        every.filter(pk__in=[pk for image, pk in written.items() if images[image] is is_deletion]).update(
            version=token,
            state=state,
            attempts=Case(
                When(claim=None, then=Value(0)), default=F("attempts"), output_field=PositiveIntegerField()
            ),
            error="",
            changed_at=Now(),
        )
    return set(written)


# Claiming.


def claim(limit: int) -> list[IndexEntry]:
    """Take up to ``limit`` due entries for LEASE_SECONDS; no other worker gets them in that time. Folds changes first.

    Of images that were indexed before, up to QUICK times as many, unless a collection of their index is being filled.
    An entry that is to be deleted keeps its state; every other is CLAIMED. An entry whose worker died can be claimed
    again when its lease has run out; see ``_claimed_together``. One that ``has_killed`` its workers must not be tried
    again.
    """
    for _ in range(MAX_FOLDS):
        if fold() < FOLDED_AT_ONCE:
            break
    aliases = registry.databases()
    share = max(1, limit // max(1, len(aliases)))
    return [entry for using in aliases for entry in _claim(using, share)]


def _claim(using: str, limit: int) -> list[IndexEntry]:
    every = IndexEntry.objects.using(using)
    # Read outside of the transaction, so that it never waits for a lock.
    first = every.due().values_list("indexed_at", flat=True)[:1]
    if not first:
        return []
    most, filling = limit, set[str]()
    if first[0]:
        most = limit * QUICK
        filling.update(Collection.objects.using(using).unfinished().values_list("index", flat=True))
    token = uuid.uuid4()
    with transaction.atomic(using=using):
        due = every.due()
        if connections[using].features.has_select_for_update_skip_locked:
            due = due.select_for_update(skip_locked=True)
        else:
            every.filter(pk__in=due.values("pk")[:1]).update(claim=F("claim"))
        # The columns that a worker reads; no other worker changes them, as the rows are locked.
        due = due.only("index", "image_id", "version", "state", "claim", "attempts", "indexed_at")
        taken = _claimed_together(_one_batch(due[:most], limit, filling), limit)
        every.filter(pk__in=[entry.pk for entry in taken]).update(
            state=Case(When(state=State.DELETING, then=F("state")), default=Value(State.CLAIMED)),
            claim=token,
            available_at=_lease_end(),
            attempts=F("attempts") + 1,
        )
    for entry in taken:
        entry.has_killed = _has_killed(entry)
        entry.claim = token
        entry.attempts += 1
        if entry.state != State.DELETING:
            entry.state = State.CLAIMED
    return taken


def _one_batch(due: Iterable[IndexEntry], limit: int, filling: Several[str]) -> list[IndexEntry]:
    """As many of the due entries as ``claim`` allows; ``filling``: the indexes with a collection that is filled."""
    batch, room = [], limit * QUICK
    for entry in due:
        room -= 1 if entry.indexed_at and entry.index not in filling else QUICK
        if room < 0:
            break
        batch.append(entry)
    return batch


def _claimed_together(due: list[IndexEntry], limit: int) -> list[IndexEntry]:
    """Choose which of the due entries are claimed together.

    An entry that is due although it has a claim belonged to a worker that died, perhaps because of this image. Such
    entries are claimed separately from the others, and half as many after each attempt. The last attempt at any entry
    is made with that entry alone.
    """
    suspects = [entry for entry in due if entry.claim or entry.attempts >= MAX_ATTEMPTS - 1]
    if not suspects:
        return due
    suspects.sort(key=lambda entry: -entry.attempts)
    most = suspects[0].attempts
    return suspects[: 1 if most >= MAX_ATTEMPTS - 1 else max(1, limit >> most)]


def _has_killed(due: IndexEntry) -> bool:
    """Whether a worker died in the last attempt, when it had only this image.

    An image that has changed since, and is therefore PENDING, gets another attempt.
    """
    return bool(due.claim) and due.attempts >= MAX_ATTEMPTS and due.state != State.PENDING


def _lease_end() -> Any:
    return Now() + timedelta(seconds=settings.LEASE_SECONDS)


# What a worker records about entries of one database that it claimed together.


@dataclass(frozen=True, slots=True, kw_only=True)
class Settlement:
    """The outcome of an entry."""

    entry: IndexEntry
    stored: Mapping[Collection, Hashes | None] | None = None
    """The image's hashes as these collections hold them now; None where that is unknown. The others are unchanged.

    None instead of a mapping: no collection holds the image any more.
    """
    error: str = ""
    """Why the image FAILED. With a mapping in ``stored``, the collections keep what they hold of it."""
    file_versions: Mapping[str, str] = field(default_factory=dict)
    """By the hash of a file: its version."""
    outdated: Several[int] = ()
    """The keys of cached vectors that no collection needs any more."""


def renew(entries: Sequence[IndexEntry], collections: Iterable[Collection] | None = None) -> list[IndexEntry]:
    """The entries whose claims still hold, with a fresh lease: call it right before writing to the store.

    From here until the entries are settled, the rows say "unknown" for what these collections hold of the images; for
    all collections where ``collections`` is None.
    """
    if not entries:
        return []
    using = _database_of(entries)
    with transaction.atomic(using=using):
        held = _held(using, entries)
        IndexEntry.objects.using(using).filter(pk__in=held).update(available_at=_lease_end())
        doubtful = StoredImage.objects.using(using).filter(entry__in=held)
        if collections is not None:
            doubtful = doubtful.filter(collection__in=[each.pk for each in collections])
        doubtful.update(image_hash="", fields_hash="")
    return [entry for entry in entries if entry.pk in held]


def settle(settlements: Sequence[Settlement]) -> None:
    """Record what the store holds of these images now.

    An entry that changed since it was claimed is due again at once. If a claim was lost, our write may have replaced a
    newer one: what the rows say about that image is discarded, and it is indexed again.
    """
    if not settlements:
        return
    using = _database_of([each.entry for each in settlements])
    with transaction.atomic(using=using):
        held = _held(using, [each.entry for each in settlements])
        ours = [each for each in settlements if each.entry.pk in held]
        finished = [each for each in ours if held[each.entry.pk] == each.entry.version]
        _record_stored(using, ours)
        _finish(using, finished)
        changed = {each.entry.pk for each in ours} - {each.entry.pk for each in finished}
        _release(using, changed, attempts=0)
        outdated = [pk for each in ours for pk in each.outdated]
        CachedVector.objects.using(using).filter(pk__in=outdated).delete()
    for each in settlements:
        if each.entry.pk not in held:
            _void(using, each.entry)


def postpone(entries: Sequence[IndexEntry], error: str, *, is_outage: bool = False) -> None:
    """Try these again later: after 1, 2, 4 … MAX_BACKOFF_SECONDS, by attempts. Until then ``error`` says why they wait.

    An outage does not count as an attempt, however long it lasts: the wait is then the time since the entry changed,
    within the same bounds. An entry whose claim was lost is indexed again: the store may have carried out a write that
    it answered with an error.
    """
    if not entries:
        return
    using = _database_of(entries)
    values: dict[str, Any] = {"error": error}
    if is_outage:
        values["attempts"] = Greatest(F("attempts") - 1, 0)
        waits = _ages(using, entries)
    else:
        waits = {entry.pk: 2.0 ** min(entry.attempts - 1, 20) for entry in entries}
    with transaction.atomic(using=using):
        held = _held(using, entries)
        together: defaultdict[int, list[int]] = defaultdict(list)
        for pk in held:
            together[round(min(max(1, waits.get(pk, 1)), settings.MAX_BACKOFF_SECONDS))].append(pk)
        for seconds, pks in together.items():
            _release(using, pks, available_at=Now() + timedelta(seconds=seconds), **values)
        changed = [entry.pk for entry in entries if held.get(entry.pk, entry.version) != entry.version]
        IndexEntry.objects.using(using).filter(pk__in=changed).update(attempts=0)
    for entry in entries:
        if entry.pk not in held:
            _void(using, entry)


def _database_of(entries: Sequence[IndexEntry]) -> str:
    return entries[0]._state.db or "default"


def _held(using: str, entries: Sequence[IndexEntry]) -> dict[int, uuid.UUID]:
    """The current versions of the entries whose claims still hold, locked until the transaction ends."""
    claim = entries[0].claim
    every = IndexEntry.objects.using(using)
    rows = every.filter(pk__in=[entry.pk for entry in entries], claim=claim)
    if connections[using].features.has_select_for_update:
        rows = rows.order_by("pk").select_for_update()
    else:
        every.filter(pk=entries[0].pk).update(claim=F("claim"))
    return dict(rows.values_list("pk", "version"))


def _record_stored(using: str, settlements: Sequence[Settlement]) -> None:
    rows = StoredImage.objects.using(using)
    unknown: defaultdict[Collection, list[int]] = defaultdict(list)
    known: list[StoredImage] = []
    for each in settlements:
        for collection, hashes in (each.stored or {}).items():
            if hashes is None:
                unknown[collection].append(each.entry.pk)
                continue
            known.append(
                StoredImage(
                    entry_id=each.entry.pk,
                    collection_id=collection.pk,
                    generation=collection.generation,
                    image_hash=hashes.image,
                    fields_hash=hashes.fields,
                    file_version=each.file_versions.get(hashes.image, ""),
                )
            )
    rows.bulk_create(
        known,
        update_conflicts=True,
        unique_fields=("collection", "entry"),
        update_fields=("generation", "image_hash", "fields_hash", "file_version"),
    )
    for collection, pks in unknown.items():
        rows.filter(collection=collection, entry__in=pks).delete()
    if gone := [each.entry.pk for each in settlements if each.stored is None]:
        rows.filter(entry__in=gone).delete()


def _finish(using: str, settlements: Sequence[Settlement]) -> None:
    """Bring to rest the entries that have not changed since they were claimed."""
    rows = IndexEntry.objects.using(using)
    rest: dict[str, Any] = {"claim": None, "available_at": Now()}
    indexed = [each.entry.pk for each in settlements if each.stored is not None and not each.error]
    rows.filter(pk__in=indexed).update(**rest, state=State.INDEXED, error="", indexed_at=Now())
    failed = [each for each in settlements if each.error]
    for error in {each.error for each in failed}:
        pks = [each.entry.pk for each in failed if each.error == error]
        rows.filter(pk__in=pks).update(**rest, state=State.FAILED, error=error)
    if gone := [each.entry.pk for each in settlements if each.stored is None and not each.error]:
        rows.filter(pk__in=gone).delete()


def _release(using: str, pks: Several[int], **values: Any) -> None:
    """Give entries back, to be claimed again."""
    if pks:
        rows = IndexEntry.objects.using(using).filter(pk__in=pks)
        rows.update(**{"claim": None, "state": _RELEASED, "available_at": Now(), **values})


def _ages(using: str, entries: Iterable[IndexEntry]) -> dict[int, float]:
    """By key: how many seconds ago the entry changed, by the database's clock."""
    rows = IndexEntry.objects.using(using).filter(pk__in=[entry.pk for entry in entries])
    aged = rows.annotate(age=ExpressionWrapper(Now() - F("changed_at"), DurationField()))
    return {pk: age.total_seconds() for pk, age in aged.values_list("pk", "age")}


def _void(using: str, entry: IndexEntry) -> None:
    """Void any claim on the image, and have it indexed again: we do not know whose write came last."""
    rows = IndexEntry.objects.using(using).filter(index=entry.index, image_id=entry.image_id)
    marks: dict[str, Any] = {"state": State.PENDING, "attempts": 0, "error": "", "changed_at": Now()}
    with transaction.atomic(using=using):
        if not rows.update(version=uuid.uuid4(), claim=None, **marks):
            Change.objects.note(registry.get_index(entry.index), [entry.image_id], using=using)
        StoredImage.objects.using(using).filter(entry__in=rows).delete()
        cached = CachedVector.objects.using(using)
        cached.filter(index=entry.index, image_id=entry.image_id).delete()


# What rebuilding and reconciling do with entries that no worker has claimed.


def look_again(using: str, pks: Iterable[int]) -> int:
    """Make the entries that are at rest due; the others are due already. Returns how many were at rest."""
    with transaction.atomic(using=using):
        rows = IndexEntry.objects.using(using).filter(pk__in=_lock(using, pks)).at_rest()
        return rows.update(
            state=State.PENDING,
            version=uuid.uuid4(),
            attempts=0,
            error="",
            changed_at=Now(),
            available_at=Now(),
        )


def discard_stored(collection: Collection, pks: Iterable[int]) -> None:
    """Discard what the rows say the collection holds of the INDEXED ones of these images, and index those again.

    Their files are read, whatever version other collections know.
    """
    using = collection._state.db or "default"
    token = uuid.uuid4()
    with transaction.atomic(using=using):
        rows = IndexEntry.objects.using(using).filter(pk__in=_lock(using, pks), state=State.INDEXED)
        rows.update(state=State.PENDING, version=token, attempts=0, available_at=Now())
        stored = StoredImage.objects.using(using).filter(entry__version=token)
        stored.filter(collection=collection).delete()
        stored.exclude(file_version="").update(file_version="")


def _lock(using: str, pks: Iterable[int]) -> list[int]:
    """Lock the entries that still exist until the transaction ends, and return their keys."""
    if not connections[using].features.has_select_for_update:
        return list(pks)
    rows = IndexEntry.objects.using(using).filter(pk__in=list(pks)).order_by("pk").select_for_update()
    return list(rows.values_list("pk", flat=True))
