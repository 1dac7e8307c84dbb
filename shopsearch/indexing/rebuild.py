"""Rebuilding: a new collection is filled beside the live one, and takes its place in one step when it has everything.

From ``begin`` on every change is written to it too; ``indexing.fill`` has the workers do the rest. What is here is for
operators, and may be asked for at any time, while workers and shoppers go on.
"""

from __future__ import annotations

import re

from django.db import IntegrityError, transaction
from django.db.models import Max
from django.db.models.functions import Now

from shopsearch import registry
from shopsearch.backends import embedder_of, get_vector_store
from shopsearch.indexing import collections, vector_cache
from shopsearch.indexing.fill import done, forget_lost
from shopsearch.models import Change, Collection, IndexEntry
from shopsearch.registry import ImageIndex

State = Collection.State


class Refused(Exception):
    """What was asked for cannot be done now; the message says why, and what to do."""


def begin(index: ImageIndex) -> Collection:
    """Make a collection for the present settings, and begin to fill it. The live one answers until it is full.

    Raises Refused where there is nothing to be rebuilt, or a rebuild is under way.
    """
    using = index.database
    if Collection.objects.of(index, using).live().first() is None:
        raise Refused(f"{index.name}: nothing is indexed yet; `manage.py shopsearch_reindex` does it.")
    try:
        collection = collections.create(index, State.BUILDING, using, ceiling=_EVERY)
    except IntegrityError as error:
        raise Refused(_UNDER_WAY.format(index.name)) from error
    _start(index, collection)
    return collection


def roll_back(index: ImageIndex) -> Collection:
    """Have the collection that was live before catch up with what changed since, and answer again.

    What it holds already is not embedded again. Raises Refused where none was kept, its model is not in the settings,
    its filters are not declared any more, or a rebuild is under way.
    """
    using = index.database
    former = Collection.objects.of(index, using).retired().first()
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
    formerly = former.pk
    try:
        with transaction.atomic(using=using):
            # A new key, under which no entry holds anything: everything is looked at, by what it holds under the old.
            former.delete()
            former.pk, former.formerly, former.state = None, formerly, State.BUILDING
            former.cursor, former.ceiling, former.begun_with = 0, _EVERY, 0
            former.begun_at, former.error = Now(), ""
            former.save(using=using, force_insert=True)
    except IntegrityError as error:
        raise Refused(_UNDER_WAY.format(index.name)) from error
    _start(index, former)
    return former


def pause(index: ImageIndex) -> Collection:
    """Fill the new collection no further until ``resume``; changes are still written to it."""
    collection = _unfinished(index)
    collections.pause(collection)
    return collection


def resume(index: ImageIndex) -> Collection:
    """Go on filling. After a difference was found, look first for what the new collection lost."""
    collection = _unfinished(index)
    if collection.error:
        forget_lost(index, collection)
    collection.row.update(
        state=State.BUILDING, error="", cursor=0, begun_at=Now(), begun_with=done(index, collection)
    )
    return collection


def cancel(index: ImageIndex) -> Collection:
    """Drop the new collection; the live one has never stopped to answer, and to be written to."""
    collection = _unfinished(index)
    key = collection.pk
    collection.delete()
    get_vector_store().drop_collection(collection.name)
    vector_cache.tidy(index, Collection.objects.of(index))
    collection.pk = key
    return collection


def prune(index: ImageIndex) -> list[str]:
    """Drop what no search reads and no change is written to: earlier collections, and such as no row tells of.

    Returns their names. Afterwards there is no rollback.
    """
    using = index.database
    # The store first: what is made after this has its row by the time that rows are read.
    names = [name for name in get_vector_store().collections() if _is_ours(index, name)]
    Collection.objects.of(index, using).retired().delete()
    vector_cache.tidy(index, Collection.objects.of(index, using))
    kept = {
        name
        for each in registry.databases()
        for name in Collection.objects.using(each).values_list("name", flat=True)
    }
    pruned = [name for name in names if name not in kept]
    for name in pruned:
        get_vector_store().drop_collection(name)
    if live := Collection.objects.of(index, using).live().first():
        collections.point_alias(index, live)
    return pruned


_EVERY = 2**63 - 1
"""A ceiling above every key."""
_UNDER_WAY = "{}: a rebuild is under way already; --resume, --cancel or --pause it."


def _unfinished(index: ImageIndex) -> Collection:
    if (collection := Collection.objects.of(index).unfinished().first()) is None:
        raise Refused(f"{index.name}: no rebuild is under way.")
    return collection


def _start(index: ImageIndex, collection: Collection) -> None:
    """Say how much there is to do, and from where on workers know of the collection: only after it is committed."""
    using = str(collection._state.db)
    entries = IndexEntry.objects.of(index, using)
    ceiling = entries.aggregate(highest=Max("pk"))["highest"] or 0
    collection.row.update(ceiling=ceiling, total=entries.count())
    Change.objects.note_new(index, using)
    collection.refresh_from_db()


def _is_ours(index: ImageIndex, name: str) -> bool:
    return (
        re.fullmatch(re.escape(collections.prefix_of(index)) + r"\w+_[0-9a-f]{8}(_v\d+)?", name) is not None
    )
