"""The outbox: marking, claiming, settling; on SQLite here, on PostgreSQL by test_outbox_processes.py."""

import threading
import uuid
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.db.models import F
from django.db.models.functions import Now

from shopsearch import outbox
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.outbox import Settlement
from shopsearch.registry import index_for

pytestmark = pytest.mark.django_db

State = IndexEntry.State
IMAGES = index_for(ProductImage)


def entry(image_id="1"):
    return IndexEntry.objects.get(index=IMAGES.name, image_id=image_id)


def claimed(count=1):
    outbox.mark(IMAGES, range(1, count + 1))
    return outbox.claim(count)


def indexed(entry, **hashes):
    return Settlement(entry=entry, **{"image_hash": "a", "fields_hash": "f", "collection": "c"} | hashes)


def end_leases():
    IndexEntry.objects.update(available_at=Now() - timedelta(seconds=1))


def seconds_until_due(row):
    return IndexEntry.objects.annotate(wait=F("available_at") - Now()).get(pk=row.pk).wait.total_seconds()


# Marking


def test_an_image_has_one_row_however_often_it_is_marked():
    outbox.mark(IMAGES, [1])
    first = entry().version
    assert outbox.mark(IMAGES, ["1", 1, 2]) == 2
    assert [row.image_id for row in IndexEntry.objects.order_by("image_id")] == ["1", "2"]
    assert entry().version != first


def test_marking_an_image_that_failed_gives_it_a_fresh_start():
    [row] = claimed()
    outbox.settle([Settlement(entry=row, error="broken")])
    outbox.mark(IMAGES, [1])
    assert (entry().state, entry().error, entry().attempts) == (State.PENDING, "", 0)


def test_a_deleted_image_is_noted_by_its_id_alone():
    outbox.mark_deleted(IMAGES, [7])
    assert entry("7").state == State.DELETING


def test_marking_everything_takes_in_the_images_shown_and_the_rows_of_those_that_are_gone():
    [ghost, _] = claimed(2)
    outbox.settle([indexed(ghost)])
    assert outbox.mark_all(IMAGES) == 2
    assert {row.state for row in IndexEntry.objects.all()} == {State.PENDING}


def test_what_failed_is_tried_again_on_request_and_nothing_else_is():
    bad, good = claimed(2)
    outbox.settle([Settlement(entry=bad, error="broken"), indexed(good)])
    assert outbox.mark_failed_again(IMAGES) == 1
    assert (entry(bad.image_id).state, entry(good.image_id).state) == (State.PENDING, State.INDEXED)


# Claiming


def test_a_claimed_row_is_nobody_elses_until_its_lease_ends():
    [row] = claimed()
    assert (row.state, row.attempts) == (State.CLAIMED, 1)
    assert outbox.claim(10) == []
    end_leases()
    [again] = outbox.claim(10)
    assert again.pk == row.pk
    assert again.claim != row.claim
    assert again.attempts == 2


def test_a_lease_is_as_long_as_the_setting_says(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "LEASE_SECONDS": 1_000}
    [row] = claimed()
    assert 990 < seconds_until_due(row) <= 1_000


def test_no_more_rows_are_claimed_than_were_asked_for():
    outbox.mark(IMAGES, range(5))
    assert len(outbox.claim(3)) == 3
    assert outbox.has_due(beyond=1)
    assert not outbox.has_due(beyond=2)


def test_a_row_that_is_to_be_deleted_says_so_even_after_its_worker_died():
    outbox.mark_deleted(IMAGES, [1])
    outbox.claim(1)
    end_leases()
    assert [row.state for row in outbox.claim(1)] == [State.DELETING]


def test_rows_of_an_index_that_this_process_does_not_know_are_left_to_others():
    IndexEntry.objects.create(index="later_release", image_id="1")
    assert outbox.claim(1) == []
    assert not outbox.has_due()


# Settling


def test_a_settled_row_is_at_rest():
    [row] = claimed()
    outbox.settle([indexed(row)])
    settled = entry()
    assert (settled.state, settled.image_hash, settled.collection) == (State.INDEXED, "a", "c")
    assert settled.claim is None
    assert settled.indexed_at is not None
    assert not outbox.has_due()


def test_a_row_of_which_the_store_holds_nothing_any_more_is_removed():
    [row] = claimed()
    outbox.settle([Settlement(entry=row)])
    assert not IndexEntry.objects.exists()


def test_a_change_made_while_the_row_was_claimed_makes_it_due_again_at_once():
    [row] = claimed()
    outbox.mark(IMAGES, [1])
    assert outbox.claim(1) == [], "two workers would write one image at once"
    outbox.settle([indexed(row)])
    assert entry().state == State.PENDING
    assert entry().image_hash == "a", "what the store holds is known all the same"
    assert len(outbox.claim(1)) == 1


