"""The query log: the words that consenting shoppers searched for, counted for judging, without who asked."""

from __future__ import annotations

import datetime
import logging
import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING

from django.db import connections
from django.db.models import F

from shopsearch.conf import settings
from shopsearch.models import EvaluationQuery, SearchDay
from shopsearch.threads import BackgroundThread

if TYPE_CHECKING:
    from shopsearch.search.request import SearchAnswer

logger = logging.getLogger(__name__)
MAX_CHARACTERS = 200
"""A longer text is more like a letter than a search, and may be about a person."""
MAX_QUERIES = 10_000
"""How many shoppers' queries may wait to be judged; further ones are not kept."""
MAX_WAITING = 1_000
_ADDRESS = re.compile(r"@|://|\bwww\.", re.IGNORECASE)
_LONG_NUMBER = re.compile(r"\d(?:[\W_]*\d){6}")
"""Seven digits or more with no letter between: numbers of phones, cards, accounts, customers."""


@dataclass(frozen=True, slots=True)
class CollectedQuery:
    """All that is kept of a search, except the day."""

    index: str
    text: str
    language: str
    is_weak: bool = False
    """Whether the best result was a weak match."""


def collect(answer: SearchAnswer) -> None:
    """Count a search by words alone whose shopper has consented. Returns at once, never raises, keeps no picture.

    A daemon thread writes. What it has not written when the process ends is lost, and so is what it cannot keep up
    with. Nothing is counted without SHOPSEARCH["COLLECT_QUERIES"]; further pages of an answer are not counted.
    """
    try:
        if not settings.COLLECT_QUERIES or answer.query.kind != "text" or answer.offset:
            return
        text = EvaluationQuery.normalised(answer.request.text)
        if may_be_kept(text):
            weak = answer.match == "weak"
            _writer.put(CollectedQuery(answer.index.name, text, answer.request.language, weak))
    except Exception as error:
        logger.warning("A query was not kept: %s", type(error).__name__)


def may_be_kept(text: str) -> bool:
    """Whether the text is short, has a letter, and has no e-mail address, web address or long number in it."""
    return (
        len(text) <= MAX_CHARACTERS
        and any(each.isalpha() for each in text)
        and _ADDRESS.search(text) is None
        and _LONG_NUMBER.search(text) is None
    )


def purge(*, everything: bool = False) -> int:
    """Delete shoppers' queries without judgements that were not asked for COLLECT_KEEP_DAYS. Returns how many.

    With ``everything``, delete all queries of shoppers, judged or not, with their judgements.
    """
    queries, days = EvaluationQuery.objects.by_shoppers(), SearchDay.objects.all()
    if not everything:
        since = datetime.date.today() - datetime.timedelta(days=settings.COLLECT_KEEP_DAYS)
        queries, days = queries.unjudged().filter(asked_on__lt=since), days.filter(day__lt=since)
    days.delete()
    return queries.delete()[1].get(EvaluationQuery._meta.label, 0)


def wait() -> None:
    """Return when everything collected has been written, or has failed to be; for tests."""
    _writer.waiting.join()


def _write(batch: Counter[CollectedQuery]) -> None:
    today = datetime.date.today()
    for asked, times in batch.items():
        SearchDay.objects.get_or_create(index=asked.index, day=today)
        SearchDay.objects.filter(index=asked.index, day=today).update(searches=F("searches") + times)
        key = EvaluationQuery.key_of(asked.index, asked.text)
        rows = EvaluationQuery.objects.filter(key=key)
        if not rows.exists():
            if EvaluationQuery.objects.by_shoppers().unjudged().count() >= MAX_QUERIES:
                continue
            about = {name: getattr(asked, name) for name in ("index", "text", "language")}
            kept = {**about, "source": EvaluationQuery.Source.SHOPPER}
            EvaluationQuery.objects.get_or_create(key=key, defaults=kept)
        weak = times if asked.is_weak else 0
        rows.update(times_asked=F("times_asked") + times, times_weak=F("times_weak") + weak, asked_on=today)


class _Writer(BackgroundThread):
    """Writes the waiting queries. Started by a process's first query."""

    def reset(self) -> None:
        self.waiting: Queue[CollectedQuery] = Queue(MAX_WAITING)

    def put(self, asked: CollectedQuery) -> None:
        with suppress(Full):
            self.waiting.put_nowait(asked)
            self.start()

    def run(self) -> None:
        while True:
            batch = self.next_batch()
            try:
                _write(batch)
            except Exception as error:
                # Not the error's message: it may repeat the shopper's words.
                logger.warning("%d queries were not kept: %s", batch.total(), type(error).__name__)
            finally:
                connections.close_all()
                for _ in range(batch.total()):
                    self.waiting.task_done()

    def next_batch(self) -> Counter[CollectedQuery]:
        """Wait for a query, and take all that are waiting with it."""
        batch = Counter([self.waiting.get()])
        try:
            while True:
                batch[self.waiting.get_nowait()] += 1
        except Empty:
            return batch


_writer = _Writer("shopsearch-query-log")
