"""A batch: index entries that a worker has claimed, and their images on the way into the vector store.

Four steps, each of which passes its values to the next:

plan     compare each image as the shop has it with what the collections hold of it; a pure function, without I/O
embed    make the vectors that neither a collection nor the cache has: each picture once per space
write    upsert entities, one collection after the other
settle   record in the outbox what the collections hold now

What cannot be done now is tried again later. An image that can never be indexed is FAILED with a sentence, and does not
keep the others from being indexed. One that cannot be read, because its file is missing or the shop's code cannot give
its values, is FAILED too, but the collections keep what they hold of it: neither a mistake in a declaration nor a
storage that is not mounted removes anything from the results.

A collection that is not live never blocks the others: if the store refuses it, though the store itself is up, it is
paused with the reason, and the images are written to the other collections.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any, cast

from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, SuspiciousOperation
from django.db import InterfaceError, OperationalError, transaction

from shopsearch import images, registry
from shopsearch.backends import adapted_of, embedder_of, get_embedder, get_vector_store
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError, EmbedderError, ImageError
from shopsearch.indexing import collections, outbox, pictureless, vocabulary
from shopsearch.indexing.collections import REFUSALS
from shopsearch.indexing.outbox import MAX_ATTEMPTS, Settlement
from shopsearch.models import CachedVector, Collection, Hashes, IndexEntry, StoredImage
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import keys_from
from shopsearch.registry.relations import with_related
from shopsearch.types import Entity, FilterValue, FilterValues, Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.embedders.adapted import AdaptedEmbedder
    from shopsearch.types import Vector

logger = logging.getLogger(__name__)
AWAY = (BackendError, ImproperlyConfigured, OperationalError, InterfaceError)
"""Errors for which the images are not to blame: what was not settled is tried again, for as long as it takes."""

BYTES_AT_ONCE = 64 * 1024 * 1024
"""Files are held up to about this many bytes at a time."""

PIXELS_AT_ONCE = 16_000_000
"""Decoded pictures are held up to about this many pixels, 3 bytes each, until they are embedded."""

KILLS = (
    "The worker died each time it indexed this image: {attempts} attempts, the last ones with this image alone. "
    "The worker's log or the system's log says why; usually it is memory. Save the picture again as a JPEG, or "
    "smaller, and upload it again."
)
NO_MODEL = (
    "The settings no longer name the model that made the live collection: name it in "
    "SHOPSEARCH['FORMER_EMBEDDER'], and run `manage.py shopsearch_reindex --rebuild` to make a new collection."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """The outcome of the entries that were claimed together; the other numbers add up to ``claimed``."""

    claimed: int = 0
    embedded: int = 0
    """Written with a new vector."""
    updated: int = 0
    """Written with a known vector: only its filter values or the collection were new, or the image is shown again."""
    unchanged: int = 0
    deleted: int = 0
    failed: int = 0
    postponed: int = 0


def index_pending() -> Iterator[Batch]:
    """Index batch after batch, until nothing is due."""
    while (batch := index_batch()).claimed:
        yield batch
    while pictureless.follow():
        pass


def index_batch() -> Batch:
    """Claim one batch of due entries and index their images. Raises only what claiming raises.

    Products without a picture that were noted are looked at, too.
    """
    entries = sorted(outbox.claim(settings.BATCH_SIZE), key=_source)
    counts = Counter(claimed=len(entries))
    for (using, name), group in groupby(entries, key=_source):
        claimed = _Claimed(registry.get_index(name), using, list(group))
        try:
            _index(claimed)
        except Exception as error:
            if isinstance(error, AWAY):
                logger.warning("%s: indexing is postponed: %s", name, error)
            else:
                logger.exception("%s: indexing is postponed by an unexpected error.", name)
            claimed.postpone(list(claimed.open.values()), error)
        counts += claimed.counts
    pictureless.follow()
    return Batch(**counts)


def _source(entry: IndexEntry) -> tuple[str, str]:
    return entry._state.db or "default", entry.index


def _index(claimed: _Claimed) -> None:
    index, using, entries = claimed.index, claimed.using, list(claimed.open.values())
    # Deleted images are looked up too: one may exist again, and two changes may have been folded in the wrong order.
    shown = shown_images(index, (entry.image_id for entry in entries), using=using)
    present = [entry for entry in entries if entry.image_id in shown]
    # Read after the claim: a collection that begins later looks at these entries again by itself (see rebuild.py).
    known = list(Collection.objects.of(index, using))
    if present and not any(collection.is_live for collection in known):
        known.append(collections.begin_live(index, using))
    destinations = destinations_of(index, known)
    _remove(claimed, {entry: "" for entry in entries if entry.image_id not in shown}, known)

    claimed.failed |= {entry: KILLS.format(attempts=MAX_ATTEMPTS) for entry in present if entry.has_killed}

    stored = _read_present(claimed, present, destinations, known)
    cached = _read_cached(claimed, present, destinations, stored)
    vectors: dict[tuple[str, str], Vector | Exception] = {}
    for snapshots in _snapshots(claimed, present, shown, stored, destinations):
        plans = [
            plan(entry, snapshot, stored[entry.pk], cached[entry.image_id], destinations)
            for entry, snapshot in snapshots
        ]
        vectors |= _embed(claimed, plans, vectors)
        _settle(claimed, _write(claimed, plans, vectors, destinations), known)
        # Those that stay as they are, too: a title that is suggested need not be among the words that are stored.
        read = [(shown[each.entry.image_id], each.snapshot.fields) for each in plans]
        vocabulary.add(index, read, using=using)
    _remove(claimed, claimed.failed, known)
    claimed.settle_unreadable()


class _Claimed:
    """Entries of one index that were claimed together: those that are still open, and the counts of the others."""

    def __init__(self, index: ImageIndex, using: str, entries: Sequence[IndexEntry]) -> None:
        self.index = index
        self.using = using
        self.open = {entry.pk: entry for entry in entries}
        self.failed: dict[IndexEntry, str] = {}
        """Those that can never be indexed, and why; they have still to be deleted from the store."""
        self.unreadable: dict[IndexEntry, str] = {}
        """Those that cannot be read, and why; the store keeps what it holds of them."""
        self.counts: Counter[str] = Counter()
        self._renewed_at = time.monotonic()

    def __contains__(self, entry: IndexEntry) -> bool:
        return entry.pk in self.open and entry not in self.failed and entry not in self.unreadable

    def renew(
        self, entries: Sequence[IndexEntry], written: Iterable[Collection] | None = None
    ) -> set[IndexEntry]:
        """Those whose claims still hold, with a fresh lease; the others are left to the workers that claimed them."""
        held = set(outbox.renew(entries, written))
        if len(held) == len(self.open):
            self._renewed_at = time.monotonic()
        self._close("postponed", [entry for entry in entries if entry not in held])
        return held

    def renew_if_due(self) -> None:
        """Renew all leases if a third of their time has passed: called before each step that may take long."""
        if time.monotonic() - self._renewed_at >= settings.LEASE_SECONDS / 3:
            self.renew(list(self.open.values()), ())

    def settle(self, outcome: str, settlements: Sequence[Settlement]) -> None:
        outbox.settle(settlements)
        self._close(outcome, [settlement.entry for settlement in settlements])

    def postpone(self, entries: Sequence[IndexEntry], error: Exception) -> None:
        self._close("postponed", entries)
        try:
            outbox.postpone(entries, _message(error), is_outage=isinstance(error, AWAY))
        except Exception:
            logger.exception("%s: entries are left to the end of their lease.", self.index.name)

    def reject(self, entry: IndexEntry, error: Exception, *, is_unreadable: bool = False) -> None:
        """Postpone an image with which something is wrong, or mark it as failed where another attempt cannot help."""
        failed = self.unreadable if is_unreadable else self.failed
        if isinstance(error, Unreadable | ImageError):
            failed[entry] = str(error)
        elif entry.attempts >= MAX_ATTEMPTS:
            failed[entry] = f"{_message(error)} (after {entry.attempts} attempts)"
        else:
            logger.warning("%s: image %s is postponed: %s", self.index.name, entry.image_id, _message(error))
            self.postpone([entry], error)

    def settle_unreadable(self) -> None:
        """Mark as FAILED the images that cannot be read; every collection keeps what it holds of them."""
        for entry, error in self.unreadable.items():
            logger.warning("%s: image %s: %s", self.index.name, entry.image_id, error)
        self.settle(
            "failed",
            [Settlement(entry=entry, stored={}, error=error) for entry, error in self.unreadable.items()],
        )

    def _close(self, outcome: str, entries: Iterable[IndexEntry]) -> None:
        self.counts[outcome] += sum(self.open.pop(entry.pk, None) is not None for entry in entries)


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, BackendError) else f"{type(error).__name__}: {error}"


# What the shop has: snapshots.


class Unreadable(Exception):
    """The image cannot be read as it is, and another attempt cannot help; the message says why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """An image as the shop has it now."""

    content: bytes = b""
    """The file, up to one byte past MAX_IMAGE_BYTES, which is enough for ``images.decode`` to refuse it.

    Nothing where its version was known, and so no collection needs a new vector of it.
    """
    image_hash: str
    file_version: str = ""
    """A digest of the file's name, version and hash; "" if its version is unknown, or not trusted."""
    product_id: str
    fields: FilterValues
    fields_hash: str
    """``hash_fields`` of the product and the fields."""


