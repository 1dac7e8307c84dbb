"""Indexing: at rest, the collection holds exactly the images that the shop shows, and each was embedded once."""

from collections import Counter

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.models import F, Model
from django.test.utils import CaptureQueriesContext

from shopsearch import reindex
from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import batch as batches
from shopsearch.indexing import outbox
from shopsearch.models import Change, Collection, IndexEntry, ProductImage, StoredImage
from shopsearch.registry import index_for
from tests.shop.models import Artwork, Poster, PosterImage, Product
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import IMAGES, entities, index_everything

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def store(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}  # backends of this test's own
    return get_vector_store()


# What is shown is found


def test_an_image_of_each_kind_of_model_is_indexed_under_its_own_collection():
    product(RED)
    PosterImage.objects.create(product=Poster.objects.create(title="poster"), image=picture(GREEN))
    Artwork.objects.create(code="a/1 'quoted'", original=picture(BLUE))
    index_everything()
    for model in (ProductImage, PosterImage, Artwork):
        image = model.objects.get()
        assert list(entities(index_for(model))) == [str(image.pk)]


def test_an_entity_carries_the_product_and_its_typed_filter_values():
    shoe = product(RED, price="19.90", tags=["new", "sale"])
    index_everything()
    [entity] = entities().values()
    assert entity.product_id == str(shoe.pk)
    assert entity.fields == {"category": None, "price": 19.9, "in_stock": True, "tags": ("new", "sale")}


def test_a_deleted_product_takes_its_images_out_of_the_store_and_the_outbox():
    product(RED, GREEN)
    index_everything()
    Product.objects.all().delete()
    assert [batch.deleted for batch in index_everything()] == [2]
    assert not entities()
    assert not IndexEntry.objects.exists()


def test_a_hidden_product_is_taken_out_and_a_product_shown_again_comes_back():
    shoe = product(RED)
    index_everything()
    shoe.published = False
    shoe.save()
    index_everything()
    assert not entities()
    shoe.published = True
    shoe.save()
    index_everything()
    assert len(entities()) == 1


def test_an_image_without_a_file_is_not_shown_and_that_is_no_failure():
    Artwork.objects.create(code="planned")
    assert [batch.deleted for batch in index_everything()] == [1]
    assert not IndexEntry.objects.exists()


def test_an_id_that_the_models_key_cannot_have_is_gone():
    Change.objects.note(IMAGES, ["not a number"])
    assert [batch.deleted for batch in index_everything()] == [1]


# Nothing is embedded twice


def test_an_unchanged_picture_is_never_embedded_twice():
    shoe = product(RED, GREEN)
    index_everything()
    shoe.images.first().save()
    shoe.save()
    Change.objects.note_all(IMAGES)
    assert sum(batch.unchanged for batch in index_everything()) == 2
    assert get_embedder().embedded == 2


def test_changed_filter_values_are_written_without_embedding():
    shoe = product(RED)
    index_everything()
    shoe.price = 5
    shoe.save()
    assert [batch.updated for batch in index_everything()] == [1]
    [entity] = entities().values()
    assert entity.fields["price"] == 5
    assert get_embedder().embedded == 1


def test_a_picture_that_moves_to_another_product_is_written_without_embedding():
    product(RED)
    other = product()
    index_everything()
    image = ProductImage.objects.get()
    image.product = other
    image.save()
    index_everything()
    [entity] = entities().values()
    assert (entity.product_id, get_embedder().embedded) == (str(other.pk), 1)


def test_equal_files_are_embedded_once():
    product(RED, RED)
    product(RED)
    index_everything()
    assert get_embedder().embedded == 1
    assert len(entities()) == 3


def test_an_image_that_the_store_lost_is_embedded_again(store):
    product(RED)
    index_everything()
    store.clear()
    Change.objects.note_all(IMAGES)
    index_everything()
    assert len(entities()) == 1


def test_pictures_go_to_the_embedder_in_batches_of_its_size():
    get_embedder().batch_size = 2
    sizes = []
    embed = get_embedder().embed
    get_embedder().embed = lambda queries: sizes.append(len(queries)) or embed(queries)
    product(*((10 * number, 0, 0) for number in range(5)))
    index_everything()
    assert sizes == [2, 2, 1]


def test_few_large_pictures_are_held_at_once(monkeypatch):
    monkeypatch.setattr(batches, "PIXELS_AT_ONCE", 16 * 16 * 2)
    sizes = []
    embed = get_embedder().embed
    get_embedder().embed = lambda queries: sizes.append(len(queries)) or embed(queries)
    product(*((10 * number, 0, 0) for number in range(5)))
    index_everything()
    assert sizes == [2, 2, 1]


# The way in for what sends no signals


def test_what_update_and_bulk_create_do_is_indexed_after_reindex():
    shoe = product(RED)
    index_everything()
    Product.objects.update(price=F("price") + 3)
    ProductImage.objects.bulk_create([ProductImage(product=shoe, image=shoe.images.get().image.name)])
    assert not outbox.has_due()
    assert reindex(ProductImage.objects.filter(product=shoe)) == 2
    index_everything()
    assert [entity.fields["price"] for entity in entities().values()] == [3, 3]


def test_reindexing_a_model_that_is_not_registered_says_so():
    with pytest.raises(ImproperlyConfigured, match="not registered"):
        reindex(Product.objects.all())


def test_an_image_deleted_under_other_filters_is_no_ghost_when_the_old_ones_are_back(monkeypatch):
    product(RED)
    gone = product(GREEN)
    index_everything()
    with monkeypatch.context() as other:
        other.setattr(IMAGES, "filters", {"in_stock": bool}, raising=False)
        Change.objects.note_all(IMAGES)
        index_everything()
        gone.delete()
        index_everything()
    Change.objects.note_all(IMAGES)
    index_everything()
    assert list(entities()) == [str(image.pk) for image in ProductImage.objects.all()]


# What it costs


@pytest.fixture
def costs(monkeypatch):
    """A function that indexes what is due as one batch, and returns its statements, rows built, and values read."""

    def work():
        built, read = Counter(), []
        from_db, get_filter_values = Model.from_db.__func__, type(IMAGES).get_filter_values

        def counted(model, *columns):
            built[model] += 1
            return from_db(model, *columns)

        with monkeypatch.context() as patch, CaptureQueriesContext(connection) as captured:
            patch.setattr(Model, "from_db", classmethod(counted))
            patch.setattr(
                type(IMAGES),
                "get_filter_values",
                lambda self, image: read.append(image) or get_filter_values(self, image),
            )
            batch = batches.index_batch()
        words = [query["sql"].split()[0] for query in captured]
        statements = sum(word in ("SELECT", "INSERT", "UPDATE", "DELETE") for word in words)
        return batch, statements, built, len(read)

    return work


@pytest.mark.parametrize(("outcome", "dearer", "most"), [("unchanged", 0, 19), ("updated", 1, 24)])
def test_statements_do_not_grow_with_a_batch_and_each_row_is_built_once(costs, outcome, dearer, most):
    found = []
    for count in (3, 30):
        Product.objects.all().delete()
        for _ in range(count):
            product(RED)
        index_everything()
        Product.objects.update(price=F("price") + dearer)
        reindex(ProductImage.objects.all())
        batch, statements, built, read = costs()
        assert getattr(batch, outcome) == count
        once = dict.fromkeys((ProductImage, Product, IndexEntry, StoredImage), count)
        assert built == {**once, Collection: 1}
        assert read == count
        found.append(statements)
    assert found[0] == found[1] <= most
