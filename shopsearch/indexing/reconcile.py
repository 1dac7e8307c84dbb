"""Compare the shop with what search holds of it, and have the differences repaired.

The outbox alone never needs this: whichever process dies, the workers finish. ``reconcile`` reads the live collection
itself and finds what the outbox cannot know about: changes that were not noted (raw SQL, a file that was replaced under
its name), a store that was restored from a backup, and a write that the store carried out after its worker had given up
and died. ``outstanding`` compares the shop with the rows of the outbox only.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from shopsearch.backends import get_vector_store
from shopsearch.indexing import outbox
from shopsearch.indexing.batch import (
    Destination,
    Snapshot,
    Stored,
    Unreadable,
    destinations_of,
    hashes_of,
    shown_images,
    take_snapshot,
)
from shopsearch.models import CachedVector, Change, Collection, Hashes, IndexEntry, StoredImage
from shopsearch.models.outbox import wake
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import chunks_of, keys_from, keys_of
from shopsearch.types import Entity

logger = logging.getLogger(__name__)
Kind = Literal["lost", "ghost", "stale"]
"""Shown but not in the store; in the store but not shown; in the store with other values or another picture."""
KINDS: tuple[Kind, ...] = ("lost", "ghost", "stale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An image on which the shop and the live collection do not agree."""

    image_id: str
    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """The differences among ``looked_at`` images or entities."""

    looked_at: int
    differences: Sequence[Difference]


def total(index: ImageIndex) -> int:
    """How many images and entities ``reconcile`` will look at."""
    live = Collection.objects.of(index).live().first()
    return index.get_queryset().count() + (get_vector_store().count(live.name) if live else 0)


