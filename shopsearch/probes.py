"""Probes: whether the parts that search stands on answer, each asked in a thread that nobody waits for in vain."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured
from django.db import connections
from PIL import Image

from shopsearch import changes, wakeups
from shopsearch.backends import get_query_embedder, get_vector_store
from shopsearch.conf import settings
from shopsearch.embedders.cached import CachedEmbedder
from shopsearch.models import IndexEntry
from shopsearch.types import Query

logger = logging.getLogger(__name__)

KEEP_SECONDS = 1.0
"""How long an answer stands: however often a stranger asks, the parts are asked no more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """How a part is: ``reason`` says what is wrong and what to do, "" where nothing is."""

    reason: str = ""
    seconds: float | None = None
    """How long the part took; None where it did not answer in time."""

    @property
    def is_ready(self) -> bool:
        return not self.reason


class _Question:
    """Asked once, in a thread of its own."""

    def __init__(self, question: Callable[[], None]) -> None:
        self._question = question
        self.error: Exception | None = None
        self.started_at = time.monotonic()
        self.answered_at: float | None = None
        self.thread = threading.Thread(target=self._run, name="shopsearch-probe", daemon=True)
        self.thread.start()

    @property
    def is_current(self) -> bool:
        """Whether it will do for whoever asks now: on its way, or just answered."""
        if self.answered_at is None:
            return self.thread.is_alive()
        return time.monotonic() - self.answered_at < KEEP_SECONDS

    def _run(self) -> None:
        try:
            self._question()
        except Exception as error:  # each part's client raises what it likes
            self.error = error
        finally:
            self.answered_at = time.monotonic()
            connections.close_all()  # this thread's own


class Probe:
    """One part and how to ask it. At most one question is under way: who asks meanwhile waits for its answer."""

    def __init__(self, name: str, question: Callable[[], None], *, away: str) -> None:
        self.name = name
        self.question = question
        self.away = away
        """What to say of a part that is away. Its client's own words may name hosts: they are for the log."""
        self._lock = threading.Lock()
        self._asked: _Question | None = None
        self._logged = ""
        """The reason that the log has; "" when it says that nothing is wrong."""

    def ask(self) -> _Question:
        """A question that is on its way, or has just been answered."""
        with self._lock:
            if self._asked is None or not self._asked.is_current:
                self._asked = _Question(self.question)
            return self._asked

    def finding(self, asked: _Question, deadline: float) -> Finding:
        """What came of the question by this moment of ``time.monotonic()``."""
        asked.thread.join(max(0.0, deadline - time.monotonic()))
        if asked.answered_at is None:
            return self._said(f"{self.away} It gives no answer within {settings.HEALTH_SECONDS:g} seconds.")
        seconds = round(asked.answered_at - asked.started_at, 4)
        if asked.error is None:
            return self._said("", seconds=seconds)
        if isinstance(asked.error, ImproperlyConfigured):
            reason = f"{self.away} It is not set up rightly: `manage.py check` and the log say what is wrong."
            return self._said(reason, asked.error, seconds)
        return self._said(f"{self.away} The log says more.", asked.error, seconds)

    def forget(self) -> None:
        """Whoever asks next has it asked anew."""
        with self._lock:
            self._asked = None

    def _said(self, reason: str, error: Exception | None = None, seconds: float | None = None) -> Finding:
        if reason != self._logged:  # once per outage, however often it is asked
            self._logged = reason
            logger.warning("%s", reason or f"{self.name} answers again.", exc_info=error)
        return Finding(reason=reason, seconds=seconds)


def _ask_database() -> None:
    for using in changes.databases() or ["default"]:
        IndexEntry.objects.using(using).exists()


def _ask_vector_store() -> None:
    get_vector_store().collections()


def _ask_embedder() -> None:
    embedder = get_query_embedder()
    if isinstance(embedder, CachedEmbedder):  # which would answer for a worker that is gone
        embedder = embedder.embedder
    # Words and picture together: some models read no words alone.
    embedder.embed([Query(text="ready", image=Image.new("RGB", (64, 64)))])


def _ask_broker() -> None:
    from celery import current_app

    if current_app.conf.task_always_eager:
        return
    if not wakeups.has_workers():
        raise ImproperlyConfigured("Celery has no broker (W001).")
    with wakeups.connection_of(current_app) as connection:
        # Each address once, as a wake-up does; by itself it would rest for two seconds between two tries.
        connection.ensure_connection(max_retries=max(0, len(connection.alt) - 1), interval_start=0)


PROBES = {
    probe.name: probe
    for probe in (
        Probe(
            "database", _ask_database, away="The database cannot be read; has `manage.py migrate` been run?"
        ),
        Probe(
            "vector_store",
            _ask_vector_store,
            away="The vector store cannot be reached, so searches fail.",
        ),
        Probe(
            "embedder",
            _ask_embedder,
            away="No query can be embedded, so searches fail; the model may be loading, or no query worker runs.",
        ),
        Probe(
            "broker",
            _ask_broker,
            away="Celery's broker cannot be reached: searches go on, new pictures and reranks wait.",
        ),
    )
}


def ask(names: Iterable[str]) -> dict[str, Finding]:
    """How these parts are, within HEALTH_SECONDS altogether, whatever hangs. Raises nothing."""
    deadline = time.monotonic() + settings.HEALTH_SECONDS
    asked = {name: PROBES[name].ask() for name in names}
    return {name: PROBES[name].finding(question, deadline) for name, question in asked.items()}


def forget() -> None:
    """Have every part asked anew."""
    for probe in PROBES.values():
        probe.forget()
