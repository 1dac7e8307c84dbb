"""Diagnosis: what is wrong with each index, as health, ``shopsearch_status`` and the admin's page tell it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Max
from django.utils import timezone

from shopsearch.backends import embedder_for, embedder_of, get_vector_store
from shopsearch.conf import settings
from shopsearch.exceptions import BackendError
from shopsearch.indexing import collections, progress, rebuild
from shopsearch.indexing.batch import NO_MODEL
from shopsearch.models import Collection, IndexEntry, Rule, StoredImage, Suggestion
from shopsearch.registry import ImageIndex, get_indexes
from shopsearch.search import calibration, rules
from shopsearch.search.retrieval import why_vectors_alone
from shopsearch.threads import within

Level = Literal["answers", "work", "note"]
"""What a problem touches: searches answer wrongly or not at all; work does not go on; or nothing, but it is no rest."""

STORE_SECONDS = 1.0
SECONDS = {86_400: "days", 3_600: "hours", 60: "minutes", 1: "seconds"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing that is not well with an index."""

    index: str
    level: Level
    message: str
    """For everybody: it names no host, no file and no error."""
    detail: str = ""
    """For the shop's people: the reason, and what mends it."""

    @property
    def sentence(self) -> str:
        return f"{self.message} {self.detail}".rstrip()


def diagnose(
    *, ask_store: bool = True, counts: Mapping[str, Mapping[str, int]] | None = None
) -> list[Problem]:
    """What is wrong with the registered indexes, the worst first.

    It counts rows, and entities unless the store is not to be asked: a second or less for 100,000 images. A store or a
    model that is away is no problem of an index. ``counts`` are those of ``progress.counts``, for who has them already.
    Raises DatabaseError.
    """
    counts = progress.counts() if counts is None else counts
    since = progress.waiting_since()
    found = [
        problem
        for index in get_indexes()
        for problem in _Patient(index, counts[index.name], since.get(index.name)).problems(
            ask_store=ask_store
        )
    ]
    order: tuple[Level, ...] = ("answers", "work", "note")
    return sorted(found, key=lambda problem: order.index(problem.level))


def diagnose_soon(counts: Mapping[str, Mapping[str, int]] | None = None) -> list[Problem]:
    """What ``diagnose`` says, in seconds even where the store hangs: it is asked only if it answers at once."""
    try:
        within(STORE_SECONDS, get_vector_store().collections)
    except (BackendError, ImproperlyConfigured, TimeoutError):
        return diagnose(ask_store=False, counts=counts)
    return diagnose(counts=counts)


def duration(seconds: float) -> str:
    """Such as "3 hours", in the largest unit of which there are two."""
    for size, unit in SECONDS.items():
        if seconds >= 2 * size:
            return f"{int(seconds // size)} {unit}"
    return f"{int(seconds)} seconds"


