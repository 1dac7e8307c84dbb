"""Rebuilds: fill a new collection beside the live one, and switch to it in one step when it is complete.

Operators can begin, pause, resume, cancel and roll back a rebuild at any time, while workers and shoppers go on. From
the beginning, every change is written to the new collection too. Workers fill it with the rest, a few images at a time,
so that no change of the shop waits behind millions of images, and a pause takes effect at once. What is left to do is
recorded in the database only: if a worker is killed, the next one goes on.

Nothing is missed, although a worker may have read the index's collections before the new one existed. Workers read them
after they have claimed their entries, so such an entry existed when the collection was made: its key is at most
``ceiling``, the highest key at that time, and its settlement does not mention the new collection. The switch waits
until the new collection lacks no entry up to the ceiling; an entry that comes to rest and is missing is indexed again.
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
"""A rebuild keeps at most this many batches of an index waiting."""
COUNTS = 5
"""How many times the store is counted before a difference is believed: the shop's changes go on during the count."""
_EVERY = 2**63 - 1
"""A ceiling above every key."""
_UNDER_WAY = "{}: a rebuild is under way already; --resume, --cancel or --pause it."


class Refused(Exception):
    """The operation cannot be done now; the message says why, and what to do."""


# What operators do.


def begin(index: ImageIndex) -> Collection:
    """Make a collection for the current settings, and begin to fill it. The live one answers until it is complete.

    Raises Refused where there is nothing to rebuild, or a rebuild is under way already.
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
    """Bring the collection that was live before up to date, and switch back to it.

    What it holds already is not embedded again. Raises Refused where no such collection is kept, its model is not in
    the settings, its filters are no longer declared, or a rebuild is under way.
    """
    former = Collection.objects.of(index).retired().first()
    if former is None:
        raise Refused(f"{index.name}: no earlier collection is kept.")
    if embedder_of(former.space) is None:
        raise Refused(
            f"{index.name}: the earlier collection's model (space {former.space}) is not in the settings; set it as "
            "SHOPSEARCH['EMBEDDER'] again, and the current one as FORMER_EMBEDDER."
        )
    if not former.fields.items() <= index.field_types.items():
        raise Refused(
            f"{index.name}: the earlier collection has filters or words that are no longer declared."
        )
    filling = {"state": State.BUILDING, "cursor": 0, "ceiling": _EVERY, "begun_with": 0, "error": ""}
    try:
        with transaction.atomic(using=index.database):
            # In a new generation no image has been looked at yet, so all of them will be.
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
    """Go on filling. If an error paused the filling, first find what the new collection has lost."""
    collection = _unfinished(index)
    if collection.error:
        _forget_lost(index, collection)
    collection.row.update(
        state=State.BUILDING, error="", cursor=0, begun_at=Now(), begun_with=collection.stored.count()
    )
    return collection


def cancel(index: ImageIndex) -> Collection:
    """Drop the new collection. The live one has answered and received every change all the time."""
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
    """Drop the collections that are neither searched nor written to: earlier ones, and those without a row.

    Returns their names. Afterwards a rollback is impossible.
    """
    # The store first: a collection that is made later has its row by the time the rows are read.
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
    """Record how much there is to do, and the ceiling. Only called after the collection is committed."""
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
    """Delete the rows that belong to dropped collections, a few at a time."""
    stored = StoredImage.objects.using(index.database)
    for pks in keys_of(stored.orphaned()):
        stored.filter(pk__in=pks).delete()
    Adapter.objects.drop_unneeded(index)
    spaces = list(Collection.objects.of(index).values_list("space", flat=True))
    Calibration.objects.filter(index=index.name).exclude(space__in=spaces).delete()
    CachedVector.objects.drop_unneeded(index)


def _forget_lost(index: ImageIndex, collection: Collection) -> None:
    """Index again the images that are stored by the rows but missing in the store; delete entities without a row."""
    store, entries = get_vector_store(), IndexEntry.objects.of(index)
    indexed = entries.filter(state=IndexEntry.State.INDEXED, stored__in=collection.stored)
    for pks in keys_of(indexed):
        by_id = {index.entity_id(entry.image_id): entry.pk for entry in entries.filter(pk__in=pks)}
        found = {entity.id for entity in store.fetch(collection.name, list(by_id))}
        outbox.discard_stored(collection, [pk for key, pk in by_id.items() if key not in found])
    for ids in chunks_of(store.ids(collection.name)):
        image_ids = {entity.image_id: entity.id for entity in store.fetch(collection.name, ids)}
        alive = entries.filter(~Q(state=IndexEntry.State.FAILED) | Q(stored__collection=collection))
        known = set(alive.filter(image_id__in=list(image_ids)).values_list("image_id", flat=True))
        store.delete(collection.name, [key for image_id, key in image_ids.items() if image_id not in known])


# What workers do.


def advance() -> bool:
    """Give the workers what new collections still lack, and switch to those that lack nothing.

    Cheap where no collection is being filled. Returns whether there is something for the workers to do now.
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
    """Whether this process knows the collection's model and fields; during a deployment, an older one does not."""
    [destination] = destinations_of(index, [collection])
    return destination.is_complete


