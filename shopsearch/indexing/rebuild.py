"""Rebuilds: fill a new collection beside the live one, and let it answer in one step when it has everything.

Operators begin, pause, resume, cancel and take back a rebuild at any time, while workers and shoppers go on. From the
beginning on every change is written to the new collection too. Workers fill it with the rest, a few images at a time,
so that no shopper's change waits behind millions and a pause takes effect at once. What is left to do is in the
database alone: if a worker is killed, the next one goes on.

Nothing is missed, although a worker may have asked for the index's collections before the new one was there. Workers
ask after they have claimed their entries, so such an entry was there when the collection was made: its key is at most
``ceiling``, the highest one at that time, and its settlement says nothing of the new collection. The switch waits until
no entry up to the ceiling is missing from the new collection; one that is when it comes to rest is looked at again.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction
from django.db.models import Count, F, Max, Q
from django.db.models.functions import Now

from shopsearch import registry
from shopsearch.backends import embedder_of, get_vector_store
from shopsearch.conf import settings
from shopsearch.exceptions import VectorStoreError
from shopsearch.indexing import collections, outbox
from shopsearch.indexing.batch import AWAY, destinations_of
from shopsearch.models import Adapter, CachedVector, Calibration, Change, Collection, IndexEntry, StoredImage
from shopsearch.models.outbox import IndexEntryQuerySet
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import chunks_of, keys_of

logger = logging.getLogger(__name__)
State = Collection.State
FEED = 4
"""At most this many batches of an index wait because of its rebuild."""
COUNTS = 5
"""How often the store is counted before a difference is believed: the shop's changes go on meanwhile."""
_EVERY = 2**63 - 1
"""A ceiling above every key."""
_UNDER_WAY = "{}: a rebuild is under way already; --resume, --cancel or --pause it."


class Refused(Exception):
    """What was asked for cannot be done now; the message says why, and what to do."""


# What operators ask for.


def begin(index: ImageIndex) -> Collection:
    """Make a collection for the present settings, and begin to fill it. The live one answers until it is full.

    Raises Refused where there is nothing to rebuild, or a rebuild is under way.
    """
    if not Collection.objects.of(index).live().exists():
        raise Refused(f"{index.name}: nothing is indexed yet; `manage.py shopsearch_reindex` does it.")
    try:
        collection = collections.create(index, State.BUILDING, index.database, ceiling=_EVERY)
    except IntegrityError as error:
        raise Refused(_UNDER_WAY.format(index.name)) from error
    except ImproperlyConfigured as error:
        raise Refused(f"{index.name}: no rebuild was begun: {error}") from error
    return _start(index, collection)


def roll_back(index: ImageIndex) -> Collection:
    """Have the collection that was live before catch up with what changed since, and answer again.

    What it holds already is not embedded again. Raises Refused where none is kept, its model is not in the settings,
    its filters are not declared any more, or a rebuild is under way.
    """
    former = Collection.objects.of(index).retired().first()
    if former is None:
        raise Refused(f"{index.name}: no earlier collection is kept.")
    if embedder_of(former.space) is None:
        raise Refused(
            f"{index.name}: the earlier collection's model (space {former.space}) is not in the settings; set it as "
            "SHOPSEARCH['EMBEDDER'] again, and the present one as FORMER_EMBEDDER."
        )
    if not former.fields.items() <= index.field_types.items():
        raise Refused(
            f"{index.name}: the earlier collection has filters or words that are not declared any more."
        )
    filling = {"state": State.BUILDING, "cursor": 0, "ceiling": _EVERY, "begun_with": 0, "error": ""}
    try:
        with transaction.atomic(using=index.database):
            # In a new generation nothing was looked at yet, so everything will be.
            former.row.retired().update(generation=F("generation") + 1, begun_at=Now(), **filling)
    except IntegrityError as error:
        raise Refused(_UNDER_WAY.format(index.name)) from error
    Adapter.objects.choose(index, former.space)
    return _start(index, former)


def pause(index: ImageIndex) -> Collection:
    """Stop filling the new collection until ``resume``; changes are still written to it."""
    collection = _unfinished(index)
    collections.pause(collection)
    return collection


def resume(index: ImageIndex) -> Collection:
    """Go on filling. If a difference was found, look first for what the new collection lost."""
    collection = _unfinished(index)
    if collection.error:
        _forget_lost(index, collection)
    collection.row.update(
        state=State.BUILDING, error="", cursor=0, begun_at=Now(), begun_with=collection.stored.count()
    )
    return collection