def shown_images(index: ImageIndex, image_ids: Iterable[str], *, using: str) -> dict[str, Any]:
    """The images among these ids that the shop shows, by id, with the rows that the declared paths lead to.

    An image without a file or without a product cannot be shown. Ids that cannot be keys of the model are left out.
    """
    keys = keys_from(index.model, image_ids)
    found = with_related(index, index.get_queryset().using(using).filter(pk__in=keys)) if keys else ()
    with index.in_its_language():
        return {
            str(image.pk): image
            for image in found
            if getattr(image, index.image_field) and _has_product(index, image)
        }


def _has_product(index: ImageIndex, image: Any) -> bool:
    try:
        return index.get_product(image) is not None
    except ObjectDoesNotExist:
        return False
    except (OperationalError, InterfaceError):
        raise
    except Exception:  # the shop's own code; ``take_snapshot`` says of this image alone what is wrong
        return True


def take_snapshot(index: ImageIndex, image: Any, known: Mapping[str, str] | None = None) -> Snapshot:
    """The image with its file, its product, its filter values and its words. The file is read once.

    It is not read if ``known``, a mapping of file versions to hashes, has its version; without one, its version is not
    asked for. Raises Unreadable where only a person can fix it, and whatever the file storage and the database raise
    when they are away.
    """
    file = getattr(image, index.image_field)
    # Before the file is read: a version that is too old costs one more reading, one that is too new hides a change.
    said = _said_of_file(index, image) if known is not None and settings.TRUST_MODIFIED_TIME else ""
    content, image_hash = b"", _trusted_hash(said, known or {})
    if not image_hash:
        try:
            with index.open_image(image) as opened:
                content = bytes(opened.read(settings.MAX_IMAGE_BYTES + 1))
        except FileNotFoundError as error:
            raise Unreadable(f"The file {file.name} is missing; upload the picture again.") from error
        except SuspiciousOperation as error:
            raise Unreadable(f"The file cannot be read: {error}") from error
        image_hash = hashlib.sha256(content).hexdigest()
    try:
        product_id = str(index.get_product(image).pk)
        fields = index.get_field_values(image)
        fields_hash = hash_fields(product_id, fields)
    except (OperationalError, InterfaceError):
        raise
    except Exception as error:  # the shop's own code, and it concerns this image alone
        logger.exception("%s: image %s has no filter values.", index.name, image.pk)
        raise Unreadable(f"Its filter values cannot be read: {type(error).__name__}: {error}") from error
    return Snapshot(
        content=content,
        image_hash=image_hash,
        file_version=_file_version(said, image_hash),
        product_id=product_id,
        fields=fields,
        fields_hash=fields_hash,
    )


