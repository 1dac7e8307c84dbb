"""What every embedder promises. A backend's own test subclasses EmbedderContract and names the backend."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from django.utils.module_loading import import_string
from PIL import Image

from shopsearch.embedders.base import Embedder
from shopsearch.types import Query

LOOKS_WITHOUT_LOADING = """
import json, sys
from django.conf import settings
settings.configure()
from django.utils.module_loading import import_string
embedder = import_string(sys.argv[1])(**json.loads(sys.argv[2]))
assert embedder.check() == [], embedder.check()
loaded = {"torch", "transformers", "FlagEmbedding"} & set(sys.modules)
assert not loaded, loaded
print(embedder.space, embedder.dimension)
loaded = {"torch", "transformers", "FlagEmbedding"} & set(sys.modules)
assert not loaded, loaded
"""

WORDS = ("red mug", "a phone case with this", "cojín de lunares", "zzz qqq", "the same but in blue", "?")


def picture(seed: int, size: tuple[int, int] = (90, 70)) -> Image.Image:
    """A picture of a few coloured areas, another for each seed."""
    colours = np.random.default_rng(seed).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize(size, Image.Resampling.NEAREST)


def mixed_queries(count: int) -> list[Query]:
    """Texts of several lengths, pictures and pairs, taking turns."""
    queries = []
    for number in range(count):
        words = " ".join(WORDS[(number + step) % len(WORDS)] for step in range(1 + number % 3))
        kind = number % 3
        queries.append(Query(text="" if kind == 1 else words, image=None if kind == 0 else picture(number)))
    return queries


class EmbedderContract:
    backend: str
    """The embedder's dotted path."""

    options: Mapping[str, Any] = {}
    """Its OPTIONS."""

    @pytest.fixture(scope="class")
    @classmethod
    def embedder(cls) -> Embedder:
        """One for all tests, as there is one in a process."""
        return cls.build()

    @pytest.fixture
    def fresh_embedder(self) -> Embedder:
        return self.build()

    @classmethod
    def build(cls) -> Embedder:
        embedder: Embedder = import_string(cls.backend)(**cls.options)
        return embedder

    def test_it_is_an_embedder(self, embedder):
        assert isinstance(embedder, Embedder)
        assert embedder.batch_size >= 1

    def test_its_space_and_dimension_are_known_without_loading_a_model(self, embedder):
        command = [sys.executable, "-c", LOOKS_WITHOUT_LOADING, self.backend, json.dumps(dict(self.options))]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [embedder.space, str(embedder.dimension)]

    def test_its_space_can_be_part_of_a_collections_name(self, embedder):
        assert re.fullmatch(r"[a-z0-9_]{1,64}", embedder.space)

    def test_vectors_are_unit_length_float32_one_per_query(self, embedder):
        vectors = embedder.embed(mixed_queries(9))
        assert vectors.shape == (9, embedder.dimension)
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_no_queries_give_no_vectors(self, embedder):
        vectors = embedder.embed([])
        assert vectors.shape == (0, embedder.dimension)
        assert vectors.dtype == np.float32

    def test_a_mixed_batch_gives_what_each_query_gives_alone_in_the_same_order(self, embedder):
        queries = mixed_queries(32)
        together = embedder.embed(queries)
        alone = np.concatenate([embedder.embed([query]) for query in queries])
        np.testing.assert_allclose(together, alone, atol=1e-5)

    def test_more_queries_than_a_batch_are_answered_in_order(self, embedder):
        few = mixed_queries(6)
        count = embedder.batch_size + 7
        many = [few[number % len(few)] for number in range(count)]
        expected = embedder.embed(few)[np.arange(count) % len(few)]
        np.testing.assert_allclose(embedder.embed(many), expected, atol=1e-5)

    def test_the_same_input_twice_gives_the_same_vector(self, embedder):
        queries = mixed_queries(3)
        np.testing.assert_array_equal(embedder.embed(queries), embedder.embed(queries))

    def test_two_instances_of_equal_options_share_a_space_and_its_vectors(self, embedder, fresh_embedder):
        queries = mixed_queries(3)
        assert fresh_embedder.space == embedder.space
        np.testing.assert_allclose(fresh_embedder.embed(queries), embedder.embed(queries), atol=1e-5)

    def test_words_pictures_and_both_are_told_apart(self, embedder):
        red = Image.new("RGB", (64, 64), "red")
        vectors = embedder.embed(
            [Query(text="blue"), Query(image=red), Query(text="blue", image=red), Query(image=picture(1))]
        )
        cosines = vectors @ vectors.T
        assert (cosines[np.triu_indices(4, 1)] < 1 - 1e-4).all()

    def test_a_picture_is_not_changed_by_being_embedded(self, embedder):
        image = picture(3)
        before = image.tobytes()
        embedder.embed([Query(image=image)])
        assert (image.size, image.mode, image.tobytes()) == ((90, 70), "RGB", before)

    @pytest.mark.parametrize("with_picture", [False, True], ids=["alone", "beside a picture"])
    def test_a_text_of_thousands_of_words_is_truncated(self, embedder, with_picture):
        image = picture(1) if with_picture else None
        vectors = embedder.embed(
            [Query(text="striped mug " * 1_000, image=image), Query(text="mug", image=image)]
        )
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    @pytest.mark.parametrize("size", [(1, 1), (8000, 100), (100, 8000), (1, 5000), (3, 2)], ids=str)
    def test_a_picture_of_any_shape_has_a_vector(self, embedder, size):
        vectors = embedder.embed([Query(image=picture(2, size)), Query(text="mug", image=picture(2, size))])
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    def test_threads_may_use_it_at_once_from_the_first_moment_on(self, embedder, fresh_embedder):
        queries = mixed_queries(6)
        expected = embedder.embed(queries)
        together = Barrier(6)

        def embed_when_all_are_ready(number: int) -> Any:
            together.wait(timeout=30)
            return fresh_embedder.embed(queries[number:] + queries[:number])

        with ThreadPoolExecutor(6) as threads:
            for number, vectors in enumerate(threads.map(embed_when_all_are_ready, range(6))):
                np.testing.assert_allclose(vectors, np.roll(expected, -number, axis=0), atol=1e-5)
