"""Imports: many products at once, by whatever Django has, are indexed each once and when they are complete."""

import pytest
from django.db.migrations.state import ModelState

import shopsearch
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import batch as indexing
from shopsearch.indexing import outbox
from shopsearch.models import Change, ProductImage, ProductImageQuerySet
from tests.shop.models import Artwork, PosterImage, Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_store():
    get_vector_store().clear()
    yield
    get_vector_store().clear()


def noted():
    """The keys of the images that have been noted since this was last asked."""
    found = sorted(int(image_id) for image_id in Change.objects.values_list("image_id", flat=True))
    Change.objects.all().delete()
    return found


def keys(queryset):
    return sorted(queryset.values_list("pk", flat=True))


def test_what_update_and_bulk_create_do_is_noted_by_the_queryset():
    mug, _ = product(RED, GREEN), product(RED)
    ProductImage.objects.bulk_create([ProductImage(product=mug, image="a.png")])
    noted()
    assert ProductImage.objects.filter(product=mug).reindex() == 3
    assert noted() == keys(mug.images)
    assert mug.images.reindex() == 3
    assert noted() == keys(mug.images)


def test_a_slice_a_union_and_what_is_in_one_queryset_only_can_be_reindexed():
    mug, cup = product(RED, GREEN), product(RED, BLUE)
    noted()
    assert mug.images.order_by("-pk")[:1].reindex() == 1
    assert noted() == keys(mug.images)[-1:]
    assert mug.images.all().union(cup.images.order_by("position")).reindex() == 4
    assert noted() == keys(ProductImage.objects)
    assert ProductImage.objects.difference(mug.images.all()).reindex() == 2
    assert noted() == keys(cup.images)


def test_a_model_of_the_shops_own_has_the_queryset_and_its_migrations_do_not_know():
    assert isinstance(PosterImage.objects.all(), ProductImageQuerySet)
    assert ModelState.from_model(PosterImage).managers == []
    assert not isinstance(Artwork.objects.all(), ProductImageQuerySet)
    assert shopsearch.reindex(Artwork.objects.all()) == 0


def test_a_picture_that_is_saved_many_times_while_paused_is_embedded_once():
    before = get_embedder().embedded
    with shopsearch.paused():
        image = product(RED).images.get()
        for colour in (GREEN, BLUE, RED, GREEN):
            image.image.save("picture.png", picture(colour))
            image.product.save()
        assert list(indexing.index_pending()) == []
    assert [batch.claimed for batch in indexing.index_pending()] == [1]
    assert get_embedder().embedded == before + 1


def test_what_is_noted_by_reindex_waits_for_the_end_of_the_pause_as_well():
    mug = product(RED)
    outbox.fold()
    with shopsearch.paused():
        Product.objects.update(price=7)
        mug.images.reindex()
        assert outbox.fold() == 0
    assert outbox.fold() == 1
