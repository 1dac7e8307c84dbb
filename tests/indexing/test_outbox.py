"""The outbox: claiming, settling; on SQLite here, on PostgreSQL by test_outbox_processes.py."""

import uuid
from datetime import timedelta

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django.utils import timezone

from shopsearch.indexing import outbox, progress
from shopsearch.indexing.outbox import Settlement
from shopsearch.models import Change, Collection, Hashes, IndexEntry, ProductImage, StoredImage
from shopsearch.registry import index_for
from tests.shop.models import Artwork

pytestmark = pytest.mark.django_db

State = IndexEntry.State
IMAGES = index_for(ProductImage)


def entry(image_id="1"):
    outbox.fold()
    return IndexEntry.objects.get(index=IMAGES.name, image_id=image_id)


def claimed(count=1):
    Change.objects.note(IMAGES, range(1, count + 1))
    return outbox.claim(count)


@pytest.fixture
def live():
    return Collection.objects.create(index=IMAGES.name, name="live", space="s", dimension=2, state="live")


def indexed(entry, collection=None, image_hash="a"):
    collection = collection or Collection.objects.get()
    return Settlement(entry=entry, stored={collection: Hashes(image_hash, "f")})


def stored(image_id="1"):
    """By collection; None where nothing is known."""
    rows = StoredImage.objects.filter(entry__image_id=image_id)
    return {row.collection.name: row.image_hash or None for row in rows}


def end_leases():
    IndexEntry.objects.update(available_at=Now() - timedelta(seconds=1))


def seconds_until_due(row):
    return IndexEntry.objects.annotate(wait=F("available_at") - Now()).get(pk=row.pk).wait.total_seconds()


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
    Change.objects.note(IMAGES, range(5))
    assert len(outbox.claim(3)) == 3
    assert outbox.has_due(beyond=1)
    assert not outbox.has_due(beyond=2)


def test_a_row_that_is_to_be_deleted_says_so_even_after_its_worker_died():
    Change.objects.note(IMAGES, [1], is_deletion=True)
    outbox.claim(1)
    end_leases()
    assert [row.state for row in outbox.claim(1)] == [State.DELETING]


def test_rows_of_an_index_that_this_process_does_not_know_are_left_to_others():
    IndexEntry.objects.create(index="later_release", image_id="1")
    assert outbox.claim(1) == []
    assert not outbox.has_due()


# Settling


def test_a_settled_row_is_at_rest(live):
    [row] = claimed()
    outbox.settle([indexed(row)])
    settled = entry()
    assert (settled.state, stored()) == (State.INDEXED, {"live": "a"})
    assert settled.claim is None
    assert settled.indexed_at is not None
    assert not outbox.has_due()


def test_a_row_of_which_the_store_holds_nothing_any_more_is_removed():
    [row] = claimed()
    outbox.settle([Settlement(entry=row)])
    assert not IndexEntry.objects.exists()


def test_a_change_made_while_the_row_was_claimed_makes_it_due_again_at_once(live):
    [row] = claimed()
    Change.objects.note(IMAGES, [1])
    assert outbox.claim(1) == [], "two workers would write one image at once"
    outbox.settle([indexed(row)])
    assert entry().state == State.PENDING
    assert stored() == {"live": "a"}, "what the store holds is known all the same"
    assert len(outbox.claim(1)) == 1


def test_an_image_deleted_while_its_row_was_claimed_is_still_to_be_deleted(live):
    [row] = claimed()
    Change.objects.note(IMAGES, [1], is_deletion=True)
    outbox.settle([indexed(row)])
    assert [each.state for each in outbox.claim(1)] == [State.DELETING]


def test_an_image_that_came_back_while_its_deletion_was_under_way_is_not_forgotten():
    Change.objects.note(IMAGES, [1], is_deletion=True)
    [row] = outbox.claim(1)
    Change.objects.note(IMAGES, [1])
    outbox.settle([Settlement(entry=row)])
    assert (entry().state, stored()) == (State.PENDING, {})


def test_a_worker_that_outlived_its_lease_leaves_the_row_due_and_nothing_believed(live):
    [slow] = claimed()
    end_leases()
    [quick] = outbox.claim(1)
    outbox.settle([indexed(quick, image_hash="newer")])
    outbox.settle([indexed(slow, image_hash="older")])
    assert (entry().state, stored()) == (State.PENDING, {})


def test_a_worker_that_outlived_its_lease_and_the_row_has_it_looked_at_again(live):
    [slow] = claimed()
    end_leases()
    [quick] = outbox.claim(1)
    outbox.settle([Settlement(entry=quick)])
    outbox.settle([indexed(slow)])
    assert entry().state == State.PENDING


def test_renewing_says_which_claims_still_hold_and_blanks_what_was_known_of_them(live):
    other = Collection.objects.create(
        index=IMAGES.name, name="other", space="s", dimension=2, state="building"
    )
    first, second = sorted(claimed(2), key=lambda row: row.image_id)
    for row in (first, second):
        for collection in (live, other):
            StoredImage.objects.create(entry=row, collection=collection, generation=1, image_hash="a")
    IndexEntry.objects.filter(pk=first.pk).update(claim=uuid.uuid4())
    IndexEntry.objects.filter(pk=second.pk).update(available_at=Now())
    assert outbox.renew([first, second], [other]) == [second]
    assert seconds_until_due(second) > 1
    assert stored("2") == {"live": "a", "other": None}
    assert stored("1") == {"live": "a", "other": "a"}
    assert outbox.renew([second]) == [second]
    assert stored("2") == {"live": None, "other": None}


