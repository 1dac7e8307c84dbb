"""How far indexing has got, for commands, the admin and metrics."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Min
from django.db.models.functions import Now
from django.utils import timezone

from shopsearch import registry
from shopsearch.broker import get_wake_up
from shopsearch.conf import settings
from shopsearch.indexing import rebuild
from shopsearch.models import Change, Collection, IndexEntry
from shopsearch.models.outbox import noted_models
from shopsearch.registry import ImageIndex

State = IndexEntry.State


def counts() -> dict[str, dict[str, int]]:
    """How many images of each index are in each state; has a number for every registered index and every state.

    An image with a change that is not folded yet counts as pending, whatever its entry says. So does a related row,
    which counts as one image until its images are known, and a product without a picture that has to be looked at.
    """
    table = {index.name: dict.fromkeys(State.values, 0) for index in registry.get_indexes()}

    def add(name: str, state: str, count: int) -> None:
        table.setdefault(name, dict.fromkeys(State.values, 0))[state] += count

    for using in registry.databases():
        entries = IndexEntry.objects.using(using).order_by()
        for name, state, count in entries.values_list("index", "state").annotate(Count("pk")):
            add(name, state, count)
        changes = Change.objects.using(using).order_by()
        for name, images in changes.values_list("index").annotate(Count("image_id", distinct=True)):
            changed = changes.filter(index=name).values("image_id")
            known = entries.filter(index=name, image_id__in=changed)
            for state, count in known.values_list("state").annotate(Count("pk")):
                images -= count
                if state not in IndexEntry.UNFINISHED:
                    add(name, state, -count)
                    add(name, State.PENDING, count)
            add(name, State.PENDING, max(0, images))
        for model in noted_models():
            if model is not Change:
                rows = model._default_manager.using(using).order_by().values_list("index")
                for name, count in rows.annotate(Count("pk")):
                    add(name, State.PENDING, count)
    return table


def waiting(indexes: Iterable[ImageIndex]) -> int:
    """How many images of these indexes are still to be indexed."""
    table = counts()
    return sum(table[index.name][state] for index in indexes for state in IndexEntry.UNFINISHED)


def waiting_since() -> dict[str, datetime]:
    """By index: when the image that has waited longest changed. Indexes in which none waits are left out."""
    since: dict[str, datetime] = {}
    for using in registry.databases():
        entries = IndexEntry.objects.using(using).unfinished().order_by().values_list("index")
        found = list(entries.annotate(Min("changed_at")))
        for model in noted_models():
            noted = (
                model._default_manager.using(using)
                .filter(available_at__lte=Now())
                .order_by()
                .values_list("index")
            )
            found += noted.annotate(Min("available_at"))
        for name, moment in found:
            since[name] = min(moment, since.get(name, moment))
    return since


@dataclass(frozen=True, slots=True, kw_only=True)
class Filling:
    """How far the filling of a collection has got."""

    done: int
    total: int
    rate: float
    """Images a second since the filling began or was resumed; 0 where that is unknown."""
    ends_at: datetime | None
    """When the filling will be done at this rate."""


def filling(collection: Collection) -> Filling:
    done, total, now = collection.stored.count(), collection.total, timezone.now()
    passed = now - collection.begun_at
    gained = done - collection.begun_with
    if collection.state != Collection.State.BUILDING or gained <= 0 or passed.total_seconds() <= 0:
        return Filling(done=done, total=total, rate=0, ends_at=None)
    left = max(0, total - done)
    rate = gained / passed.total_seconds()
    return Filling(
        done=done, total=total, rate=rate, ends_at=now + passed * (left / gained) if left else None
    )


def trouble(indexes: Sequence[ImageIndex]) -> str:
    """Why images of these indexes wait, as far as that is known."""
    for index in indexes:
        collection = Collection.objects.of(index).unfinished().first()
        if collection and (obstacle := rebuild.obstacle(index, collection)):
            return obstacle
    entries = [IndexEntry.objects.of(index).unfinished() for index in indexes]
    for rows in entries:
        if troubled := rows.exclude(error="").first():
            return troubled.error
    if any(rows.filter(state=State.CLAIMED).exists() for rows in entries):
        return f"A worker has claimed them; if it died, another does after {settings.LEASE_SECONDS} seconds."
    return f"Is a worker running?  {get_wake_up().worker_line}"
