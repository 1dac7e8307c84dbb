"""Facets: how many products each value of a filter would leave; equal to what SQL and plain Python count."""

import json
import os
import subprocess
import sys

import pytest

from shopsearch import FilterField, ImageIndex
from shopsearch.exceptions import FilterError
from shopsearch.filters import parse
from shopsearch.models import ProductImage
from shopsearch.registry import index_for
from shopsearch.search.facets import MAX_VALUES, facet_names, facets
from tests import ROOT
from tests.search import facet_queries
from tests.shop.models import Category, Edition, Label, Poster, PosterImage
from tests.shop.pictures import RED, product
from tests.shop.store import IMAGES

FEW = int(os.environ.get("SHOPSEARCH_FACET_QUERIES", "50"))
"""On PostgreSQL; 200 were tried when this was written."""
NAMES = ["category", "price", "in_stock", "tags"]


def counted(asked=None, names=NAMES, index=IMAGES):
    return {each.name: each for each in facets(index, parse(asked or {}, index.filter_types), names)}


def counts(facet):
    return {each.value: each.count for each in facet.values}


def agree(asked):
    """Whether facets, SQL and Python count alike, and each range holds as many as the prices in it."""
    found, expected = counted(asked), facet_queries.by_sql(asked)
    assert expected == facet_queries.by_python(asked), asked
    for name in ("category", "in_stock", "tags"):
        told = {each.value: each.count for each in found[name].values if each.count}
        assert told == expected[name], (asked, name)
        assert all(each.is_chosen for each in found[name].values if not each.count)
    price, prices = found["price"], expected["price"]
    assert (price.minimum, price.maximum) == (min(prices, default=None), max(prices, default=None))
    for each in price.ranges:
        low = -1 if each.minimum is None else each.minimum
        high = 1e300 if each.maximum is None else each.maximum
        assert each.count == sum(count for one, count in prices.items() if low <= one <= high), (asked, each)
    assert all(each.is_exact for each in found.values())
    return len(price.ranges)


def agree_on_all(count=200):
    """How many ranges were compared: a run without any would have shown nothing of prices."""
    facet_queries.fill()
    return sum(agree(asked) for asked in [{}, *facet_queries.queries(count)])


@pytest.mark.django_db
def test_the_counts_of_200_random_filters_are_those_of_sql():
    assert agree_on_all() > 200


@pytest.mark.services
def test_they_are_on_postgresql_too(postgres):
    program = """
import django; django.setup()
from django.core.management import call_command
call_command("migrate", run_syncdb=True, verbosity=0)
from tests.search.test_facets import FEW, agree_on_all
print(agree_on_all(FEW))
"""
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "PYTHONPATH": str(ROOT),
        "TEST_DATABASE": json.dumps(postgres.create_database("facets")),
    }
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > FEW


@pytest.fixture
def mugs():
    return Category.objects.create(name="mugs")


@pytest.mark.django_db
def test_a_product_counts_once_however_many_images_it_has(mugs):
    product(RED, RED, RED, category=mugs, tags=["new"])
    product(RED, category=mugs, tags=["new", "sale"])
    found = counted()
    assert counts(found["category"]) == {"mugs": 2}
    assert counts(found["tags"]) == {"new": 2, "sale": 1}


@pytest.mark.django_db
def test_what_the_shop_hides_is_not_counted_nor_what_has_no_image(mugs):
    product(RED, category=mugs, published=False)
    product(category=mugs)
    assert counted()["category"].values == ()
    assert counted()["price"].minimum is None


@pytest.mark.django_db
def test_a_facet_is_counted_without_its_own_condition_and_with_all_others(mugs):
    plates = Category.objects.create(name="plates")
    product(RED, category=mugs, price=5)
    product(RED, category=plates, price=5)
    product(RED, category=plates, price=50)
    found = counted({"category": ["mugs"], "price__lte": 10})
    assert counts(found["category"]) == {"mugs": 1, "plates": 1}
    assert [value.value for value in found["category"].values if value.is_chosen] == ["mugs"]
    assert (found["price"].minimum, found["price"].maximum) == (5, 5)


@pytest.mark.django_db
def test_the_most_frequent_values_come_first_then_by_value_and_a_chosen_one_is_always_among_them():
    names = [f"kind {number:02}" for number in range(MAX_VALUES + 5)]
    for name in reversed(names):
        product(RED, category=Category.objects.create(name=name))
    product(RED, category=Category.objects.get(name=names[-2]))
    found = counted({"category": [names[-1], "none such"]})["category"]
    assert [each.value for each in found.values] == [
        names[-2],
        *names[: MAX_VALUES - 1],
        names[-1],
        "none such",
    ]
    assert [each.count for each in found.values][-2:] == [1, 0]
    assert found.has_more
    assert not counted(names=["in_stock"])["in_stock"].has_more