def reconcile(index: ImageIndex, *, fix: bool = False) -> Iterator[Portion]:
    """Every difference between the shop and the live collection; reads each image's file, and embeds nothing.

    Memory does not grow with the catalogue. Safe beside live traffic: an image that changes during the comparison is
    left to the workers, and a difference only counts when it is found twice. With ``fix``, the workers index what
    differs, and cached vectors of images that are gone are dropped. Raises VectorStoreError while the store is away.
    """
    if fix:
        CachedVector.objects.drop_unneeded(index)
    live = Collection.objects.of(index).live().first()
    comparison = _Comparison(index, live)
    for keys in keys_of(index.get_queryset()):
        yield comparison.portion([str(key) for key in keys], len(keys), fix=fix)
    if live is None:
        return
    for ids in chunks_of(get_vector_store().ids(live.name)):
        image_ids = [entity.image_id for entity in get_vector_store().fetch(live.name, ids)]
        shown = shown_images(index, image_ids, using=index.database)
        yield comparison.portion([each for each in image_ids if each not in shown], len(ids), fix=fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """Some images at a moment at which none of them was about to change."""

    entries: Mapping[str, IndexEntry]
    stored: Mapping[int, Hashes]
    shown: Mapping[str, Any]
    failed_but_stored: Set[int]
    """The FAILED entries whose images the collection still holds as they were before."""
    entities: Mapping[str, Entity]


class _Comparison:
    """An index and its live collection, side by side."""

    def __init__(self, index: ImageIndex, live: Collection | None) -> None:
        self.index = index
        self.live = live
        self.destination: Destination | None = next(
            iter(destinations_of(index, [live] if live else [])), None
        )

        self.unreadable: set[str] = set()
        """Images that cannot be read now: the store keeps what it holds of them, and so do the rows."""

    def portion(self, image_ids: Sequence[str], looked_at: int, *, fix: bool) -> Portion:
        first = self._differences(image_ids)
        differences = self._differences([each.image_id for each in first]) if first else []
        if fix and differences:
            self._fix([each.image_id for each in differences])
        return Portion(looked_at=looked_at, differences=differences)

    def _differences(self, image_ids: Sequence[str]) -> list[Difference]:
        before = self._at_rest(image_ids)
        shown = shown_images(self.index, before, using=self.index.database)
        entries = {key: entry for key, entry in before.items() if entry is not None}
        stored = _stored_hashes(entries.values(), self.live)
        look = _Look(
            entries=entries,
            stored=stored,
            shown=shown,
            failed_but_stored=self._failed_but_stored(entries.values()),
            entities=self._entities(before),
        )
        found = [difference for image_id in before if (difference := self._compare(image_id, look))]
        after = self._at_rest([each.image_id for each in found])
        return [
            each
            for each in found
            if each.image_id in after and _version(before[each.image_id]) == _version(after[each.image_id])
        ]

    def _at_rest(self, image_ids: Sequence[str]) -> dict[str, IndexEntry | None]:
        """The images that no worker is about to change, each with its entry, or None where it has none."""
        # Changes first: a change that is folded after this query shows in the state of its entry.
        noted = Change.objects.noted_among(self.index, image_ids)
        entries = IndexEntry.objects.of(self.index).filter(image_id__in=image_ids)
        rows = {entry.image_id: entry for entry in entries}
        return {
            each: rows.get(each)
            for each in image_ids
            if each not in noted and (each not in rows or rows[each].state not in IndexEntry.UNFINISHED)
        }

    def _failed_but_stored(self, entries: Iterable[IndexEntry]) -> set[int]:
        if self.live is None or not (failed := [each for each in entries if each.state == each.State.FAILED]):
            return set()
        rows = StoredImage.objects.using(self.index.database).filter(collection=self.live, entry__in=failed)
        return set(rows.values_list("entry_id", flat=True))

    def _entities(self, image_ids: Iterable[str]) -> dict[str, Entity]:
        if self.live is None:
            return {}
        ids = [self.index.entity_id(each) for each in image_ids]
        return {entity.image_id: entity for entity in get_vector_store().fetch(self.live.name, ids)}

    def _compare(self, image_id: str, look: _Look) -> Difference | None:
        entity, entry = look.entities.get(image_id), look.entries.get(image_id)
        has_failed = entry is not None and entry.state == IndexEntry.State.FAILED
        if entry is not None and has_failed and entry.pk in look.failed_but_stored and image_id in look.shown:
            return None
        if image_id not in look.shown or has_failed:
            reason = "it cannot be indexed" if image_id in look.shown else "it is not shown"
            return Difference(image_id=image_id, kind="ghost", reason=reason) if entity else None
        if entity is None:
            return Difference(image_id=image_id, kind="lost", reason="it is not in the store")
        known = look.stored.get(entry.pk) if entry else None
        reason = self._staleness(look.shown[image_id], known, entity)
        return Difference(image_id=image_id, kind="stale", reason=reason) if reason else None

    def _staleness(self, image: Any, known: Hashes | None, entity: Entity) -> str:
        try:
            snapshot = take_snapshot(self.index, image)
        except Unreadable as error:
            self.unreadable.add(str(image.pk))
            return str(error)
        except OSError as error:
            logger.warning("%s: image %s cannot be read: %s", self.index.name, image.pk, error)
            return ""
        if self.destination is None or known is None:
            return "the outbox does not know it"
        if known.image != snapshot.image_hash:
            return "it has another picture now"
        stored = Stored(
            hashes=known,
            is_current=True,
            space=self.destination.space,
            vector=entity.vector,
            fields=entity.fields,
        )
        wanted = self.destination.values_of(snapshot, stored)
        if entity.product_id != snapshot.product_id or _as_stored(entity.fields) != _as_stored(wanted):
            return "its product or its filter values have changed"
        return ""

    def _fix(self, image_ids: Sequence[str]) -> None:
        """Have the workers index these images, whatever the rows say of the live collection."""
        entries = IndexEntry.objects.of(self.index).filter(image_id__in=image_ids)
        if self.live:
            readable = entries.exclude(image_id__in=self.unreadable.intersection(image_ids))
            outbox.discard_stored(self.live, list(readable.values_list("pk", flat=True)))
        Change.objects.note(self.index, image_ids)
        wake(self.index.database)


def _stored_hashes(entries: Iterable[IndexEntry], collection: Collection | None) -> dict[int, Hashes]:
    """By entry: the hashes that the collection holds of the image by the outbox; without those that are unknown."""
    if collection is None:
        return {}
    rows = StoredImage.objects.using(collection._state.db).known().filter(collection=collection)
    return {row.entry_id: row.hashes for row in rows.filter(entry__in=list(entries))}


def _version(entry: IndexEntry | None) -> Any:
    return entry.version if entry else None


def _as_stored(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the store returns them: it may cut a long text or a long list."""
    return {name: get_vector_store().stored(value) for name, value in fields.items()}


# The shop and the outbox.

Reason = Literal[
    "new", "unfinished", "in another collection", "with another picture", "with other fields", "gone"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding:
    """An image that still has to be indexed or removed, and why."""

    image_id: str
    reason: Reason


def outstanding(index: ImageIndex) -> Iterator[Outstanding]:
    """Every image that still has to be indexed or removed, by the outbox. Reads each file, embeds nothing.

    Memory does not grow with the catalogue.
    """
    destinations = destinations_of(index, Collection.objects.of(index))
    for keys in keys_of(index.get_queryset()):
        image_ids = [str(key) for key in keys]
        found = IndexEntry.objects.of(index).filter(image_id__in=image_ids)
        entries = {entry.image_id: entry for entry in found}
        shown = shown_images(index, image_ids, using=index.database)
        stored = {each: _stored_hashes(entries.values(), each.collection) for each in destinations}
        for image_id, image in shown.items():
            if reason := _reason(index, image, entries.get(image_id), stored):
                yield Outstanding(image_id=image_id, reason=reason)
        yield from (Outstanding(image_id=each, reason="gone") for each in entries if each not in shown)
    yield from gone(index)


def gone(index: ImageIndex) -> Iterator[Outstanding]:
    """Each entry whose image is no longer in the index's queryset."""
    entries = IndexEntry.objects.of(index)
    for pks in keys_of(entries):
        known = list(entries.filter(pk__in=pks).values_list("image_id", flat=True))
        images = index.get_queryset().filter(pk__in=keys_from(index.model, known))
        found = {str(key) for key in images.values_list("pk", flat=True)}
        yield from (Outstanding(image_id=each, reason="gone") for each in known if each not in found)


def _reason(
    index: ImageIndex,
    image: Any,
    entry: IndexEntry | None,
    stored: Mapping[Destination, Mapping[int, Hashes]],
) -> Reason | None:
    if entry is None:
        return "new"
    if entry.state != IndexEntry.State.INDEXED:
        return "unfinished"
    if not any(each.collection.is_live and entry.pk in hashes for each, hashes in stored.items()):
        return "in another collection"
    try:
        snapshot: Snapshot = take_snapshot(index, image)
    except (Unreadable, OSError):
        return "with another picture"  # it cannot be read: the worker records that in the entry
    for destination, hashes in stored.items():
        wanted = hashes_of(snapshot, destination.values_of(snapshot, None))
        # A collection that is being filled and lacks the image will still get it.
        if (known := hashes.get(entry.pk)) and known != wanted:
            return "with another picture" if known.image != wanted.image else "with other fields"
    return None
