"""What every vector store with full text promises of words; a part of the contract."""

import uuid

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import FilterError
from shopsearch.filters import AnyOf, Range
from shopsearch.types import CollectionSchema
from tests.vector_stores.filter_contract import HOSTILE, SCHEMA, entity, key, numbers_of, unit

SCHEMA_OF_WORDS = CollectionSchema(dimension=8, fields={**SCHEMA.fields, "_words": "words"})


class WordsContract:
    @pytest.fixture
    def words(self, store):
        """A collection with a field of words."""
        if not store.full_text:
            pytest.skip("this store finds by vectors alone")
        name = f"contract_{uuid.uuid4().hex}"
        store.ensure_collection(name, SCHEMA_OF_WORDS)
        yield name
        store.drop_collection(name)

    def test_words_find_what_has_any_of_them_and_the_rare_ones_count_most(self, store, words):
        texts = ["red mug of clay", "red plate", "red cup", "blue mug", "zebra lamp"]
        store.upsert(
            words, [entity(number, **{"_words": text}) for number, text in enumerate(texts, start=1)]
        )
        found = store.search_words(words, "red zebra", vector=unit(1), limit=10)
        assert numbers_of(found)[0] == 5
        assert sorted(numbers_of(found)) == [1, 2, 3, 5]
        assert found[0].words == "zebra lamp"
        assert numbers_of(store.search_words(words, "RED", vector=unit(1), limit=10))[0] in (2, 3)
        assert len(store.search_words(words, "red", vector=unit(1), limit=2)) == 2
        assert store.search_words(words, "giraffe", vector=unit(1), limit=10) == []
        assert store.search_words(words, "", vector=unit(1), limit=10) == []

    def test_what_is_found_by_words_has_its_cosine_for_a_score(self, store, words):
        vectors = np.random.default_rng(3).normal(size=(20, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store.upsert(
            words, [entity(number, vector, _words="mug") for number, vector in enumerate(vectors, start=1)]
        )
        found = store.search_words(words, "mug", vector=vectors[4], limit=20)
        expected = {key(number): float(vector @ vectors[4]) for number, vector in enumerate(vectors, start=1)}
        assert {hit.id: hit.score for hit in found} == pytest.approx(expected, abs=1e-5)
        assert [hit.id for hit in found] == sorted(expected), (
            "what answers alike comes in the order of its ids"
        )
        again = store.search_words(words, "mug", vector=vectors[4], limit=20, known=found[:7])
        assert {hit.id: hit.score for hit in again} == pytest.approx(expected, abs=1e-5)
        assert [hit.id for hit in again] == [hit.id for hit in found]
        refused = store.search_words(
            words, "mug", vector=vectors[4], limit=20, known=found[:7], score_if=lambda words: False
        )
        assert [hit.id for hit in refused] == [hit.id for hit in found]
        assert {hit.score for hit in refused[7:]} <= {-1.0, *expected.values()}
        assert {hit.id: hit.score for hit in refused[:7]} == {hit.id: hit.score for hit in found[:7]}
        by_vector = {hit.id: hit.score for hit in store.search(words, vectors[4], limit=20)}
        assert by_vector == pytest.approx(expected, abs=1e-5)

    def test_what_is_upserted_again_is_found_by_the_new_ones(self, store, words):
        store.upsert(words, [entity(1, unit(1, 2), _words="red mug"), entity(2, _words="red cup")])
        fields = {"category": "mug", "_words": "blue mug"}
        store.upsert(words, [entity(1, unit(1, 2), **fields)])
        assert numbers_of(store.search_words(words, "red", vector=unit(1), limit=10)) == [2]
        [hit] = store.search_words(words, "blue", vector=unit(1, 2), limit=10)
        assert (hit.id, hit.words, hit.score) == (key(1), "blue mug", pytest.approx(1))

    def test_words_respect_filters(self, store, words):
        store.upsert(
            words,
            [entity(number, _words="red mug", price=float(number), category="mug") for number in range(6)],
        )
        found = store.search_words(words, "mug", vector=unit(1), limit=10, filters=Range("price", 2, 4))
        assert sorted(numbers_of(found)) == [2, 3, 4]
        nothing = AnyOf("category", ("plate",))
        assert store.search_words(words, "mug", vector=unit(1), limit=10, filters=nothing) == []
        with pytest.raises(FilterError):
            store.search(words, unit(1), limit=10, filters=AnyOf("_words", ("red mug",)))

    def test_words_that_were_written_last_count(self, store, words):
        store.upsert(words, [entity(1, _words="red mug"), entity(2, _words="red plate"), entity(3)])
        store.upsert(words, [entity(1, _words="blue mug")])
        assert numbers_of(store.search_words(words, "red", vector=unit(1), limit=10)) == [2]
        assert numbers_of(store.search_words(words, "blue", vector=unit(1), limit=10)) == [1]
        store.delete(words, [key(1)])
        assert store.search_words(words, "blue", vector=unit(1), limit=10) == []
        texts = {each.id: each.fields["_words"] for each in store.fetch(words, [key(2), key(3)])}
        assert texts == {key(2): "red plate", key(3): ""}

    @pytest.mark.parametrize("text", [*HOSTILE, "AND OR NOT", "*", "mu*", '"red', "a" * 1_000, "mug~2 ^9"])
    def test_a_text_is_words_and_nothing_in_it_an_operator(self, store, words, text):
        store.upsert(words, [entity(1, _words="plain lamp"), entity(2, _words="zebra")])
        assert store.search_words(words, text, vector=unit(1), limit=10) == []
        found = store.search_words(words, f"{text} zebra", vector=unit(1), limit=10)
        assert numbers_of(found) == [2]

    def test_many_words_are_kept_whole(self, store, words):
        text = " ".join(f"word{number}" for number in range(1_000))[:8_000]
        store.upsert(words, [entity(1, _words=text)])
        assert store.fetch(words, [key(1)])[0].fields["_words"] == text
        assert numbers_of(store.search_words(words, "word700", vector=unit(1), limit=1)) == [1]

    def test_a_collection_without_words_is_another_and_has_nothing_to_find_by_them(
        self, store, collection, words
    ):
        with pytest.raises(ImproperlyConfigured, match="another schema"):
            store.ensure_collection(collection, SCHEMA_OF_WORDS)
        with pytest.raises(ImproperlyConfigured, match="another schema"):
            store.ensure_collection(words, SCHEMA)
        store.upsert(collection, [entity(1)])
        assert store.search_words(collection, "red", vector=unit(1), limit=10) == []
        assert store.search_words("nowhere", "red", vector=unit(1), limit=10) == []