def test_an_image_deleted_while_its_row_was_claimed_is_still_to_be_deleted():
    [row] = claimed()
    outbox.mark_deleted(IMAGES, [1])
    outbox.settle([indexed(row)])
    assert [each.state for each in outbox.claim(1)] == [State.DELETING]


def test_an_image_that_came_back_while_its_deletion_was_under_way_is_not_forgotten():
    outbox.mark_deleted(IMAGES, [1])
    [row] = outbox.claim(1)
    outbox.mark(IMAGES, [1])
    outbox.settle([Settlement(entry=row)])
    assert (entry().state, entry().image_hash) == (State.PENDING, "")


def test_a_worker_that_outlived_its_lease_leaves_the_row_due_and_nothing_believed():
    [slow] = claimed()
    end_leases()
    [quick] = outbox.claim(1)
    outbox.settle([indexed(quick, image_hash="newer")])
    outbox.settle([indexed(slow, image_hash="older")])
    assert (entry().state, entry().image_hash) == (State.PENDING, "")


def test_a_worker_that_outlived_its_lease_and_the_row_has_it_looked_at_again():
    [slow] = claimed()
    end_leases()
    [quick] = outbox.claim(1)
    outbox.settle([Settlement(entry=quick)])
    outbox.settle([indexed(slow)])
    assert entry().state == State.PENDING


def test_renewing_says_which_claims_still_hold_and_blanks_what_was_known_of_them():
    first, second = sorted(claimed(2), key=lambda row: row.image_id)
    IndexEntry.objects.update(image_hash="a", fields_hash="f")
    IndexEntry.objects.filter(pk=first.pk).update(claim=uuid.uuid4())
    IndexEntry.objects.filter(pk=second.pk).update(available_at=Now())
    assert outbox.renew([first, second]) == [second]
    assert seconds_until_due(second) > 1
    assert (entry("2").image_hash, entry("2").fields_hash) == ("", "")
    assert entry("1").image_hash == "a"


@pytest.mark.parametrize(("attempts", "wait"), [(1, 1), (2, 2), (4, 8), (6, 30), (500, 30)])
def test_each_attempt_waits_twice_as_long_up_to_a_bound(attempts, wait):
    [row] = claimed()
    row.attempts = attempts
    outbox.postpone([row], "away")
    assert wait - 1 < seconds_until_due(row) <= wait
    assert (entry().state, entry().error, entry().claim) == (State.PENDING, "away", None)


def test_a_deletion_that_has_to_wait_stays_a_deletion():
    outbox.mark_deleted(IMAGES, [1])
    outbox.postpone(outbox.claim(1), "away")
    assert entry().state == State.DELETING


def test_the_counts_name_every_index_and_every_state():
    [row, _] = claimed(2)
    outbox.settle([indexed(row)])
    counts = outbox.counts()
    assert counts[IMAGES.name] == {"pending": 0, "claimed": 1, "indexed": 1, "failed": 0, "deleting": 0}
    assert counts["shop_artwork"]["pending"] == 0


def test_keys_come_in_chunks_each_once(monkeypatch):
    monkeypatch.setattr(outbox, "CHUNK", 3)
    outbox.mark(IMAGES, range(8))
    chunks = list(outbox.keys(IndexEntry.objects.order_by("-image_id")))
    assert [len(chunk) for chunk in chunks] == [3, 3, 2]
    assert {key for chunk in chunks for key in chunk} == set(IndexEntry.objects.values_list("pk", flat=True))
    assert sum(len(chunk) for chunk in outbox.keys(IndexEntry.objects.order_by("pk")[1:5])) == 4


# Rows that a shop's transaction holds: only a database that locks rows has them.


@pytest.fixture
def held_by_a_shop(transactional_db):
    """Another connection has marked image 1 and has not committed yet."""
    if not connection.features.has_select_for_update_skip_locked:
        pytest.skip(
            f"{connection.vendor} does not lock rows; test_outbox_processes.py runs this on PostgreSQL"
        )
    marked, finish = threading.Event(), threading.Event()

    def save():
        with transaction.atomic():
            outbox.mark(IMAGES, [1])
            marked.set()
            finish.wait(30)
        connection.close()

    shop = threading.Thread(target=save, daemon=True)

    def begin():
        shop.start()
        assert marked.wait(30)

    yield begin
    finish.set()
    shop.join(30)


@pytest.mark.django_db(transaction=True)
def test_nothing_waits_for_a_row_that_a_shop_is_saving(held_by_a_shop):
    rows = claimed(2)
    held, free = sorted(rows, key=lambda row: row.image_id)
    held_by_a_shop()
    with connection.cursor() as cursor:
        cursor.execute("SET lock_timeout = '3s'")  # waiting would be an error
    assert outbox.renew(rows) == [free]
    outbox.settle([indexed(held), indexed(free)])
    outbox.postpone([held], "away")
    assert (entry("1").state, entry("2").state) == (State.CLAIMED, State.INDEXED)
    assert outbox.claim(2) == []