def _said_of_file(index: ImageIndex, image: Any) -> str:
    """The file's name and its version, as the storage says it; "" where it raises: reading shows what is wrong."""
    version = index.ask_shop("file version", "", index.get_file_version, image)
    return f"{getattr(image, index.image_field).name}\0{version}" if version else ""


def _file_version(said: str, image_hash: str) -> str:
    # With the hash: a worker of older code records another hash and leaves the version as it is.
    return hashlib.sha256(f"{said}\0{image_hash}".encode()).hexdigest() if said else ""


def _trusted_hash(said: str, known: Mapping[str, str]) -> str:
    """The file's hash, if one of the known versions is what is said of it; "" otherwise."""
    hashes = (each for version, each in known.items() if version == _file_version(said, each))
    return next(hashes, "") if said else ""


def hash_fields(product_id: str, fields: FilterValues) -> str:
    """A digest of the product's key and the fields, names included."""
    return hashlib.sha256(json.dumps([product_id, fields], sort_keys=True).encode()).hexdigest()


def _snapshots(
    claimed: _Claimed,
    entries: Iterable[IndexEntry],
    shown: Mapping[str, Any],
    stored: Mapping[int, Mapping[Collection, Stored]],
    destinations: Sequence[Destination],
) -> Iterator[list[tuple[IndexEntry, Snapshot]]]:
    """Snapshots of the images, in lists whose files have about BYTES_AT_ONCE together."""
    taken: list[tuple[IndexEntry, Snapshot]] = []
    size = 0
    for entry in entries:
        claimed.renew_if_due()
        if entry not in claimed:  # it is FAILED, or its claim has been lost
            continue
        try:
            known = _known_files(stored[entry.pk], destinations)
            snapshot = take_snapshot(claimed.index, shown[entry.image_id], known)
        except AWAY:
            raise
        except Exception as error:  # a remote storage's client may raise anything
            claimed.reject(entry, error, is_unreadable=True)
            continue
        taken.append((entry, snapshot))
        size += len(snapshot.content)
        if size >= BYTES_AT_ONCE:
            yield taken
            taken, size = [], 0
    yield taken


