"""A query that was embedded before needs no model: neither here nor in a worker."""

import logging

import numpy as np
import pytest
from django.core.cache import cache
from django.core.cache.backends.locmem import LocMemCache
from PIL import Image

from shopsearch.backends import get_embedder, get_query_embedder
from shopsearch.embedders.cached import CachedEmbedder
from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from shopsearch.search.engine import search
from shopsearch.testing import ColourEmbedder
from shopsearch.types import Query
from tests.embedders.contract import EmbedderContract, mixed_queries, picture


@pytest.fixture(autouse=True)
def _an_empty_cache():
    cache.clear()


@pytest.fixture
def cached():
    return CachedEmbedder(embedder=ColourEmbedder(), seconds=60)


class TestCachedEmbedder(EmbedderContract):
    backend = "shopsearch.embedders.cached.CachedEmbedder"

    @classmethod
    def build(cls):
        return CachedEmbedder(embedder=ColourEmbedder(), seconds=60)

    def test_its_space_and_dimension_are_known_without_loading_a_model(self, embedder):
        """They are the other embedder's."""
        assert (embedder.space, embedder.dimension) == ("colour", ColourEmbedder().dimension)


def test_the_same_words_the_same_picture_and_the_same_pair_are_embedded_once(cached):
    queries = [
        Query(text="red mug"),
        Query(image=picture(1)),
        Query(text="red mug", image=picture(1)),
        Query(image=picture(2)),
    ]
    first = cached.embed(queries)
    assert cached.embedder.embedded == 4
    np.testing.assert_array_equal(cached.embed([*reversed(queries)]), first[::-1])
    assert cached.embedder.embedded == 4


def test_one_query_twice_in_a_batch_is_embedded_once(cached):
    first, second = cached.embed([Query(text="red"), Query(text="red")])
    np.testing.assert_array_equal(first, second)
    assert cached.embedder.embedded == 1


def test_another_shape_of_the_same_pixels_is_another_picture(cached):
    pixels = picture(1, (40, 20)).tobytes()
    cached.embed([Query(image=Image.frombytes("RGB", size, pixels)) for size in ((40, 20), (20, 40))])
    assert cached.embedder.embedded == 2


def test_the_vectors_of_another_space_are_not_taken(cached):
    cached.embed([Query(text="red")])
    other = CachedEmbedder(embedder=ColourEmbedder(space="another"), seconds=60)
    other.embed([Query(text="red")])
    assert other.embedder.embedded == 1


def test_only_vectors_and_digests_are_kept(cached):
    cached.embed([Query(text="a secret wish", image=picture(1))])
    [(key, value)] = [
        (key, cache.get(key.split(":", 2)[2])) for key in cache._cache if "shopsearch:query" in key
    ]
    assert "secret" not in key
    assert (type(value), len(value)) == (bytes, 4 * cached.dimension)


@pytest.mark.parametrize(
    "held",
    [b"", b"short", "text", None, {}, np.full(96, np.nan, "<f4").tobytes()],
    ids=lambda held: repr(held)[:12],
)
def test_what_is_no_vector_of_this_model_is_embedded_anew(cached, monkeypatch, held):
    [expected] = cached.embed([Query(text="red")])
    monkeypatch.setattr(LocMemCache, "get_many", lambda self, keys: dict.fromkeys(keys, held))
    np.testing.assert_array_equal(cached.embed([Query(text="red")]), [expected])
    assert cached.embedder.embedded == 2


def test_a_broken_cache_fails_no_query_and_is_said_once(cached, monkeypatch, caplog):
    def away(*arguments, **options):
        raise ConnectionError("the cache is away")

    monkeypatch.setattr(LocMemCache, "get_many", away)
    monkeypatch.setattr(LocMemCache, "set_many", away)
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert cached.embed(mixed_queries(3)).shape == (3, 96)
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.django_db
def test_a_search_for_the_same_words_calls_the_model_once(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    search("red"), search(" red "), search("red", offset=24)
    assert get_embedder().embedded == 1
    search("blue")
    assert get_embedder().embedded == 2


@pytest.mark.django_db
def test_without_seconds_there_is_no_cache(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "QUERY_CACHE_SECONDS": 0}
    search("red"), search("red")
    assert get_embedder().embedded == 2
    assert get_query_embedder() is get_embedder()


def test_a_reduced_picture_has_the_very_vector_of_the_whole():
    embedder = VisualizedBGE()
    edge = embedder.folder.preprocessing.size
    for size in ((640, 480), (90, 2000), (8000, 100), (30, 20), (edge, edge)):
        whole = picture(5, size)
        small = embedder.reduced(whole)
        assert small.size == (edge, edge)
        np.testing.assert_array_equal(
            embedder.folder.preprocessing(small), embedder.folder.preprocessing(whole)
        )
