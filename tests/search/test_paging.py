"""Pages of a search: one result per product, and pages of any size are parts of one list."""

import math
import os
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from django.db.models.signals import post_init
from hypothesis import HealthCheck, example, given, note, settings
from hypothesis import strategies as st
from PIL import Image

from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import collections
from shopsearch.models import Collection, ProductImage
from shopsearch.registry import index_for
from shopsearch.search import retrieval
from shopsearch.search.engine import search
from shopsearch.testing import MemoryStore
from shopsearch.types import Entity, Query
from tests.shop.models import Product

pytestmark = pytest.mark.django_db

INDEX = index_for(ProductImage)
RED = Image.new("RGB", (16, 16), (220, 30, 30))
MORE = int(os.environ.get("SHOPSEARCH_PAGING_EXAMPLES", "1"))
"""So many times as many examples."""


@dataclass(frozen=True)
class Shown:
    """A product: how alike each of its pictures is, in tenths, and what the shop shows of them."""

    likeness: tuple[int, ...]
    is_published: bool = True
    gone: int = 0
    """So many pictures, the most alike ones, were deleted a moment ago: the store has them still."""

    @property
    def best(self):
        """None where the shop shows nothing of it."""
        held = sorted(self.likeness, reverse=True)[self.gone :]
        return held[0] if held and self.is_published else None


def shops(counts, most):
    """Products with skewed numbers of pictures, many of them exactly as alike as others."""
    likeness = st.sampled_from(counts).flatmap(
        lambda count: st.lists(st.integers(1, 9), min_size=1, max_size=3).map(
            lambda few: tuple((few * math.ceil(count / len(few)))[:count])
        )
    )
    published = st.sampled_from([True, True, True, False])
    return st.lists(st.builds(Shown, likeness, published, st.sampled_from([0, 0, 0, 1, 7])), max_size=most)


def stock(shown):
    """The shop has these products, and the live collection their pictures. Gives the products' keys."""
    for model in (ProductImage, Product):
        model.objects.all()._raw_delete("default")
    collection, store = (
        Collection.objects.of(INDEX).live().first() or collections.begin_live(INDEX, "default"),
        get_vector_store(),
    )
    store.delete(collection.name, list(store.ids(collection.name)))
    products = Product.objects.bulk_create(
        Product(title=str(number), published=each.is_published) for number, each in enumerate(shown)
    )
    images = ProductImage.objects.bulk_create(
        ProductImage(product=product, image="a.png")
        for product, each in zip(products, shown, strict=True)
        for _ in each.likeness
    )
    [wanted] = get_embedder().embed([Query(image=RED)])
    aside = np.roll(wanted, 1)
    aside -= aside @ wanted * wanted
    aside /= np.linalg.norm(aside)
    vectors = {tenths: tenths / 10 * wanted + math.sqrt(1 - tenths**2 / 100) * aside for tenths in range(10)}
    likeness = [tenths for each in shown for tenths in sorted(each.likeness, reverse=True)]
    store.upsert(
        collection.name,
        [
            Entity(
                id=INDEX.entity_id(image.pk),
                image_id=str(image.pk),
                product_id=str(image.product_id),
                vector=vectors[tenths],
                fields={},
            )
            for image, tenths in zip(images, likeness, strict=True)
        ],
    )
    gone, start = [], 0
    for each in shown:
        gone += [image.pk for image in images[start : start + each.gone][: len(each.likeness)]]
        start += len(each.likeness)
    ProductImage.objects.filter(pk__in=gone)._raw_delete("default")
    return [product.pk for product in products]


def pages_of(sizes):
    """What a shopper sees who goes on from page to page until there is none."""
    seen, offset = [], 0
    for size in sizes:
        page = search(image=RED, limit=size, offset=offset)
        assert [each.rank for each in page.results] == list(range(offset + 1, offset + 1 + len(page.results)))
        seen += [each.product.pk for each in page.results]
        offset += size
        if not page.has_next:
            return seen
    raise AssertionError("There is always a next page.")


