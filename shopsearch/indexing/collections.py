"""Make a collection in the vector store, and pause its filling.

The database says which collection answers, in one row that changes in one step. A search chooses the collection and the
model that embeds its query by the same row, so vectors of two models never meet, not even in the moment of a switch.
"""

from __future__ import annotations

import hashlib
import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace

from django.core.exceptions import ImproperlyConfigured
from django.db import IntegrityError, transaction

from shopsearch.backends import embedder_for, get_vector_store, schema_of
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, VectorStoreError
from shopsearch.models import Collection, IndexEntry, StoredImage
from shopsearch.registry import ImageIndex

logger = logging.getLogger(__name__)
State = Collection.State
REFUSALS = (VectorStoreError, ImproperlyConfigured)
"""What a store raises that does not take a collection: its disk is full, it has no rights, another one has the name."""


def is_current(index: ImageIndex, collection: Collection) -> bool:
    """Whether it was made for the model, the adapter, the filters and the words that are in use now."""
    made_for = (collection.space, collection.dimension, collection.fields)
    embedder = embedder_for(index)
    return made_for == (embedder.space, embedder.dimension, schema_of(index).fields)


def begin_live(index: ImageIndex, using: str) -> Collection:
    """An index's first collection, which answers from the beginning: there is no older one to search in."""
    try:
        collection = create(index, State.LIVE, using)
    except IntegrityError:  # another worker was faster
        return Collection.objects.of(index, using).live().get()
    point_alias(index, collection)
    return collection


def create(index: ImageIndex, state: str, using: str, **values: int) -> Collection:
    """A new collection for the present settings, in the store and as a row.

    Raises IntegrityError where the index has one in this state, or, for BUILDING, one that is PAUSED.
    """
    store, embedder = get_vector_store(), embedder_for(index)
    schema = replace(schema_of(index), dimension=embedder.dimension)
    taken = set(store.collections())  # so a store that is away is known before there is a row
    with transaction.atomic(using=using):
        collection = Collection.objects.using(using).create(
            index=index.name,
            name=uuid.uuid4().hex,
            space=embedder.space,
            dimension=embedder.dimension,
            fields=schema.fields,
            state=state,
            **values,
        )
        # No key is used twice, so no name is either: what a process that does not know yet still writes to a dropped
        # collection never lands in a new one.
        version = collection.pk
        kind = f"{embedder.space}_{_digest(schema.fields)}"
        while (name := f"{prefix_of(index)}{kind}_v{version}") in taken:
            version += 1
        collection.name = name
        collection.save(update_fields=("name",), using=using)
    # Whoever lists the store's collections first and the rows afterwards finds a row for each of them.
    try:
        store.ensure_collection(name, schema)
    except REFUSALS:
        if state != State.LIVE:
            collection.row.delete()  # nothing was begun
        raise
    return collection


def pause(collection: Collection, error: str = "") -> bool:
    """Stop filling it; changes are still written to it. Returns whether it was being filled."""
    if paused := bool(collection.row.building().update(state=State.PAUSED, error=error)):
        logger.log(logging.WARNING if error else logging.INFO, "%s is paused. %s", collection.name, error)
    return paused


def refused(collection: Collection, error: Exception) -> None:
    """The store does not take this collection: where it does not answer searches, it is paused, and the rest goes on.

    Raises the error where it does answer, and what the store raises where it is away altogether.
    """
    if not collection.is_live:
        get_vector_store().collections()
        # Whoever paused it has kept it from answering before what it lacks now is looked at again.
        if pause(collection, refusal(collection, error)) or not collection.row.live().exists():
            return
    raise error


def refusal(collection: Collection, error: Exception) -> str:
    """What is said of a collection that the store does not take."""
    return (
        f"The store refuses {collection.name}: {str(error).rstrip('.')}. The live collection goes on answering, and "
        "changes go on being written to it. Mend that, then `manage.py shopsearch_reindex --resume` goes on, and "
        "--cancel gives up."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityCount:
    """How many entities a collection holds, and between which numbers the rows say."""

    found: int
    least: int
    most: int

    @property
    def fits(self) -> bool:
        return self.least <= self.found <= self.most


def count_entities(collection: Collection) -> EntityCount:
    """The store beside the rows. Raises BackendError while the store is away."""
    using = collection._state.db or "default"
    # Not the entries that are INDEXED: of an image that cannot be read the collection may hold what it had before.
    rows = StoredImage.objects.using(using).filter(collection=collection)
    moving = IndexEntry.objects.using(using).filter(index=collection.index).unfinished()

    def counted() -> tuple[int, int]:
        # Few are unfinished as a rule, and there is an index on the state: cheaper than joining every row.
        return rows.count() - rows.filter(entry__in=moving.values("pk")).count(), moving.count()

    before = counted()
    found = get_vector_store().count(collection.name)
    fits = before[0] <= found <= sum(before)
    after = before if fits else counted()
    return EntityCount(
        found=found,
        least=min(before[0], after[0]),
        most=max(before[0], after[0]) + max(before[1], after[1]),
    )


def prefix_of(index: ImageIndex) -> str:
    """What the names of all the index's collections begin with."""
    return f"{settings.COLLECTION_PREFIX}_{index.name}_"


def point_alias(index: ImageIndex, collection: Collection) -> None:
    """Let ``<prefix>_<index>`` be a second name of the collection, for people and tools that read the store directly.

    Nothing here depends on it, so a store that is away is only logged.
    """
    try:
        get_vector_store().point_alias(f"{settings.COLLECTION_PREFIX}_{index.name}", collection.name)
    except BackendError as error:
        logger.warning("%s: the alias of %s could not be set: %s", index.name, collection.name, error)


def _digest(fields: Mapping[str, str]) -> str:
    described = ",".join(f"{name}:{kind}" for name, kind in sorted(fields.items()))
    return hashlib.sha256(described.encode()).hexdigest()[:8]
