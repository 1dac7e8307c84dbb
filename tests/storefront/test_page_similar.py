"""The search page with a picture of the shop: by its stored vector, and by its file where that is needed."""

import pytest
from django.core.cache import cache

from shopsearch.backends import get_embedder
from shopsearch.models import ProductImage, Rerank
from tests.shop.pictures import GREEN, RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db

BY_SCRIPT = {"X-Shopsearch-Fragment": "results"}


@pytest.fixture(autouse=True)
def shop(settings):
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "THROTTLE_RATE": None,
        "RERANKER": {"BACKEND": "tests.shop.rerankers.LastFirst"},
    }
    cache.clear()
    for title, colour in {"rose": RED, "cherry": (200, 40, 40), "leaf": GREEN}.items():
        product(colour, title=title)
    index_everything()
    get_embedder().embedded = 0


def image_of(title):
    return ProductImage.objects.get(product__title=title)


def titles(response):
    return [card.product["title"] for card in response.context["search"].cards]


def test_no_model_is_called_and_the_product_itself_is_not_shown(client):
    response = client.get("/search/", {"similar": image_of("rose").pk})
    assert titles(response) == ["cherry", "leaf"]
    assert get_embedder().embedded == 0


def test_a_reranker_sees_its_picture_all_the_same(client):
    client.get("/search/", {"similar": image_of("rose").pk}, headers=BY_SCRIPT)
    assert Rerank.objects.get().picture
    assert get_embedder().embedded == 0


def test_a_lost_file_does_not_matter_but_beside_words(client):
    image = image_of("rose")
    image.image.storage.delete(image.image.name)
    for headers in ({}, BY_SCRIPT):
        assert titles(client.get("/search/", {"similar": image.pk}, headers=headers)) == ["cherry", "leaf"]
    assert not Rerank.objects.exists()
    response = client.get("/search/", {"similar": image.pk, "q": "green"})
    assert response.status_code == 400
    assert b"cannot be opened" in response.content


def test_one_that_is_not_indexed_yet_is_searched_with_by_its_file(client):
    later = product(RED, title="later").images.get()
    assert titles(client.get("/search/", {"similar": later.pk}))[0] == "rose"
    assert get_embedder().embedded == 1
