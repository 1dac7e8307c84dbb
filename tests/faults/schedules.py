"""Schedules of faults: what a shop, its workers and its operators do, and what fails meanwhile, by a seed."""

import functools
import math
import random
import zlib
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from unittest import mock

from django.core.management.color import no_style
from django.db import connection
from django.db.models.functions import Now
from django.utils import timezone

from shopsearch import broker, paused, tasks
from shopsearch import tasks as workers
from shopsearch.indexing import batch, collections, outbox, rebuild
from shopsearch.indexing.batch import AWAY
from shopsearch.indexing.reconcile import reconcile
from shopsearch.models import (
    CachedVector,
    Change,
    Collection,
    IndexEntry,
    ProductImage,
    RelatedChange,
    StoredImage,
)
from shopsearch.models import outbox as noting
from shopsearch.models.outbox import ChangeQuerySet
from tests.faults.comparing import ARTWORKS, IMAGES, differences
from tests.faults.keeping import Keeper
from tests.faults.stage import Killed, Stage
from tests.faults.stand_ins import _collections, weather
from tests.shop.models import Artwork, Category, Product

INDEXES = [IMAGES, ARTWORKS]
MODELS = ["tests.faults.stand_ins.PixelEmbedder", "tests.faults.stand_ins.OtherPixelEmbedder"]
FILTERS = IMAGES.filters
STEPS, MOST_WORKERS = 60, 3
FOLDED_AT_ONCE = 2
"""So few that a category's images are folded in several slices, and whoever does it may die in between."""


