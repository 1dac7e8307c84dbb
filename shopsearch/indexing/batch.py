"""Batches: the rows of one index that were claimed together, and their images on their way into the store."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from django.db import transaction

from shopsearch import images, registry
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, EmbedderError, ImageError
from shopsearch.indexing import collections, outbox, snapshots, vector_cache
from shopsearch.indexing.embedding import AWAY, Vectors
from shopsearch.indexing.outbox import Settlement
from shopsearch.indexing.snapshots import Snapshot, Unusable
from shopsearch.indexing.targets import Hashes, Stored, Target, stored, targets_of, vectors_in
from shopsearch.models import Collection, IndexEntry
from shopsearch.registry import ImageIndex
from shopsearch.types import Entity, FilterValue

if TYPE_CHECKING:
    from shopsearch.types import Vector

logger = logging.getLogger(__name__)
MAX_ATTEMPTS = 10
"""What may pass by itself, such as a file storage that is away, is tried so often before the row is FAILED."""

PIXELS_AT_ONCE = 16_000_000
"""Decoded pictures are held up to about this many pixels, 3 bytes each, until they are embedded."""

NO_MODEL = (
    "The live collection was made by a model that the settings do not name any more: name it in "
    "SHOPSEARCH['FORMER_EMBEDDER'], and have `manage.py shopsearch_reindex --rebuild` make a new one."
)


@dataclass(slots=True, kw_only=True, eq=False)
class _Item:
    """An image on its way into the store."""

    entry: IndexEntry
    snapshot: Snapshot
    vectors: dict[str, Vector]
    """Those that there are of the picture, by space."""
    fields: dict[Target, Mapping[str, FilterValue | None]] = field(default_factory=dict)
    """What is to be written to each target that does not hold it."""
    held: dict[str, Hashes] = field(default_factory=dict)
    """What the targets hold of it when it is done."""
    kept: dict[str, Hashes] = field(default_factory=dict)
    """What the live collection goes on holding where no model can write to it."""

    @property
    def hash(self) -> str:
        return self.snapshot.image_hash

    @property
    def spaces(self) -> set[str]:
        """In which it has to be embedded."""
        return {target.space for target in self.fields} - self.vectors.keys()


class IndexBatch:
    """The rows of one index that were claimed together."""

    def __init__(self, index: ImageIndex, using: str, entries: Sequence[IndexEntry]) -> None:
        self.index = index
        self.using = using
        self.open = {entry.pk: entry for entry in entries}
        """The rows of which nothing is decided yet."""
        self.counts: Counter[str] = Counter()
        self.items: list[_Item] = []
        self.vectors = Vectors()
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
        # Of those that are to be deleted too: one may be there again, and two changes folded in the wrong order.
        entries = list(self.open.values())
        shown = snapshots.shown(self.index, (entry.image_id for entry in entries), using=self.using)
        present = {entry.pk: shown[entry.image_id] for entry in entries if entry.image_id in shown}
        # After the claim: whoever begins a collection now leaves these rows to us, later ones see it.
        self.collections = list(Collection.objects.of(self.index, self.using))
        if present and not any(each.state == collections.State.LIVE for each in self.collections):
            self.collections.append(collections.begin_live(self.index, self.using))
        self.targets = targets_of(self.index, self.collections)
        self._remove({entry: "" for entry in entries if entry.pk not in present})
        held = stored(self.index, (self.open[pk] for pk in present), self.targets, self.collections)
        wanting = [
            self.open[pk].image_id
            for pk in present
            if any(target.key not in held.get(pk, {}) for target in self.targets)
        ]
        self.kept = vector_cache.kept(self.index, wanting, using=self.using)
        for pk, image in present.items():
            if entry := self.open.get(pk):  # its claim may have been lost meanwhile
                self._look_at(entry, image, held.get(pk, {}))
            if (
                len(self.vectors.pictures) >= get_embedder().batch_size
                or self.vectors.pixels >= PIXELS_AT_ONCE
            ):
                self._write()
        self._write()
        self._remove(self.failed)

    def _look_at(self, entry: IndexEntry, image: Any, held: Mapping[str, Stored]) -> None:
        try:
            snapshot = snapshots.take(self.index, image)
            kept = self.kept.get(entry.image_id, ())
            vectors = {each.space: each.vector for each in kept if each.image_hash == snapshot.image_hash}
            vectors |= vectors_in(held, snapshot.image_hash, self.collections)
            item = _Item(entry=entry, snapshot=snapshot, vectors=vectors)
            for target in self.targets:
                self._plan(item, target, held.get(target.key))
            if not item.held:
                self._postpone([entry], EmbedderError(NO_MODEL))
                return
            if not item.fields:
                self._settle("unchanged", [self._settlement(item)])
                return
            if self.vectors.missing(item.hash, item.spaces):
                self.vectors.pictures[item.hash] = images.decode(snapshot.content)
        except AWAY:
            raise
        except (Unusable, ImageError) as error:
            self.failed[entry] = str(error)
        except Exception as error:  # a remote storage's client raises what it likes
            self._try_again(entry, error)
        else:
            self.items.append(item)

    def _plan(self, item: _Item, target: Target, stored: Stored | None) -> None:
        """Decide what becomes of the image in this collection: it stays, is written, or is left to another process."""
        fields = target.fields_of(item.snapshot, stored)
        hashes = target.hashes_of(item.snapshot, fields)
        if stored and stored.hashes == hashes:
            item.held[target.key] = hashes
        elif not (target.is_live or target.is_known):
            return  # this process is older than the collection; it is given to one that knows what belongs there
        elif target.embedder or target.space in item.vectors:
            item.fields[target] = fields
            item.held[target.key] = hashes
        elif stored:
            item.kept[target.key] = stored.hashes

    def _write(self) -> None:
        """Embed and write what has gathered."""
        items, self.items = self.items, []
        if self.vectors.pictures:
            # It may take long: nobody is to embed meanwhile what is in our hands.
            self._held(list(self.open.values()), ())
        items = [item for item in items if self._is_open(item.entry)]
        self.vectors.embed({item.hash for item in items})
        for item in items:
            for target in list(item.fields):
                fault = self.vectors.faults.get((target.space, item.hash))
                if fault and target.space in item.spaces:
                    self._give_up(item, target, fault)
        ready = self._held([item.entry for item in items if self._is_open(item.entry)], self.targets)
        written = [item for item in items if item.entry in ready]
        for target in self.targets:
            if chosen := [item for item in written if target in item.fields]:
                get_vector_store().ensure_collection(target.collection.name, target.collection.schema)
                self._upsert(target, chosen)
                written = [item for item in written if self._is_open(item.entry)]
        self._settle("embedded", [self._settlement(item) for item in written if item.spaces])
        self._settle("updated", [self._settlement(item) for item in written if not item.spaces])

    def _upsert(self, target: Target, items: Sequence[_Item]) -> None:
        try:
            get_vector_store().upsert(target.collection.name, [self._entity(item, target) for item in items])
        except AWAY:
            raise
        except Exception as error:
            if len(items) == 1:
                self._give_up(items[0], target, error)
            else:
                for item in items:
                    self._upsert(target, [item])

    def _give_up(self, item: _Item, target: Target, error: Exception) -> None:
        """Try the image again later. What only a collection that is being filled refuses for good, pauses the filling:
        the live one goes on, and nobody loses an image to a model that is not in use yet.
        """
        if target.is_live or item.entry.attempts < MAX_ATTEMPTS:
            if self._is_open(item.entry):
                self._try_again(item.entry, error)
            return
        collections.pause(target.collection, f"Image {item.entry.image_id}: {_said(error)}")
        del item.fields[target], item.held[target.key]
        if not item.held:  # no model can write it to the live one either
            self._postpone([item.entry], error)

    def _remove(self, entries: Mapping[IndexEntry, str]) -> None:
        """Have the store forget these images: they are gone or hidden, or FAILED where a reason is given."""
        held = self._let_go(entries) if entries else set()
        ids = [self.index.entity_id(entry.image_id) for entry in held]
        for collection in self._collections() if held else ():
            get_vector_store().delete(collection, ids)
        for outcome in ("deleted", "failed"):
            chosen = [entry for entry in held if bool(entries[entry]) == (outcome == "failed")]
            self._settle(outcome, [Settlement(entry=entry, error=entries[entry]) for entry in chosen])

    def _let_go(self, entries: Iterable[IndexEntry]) -> set[IndexEntry]:
        """Those that are still ours to delete. Vectors are kept of images that the shop has still."""
        alive = [entry for entry in entries if entry.state != IndexEntry.State.DELETING]
        there = vector_cache.there(self.index, (entry.image_id for entry in alive), using=self.using)
        alive = [entry for entry in alive if entry.image_id in there]
        found = vector_cache.read(self.index, alive, self.collections)
        # In one step: whoever looks at these rows next finds either what they say, or that it is kept.
        with transaction.atomic(using=self.using):
            held = self._held(list(entries))
            ids = {entry.image_id for entry in held}
            vector_cache.keep([each for each in found if each.image_id in ids], using=self.using)
            vector_cache.forget(self.index.name, ids - there, using=self.using)
        return held

    def _collections(self) -> list[str]:
        """All of this index: an older one may still be searched elsewhere, or serve again after a rollback."""
        prefix = collections.prefix_of(self.index)
        return [name for name in get_vector_store().collections() if name.startswith(prefix)]

    def _held(self, entries: list[IndexEntry], targets: Sequence[Target] | None = None) -> set[IndexEntry]:
        """Those that are still ours to write; the others are left to whoever has them."""
        keys = None if targets is None else {key for target in targets for key in target.keys}
        held = set(outbox.renew(entries, keys))
        self._close("postponed", [entry for entry in entries if entry not in held])
        return held

    def _is_open(self, entry: IndexEntry) -> bool:
        return entry.pk in self.open and entry not in self.failed

    def _try_again(self, entry: IndexEntry, error: Exception) -> None:
        if entry.attempts < MAX_ATTEMPTS:
            logger.warning("%s: image %s is postponed: %s", self.index.name, entry.image_id, _said(error))
            self._postpone([entry], error)
        else:
            self.failed[entry] = f"{_said(error)} (after {entry.attempts} attempts)"

    def _postpone(self, entries: Sequence[IndexEntry], error: Exception) -> None:
        self._close("postponed", entries)
        try:
            outbox.postpone(entries, _said(error), is_outage=isinstance(error, AWAY))
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
        """Of collections that are not written to it says what it said; of those that are gone, nothing."""
        targets = {key for target in self.targets for key in target.keys}
        others = {str(each.pk) for each in self.collections} - targets
        held = {key: hashes for key, hashes in item.entry.held.items() if key in others}
        # What a collection that is kept for a rollback lacks, it may yet ask for.
        needed = {each.space for each in self.collections}
        needed -= {target.space for target in self.targets if target.key in item.held}
        forgotten = [
            each.pk
            for each in self.kept.get(item.entry.image_id, ())
            if each.space not in needed or each.image_hash != item.hash
        ]
        return Settlement(entry=item.entry, held=held | item.kept | item.held, forgotten=forgotten)

    def _entity(self, item: _Item, target: Target) -> Entity:
        vector = item.vectors.get(target.space)
        return Entity(
            id=self.index.entity_id(item.entry.image_id),
            image_id=item.entry.image_id,
            product_id=item.snapshot.product_id,
            vector=self.vectors.get(item.hash, target.space) if vector is None else vector,
            fields=item.fields[target],
        )


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What became of the rows that were claimed at once; the other numbers add up to ``claimed``."""

    claimed: int = 0
    embedded: int = 0
    """Written with a new vector."""
    updated: int = 0
    """Written with a vector that there was: only the filter values or the collection were new, or it is shown again."""
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
        counts += IndexBatch(registry.get_index(name), using, list(group)).run()
    return Batch(**counts)


def index_pending() -> Iterator[Batch]:
    """Batch after batch, until nothing is due."""
    while (batch := index_batch()).claimed:
        yield batch


def _source(entry: IndexEntry) -> tuple[str, str]:
    return entry._state.db or "default", entry.index