# What the collections hold.


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Destination:
    """A collection that changes are written to, with what this process knows of it."""

    collection: Collection
    has_model: bool
    """Whether the settings name the model of its space."""
    adapter: AdaptedEmbedder | None = None
    """The adapter that its vectors were extended with, if any."""
    declared: frozenset[str]
    """Its fields that are still declared with the same type."""

    @property
    def space(self) -> str:
        """The model's space, in which pictures are embedded; the collection's space includes the adapter."""
        return self.adapter.embedder.space if self.adapter else self.collection.space

    @property
    def is_complete(self) -> bool:
        """Whether this process knows all fields and the model; one with older or newer code does not."""
        return self.has_model and len(self.declared) == len(self.collection.fields)

    def values_of(self, snapshot: Snapshot, stored: Stored | None) -> dict[str, FilterValue | None]:
        """The image's values for the collection's fields. Fields outside ``declared`` keep their stored values."""
        there = {} if stored is None else stored.fields
        return {
            name: snapshot.fields[name] if name in self.declared else there.get(name)
            for name in self.collection.fields
        }


def destinations_of(index: ImageIndex, collections: Iterable[Collection]) -> list[Destination]:
    """The index's collections that changes are written to, the live one first."""
    types = index.field_types
    destinations = [
        Destination(
            collection=each,
            has_model=embedder_of(each.space) is not None,
            adapter=adapted_of(each.space),
            declared=frozenset(name for name, kind in each.fields.items() if types.get(name) == kind),
        )
        for each in collections
        if each.state != Collection.State.RETIRED
    ]
    return sorted(destinations, key=lambda each: not each.collection.is_live)


def hashes_of(snapshot: Snapshot, values: FilterValues) -> Hashes:
    """The hashes of an entity that is made from this snapshot with these values."""
    is_whole = values == snapshot.fields
    fields_hash = snapshot.fields_hash if is_whole else hash_fields(snapshot.product_id, values)
    return Hashes(snapshot.image_hash, fields_hash)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a collection holds of an image for certain."""

    hashes: Hashes
    file_version: str = ""
    is_current: bool
    """Whether the image was looked at since the collection's filling began."""
    space: str
    """The model's space."""
    vector: Vector
    """In the model's space: without what an adapter added."""
    fields: FilterValues


def model_space(space: str) -> str:
    """The space of the model alone. A picture with a vector in one of the model's spaces has one in all of them."""
    adapter = adapted_of(space)
    return adapter.embedder.space if adapter else space