def cancel(index: ImageIndex) -> Collection:
    """Drop the new collection; the live one has answered and been written to all the while."""
    collection = _unfinished(index)
    collection.row.delete()
    try:
        get_vector_store().drop_collection(collection.name)
    except VectorStoreError as error:
        logger.warning("%s is left in the store until --prune drops it: %s", collection.name, error)
    if live := Collection.objects.of(index).live().first():
        Adapter.objects.choose(index, live.space)
    _clean_up(index)
    return collection


def prune(index: ImageIndex) -> list[str]:
    """Drop the collections that no search reads and no change is written to: earlier ones, and any without a row.

    Returns their names. Afterwards there is no rollback.
    """
    # The store first: what is made after this has its row by the time that rows are read.
    names = [name for name in get_vector_store().collections() if _is_ours(index, name)]
    Collection.objects.of(index).retired().delete()
    _clean_up(index)
    kept = {
        name
        for using in registry.databases()
        for name in Collection.objects.using(using).values_list("name", flat=True)
    }
    pruned = [name for name in names if name not in kept]
    for name in pruned:
        get_vector_store().drop_collection(name)
    if live := Collection.objects.of(index).live().first():
        collections.point_alias(index, live)
    return pruned


def _unfinished(index: ImageIndex) -> Collection:
    collection = Collection.objects.of(index).unfinished().first()
    if collection is None:
        raise Refused(f"{index.name}: no rebuild is under way.")
    return collection


def _start(index: ImageIndex, collection: Collection) -> Collection:
    """Record how much there is to do, and the ceiling: only after the collection is committed."""
    entries = IndexEntry.objects.of(index)
    highest = entries.aggregate(highest=Max("pk"))["highest"] or 0
    collection.row.update(ceiling=highest, total=entries.count())
    Change.objects.note_new(index)
    collection.refresh_from_db()
    return collection


def _is_ours(index: ImageIndex, name: str) -> bool:
    prefix = re.escape(collections.prefix_of(index))
    return re.fullmatch(prefix + r"\w+_[0-9a-f]{8}(_v\d+)?", name) is not None


def _clean_up(index: ImageIndex) -> None:
    """Delete what is known of collections that were dropped, a few rows at a time."""
    stored = StoredImage.objects.using(index.database)
    for pks in keys_of(stored.orphaned()):
        stored.filter(pk__in=pks).delete()
    Adapter.objects.drop_unneeded(index)
    spaces = list(Collection.objects.of(index).values_list("space", flat=True))
    Calibration.objects.filter(index=index.name).exclude(space__in=spaces).delete()
    CachedVector.objects.drop_unneeded(index)


def _forget_lost(index: ImageIndex, collection: Collection) -> None:
    """Look again at images that the rows say are stored and the store lacks, and delete entities that no row has."""
    store, entries = get_vector_store(), IndexEntry.objects.of(index)
    indexed = entries.filter(state=IndexEntry.State.INDEXED, stored__in=collection.stored)
    for pks in keys_of(indexed):
        by_id = {index.entity_id(entry.image_id): entry.pk for entry in entries.filter(pk__in=pks)}
        found = {entity.id for entity in store.fetch(collection.name, list(by_id))}
        outbox.forget(collection, [pk for key, pk in by_id.items() if key not in found])
    for ids in chunks_of(store.ids(collection.name)):
        image_ids = {entity.image_id: entity.id for entity in store.fetch(collection.name, ids)}
        alive = entries.filter(~Q(state=IndexEntry.State.FAILED) | Q(stored__collection=collection))
        known = set(alive.filter(image_id__in=list(image_ids)).values_list("image_id", flat=True))
        store.delete(collection.name, [key for image_id, key in image_ids.items() if image_id not in known])


# What workers do.


def advance() -> bool:
    """Give the workers what new collections still lack, and let those answer that lack nothing.

    Cheap where there is none. Returns whether there is something for the workers to do now.
    """
    fed = False
    for index, collection in _building():
        try:
            fed = _advance(index, collection) or fed
        except AWAY as error:
            logger.warning("%s waits: %s", collection.name, error)
    return fed


def _building() -> Iterator[tuple[ImageIndex, Collection]]:
    known = {index.name: index for index in registry.get_indexes()}
    for using in registry.databases():
        for collection in Collection.objects.using(using).building().filter(index__in=known):
            yield known[collection.index], collection


def _advance(index: ImageIndex, collection: Collection) -> bool:
    if not may_fill(index, collection):
        return False
    waiting = _entries_of(index, collection).unfinished().values("pk")[: FEED * settings.BATCH_SIZE].count()
    if waiting > FEED * settings.BATCH_SIZE // 2:
        return False
    return _feed(index, collection) or _finish(index, collection)


