"""What differs between the shop's images and what the outbox says the vector store holds of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shopsearch.indexing import snapshots
from shopsearch.indexing.targets import Target, targets_of
from shopsearch.models import Collection, IndexEntry
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import keys_from, keys_of

Reason = Literal[
    "new", "unfinished", "in another collection", "with another picture", "with other fields", "gone"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """An image that indexing would do something about, and why."""

    image_id: str
    reason: Reason


def differences(index: ImageIndex) -> Iterator[Difference]:
    """Every difference there is. Reads each file, embeds nothing; memory does not grow with the catalogue."""
    targets = targets_of(index, Collection.objects.of(index))
    for keys in keys_of(index.get_queryset()):
        image_ids = [str(key) for key in keys]
        entries = {
            entry.image_id: entry for entry in IndexEntry.objects.of(index).filter(image_id__in=image_ids)
        }
        shown = snapshots.shown(index, image_ids, using=IndexEntry.objects.of(index).db)
        for image_id, image in shown.items():
            if reason := _reason(index, image, entries.get(image_id), targets):
                yield Difference(image_id=image_id, reason=reason)
        yield from (Difference(image_id=each, reason="gone") for each in entries if each not in shown)
    yield from gone(index)


def gone(index: ImageIndex) -> Iterator[Difference]:
    """Each row whose image is not in the index's queryset any more."""
    for keys in keys_of(IndexEntry.objects.of(index)):
        known = list(IndexEntry.objects.of(index).filter(pk__in=keys).values_list("image_id", flat=True))
        there = index.get_queryset().filter(pk__in=keys_from(index.model, known))
        found = {str(key) for key in there.values_list("pk", flat=True)}
        yield from (Difference(image_id=each, reason="gone") for each in known if each not in found)


def _reason(
    index: ImageIndex, image: Any, entry: IndexEntry | None, targets: Sequence[Target]
) -> Reason | None:
    if entry is None:
        return "new"
    if entry.state != IndexEntry.State.INDEXED:
        return "unfinished"
    if not any(target.is_live and target.known_of(entry) for target in targets):
        return "in another collection"
    try:
        snapshot = snapshots.take(index, image)
    except (snapshots.Unusable, OSError):
        return "with another picture"  # one that cannot be read: the worker says so in the row
    for target in targets:
        wanted = target.hashes_of(snapshot, target.fields_of(snapshot, None))
        # A collection that is being filled and does not have it yet will be given it.
        if (held := target.known_of(entry)) and held != wanted:
            return "with another picture" if held[0] != wanted[0] else "with other fields"
    return None
