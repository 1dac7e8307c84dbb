"""Make a collection in the vector store, and pause its filling.

The database says which collection answers, in one row that changes in one step. A search takes both the collection and
the model for its query from that row, so vectors of two models are never compared, not even at the moment of a switch.
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
"""What a store raises when it refuses a collection: its disk is full, a right is missing, the name is taken."""


def is_current(index: ImageIndex, collection: Collection) -> bool:
    """Whether the collection was made for the model, adapter, filters and words that are in use now."""
    made_for = (collection.space, collection.dimension, collection.fields)
    embedder = embedder_for(index)
    return made_for == (embedder.space, embedder.dimension, schema_of(index).fields)


def begin_live(index: ImageIndex, using: str) -> Collection:
    """Make the index's first collection, which is live from the beginning: there is no older one to search."""
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
    taken = set(store.collections())  # asked first: if the store is away, no row is left behind
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
        # Keys are never reused, so names are not either: a process that has not heard that a collection was dropped,
        # and still writes to it, never writes into a new one.
        version = collection.pk
        kind = f"{embedder.space}_{_digest(schema.fields)}"
        while (name := f"{prefix_of(index)}{kind}_v{version}") in taken:
            version += 1
        collection.name = name
        collection.save(update_fields=("name",), using=using)
    # The row exists before the collection does, so ``prune``, which reads the store first, finds a row for each.
    try:
        store.ensure_collection(name, schema)
    except REFUSALS:
        if state != State.LIVE:
            collection.row.delete()  # so no rebuild has begun
        raise
    return collection


def pause(collection: Collection, error: str = "") -> bool:
    """Stop filling the collection; changes are still written to it. Returns whether it was being filled."""
    if paused := bool(collection.row.building().update(state=State.PAUSED, error=error)):
        logger.log(logging.WARNING if error else logging.INFO, "%s is paused. %s", collection.name, error)
    return paused


def handle_refusal(collection: Collection, error: Exception) -> None:
    """Pause a collection that the store refuses, so that the others go on.

    Raises the error if the collection is live, and whatever the store raises while the whole store is away.
    """
    if not collection.is_live:
        get_vector_store().collections()
        # A paused collection cannot become live before it is resumed, and then it is checked for what it lacks.
        if pause(collection, refusal_message(collection, error)) or not collection.row.live().exists():
            return
    raise error


def refusal_message(collection: Collection, error: Exception) -> str:
    """What to tell people about a collection that the store refuses."""
    return (
        f"The store refuses {collection.name}: {str(error).rstrip('.')}. The live collection goes on answering, and "
        "changes are still written to it. Fix that, then run `manage.py shopsearch_reindex --resume` to go on, or "
        "--cancel to give up."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class EntityCount:
    """How many entities a collection holds, and the least and the most that it should hold by the rows."""

    found: int
    least: int
    most: int

    @property
    def fits(self) -> bool:
        return self.least <= self.found <= self.most


def count_entities(collection: Collection) -> EntityCount:
    """Count the entities in the store and in the rows. Raises BackendError while the store is away."""
    using = collection._state.db or "default"
    # Not the INDEXED entries: the collection may still hold an image that has FAILED because it cannot be read.
    rows = StoredImage.objects.using(using).filter(collection=collection)
    moving = IndexEntry.objects.using(using).filter(index=collection.index).unfinished()

    def counted() -> tuple[int, int]:
        # Usually few are unfinished, and the state has a database index: cheaper than joining every row.
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
    """The beginning of the names of all the index's collections."""
    return f"{settings.COLLECTION_PREFIX}_{index.name}_"


def point_alias(index: ImageIndex, collection: Collection) -> None:
    """Make ``<prefix>_<index>`` a second name of the collection, for people and tools that read the store directly.

    Nothing here depends on it, so a store that is away is only logged.
    """
    try:
        get_vector_store().point_alias(f"{settings.COLLECTION_PREFIX}_{index.name}", collection.name)
    except BackendError as error:
        logger.warning("%s: the alias of %s could not be set: %s", index.name, collection.name, error)


def _digest(fields: Mapping[str, str]) -> str:
    described = ",".join(f"{name}:{kind}" for name, kind in sorted(fields.items()))
    return hashlib.sha256(described.encode()).hexdigest()[:8]
