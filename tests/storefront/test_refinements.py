"""What the search page offers to narrow and sort by, without a browser."""

import gc
import tracemalloc
from decimal import Decimal
from urllib.parse import urlencode

import pytest
from django.core.cache import cache
from django.utils import translation

from shopsearch import FilterField
from shopsearch.models import ProductImage
from shopsearch.registry import index_for
from shopsearch.search import engine
from shopsearch.storefront import refinements
from tests.shop.models import Category
from tests.shop.pictures import BLUE, RED, product
from tests.shop.store import index_everything
from tests.storefront.test_views import FRAGMENT, elements, titles

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def shop(settings):
    """Six products of three prices in two categories, two to a page; four are sorted."""
    cache.clear()
    small = {"PAGE_SIZE": 2, "SORTED_RESULTS": 4, "THROTTLE_RATE": None}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, **small}
    kinds = [Category.objects.create(name=name) for name in ("mugs", "plates")]
    for number in range(6):
        product(
            (RED, BLUE)[number % 2],
            title=f"thing {number}",
            category=kinds[number % 2],
            price=(3, 30, 300)[number // 2],
            in_stock=number > 0,
            tags=["new"] if number else ["new", "sale"],
        )
    index_everything()


def page(client, **asked):
    response = client.get("/search/", {"q": "red", **asked})
    assert response.status_code == 200
    return response


def links(response, kind):
    """By what a screen reader says, where it leads."""
    found = elements(response).all("a", **{"class": kind})
    return {each["aria-label"]: each["href"] for each in found}


def test_every_condition_is_a_chip_that_leads_to_the_search_without_it(client):
    response = page(client, category=["mugs", "plates"], price__gte="3", price__lte="30", in_stock="true")
    chips = links(response, "shopsearch-chip")
    assert list(chips) == [
        "Category: mugs. Remove",
        "Category: plates. Remove",
        "Price: Price: 3 – 30. Remove",
        "In stock: In stock. Remove",
    ]
    rest = "price__gte=3&price__lte=30&in_stock=true"
    assert chips["Category: mugs. Remove"] == f"/search/?q=red&category=plates&{rest}"
    without_price = "/search/?q=red&category=mugs&category=plates&in_stock=true"
    assert chips["Price: Price: 3 – 30. Remove"] == without_price
    assert elements(response).all("a", href="/search/?q=red", **{"class": "shopsearch-chips__all"})


def test_a_value_joins_those_that_are_chosen_and_leaves_the_offset_behind(client):
    choices = links(page(client, category="mugs", offset="2"), "shopsearch-facet__choice")
    assert choices["plates, 3 products"] == "/search/?q=red&category=mugs&category=plates"
    assert choices["mugs, 3 products"] == "/search/?q=red"


def test_a_range_sets_both_bounds_and_takes_them_back(client):
    choices = links(page(client), "shopsearch-facet__choice")
    assert choices["up to 5, 2 products"] == "/search/?q=red&price__lte=5"
    assert choices["from 200, 2 products"] == "/search/?q=red&price__gte=200"
    chosen = links(page(client, price__lte="5"), "shopsearch-facet__choice")
    assert chosen["up to 5, 2 products"] == "/search/?q=red"


def test_the_bounds_say_what_there_is(client):
    [low] = elements(page(client, category="mugs")).all("input", name="price__gte")
    [high] = elements(page(client, category="mugs")).all("input", name="price__lte")
    assert (low["placeholder"], high["placeholder"], low["value"]) == ("3", "300", "")


def test_a_count_that_is_not_exact_says_that_there_may_be_more(client, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "FACET_LIMIT": 3}
    html = page(client).content.decode()
    assert ">3+<" in html
    assert ">5<" in html  # of those in stock: the database counts them


def test_further_results_that_join_the_page_count_nothing(client, monkeypatch):
    counted = []

    def counting(*arguments, **options):
        counted.append(arguments)
        return []

    monkeypatch.setattr(engine, "facets", counting)
    assert titles(client.get("/search/", {"q": "red", "offset": "2"}, headers=FRAGMENT))
    assert counted == []
    page(client, offset="2")
    assert len(counted) == 1


def test_an_order_is_kept_by_filters_and_a_filter_by_orders(client):
    found = elements(page(client, sort="-price", category="mugs"))
    assert [each.get("value") for each in found.all("option") if "selected" in each] == ["-price"]
    assert found.all("input", type="hidden", name="sort", value="-price")
    assert len(found.all("input", type="hidden", name="category", value="mugs")) == 2
    assert titles(page(client, sort="-price", category="mugs")) == ["thing 4", "thing 2"]


def test_an_order_that_there_is_not_is_a_sentence(client):
    response = client.get("/search/", {"q": "red", "sort": "title"})
    assert response.status_code == 400
    assert b"sort must be one of" in response.content


def test_the_end_of_a_sorted_search_says_that_there_is_more(client):
    assert b"The 4 most relevant results are sorted" not in page(client, sort="price").content
    assert b"The 4 most relevant results are sorted" in page(client, sort="price", offset="2").content


def test_what_looks_like_a_picture_of_the_shop_comes_in_no_other_order(client):
    response = client.get("/search/", {"similar": ProductImage.objects.first().pk, "sort": "price"})
    assert response.status_code == 200
    assert not elements(response).all("select")


def test_a_spanish_shop_narrows_in_spanish(client):
    with translation.override("es"):
        html = page(client, price__lte="5").content.decode()
    assert "hasta 5" in html
    assert "Ordenar por" in html


def test_a_chosen_value_keeps_its_place_and_never_hides_behind_show_all(client, monkeypatch):
    monkeypatch.setattr(refinements, "FIRST_CHOICES", 1)

    def shown(**asked):
        [panel] = (
            each for each in page(client, **asked).context["search"].refinements.panels if each.name == "tags"
        )
        return [each.label for each in panel.choices], [each.label for each in panel.further]

    assert shown() == (["new"], ["sale"])
    assert shown(tags="sale") == (["new", "sale"], [])
    assert shown(tags="sale", category="mugs") == (["new", "sale"], [])


def test_numbers_have_their_unit_and_values_their_swatch(client, monkeypatch):
    declared = {
        "category": FilterField(str, "category__name", swatches={"mugs": "#123456"}),
        "price": FilterField(Decimal, unit="$%s"),
    }
    monkeypatch.setattr(type(index_for(ProductImage)), "filters", declared)
    html = page(client, price__lte="30").content.decode()
    assert 'fill="#123456"' in html
    assert html.count('fill="#') == 1, "plates have none"
    assert "Price: up to $30" in html


@pytest.mark.parametrize(
    "parameter", [lambda text: {"utm": text}, lambda text: {text: "1"}], ids=["value", "name"]
)
def test_long_parameters_are_forgotten_with_their_page(client, parameter):
    """Short ones are kept for other pages; a post may have 256 KB of them, and no page needs it twice."""

    def post(number):
        form = urlencode({"q": "red", **parameter(f"{number}" + "x" * 100_000)})
        found = client.post("/search/", form, "application/x-www-form-urlencoded", headers=FRAGMENT)
        assert titles(found)

    post(0)
    tracemalloc.start()
    try:
        for number in range(1, 6):
            post(number)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 500_000
    finally:
        tracemalloc.stop()
