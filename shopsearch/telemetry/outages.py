"""Outages of something outside: logged once each, with an optional pause before the next try."""

from __future__ import annotations

import logging
import time
from collections.abc import Hashable


class Outage:
    """Tracks whether something that this process uses is away.

    The first failure logs ``away`` as a warning, later ones as debug; the first success logs ``back``.
    """

    def __init__(self, logger: logging.Logger, *, away: str, back: str, pause_seconds: float = 0.0) -> None:
        self.away, self.back = away, back
        self.pause_seconds = pause_seconds
        """How long not to try it after a failure, so that one that hangs does not delay every caller."""
        self._logger = logger
        self.is_on = False
        """Whether the last try failed."""
        self._tried_again_at = 0.0

    def failed(self, error: object) -> None:
        level = logging.DEBUG if self.is_on else logging.WARNING
        self._logger.log(level, "%s: %s", self.away, error)
        self.is_on = True
        self._tried_again_at = time.monotonic() + self.pause_seconds

    def succeeded(self) -> None:
        if self.is_on:
            self._logger.info(self.back)
        self.is_on = False

    @property
    def is_pausing(self) -> bool:
        """Whether the last failure was less than ``pause_seconds`` ago."""
        return time.monotonic() < self._tried_again_at


class Outages:
    """Tracks many things that may fail, such as the products of a shop, and logs the first failure of each.

    At most MOST are remembered. After that all are forgotten, so that those that still fail are logged again.
    """

    MOST = 1_000

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger
        self._on: set[Hashable] = set()

    def failed(self, key: Hashable, message: str, *values: object) -> None:
        """Log the exception that is being handled, with this message, unless the last try failed too."""
        if key not in self._on:
            if len(self._on) >= self.MOST:
                self._on.clear()
            self._on.add(key)
            self._logger.exception(message, *values)

    def succeeded(self, key: Hashable) -> None:
        self._on.discard(key)

    def forget(self) -> None:
        self._on.clear()
