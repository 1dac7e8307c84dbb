"""Reconciling: compare the shop with the live collection itself, both ways, and have what differs put right.

The outbox needs no such thing: whatever dies, the workers finish. This is for what they cannot know of: changes that
nobody noted (raw SQL, a file that was replaced under its name), a store that was restored from a backup, and an answer
of the store that came after its worker had given up and died.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from django.db import router

from shopsearch.backends import get_vector_store
from shopsearch.indexing import changes, collections, outbox, snapshots, vector_cache
from shopsearch.indexing.targets import Stored, Target, targets_of
from shopsearch.models import Change, Collection, IndexEntry
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import chunks_of, keys_of
from shopsearch.types import Entity

logger = logging.getLogger(__name__)
Kind = Literal["lost", "ghost", "stale"]
"""Shown and not in the store; in the store and not shown; in the store otherwise than it is."""
KINDS: tuple[Kind, ...] = ("lost", "ghost", "stale")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An image about which the shop and the live collection differ."""

    image_id: str
    kind: Kind
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What was found among so many images or entities."""

    looked_at: int
    findings: Sequence[Finding]


def total(index: ImageIndex) -> int:
    """How many images and entities ``reconcile`` will look at."""
    live = collections.live(index)
    return index.get_queryset().count() + (get_vector_store().count(live.name) if live else 0)


def reconcile(index: ImageIndex, *, fix: bool = False) -> Iterator[Part]:
    """Every difference there is, part by part; reads each image's file, and embeds nothing.

    Memory does not grow with the catalogue. Safe beside live traffic: an image that changes while it is looked at is
    left to the workers, and a difference is told when two looks have found it. With ``fix`` the workers are told, too,
    and vectors are forgotten that were kept of images that are gone. Raises VectorStoreError while the store is away.
    """
    if fix:
        vector_cache.tidy(index, collections.collections_of(index))
    live = collections.live(index)
    comparison = _Comparison(index, live)
    for keys in keys_of(index.get_queryset()):
        yield comparison.part([str(key) for key in keys], len(keys), fix=fix)
    if live is None:
        return
    for ids in chunks_of(get_vector_store().ids(live.name)):
        entities = get_vector_store().fetch(live.name, ids)
        image_ids = [entity.image_id for entity in entities]
        shown = snapshots.shown(index, image_ids, using=comparison.using)
        yield comparison.part([each for each in image_ids if each not in shown], len(ids), fix=fix)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Look:
    """Some images as they were in a moment in which none of them was about to change."""

    entries: Mapping[str, IndexEntry]
    shown: Mapping[str, Any]
    entities: Mapping[str, Entity]


class _Comparison:
    """An index and its live collection, side by side."""

    def __init__(self, index: ImageIndex, live: Collection | None) -> None:
        self.index = index
        self.using = router.db_for_write(index.model)
        self.live = live
        self.target: Target | None = next(iter(targets_of(index, [live] if live else [])), None)

    def part(self, image_ids: Sequence[str], looked_at: int, *, fix: bool) -> Part:
        first = self._findings(image_ids)
        findings = self._findings([finding.image_id for finding in first]) if first else []
        if fix and findings:
            self._fix(findings)
        return Part(looked_at=looked_at, findings=findings)

    def _findings(self, image_ids: Sequence[str]) -> list[Finding]:
        before = self._at_rest(image_ids)
        shown = snapshots.shown(self.index, before, using=self.using)
        look = _Look(
            entries={key: entry for key, entry in before.items() if entry is not None},
            shown=shown,
            entities=self._entities(before),
        )
        judged = [finding for image_id in before if (finding := self._judge(image_id, look))]
        after = self._at_rest([finding.image_id for finding in judged])
        return [each for each in judged if _same(before[each.image_id], after.get(each.image_id, _MOVING))]

    def _at_rest(self, image_ids: Iterable[str]) -> dict[str, IndexEntry | None]:
        """Those that nobody is about to change, with their rows as far as they have any."""
        chosen = {"index": self.index.name, "image_id__in": list(image_ids)}
        # Changes first: one that is folded meanwhile has made its row move.
        noted = set(Change.objects.using(self.using).filter(**chosen).values_list("image_id", flat=True))
        rows = {row.image_id: row for row in IndexEntry.objects.using(self.using).filter(**chosen)}
        return {
            each: rows.get(each)
            for each in chosen["image_id__in"]
            if each not in noted and (each not in rows or rows[each].state not in outbox.NOT_AT_REST)
        }

    def _entities(self, image_ids: Iterable[str]) -> dict[str, Entity]:
        if self.live is None:
            return {}
        ids = [self.index.entity_id(each) for each in image_ids]
        return {entity.image_id: entity for entity in get_vector_store().fetch(self.live.name, ids)}

    def _judge(self, image_id: str, look: _Look) -> Finding | None:
        entity, entry = look.entities.get(image_id), look.entries.get(image_id)
        has_failed = entry is not None and entry.state == IndexEntry.State.FAILED
        if image_id not in look.shown or has_failed:
            reason = "it cannot be indexed" if image_id in look.shown else "it is not shown"
            return Finding(image_id=image_id, kind="ghost", reason=reason) if entity else None
        if entity is None:
            return Finding(image_id=image_id, kind="lost", reason="it is not in the store")
        reason = self._staleness(look.shown[image_id], entry, entity)
        return Finding(image_id=image_id, kind="stale", reason=reason) if reason else None

    def _staleness(self, image: Any, entry: IndexEntry | None, entity: Entity) -> str:
        try:
            snapshot = snapshots.take(self.index, image)
        except snapshots.Unusable as error:
            return str(error)
        except OSError as error:
            logger.warning("%s: image %s cannot be read: %s", self.index.name, image.pk, error)
            return ""
        target = self.target
        known = target.known_of(entry) if target and entry else None
        if target is None or known is None:
            return "the outbox knows nothing of it"
        stored = Stored(hashes=known, vector=entity.vector, fields=entity.fields)
        wanted = target.fields_of(snapshot, stored)
        if known[0] != snapshot.image_hash:
            return "it has another picture now"
        if entity.product_id != snapshot.product_id or _kept(entity.fields) != _kept(wanted):
            return "its product or its filter values are others"
        return ""

    def _fix(self, findings: Sequence[Finding]) -> None:
        """Tell the workers, who are not to believe what the rows say of the live collection."""
        image_ids = [finding.image_id for finding in findings]
        rows = IndexEntry.objects.using(self.using).filter(index=self.index.name, image_id__in=image_ids)
        if self.target:
            outbox.forget(self.using, list(rows.values_list("pk", flat=True)), self.target.key)
        changes.note(self.index, image_ids, using=self.using)
        changes.wake(self.using)


_MOVING = object()


def _same(before: IndexEntry | None, after: Any) -> bool:
    """Whether nothing has changed the image's row between two looks at it."""
    if before is None or after is None or after is _MOVING:
        return before is after
    return bool(before.version == after.version)


def _kept(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The values as the store keeps them: it may cut a long text or a long list."""
    return {name: get_vector_store().stored(value) for name, value in fields.items()}
