"""shopsearch_reindex --rebuild and its kin, as an operator uses them."""

import pytest
from django.core.management import CommandError

from shopsearch.backends import get_embedder
from shopsearch.indexing import collections, progress, rebuild
from shopsearch.management import watching
from shopsearch.models import Collection, IndexEntry
from tests.commands.running import INDEX, reindex, status, status_json, the_index
from tests.indexing.rebuilds import MIRROR, KeptStore, live, states, use, work
from tests.shop.pictures import RED, product
from tests.shop.store import IMAGES

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("shop")]


@pytest.fixture
def shop(settings, red, blue, no_workers):
    use(settings, settings.SHOPSEARCH["EMBEDDER"])
    KeptStore().clear()
    reindex("--here")


def test_a_rebuild_fills_a_new_collection_and_says_which_one_answers():
    old = live()
    said = reindex("--rebuild", "--here")
    assert f"{live().name} is being filled beside {old.name}, which answers until then." in said
    assert f"{INDEX}: {live().name} is live." in said
    assert states() == ["retired", "live"]


def test_a_plain_reindex_for_another_model_rebuilds_and_says_why(settings):
    use(settings, MIRROR, settings.SHOPSEARCH["EMBEDDER"])
    assert "2 images would be written to a new collection, and embedded again" in reindex("--dry-run")
    assert "The settings name another model or other filters" in reindex("--here")
    assert live().space == "mirror"
    assert get_embedder().embedded == 2
    assert "0 images to look at" in reindex("--here")


def test_a_rebuild_is_paused_resumed_cancelled_rolled_back_and_pruned():
    old = live()
    reindex("--rebuild", "--no-wait")
    assert "is paused; changes are written to it" in reindex("--pause")
    with pytest.raises(CommandError, match="--resume"):
        reindex("--rebuild")
    reindex("--resume", "--no-wait")
    assert states() == ["live", "building"]
    assert "is dropped" in reindex("--cancel")
    assert states() == ["live"]
    reindex("--rebuild", "--here")
    reindex("--rollback", "--here")
    assert live().name == old.name
    assert "would be dropped: shopsearch_" in reindex("--prune", "--dry-run")
    assert "dropped shopsearch_" in reindex("--prune")
    assert states() == ["live"]


@pytest.mark.parametrize("order", ["--pause", "--resume", "--cancel", "--rollback"])
def test_an_order_without_anything_to_be_done_is_refused(order):
    with pytest.raises(CommandError, match=r"no rebuild is under way|no earlier collection"):
        reindex(order)


def test_a_rebuild_that_was_interrupted_goes_on_when_it_is_asked_for_again(monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(watching.batch, "index_batch", interrupt)
        with pytest.raises(SystemExit):
            reindex("--rebuild", "--here")
    assert states() == ["live", "building"]
    assert "is being filled; going on with it" in reindex("--rebuild", "--here")
    assert states() == ["retired", "live"]


def test_a_rebuild_begins_and_ends_although_changes_never_do(monkeypatch):
    index_batch, made = watching.batch.index_batch, []

    def beside_a_change():
        if Collection.objects.of(IMAGES).unfinished().first():
            assert len(made) < 50, "it goes on for ever"
            made.append(product(RED))
        return index_batch()

    monkeypatch.setattr(watching.batch, "index_batch", beside_a_change)
    reindex("--rebuild", "--here")
    assert made
    assert states() == ["retired", "live"]


def test_a_rebuild_that_is_paused_or_cancelled_meanwhile_ends_the_watching(monkeypatch):
    for verb, words in ((rebuild.pause, "is paused"), (rebuild.cancel, "was cancelled")):
        monkeypatch.setattr(watching.time, "sleep", lambda seconds, verb=verb: verb(IMAGES))
        with pytest.raises(CommandError, match=words):
            reindex("--resume" if Collection.objects.of(IMAGES).unfinished().first() else "--rebuild")


def test_the_status_shows_what_is_filled_and_what_is_wrong_with_it(settings):
    rebuild.begin(IMAGES)
    new = Collection.objects.of(IMAGES).unfinished().first()
    report, _ = status_json()
    assert the_index(report)["collection"] == live().name
    [shown] = the_index(report)["building"]
    assert shown == {"name": new.name, "state": "building", "done": 0, "total": 2, "error": ""}
    assert "0 of 2 images are in" in status()[0].replace("\n            ", "")
    collections.pause(new, "Something is wrong.")
    assert "Something is wrong." in " ".join(status()[0].split())
    use(settings, MIRROR)
    assert "FORMER_EMBEDDER" in status()[0]


def test_images_that_wait_for_a_rebuild_are_none_of_the_outboxes(settings):
    use(settings, MIRROR, settings.SHOPSEARCH["EMBEDDER"])
    rebuild.begin(IMAGES)
    assert not IndexEntry.objects.exclude(state="indexed").exists()
    work()
    assert live().space == "mirror"


def test_a_rebuild_for_a_model_that_the_settings_do_not_name_any_more_says_how_it_ends(settings):
    colour = settings.SHOPSEARCH["EMBEDDER"]
    use(settings, MIRROR, colour)
    reindex("--rebuild", "--no-wait")
    use(settings, colour)
    new = Collection.objects.of(IMAGES).unfinished().first()
    assert f"{new.name} was made for another model" in " ".join(status()[0].split())
    assert "shopsearch_reindex --cancel" in progress.trouble([IMAGES])
    reindex("--cancel")
    assert "another model" not in status()[0] + progress.trouble([IMAGES])