def _read_present(
    claimed: _Claimed,
    entries: Sequence[IndexEntry],
    destinations: Sequence[Destination],
    known: Sequence[Collection],
) -> dict[int, dict[Collection, Stored]]:
    """By entry: what the destinations hold of the image, or another collection where no destination of its space does.

    So a picture that has a vector anywhere is not embedded again.
    """
    written = [destination.collection for destination in destinations]
    spaces = {destination.space for destination in destinations}
    others = [each for each in known if model_space(each.space) in spaces and each not in written]
    return _read_stored(claimed, entries, written, others)


def _read_stored(
    claimed: _Claimed,
    entries: Iterable[IndexEntry],
    wanted: Sequence[Collection],
    others: Sequence[Collection],
) -> dict[int, dict[Collection, Stored]]:
    """By entry: what the wanted collections are known to hold, and the others for a model whose vector is missing."""
    by_key = {collection.pk: collection for collection in (*wanted, *others)}
    rows: defaultdict[int, dict[int, StoredImage]] = defaultdict(dict)
    stored: dict[int, dict[Collection, Stored]] = {entry.pk: {} for entry in entries}
    chosen = StoredImage.objects.using(claimed.using).known()
    for row in chosen.filter(entry__in=list(stored), collection__in=list(by_key)):
        rows[row.collection_id][row.entry_id] = row
    for key, collection in by_key.items():
        adapter, space = adapted_of(collection.space), model_space(collection.space)
        by_id = {
            claimed.index.entity_id(claimed.open[pk].image_id): row
            for pk, row in rows[key].items()
            if collection in wanted or all(each.space != space for each in stored[pk].values())
        }
        try:
            found = get_vector_store().fetch(collection.name, list(by_id)) if by_id else []
        except REFUSALS as error:
            collections.handle_refusal(collection, error)
            found = []
        for entity in found:
            row = by_id[entity.id]
            stored[row.entry_id][collection] = Stored(
                hashes=row.hashes,
                file_version=row.file_version,
                is_current=row.generation == collection.generation,
                space=space,
                vector=adapter.restore(entity.vector) if adapter else entity.vector,
                fields=entity.fields,
            )
    return stored


def _known_files(stored: Mapping[Collection, Stored], destinations: Iterable[Destination]) -> dict[str, str]:
    """By version: the hashes of the files that need not be read, as every model has its vector of them."""
    models = {each.space for each in destinations if each.has_model}
    spaces: defaultdict[str, set[str]] = defaultdict(set)
    for each in stored.values():
        spaces[each.hashes.image].add(each.space)
    return {
        each.file_version: each.hashes.image
        for each in stored.values()
        if each.file_version and models <= spaces[each.hashes.image]
    }


def _read_cached(
    claimed: _Claimed,
    entries: Iterable[IndexEntry],
    destinations: Sequence[Destination],
    stored: Mapping[int, Mapping[Collection, Stored]],
) -> Mapping[str, list[CachedVector]]:
    """By image: the cached vectors of images that a destination lacks. One query, or none if nothing is lacking."""
    lacking = [
        entry.image_id
        for entry in entries
        if any(each.collection not in stored[entry.pk] for each in destinations)
    ]
    cached: defaultdict[str, list[CachedVector]] = defaultdict(list)
    for row in CachedVector.objects.of(claimed.index, claimed.using).filter(image_id__in=lacking):
        cached[row.image_id].append(row)
    return cached


# 1. Plan.


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """What to do with one image."""

    entry: IndexEntry
    snapshot: Snapshot
    unchanged: Mapping[Collection, Stored] = field(default_factory=dict)
    """The collections that hold it as the shop has it."""
    writes: Mapping[Destination, FilterValues] = field(default_factory=dict)
    """Where to write it, with which values."""
    left: Mapping[Collection, Hashes | None] = field(default_factory=dict)
    """The collections that this process cannot update, with the hashes they keep; None where those are unknown."""
    vectors: Mapping[str, Vector] = field(default_factory=dict)
    """The picture's known vectors, by space."""
    cached: Sequence[CachedVector] = ()

    @property
    def unembedded(self) -> set[str]:
        """The spaces in which the picture has to be embedded."""
        return {destination.space for destination in self.writes} - self.vectors.keys()

    @property
    def hash(self) -> str:
        return self.snapshot.image_hash

    @property
    def news(self) -> dict[Collection, Hashes | None]:
        """What the outbox has to learn once the plan is carried out: the hashes that the collections hold then."""
        written = {each.collection: hashes_of(self.snapshot, values) for each, values in self.writes.items()}
        # While one collection is written, what the others hold counts as unknown too: see ``_write``.
        same = {
            each: stored.hashes
            for each, stored in self.unchanged.items()
            if written or not stored.is_current or stored.file_version != self.snapshot.file_version
        }
        return {**self.left, **same, **written}


