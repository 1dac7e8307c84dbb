"""Changes: noted by the shop, folded into the outbox by workers; on PostgreSQL by test_outbox_processes.py."""

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from shopsearch.indexing import outbox
from shopsearch.indexing.outbox import Settlement
from shopsearch.models import Change, IndexEntry, ProductImage
from shopsearch.registry import index_for, keys

pytestmark = pytest.mark.django_db

State = IndexEntry.State
IMAGES = index_for(ProductImage)


def states():
    return dict(IndexEntry.objects.values_list("image_id", "state"))


def indexed(*image_ids):
    """Rows of the outbox that are at rest."""
    Change.objects.note(IMAGES, image_ids)
    outbox.fold()
    IndexEntry.objects.update(state=State.INDEXED)


# Noting


def test_a_change_is_one_insert_and_reads_nothing():
    with CaptureQueriesContext(connection) as captured:
        Change.objects.note(IMAGES, [1])
    statements = [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]
    assert [sql.split(" (")[0] for sql in statements] == ['INSERT INTO "shopsearch_change"']


def test_images_are_noted_in_chunks_each_once(monkeypatch):
    monkeypatch.setattr(keys, "CHUNK", 3)
    assert Change.objects.note(IMAGES, [*range(7), "3"]) == 7
    assert sorted(Change.objects.values_list("image_id", flat=True)) == list("0123456")


def test_a_rollback_leaves_no_change():
    with transaction.atomic():
        Change.objects.note(IMAGES, [1])
        transaction.set_rollback(True)
    assert not Change.objects.exists()


def test_everything_is_the_images_shown_and_the_rows_of_those_that_are_gone():
    indexed("7", "8")
    Change.objects.note_all(IMAGES)
    outbox.fold()
    assert states() == {"7": State.PENDING, "8": State.PENDING}


def test_what_failed_is_tried_again_on_request_and_nothing_else_is():
    indexed("1", "2")
    IndexEntry.objects.filter(image_id="1").update(state=State.FAILED)
    assert Change.objects.note_failed(IMAGES) == 1
    outbox.fold()
    assert states() == {"1": State.PENDING, "2": State.INDEXED}


# Folding


def test_an_image_has_one_row_however_often_it_is_noted():
    Change.objects.note(IMAGES, [1])
    assert outbox.fold() == 1
    first = IndexEntry.objects.get().version
    Change.objects.note(IMAGES, ["1", 1, 2])
    Change.objects.note(IMAGES, [1])
    assert outbox.fold() == 3
    assert states() == {"1": State.PENDING, "2": State.PENDING}
    assert IndexEntry.objects.get(image_id="1").version != first
    assert not Change.objects.exists()


def test_no_more_is_folded_than_was_asked_for_and_the_oldest_first():
    for image_id in "cab":
        Change.objects.note(IMAGES, [image_id])
    assert outbox.fold(2) == 2
    assert states().keys() == {"c", "a"}


def test_an_image_that_failed_is_given_a_fresh_start():
    indexed("1")
    IndexEntry.objects.update(state=State.FAILED, error="broken", attempts=9)
    Change.objects.note(IMAGES, [1])
    outbox.fold()
    row = IndexEntry.objects.get()
    assert (row.state, row.error, row.attempts) == (State.PENDING, "", 0)


@pytest.mark.parametrize("folded_in_between", [False, True])
@pytest.mark.parametrize(
    ("noted", "state"), [((True,), "deleting"), ((False, True), "deleting"), ((True, False), "pending")]
)
def test_the_last_change_says_whether_the_image_is_gone(noted, state, folded_in_between):
    for is_deletion in noted:
        Change.objects.note(IMAGES, [7], is_deletion=is_deletion)
        if folded_in_between:
            outbox.fold()
    outbox.fold()
    assert states() == {"7": state}


def test_a_change_noted_while_the_image_is_claimed_leaves_the_lease_and_makes_it_due_again():
    Change.objects.note(IMAGES, [1])
    [claimed] = outbox.claim(1)
    Change.objects.note(IMAGES, [1])
    outbox.fold()
    row = IndexEntry.objects.get()
    assert (row.claim, row.available_at) == (claimed.claim, claimed.available_at)
    assert outbox.claim(1) == [], "two workers would write one image at once"
    outbox.settle([Settlement(entry=claimed, error="broken")])
    assert [each.pk for each in outbox.claim(1)] == [claimed.pk]


def test_a_change_of_an_index_that_this_process_does_not_know_is_left_to_others():
    Change.objects.create(index="later_release", image_id="1")
    assert outbox.fold() == 0
    assert Change.objects.count() == 1
    assert not outbox.has_due()


def test_whoever_dies_between_the_rows_and_the_changes_loses_nothing(monkeypatch):
    Change.objects.note(IMAGES, [1])

    def killed(using, images, token):
        write(using, images, token)
        raise KeyboardInterrupt

    write = outbox._write
    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_write", killed)
        with pytest.raises(KeyboardInterrupt):
            outbox.fold()
    assert (states(), Change.objects.count()) == ({}, 1)
    assert outbox.fold() == 1
    assert states() == {"1": State.PENDING}


def test_a_row_that_a_worker_removes_while_its_change_is_folded_is_made_again(monkeypatch):
    indexed("1")
    Change.objects.note(IMAGES, [1])

    def removed_meanwhile(using, pks):
        """What locking answers where there are several writers."""
        IndexEntry.objects.all().delete()
        return []

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "_lock", removed_meanwhile)
        assert outbox.fold() == 0
    assert Change.objects.count() == 1
    assert outbox.fold() == 1
    assert states() == {"1": State.PENDING}


def test_with_nothing_to_fold_nothing_is_written():
    with CaptureQueriesContext(connection) as captured:
        assert outbox.fold() == 0
    # Changes of images, and of related rows.
    assert [query["sql"].split()[0] for query in captured] == ["SELECT", "SELECT"]
