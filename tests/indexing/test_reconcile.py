"""Reconciling: what differs between the shop and the store is found and put right, and what moves is left alone."""

from dataclasses import replace

import pytest
from django.core.files.storage import default_storage

from shopsearch import tasks
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import outbox, reconcile
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.search import diagnosis
from tests.shop.models import Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import IMAGES, entities, index_everything, live_name, looks

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def store(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}  # backends of this test's own
    return get_vector_store()


@pytest.fixture
def images():
    made = list(product(RED, GREEN, BLUE, price=5).images.order_by("pk"))
    index_everything()
    return made


def found(fix=False):
    return [
        (difference.kind, difference.image_id)
        for portion in reconcile.reconcile(IMAGES, fix=fix)
        for difference in portion.differences
    ]


def put_right():
    """Whether the workers, told of it, leave nothing to be found."""
    assert found(fix=True)
    index_everything()
    return found() == []


def change_file(image, colour):
    default_storage.delete(image.image.name)
    default_storage.save(image.image.name, picture(colour))


def rewrite(store, image, **fields):
    """The entity has these values from now on, whatever its row says."""
    name = live_name(IMAGES)
    [known] = store.fetch(name, [IMAGES.entity_id(image.pk)])
    store.upsert(name, [replace(known, fields={**known.fields, **fields})])


def test_what_is_as_it_should_be_is_not_found_and_nothing_is_embedded(images):
    embedded = get_embedder().embedded
    assert found() == []
    assert get_embedder().embedded == embedded


def test_an_entity_that_the_store_lost_is_found_and_returns(images, store):
    store.delete(live_name(IMAGES), [IMAGES.entity_id(images[0].pk)])
    assert found() == [("lost", str(images[0].pk))]
    assert put_right()
    assert len(entities()) == 3


def test_a_whole_collection_that_is_gone_is_found_and_returns(images, store):
    store.clear()
    assert len(found()) == 3
    assert put_right()


def test_an_image_that_nobody_noted_is_found_as_lost(images):
    ProductImage.objects.bulk_create([ProductImage(product=images[0].product, image=images[0].image.name)])
    assert [kind for kind, _ in found()] == ["lost"]
    assert put_right()


@pytest.mark.parametrize("is_known", [True, False])
def test_a_ghost_is_found_and_goes_whether_the_outbox_knew_of_it_or_not(images, store, is_known):
    ghost = images[0].pk
    ProductImage.objects.filter(pk=ghost)._raw_delete("default")
    if not is_known:
        IndexEntry.objects.filter(image_id=ghost).delete()
    assert found() == [("ghost", str(ghost))]
    assert put_right()
    assert str(ghost) not in entities()


def test_what_was_hidden_behind_our_back_is_a_ghost(images):
    Product.objects.update(published=False)
    assert {kind for kind, _ in found()} == {"ghost"}
    assert put_right()
    assert not entities()


def test_a_price_that_was_changed_behind_our_back_is_stale(images):
    Product.objects.update(price=7)
    assert {kind for kind, _ in found()} == {"stale"}
    assert put_right()
    assert {entity.fields["price"] for entity in entities().values()} == {7.0}


def test_a_file_that_was_replaced_under_its_name_is_stale(images):
    change_file(images[0], BLUE)
    assert found() == [("stale", str(images[0].pk))]
    assert put_right()
    assert looks(images[0], BLUE)


def test_a_value_that_only_the_store_has_is_stale_and_its_rows_word_is_not_taken(images, store):
    rewrite(store, images[0], price=99.0)
    assert found() == [("stale", str(images[0].pk))]
    assert put_right()
    assert entities()[str(images[0].pk)].fields["price"] == 5.0


def test_a_file_that_is_missing_now_is_stale_and_its_image_is_found_by_what_it_was(images):
    default_storage.delete(images[0].image.name)
    assert found() == [("stale", str(images[0].pk))]
    assert put_right()
    assert IndexEntry.objects.get(image_id=images[0].pk).state == "failed"
    assert str(images[0].pk) in entities()


def test_an_image_that_failed_is_no_difference(images):
    change_file(images[0], RED)
    default_storage.delete(images[0].image.name)
    images[0].save()
    index_everything()
    assert found() == []


@pytest.mark.parametrize("is_folded", [False, True])
def test_an_image_that_waits_for_the_workers_is_not_judged(images, is_folded):
    images[0].delete()
    Product.objects.get().save()
    product(RED)
    while is_folded and outbox.fold():
        pass
    assert found() == []


def test_an_image_that_changes_between_two_looks_is_left_to_the_workers(images, store, monkeypatch):
    """The store is read after the shop: what is written in between would look stale."""
    fetch, once = store.fetch, [True]

    def fetch_slowly(*arguments):
        answer = fetch(*arguments)
        if once:
            once.pop()
            for image in images:
                image.image.save("other.png", picture(BLUE))
            Product.objects.get().save()
            index_everything()
        return answer

    with monkeypatch.context() as patch:
        patch.setattr(store, "fetch", fetch_slowly)
        assert found() == []
    assert found() == []


def test_no_more_is_held_than_a_chunk(images, store, monkeypatch):
    monkeypatch.setattr("shopsearch.registry.keys.CHUNK", 2)
    asked = []
    fetch = store.fetch
    monkeypatch.setattr(store, "fetch", lambda name, ids: asked.append(len(ids)) or fetch(name, ids))
    parts = list(reconcile.reconcile(IMAGES))
    assert [part.looked_at for part in parts] == [2, 1, 2, 1]
    assert max(asked) == 2
    assert reconcile.total(IMAGES) == 6


def test_before_anything_is_indexed_everything_is_lost(store):
    image = product(RED).images.get()
    while outbox.fold():
        pass
    IndexEntry.objects.all().delete()
    assert found() == [("lost", str(image.pk))]
    assert put_right()


def test_the_task_puts_right_what_differs_and_logs_it(images, store, caplog):
    store.delete(live_name(IMAGES), [IMAGES.entity_id(images[0].pk)])
    tasks.reconcile()
    index_everything()
    assert f"image {images[0].pk} is lost" in caplog.text
    assert found() == []


def test_a_store_that_lost_its_data_is_said_at_once_and_healed_by_beat_without_a_command(images, store):
    store.drop_collection(live_name(IMAGES))
    [problem] = [each for each in diagnosis.diagnose() if each.level == "answers"]
    assert f"the store holds 0 of the {len(images)} images that are indexed." in problem.message
    tasks.reconcile()
    index_everything()
    assert set(entities()) == {str(image.pk) for image in images}
    assert not [each for each in diagnosis.diagnose() if each.level != "note"]
