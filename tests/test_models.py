"""Product images and index entries."""

import pytest

from shopsearch.indexing import outbox
from shopsearch.models import Change, IndexEntry, ProductImage
from tests.shop.models import Product
from tests.shop.pictures import RED, product

pytestmark = pytest.mark.django_db


def test_shopsearchs_own_images_belong_to_the_product_model_of_the_setting():
    assert ProductImage._meta.get_field("product").related_model is Product


def test_a_products_images_come_in_their_position():
    shoe = product(RED, RED)
    first, second = shoe.images.all()
    ProductImage.objects.filter(pk=first.pk).update(position=2)
    assert list(shoe.images.all()) == [second, first]


def test_an_image_is_called_by_its_alternative_text_or_its_file():
    image = product(RED).images.get()
    assert str(image) == image.image.name
    image.alternative_text = "a red shoe"
    assert str(image) == "a red shoe"


def test_an_entry_says_which_image_it_is_of_and_how_it_stands():
    image = product(RED).images.get()
    assert str(Change.objects.get()) == f"shopsearch_productimage:{image.pk}"
    outbox.fold()
    assert str(IndexEntry.objects.get()) == f"shopsearch_productimage:{image.pk} pending"