def plan(
    entry: IndexEntry,
    snapshot: Snapshot,
    stored: Mapping[Collection, Stored],
    cached: Sequence[CachedVector],
    destinations: Sequence[Destination],
) -> ImagePlan:
    """Decide for each destination whether the image stays, is written, or is left to another process."""
    vectors = {each.space: each.vector for each in cached if each.image_hash == snapshot.image_hash}
    vectors |= {
        each.space: each.vector for each in stored.values() if each.hashes.image == snapshot.image_hash
    }
    unchanged: dict[Collection, Stored] = {}
    writes: dict[Destination, FilterValues] = {}
    left: dict[Collection, Hashes | None] = {}
    for destination in destinations:
        collection, there = destination.collection, stored.get(destination.collection)
        values = destination.values_of(snapshot, there)
        if there and there.hashes == hashes_of(snapshot, values):
            unchanged[collection] = there
        elif not (collection.is_live or destination.is_complete):
            # This process has other code than the collection needs: a process that knows its fields writes the image.
            left[collection] = None
        elif destination.has_model or destination.space in vectors:
            writes[destination] = values
        else:
            left[collection] = there.hashes if there else None
    return ImagePlan(
        entry=entry,
        snapshot=snapshot,
        unchanged=unchanged,
        writes=writes,
        left=left,
        vectors=vectors,
        cached=cached,
    )


def without(plan: ImagePlan, destination: Destination) -> ImagePlan:
    """The plan with nothing written to this destination."""
    writes = {each: values for each, values in plan.writes.items() if each is not destination}
    return replace(plan, writes=writes, left={**plan.left, destination.collection: None})


# 2. Embed.


def _embed(
    claimed: _Claimed,
    plans: Sequence[ImagePlan],
    known: Mapping[tuple[str, str], Vector | Exception],
) -> dict[tuple[str, str], Vector | Exception]:
    """By space and file hash: the vectors that the plans lack, or the error where there is none."""
    wanted: defaultdict[str, set[str]] = defaultdict(set)
    contents: dict[str, bytes] = {}
    for each in plans:
        # Only of these: the file of another image with the same picture may not have been read.
        if spaces := {space for space in each.unembedded if (space, each.hash) not in known}:
            wanted[each.hash] |= spaces
            contents[each.hash] = each.snapshot.content
    made: dict[tuple[str, str], Vector | Exception] = {}
    sides = [
        embedder.useful_side
        for space in {space for each in wanted.values() for space in each}
        if (embedder := embedder_of(space))
    ]
    side = max(sides) if sides and all(sides) else 0
    for decoded in _decoded(claimed, contents, side):
        # Embedding may take long: the lease keeps other workers from embedding the same images.
        claimed.renew(list(claimed.open.values()), ())
        ours = {each.hash for each in plans if each.entry in claimed}
        for space in sorted({space for each in decoded.keys() & ours for space in wanted[each]}):
            chosen = {key: decoded[key] for key in decoded if key in ours and space in wanted[key]}
            made |= {(space, key): vector for key, vector in _embed_pictures(space, chosen).items()}
    return made


def _decoded(
    claimed: _Claimed, contents: Mapping[str, bytes], side: int
) -> Iterator[dict[str, Image | Exception]]:
    """The pictures, or what is wrong with them, in groups as large as the embedder and PIXELS_AT_ONCE allow."""
    decoded: dict[str, Image | Exception] = {}
    pixels = 0
    for image_hash, content in contents.items():
        claimed.renew_if_due()
        try:
            decoded[image_hash] = picture = images.decode(content, side=side)
            pixels += picture.width * picture.height
        except AWAY:
            raise
        except Exception as error:
            decoded[image_hash] = error
        if len(decoded) >= get_embedder().batch_size or pixels >= PIXELS_AT_ONCE:
            yield decoded
            decoded, pixels = {}, 0
    if decoded:
        yield decoded


