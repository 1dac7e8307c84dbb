"""Changes beside other transactions: nobody waits, nothing deadlocks; on PostgreSQL by test_outbox_processes.py."""

import threading

import pytest
from django.db import connection, transaction

from shopsearch.indexing import outbox
from shopsearch.indexing.outbox import Settlement
from shopsearch.models import Change, IndexEntry, ProductImage
from shopsearch.registry import index_for
from tests.shop.pictures import RED, product

pytestmark = pytest.mark.django_db

State = IndexEntry.State
IMAGES = index_for(ProductImage)


def states():
    return dict(IndexEntry.objects.values_list("image_id", "state"))


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
    outbox.fold()
    image = thing.images.get()

    def import_products(other):
        with transaction.atomic():
            thing.save()
            other.pause()

    other = Meanwhile(import_products)
    assert other.reached.wait(30)
    waiting_is_an_error()
    image.save()
    assert outbox.fold() == 1, "what is not committed yet is not folded, and not waited for"
    other.finish()
    assert outbox.fold() == 1


@pytest.mark.django_db(transaction=True)
def test_two_transactions_that_save_the_same_products_in_opposite_orders_do_not_deadlock_over_our_rows():
    needs_concurrent_writers()
    first, second = product(RED), product(RED)
    outbox.fold()
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
    assert outbox.fold() == 4


@pytest.mark.django_db(transaction=True)
def test_workers_that_fold_at_once_lose_nothing_and_fold_nothing_twice():
    for _ in range(4):
        Change.objects.note(IMAGES, range(300))
    ready, folded = threading.Barrier(4), []

    def work(worker):
        ready.wait(30)
        while Change.objects.due().exists():
            folded.append(outbox.fold(70))

    workers = [Meanwhile(work) for _ in range(4)]
    for worker in workers:
        worker.finish()
    assert sum(folded) == 1_200
    assert states() == {str(number): State.PENDING for number in range(300)}


@pytest.mark.django_db(transaction=True)
def test_folding_and_settling_the_same_rows_wait_for_each_other_and_do_not_deadlock():
    Change.objects.note(IMAGES, range(60))
    claimed = outbox.claim(60)
    ready = threading.Barrier(2)

    def fold(worker):
        for _ in range(8):
            Change.objects.note(IMAGES, range(59, -1, -1))
            ready.wait(30)
            while Change.objects.due().exists():
                outbox.fold()

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
    Change.objects.note(IMAGES, [1, 2])
    claimed = outbox.claim(2)

    def import_products(other):
        with transaction.atomic():
            Change.objects.note(IMAGES, [1])
            other.pause()

    other = Meanwhile(import_products)
    assert other.reached.wait(30)
    waiting_is_an_error()
    assert len(outbox.renew(claimed)) == 2
    outbox.settle([Settlement(entry=row, error="broken") for row in claimed])
    assert set(states().values()) == {State.FAILED}
    other.finish()
    outbox.fold()
    assert states() == {"1": State.PENDING, "2": State.FAILED}
