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

from shopsearch import metrics
from shopsearch.conf import settings
from shopsearch.exceptions import Busy

logger = logging.getLogger(__name__)

Kind = Literal["text", "image"]
LONGEST_WAIT_SECONDS = 1.0
"""For a place; so long only where a backend hangs."""
QUIET_SECONDS = 60.0
"""A process that turns searches away says so in its log no more often than this."""


class Admission:
    """A process's places: MAX_SEARCHES, of which pictures may have MAX_IMAGE_SEARCHES.

    As many as there are places may wait for one, words before pictures; who finds more waiting is turned away. So what
    is admitted takes two or three times as long as alone, however many come, and pictures give way to words.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._inside: Counter[str] = Counter()
        self._waiting: Counter[str] = Counter()
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

    def _enter(self, kind: Kind) -> None:
        if not self._has_place(kind):
            if self._waiting[kind] >= self._most(kind):
                self._turn_away(kind)
            self._waiting[kind] += 1
            try:
                found = self._condition.wait_for(lambda: self._has_place(kind), LONGEST_WAIT_SECONDS)
            finally:
                self._waiting[kind] -= 1
            if not found:
                self._turn_away(kind)
        self._inside[kind] += 1

    def _has_place(self, kind: Kind) -> bool:
        if self._inside.total() >= settings.MAX_SEARCHES:
            return False
        return kind == "text" or (self._inside["image"] < self._most("image") and not self._waiting["text"])

    def _most(self, kind: Kind) -> int:
        most: int = settings.MAX_SEARCHES if kind == "text" else settings.MAX_IMAGE_SEARCHES
        return most

    def _turn_away(self, kind: Kind) -> None:
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


def _after_fork() -> None:
    # Whoever was inside in the parent is not in the child, and the lock may be held for ever.
    global _admission
    _admission = Admission()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