def _embed_pictures(space: str, decoded: Mapping[str, Image | Exception]) -> dict[str, Vector | Exception]:
    outcome: dict[str, Vector | Exception] = {}
    pictures: dict[str, Image] = {}
    for image_hash, picture in decoded.items():
        if isinstance(picture, Exception):
            outcome[image_hash] = picture
        else:
            pictures[image_hash] = picture
    embedder = embedder_of(space)
    if embedder is None or not pictures:
        return outcome
    try:
        vectors = embedder.embed([Query(image=picture) for picture in pictures.values()])
        outcome |= zip(pictures, vectors, strict=True)
    except AWAY:
        raise
    except Exception as error:
        if len(pictures) == 1:
            return outcome | dict.fromkeys(pictures, error)
        for image_hash, picture in pictures.items():  # find the one that is to blame
            outcome |= _embed_pictures(space, {image_hash: picture})
    return outcome


# 3. Write.


def _write(
    claimed: _Claimed,
    plans: Iterable[ImagePlan],
    vectors: Mapping[tuple[str, str], Vector | Exception],
    destinations: Sequence[Destination],
) -> list[ImagePlan]:
    """Write the plans to one collection after the other. Returns the plans that were carried out."""
    plans = [each for each in plans if each.entry in claimed]
    for destination in destinations:
        faults = {
            each.entry.pk: vector
            for each in plans
            if destination.space in each.unembedded
            and isinstance(vector := vectors[destination.space, each.hash], Exception)
        }
        plans = _drop_refused(claimed, plans, destination, faults)
    for each in plans:
        if not each.unchanged and not each.writes:
            claimed.postpone([each.entry], EmbedderError(NO_MODEL))
    # From here on, what the destinations hold of these images counts as unknown.
    changing = [each.entry for each in plans if each.writes]
    ours = claimed.renew(changing, [each.collection for each in destinations])
    plans = [each for each in plans if each.entry in (ours if each.writes else claimed)]
    for destination in destinations:
        if chosen := [each for each in plans if destination in each.writes]:
            collection = destination.collection
            entities = {each.entry.pk: _entity(claimed.index, each, destination, vectors) for each in chosen}
            try:
                get_vector_store().ensure_collection(collection.name, collection.schema)
                refused = _upsert(collection.name, entities)
            except REFUSALS as error:
                collections.handle_refusal(collection, error)
                plans = [
                    shorter
                    for each in plans
                    for shorter in _drop_destination(claimed, each, destination, error)
                ]
            else:
                plans = _drop_refused(claimed, plans, destination, refused)
    return plans


def _drop_destination(
    claimed: _Claimed, plan: ImagePlan, destination: Destination, error: Exception
) -> Iterator[ImagePlan]:
    """The plan without this destination. An image that no other destination takes is tried again later."""
    shorter = without(plan, destination) if destination in plan.writes else plan
    if shorter.unchanged or shorter.writes:
        yield shorter
    else:
        claimed.postpone([plan.entry], error)


def _drop_refused(
    claimed: _Claimed,
    plans: Iterable[ImagePlan],
    destination: Destination,
    errors: Mapping[int, Exception],
) -> list[ImagePlan]:
    """The plans that remain when these images, given by entry, cannot be written to this destination.

    They are tried again later. If only a collection that is being filled refuses an image for good, the filling is
    paused: the live one still gets the image, and no image is lost because of a model that is not in use yet.
    """
    rest = []
    for each in plans:
        error = errors.get(each.entry.pk) if destination in each.writes else None
        if error is None:
            rest.append(each)
        elif (
            destination.collection.is_live
            or isinstance(error, ImageError)
            or each.entry.attempts < MAX_ATTEMPTS
        ):
            claimed.reject(each.entry, error)
        else:
            collections.pause(destination.collection, f"Image {each.entry.image_id}: {_message(error)}")
            rest += _drop_destination(claimed, each, destination, error)
    return rest


def _entity(
    index: ImageIndex,
    plan: ImagePlan,
    destination: Destination,
    vectors: Mapping[tuple[str, str], Vector | Exception],
) -> Entity:
    vector = plan.vectors.get(destination.space)
    if vector is None:
        vector = cast("Vector", vectors[destination.space, plan.hash])
    if destination.adapter:
        [vector] = destination.adapter.adapt(vector[None])
    return Entity(
        id=index.entity_id(plan.entry.image_id),
        image_id=plan.entry.image_id,
        product_id=plan.snapshot.product_id,
        vector=vector,
        fields=plan.writes[destination],
    )


