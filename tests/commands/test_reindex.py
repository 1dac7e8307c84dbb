"""shopsearch_reindex, as an operator uses it."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shopsearch import broker
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.management import watching
from shopsearch.models import IndexEntry, ProductImage, StoredImage
from shopsearch.testing import MemoryStore
from tests.commands.conftest import picture
from tests.commands.running import INDEX, away, entities, reindex, row, states
from tests.shop.models import Product

pytestmark = pytest.mark.django_db


def test_reindexing_marks_everything_and_watches_the_workers_do_it(red, blue, workers):
    IndexEntry.objects.all().delete()  # as if they had come by bulk_create
    assert "Done: 2 images" in reindex()
    assert states() == {str(red.pk): "indexed", str(blue.pk): "indexed"}
    assert entities() == 2


def test_here_does_the_work_without_workers(red, blue, no_workers):
    assert "Done: 2 images" in reindex("--here")
    assert entities() == 2


def test_reindexing_again_embeds_nothing(red, blue, no_workers):
    reindex("--here")
    embedded = get_embedder().embedded
    reindex("--here")
    assert get_embedder().embedded == embedded


def test_reindexing_what_has_not_changed_gives_the_workers_nothing(red, blue, no_workers, monkeypatch):
    reindex("--here")
    monkeypatch.setattr(MemoryStore, "upsert", away)
    before = list(IndexEntry.objects.order_by("pk").values())
    assert f"{INDEX}: 0 images to look at" in reindex("--here")
    assert list(IndexEntry.objects.order_by("pk").values()) == before
    assert f"{INDEX}: 2 images to look at" in reindex("--here", "--all")


def test_what_the_store_lost_is_indexed_again(red, blue, no_workers):
    reindex("--here")
    get_vector_store().clear()
    assert "the store holds 0 entities where 2 are expected" in reindex("--here")
    assert entities() == 2


def test_a_store_that_goes_away_meanwhile_ends_the_command_with_a_sentence(
    red, blue, no_workers, monkeypatch
):
    reindex("--here")
    monkeypatch.setattr(MemoryStore, "count", away)
    with pytest.raises(CommandError, match="The vector store cannot be reached"):
        reindex("--here")


def test_reindexing_forgets_images_that_are_gone(red, blue, no_workers):
    reindex("--here")
    ProductImage.objects.filter(pk=red.pk)._raw_delete("default")  # no signal
    reindex("--here")
    assert states() == {str(blue.pk): "indexed"}
    assert entities() == 1


def test_one_index_can_be_named(red, no_workers):
    assert INDEX not in reindex("--index", "shop_artwork", "--here")
    assert states() == {str(red.pk): "indexed"}  # --here takes what is due, whichever index it is of


def test_an_index_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(CommandError, match="shop_artwork, shop_posterimage, shopsearch_productimage"):
        reindex("--index", "shop_mugs")


def test_failed_images_end_the_command_with_their_number_and_reasons(red, broken, no_workers):
    with pytest.raises(CommandError) as caught:
        reindex("--here")
    assert caught.value.returncode == 1
    assert "1 image cannot be indexed" in str(caught.value)
    assert f"{INDEX} {broken.pk}: " in str(caught.value)
    assert states() == {str(red.pk): "indexed", str(broken.pk): "failed"}


def test_only_what_failed_is_tried_again(red, broken, no_workers):
    with pytest.raises(CommandError):
        reindex("--here")
    broken.image.storage.delete(broken.image.name)
    broken.image.storage.save(broken.image.name, picture("green"))
    assert "Done: 1 image" in reindex("--failed", "--here")
    assert entities() == 2


def replace_file(image, colour):
    image.image.storage.delete(image.image.name)
    image.image.storage.save(image.image.name, picture(colour))


CHANGES = {
    "1 new": lambda image: row(image).delete(),
    "1 unfinished": lambda image: row(image).update(state="failed"),
    "1 in another collection": lambda image: StoredImage.objects.filter(entry__in=row(image)).update(
        collection=0
    ),
    "1 with another picture": lambda image: replace_file(image, "green"),
    "1 with other fields": lambda image: Product.objects.filter(pk=image.product_id).update(price=5),
    "1 gone": lambda image: Product.objects.filter(pk=image.product_id).update(published=False),
}


@pytest.mark.parametrize("reason", CHANGES)
def test_only_what_differs_is_looked_at(red, blue, no_workers, reason):
    reindex("--here")
    assert f"{INDEX}: 0 images would be looked at\n" in reindex("--dry-run")
    CHANGES[reason](red)
    before = row(blue).get().version
    assert f"{INDEX}: 1 image would be looked at: {reason}\n" in reindex("--dry-run")
    assert f"{INDEX}: 1 image to look at\n" in reindex("--here")
    assert f"{INDEX}: 0 images would be looked at\n" in reindex("--dry-run")
    assert row(blue).get().version == before


def test_a_file_that_cannot_be_read_is_a_difference(red, no_workers):
    reindex("--here")
    red.image.storage.delete(red.image.name)
    with pytest.raises(CommandError, match="missing"):
        reindex("--here")


def test_a_dry_run_counts_and_writes_nothing(red, blue, no_workers):
    reindex("--here")
    ProductImage.objects.filter(pk=red.pk)._raw_delete("default")
    before = list(IndexEntry.objects.order_by("pk").values())
    assert f"{INDEX}: 1 image would be looked at: 1 gone" in reindex("--dry-run")
    every = reindex("--dry-run", "--all")
    assert f"{INDEX}: 1 image would be looked at, and 1 that are gone would be removed" in every
    assert "0 images that failed would be tried again" in reindex("--dry-run", "--failed")
    assert list(IndexEntry.objects.order_by("pk").values()) == before


def test_without_waiting_the_work_is_left_to_the_workers(red, no_workers):
    assert "workers go on by themselves" in reindex("--no-wait")
    assert states() == {str(red.pk): "pending"}


def test_a_broker_that_is_away_is_said_and_the_work_is_kept(red, monkeypatch, no_workers):
    def refuse():
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(broker, "send", refuse)
    assert "The broker is away (refused)" in reindex("--no-wait")
    assert states() == {str(red.pk): "pending"}


def test_when_nothing_moves_one_is_told_once_how_to_start_a_worker_and_control_c_is_clean(
    red, monkeypatch, no_workers
):
    polls = iter(range(5))

    def interrupted_after_a_while(seconds):
        if next(polls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(watching, "STALL_SECONDS", 0)
    monkeypatch.setattr(watching.time, "sleep", interrupted_after_a_while)
    out = StringIO()
    with pytest.raises(SystemExit) as exit_code:
        call_command("shopsearch_reindex", stdout=out, stderr=out)
    assert exit_code.value.code == 130
    assert out.getvalue().count("Nothing has moved") == 1
    assert "worker -P solo -Q shopsearch-index" in out.getvalue()
    assert "Stopped watching. What is left (1 image at the moment) goes on in the workers." in out.getvalue()
    assert states() == {str(red.pk): "pending"}


def test_a_store_that_is_away_leaves_the_images_waiting_and_says_why(red, monkeypatch, no_workers):
    monkeypatch.setattr(MemoryStore, "upsert", away)
    with pytest.raises(CommandError, match=r"1 image could not be done now and are tried again: .*store"):
        reindex("--here")
    assert states() == {str(red.pk): "pending"}


def test_looking_for_differences_takes_as_many_queries_for_many_images_as_for_few(no_workers):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            reindex("--dry-run", "--index", INDEX)
        return len(captured)

    product = Product.objects.create(title="mug")
    for colour in ("red", "blue"):
        ProductImage.objects.create(product=product, image=picture(colour))
    reindex("--here")
    few = queries()
    for colour in ("green", "white", "black"):
        ProductImage.objects.create(product=product, image=picture(colour))
    reindex("--here")
    assert queries() == few
