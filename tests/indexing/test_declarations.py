"""A mistake in a declaration: check names it, and whoever does not heed it keeps the search that was live."""

import pytest
from django.core.checks import run_checks
from django.core.management import CommandError

from shopsearch import FilterField, broker
from shopsearch.backends import get_vector_store
from shopsearch.indexing import rebuild
from shopsearch.models import Change, Collection, IndexEntry
from shopsearch.registry import index_for
from shopsearch.search.engine import search
from tests.commands.running import reindex, status, status_json, the_index
from tests.indexing.rebuilds import COLOUR, use, work
from tests.shop.models import Artist, Certificate, Edition, Label, Poster, PosterImage
from tests.shop.pictures import picture
from tests.shop.store import entities

pytestmark = pytest.mark.django_db
POSTERS = index_for(PosterImage)
SHOP = 49

WRONG = {
    "a filter over the product's pictures": {
        "filters": {**POSTERS.filters, "photo": FilterField(str, "images__image")}
    },
    "a price of several rows": {"filters": {**POSTERS.filters, "sold": FilterField(int, "editions__sold")}},
    "words that the rows of a path lack": {"words": ("labels__nam",)},
    "a name that is not there": {"identifiers": ("titel",)},
    "a method that needs arguments": {"filters": {**POSTERS.filters, "sold": FilterField(int, "sold_in")}},
    "a text that is no number": {"filters": {**POSTERS.filters, "sold": FilterField(int, "title")}},
}


@pytest.fixture
def no_workers(monkeypatch):
    monkeypatch.setattr(broker, "send", lambda: True)


@pytest.fixture
def shop(settings, no_workers):
    """49 posters with a picture each, indexed and found."""
    use(settings, COLOUR, BATCH_SIZE=25, QUERY_CACHE_SECONDS=0)
    get_vector_store().clear()
    artist = Artist.objects.create(name="Ann")
    for number in range(SHOP):
        poster = Poster.objects.create(title=f"poster {number}", artist=artist)
        Edition.objects.create(poster=poster, sold=number)
        poster.labels.add(Label.objects.create(name="new"))
        PosterImage(product=poster).image.save("picture.png", picture((number * 5, 90, 200 - number)))
    work()
    assert found() == SHOP


@pytest.fixture
def declare(monkeypatch):
    def declare(**attributes):
        for name, value in attributes.items():
            monkeypatch.setattr(POSTERS, name, value, raising=False)

    monkeypatch.setattr(Poster, "sold_in", lambda self, year: 0, raising=False)
    return declare


def found():
    answer = search("blue", index=POSTERS.name, limit=100)
    return len(answer.results)


def errors():
    return [
        each for each in run_checks(tags=["shopsearch"]) if each.id in ("shopsearch.E004", "shopsearch.E005")
    ]


@pytest.mark.parametrize("mistake", WRONG)
def test_check_names_it_with_what_mends_it(declare, mistake):
    assert errors() == []
    declare(**WRONG[mistake])
    [error] = errors()
    assert error.hint


@pytest.mark.parametrize("mistake", WRONG)
def test_without_heeding_it_the_live_collection_goes_on_answering_and_status_says_why(shop, declare, mistake):
    declare(**WRONG[mistake])
    with pytest.raises(CommandError):
        reindex("--rebuild", "--here", "--index", POSTERS.name)
    assert found() == SHOP
    text, code = status()
    report, _ = status_json()
    assert code == 1
    assert "All is well" not in text
    [new] = the_index(report, POSTERS.name)["building"]
    assert new["state"] == "paused"
    assert "the live collection holds 49" in new["error"]
    assert "cannot be read" in new["error"]


@pytest.mark.parametrize("order", ["--all", "--failed"])
def test_nothing_that_looks_at_every_image_takes_away_what_answers(shop, declare, order):
    declare(identifiers=("titel",))
    with pytest.raises(CommandError):
        reindex("--rebuild", "--here", "--index", POSTERS.name)
    rebuild.cancel(POSTERS)
    with pytest.raises(CommandError):
        reindex(order, "--here", "--index", POSTERS.name)
    assert found() == SHOP
    assert len(entities(POSTERS)) == SHOP


def test_a_rollback_does_not_empty_either(shop, declare):
    rebuild.begin(POSTERS)
    work()
    declare(filters={**POSTERS.filters, "sold": FilterField(int, "editions__sold")})
    with pytest.raises(CommandError, match="paused"):
        reindex("--rollback", "--here", "--index", POSTERS.name)
    work()
    assert found() == SHOP
    states = Collection.objects.of(POSTERS).order_by("pk").values_list("state", flat=True)
    assert list(states) == ["paused", "live"]


def test_what_was_paused_goes_on_when_it_is_mended(shop, declare, monkeypatch):
    with monkeypatch.context() as wrong:
        wrong.setattr(POSTERS, "words", ("labels__nam",), raising=False)
        rebuild.begin(POSTERS)
        work()
    declare(words=("labels__name",))
    rebuild.resume(POSTERS)
    work()
    assert found() == SHOP
    assert not Collection.objects.of(POSTERS).unfinished().exists()
    assert not IndexEntry.objects.of(POSTERS).failed().exists()
    assert Collection.objects.of(POSTERS).live().get().fields == POSTERS.field_types


@pytest.mark.parametrize(("share", "state"), [(1.0, "paused"), (0.9, "live")])
def test_how_many_may_be_missing_is_a_setting(shop, settings, share, state):
    use(settings, COLOUR, BATCH_SIZE=25, QUERY_CACHE_SECONDS=0, REBUILD_MIN_SHARE=share)
    image = PosterImage.objects.first()
    image.image.storage.delete(image.image.name)
    new = rebuild.begin(POSTERS)
    work()
    new.refresh_from_db()
    assert new.state == state


def test_a_storage_that_is_not_mounted_takes_nothing_away(shop):
    for image in PosterImage.objects.all():
        image.image.storage.delete(image.image.name)
    Change.objects.note_all(POSTERS)
    work()
    assert IndexEntry.objects.of(POSTERS).failed().count() == SHOP
    assert found() == SHOP


def test_an_image_that_cannot_be_read_goes_when_the_shop_hides_it(shop, declare):
    declare(identifiers=("titel",))
    Change.objects.note_all(POSTERS)
    work()
    PosterImage.objects.first().delete()
    work()
    assert found() == SHOP - 1


def test_an_absent_row_of_a_one_to_one_field_is_no_value(shop, declare):
    declare(filters={**POSTERS.filters, "certificate": FilterField(int, "certificate__number")})
    poster = Poster.objects.first()
    Certificate.objects.create(poster=poster, number=7)
    rebuild.begin(POSTERS)
    work()
    assert not IndexEntry.objects.of(POSTERS).failed().exists()
    values = {each.product_id: each.fields["certificate"] for each in entities(POSTERS).values()}
    assert values.pop(str(poster.pk)) == 7
    assert set(values.values()) == {None}
