"""Numbers and texts that a database holds and a filter does not: one row of them takes down no page and no answer."""

import math

import pytest
from django.core.cache import cache

from shopsearch import FilterField
from shopsearch.exceptions import FilterError
from shopsearch.filters import parse
from shopsearch.models import IndexEntry
from shopsearch.registry.index import typed
from shopsearch.search.facets import facets
from tests.shop.models import Product
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import IMAGES, entities, index_everything

pytestmark = pytest.mark.django_db
FILTERS = {"weight": float, "price": FilterField(float, "price"), "in_stock": bool, "tags": list[str]}


@pytest.fixture(autouse=True)
def shop(settings, monkeypatch):
    """Three products, of which one has a weight that is none."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    cache.clear()
    monkeypatch.setattr(type(IMAGES), "filters", FILTERS)
    for colour, weight in ((RED, 1.0), (GREEN, 2.5), (BLUE, math.inf)):
        product(colour, weight=weight)


def test_an_infinite_number_is_no_value_to_the_store():
    index_everything()
    assert sorted(str(each.fields["weight"]) for each in entities().values()) == ["1.0", "2.5", "None"]


@pytest.mark.parametrize(
    "path", ["/api/search/?q=red&facets=*", "/search/?q=red", "/search/?q=red&weight__gte=1"]
)
def test_neither_the_api_nor_the_page_falls_over_it(client, path):
    index_everything()
    response = client.get(path)
    assert response.status_code == 200
    assert b"inf" not in response.content.lower().replace(b"info", b"")


def test_the_bounds_of_a_facet_are_those_of_real_numbers():
    [weight] = facets(IMAGES, None, ["weight"])
    assert (weight.minimum, weight.maximum) == (1.0, 2.5)


def test_where_only_python_knows_the_numbers_it_is_the_same(monkeypatch):
    monkeypatch.setattr(
        type(IMAGES), "get_filter_values", lambda self, image: {"weight": image.product.weight}, raising=False
    )
    [weight] = facets(IMAGES, None, ["weight"])
    assert (weight.minimum, weight.maximum) == (1.0, 2.5)


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
def test_no_number_is_none(number):
    assert typed("number", number) is None


@pytest.mark.parametrize(
    ("kind", "value"), [("boolean", "0"), ("strings", "red,blue"), ("number", 2**53 + 1), ("number", 10**400)]
)
def test_what_would_be_another_value_in_the_store_is_refused(kind, value):
    with pytest.raises((TypeError, ValueError, OverflowError)):
        typed(kind, value)


def test_a_product_with_such_a_value_fails_alone_and_is_in_no_facet():
    odd = Product.objects.first()
    odd.tags = "red,blue"
    odd.save()
    index_everything()
    [failed] = IndexEntry.objects.failed()
    assert failed.image_id == str(odd.images.get().pk)
    assert "list[str] is declared, and the value is a text: 'red,blue'" in failed.error
    [tags] = facets(IMAGES, None, ["tags"])
    assert tags.values == ()


@pytest.mark.parametrize("number", [2**53, 2**53 + 2, -(2**53), 2.5, "1e300", "0012"])
def test_a_filter_takes_a_number_that_is_exact(number):
    assert parse({"weight": number}, IMAGES.filter_types).values == (float(number),)


@pytest.mark.parametrize("number", [2**53 + 1, str(2**53 + 1), "+9007199254740993", -(2**53) - 1])
def test_a_filter_that_would_mean_another_number_is_refused(number):
    with pytest.raises(FilterError, match="exact"):
        parse({"weight": number}, IMAGES.filter_types)
