"""Facets in the REST API's answers, and that what they say is what the search then finds."""

import random
from collections import Counter

import pytest
from django.core.cache import cache
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings

from shopsearch import conf, reindex
from shopsearch.exceptions import FilterError
from shopsearch.filters import parse
from shopsearch.models import ProductImage
from shopsearch.search.facets import facets
from tests.api import hostile_filters
from tests.search import facet_queries
from tests.search.test_matches import calibrated
from tests.shop.models import Category, Product
from tests.shop.pictures import BLUE, RED, picture, product
from tests.shop.store import IMAGES, index_everything

URL = "/api/search/"


@pytest.mark.django_db
def test_the_rest_api_tells_facets_where_they_are_asked_for(client):
    cache.clear()
    mugs = Category.objects.create(name="mugs")
    product(RED, category=mugs, price=3, tags=["new"])
    product(RED, category=mugs, price=40)
    index_everything()
    assert "facets" not in client.get(URL, {"q": "red"}).json()
    told = client.get(URL, {"q": "red", "facets": "category,price", "tags": "new"}).json()["facets"]
    assert told["category"] == {
        "kind": "string",
        "label": "Category",
        "exact": True,
        "values": [{"value": "mugs", "label": "mugs", "count": 1}],
        "has_more": False,
        "minimum": None,
        "maximum": None,
        "ranges": [],
    }
    assert set(told) == {"category", "price"}
    assert set(client.get(URL, {"q": "red", "facets": "*"}).json()["facets"]) == {
        "category",
        "price",
        "in_stock",
        "tags",
    }
    ranges = client.get(URL, {"q": "red", "facets": "price"}).json()["facets"]["price"]["ranges"]
    assert [(each["gte"], each["lte"], each["count"]) for each in ranges] == [(None, 5.0, 1), (20.0, None, 1)]
    refused = client.get(URL, {"q": "red", "facets": "colour"})
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_filter")


@pytest.mark.django_db
def test_the_rest_api_tells_how_many_results_all_pages_have_together(client, settings, monkeypatch):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()
    for price in (3, 8, 40):
        product(RED, price=price)
    product(BLUE, price=3)
    index_everything()
    assert client.get(URL, {"q": "red", "facets": "*"}).json()["total"] is None, "nothing is calibrated"
    calibrated()
    assert client.get(URL, {"q": "red"}).json()["total"] is None
    told = client.get(URL, {"q": "red", "facets": "*", "limit": 1}).json()
    assert told["total"] == {"value": 3, "exact": True}
    assert client.get(URL, {"q": "red", "facets": "*", "price__lte": 9}).json()["total"]["value"] == 2
    monkeypatch.setitem(conf.settings._cache, "MAX_RESULTS", 2)
    assert client.get(URL, {"q": "red", "facets": "*"}).json()["total"] == {"value": 2, "exact": False}


@pytest.mark.django_db
def test_a_value_finds_as_many_products_as_its_facet_says(client, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    facet_queries.fill(products=40)
    first = ProductImage.objects.first()
    first.image.save("thing.png", picture())
    ProductImage.objects.update(image=first.image.name)
    reindex(ProductImage.objects.all())
    index_everything()
    dice, tried = random.Random(8), 0
    for asked in facet_queries.queries(20):
        told = client.get(URL, {**asked, "q": "red", "facets": "*"}).json()["facets"]
        name = dice.choice(["category", "in_stock", "tags"])
        for each in dice.sample(told[name]["values"], min(2, len(told[name]["values"]))):
            answer = client.get(URL, {**asked, name: each["value"], "q": "red", "limit": 100}).json()
            assert answer["count"] == each["count"], (asked, name, each)
            tried += 1
        for each in told["price"]["ranges"][:1]:
            bounds = {f"price__{bound}": each[bound] for bound in ("gte", "lte") if each[bound] is not None}
            others = {key: value for key, value in asked.items() if not key.startswith("price")}
            answer = client.get(URL, {**others, **bounds, "q": "red", "limit": 100}).json()
            assert answer["count"] == each["count"], (asked, each)
            tried += 1
    assert tried > 20


@pytest.mark.django_db
def test_hostile_filters_count_what_they_mean():
    held = hostile_filters.rows()
    kinds = {row.category: Category.objects.create(name=row.category) for row in held}
    Product.objects.bulk_create(
        Product(
            title="red",
            category=kinds[row.category],
            price=row.price,
            in_stock=row.in_stock,
            tags=list(row.tags),
        )
        for row in held
    )
    ProductImage.objects.bulk_create(
        ProductImage(product=product, image="thing.png") for product in Product.objects.all()
    )
    counted = Counter()

    @hypothesis_settings(max_examples=50, suppress_health_check=list(HealthCheck))
    @given(hostile_filters.filters(held))
    def counts_what_it_means(asked):
        others = {key: values for key, values in asked.items() if key != "in_stock"}
        allowed = hostile_filters.expected(others, held)
        try:
            condition = parse(asked, IMAGES.filter_types)
        except FilterError:
            counted["refused"] += 1
            return
        [stock] = facets(IMAGES, condition, ["in_stock"])
        assert sum(each.count for each in stock.values) == len(allowed)
        counted["found" if allowed else "nothing"] += 1

    counts_what_it_means()
    assert counted["found"] > 0 < counted["refused"]
