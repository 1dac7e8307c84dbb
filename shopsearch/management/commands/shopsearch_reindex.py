"""manage.py shopsearch_reindex: have images indexed or collections rebuilt, and watch the progress."""

from __future__ import annotations

from argparse import ArgumentParser
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from django.core.management.base import CommandError

from shopsearch import broker
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.exceptions import BackendError
from shopsearch.indexing import collections, outbox, pictureless, rebuild, vocabulary
from shopsearch.indexing.batch import model_space
from shopsearch.indexing.rebuild import Refused
from shopsearch.indexing.reconcile import gone, outstanding
from shopsearch.management.command import ShopsearchCommand
from shopsearch.management.watching import Watcher, images
from shopsearch.models import Change, Collection, IndexEntry
from shopsearch.registry import ImageIndex, get_index, get_indexes
from shopsearch.registry.keys import chunks_of

REASONS_SHOWN = 5
ORDERS = ("failed", "all", "rebuild", "rollback", "resume", "pause", "cancel", "prune")


class Command(ShopsearchCommand):
    help = (
        "Have the workers index every image that is new, changed, gone or failed, and watch the progress. If the "
        "settings name another model or other filters than the live collection was made for, fill a new collection "
        "beside it. Exit code 1 if images failed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--index", default="", help="Only this index, such as catalog_productimage.")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--failed", action="store_true", help="Only images that failed before.")
        what.add_argument("--all", action="store_true", help="Have the workers look at every image.")
        what.add_argument(
            "--rebuild",
            action="store_true",
            help="Fill a new collection beside the live one, then switch to it.",
        )
        what.add_argument("--pause", action="store_true", help="Stop filling the new collection.")
        what.add_argument("--resume", action="store_true", help="Go on filling the new collection.")
        what.add_argument("--cancel", action="store_true", help="Drop the new collection.")
        what.add_argument(
            "--rollback",
            action="store_true",
            help="Bring the earlier collection up to date, then switch back to it.",
        )
        what.add_argument(
            "--prune", action="store_true", help="Drop the collections that are kept for a rollback."
        )
        parser.add_argument(
            "--dry-run", action="store_true", help="Print what would be done, and do nothing."
        )
        how = parser.add_mutually_exclusive_group()
        how.add_argument("--here", action="store_true", help="Do the work in this process, without workers.")
        how.add_argument("--no-wait", action="store_true", help="Leave it to the workers and do not watch.")

    def handle(self, *args: Any, **options: Any) -> None:
        indexes = [get_index(options["index"])] if options["index"] else get_indexes()
        order = next((name for name in ORDERS if options[name]), "")
        if options["dry_run"]:
            for index in indexes:
                self.stdout.write(f"{index.name}: {_plan(index, order)}")
            return
        if order in ("pause", "cancel", "prune"):
            self._each(indexes, {"pause": self._pause, "cancel": self._cancel, "prune": self._prune}[order])
            return
        rebuilds: list[tuple[ImageIndex, Collection]] = []
        if order in ("rollback", "resume"):
            verb = rebuild.roll_back if order == "rollback" else rebuild.resume
            self._each(indexes, lambda index: rebuilds.append((index, verb(index))))
            plain = []
        else:
            if order != "failed":
                rebuilds = [(index, new) for index in indexes if (new := self._rebuild(index, order))]
            plain = [index for index in indexes if index not in {rebuilt for rebuilt, _ in rebuilds}]
        noted = sum(self._note(index, order) for index in plain)
        if order in ("", "all", "rebuild"):
            noted += sum(pictureless.note(index, everything=True) for index in indexes)
            for index in filter(vocabulary.is_wanted, indexes):
                self.stdout.write(f"{index.name}: {vocabulary.recount(index):,} words in the vocabulary")
        if not options["here"]:
            self._wake()
        if options["no_wait"]:
            self.stdout.write("The workers go on by themselves; shopsearch_status shows the progress.")
            return
        watcher = Watcher(command=self, here=options["here"], quiet=options["verbosity"] == 0)
        if plain:
            watcher.watch_indexing(plain, noted)
        if rebuilds:
            watcher.watch_rebuilds(rebuilds)
        self._report_failures(indexes)

    def _rebuild(self, index: ImageIndex, order: str) -> Collection | None:
        """The new collection, begun now or earlier; None where none is needed, or nothing is indexed yet."""
        known = Collection.objects.of(index)
        live, unfinished = known.live().first(), known.unfinished().first()
        if live is None or not (order == "rebuild" or unfinished or not collections.is_current(index, live)):
            return None
        if unfinished and unfinished.state == Collection.State.PAUSED:
            if order == "rebuild":
                raise CommandError(
                    f"{index.name}: a rebuild is paused. {unfinished.error or 'See --resume.'}"
                )
            return None
        if unfinished:
            self.stdout.write(f"{index.name}: {unfinished.name} is being filled; going on with it.")
            return unfinished
        new = rebuild.begin(index)
        why = " The settings name another model or other filters than it was made for."
        self.stdout.write(
            f"{index.name}: {new.name} is being filled beside {live.name}, which answers until then."
            + ("" if collections.is_current(index, live) else why)
        )
        new.refresh_from_db()
        return new

    def _each(self, indexes: Sequence[ImageIndex], verb: Callable[[ImageIndex], object]) -> None:
        """Call ``verb`` for each index. Raises CommandError if it is refused for all of them."""
        refusals = []
        for index in indexes:
            try:
                verb(index)
            except (Refused, BackendError) as error:
                refusals.append(str(error))
        if len(refusals) == len(indexes):
            raise CommandError("\n".join(refusals))

    def _pause(self, index: ImageIndex) -> None:
        self.stdout.write(f"{index.name}: {rebuild.pause(index).name} is paused; changes are written to it.")

    def _cancel(self, index: ImageIndex) -> None:
        self.stdout.write(f"{index.name}: {rebuild.cancel(index).name} is dropped.")

    def _prune(self, index: ImageIndex) -> None:
        self.stdout.write(f"{index.name}: dropped {', '.join(rebuild.prune(index)) or 'nothing'}")

    def _note(self, index: ImageIndex, order: str) -> int:
        """Have the images looked at. Returns how many."""
        if order == "failed":
            noted = Change.objects.note_failed(index)
        elif order == "all" or self._has_lost(index):
            noted = Change.objects.note_all(index)
        else:
            found = chunks_of(each.image_id for each in outstanding(index))
            noted = sum(Change.objects.note(index, image_ids) for image_ids in found)
        while outbox.fold():
            pass
        self.stdout.write(f"{index.name}: {images(noted)} to look at")
        return noted

    def _has_lost(self, index: ImageIndex) -> bool:
        """Whether the store has fewer entities than the rows tell of, as after a loss of its data."""
        live = Collection.objects.of(index).live().first()
        if live is None or IndexEntry.objects.of(index).unfinished().exists():
            return False
        held, found = live.stored.count(), get_vector_store().count(live.name)
        if found < held:
            self.stdout.write(
                f"{index.name}: the store holds {found:,} entities where {held:,} are expected: "
                "every image is looked at."
            )
        return found < held

    def _wake(self) -> None:
        """Send the wake-up from this thread: if the process ends at once, a sending thread would end with it."""
        wake_up = broker.get_wake_up()
        if wake_up.runs_here or not wake_up.has_workers:
            broker.wake()
            return
        try:
            broker.send()
        except Exception as error:
            # Whatever the broker's client raises, the work is in the outbox.
            self.stderr.write(f"The broker is away ({error}); the workers find the work at their next sweep.")

    def _report_failures(self, indexes: list[ImageIndex]) -> None:
        failed = [IndexEntry.objects.of(index).failed() for index in indexes]
        if not (count := sum(rows.count() for rows in failed)):
            return
        first = [entry for rows in failed for entry in rows.order_by("pk")[:REASONS_SHOWN]][:REASONS_SHOWN]
        reasons = "".join(f"\n  {entry.index} {entry.image_id}: {entry.error}" for entry in first)
        more = f"\n  and {count - len(first):,} more" if count > len(first) else ""
        raise CommandError(f"{images(count)} cannot be indexed:{reasons}{more}")


