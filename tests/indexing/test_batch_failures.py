"""Indexing when something is wrong: with one image, with everything, or with the time at which things happen."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.files.base import ContentFile
from django.core.files.storage import FileSystemStorage
from django.db import OperationalError
from django.db.models.functions import Now

from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.exceptions import EmbedderError, VectorStoreError
from shopsearch.indexing import batch as batches
from shopsearch.indexing import batch as indexing
from shopsearch.indexing import outbox
from shopsearch.indexing.batch import Batch
from shopsearch.models import IndexEntry, ProductImage
from tests.shop.models import Product
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import (
    IMAGES,
    due_now,
    entities,
    entry,
    hash_in_store,
    hash_of,
    index_everything,
    looks,
    replace_file,
)

pytestmark = pytest.mark.django_db

State = IndexEntry.State


@pytest.fixture(autouse=True)
def store(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}  # backends of this test's own
    return get_vector_store()


# What is wrong with one image is that image's affair


def test_a_broken_picture_leaves_a_failed_row_and_the_others_go_on():
    shoe = product(RED, GREEN)
    bad = ProductImage(product=shoe)
    bad.image.save("broken.png", ContentFile(b"broken"))
    [batch] = index_everything()
    assert (batch.claimed, batch.embedded, batch.failed) == (3, 2, 1)
    assert entry(bad).state == State.FAILED
    assert "not a picture" in entry(bad).error
    assert len(entities()) == 2


def test_a_product_whose_new_picture_is_broken_is_not_found_by_the_old_one():
    image = product(RED).images.get()
    index_everything()
    image.image.storage.open(image.image.name, "wb").write(b"broken")
    image.save()
    index_everything()
    assert entry(image).state == State.FAILED
    assert not entities()


def test_a_missing_file_says_what_to_do():
    image = product(RED).images.get()
    image.image.storage.delete(image.image.name)
    index_everything()
    assert entry(image).error == f"The file {image.image.name} is missing; upload the picture again."


def test_a_file_of_too_many_bytes_is_refused_without_being_read_to_its_end(settings):
    image = product(RED).images.get()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_IMAGE_BYTES": 20}
    index_everything()
    assert entry(image).state == State.FAILED
    assert "use a smaller one" in entry(image).error


def test_filter_values_that_the_shops_code_cannot_give_fail_that_image_alone():
    product(RED)
    odd = product(GREEN)
    Product.objects.filter(pk=odd.pk).update(tags=7)  # not a list
    index_everything()
    assert entry(odd.images.get()).error.startswith("Its filter values cannot be read: TypeError")
    assert len(entities()) == 1


def test_a_product_that_the_shops_code_cannot_give_fails_that_image_alone_and_keeps_it_in_the_store(
    monkeypatch,
):
    odd = product(GREEN).images.get()
    index_everything()
    get_product = type(IMAGES).get_product

    def stumble(index, image):
        if image.pk == odd.pk:
            raise KeyError("supplier")
        return get_product(index, image)

    monkeypatch.setattr(type(IMAGES), "get_product", stumble)
    product(RED)
    odd.save()
    index_everything()
    assert entry(odd).error == "Its filter values cannot be read: KeyError: 'supplier'"
    assert len(entities()) == 2


def test_a_picture_that_the_embedder_stumbles_over_is_tried_again_and_then_failed(monkeypatch):
    good, bad = product(RED, GREEN).images.all()
    embed = get_embedder().embed

    def stumble(queries):
        if any(query.image.getpixel((0, 0)) == GREEN for query in queries):
            raise RuntimeError("no green")
        return embed(queries)

    monkeypatch.setattr(get_embedder(), "embed", stumble)
    assert index_everything() == [Batch(claimed=2, embedded=1, postponed=1)]
    assert (entry(bad).state, entry(bad).error) == (State.PENDING, "RuntimeError: no green")
    IndexEntry.objects.filter(pk=entry(bad).pk).update(attempts=batches.MAX_ATTEMPTS - 1)
    due_now()
    index_everything()
    assert (entry(good).state, entry(bad).state) == (State.INDEXED, State.FAILED)


def test_an_entity_that_the_store_refuses_does_not_keep_the_others_out(monkeypatch, store):
    bad = product(RED, GREEN).images.last()
    upsert = store.upsert

    def refuse(collection, entities):
        if any(entity.image_id == str(bad.pk) for entity in entities):
            raise ValueError("too long")
        upsert(collection, entities)

    monkeypatch.setattr(store, "upsert", refuse)
    assert index_everything() == [Batch(claimed=2, embedded=1, postponed=1)]
    assert entry(bad).error == "ValueError: too long"


def test_a_file_storage_that_is_away_is_waited_for_but_not_for_ever(monkeypatch):
    image = product(RED).images.get()

    def away(*args):
        raise ConnectionError("no route to the bucket")

    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_open", away)
        index_everything()
        assert (entry(image).state, entry(image).error) == (
            State.PENDING,
            "ConnectionError: no route to the bucket",
        )
    due_now()
    index_everything()
    assert entry(image).state == State.INDEXED


# What is away comes back


@pytest.mark.parametrize(
    "error",
    [VectorStoreError("away"), EmbedderError("away"), ImproperlyConfigured("away"), OperationalError("away")],
)
@pytest.mark.parametrize("verb", ["upsert", "ensure_collection", "delete", "fetch"])
def test_while_something_is_away_nothing_fails_and_afterwards_everything_is_done(
    monkeypatch, store, verb, error
):
    shoe = product(RED, GREEN, BLUE)
    index_everything()
    first, second, third = shoe.images.all()
    first.delete()
    replace_file(second, RED)
    third.save()

    def away(*args):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(store, verb, away)
        for _ in range(batches.MAX_ATTEMPTS + 1):
            due_now()
            assert not sum(batch.failed for batch in index_everything())
        assert IndexEntry.objects.filter(error__endswith="away").exists()
    due_now()
    index_everything()
    assert set(entities()) == {str(second.pk), str(third.pk)}
    assert set(IndexEntry.objects.values_list("state", flat=True)) == {State.INDEXED}


def test_after_a_long_outage_an_image_has_all_its_attempts(monkeypatch, store):
    image = product(RED).images.get()

    def away(*args):
        raise VectorStoreError("away")

    def no_bucket(*args):
        raise ConnectionError("no route to the bucket")

    with monkeypatch.context() as patch:
        patch.setattr(store, "upsert", away)
        for _ in range(batches.MAX_ATTEMPTS + 1):
            due_now()
            index_everything()
    with monkeypatch.context() as patch:
        patch.setattr(FileSystemStorage, "_open", no_bucket)
        for _ in range(batches.MAX_ATTEMPTS - 1):
            due_now()
            index_everything()
            assert entry(image).state == State.PENDING
        due_now()
        index_everything()
    assert entry(image).state == State.FAILED


def test_an_unexpected_error_of_a_whole_batch_loses_no_row(monkeypatch):
    product(RED)

    def broken(*args):
        raise RuntimeError("a mistake in the shop's queryset")

    with monkeypatch.context() as patch:
        patch.setattr(type(IMAGES), "get_queryset", broken)
        assert index_everything() == [Batch(claimed=1, postponed=1)]
    due_now()
    index_everything()
    assert len(entities()) == 1


# Races


def while_embedding(monkeypatch, happens):
    embed = get_embedder().embed
    once = [happens]

    def embed_slowly(queries):
        vectors = embed(queries)
        if once:
            once.pop()()
        return vectors

    monkeypatch.setattr(get_embedder(), "embed", embed_slowly)


def test_a_save_while_its_batch_is_being_embedded_is_not_lost(monkeypatch):
    image = product(RED).images.get()
    while_embedding(monkeypatch, lambda: replace_file(image, GREEN))
    first, second = index_everything()
    assert (first.embedded, second.embedded) == (1, 1)
    assert hash_in_store(image) == hash_of(image)
    assert looks(image, GREEN)


def test_a_deletion_while_its_batch_is_being_embedded_leaves_no_ghost(monkeypatch):
    product(RED)
    while_embedding(monkeypatch, lambda: ProductImage.objects.all().delete())
    index_everything()
    assert not entities()
    assert not IndexEntry.objects.exists()


def test_a_worker_whose_lease_ran_out_while_embedding_writes_nothing(monkeypatch, store):
    image = product(RED).images.get()

    def another_worker_is_quicker():
        replace_file(image, GREEN)
        IndexEntry.objects.update(available_at=Now())
        index_everything()

    while_embedding(monkeypatch, another_worker_is_quicker)
    first, *_ = index_everything()
    assert (first.embedded, first.postponed) == (0, 1)
    assert entry(image).state == State.INDEXED
    assert hash_in_store(image) == hash_of(image)


def test_a_worker_that_wrote_over_a_quicker_ones_work_has_the_image_looked_at_again(monkeypatch, store):
    image = product(RED).images.get()
    upsert, once = store.upsert, [True]

    def pause_before_writing(collection, entities):
        if once:
            once.pop()
            replace_file(image, GREEN)
            IndexEntry.objects.update(available_at=Now())
            index_everything()  # another worker, start to end
        upsert(collection, entities)

    monkeypatch.setattr(store, "upsert", pause_before_writing)
    index_everything()
    due_now()
    index_everything()
    assert hash_in_store(image) == hash_of(image)
    assert looks(image, GREEN)


def test_a_worker_that_died_after_writing_leaves_no_hash_of_another_picture(monkeypatch, store):
    image = product(RED).images.get()
    index_everything()
    replace_file(image, GREEN)

    def killed(settlements):
        if settlements:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(outbox, "settle", killed)
        with pytest.raises(KeyboardInterrupt):
            indexing.index_batch()
    assert looks(image, GREEN)
    replace_file(image, RED)  # back to what was indexed before
    due_now()
    index_everything()
    assert looks(image, RED)
