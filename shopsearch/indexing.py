"""Indexing: make the vector store hold the shop's images as they are."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.db import InterfaceError, OperationalError, router
from django.db.models import QuerySet

from shopsearch import changes, images, outbox, registry, snapshots
from shopsearch.backends import collection_of, get_embedder, get_vector_store, schema_of
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, ImageError
from shopsearch.keys import keys_of
from shopsearch.models import IndexEntry
from shopsearch.outbox import Settlement
from shopsearch.registry import ImageIndex
from shopsearch.snapshots import Snapshot, Unusable
from shopsearch.types import Entity, Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Vector

logger = logging.getLogger(__name__)

AWAY = (BackendError, ImproperlyConfigured, OperationalError, InterfaceError)
"""Nothing is wrong with the images: whatever was not settled is tried again, for as long as it takes."""
MAX_ATTEMPTS = 10
"""What may pass by itself, such as a file storage that is away, is tried so often before the row is FAILED."""
PIXELS_AT_ONCE = 16_000_000
"""Decoded pictures are held up to about this many pixels, 3 bytes each, until they are embedded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of the rows that were claimed at once; the other numbers add up to ``claimed``."""

    claimed: int = 0
    embedded: int = 0
    """Written with a new vector."""
    updated: int = 0
    """Written with the vector that the store had: only the filter values or the collection were new."""
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    postponed: int = 0


def index_batch() -> Batch:
    """Claim one batch of due rows and bring the store in line with their images. Raises only what claiming raises.

    What cannot be done now is tried again later. An image that can never be indexed is FAILED with a sentence, is no
    longer found by its older picture, and does not keep the others from being indexed.
    """
    entries = sorted(outbox.claim(settings.BATCH_SIZE), key=_source)
    counts = Counter(claimed=len(entries))
    for (using, name), group in groupby(entries, key=_source):
        counts += _IndexBatch(registry.get_index(name), using, list(group)).run()
    return Batch(**counts)


def index_pending() -> Iterator[Batch]:
    """Batch after batch, until nothing is due."""
    while (batch := index_batch()).claimed:
        yield batch


def reindex(queryset: QuerySet[Any]) -> int:
    """Have these images looked at again: for ``bulk_create``, ``update`` and raw SQL, which send no signals.

    Takes a queryset of a registered model; returns how many images were noted. Memory stays constant. It is part of
    the present transaction, if there is one; the workers wake after it. Raises ImproperlyConfigured for a model that
    is not registered.
    """
    index = registry.index_for(queryset.model._meta.concrete_model or queryset.model)
    using = router.db_for_write(index.model)
    noted = sum(changes.note(index, keys, using=using) for keys in keys_of(queryset))
    changes.wake(using)
    return noted


def _source(entry: IndexEntry) -> tuple[str, str]:
    return entry._state.db or "default", entry.index


@dataclass(slots=True, kw_only=True, eq=False)
class _Item:
    """An image on its way into the store."""

    entry: IndexEntry
    snapshot: Snapshot
    known: Vector | None
    """Its vector, where the store has it already."""

    @property
    def hash(self) -> str:
        return self.snapshot.image_hash


class _IndexBatch:
    """The rows of one index that were claimed together."""

    def __init__(self, index: ImageIndex, using: str, entries: Sequence[IndexEntry]) -> None:
        self.index = index
        self.using = using
        self.open = {entry.pk: entry for entry in entries}
        """The rows of which nothing is decided yet."""
        self.counts: Counter[str] = Counter()
        self.items: list[_Item] = []
        # By the file's hash: equal files are embedded once.
        self.pictures: dict[str, Image] = {}
        self.vectors: dict[str, Vector] = {}
        self.faults: dict[str, Exception] = {}
        self.failed: dict[IndexEntry, str] = {}

    def run(self) -> Counter[str]:
        try:
            self._run()
        except AWAY as error:
            logger.warning("%s: indexing is postponed: %s", self.index.name, error)
            self._postpone(list(self.open.values()), error)
        except Exception as error:
            logger.exception("%s: indexing is postponed by an unexpected error.", self.index.name)
            self._postpone(list(self.open.values()), error)
        return self.counts

    def _run(self) -> None:
        self.collection = collection_of(self.index)
        # Of those that are to be deleted too: one may be there again, and two changes folded in the wrong order.
        entries = list(self.open.values())
        shown = snapshots.shown(self.index, (entry.image_id for entry in entries), using=self.using)
        present = {entry.pk: shown[entry.image_id] for entry in entries if entry.image_id in shown}
        self._remove({entry: "" for entry in self.open.values() if entry.pk not in present})
        stored = self._fetch(present)
        for pk, image in present.items():
            self._look_at(self.open[pk], image, stored.get(pk))
            pixels = sum(picture.width * picture.height for picture in self.pictures.values())
            if len(self.pictures) >= get_embedder().batch_size or pixels >= PIXELS_AT_ONCE:
                self._write()
        self._write()
        self._remove(self.failed)

    def _fetch(self, pks: Iterable[int]) -> dict[int, Entity]:
        """By row: what the store holds, in this collection or in one that only its filters set apart from it."""
        space = self.collection.rpartition("_")[0]
        rows: dict[str, dict[str, int]] = {}
        for entry in (self.open[pk] for pk in pks):
            if entry.image_hash and entry.collection.rpartition("_")[0] == space:
                rows.setdefault(entry.collection, {})[self.index.entity_id(entry.image_id)] = entry.pk
        return {
            row_of[entity.id]: entity
            for collection, row_of in rows.items()
            for entity in get_vector_store().fetch(collection, list(row_of))
        }

    def _look_at(self, entry: IndexEntry, image: Any, stored: Entity | None) -> None:
        try:
            snapshot = snapshots.take(self.index, image)
            known = stored.vector if stored and entry.image_hash == snapshot.image_hash else None
            item = _Item(entry=entry, snapshot=snapshot, known=known)
            current = (entry.collection, entry.fields_hash) == (self.collection, snapshot.fields_hash)
            if known is not None and current:
                self._settle("unchanged", [self._settlement(item)])
                return
            if known is None and item.hash not in {*self.vectors, *self.pictures, *self.faults}:
                self.pictures[item.hash] = images.decode(snapshot.content)
        except AWAY:
            raise
        except (Unusable, ImageError) as error:
            self.failed[entry] = str(error)
        except Exception as error:  # a remote storage's client raises what it likes
            self._try_again(entry, error)
        else:
            self.items.append(item)

    def _write(self) -> None:
        """Embed and write what has gathered."""
        items, self.items = self.items, []
        pictures, self.pictures = self.pictures, {}
        self._embed(pictures)
        for item in items:
            if item.known is None and item.hash in self.faults:
                self._try_again(item.entry, self.faults[item.hash])
        ready = self._held([item.entry for item in items if item.entry.pk in self.open])
        if ready:
            get_vector_store().ensure_collection(self.collection, schema_of(self.index))
            self._upsert([item for item in items if item.entry in ready])

    def _embed(self, pictures: Mapping[str, Image]) -> None:
        if not pictures:
            return
        try:
            vectors = get_embedder().embed([Query(image=picture) for picture in pictures.values()])
        except AWAY:
            raise
        except Exception as error:
            if len(pictures) == 1:
                self.faults |= dict.fromkeys(pictures, error)
            else:  # find the one that is to blame
                for image_hash, picture in pictures.items():
                    self._embed({image_hash: picture})
        else:
            self.vectors |= dict(zip(pictures, vectors, strict=True))

    def _upsert(self, items: Sequence[_Item]) -> None:
        try:
            get_vector_store().upsert(self.collection, [self._entity(item) for item in items])
        except AWAY:
            raise
        except Exception as error:
            if len(items) == 1:
                self._try_again(items[0].entry, error)
            else:
                for item in items:
                    self._upsert([item])
        else:
            self._settle("embedded", [self._settlement(item) for item in items if item.known is None])
            self._settle("updated", [self._settlement(item) for item in items if item.known is not None])

    def _remove(self, entries: Mapping[IndexEntry, str]) -> None:
        """Have the store forget these images: they are gone, or FAILED where a reason is given."""
        held = self._held(list(entries))
        ids = [self.index.entity_id(entry.image_id) for entry in held]
        for collection in self._collections() if held else ():
            get_vector_store().delete(collection, ids)
        for outcome in ("deleted", "failed"):
            chosen = [entry for entry in held if bool(entries[entry]) == (outcome == "failed")]
            self._settle(outcome, [Settlement(entry=entry, error=entries[entry]) for entry in chosen])

    def _collections(self) -> list[str]:
        """All of this index: an older one may still be searched elsewhere, or serve again after a rollback."""
        prefix = f"{settings.COLLECTION_PREFIX}_{self.index.name}_"
        return [name for name in get_vector_store().collections() if name.startswith(prefix)]

    def _held(self, entries: list[IndexEntry]) -> set[IndexEntry]:
        """Those that are still ours to write; the others are left to whoever has them."""
        held = set(outbox.renew(entries))
        self._close("postponed", [entry for entry in entries if entry not in held])
        return held

    def _try_again(self, entry: IndexEntry, error: Exception) -> None:
        if entry.attempts < MAX_ATTEMPTS:
            logger.warning("%s: image %s is postponed: %s", self.index.name, entry.image_id, _said(error))
            self._postpone([entry], error)
        else:
            self.failed[entry] = f"{_said(error)} (after {entry.attempts} attempts)"

    def _postpone(self, entries: Sequence[IndexEntry], error: Exception) -> None:
        self._close("postponed", entries)
        try:
            outbox.postpone(entries, _said(error))
        except Exception:
            logger.exception("%s: rows are left to the end of their lease.", self.index.name)

    def _settle(self, outcome: str, settlements: Sequence[Settlement]) -> None:
        outbox.settle(settlements)
        self._close(outcome, [settlement.entry for settlement in settlements])
        for settlement in settlements if outcome == "failed" else ():
            logger.warning("%s: image %s: %s", self.index.name, settlement.entry.image_id, settlement.error)

    def _close(self, outcome: str, entries: Iterable[IndexEntry]) -> None:
        self.counts[outcome] += sum(self.open.pop(entry.pk, None) is not None for entry in entries)

    def _settlement(self, item: _Item) -> Settlement:
        return Settlement(
            entry=item.entry,
            image_hash=item.hash,
            fields_hash=item.snapshot.fields_hash,
            collection=self.collection,
        )

    def _entity(self, item: _Item) -> Entity:
        return Entity(
            id=self.index.entity_id(item.entry.image_id),
            image_id=item.entry.image_id,
            product_id=item.snapshot.product_id,
            vector=self.vectors[item.hash] if item.known is None else item.known,
            fields=item.snapshot.fields,
        )


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"