class Schedule:
    """One story. ``play`` it until everything is at rest; ``log`` tells it."""

    def __init__(self, seed, settings):
        self.dice = random.Random(seed)
        self.settings = settings
        self.stage = Stage(self.dice)
        self.keeper = Keeper(self.dice)
        self.messages = 0
        """Wake-ups in the queue."""
        self.broker_is_away = False
        self.model = 0
        self.log = self.stage.log

    def play(self):
        """What is not as it should be at rest, in sentences."""
        with self.world():
            self.keeper.open()
            for _ in range(STEPS):
                self.step()
            return self.differences_at_rest() or self.differences_after_a_backup()

    def differences_at_rest(self):
        return differences() if self.comes_to_rest() else ["It never came to rest."]

    def differences_after_a_backup(self):
        """Reconciling finds what nobody noted, though a collection is kept that knows the files as they were."""
        self.unless_refused(self.begin)
        if not self.comes_to_rest():
            return ["The last rebuild never came to rest."]
        self.keeper.restore_files()
        for index in INDEXES:
            for portion in reconcile(index, fix=True):
                self.log.append(f"reconciled: {[each.image_id for each in portion.differences]}")
        return self.differences_at_rest()

    def step(self):
        happens = self.dice.choices(
            (self.keep_shop, self.work, self.go_on, self.deliver, self.sleep, self.turn, self.operate),
            weights=(30, 20, 20, 8, 10, 4, 8),
        )[0]
        said = happens()
        self.log.append(f"{happens.__name__}: {said or ''}")

    # The shop

    def keep_shop(self):
        if self.dice.random() < 0.1:
            self.stage.enter("import", self.import_many)
            return "an import begins"
        return self.keeper.act()

    def import_many(self):
        with paused():
            for _ in range(self.dice.randint(1, 5)):
                self.dice.choice(self.keeper.acts)()
                self.stage.point("in an import")

    # The workers

    def work(self):
        """Somebody takes a wake-up; it may come twice, or have been lost on the way."""
        if self.messages and len(self.stage.actors) < MOST_WORKERS:
            self.messages -= self.dice.random() < 0.8
            self.enter("worker", tasks.index)

    def enter(self, name, act):
        self.stage.enter(f"{name} {len(self.log)}", act).go_on()
        return f"{name} {len(self.log)}"

    def go_on(self):
        if self.stage.actors:
            actor = self.dice.choice(self.stage.actors)
            actor.go_on()
            return actor.name

    def deliver(self):
        """A sweep, or a wake-up that comes out of the blue; those that wait may be lost."""
        if self.dice.random() < 0.3:
            self.messages = 0
        elif self.dice.random() < 0.3:
            self.messages += 1
        else:
            workers.sweep()

    def wake(self):
        if not self.broker_is_away:
            self.messages = min(3, self.messages + 1)

    # Time and weather

    def pass_time(self):
        """Every wait is over: leases have run out, also of those who are only slow."""
        for actor in self.stage.actors:
            actor.overslept = actor.is_writing
        IndexEntry.objects.unfinished().update(available_at=Now())
        for model in (Change, RelatedChange):
            model.objects.update(available_at=Now())

    def sleep(self):
        """Long enough for others to change something and be done with it before those who are at it go on."""
        self.pass_time()
        if self.dice.random() < 0.5:
            changed = self.keep_shop()
            self.messages += 1
            self.work()
            return changed

    def turn(self):
        """Something fails from now on, or works again."""
        turned = self.dice.choice(("store", "disk", "call", "embedder", "broker", "answers", "fair"))
        if turned == "store":
            weather.store_is_away = not weather.store_is_away
        elif turned == "disk":
            weather.disk_is_full = not weather.disk_is_full
        elif turned == "call":
            weather.failing_call = self.dice.randint(1, 12)
        elif turned == "embedder":
            weather.embedder_is_away = not weather.embedder_is_away
        elif turned == "broker":
            self.broker_is_away = not self.broker_is_away
        elif turned == "answers":
            weather.acknowledges = lambda: self.dice.random() < 0.7
        else:
            weather.fair()
        return turned

    # The operators

    def operate(self):
        acts = (self.begin, self.begin, self.pause, self.resume, self.cancel, self.roll_back, self.prune)
        acts += (self.declare, self.change_model, self.reindex, self.reindex)
        if len(self.stage.actors) < MOST_WORKERS:
            act = self.dice.choice(acts)
            return f"{act.__name__} by {self.enter('operator', lambda: self.unless_refused(act))}"

    def unless_refused(self, act):
        """As an operator takes it when something cannot be done at the moment."""
        try:
            act()
        except (rebuild.Refused, *AWAY):
            pass

    def begin(self):
        rebuild.begin(self.dice.choice(INDEXES))

    def pause(self):
        rebuild.pause(self.dice.choice(INDEXES))

    def resume(self):
        rebuild.resume(self.dice.choice(INDEXES))

    def cancel(self):
        rebuild.cancel(self.dice.choice(INDEXES))

    def roll_back(self):
        rebuild.roll_back(self.dice.choice(INDEXES))

    def prune(self):
        rebuild.prune(self.dice.choice(INDEXES))

    def reindex(self):
        Change.objects.note_all(self.dice.choice(INDEXES))
        broker.wake()

    def declare(self):
        """Other filters, and what their change asks for."""
        names = self.dice.sample(sorted(FILTERS), self.dice.randint(1, len(FILTERS)))
        IMAGES.filters = {name: FILTERS[name] for name in names}
        if self.dice.random() < 0.3:
            IMAGES.filters["price"] = str
        self.reindex_all()

    def change_model(self):
        self.model = 1 - self.model
        self.settings(MODELS[self.model], MODELS[1 - self.model])
        self.reindex_all()

    def reindex_all(self):
        """Who changes a declaration has to see this through."""
        self.stage.actor.is_spared = True
        for index in INDEXES:
            Change.objects.note_all(index)

    # The world

    @contextmanager
    def world(self):
        models = (StoredImage, ProductImage, Artwork, Product, Category)
        models += (IndexEntry, Change, RelatedChange, Collection, CachedVector)
        for model in models:
            model.objects.all()._raw_delete("default")
        # The keys begin anew: a schedule is the same alone as after others.
        with connection.cursor() as cursor:
            for statement in connection.ops.sequence_reset_by_name_sql(no_style(), sequences_of(models)):
                cursor.execute(statement)
        _collections.clear()
        weather.fair()
        weather.point = self.stage.point
        self.stage.interruptions = self.dice.choice((0.0, 0.1, 0.3, 0.6))
        self.stage.kills = self.dice.choice((0.0, 0.03, 0.1))
        self.settings(*MODELS)
        with ExitStack() as stack:
            patch = lambda owner, name, new: stack.enter_context(mock.patch.object(owner, name, new))  # noqa: E731
            patch(broker, "wake", self.wake)
            patch(noting, "_end", self.end_of_pause(noting._end))
            patch(outbox, "renew", self.interruptible(outbox.renew, is_writing=writes))
            patch(batch._Claimed, "renew_if_due", self.renewing(batch._Claimed.renew_if_due))
            patch(outbox, "FOLDED_AT_ONCE", FOLDED_AT_ONCE)
            patch(outbox, "fold", self.interruptible(in_slices(outbox.fold)))
            for name in ("settle", "postpone"):
                patch(outbox, name, self.interruptible(getattr(outbox, name), is_writing=lambda *_: False))
            patch(outbox, "claim", self.interruptible(self.in_any_order(outbox.claim)))
            for owner, name in (
                (outbox, "look_again"),
                (outbox, "discard_stored"),
                (rebuild, "_switch"),
                (rebuild, "_start"),
                (collections, "create"),
                (ChangeQuerySet, "note"),
                (batch, "_read_stored"),
            ):
                patch(owner, name, self.interruptible(getattr(owner, name)))
            if self.dice.random() < 0.5:
                patch(timezone, "now", self.skewed(timezone.now))
            stack.callback(lambda: IMAGES.__dict__.pop("filters", None))
            yield

    def interruptible(self, call, is_writing=None):
        def called(*arguments, **options):
            self.stage.point(f"before {call.__name__}")
            answer = call(*arguments, **options)
            if self.stage.actor and is_writing is not None:
                self.stage.actor.is_writing = is_writing(*arguments)
            self.stage.point(f"after {call.__name__}")
            return answer

        return called

    def in_any_order(self, claim):
        """A database promises none."""

        @functools.wraps(claim)
        def claimed_in_any_order(limit):
            entries = sorted(claim(limit), key=lambda entry: entry.pk)
            self.dice.shuffle(entries)
            return entries

        return claimed_in_any_order

    def renewing(self, go_on):
        """Now and then a third of the lease is over."""

        def renewing_go_on(claimed):
            if self.dice.random() < 0.3:
                claimed._renewed_at = -math.inf
            go_on(claimed)

        return renewing_go_on

    def end_of_pause(self, end):
        """Who is killed ends nothing."""
        import sys

        return lambda *arguments: sys.exc_info()[0] is Killed or end(*arguments)

    def skewed(self, now):
        """Python's clock, which may be another in each process."""

        def skewed_now():
            name = getattr(self.stage.actor, "name", "")
            return now() + timedelta(hours=zlib.crc32(name.encode()) % 48 - 24)

        return skewed_now

    def comes_to_rest(self):
        self.log.append("everything works again")
        weather.fair()
        self.broker_is_away = False
        self.stage.clear()
        self.cancel_what_nobody_can_fill()
        for _ in range(300):
            self.pass_time()
            workers.sweep()
            with suppress(Killed):  # by a picture
                tasks.index()
            if not self.is_moving():
                return True
        return False

    def cancel_what_nobody_can_fill(self):
        """A rebuild for a declaration that was taken back waits for a process that has it."""
        for index in INDEXES:
            collection = Collection.objects.of(index).unfinished().first()
            if collection and not rebuild.may_fill(index, collection):
                rebuild.cancel(index)

    def is_moving(self):
        moving = any(each.objects.exists() for each in (Change, RelatedChange))
        moving = moving or IndexEntry.objects.unfinished().exists()
        return moving or Collection.objects.filter(state=Collection.State.BUILDING).exists()


def in_slices(fold):
    @functools.wraps(fold)
    def fold_some(limit=FOLDED_AT_ONCE):
        return fold(limit)

    return fold_some


def writes(entries, collections=None):
    """Whether a lease is renewed in order to write; without collections it is only to go on."""
    return collections is None or bool(list(collections))


def sequences_of(models):
    with connection.cursor() as cursor:
        return [
            sequence
            for model in models
            for sequence in connection.introspection.get_sequences(cursor, model._meta.db_table)
        ]
