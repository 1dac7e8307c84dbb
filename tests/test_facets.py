"""Facets: how many products each value of a filter would leave; equal to what SQL and plain Python count."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shopsearch import FilterField, ImageIndex
from shopsearch.exceptions import FilterError
from shopsearch.facets import MOST_VALUES, facet_names, facets
from shopsearch.filters import parse
from shopsearch.models import ProductImage
from tests import facet_queries
from tests.shop.models import Category, Product
from tests.shop.pictures import RED, product
from tests.shop.store import IMAGES

ROOT = Path(__file__).parent.parent
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
from tests.test_facets import agree_on_all
print(agree_on_all())
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
    assert int(done.stdout) > 200
