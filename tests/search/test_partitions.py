"""An index whose collection is partitioned by one of its filters is searched like any other."""

import pytest

from shopsearch import FilterField
from shopsearch.indexing import rebuild
from shopsearch.models import Collection
from shopsearch.search.engine import search
from tests.indexing.rebuilds import work
from tests.shop.pictures import GREEN, RED, product
from tests.shop.store import IMAGES, index_everything

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop(monkeypatch):
    monkeypatch.setattr(type(IMAGES), "filters", {"name": FilterField(str, "title"), "price": float})
    product(RED, title="mug")
    product(GREEN, title="lamp")
    return IMAGES


def titles(**filters):
    return [result.product.title for result in search("red", filters=filters).results]


def kind_of_name():
    return Collection.objects.of(IMAGES).live().get().fields["name"]


def test_the_filter_that_partitions_it_filters(shop, monkeypatch):
    monkeypatch.setattr(type(IMAGES), "partition_by", "name")
    index_everything()
    assert kind_of_name() == "partition"
    assert titles() == ["mug", "lamp"]
    assert titles(name="lamp") == ["lamp"]
    assert titles(name="lamp", price__gte="1000") == []


def test_a_collection_from_before_answers_until_the_partitioned_one_is_full(shop, monkeypatch):
    index_everything()
    monkeypatch.setattr(type(IMAGES), "partition_by", "name")
    assert (kind_of_name(), titles(name="lamp")) == ("string", ["lamp"])
    rebuild.begin(IMAGES)
    work()
    assert (kind_of_name(), titles(name="lamp")) == ("partition", ["lamp"])