def _entries_of(index: ImageIndex, collection: Collection) -> IndexEntryQuerySet:
    return IndexEntry.objects.of(index, str(collection._state.db))


def _feed(index: ImageIndex, collection: Collection) -> bool:
    """Have the next few images indexed that the collection lacks. Returns whether there were any."""
    missing = _entries_of(index, collection).missing_from(collection).filter(pk__gt=collection.cursor)
    pks = list(missing.at_rest().order_by("pk").values_list("pk", flat=True)[: FEED * settings.BATCH_SIZE])
    if not pks:
        return False
    fed = outbox.look_again(str(collection._state.db), pks)
    collection.row.filter(cursor__lt=pks[-1]).update(cursor=pks[-1])
    return bool(fed)


def _finish(index: ImageIndex, collection: Collection) -> bool:
    """Switch to the collection if it is complete. Returns whether something has to be fed again."""
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
    """Why too many images are missing compared with the live collection; "" where there are enough."""
    live = Collection.objects.of(index, str(collection._state.db)).live().first()
    new = Q(collection=collection, generation=collection.generation)
    # In one query, so that both are counted at the same moment.
    rows = StoredImage.objects.using(collection._state.db).filter(new | Q(collection=live))
    counted = rows.aggregate(written=Count("pk", filter=new), held=Count("pk", filter=Q(collection=live)))
    written, held = counted["written"], counted["held"]
    if written >= held * settings.REBUILD_MIN_SHARE:
        return ""
    failed = _entries_of(index, collection).missing_from(collection).failed().filter(stored__collection=live)
    first = failed.order_by("pk").first()
    reason = f" The first that failed: {first.error.rstrip('.')}." if first else ""
    return (
        f"Only {written:,} images could be written to {collection.name}, but the live collection holds {held:,}; it "
        f"goes on answering.{reason} Fix that, then run `manage.py shopsearch_reindex --resume` to go on, or --cancel "
        "to give up."
    )


def _difference(collection: Collection) -> str:
    """How the number of entities in the store differs from the rows; "" where it matches them."""
    for _ in range(COUNTS):
        try:
            get_vector_store().ensure_collection(collection.name, collection.schema)
            counted = collections.count_entities(collection)
        except collections.REFUSALS as error:
            get_vector_store().collections()  # raises while the whole store is away: then the rebuild waits
            return collections.refusal_message(collection, error)
        if counted.fits:
            return ""
    least, most = counted.least, counted.most
    wanted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    return (
        f"The new collection holds {counted.found:,} entities where {wanted} are expected, so it is not live yet. "
        "`manage.py shopsearch_reindex --resume` finds what is missing, and goes on."
    )


def _switch(index: ImageIndex, collection: Collection) -> bool:
    """Make the collection live, in one transaction. Returns whether this process did it."""
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
    """What keeps the collection from being filled, as a sentence; "" where nothing does."""
    if collection.error or may_fill(index, collection):
        return collection.error
    return (
        f"{collection.name} was made for another model or other filters than these settings name. If no worker has "
        "settings that name them, `manage.py shopsearch_reindex --cancel` drops it."
    )