def _upsert(collection: str, entities: Mapping[int, Entity]) -> dict[int, Exception]:
    """Upsert the entities. Returns those that the store refuses, with its error."""
    try:
        get_vector_store().upsert(collection, list(entities.values()))
    except AWAY:
        raise
    except Exception as error:
        if len(entities) == 1:
            return dict.fromkeys(entities, error)
        refused: dict[int, Exception] = {}
        for key, entity in entities.items():
            refused |= _upsert(collection, {key: entity})
        return refused
    return {}


# 4. Settle.


def _settle(claimed: _Claimed, plans: Sequence[ImagePlan], known: Iterable[Collection]) -> None:
    outcomes: defaultdict[str, list[Settlement]] = defaultdict(list)
    for each in plans:
        outcome = "embedded" if each.unembedded else "updated" if each.writes else "unchanged"
        outcomes[outcome].append(
            Settlement(
                entry=each.entry,
                stored=each.news,
                file_versions={each.hash: each.snapshot.file_version},
                outdated=_outdated(each, known),
            )
        )
    for outcome, settlements in outcomes.items():
        claimed.settle(outcome, settlements)


def _outdated(plan: ImagePlan, known: Iterable[Collection]) -> list[int]:
    """The image's cached vectors that no collection needs any more.

    A vector is needed while a collection of its space lacks the image, even one that is only kept for a rollback.
    """
    has = {each.space for each in plan.unchanged.values()} | {each.space for each in plan.writes}
    needed = {model_space(each.space) for each in known} - has
    return [each.pk for each in plan.cached if each.space not in needed or each.image_hash != plan.hash]


def _remove(claimed: _Claimed, entries: Mapping[IndexEntry, str], known: Sequence[Collection]) -> None:
    """Delete these images from the store: they are gone or hidden, or FAILED where a reason is given."""
    if not entries:
        return
    index, ours = claimed.index, _cache_hidden(claimed, entries, known)
    ids = [index.entity_id(entry.image_id) for entry in ours]
    # From all collections of the index: another process may still search an older one, or a rollback may use it.
    prefix, by_name = collections.prefix_of(index), {each.name: each for each in known}
    for name in get_vector_store().collections() if ids else ():
        if name.startswith(prefix):
            try:
                get_vector_store().delete(name, ids)
            except REFUSALS as error:
                if name in by_name:  # a collection without a row is not in use
                    collections.handle_refusal(by_name[name], error)
    claimed.settle("deleted", [Settlement(entry=entry) for entry in ours if not entries[entry]])
    failed = [Settlement(entry=entry, error=entries[entry]) for entry in ours if entries[entry]]
    claimed.settle("failed", failed)
    for each in failed:
        logger.warning("%s: image %s: %s", index.name, each.entry.image_id, each.error)


def _cache_hidden(
    claimed: _Claimed, entries: Iterable[IndexEntry], known: Sequence[Collection]
) -> set[IndexEntry]:
    """The entries that are still ours to delete. The vectors of images that the shop still has go to the cache."""
    index, using = claimed.index, claimed.using
    alive = [entry for entry in entries if entry.state != IndexEntry.State.DELETING]
    existing = index.existing([entry.image_id for entry in alive], using=using)
    hidden = [entry for entry in alive if entry.image_id in existing]
    found = [
        CachedVector(
            index=index.name,
            image_id=claimed.open[pk].image_id,
            space=stored.space,
            image_hash=stored.hashes.image,
            numbers=stored.vector.astype("<f4").tobytes(),
        )
        for pk, held in _read_stored(claimed, hidden, (), known).items()
        for collection, stored in held.items()
    ]
    # In one transaction: the next worker with these entries finds their vectors in a collection or in the cache.
    with transaction.atomic(using=using):
        ours = claimed.renew(list(entries))
        ids = {entry.image_id for entry in ours}
        cached = CachedVector.objects.of(index, using)
        cached.bulk_create([each for each in found if each.image_id in ids], ignore_conflicts=True)
        cached.filter(image_id__in=ids - existing).delete()
    return ours
