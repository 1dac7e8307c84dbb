"""Primary keys: in chunks, and as texts name them."""

import pytest

from shopsearch.models import Rerank
from shopsearch.registry import keys
from shopsearch.registry.keys import keys_from, keys_of
from tests.shop.models import Artwork, Category, Product

pytestmark = pytest.mark.django_db


def all_of(queryset):
    return [key for chunk in keys_of(queryset) for key in chunk]


@pytest.fixture(autouse=True)
def _categories(monkeypatch):
    monkeypatch.setattr(keys, "CHUNK", 3)
    Category.objects.bulk_create(Category(name=str(number)) for number in range(8))


def test_keys_come_in_chunks_each_once():
    chunks = list(keys_of(Category.objects.order_by("-name")))
    assert [len(chunk) for chunk in chunks] == [3, 3, 2]
    assert {key for chunk in chunks for key in chunk} == set(Category.objects.values_list("pk", flat=True))


def test_the_keys_of_a_slice_are_those_of_the_slice():
    assert all_of(Category.objects.order_by("-name")[1:5]) == list(
        Category.objects.order_by("-name")[1:5].values_list("pk", flat=True)
    )


def test_a_union_of_querysets_in_some_order_has_the_keys_of_all():
    early, late = Category.objects.filter(name__lt="2"), Category.objects.filter(name__gt="6")
    ordered = early.order_by("name").union(late.order_by("-name"))
    assert set(all_of(ordered)) == {each.pk for each in [*early, *late]}
    assert all_of(early.intersection(late)) == []
    assert all_of(early.order_by("name").difference(late)) == [each.pk for each in early]


def test_a_queryset_is_left_as_it_was():
    queryset = Category.objects.order_by("-name").union(Product.objects.order_by("-title"))
    list(keys_of(queryset))
    assert queryset.query.combined_queries[0].order_by == ("-name",)


NAMES_OF_NOTHING = [
    "",
    "x",
    "1.5",
    "9" * 30,
    "9" * 5_000,
    "-" + "9" * 30,
    "a\0b",
    "\ud800",
    None,
    [],
    {},
    1e400,
]


@pytest.mark.parametrize("model", [Category, Artwork, Rerank])
def test_whatever_is_given_as_ids_the_database_takes_the_keys(model):
    keys = keys_from(model, NAMES_OF_NOTHING)
    assert not model.objects.filter(pk__in=keys).exists()


def test_an_id_is_a_key_whether_it_is_text_or_a_value():
    first, second = Category.objects.order_by("pk")[:2]
    assert keys_from(Category, [str(first.pk), *NAMES_OF_NOTHING, second.pk]) == [first.pk, second.pk]
    assert keys_from(Artwork, ["it's", "\0"]) == ["it's"]
