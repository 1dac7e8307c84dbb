"""Filling: give the workers what a new collection lacks, and let it answer when it lacks nothing.

A few images at a time, so that no shopper's change waits behind a rebuild of millions and a pause takes effect at once.
What is left to do is in the database alone: whoever is killed, the next goes on.

Nothing is missed, although a worker may have asked for its targets before the collection was there. Workers ask after
they have claimed their rows, so such a row was there when the collection was: its key is at most ``ceiling``, the
highest one at that time, and it says nothing of the new collection when it is settled. The switch waits until no row up
to the ceiling lacks the new collection; one that does when it comes to rest is given to the workers again.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

from django.db import transaction
from django.db.models.functions import Now

from shopsearch import registry
from shopsearch.backends import get_vector_store
from shopsearch.conf import settings
from shopsearch.indexing import collections, outbox
from shopsearch.indexing.embedding import AWAY
from shopsearch.indexing.targets import targets_of
from shopsearch.models import Collection, IndexEntry
from shopsearch.models.outbox import IndexEntryQuerySet
from shopsearch.registry import ImageIndex, get_indexes
from shopsearch.registry.keys import chunks_of, keys_of

logger = logging.getLogger(__name__)
State = Collection.State
FEED = 4
"""So many batches of an index wait at most because of its rebuild."""
COUNTS = 5
"""So often the store is counted before a difference is believed: the shop's changes go on meanwhile."""


def advance() -> bool:
    """Give the workers what new collections still lack, and let those answer that lack nothing. Cheap where there is
    none. Returns whether there is something for the workers to do now.
    """
    fed = False
    for index, collection in _building():
        try:
            fed = _advance(index, collection) or fed
        except AWAY as error:
            logger.warning("%s waits: %s", collection.name, error)
    return fed


def _advance(index: ImageIndex, collection: Collection) -> bool:
    if not may_fill(index, collection) or _waiting(index, collection) > FEED * settings.BATCH_SIZE // 2:
        return False
    return bool(_feed(index, collection)) or _finish(index, collection)


def _building() -> Iterator[tuple[ImageIndex, Collection]]:
    known = {index.name: index for index in get_indexes()}
    for using in registry.databases():
        for collection in Collection.objects.using(using).building().filter(index__in=known):
            yield known[collection.index], collection


def done(index: ImageIndex, collection: Collection) -> int:
    """How many images it has."""
    return _entries_of(index, collection).filter(held__has_key=str(collection.pk)).count()


def may_fill(index: ImageIndex, collection: Collection) -> bool:
    """Whether this process knows what belongs into it; during a deployment an older one does not."""
    [target] = targets_of(index, [collection])
    return target.is_known


def obstacle(index: ImageIndex, collection: Collection) -> str:
    """What keeps it from being filled, as a sentence; "" where nothing does."""
    if collection.error or may_fill(index, collection):
        return collection.error
    return (
        f"{collection.name} is for another model or other filters than these settings name. Where those of no worker "
        "do either, `manage.py shopsearch_reindex --cancel` drops it."
    )


def _entries_of(index: ImageIndex, collection: Collection) -> IndexEntryQuerySet:
    return IndexEntry.objects.of(index, str(collection._state.db))


def _lacking(index: ImageIndex, collection: Collection) -> IndexEntryQuerySet:
    return _entries_of(index, collection).exclude(held__has_key=str(collection.pk))


def _waiting(index: ImageIndex, collection: Collection) -> int:
    rows = _entries_of(index, collection).unfinished()
    return rows.values("pk")[: FEED * settings.BATCH_SIZE].count()


def _feed(index: ImageIndex, collection: Collection) -> int:
    """Have the next few images looked at that it has not. Returns how many."""
    lacking = _lacking(index, collection).filter(pk__gt=collection.cursor)
    at_rest = lacking.at_rest().order_by("pk")
    pks = list(at_rest.values_list("pk", flat=True)[: FEED * settings.BATCH_SIZE])
    if not pks:
        return 0
    fed = outbox.look_again(str(collection._state.db), pks)
    collection.row.filter(cursor__lt=pks[-1]).update(cursor=pks[-1])
    return fed


def _finish(index: ImageIndex, collection: Collection) -> bool:
    """Let it answer if it has everything. Returns whether there is something to feed once more."""
    lacking = _lacking(index, collection)
    missed = (
        lacking.filter(state=IndexEntry.State.INDEXED).order_by("pk").values_list("pk", flat=True).first()
    )
    if missed is not None:
        collection.row.update(cursor=missed - 1)
        return True
    waiting = (IndexEntry.State.PENDING, IndexEntry.State.CLAIMED)
    if lacking.filter(pk__lte=collection.ceiling, state__in=waiting).exists():
        return False
    if difference := _difference(index, collection):
        collections.pause(collection, difference)
    elif _switch(index, collection):
        logger.info("%s: %s answers from now on.", index.name, collection.name)
        collections.point_alias(index, collection)
    return False


def _difference(index: ImageIndex, collection: Collection) -> str:
    """What is wrong with the number of entities; "" where it can be that of the rows."""
    entries = _entries_of(index, collection)
    with_key = entries.filter(state=IndexEntry.State.INDEXED, held__has_key=str(collection.pk))
    moving = entries.unfinished()
    get_vector_store().ensure_collection(collection.name, collection.schema)
    for _ in range(COUNTS):
        before = (with_key.count(), moving.count())
        found = get_vector_store().count(collection.name)
        after = (with_key.count(), moving.count())
        least, most = min(before[0], after[0]), max(before[0], after[0]) + max(before[1], after[1])
        if least <= found <= most:
            return ""
    wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return (
        f"The new collection holds {found:,} entities where {wanted} are expected, and does not answer. "
        "`manage.py shopsearch_reindex --resume` finds what is missing, and goes on."
    )


def _switch(index: ImageIndex, collection: Collection) -> bool:
    """In one step. Returns whether it was this process that did it."""
    rows = Collection.objects.of(index, str(collection._state.db))
    try:
        with transaction.atomic(using=collection._state.db):
            rows.live().update(state=State.RETIRED)
            if not collection.row.building().update(state=State.LIVE, live_at=Now()):
                raise _NotOurs
    except _NotOurs:
        return False
    return True


class _NotOurs(Exception):
    """Another worker was faster, or the rebuild was paused or cancelled."""


def forget_lost(index: ImageIndex, collection: Collection) -> None:
    """Have looked at again what the rows say of it and the store has not, and delete what no row tells of."""
    store, entries = get_vector_store(), _entries_of(index, collection)
    for pks in keys_of(entries.filter(state=IndexEntry.State.INDEXED, held__has_key=str(collection.pk))):
        by_id = {index.entity_id(entry.image_id): entry.pk for entry in entries.filter(pk__in=pks)}
        found = {entity.id for entity in store.fetch(collection.name, list(by_id))}
        outbox.forget(
            str(collection._state.db),
            [pk for key, pk in by_id.items() if key not in found],
            str(collection.pk),
        )
    for ids in chunks_of(store.ids(collection.name)):
        image_ids = {entity.image_id: entity.id for entity in store.fetch(collection.name, ids)}
        known = set(entries.filter(image_id__in=list(image_ids)).values_list("image_id", flat=True))
        store.delete(collection.name, [key for image_id, key in image_ids.items() if image_id not in known])