class _Patient:
    """An index that is looked at."""

    def __init__(self, index: ImageIndex, states: Mapping[str, int], waits_since: datetime | None) -> None:
        self.index = index
        self.states = states
        self.waits_since = waits_since
        self.total = sum(states.values())
        self.live = Collection.objects.of(index).live().first()
        self.new = Collection.objects.of(index).unfinished().first()

    def problem(self, level: Level, message: str, detail: str = "") -> Problem:
        return Problem(
            index=self.index.name, level=level, message=f"{self.index.name}: {message}", detail=detail
        )

    def problems(self, *, ask_store: bool) -> Iterator[Problem]:
        yield from self.nothing_indexed()
        yield from self.failed()
        yield from self.waiting()
        yield from self.rebuilding()
        yield from self.rules()
        yield from self.suggestions()
        try:
            yield from self.model()
            if ask_store:
                yield from self.entities()
        except (BackendError, ImproperlyConfigured):
            pass  # who asks for a diagnosis asks the store and the model too

    def nothing_indexed(self) -> Iterator[Problem]:
        if not self.total and self.index.get_queryset().exists():
            yield self.problem(
                "answers", "none of the shop's images is indexed.", "`manage.py shopsearch_reindex` does it."
            )

    def failed(self) -> Iterator[Problem]:
        failed = self.states[IndexEntry.State.FAILED]
        if not failed:
            return
        rows = IndexEntry.objects.of(self.index).failed()
        held = StoredImage.objects.using(self.index.database).filter(collection=self.live)
        kept = held.filter(entry__state=IndexEntry.State.FAILED).count() if self.live else 0
        limit = settings.MAX_FAILED_SHARE * self.total
        level: Level = "answers" if failed - kept > limit else "work" if failed > limit else "note"
        message = f"{failed:,} of {self.total:,} images cannot be indexed"
        if kept:
            message += f", and {kept:,} of them are found by what was known before"
        first = rows.order_by("pk").values_list("image_id", "error").first()
        yield self.problem(level, f"{message}.", f"Image {first[0]}: {first[1]}" if first else "")

    def waiting(self) -> Iterator[Problem]:
        if self.waits_since is None:
            return
        seconds = (timezone.now() - self.waits_since).total_seconds()
        if seconds > settings.MAX_WAITING_SECONDS:
            message = f"an image has been waiting to be indexed for {duration(seconds)}."
            yield self.problem("work", message, progress.trouble([self.index]))

    def rebuilding(self) -> Iterator[Problem]:
        new = self.new
        if new is None:
            return
        try:
            obstacle = rebuild.obstacle(self.index, new)
        except (BackendError, ImproperlyConfigured):  # no model can be had: it is said elsewhere
            obstacle = ""
        remedy = "Run `manage.py shopsearch_reindex --resume` to go on, or --cancel to give up."
        if new.state == Collection.State.PAUSED:
            yield self.problem("work" if obstacle else "note", "a rebuild is paused.", obstacle or remedy)
        elif obstacle:
            yield self.problem("work", "a rebuild does not go on.", obstacle)
        elif (stood := self._stood_still(new)) > settings.MAX_WAITING_SECONDS:
            message = f"nothing has been indexed for {duration(stood)}, and a rebuild is not done."
            yield self.problem("work", message, progress.trouble([self.index]))

    def _stood_still(self, new: Collection) -> float:
        if (timezone.now() - new.begun_at).total_seconds() <= settings.MAX_WAITING_SECONDS:
            return 0.0
        latest = IndexEntry.objects.of(self.index).aggregate(latest=Max("indexed_at"))["latest"]
        return (timezone.now() - max(new.begun_at, latest or new.begun_at)).total_seconds()

    def rules(self) -> Iterator[Problem]:
        by_looks = Rule.objects.filter(index=self.index.name, is_on=True, trigger=Rule.Trigger.LOOKS)
        found = list(by_looks.prefetch_related("actions", "pictures__vectors"))
        states = rules.states_of(found)
        for rule in found:
            state = states[rule.pk]
            if state in (Rule.State.WITHOUT_VECTORS, Rule.State.WITHOUT_THRESHOLD):
                detail = f"{rule.name}: {state.label}. The admin's preview of the rule shows what it lacks."
                yield self.problem("note", "a rule by looks does not fire.", detail)

    def suggestions(self) -> Iterator[Problem]:
        """None are there right after ``migrate`` in a shop that was indexed by an earlier version."""
        is_indexed = bool(self.states[IndexEntry.State.INDEXED])
        if settings.SUGGESTIONS and is_indexed and not Suggestion.objects.of(self.index).exists():
            yield self.problem(
                "note",
                "nothing is suggested while shoppers type.",
                "`manage.py shopsearch_reindex` reads the products' titles.",
            )

    def model(self) -> Iterator[Problem]:
        if self.live is None:
            return
        if embedder_of(self.live.space) is None:
            yield self.problem(
                "answers", "the model of the live collection is not in the settings.", NO_MODEL
            )
            return
        if self.new is None and self.live.space != embedder_for(self.index).space:
            detail = "`manage.py shopsearch_reindex --rebuild` changes that."
            yield self.problem("note", "the former model answers.", detail)
        if reason := why_vectors_alone(self.index, self.live):
            yield self.problem("note", "words find nothing.", reason)
        if not calibration.is_known(self.index.name, self.live.space):
            yield self.problem(
                "note",
                "no answer says whether it is a good match.",
                "A worker measures from which score on one is as soon as all is indexed; `manage.py "
                "shopsearch_calibrate` does so at once.",
            )

    def entities(self) -> Iterator[Problem]:
        if self.live is None:
            return
        counted = collections.count_entities(self.live)
        if counted.found < counted.least:
            missing = counted.least - counted.found
            level: Level = "answers" if missing > settings.MAX_FAILED_SHARE * counted.least else "work"
            yield self.problem(
                level,
                f"the store holds {counted.found:,} of the {counted.least:,} images that are indexed.",
                "`manage.py shopsearch_reconcile --fix` has the others indexed again, as beat does once a day.",
            )
        elif counted.found > counted.most:
            yield self.problem(
                "work",
                f"the store holds {counted.found:,} images, and {counted.most:,} are indexed.",
                "`manage.py shopsearch_reconcile --fix` deletes those that nobody shows.",
            )
