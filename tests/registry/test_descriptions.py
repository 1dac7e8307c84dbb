"""A product whose own code raises is shown as far as it can be, and takes no page down."""

import json

import pytest
from django.core.cache import cache
from django.db import OperationalError

from shopsearch import ImageIndex
from shopsearch.models import ProductImage
from shopsearch.registry import index_for
from shopsearch.search.engine import search
from shopsearch.search.reranking import order_of
from tests.shop.models import Product
from tests.shop.pictures import GREEN, RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db

LAST_FIRST = {"BACKEND": "tests.shop.rerankers.LastFirst"}


@pytest.fixture
def odd(settings, monkeypatch):
    """One of two red products has neither a title nor an address."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None, "RERANKER": LAST_FIRST}
    cache.clear()
    odd, _ = product(RED, title="odd"), product(GREEN, title="plain")
    index_everything()

    def raises(self):
        if self.pk == odd.pk:
            raise ValueError("no such thing")
        return "plain"

    monkeypatch.setattr(Product, "__str__", raises)
    monkeypatch.setattr(Product, "get_absolute_url", raises)
    return odd


def test_the_rest_api_shows_it_without_them(client, odd, caplog):
    results = client.get("/api/search/?q=red").json()["results"]
    assert [each["product"]["title"] for each in results] == [f"product {odd.pk}", "plain"]
    assert results[0]["product"]["url"] == ""
    assert results[0]["product"]["image"].startswith("http")
    assert f"product {odd.pk} cannot be described" in caplog.text


def test_the_page_shows_it_without_them(client, odd):
    response = client.get("/search/?q=red")
    assert response.status_code == 200
    assert f"product {odd.pk}" in response.content.decode()


def test_so_do_similar_products(client, odd):
    plain = Product.objects.get(title="plain")
    answer = client.get(f"/api/products/{plain.pk}/similar/")
    assert json.loads(answer.content)["results"][0]["product"]["id"] == odd.pk


def test_a_reranker_sees_it_without_words(odd):
    order = order_of(index_for(ProductImage), search("red"))
    assert sorted(order.positions) == [0, 1]


def test_a_database_that_is_away_is_not_a_product_without_a_title(odd, monkeypatch):
    def away(self):
        raise OperationalError("away")

    monkeypatch.setattr(Product, "get_absolute_url", away)
    plain = ProductImage.objects.exclude(product=odd).get()
    with pytest.raises(OperationalError):
        index_for(ProductImage).described(plain.product, plain)


def test_a_description_may_depend_on_who_asks_and_one_that_does_not_takes_no_request(
    client, monkeypatch, settings
):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()
    product(RED, title="mug")
    index_everything()
    index = index_for(ProductImage)

    def describe(self, product, image, request=None):
        price = 8 if request is not None and "trade" in request.COOKIES else 10
        return {**ImageIndex.describe(self, product, image), "title": "mug", "price": price}

    def shown():
        page = client.get("/search/", {"q": "red"}).content.decode()
        [result] = client.get("/api/search/", {"q": "red"}).json()["results"]
        return result["product"].get("price"), 'shopsearch-card__price">8<' in page

    with monkeypatch.context() as priced:
        priced.setattr(type(index), "describe", describe)
        assert shown() == (10, False)
        client.cookies["trade"] = "yes"
        assert shown() == (8, True)
    monkeypatch.setattr(
        type(index), "describe", lambda self, product, image: {"id": 1, "title": "plain", "price": 7}
    )
    assert shown() == (7, False)
