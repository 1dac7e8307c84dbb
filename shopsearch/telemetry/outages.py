"""Outages of something outside: logged once each, with an optional pause before the next try."""

from __future__ import annotations

import logging
import time


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