def may_fill(index: ImageIndex, collection: Collection) -> bool:
    """Whether this process knows what belongs into it; during a deployment an older one does not."""
    [destination] = destinations_of(index, [collection])
    return destination.is_complete


def _entries_of(index: ImageIndex, collection: Collection) -> IndexEntryQuerySet:
    return IndexEntry.objects.of(index, str(collection._state.db))


def _feed(index: ImageIndex, collection: Collection) -> bool:
    """Have the next few images looked at that it lacks. Returns whether there were any."""
    missing = _entries_of(index, collection).missing_from(collection).filter(pk__gt=collection.cursor)
    pks = list(missing.at_rest().order_by("pk").values_list("pk", flat=True)[: FEED * settings.BATCH_SIZE])
    if not pks:
        return False
    fed = outbox.look_again(str(collection._state.db), pks)
    collection.row.filter(cursor__lt=pks[-1]).update(cursor=pks[-1])
    return bool(fed)


def _finish(index: ImageIndex, collection: Collection) -> bool:
    """Let it answer if it has everything. Returns whether there is something to feed once more."""
    missing = _entries_of(index, collection).missing_from(collection)
    indexed = missing.filter(state=IndexEntry.State.INDEXED).order_by("pk")
    if (missed := indexed.values_list("pk", flat=True).first()) is not None:
        collection.row.update(cursor=missed - 1)
        return True
    waiting = (IndexEntry.State.PENDING, IndexEntry.State.CLAIMED)
    if missing.filter(pk__lte=collection.ceiling, state__in=waiting).exists():
        return False
    if obstacle := _shortfall(index, collection) or _difference(collection):
        collections.pause(collection, obstacle)
    elif _switch(index, collection):
        logger.info("%s: %s answers from now on.", index.name, collection.name)
        collections.point_alias(index, collection)
    return False


def _shortfall(index: ImageIndex, collection: Collection) -> str:
    """Why it would answer with fewer images than the live one does; "" where it has enough of them."""
    live = Collection.objects.of(index, str(collection._state.db)).live().first()
    new = Q(collection=collection, generation=collection.generation)
    # In one query, so that both are counted in the same moment.
    rows = StoredImage.objects.using(collection._state.db).filter(new | Q(collection=live))
    counted = rows.aggregate(written=Count("pk", filter=new), held=Count("pk", filter=Q(collection=live)))
    written, held = counted["written"], counted["held"]
    if written >= held * settings.REBUILD_MIN_SHARE:
        return ""
    failed = _entries_of(index, collection).missing_from(collection).failed().filter(stored__collection=live)
    first = failed.order_by("pk").first()
    reason = f" The first that failed: {first.error.rstrip('.')}." if first else ""
    return (
        f"Only {written:,} images could be written to {collection.name}, and the live collection holds {held:,}: it "
        f"goes on answering.{reason} Mend that, then `manage.py shopsearch_reindex --resume` goes on, and --cancel "
        "gives up."
    )


def _difference(collection: Collection) -> str:
    """What is wrong with the number of entities; "" where it fits the rows."""
    for _ in range(COUNTS):
        try:
            get_vector_store().ensure_collection(collection.name, collection.schema)
            counted = collections.count_entities(collection)
        except collections.REFUSALS as error:
            get_vector_store().collections()  # raises where the store is away altogether: it is waited for
            return collections.refusal(collection, error)
        if counted.fits:
            return ""
    least, most = counted.least, counted.most
    wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return (
        f"The new collection holds {counted.found:,} entities where {wanted} are expected, and does not answer. "
        "`manage.py shopsearch_reindex --resume` finds what is missing, and goes on."
    )


def _switch(index: ImageIndex, collection: Collection) -> bool:
    """Let it answer, in one step. Returns whether it was this process that did it."""
    try:
        with transaction.atomic(using=collection._state.db):
            live = Collection.objects.of(index, str(collection._state.db)).live()
            live.update(state=State.RETIRED)
            if not collection.row.building().update(state=State.LIVE, live_at=Now()):
                raise _NotOurs
    except _NotOurs:
        return False
    return True


class _NotOurs(Exception):
    """Another worker was faster, or the rebuild was paused or cancelled."""


def obstacle(index: ImageIndex, collection: Collection) -> str:
    """What keeps it from being filled, as a sentence; "" where nothing does."""
    if collection.error or may_fill(index, collection):
        return collection.error
    return (
        f"{collection.name} is for another model or other filters than these settings name. If those of no worker do "
        "either, `manage.py shopsearch_reindex --cancel` drops it."
    )
