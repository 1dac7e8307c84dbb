"""Image indexes: registering them, and what they say of an image."""

from decimal import Decimal

import pytest
from django.core.exceptions import ImproperlyConfigured

import shopsearch
from shopsearch import FilterField, ImageIndex, registry
from shopsearch.backends import schema_of
from shopsearch.models import Collection, ProductImage
from tests.shop.models import Artwork, Category, Poster, PosterImage, Product


@pytest.fixture
def unregistered():
    """A model whose index may be replaced during a test."""
    index = registry.index_for(PosterImage)
    registry.unregister(PosterImage)
    yield PosterImage
    registry.unregister(PosterImage)
    registry.register(PosterImage)(type(index))


def test_the_three_ways_are_registered_under_names_of_their_own():
    names = [index.name for index in registry.get_indexes()]
    assert names == ["shop_artwork", "shop_posterimage", "shopsearch_productimage"]


def test_a_model_is_registered_once(unregistered):
    shopsearch.register(unregistered)(ImageIndex)
    with pytest.raises(ImproperlyConfigured, match=r"shop.PosterImage is registered"):
        shopsearch.register(unregistered)(ImageIndex)


def test_a_model_that_is_not_registered_is_named(unregistered):
    with pytest.raises(ImproperlyConfigured, match=r"shop.PosterImage is not registered"):
        registry.index_for(unregistered)


def test_an_unknown_index_is_refused_with_those_that_exist():
    with pytest.raises(ImproperlyConfigured, match="shop_artwork"):
        registry.get_index("nowhere")


@pytest.mark.parametrize("name", ["shop.Nothing", "nowhere.Image", "Image"])
def test_a_setting_that_names_no_model_is_said_so(settings, name):
    settings.SHOPSEARCH_PRODUCT_IMAGE_MODEL = name
    with pytest.raises(ImproperlyConfigured, match=r"app_label\.ModelName"):
        registry.get_product_image_model()


def test_a_product_field_that_is_no_foreign_key_is_said_so():
    class Wrong(ImageIndex):
        product_field = "image"

    with pytest.raises(ImproperlyConfigured, match="no foreign key 'image'"):
        _ = Wrong(PosterImage).product_model


def test_where_a_row_is_the_product_there_is_no_foreign_key():
    assert registry.index_for(Artwork).product_model is Artwork
    assert registry.index_for(PosterImage).product_model is Poster


def test_filter_values_are_typed_and_followed_from_the_product():
    product = Product(title="mug", price=Decimal("8.50"), category=Category(name="mugs"), tags=["a", 1])
    image = ProductImage(product=product)
    assert registry.index_for(ProductImage).get_filter_values(image) == {
        "category": "mugs",
        "price": 8.5,
        "in_stock": True,
        "tags": ("a", "1"),
    }


def test_a_path_that_ends_early_has_no_value():
    image = ProductImage(product=Product(title="mug"))
    assert registry.index_for(ProductImage).get_filter_values(image)["category"] is None


def test_a_filter_may_partition_the_collection_and_then_every_image_has_a_value():
    class Partitioned(ImageIndex):
        filters = {"category": FilterField(str, "category__name", few_values=True), "price": Decimal}
        partition_by = "category"

    index = Partitioned(ProductImage)
    assert index.field_types == {"category": "partition", "price": "number"}
    assert index.filter_types["category"] == "string", "it is declared and asked for like any other"
    image = ProductImage(product=Product(title="mug"))
    assert index.get_field_values(image)["category"] == ""
    assert schema_of(index).few_values == {"category"}
    assert schema_of(index).fields == index.field_types


def test_a_collection_that_the_store_has_lost_is_made_anew_with_the_same_indexes_of_filters(monkeypatch):
    index = registry.index_for(ProductImage)
    few = FilterField(str, "category__name", few_values=True)
    monkeypatch.setattr(type(index), "filters", {"category": few, "brand": few})
    row = Collection(index=index.name, dimension=8, fields={"category": "string", "price": "number"})
    assert row.schema.few_values == {"category"}, "brand was declared after it was made"


def test_a_filter_of_a_type_that_cannot_be_stored_is_refused():
    with pytest.raises(ImproperlyConfigured, match=r"use str, int, float, Decimal, bool or list\[str\]"):
        _ = FilterField(dict).kind


def test_an_entitys_key_follows_from_index_and_image_alone():
    index = registry.index_for(ProductImage)
    assert index.entity_id(7) == index.entity_id("7")
    assert index.entity_id(7) != registry.index_for(PosterImage).entity_id(7)
    assert len(index.entity_id('it\'s "quoted"')) == 32


def test_an_index_describes_a_product_for_the_api():
    product = Product(pk=3, title="Red mug")
    image = ProductImage(product=product, image="products/mug.jpg")
    assert registry.index_for(ProductImage).describe(product, image) == {
        "id": 3,
        "title": "Red mug",
        "url": "/products/3/",
        "image": "/media/products/mug.jpg",
    }


def test_a_product_without_a_page_or_text_fields_still_has_words():
    poster = Poster(pk=1, title="Sunset")
    index = registry.index_for(PosterImage)
    assert index.get_url(poster) == ""
    assert index.get_text(poster) == "Sunset"
    assert registry.index_for(ProductImage).get_text(Product(title="Red mug")) == "Red mug"
