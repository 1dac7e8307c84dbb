"""Kept vectors: what the shop hides and shows again is embedded once, and nothing is kept longer than the image."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import batch, outbox, reconcile
from shopsearch.indexing.batch import MAX_ATTEMPTS
from shopsearch.models import CachedVector, Change, IndexEntry, ProductImage
from shopsearch.registry import index_for
from tests.shop.models import Edition, Poster, PosterImage, Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import (
    IMAGES,
    due_now,
    entities,
    entry,
    hash_of,
    index_everything,
    looks,
    replace_file,
)

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """No ``except Exception`` hears of it."""


@pytest.fixture(autouse=True)
def store(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}  # backends of this test's own
    return get_vector_store()


@pytest.fixture
def image():
    """Red, and indexed."""
    product(RED)
    index_everything()
    return ProductImage.objects.get()


def publish(published):
    for each in Product.objects.all():
        each.published = published
        each.save()


def hide():
    publish(False)
    index_everything()
    assert not entities()


def show():
    """How many pictures are embedded when everything is shown."""
    publish(True)
    embedded = get_embedder().embedded
    index_everything()
    assert len(entities()) == ProductImage.objects.count()
    return get_embedder().embedded - embedded


def is_kept():
    return CachedVector.objects.exists()


# Nothing is embedded twice


def test_an_image_that_is_hidden_and_shown_again_is_not_embedded_again(image):
    hide()
    assert CachedVector.objects.get().image_hash == hash_of(image)
    assert show() == 0
    assert looks(image, RED)
    assert not is_kept()


def test_it_is_written_with_what_else_changed_meanwhile(image):
    hide()
    other = product(price=7)
    ProductImage.objects.update(product=other)
    assert show() == 0
    [entity] = entities().values()
    assert (entity.product_id, entity.fields["price"]) == (str(other.pk), 7)


def test_hidden_images_that_change_and_are_looked_at_again_are_not_embedded_either(image):
    hide()
    Change.objects.note_all(IMAGES)
    Change.objects.note(IMAGES, [image.pk])
    index_everything()
    hide()
    assert show() == 0


def test_a_file_that_changed_while_it_was_hidden_is_embedded_once(image):
    hide()
    replace_file(image, GREEN)
    assert show() == 1
    assert looks(image, GREEN)
    assert not is_kept()


def test_a_whole_range_that_is_sold_out_and_comes_back_is_not_embedded_again(monkeypatch):
    posters = index_for(PosterImage)
    sold_out = {"product__editions__sold__gte": 10}
    monkeypatch.setattr(posters, "get_queryset", lambda: PosterImage.objects.exclude(**sold_out))
    poster = Poster.objects.create(title="sea")
    for shade in range(9):
        PosterImage.objects.create(product=poster, image=picture((20 * shade, 0, 0)))
    index_everything()
    edition = Edition.objects.create(poster=poster, sold=10)
    index_everything()
    assert not entities(posters)
    edition.sold = 3
    edition.save()
    index_everything()
    assert (len(entities(posters)), get_embedder().embedded) == (9, 9)
    assert not is_kept()


def test_a_declaration_that_failed_for_a_while_costs_no_embedding_when_it_is_mended(image, monkeypatch):
    with monkeypatch.context() as broken:
        broken.setattr(IMAGES, "get_field_values", lambda image: 1 / 0)
        Change.objects.note_all(IMAGES)
        index_everything()
        assert (entry(image).state, len(entities())) == ("failed", 1)
    Change.objects.note_failed(IMAGES)
    assert show() == 0
    assert looks(image, RED)
    assert not is_kept()


# Nothing stale returns, whoever dies


def test_a_worker_that_is_killed_between_keeping_and_deleting_costs_no_embedding(image, store, monkeypatch):
    def killed(*arguments):
        raise Killed

    publish(False)
    with monkeypatch.context() as patch:
        patch.setattr(store, "delete", killed)
        with pytest.raises(Killed):
            batch.index_batch()
    assert is_kept()
    due_now()
    hide()
    assert show() == 0
    publish(False)
    with monkeypatch.context() as patch:
        patch.setattr(store, "delete", killed)
        with pytest.raises(Killed):
            batch.index_batch()
    due_now()
    assert show() == 0, "it never left the store, but nobody believed that"
    assert not is_kept()


def test_a_worker_that_lost_its_image_to_another_keeps_nothing_of_it(image, store, monkeypatch):
    fetch = store.fetch

    def overtaken(collection, ids):
        monkeypatch.undo()
        publish(True)
        replace_file(image, GREEN)
        due_now()
        index_everything()  # another worker, start to end
        return fetch(collection, ids)

    publish(False)
    monkeypatch.setattr(store, "fetch", overtaken)
    assert batch.index_batch().postponed == 1
    assert not is_kept()
    assert looks(image, GREEN)


def test_what_a_slow_worker_wrote_last_is_not_taken_for_the_picture_that_was_hidden(
    image, store, monkeypatch
):
    upsert = store.upsert

    def late(*arguments):
        monkeypatch.undo()
        replace_file(image, BLUE)
        due_now()
        index_everything()  # another worker, start to end
        upsert(*arguments)
        hide()  # and one more, which finds green where blue should be

    replace_file(image, GREEN)
    monkeypatch.setattr(store, "upsert", late)
    batch.index_batch()
    index_everything()
    show()
    assert looks(image, BLUE)


def test_what_the_store_has_of_an_image_that_it_refused_is_not_kept(image, store, monkeypatch):
    def half_done(*arguments, upsert=store.upsert):
        upsert(*arguments)
        raise ValueError("no")

    replace_file(image, GREEN)
    outbox.fold()
    IndexEntry.objects.update(attempts=MAX_ATTEMPTS)  # the last of them
    with monkeypatch.context() as patch:
        patch.setattr(store, "upsert", half_done)
        index_everything()
    assert entry(image).state == "failed"
    assert not is_kept()
    Change.objects.note_failed(IMAGES)
    index_everything()
    assert looks(image, GREEN)


# Nothing is kept for ever


@pytest.mark.parametrize("delete", ["the product", "the image", "by a queryset"])
def test_nothing_is_kept_of_an_image_that_is_deleted_while_it_is_hidden(image, delete):
    hide()
    assert is_kept()
    if delete == "the product":
        image.product.delete()
    elif delete == "the image":
        image.delete()
    else:
        ProductImage.objects.all().delete()
    index_everything()
    assert not is_kept()
    assert not IndexEntry.objects.exists()


def test_reconciling_forgets_what_was_deleted_behind_our_back_while_it_was_hidden(image):
    other = product(GREEN).images.get()
    index_everything()
    hide()
    ProductImage.objects.filter(pk=image.pk)._raw_delete("default")
    list(reconcile.reconcile(IMAGES))
    assert CachedVector.objects.count() == 2
    list(reconcile.reconcile(IMAGES, fix=True))
    assert [kept.image_id for kept in CachedVector.objects.all()] == [str(other.pk)]


def asked(act):
    """How often the table is asked while it is indexed what this did."""
    act()
    with CaptureQueriesContext(connection) as captured:
        index_everything()
    return sum("cachedvector" in query["sql"] for query in captured.captured_queries)


def test_a_shop_that_hides_nothing_pays_one_query_for_new_and_for_deleted_images_and_none_for_others(image):
    assert asked(lambda: product(GREEN, BLUE)) == 1
    assert asked(lambda: publish(True)) == 0
    assert asked(lambda: Change.objects.note_all(IMAGES)) == 0
    assert asked(lambda: Product.objects.all().delete()) == 1
