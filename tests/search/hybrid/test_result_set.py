"""The result set: facets, the number of results and the pages mean the same products."""

import os
import random
from collections import Counter

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext

from shopsearch.backends import get_embedder
from shopsearch.conf import settings
from shopsearch.models import ProductImage
from shopsearch.models.evaluation import Calibration
from shopsearch.registry import index_for
from shopsearch.search import calibration
from shopsearch.search.engine import answer, search
from shopsearch.search.request import SearchRequest
from tests.shop.models import Category
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db

IMAGES = index_for(ProductImage)
QUERIES = int(os.environ.get("SHOPSEARCH_RESULT_SET_QUERIES", "8"))


@pytest.fixture(autouse=True)
def _a_shop_whose_scores_are_calibrated(settings, declare):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None, "PAGE_SIZE": 5}
    cache.clear()
    declare()
    dice = random.Random("a shop")
    kinds = [Category.objects.create(name=name) for name in ("kitchenware", "gardening", "clothes")]
    for number in range(36):
        product(
            dice.choice([RED, GREEN, BLUE]),
            title=f"{dice.choice(['Zephyr', 'Boreas'])} {dice.choice(['mug', 'can', 'scarf'])} {number}",
            category=dice.choice(kinds),
            price=dice.randint(1, 30),
            in_stock=dice.random() < 0.7,
            tags=dice.sample(["new", "gift", "sale"], dice.randint(0, 2)),
        )
    index_everything()
    calibrate()


def calibrate(threshold=0.6):
    typical = [0.0] * get_embedder().dimension
    calibration.save(
        [
            Calibration(
                index=IMAGES.name,
                space=get_embedder().space,
                kind="text",
                threshold=threshold,
                weight=0,
                typical=typical,
                pairs=9,
            )
        ]
    )


def asked(text, filters=None, **options):
    return answer(SearchRequest(text=text, filters=filters or {}, facets=["*"], **options))


def listed(text, filters):
    """Every product that the pages show as a match."""
    found, offset = [], 0
    while True:
        page = search(text, filters=filters, limit=7, offset=offset)
        if page.match == "weak":
            return []
        found += page.results
        offset += 7
        if not page.has_next:
            return found


def values_of(results, name):
    values = (IMAGES.filter_values(result.image)[name] for result in results)
    return Counter(one for value in values for one in (value if isinstance(value, tuple) else (value,)))


def test_facets_and_the_number_of_results_are_those_of_the_pages():
    dice = random.Random("queries")
    for _ in range(QUERIES):
        text = " ".join(dice.sample(["red", "green", "zephyr", "boreas", "mug", "scarf"], dice.randint(1, 2)))
        chosen = {
            "category": ["kitchenware", "clothes"],
            "in_stock": "true",
            "tags": "new",
            "price__lte": str(dice.randint(5, 30)),
        }
        filters = {name: chosen[name] for name in dice.sample(sorted(chosen), dice.randint(0, 3))}
        found = asked(text, filters)
        if found.match == "weak":
            assert found.number is None
            continue
        assert found.number.value == len(listed(text, filters)), (text, filters)
        for facet in found.facets:
            others = {key: value for key, value in filters.items() if key.partition("__")[0] != facet.name}
            values = values_of(listed(text, others), facet.name)
            if facet.kind == "number":
                for each in facet.ranges:
                    low, high = each.minimum or 0, each.maximum or 99
                    assert each.count == sum(count for value, count in values.items() if low <= value <= high)
                assert (facet.minimum, facet.maximum) == (
                    min(values, default=None),
                    max(values, default=None),
                )
            else:
                counted = {each.value: each.count for each in facet.values if each.count}
                assert counted == {value: count for value, count in values.items() if value not in (None, "")}


def test_what_does_not_match_is_in_no_facet():
    kitchen = Category.objects.create(name="lamps")
    product(BLUE, title="Aurora lamp", category=kitchen)
    index_everything()
    [category] = (each for each in asked("red").facets if each.name == "category")
    assert "lamps" not in {each.value for each in category.values}


def test_the_order_of_values_stays_while_a_shopper_chooses():
    def order(**filters):
        [tags] = (each for each in asked("zephyr", filters).facets if each.name == "tags")
        return [each.value for each in tags.values]

    whole = order()
    for filters in ({"in_stock": "true"}, {"price__lte": "9"}, {"category": "clothes"}):
        kept = order(**filters)
        assert kept == [value for value in whole if value in kept]


def test_a_sorted_answer_has_the_result_set_alone():
    results = search("red", sort="price", limit=30).results
    assert {each.product.pk for each in results} == {each.product.pk for each in listed("red", {})}
    assert [each.product.price for each in results] == sorted(each.product.price for each in results)


def test_where_everything_is_weak_or_nothing_is_calibrated_the_whole_shop_is_counted():
    def number_and_counted(text):
        found = asked(text)
        [stock] = (each for each in found.facets if each.name == "in_stock")
        return found.number, sum(each.count for each in stock.values)

    assert number_and_counted("purple lawn mower") == (None, 36)
    Calibration.objects.all().delete()
    calibration.forget()
    assert number_and_counted("red") == (None, 36)


def test_a_set_that_is_larger_than_what_is_looked_at_says_so(monkeypatch):
    search("zephyr")  # reads the settings
    monkeypatch.setitem(settings._cache, "MAX_RESULTS", 3)
    found = asked("zephyr")
    assert not found.number.is_exact
    assert not any(each.is_exact for each in found.facets)


def test_the_number_of_queries_depends_on_neither_the_set_nor_what_is_chosen():
    def queries(text, filters):
        with CaptureQueriesContext(connection) as captured:
            asked(text, filters)
        return len(captured)

    asked("red")  # reads the calibration, which is kept
    assert queries("red", {}) == queries("zephyr", {}) == queries("zephyr", {"category": "clothes"})


def test_the_page_tells_the_number_to_everybody(client):
    html = client.get("/search/", {"q": "zephyr"}).content.decode()
    assert f'<p class="shopsearch-count">{len(listed("zephyr", {}))} results</p>' in html
