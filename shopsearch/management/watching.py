"""Watching: show the progress of indexing and rebuilding, by workers or by this process."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from shopsearch.indexing import batch, progress, rebuild
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex

POLL_SECONDS = 0.5
STALL_SECONDS = 15.0
"""After this long without progress, print how to start a worker."""
POLL_SHARE = 0.1
"""The largest share of the time that is spent asking the database for the progress."""

Rebuilds = Sequence[tuple[ImageIndex, Collection]]


@dataclass(kw_only=True)
class Watcher:
    """Shows a progress bar until the work is done. Ctrl-C ends the watching, with exit code 130, not the work."""

    command: BaseCommand
    here: bool
    """Do the work in this process."""
    quiet: bool

    def watch_indexing(self, indexes: Sequence[ImageIndex], noted: int) -> None:
        """Watch until no image of these indexes waits; with ``here``, or until nothing can be done at the moment.

        Raises CommandError if images wait even then. New changes of the shop may arrive all the time.
        """
        started = time.monotonic()
        total = max(noted, progress.waiting(indexes))

        def waiting() -> int:
            return progress.waiting(indexes)

        steps = (waiting() for _ in batch.index_pending()) if self.here else self._poll(waiting, indexes)
        with self._interruptible(indexes), self._bar("Indexing", total) as bar:
            for left in steps:
                bar.total = total = max(total, left)
                bar.update(total - left - bar.n)
                if not left:
                    break
            else:
                left = waiting()
        if left:
            raise CommandError(
                f"{images(left)} could not be done now and are tried again: {progress.trouble(indexes)}"
            )
        self._say_done(total, time.monotonic() - started)

    def watch_rebuilds(self, rebuilds: Rebuilds) -> None:
        """Watch until the new collections are live. Raises CommandError if one is paused or cancelled before that."""
        started = time.monotonic()
        indexes = [index for index, _ in rebuilds]
        total, had = sum(collection.total for _, collection in rebuilds), _done(rebuilds)

        def left() -> int:
            return max(1, total - _done(rebuilds)) if _is_filling(rebuilds) else 0

        steps = self._fill(left, indexes) if self.here else self._poll(left, indexes)
        with self._interruptible(indexes), self._bar("Rebuilding", total, initial=had) as bar:
            for undone in steps:
                bar.update(total - undone - bar.n)
        for index, collection in rebuilds:
            if (now := collection.row.first()) is None:
                raise CommandError(f"{index.name}: the rebuild was cancelled.")
            if now.state == Collection.State.PAUSED:
                raise CommandError(f"{index.name}: the rebuild is paused. {now.error}".strip())
            self.command.stdout.write(f"{index.name}: {now.name} is live.")
        self._say_done(max(0, total - had), time.monotonic() - started)

    def _fill(self, left: Callable[[], int], indexes: Sequence[ImageIndex]) -> Iterator[int]:
        """Do what workers do. Where an image waits for another worker's lease or for its next attempt, wait too."""
        for undone in self._poll(left, indexes, pause=False):
            yield undone
            until = time.monotonic() + POLL_SECONDS
            while time.monotonic() < until:
                fed = rebuild.advance()
                if not batch.index_batch().claimed and not fed:
                    time.sleep(max(0.0, until - time.monotonic()))

    def _poll(
        self, left: Callable[[], int], indexes: Sequence[ImageIndex], *, pause: bool = True
    ) -> Iterator[int]:
        """Yields how much is left, repeatedly, until nothing is. Prints once what to do if there is no progress."""
        before, moved_at = -1, time.monotonic()
        while True:
            asked_at = time.monotonic()
            undone = left()
            yield undone
            if not undone:
                return
            if undone != before:
                before, moved_at = undone, time.monotonic()
            elif time.monotonic() - moved_at >= STALL_SECONDS:
                problem = f"\nNothing has moved for {STALL_SECONDS:g} seconds. {progress.trouble(indexes)}"
                self.command.stderr.write(problem)
                moved_at = math.inf
            if pause:
                time.sleep(max(POLL_SECONDS, (time.monotonic() - asked_at) / POLL_SHARE))

    def _bar(self, title: str, total: int, initial: int = 0) -> Any:
        return tqdm(
            total=total,
            initial=initial,
            desc=title,
            unit=" images",
            disable=self.quiet or None,
            smoothing=0.1,
        )

    @contextmanager
    def _interruptible(self, indexes: Sequence[ImageIndex]) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            rest = "waits for a worker, or for --here again" if self.here else "goes on in the workers"
            self.command.stderr.write(
                f"\nStopped watching. What is left ({images(progress.waiting(indexes))} at the moment) {rest}."
            )
            sys.exit(130)

    def _say_done(self, count: int, seconds: float) -> None:
        rate = count / max(seconds, 0.001)
        self.command.stdout.write(f"Done: {images(count)} in {seconds:.1f} s, {rate:,.1f} a second.")


def images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"


def _done(rebuilds: Rebuilds) -> int:
    return sum(collection.stored.count() for index, collection in rebuilds)


def _is_filling(rebuilds: Rebuilds) -> bool:
    building = Collection.State.BUILDING
    return any(collection.row.filter(state=building).exists() for _, collection in rebuilds)
