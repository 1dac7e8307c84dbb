"""Targets: the collections that an image is written to, each in its own space and with its own filters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from shopsearch.backends import embedder_of, get_vector_store
from shopsearch.embedders.base import Embedder
from shopsearch.indexing import collections as serving
from shopsearch.indexing.snapshots import Snapshot, hash_fields
from shopsearch.models import Collection, IndexEntry
from shopsearch.registry import ImageIndex
from shopsearch.types import FilterValue

if TYPE_CHECKING:
    from shopsearch.types import Vector

Hashes = list[str]
"""Of the file, and of the product's key and filter values as a collection has them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What a collection holds of an image: its vector, and the hashes of what it was written from."""

    hashes: Hashes
    vector: Vector
    fields: Mapping[str, FilterValue | None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Target:
    """A collection as this process can write to it."""

    collection: Collection
    embedder: Embedder | None
    """The model of its space; None where the settings name none."""
    names: frozenset[str]
    """Its fields that are declared now with the same type."""

    @property
    def key(self) -> str:
        return str(self.collection.pk)

    @property
    def keys(self) -> tuple[str, ...]:
        """Under which entries tell what it holds of them, the present one first."""
        return self.collection.keys

    @property
    def space(self) -> str:
        return self.collection.space

    @property
    def is_live(self) -> bool:
        return self.collection.state == serving.State.LIVE

    @property
    def is_known(self) -> bool:
        """Whether this process knows all that belongs into it; one that is older or newer than it does not."""
        return self.embedder is not None and len(self.names) == len(self.collection.fields)

    def known_of(self, entry: IndexEntry) -> Hashes | None:
        """What the entry tells of it; None where that is nothing or not certain."""
        return next((entry.held[key] for key in self.keys if key in entry.held), None)

    def fields_of(self, snapshot: Snapshot, stored: Stored | None) -> dict[str, FilterValue | None]:
        """The filter values as it has them; what is not declared here, or otherwise than it was, stays as it is."""
        held = {} if stored is None else stored.fields
        return {
            name: snapshot.fields[name] if name in self.names else held.get(name)
            for name in self.collection.fields
        }

    def hashes_of(self, snapshot: Snapshot, fields: Mapping[str, FilterValue | None]) -> Hashes:
        alike = fields == snapshot.fields
        return [
            snapshot.image_hash,
            snapshot.fields_hash if alike else hash_fields(snapshot.product_id, fields),
        ]


def targets_of(index: ImageIndex, collections: Iterable[Collection]) -> list[Target]:
    """Those of the index's collections that its changes are written to, the live one first."""
    types = index.field_types
    targets = [
        Target(
            collection=each,
            embedder=embedder_of(each.space),
            names=frozenset(name for name, kind in each.fields.items() if types.get(name) == kind),
        )
        for each in collections
        if each.state != serving.State.RETIRED
    ]
    return sorted(targets, key=lambda target: not target.is_live)


def stored(
    index: ImageIndex,
    entries: Iterable[IndexEntry],
    targets: Sequence[Target],
    collections: Sequence[Collection],
) -> dict[int, dict[str, Stored]]:
    """By entry and by collection's key: what the targets hold.

    Where no target of a space holds anything, what another collection of the space does: a picture that has a vector
    anywhere is not embedded again.
    """
    held: dict[int, dict[str, Stored]] = {}
    for collection, key, chosen in _places(entries, targets, collections):
        by_id = {index.entity_id(entry.image_id): (entry, hashes) for entry, hashes in chosen}
        for entity in get_vector_store().fetch(collection.name, list(by_id)):
            entry, hashes = by_id[entity.id]
            held.setdefault(entry.pk, {})[key] = Stored(
                hashes=hashes, vector=entity.vector, fields=entity.fields
            )
    return held


def vectors_in(
    held: Mapping[str, Stored], image_hash: str, collections: Iterable[Collection]
) -> dict[str, Vector]:
    """By space: the vector that this picture has already."""
    spaces = {str(each.pk): each.space for each in collections}
    return {spaces[key]: each.vector for key, each in held.items() if each.hashes[0] == image_hash}


def _places(
    entries: Iterable[IndexEntry], targets: Sequence[Target], collections: Sequence[Collection]
) -> list[tuple[Collection, str, list[tuple[IndexEntry, Hashes]]]]:
    """Which entries to read from which collection."""
    chosen: dict[str, list[tuple[IndexEntry, Hashes]]] = {}
    for entry in entries:
        spaces = {target.space for target in targets if target.known_of(entry)}
        for target in targets:
            if hashes := target.known_of(entry):
                chosen.setdefault(target.key, []).append((entry, hashes))
            elif (space := target.space) not in spaces:
                spaces.add(space)
                others = (
                    each for each in collections if each.space == space and entry.held.get(str(each.pk))
                )
                if other := next(others, None):
                    chosen.setdefault(str(other.pk), []).append((entry, entry.held[str(other.pk)]))
    by_key = {str(each.pk): each for each in collections}
    return [(by_key[key], key, rows) for key, rows in chosen.items()]
