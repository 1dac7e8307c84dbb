"""Diversity: of the leading results, those that look like one before them move down."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsearch import conf
from shopsearch.search.diversity import LEADING, diversified
from shopsearch.search.engine import search
from shopsearch.testing import MemoryStore
from shopsearch.types import Hit
from tests.shop.pictures import GREEN, product
from tests.shop.store import index_everything


def hits(count):
    return [Hit(id=str(n), image_id=str(n), product_id=str(n), score=1 - n / 200) for n in range(count)]


@given(st.integers(0, LEADING + 9), st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_it_is_a_permutation_of_the_leading_results_that_keeps_the_first(count, seed, diversity):
    vectors = np.random.default_rng(seed).normal(size=(count, 3))
    known = {str(n): vector / np.linalg.norm(vector) for n, vector in enumerate(vectors) if n % 5}
    ranked = hits(count)
    order = diversified(ranked, known, diversity)
    assert sorted(order, key=ranked.index) == ranked
    assert order[:1] == ranked[:1]
    assert order[LEADING:] == ranked[LEADING:]
    assert order == diversified(ranked, known, diversity)
    assert diversified(ranked, known, 0) == ranked


def test_what_is_unlike_those_before_it_comes_before_their_copies():
    x, y = np.eye(2, dtype=np.float32)
    vectors = {"0": x, "1": x, "2": y, "3": -x, "4": -y}
    assert [hit.id for hit in diversified(hits(5), vectors, 0.2)] == ["0", "2", "3", "4", "1"]


def test_where_all_pictures_are_alike_they_do_not_sink_below_what_has_none():
    alike = np.linalg.cholesky(np.full((4, 4), 0.9) + 0.1 * np.eye(4))
    ranked = hits(12)
    assert diversified(ranked, {str(n): vector for n, vector in enumerate(alike)}, 0.5) == ranked


@pytest.fixture
def shop(db, monkeypatch):
    for number in range(5):
        product((220 - number, 30, 30), title=f"red {number}")
    product(GREEN, title="leaf")
    index_everything()
    return lambda diversity: monkeypatch.setattr(conf.settings, "DIVERSITY", diversity, raising=False)


def titles(**options):
    return [result.product.title for result in search("red", **options).results]


def test_a_page_is_not_filled_with_one_thing_and_pages_are_parts_of_one_list(shop):
    plain = titles()
    assert plain[-1] == "leaf"
    shop(0.5)
    whole = titles()
    assert whole[1] == "leaf"
    assert sorted(whole) == sorted(plain)
    assert titles(limit=2) + titles(limit=2, offset=2) + titles(limit=2, offset=4) == whole


def test_the_vectors_are_fetched_in_one_call_and_only_where_it_is_on(shop, monkeypatch):
    fetched, fetch = [], MemoryStore.fetch
    monkeypatch.setattr(
        MemoryStore, "fetch", lambda self, name, ids: fetched.append(ids) or fetch(self, name, ids)
    )
    titles()
    assert fetched == []
    shop(0.5)
    titles()
    assert len(fetched) == 1