def _plan(index: ImageIndex, order: str) -> str:
    """A sentence that says what would be done."""
    if order == "failed":
        failed = IndexEntry.objects.of(index).failed().count()
        return f"{images(failed)} that failed would be tried again"
    live = Collection.objects.of(index).live().first()
    if live is not None and (order == "rebuild" or (not order and not collections.is_current(index, live))):
        count = IndexEntry.objects.of(index).count()
        what = (
            "with the vectors they have"
            if model_space(live.space) == get_embedder().space
            else "and embedded again"
        )
        return f"{images(count)} would be written to a new collection, {what}"
    if order == "prune":
        kept = Collection.objects.of(index).retired()
        return f"would be dropped: {', '.join(kept.values_list('name', flat=True)) or 'nothing'}"
    if order in ("", "rebuild"):
        found = Counter(each.reason for each in outstanding(index))
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(found.items()))
        return f"{images(found.total())} would be looked at" + (f": {reasons}" if reasons else "")
    if order == "all":
        return (
            f"{images(index.get_queryset().count())} would be looked at, "
            f"and {sum(1 for _ in gone(index)):,} that are gone would be removed"
        )
    known = Collection.objects.of(index)
    concerned = (known.retired() if order == "rollback" else known.unfinished()).first()
    return f"would {order.replace('rollback', 'roll back to')} {concerned.name if concerned else 'nothing'}"
