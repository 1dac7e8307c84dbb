"""Sorting: the most relevant results in another order, through the search and through the REST API."""

import random

import pytest
from django.core.cache import cache

from shopsearch import FilterField, registry
from shopsearch.checks.indexes import check_indexes
from shopsearch.exceptions import QueryError
from shopsearch.models import ProductImage
from shopsearch.search.engine import search
from shopsearch.search.sorting import sort_label, sort_names
from tests.shop.pictures import BLUE, RED, product
from tests.shop.store import IMAGES, index_everything

URL = "/api/search/"
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _small_pages(settings):
    cache.clear()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "PAGE_SIZE": 4, "THROTTLE_RATE": None}


def prices(results):
    return [float(result.product.price) for result in results.results]


def test_the_most_relevant_are_sorted_and_no_others(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "SORTED_RESULTS": 3}
    for price in (30, 10, 20):
        product(RED, price=price)
    product(BLUE, price=1)
    index_everything()
    assert prices(search("red", sort="price")) == [10, 20, 30]
    assert prices(search("red", sort="-price")) == [30, 20, 10]
    assert not search("red", sort="price").has_next
    assert len(search("red").results) == 4


def test_pages_of_a_sorted_search_neither_repeat_nor_skip():
    dice = random.Random(8)
    for number in range(23):
        product(dice.choice([RED, BLUE]), price=dice.randint(1, 5), title=f"thing {number}")
    index_everything()
    whole = search("red", sort="-price", limit=50)
    assert len({result.product.pk for result in whole.results}) == 23
    pages, offset = [], 0
    while True:
        page = search("red", sort="-price", limit=dice.randint(1, 7), offset=offset)
        pages += page.results
        offset += page.limit
        if not page.has_next:
            break
    assert [result.product.pk for result in pages] == [result.product.pk for result in whole.results]
    assert [result.rank for result in pages] == list(range(1, 24))


def test_among_equals_the_more_relevant_comes_first_and_what_has_no_value_last(monkeypatch):
    near, far, unknown = product(RED, price=5), product(BLUE, price=5), product(RED, price=0)
    index_everything()
    values = registry.ImageIndex.get_filter_values

    def without_a_price(self, image):
        return values(self, image) | ({"price": None} if image.product == unknown else {})

    monkeypatch.setattr(registry.ImageIndex, "get_filter_values", without_a_price)
    for sort in ("price", "-price"):
        assert [result.product for result in search("red", sort=sort).results] == [near, far, unknown]


def test_the_newest_come_first_where_the_index_says_when_they_came(monkeypatch):
    old, new = product(RED), product(BLUE)
    index_everything()
    assert "newest" not in sort_names(IMAGES)
    monkeypatch.setattr(type(IMAGES), "newest", "pk")
    assert sort_names(IMAGES) == ["relevance", "newest", "price", "-price"]
    assert [result.product for result in search("red", sort="newest").results] == [new, old]


def test_an_order_that_there_is_not_is_answered_with_those_there_are(client):
    with pytest.raises(QueryError, match="sort must be one of: relevance, price, -price"):
        search("red", sort="title")
    answer = client.get(URL, {"q": "red", "sort": "-title"})
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")


def test_the_rest_api_sorts_and_its_next_page_is_sorted_too(client):
    for price in (30, 10, 20, 50, 40):
        product(RED, price=price)
    index_everything()
    first = client.get(URL, {"q": "red", "sort": "price"}).json()
    second = client.get(first["next"]).json()
    titles = [each["product"]["id"] for page in (first, second) for each in page["results"]]
    by_price = ProductImage.objects.order_by("product__price").values_list("product_id", flat=True)
    assert titles == list(by_price)


def test_what_is_sorted_by_price_is_given_no_better_order(client, settings):
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "RERANKER": {"BACKEND": "tests.shop.rerankers.LastFirst"},
    }
    product(RED, price=1)
    product(RED, price=2)
    index_everything()
    asked = {"q": "red", "rerank": "true"}
    assert client.get(URL, {**asked, "sort": "relevance"}).json()["rerank"]
    assert client.get(URL, {**asked, "sort": "price"}).json()["rerank"] is None


def test_every_order_is_said_to_the_shopper():
    assert [sort_label(sort) for sort in ("relevance", "newest", "in_stock", "-price")] == [
        "Most relevant",
        "Newest first",
        "In stock: low to high",
        "Price: high to low",
    ]


def test_check_finds_paths_that_lead_nowhere(monkeypatch):
    monkeypatch.setattr(type(IMAGES), "newest", "created")
    labelled = {"category": FilterField(str, "category__name", label="category__title")}
    monkeypatch.setattr(type(IMAGES), "filters", labelled)
    found = {message.id: message.msg for message in check_indexes()}
    assert "newest: shop.Product has no field or attribute 'created'" in found["shopsearch.E004"]
    assert "shop.Category has no field or attribute 'title'" in found["shopsearch.E005"]


def test_a_product_whose_own_code_raises_comes_last_and_takes_no_page_down(monkeypatch):
    for price in (30, 10, 20):
        product(RED, price=price)
    index_everything()
    values = type(IMAGES).get_filter_values

    def raise_for_the_cheapest(index, image):
        if image.product.price == 10:
            raise ZeroDivisionError
        return values(index, image)

    monkeypatch.setattr(type(IMAGES), "get_filter_values", raise_for_the_cheapest)
    assert prices(search("red", sort="price")) == [20, 30, 10]
