"""Admission: how many searches a process answers at once. What is above is turned away at once, not answered late."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

from shopsearch.conf import settings
from shopsearch.exceptions import Busy
from shopsearch.telemetry import metrics

logger = logging.getLogger(__name__)
Kind = Literal["text", "image"]
LINE = 4
"""As many times the places may wait for one."""
STORM = 0.25
"""The share of those turned away from which on nobody waits."""
WEIGHT = 0.05
"""Of the newest in that share: it is that of about the last twenty."""
LONGEST_WAIT_SECONDS = 0.5
"""For a place; so long only where a backend hangs, or words keep going before a picture."""
QUIET_SECONDS = 60.0
"""A process that turns searches away says so in its log no more often than this."""


class Admission:
    """A process's places: MAX_SEARCHES, of which pictures may have MAX_IMAGE_SEARCHES.

    Who finds no place waits in line, words before pictures, and is turned away where the line is full. In a storm,
    when more than every fourth is turned away, nobody waits: there is always somebody else to take a place that gets
    free, and waiting would only make late who is admitted.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
        self._turned_away = 0.0
        """The share of those who came last."""
        self._said_at = -QUIET_SECONDS

    @contextmanager
    def admitted(self, kind: Kind) -> Iterator[None]:
        with self._condition:
            self._enter(kind)
        try:
            yield
        finally:
            with self._condition:
                self._inside[kind] -= 1
                self._condition.notify_all()

    def refuse_if_full(self) -> None:
        with self._condition:
            if not self._has_place("text") and not self._may_wait("text"):
                self._turn_away("text")

    def _enter(self, kind: Kind) -> None:
        if not self._has_place(kind):
            if not self._may_wait(kind):
                self._turn_away(kind)
            self._waiting[kind] += 1
            try:
                found = self._condition.wait_for(lambda: self._has_place(kind), LONGEST_WAIT_SECONDS)
            finally:
                self._waiting[kind] -= 1
            if not found:
                self._turn_away(kind)
        self._turned_away *= 1 - WEIGHT
        self._inside[kind] += 1

    def _has_place(self, kind: Kind) -> bool:
        if self._inside.total() >= settings.MAX_SEARCHES:
            return False
        return kind == "text" or (
            self._inside["image"] < settings.MAX_IMAGE_SEARCHES and not self._waiting["text"]
        )

    def _may_wait(self, kind: Kind) -> bool:
        places: int = settings.MAX_SEARCHES if kind == "text" else settings.MAX_IMAGE_SEARCHES
        return self._waiting[kind] < LINE * places and self._turned_away < STORM

    def _turn_away(self, kind: Kind) -> None:
        self._turned_away += WEIGHT * (1 - self._turned_away)
        metrics.count_shed(kind)
        if time.monotonic() - self._said_at >= QUIET_SECONDS:
            self._said_at = time.monotonic()
            logger.warning("More searches come than are answered; some are turned away with 503.")
        raise Busy


_admission = Admission()


def admitted(kind: Kind) -> AbstractContextManager[None]:
    """One of this process's places while inside: ``text`` for words alone, ``image`` for what has a picture.

    Raises Busy, at once or after LONGEST_WAIT_SECONDS, where there is none.
    """
    return _admission.admitted(kind)


def refuse_if_full() -> None:
    """Raises Busy where even words would be turned away: before a request has cost anything."""
    _admission.refuse_if_full()


def _after_fork() -> None:
    # Whoever was inside in the parent is not in the child, and the lock may be held for ever.
    global _admission
    _admission = Admission()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
