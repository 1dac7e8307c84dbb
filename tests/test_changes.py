"""Changes: noted by the shop, folded into the outbox by workers; on PostgreSQL by test_outbox_processes.py."""

import contextlib
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from shopsearch import changes, keys, outbox
from shopsearch.models import Change, IndexEntry, ProductImage
from shopsearch.outbox import Settlement
from shopsearch.registry import index_for
from tests.shop.pictures import RED, product

pytestmark = pytest.mark.django_db

State = IndexEntry.State
IMAGES = index_for(ProductImage)


def states():
    return dict(IndexEntry.objects.values_list("image_id", "state"))


def indexed(*image_ids):
    """Rows of the outbox that are at rest."""
    changes.note(IMAGES, image_ids)
    changes.fold()
    IndexEntry.objects.update(state=State.INDEXED)


# Noting


def test_a_change_is_one_insert_and_reads_nothing():
    with CaptureQueriesContext(connection) as captured:
        changes.note(IMAGES, [1])
    statements = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert [sql.split(" (")[0] for sql in statements] == ['INSERT INTO "shopsearch_change"']


def test_images_are_noted_in_chunks_each_once(monkeypatch):
    monkeypatch.setattr(keys, "CHUNK", 3)
    assert changes.note(IMAGES, [*range(7), "3"]) == 7
    assert sorted(Change.objects.values_list("image_id", flat=True)) == list("0123456")


def test_a_rollback_leaves_no_change():
    with transaction.atomic():
        changes.note(IMAGES, [1])
        transaction.set_rollback(True)
    assert not Change.objects.exists()


def test_everything_is_the_images_shown_and_the_rows_of_those_that_are_gone():
    indexed("7", "8")
    changes.note_all(IMAGES)
    changes.fold()
    assert states() == {"7": State.PENDING, "8": State.PENDING}


def test_what_failed_is_tried_again_on_request_and_nothing_else_is():
    indexed("1", "2")
    IndexEntry.objects.filter(image_id="1").update(state=State.FAILED)
    assert changes.note_failed(IMAGES) == 1
    changes.fold()
    assert states() == {"1": State.PENDING, "2": State.INDEXED}


# Folding


def test_an_image_has_one_row_however_often_it_is_noted():
    changes.note(IMAGES, [1])
    assert changes.fold() == 1
    first = IndexEntry.objects.get().version
    changes.note(IMAGES, ["1", 1, 2])
    changes.note(IMAGES, [1])
    assert changes.fold() == 3
    assert states() == {"1": State.PENDING, "2": State.PENDING}
    assert IndexEntry.objects.get(image_id="1").version != first
    assert not Change.objects.exists()


def test_no_more_is_folded_than_was_asked_for_and_the_oldest_first():
    for image_id in "cab":
        changes.note(IMAGES, [image_id])
    assert changes.fold(2) == 2
    assert states().keys() == {"c", "a"}


def test_an_image_that_failed_is_given_a_fresh_start():
    indexed("1")
    IndexEntry.objects.update(state=State.FAILED, error="broken", attempts=9)
    changes.note(IMAGES, [1])
    changes.fold()
    row = IndexEntry.objects.get()
    assert (row.state, row.error, row.attempts) == (State.PENDING, "", 0)


@pytest.mark.parametrize("folded_in_between", [False, True])
@pytest.mark.parametrize(
    ("noted", "state"), [((True,), "deleting"), ((False, True), "deleting"), ((True, False), "pending")]
)
def test_the_last_change_says_whether_the_image_is_gone(noted, state, folded_in_between):
    for is_deletion in noted:
        changes.note(IMAGES, [7], is_deletion=is_deletion)
        if folded_in_between:
            changes.fold()
    changes.fold()
    assert states() == {"7": state}


def test_a_change_noted_while_the_image_is_claimed_leaves_the_lease_and_makes_it_due_again():
    changes.note(IMAGES, [1])
    [claimed] = outbox.claim(1)
    changes.note(IMAGES, [1])
    changes.fold()
    row = IndexEntry.objects.get()
    assert (row.claim, row.available_at) == (claimed.claim, claimed.available_at)
    assert outbox.claim(1) == [], "two workers would write one image at once"
    outbox.settle([Settlement(entry=claimed, error="broken")])
    assert [each.pk for each in outbox.claim(1)] == [claimed.pk]


