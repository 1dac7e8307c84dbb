"""Visibility that changes with time: the sweep looks when the index says that it changes, and notes what it finds."""

from datetime import timedelta

import pytest
from django.utils import timezone

from shopsearch import ImageIndex, tasks
from shopsearch.backends import get_vector_store
from shopsearch.indexing import batch, visibility
from shopsearch.models import Change, Collection
from shopsearch.registry import index_for
from shopsearch.search import search
from tests.shop.models import Poster, PosterImage
from tests.shop.pictures import picture

pytestmark = pytest.mark.django_db
POSTERS = index_for(PosterImage)


class Clock:
    """What time it is, and when each poster is shown, by title."""

    def __init__(self):
        self.now = timezone.now()
        self.shown = {}

    def queryset(self):
        titles = [title for title, (begin, end) in self.shown.items() if begin <= self.now < end]
        return ImageIndex.get_queryset(POSTERS).filter(product__title__in=titles)

    def changes_at(self, index, now):
        moments = [moment for span in self.shown.values() for moment in span if moment > now]
        return min(moments, default=None)

    def show(self, title, *, begin=0, end=1_000):
        self.shown[title] = (self.now + timedelta(seconds=begin), self.now + timedelta(seconds=end))
        PosterImage.objects.create(product=Poster.objects.create(title=title), image=picture())

    def go_on(self, seconds):
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(visibility.timezone, "now", lambda: clock.now)
    monkeypatch.setattr(visibility, "_looked_at", {})
    monkeypatch.setattr(type(POSTERS), "get_queryset", lambda index: clock.queryset())
    monkeypatch.setattr(type(POSTERS), "changes_at", lambda index, now: clock.changes_at(index, now))
    get_vector_store().clear()
    yield clock
    get_vector_store().clear()


def found():
    list(batch.index_pending())
    return {str(result.product) for result in search("red", index=POSTERS.name).results}


def test_what_time_shows_and_hides_is_noted_by_the_sweep_of_that_moment(clock):
    clock.show("always")
    clock.show("later", begin=40, end=90)
    assert visibility.note_due() == 40
    assert found() == {"always"}
    clock.go_on(30)
    assert visibility.note_due() == 10
    assert not Change.objects.exists()
    clock.go_on(10)
    assert visibility.note_due() == 50
    assert found() == {"always", "later"}
    clock.go_on(50)
    visibility.note_due()
    assert len(list(get_vector_store().ids(live()))) == 2
    assert found() == {"always"}
    assert len(list(get_vector_store().ids(live()))) == 1


def live():
    return Collection.objects.of(POSTERS).live().get().name


def test_what_was_saved_after_a_sweep_and_changed_before_the_next_is_noted(clock):
    visibility.note_due()
    clock.show("soon", begin=5)
    assert found() == set()
    clock.go_on(30)
    visibility.note_due()
    assert found() == {"soon"}


def test_a_process_looks_when_it_starts_whatever_happened_before(clock):
    clock.show("soon", begin=5)
    assert found() == set()
    clock.go_on(1_000)
    visibility.note_due()
    assert found() == set()
    clock.show("now")
    Change.objects.all().delete()
    visibility._looked_at.clear()
    visibility.note_due()
    assert found() == {"now"}


def test_an_index_that_cannot_tell_keeps_no_other_from_being_swept(clock, monkeypatch, caplog):
    def raises(index, now):
        raise ValueError("no such time")

    monkeypatch.setattr(type(POSTERS), "changes_at", raises)
    assert tasks.sweep() is None
    assert tasks.sweep() is None
    assert "changes_at failed" in caplog.text


def test_an_index_that_says_nothing_of_time_is_not_looked_at(monkeypatch):
    monkeypatch.setattr(visibility, "note_differences", lambda index: pytest.fail("looked"))
    assert visibility.note_due() is None