@pytest.mark.django_db
def test_what_only_python_knows_is_read_up_to_a_limit_and_said_to_be_no_more_than_that(settings, mugs):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "FACET_LIMIT": 3}
    for _ in range(3):
        product(RED, category=mugs, tags=["new"])
    assert counted()["tags"].is_exact
    product(RED, category=mugs, tags=["new"])
    found = counted()
    assert (counts(found["tags"]), found["tags"].is_exact) == ({"new": 3}, False)
    assert (counts(found["category"]), found["category"].is_exact) == ({"mugs": 4}, True)


class WithoutTheFirst(type(IMAGES)):
    """Finds products by a way of its own, on which some images have none."""

    def get_product(self, image):
        first = ProductImage.objects.order_by("pk").first()
        return None if image == first else super().get_product(image)


@pytest.mark.django_db
def test_images_without_a_product_count_for_the_limit(settings, mugs):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "FACET_LIMIT": 3}
    index = WithoutTheFirst(ProductImage)
    for is_exact in (True, True, True, False):
        product(RED, category=mugs, tags=["new"])
        assert counted(names=["tags"], index=index)["tags"].is_exact is is_exact
    assert counts(counted(names=["tags"], index=index)["tags"]) == {"new": 2}


@pytest.mark.django_db
def test_reading_asks_for_no_row_by_itself(mugs, django_assert_max_num_queries):
    for _ in range(5):
        product(RED, category=mugs, tags=["new"])
    with django_assert_max_num_queries(4):
        counted({"tags": ["new"]}, ["category", "tags"])


class Labelled(ImageIndex):
    filters = {
        "category": FilterField(str, "category__pk", label="category__name"),
        "kind": FilterField(str, "category__name", label="category__name"),
        "sold_out": FilterField(bool, "price"),
    }


@pytest.mark.django_db
def test_a_value_is_shown_by_its_label_and_a_number_may_be_a_yes_or_no(mugs):
    product(RED, category=mugs, price=0)
    product(RED, category=mugs, price=3)
    index = Labelled(ProductImage)
    found = counted(names=list(index.filters), index=index)
    assert [(each.value, each.label) for each in found["category"].values] == [(str(mugs.pk), "mugs")]
    assert [(each.value, each.label) for each in found["kind"].values] == [("mugs", "mugs")]
    assert {each.label: each.count for each in found["sold_out"].values} == {"Yes": 1, "No": 1}
    assert counts(counted({"sold_out": True}, ["kind"], index)["kind"]) == {"mugs": 1}


class ByItself(ImageIndex):
    """Knows better than its paths what the values are."""

    filters = {"category": FilterField(str, "category__name")}

    def get_filter_values(self, image):
        return {"category": "all the same"}


@pytest.mark.django_db
def test_an_index_that_finds_its_values_by_itself_is_asked_for_them(mugs):
    product(RED, category=mugs)
    assert counts(counted(names=["category"], index=ByItself(ProductImage))["category"]) == {
        "all the same": 1
    }


@pytest.mark.django_db
def test_a_value_that_no_database_holds_finds_nothing_and_breaks_nothing(mugs):
    product(RED, category=mugs, price=3)
    found = counted({"category": ["\0", "\ud800"]})
    assert counts(found["category"]) == {"mugs": 1, "\0": 0, "\ud800": 0}
    assert found["price"].minimum is None


def test_facets_are_asked_for_by_their_names():
    assert facet_names(IMAGES, ["price, category,price"]) == ["price", "category"]
    assert facet_names(IMAGES, ["*"]) == NAMES
    assert facet_names(IMAGES, [""]) == []
    with pytest.raises(FilterError, match="The facets of this shop: category, in_stock, price, tags"):
        facet_names(IMAGES, ["price,colour"])


@pytest.mark.django_db
def test_what_is_on_other_rows_and_in_methods_is_counted_too():
    index = index_for(PosterImage)
    labels = [Label.objects.create(name=name) for name in ("new", "rare")]
    for sold in (0, 5, 50):
        poster = Poster.objects.create(title="poster")
        poster.labels.set(labels if sold else labels[:1])
        Edition.objects.create(poster=poster, sold=sold)
        for name in ("a.png", "b.png"):
            PosterImage.objects.create(product=poster, image=name)
    found = counted({"labels": ["rare"]}, ["labels", "sold"], index)
    assert counts(found["labels"]) == {"new": 3, "rare": 2}
    assert (found["sold"].minimum, found["sold"].maximum) == (5, 50)
    assert [(each.minimum, each.maximum, each.count) for each in found["sold"].ranges] == [
        (None, 10, 1),
        (40, None, 1),
    ]