def test_a_change_of_an_index_that_this_process_does_not_know_is_left_to_others():
    Change.objects.create(index="later_release", image_id="1")
    assert changes.fold() == 0
    assert Change.objects.count() == 1
    assert not outbox.has_due()


def test_whoever_dies_between_the_rows_and_the_changes_loses_nothing(monkeypatch):
    changes.note(IMAGES, [1])

    def killed(using, images, token):
        write(using, images, token)
        raise KeyboardInterrupt

    write = changes._write
    with monkeypatch.context() as patch:
        patch.setattr(changes, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            changes.fold()
    assert (states(), Change.objects.count()) == ({}, 1)
    assert changes.fold() == 1
    assert states() == {"1": State.PENDING}


def test_a_row_that_a_worker_removes_while_its_change_is_folded_is_made_again(monkeypatch):
    indexed("1")
    changes.note(IMAGES, [1])

    def removed_meanwhile(*args, **kwargs):
        IndexEntry.objects.all().delete()
        return []

    with monkeypatch.context() as patch:
        patch.setattr("django.db.models.query.QuerySet.bulk_create", removed_meanwhile)
        assert changes.fold() == 0
    assert Change.objects.count() == 1
    assert changes.fold() == 1
    assert states() == {"1": State.PENDING}


def test_with_nothing_to_fold_nothing_is_written():
    with CaptureQueriesContext(connection) as captured:
        assert changes.fold() == 0
    assert [query["sql"].split()[0] for query in captured] == ["SELECT"]


# Pausing


def waits():
    """How many seconds each change has to wait still."""
    found = Change.objects.annotate(wait=F("available_at") - Now()).values_list("wait", flat=True)
    return [wait.total_seconds() for wait in found]


def test_what_is_changed_while_paused_is_due_at_the_end():
    with changes.paused():
        changes.note(IMAGES, [1])
        assert not outbox.has_due()
        assert 290 < min(waits()) <= changes.PAUSE_SECONDS
        assert outbox.waiting([IMAGES]) == 1
    changes.note(IMAGES, [2])
    assert outbox.has_due(beyond=1)


def test_a_pause_ends_whatever_happens_in_it():
    with contextlib.suppress(ValueError), changes.paused():
        changes.note(IMAGES, [1])
        raise ValueError
    assert outbox.has_due()
    changes.note(IMAGES, [2])
    assert max(waits()) <= 0


def test_a_pause_within_a_pause_is_part_of_it():
    with changes.paused():
        with changes.paused():
            changes.note(IMAGES, [1])
        assert not outbox.has_due()
    assert outbox.has_due()


def test_a_pause_is_not_for_what_others_change():
    with changes.paused():
        other = threading.Thread(target=lambda: found.append(changes._pause.get()))
        found = []
        other.start()
        other.join()
        assert found == [None]
    Change.objects.create(
        index=IMAGES.name, image_id="1", token=uuid.uuid4(), available_at=Now() + timedelta(60)
    )
    with changes.paused():
        changes.note(IMAGES, [2])
    assert [len([wait for wait in waits() if wait > 0]), len(waits())] == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_a_pause_is_one_wake_up_at_its_end(monkeypatch):
    sent = []
    monkeypatch.setattr(
        changes.wakeups, "wake", lambda: sent.append(Change.objects.filter(token=None).count())
    )
    with changes.paused():
        for number in range(5):
            changes.note(IMAGES, [number])
            changes.wake("default")
        assert sent == []
    assert sent == [5]


@pytest.mark.django_db(transaction=True)
def test_a_pause_in_a_transaction_that_is_rolled_back_leaves_nothing_and_wakes_nobody(monkeypatch):
    sent = []
    monkeypatch.setattr(changes.wakeups, "wake", lambda: sent.append(True))
    with contextlib.suppress(ValueError), transaction.atomic(), changes.paused():
        changes.note(IMAGES, [1])
        with transaction.atomic(savepoint=False):
            raise ValueError
    assert not Change.objects.exists()
    assert sent == []


def test_what_a_killed_import_has_noted_is_due_by_itself():
    with changes.paused():
        changes.note(IMAGES, [1])
        Change.objects.update(available_at=F("available_at") - timedelta(seconds=changes.PAUSE_SECONDS))
        assert changes.fold() == 1


# Beside other transactions


class Meanwhile:
    """Another thread with a connection of its own: does what it is told, and tells what came of it."""

    def __init__(self, act):
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.error = None
        self.thread = threading.Thread(target=self.run, args=[act], daemon=True)
        self.thread.start()

    def run(self, act):
        try:
            act(self)
        except Exception as error:
            self.error = error
        finally:
            self.reached.set()
            connection.close()

    def pause(self):
        self.reached.set()
        assert self.go_on.wait(30)

    def finish(self):
        self.go_on.set()
        self.thread.join(30)
        assert self.error is None


def needs_concurrent_writers():
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip(f"{connection.vendor} has one writer; test_outbox_processes.py runs this on PostgreSQL")


def waiting_is_an_error():
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '3s'")


@pytest.mark.django_db(transaction=True)
def test_a_save_does_not_wait_for_another_that_has_noted_the_same_image():
    needs_concurrent_writers()
    thing = product(RED)
    changes.fold()
    image = thing.images.get()

    def import_products(other):
        with transaction.atomic():
            thing.save()
            other.pause()

    other = Meanwhile(import_products)
    assert other.reached.wait(30)
    waiting_is_an_error()
    image.save()
    assert changes.fold() == 1, "what is not committed yet is not folded, and not waited for"
    other.finish()
    assert changes.fold() == 1


@pytest.mark.django_db(transaction=True)
def test_two_transactions_that_save_the_same_products_in_opposite_orders_do_not_deadlock_over_our_rows():
    needs_concurrent_writers()
    first, second = product(RED), product(RED)
    changes.fold()
    images = {each.pk: each.images.get() for each in (first, second)}

    def import_products(other):
        with transaction.atomic():
            first.save()
            other.pause()
            images[second.pk].save()

    other = Meanwhile(import_products)
    assert other.reached.wait(30)
    waiting_is_an_error()
    with transaction.atomic():
        second.save()
        images[first.pk].save()
        other.finish()
    assert changes.fold() == 4


@pytest.mark.django_db(transaction=True)
def test_workers_that_fold_at_once_lose_nothing_and_fold_nothing_twice():
    for _ in range(4):
        changes.note(IMAGES, range(300))
    ready, folded = threading.Barrier(4), []

    def work(worker):
        ready.wait(30)
        while changes.due("default").exists():
            folded.append(changes.fold(70))

    workers = [Meanwhile(work) for _ in range(4)]
    for worker in workers:
        worker.finish()
    assert sum(folded) == 1_200
    assert states() == {str(number): State.PENDING for number in range(300)}


@pytest.mark.django_db(transaction=True)
def test_folding_and_settling_the_same_rows_wait_for_each_other_and_do_not_deadlock():
    changes.note(IMAGES, range(60))
    claimed = outbox.claim(60)
    ready = threading.Barrier(2)

    def fold(worker):
        for _ in range(8):
            changes.note(IMAGES, range(59, -1, -1))
            ready.wait(30)
            while changes.due("default").exists():
                changes.fold()

    worker = Meanwhile(fold)
    for _ in range(8):
        ready.wait(30)
        assert len(outbox.renew(claimed[::-1])) == 60
    outbox.settle([Settlement(entry=row, error="broken") for row in claimed[::-1]])
    worker.finish()
    assert set(states().values()) == {State.PENDING}


@pytest.mark.django_db(transaction=True)
def test_an_open_import_keeps_no_worker_from_its_rows():
    needs_concurrent_writers()
    changes.note(IMAGES, [1, 2])
    claimed = outbox.claim(2)

    def import_products(other):
        with transaction.atomic():
            changes.note(IMAGES, [1])
            other.pause()

    other = Meanwhile(import_products)
    assert other.reached.wait(30)
    waiting_is_an_error()
    assert len(outbox.renew(claimed)) == 2
    outbox.settle([Settlement(entry=row, error="broken") for row in claimed])
    assert set(states().values()) == {State.FAILED}
    other.finish()
    changes.fold()
    assert states() == {"1": State.PENDING, "2": State.FAILED}