def are_parts_of_one_list(shown, sizes):
    keys = stock(shown)
    note(f"{[(len(each.likeness), each.best) for each in shown]}")
    whole = [each.product.pk for each in search(image=RED, limit=1_000).results]
    best = {key: each.best for key, each in zip(keys, shown, strict=True) if each.best is not None}
    assert sorted(whole) == sorted(best)
    assert [best[key] for key in whole] == sorted(best.values(), reverse=True)
    assert pages_of([*sizes, *[7] * 40]) == whole


def hypothesis(examples):
    return settings(max_examples=examples * MORE, suppress_health_check=list(HealthCheck), print_blob=True)


SIZES = st.lists(st.integers(1, 100), max_size=10)
CROWD = [Shown((9,) * 400), Shown((8, 1)), Shown((9,)), *[Shown((5,))] * 30, Shown((9,) * 400, gone=7)]


@pytest.fixture
def large_pages(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_PAGE_SIZE": 1_000}
    return settings


def test_pages_of_any_size_are_parts_of_one_list_in_memory(large_pages):
    @hypothesis(12)
    @given(shops([1, 1, 1, 2, 3, 10, 60, 150, 400], 30), SIZES)
    @example(CROWD, [1, 2, 24])
    @example([Shown((5,))] * 150, [1, 10, 100])
    def check(shown, sizes):
        are_parts_of_one_list(shown, sizes)

    check()


@pytest.mark.services
def test_pages_of_any_size_are_parts_of_one_list_on_milvus_lite(large_pages, milvus_lite):
    large_pages.SHOPSEARCH = {
        **large_pages.SHOPSEARCH,
        "VECTOR_STORE": {
            "BACKEND": "shopsearch.vector_stores.milvus.MilvusStore",
            "OPTIONS": {"uri": milvus_lite},
        },
        "COLLECTION_PREFIX": "paging",
    }

    @hypothesis(3)
    @given(shops([1, 1, 2, 5, 40, 150], 15), SIZES)
    @example(CROWD, [1, 2, 24])
    def check(shown, sizes):
        are_parts_of_one_list(shown, sizes)

    check()


# Limits


def searches(monkeypatch):
    """How many hits each search asked for."""
    asked, find = [], MemoryStore.search

    def counted(self, collection, vector, *, limit, **rest):
        asked.append(limit)
        return find(self, collection, vector, limit=limit, **rest)

    monkeypatch.setattr(MemoryStore, "search", counted)
    return asked


def test_where_products_have_few_pictures_one_call_of_the_store_is_enough(monkeypatch):
    stock([Shown((number % 9 + 1,) * 3) for number in range(100)])
    asked = searches(monkeypatch)
    assert len(search(image=RED, limit=24).results) == 24
    assert asked == [128]


def test_more_hits_are_asked_for_while_they_are_of_too_few_products(monkeypatch):
    stock([Shown((9,) * 700), *[Shown((5,))] * 30])
    asked = searches(monkeypatch)
    assert len(search(image=RED, limit=24).results) == 24
    assert asked == [128, 512, 2_048]


def test_what_is_behind_the_most_hits_that_a_store_gives_is_not_reached_and_the_answer_says_it_ends(
    monkeypatch,
):
    monkeypatch.setattr(retrieval, "MAX_HITS", 600)
    keys = stock([Shown((9,) * 650), *[Shown((5,))] * 30])
    asked = searches(monkeypatch)
    page = search(image=RED, limit=24)
    assert [each.product.pk for each in page.results] == keys[:1]
    assert (page.has_next, asked) == (False, [128, 512, 600])


def test_a_page_asks_the_database_for_no_more_rows_than_it_needs(django_assert_max_num_queries):
    stock([Shown((9,))] * 60)
    search(image=RED)
    with django_assert_max_num_queries(3):
        search(image=RED, limit=5, offset=20)


def test_only_the_images_of_the_page_are_built_as_rows_and_their_products_with_them():
    stock([Shown((9,))] * 60)
    built = []

    def count(sender, **kwargs):
        built.append(sender._meta.model_name)

    post_init.connect(count)
    try:
        assert len(search(image=RED, limit=5, offset=20).results) == 5
    finally:
        post_init.disconnect(count)
    assert Counter(built)["productimage"] == Counter(built)["product"] == 5