@pytest.mark.parametrize(("attempts", "wait"), [(1, 1), (2, 2), (4, 8), (6, 30), (500, 30)])
def test_each_attempt_waits_twice_as_long_up_to_a_bound(attempts, wait):
    [row] = claimed()
    row.attempts = attempts
    outbox.postpone([row], "away")
    assert wait - 1 < seconds_until_due(row) <= wait
    assert (entry().state, entry().error, entry().claim) == (State.PENDING, "away", None)


def test_an_outage_is_no_attempt_however_often_it_is_met():
    Change.objects.note(IMAGES, [1])
    for _ in range(3):
        end_leases()
        outbox.postpone(outbox.claim(1), "away", is_outage=True)
    assert (entry().attempts, entry().error, entry().claim) == (0, "away", None)
    # What changes while it is claimed counts from nothing.
    end_leases()
    [row] = outbox.claim(1)
    Change.objects.note(IMAGES, [1])
    outbox.fold()
    outbox.postpone([row], "away", is_outage=True)
    assert entry().attempts == 0


@pytest.mark.parametrize(("age", "wait"), [(0, 1), (12, 12), (5_000, 30)])
def test_the_longer_an_outage_lasts_the_longer_its_images_wait_up_to_the_same_bound(age, wait):
    [row] = claimed()
    IndexEntry.objects.update(changed_at=Now() - timedelta(seconds=age))
    outbox.postpone([row], "away", is_outage=True)
    assert wait - 1 < seconds_until_due(row) <= wait + 1


def test_a_deletion_that_has_to_wait_stays_a_deletion():
    Change.objects.note(IMAGES, [1], is_deletion=True)
    outbox.postpone(outbox.claim(1), "away")
    assert entry().state == State.DELETING


def test_a_worker_that_outlived_its_lease_has_whoever_is_at_the_image_doubt_as_well(live):
    [slow] = claimed()
    end_leases()
    [quick] = outbox.claim(1)
    outbox.settle([indexed(slow, image_hash="older")])
    outbox.settle([indexed(quick, image_hash="newer")])
    assert (entry().state, stored()) == (State.PENDING, {}), "nobody knows whose write came last"


def test_a_worker_that_was_overtaken_and_does_not_know_what_it_wrote_has_the_image_looked_at_again(live):
    """Its answer was an error, but the store may have done it, after the quick one's."""
    [slow] = claimed()
    end_leases()
    [quick] = outbox.claim(1)
    outbox.settle([indexed(quick, image_hash="newer")])
    outbox.postpone([slow], "no answer")
    assert (entry().state, stored()) == (State.PENDING, {})


def test_the_counts_name_every_index_and_every_state(live):
    [row, _] = claimed(2)
    outbox.settle([indexed(row)])
    counts = progress.counts()
    assert counts[IMAGES.name] == {"pending": 0, "claimed": 1, "indexed": 1, "failed": 0, "deleting": 0}
    assert counts["shop_artwork"]["pending"] == 0


def test_an_image_with_a_change_that_is_not_folded_yet_is_counted_once_and_as_pending(live):
    changed, _ = claimed(2)
    outbox.settle([indexed(changed)])
    Change.objects.note(IMAGES, [changed.image_id, "3"])
    Change.objects.note(IMAGES, [changed.image_id, "3"])
    counted = {"pending": 2, "claimed": 1, "indexed": 0, "failed": 0, "deleting": 0}
    assert progress.counts()[IMAGES.name] == counted
    outbox.fold()
    assert progress.counts()[IMAGES.name] == counted
    assert progress.waiting([IMAGES]) == 3
    assert progress.waiting([index_for(Artwork)]) == 0


def test_a_change_is_due_before_it_is_folded():
    Change.objects.note(IMAGES, range(2))
    assert outbox.has_due(beyond=1)
    assert not outbox.has_due(beyond=2)


# How many are claimed together


def noted(count, **fields):
    IndexEntry.objects.bulk_create(
        IndexEntry(index=IMAGES.name, image_id=f"{number}-{fields}", **fields) for number in range(count)
    )


def test_of_images_that_were_indexed_before_more_are_claimed_at_once():
    noted(20, indexed_at=timezone.now())
    assert len(outbox.claim(4)) == 4 * outbox.QUICK


def test_of_new_images_no_more_are_claimed_than_the_limit():
    noted(20)
    assert len(outbox.claim(4)) == 4


def test_new_images_and_others_share_the_limit():
    noted(4, indexed_at=timezone.now(), available_at=timezone.now() - timedelta(hours=1))
    noted(20)
    assert len(outbox.claim(4)) == 4 + 3


def test_while_a_collection_is_filled_images_that_were_indexed_before_count_as_new_ones():
    Collection.objects.create(
        index=IMAGES.name, name="filling", space="s", dimension=1, state=Collection.State.BUILDING
    )
    noted(20, indexed_at=timezone.now())
    assert len(outbox.claim(4)) == 4
