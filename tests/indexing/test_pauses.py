"""Pauses: what an import changes is due at its end, or by itself; on PostgreSQL by test_outbox_processes.py."""

import contextlib
import threading
import uuid
from datetime import timedelta

import pytest
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from shopsearch import broker, models, paused
from shopsearch.indexing import outbox, progress
from shopsearch.models import Change, ProductImage
from shopsearch.models.outbox import PAUSE_SECONDS, wake
from shopsearch.registry import index_for

pytestmark = pytest.mark.django_db

IMAGES = index_for(ProductImage)


def waits():
    """How many seconds each change has to wait still."""
    found = Change.objects.annotate(wait=F("available_at") - Now()).values_list("wait", flat=True)
    return [wait.total_seconds() for wait in found]


def test_what_is_changed_while_paused_is_due_at_the_end():
    with paused():
        Change.objects.note(IMAGES, [1])
        assert not outbox.has_due()
        assert 290 < min(waits()) <= PAUSE_SECONDS
        assert progress.waiting([IMAGES]) == 1
    Change.objects.note(IMAGES, [2])
    assert outbox.has_due(beyond=1)


def test_a_pause_ends_whatever_happens_in_it():
    with contextlib.suppress(ValueError), paused():
        Change.objects.note(IMAGES, [1])
        raise ValueError
    assert outbox.has_due()
    Change.objects.note(IMAGES, [2])
    assert max(waits()) <= 0


def test_a_pause_within_a_pause_is_part_of_it():
    with paused():
        with paused():
            Change.objects.note(IMAGES, [1])
        assert not outbox.has_due()
    assert outbox.has_due()


def test_a_pause_is_not_for_what_others_change():
    with paused():
        other = threading.Thread(target=lambda: found.append(models.outbox._pause.get()))
        found = []
        other.start()
        other.join()
        assert found == [None]
    Change.objects.create(
        index=IMAGES.name, image_id="1", token=uuid.uuid4(), available_at=Now() + timedelta(60)
    )
    with paused():
        Change.objects.note(IMAGES, [2])
    assert [len([wait for wait in waits() if wait > 0]), len(waits())] == [1, 2]


@pytest.mark.django_db(transaction=True)
def test_a_pause_is_one_wake_up_at_its_end(monkeypatch):
    sent = []
    monkeypatch.setattr(broker, "wake", lambda: sent.append(Change.objects.filter(token=None).count()))
    with paused():
        for number in range(5):
            Change.objects.note(IMAGES, [number])
            wake("default")
        assert sent == []
    assert sent == [5]


@pytest.mark.django_db(transaction=True)
def test_a_pause_in_a_transaction_that_is_rolled_back_leaves_nothing_and_wakes_nobody(monkeypatch):
    sent = []
    monkeypatch.setattr(broker, "wake", lambda: sent.append(True))
    with contextlib.suppress(ValueError), transaction.atomic(), paused():
        Change.objects.note(IMAGES, [1])
        with transaction.atomic(savepoint=False):
            raise ValueError
    assert not Change.objects.exists()
    assert sent == []


def test_what_a_killed_import_has_noted_is_due_by_itself():
    with paused():
        Change.objects.note(IMAGES, [1])
        Change.objects.update(available_at=F("available_at") - timedelta(seconds=PAUSE_SECONDS + 1))
        assert outbox.fold() == 1
