"""manage.py shopsearch_reindex: have images indexed again, and watch it being done."""

from __future__ import annotations

import math
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

from celery import current_app
from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from shopsearch import changes, indexing, outbox, wakeups
from shopsearch.conf import settings
from shopsearch.management.differences import differences, gone, rows_of
from shopsearch.models import IndexEntry
from shopsearch.registry import ImageIndex, get_index, get_indexes

POLL_SECONDS = 0.5
STALL_SECONDS = 15.0
"""After so long without a row settled, one is told how to start a worker."""
REASONS_SHOWN = 5
CHUNK = 1_000


class Command(BaseCommand):
    help = (
        "Have every image looked at again by the workers, and watch. What has not changed is not embedded again. "
        "Exit code 1 when images failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--index", default="", help="Only this index, such as catalog_productimage.")
        which = parser.add_mutually_exclusive_group()
        which.add_argument("--failed", action="store_true", help="Only what failed before.")
        which.add_argument(
            "--changed-only",
            action="store_true",
            help="Only what differs from what was indexed; reads every file, and leaves the workers less to do.",
        )
        parser.add_argument("--dry-run", action="store_true", help="Say what would be done, and do nothing.")
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--here", action="store_true", help="Do the work in this process, without workers.")
        how.add_argument("--no-wait", action="store_true", help="Leave it to the workers and do not watch.")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            indexes = [get_index(options["index"])] if options["index"] else get_indexes()
        except ImproperlyConfigured as error:
            raise CommandError(str(error)) from error
        if options["dry_run"]:
            for index in indexes:
                self.stdout.write(f"{index.name}: {_plan(index, options)}")
            return
        marked = 0
        for index in indexes:
            count = _mark(index, options)
            self.stdout.write(f"{index.name}: {_images(count)} to look at")
            marked += count
        if not options["here"]:
            self._wake()
        if options["no_wait"]:
            self.stdout.write("The workers go on by themselves; shopsearch_status shows how far they are.")
            return
        try:
            self._finish(indexes, marked, here=options["here"], quiet=options["verbosity"] == 0)
        except KeyboardInterrupt:
            rest = "wait for a worker, or for --here again" if options["here"] else "go on in the workers"
            self.stderr.write(f"\nStopped watching. {_images(outbox.waiting(indexes))} {rest}.")
            sys.exit(130)
        self._report_failures(indexes)

    def _finish(self, indexes: list[ImageIndex], marked: int, *, here: bool, quiet: bool) -> None:
        """Until nothing waits; with ``here``, until nothing can be done here at the moment."""
        started = time.monotonic()
        total = max(marked, outbox.waiting(indexes))
        with tqdm(total=total, desc="Indexing", unit=" images", disable=quiet or None, smoothing=0.1) as bar:
            for waiting in self._work(indexes) if here else self._watch(indexes):
                bar.total = total = max(total, waiting)
                bar.update(total - waiting - bar.n)
        seconds = time.monotonic() - started
        if waiting := outbox.waiting(indexes):
            raise CommandError(
                f"{_images(waiting)} could not be done now and are tried again: {_trouble(indexes)}"
            )
        self.stdout.write(
            f"Done: {_images(total)} in {seconds:.1f} s, {total / max(seconds, 0.001):,.1f} a second."
        )

    def _wake(self) -> None:
        """Send the wake-up from this thread: a process that ends at once would take the sending thread with it."""
        if current_app.conf.task_always_eager or not current_app.conf.broker_write_url:
            wakeups.wake()
            return
        try:
            wakeups.send()
        except Exception as error:
            # Whatever the broker's client raises: the work is in the outbox all the same.
            self.stderr.write(f"The broker is away ({error}); the workers look by themselves after a while.")

    def _work(self, indexes: list[ImageIndex]) -> Iterator[int]:
        """How many images wait, after each batch that was done in this process."""
        for _ in indexing.index_pending():
            yield outbox.waiting(indexes)

    def _watch(self, indexes: list[ImageIndex]) -> Iterator[int]:
        """How many images wait, again and again until none does; tells once how to help when nothing moves."""
        before, moved_at = -1, time.monotonic()
        while waiting := outbox.waiting(indexes):
            yield waiting
            if waiting != before:
                before, moved_at = waiting, time.monotonic()
            elif time.monotonic() - moved_at >= STALL_SECONDS:
                self.stderr.write(f"\nNothing has moved for {STALL_SECONDS:g} seconds. {_trouble(indexes)}")
                moved_at = math.inf
            time.sleep(POLL_SECONDS)
        yield 0

    def _report_failures(self, indexes: list[ImageIndex]) -> None:
        failed = [rows_of(index).filter(state=IndexEntry.State.FAILED) for index in indexes]
        if not (count := sum(rows.count() for rows in failed)):
            return
        first = [entry for rows in failed for entry in rows.order_by("pk")[:REASONS_SHOWN]][:REASONS_SHOWN]
        reasons = "".join(f"\n  {entry.index} {entry.image_id}: {entry.error}" for entry in first)
        more = f"\n  and {count - len(first):,} more" if count > len(first) else ""
        raise CommandError(f"{_images(count)} cannot be indexed:{reasons}{more}")


def _plan(index: ImageIndex, options: dict[str, Any]) -> str:
    """What would be done, in words."""
    if options["failed"]:
        failed = rows_of(index).filter(state=IndexEntry.State.FAILED).count()
        return f"{_images(failed)} that failed would be tried again"
    if options["changed_only"]:
        found = Counter(difference.reason for difference in differences(index))
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.items()))
        return f"{_images(found.total())} would be looked at" + (f": {reasons}" if reasons else "")
    return (
        f"{_images(index.get_queryset().count())} would be looked at, "
        f"and {sum(1 for _ in gone(index)):,} that are gone forgotten"
    )


def _mark(index: ImageIndex, options: dict[str, Any]) -> int:
    """Have the images looked at; returns how many."""
    if options["failed"]:
        marked = changes.note_failed(index)
    elif options["changed_only"]:
        found = differences(index)
        marked = 0
        while chunk := list(islice(found, CHUNK)):
            marked += changes.note(index, [difference.image_id for difference in chunk])
    else:
        marked = changes.note_all(index)
    while changes.fold():
        pass
    return marked


def _trouble(indexes: list[ImageIndex]) -> str:
    """Why images wait, as far as it can be told."""
    waiting = [rows_of(index).filter(state__in=outbox.NOT_AT_REST) for index in indexes]
    for rows in waiting:
        if troubled := rows.exclude(error="").first():
            return troubled.error
    if any(rows.filter(state=IndexEntry.State.CLAIMED).exists() for rows in waiting):
        return f"A worker has taken them; if it died, another does after {settings.LEASE_SECONDS} seconds."
    project = current_app.main or "yourproject"
    return f"Is a worker running?  celery -A {project} worker -P solo -Q {settings.INDEX_QUEUE}"


def _images(count: int) -> str:
    return f"{count:,} image{'' if count == 1 else 's'}"
