"""What every vector store promises: a backend's test subclasses VectorStoreContract and gives a ``store``."""

import itertools
import math
import threading
import uuid

import numpy as np
import pytest
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError
from shopsearch.filters import AnyOf
from shopsearch.types import CollectionSchema
from tests.vector_stores.filter_contract import SCHEMA, FilterContract, entity, key, numbers_of, unit
from tests.vector_stores.words_contract import WordsContract

__all__ = ["SCHEMA", "VectorStoreContract", "entity", "key", "unit"]


class VectorStoreContract(FilterContract, WordsContract):
    @pytest.fixture
    def store(self):
        raise NotImplementedError

    @pytest.fixture
    def collection(self, store):
        name = f"contract_{uuid.uuid4().hex}"
        store.ensure_collection(name, SCHEMA)
        yield name
        store.drop_collection(name)

    # Collections

    def test_ensuring_a_collection_again_keeps_its_entities(self, store, collection):
        store.upsert(collection, [entity(1)])
        store.ensure_collection(collection, SCHEMA)
        assert store.count(collection) == 1
        assert collection in store.collections()

    @pytest.mark.parametrize(
        "other",
        [
            CollectionSchema(dimension=9, fields=SCHEMA.fields),
            CollectionSchema(dimension=8, fields={**SCHEMA.fields, "price": "string"}),
            CollectionSchema(dimension=8, fields={**SCHEMA.fields, "colour": "string"}),
            CollectionSchema(dimension=8),
        ],
    )
    def test_ensuring_a_collection_with_another_schema_is_the_projects_mistake(
        self, store, collection, other
    ):
        with pytest.raises(ImproperlyConfigured, match="another schema"):
            store.ensure_collection(collection, other)

    def test_a_dropped_collection_is_gone_and_may_return_with_another_schema(self, store, collection):
        store.upsert(collection, [entity(1)])
        store.drop_collection(collection)
        store.drop_collection(collection)
        assert collection not in store.collections()
        store.ensure_collection(collection, CollectionSchema(dimension=3))
        assert store.count(collection) == 0
        assert store.search(collection, np.ones(3, np.float32), limit=1) == []

    def test_a_collection_that_does_not_exist_reads_as_an_empty_one(self, store):
        assert store.search("nowhere", unit(1), limit=3) == []
        assert store.fetch("nowhere", [key(1)]) == []
        assert list(store.ids("nowhere")) == []
        assert store.count("nowhere") == 0
        store.delete("nowhere", [key(1)])

    def test_writing_to_a_collection_that_does_not_exist_fails(self, store):
        with pytest.raises(VectorStoreError):
            store.upsert("nowhere", [entity(1)])

    @pytest.mark.parametrize("name", ["", "a b", "a-b", 'x"', "ñ", "../x", "a" * 256])
    def test_a_name_that_is_not_letters_digits_and_underscores_is_refused(self, store, name):
        with pytest.raises(ValueError, match="collection's name"):
            store.ensure_collection(name, SCHEMA)

    # Aliases

    def test_an_alias_names_a_collection_and_then_another(self, store, collection):
        store.upsert(collection, [entity(1)])
        alias, other = f"{collection}_alias", f"{collection}_other"
        store.ensure_collection(other, SCHEMA)
        try:
            for _ in range(2):
                store.point_alias(alias, collection)
            assert store.count(alias) == 1
            assert numbers_of(store.search(alias, unit(1), limit=10)) == [1]
            assert alias not in store.collections()
            store.point_alias(alias, other)
            assert store.count(alias) == 0
            assert store.count(collection) == 1
        finally:
            store.drop_collection(other)

    def test_a_dropped_collection_takes_its_alias_along_and_an_alias_is_no_name_to_drop(
        self, store, collection
    ):
        alias, other = f"{collection}_alias", f"{collection}_other"
        store.ensure_collection(other, SCHEMA)
        store.point_alias(alias, other)
        store.drop_collection(alias)
        assert other in store.collections()
        store.drop_collection(other)
        assert store.count(alias) == 0
        store.point_alias(alias, collection)
        assert store.count(alias) == 0

    def test_an_alias_of_a_collection_that_does_not_exist_is_refused(self, store):
        with pytest.raises(VectorStoreError):
            store.point_alias("nobody", "nowhere")

    # Writing

    def test_writing_twice_leaves_one_entity_as_it_was_written_last(self, store, collection):
        store.upsert(collection, [entity(1, category="mug", price=1.0)])
        store.upsert(collection, [entity(1, unit(0, 1), category="plate", product="moved")])
        assert store.count(collection) == 1
        [hit] = store.search(collection, unit(0, 1), limit=10)
        assert (hit.product_id, hit.score) == ("moved", pytest.approx(1))
        [found] = store.fetch(collection, [key(1)])
        assert found.fields == {"category": "plate", "price": None, "in_stock": None, "tags": None}

    def test_writing_nothing_is_no_mistake(self, store, collection):
        store.upsert(collection, [])
        store.delete(collection, [])
        assert store.fetch(collection, []) == []
        assert store.count(collection) == 0

    def test_deleting_leaves_the_others_and_may_be_repeated(self, store, collection):
        store.upsert(collection, [entity(1), entity(2), entity(3)])
        for _ in range(2):
            store.delete(collection, [key(2), key(2), key(99)])
        assert set(store.ids(collection)) == {key(1), key(3)}
        assert numbers_of(store.search(collection, unit(1), limit=10)).count(2) == 0

    def test_a_deleted_entity_may_return(self, store, collection):
        store.upsert(collection, [entity(1)])
        store.delete(collection, [key(1)])
        store.upsert(collection, [entity(1)])
        assert store.count(collection) == 1

    @pytest.mark.parametrize("numbers", [[1.0] * 7, [1.0] * 9, [], [math.nan] * 8, [math.inf] + [0.0] * 7])
    def test_a_vector_that_does_not_fit_is_refused_and_nothing_is_written(self, store, collection, numbers):
        vector = np.array(numbers, np.float32)
        with pytest.raises(ValueError, match="vector"):
            store.upsert(collection, [entity(1), entity(2, vector)])
        with pytest.raises(ValueError, match="vector"):
            store.search(collection, vector, limit=1)
        assert store.count(collection) == 0

    def test_two_entities_with_one_id_are_refused(self, store, collection):
        with pytest.raises(ValueError, match="same id"):
            store.upsert(collection, [entity(1), entity(1)])

    def test_a_field_that_is_not_declared_is_refused(self, store, collection):
        with pytest.raises(ValueError, match="no field colour"):
            store.upsert(collection, [entity(1, colour="red")])

    @pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan, "inf"])
    def test_a_number_that_is_not_finite_is_refused_and_nothing_is_written(self, store, collection, number):
        with pytest.raises(ValueError, match="finite"):
            store.upsert(collection, [entity(1), entity(2, price=number)])
        assert store.count(collection) == 0

    @pytest.mark.parametrize(
        "wrong", ["", "1", "G" * 32, key(1).upper() + "A", f'{key(1)}"', '" or id != "', key(1) + "\n"]
    )
    def test_what_is_not_an_id_is_refused(self, store, collection, wrong):
        store.upsert(collection, [entity(1)])
        for verb in (store.delete, store.fetch):
            with pytest.raises(ValueError, match="not an entity's id"):
                verb(collection, [wrong])
        assert store.count(collection) == 1

    # Partitions

    def test_a_field_may_partition_the_collection_and_filters_like_any_other(self, store):
        schema = CollectionSchema(dimension=8, fields={"site": "partition", "price": "number"})
        name = f"contract_{uuid.uuid4().hex}"
        store.ensure_collection(name, schema)
        store.ensure_collection(name, schema)
        try:
            store.upsert(name, [entity(number, site=f"site {number % 3}", price=1.0) for number in range(9)])
            store.upsert(name, [entity(9, price=1.0), entity(0, site="site 1", price=1.0)])

            def found(*sites):
                return set(numbers_of(store.search(name, unit(1), limit=99, filters=AnyOf("site", sites))))

            assert found("site 0") == {3, 6}
            assert found("site 1", "site 2") == {0, 1, 2, 4, 5, 7, 8}
            assert found("") == {9}
            assert found("elsewhere") == set()
            assert len(store.search(name, unit(1), limit=99)) == store.count(name) == 10
            assert {each.fields["site"] for each in store.fetch(name, [key(0), key(9)])} == {"site 1", ""}
            store.delete(name, [key(3), key(9)])
            assert set(store.ids(name)) == {key(number) for number in (0, 1, 2, 4, 5, 6, 7, 8)}
            with pytest.raises(ImproperlyConfigured, match="another schema"):
                store.ensure_collection(
                    name, CollectionSchema(dimension=8, fields={**schema.fields, "site": "string"})
                )
        finally:
            store.drop_collection(name)

    # Reading

    def test_what_is_fetched_is_what_was_written(self, store, collection):
        vector = np.random.default_rng(1).normal(size=8).astype(np.float32)
        vector /= np.linalg.norm(vector)
        fields = {
            "category": 'o\'neil "mug" \\ é🦓',
            "price": 19.99,
            "in_stock": False,
            "tags": ("new", "", "é"),
        }
        store.upsert(collection, [entity(1, vector, **fields), entity(2, tags=())])
        found = {each.id: each for each in store.fetch(collection, [key(1), key(2), key(3), key(1)])}
        assert set(found) == {key(1), key(2)}
        first = found[key(1)]
        assert (first.image_id, first.product_id) == ("image 1", "product 1")
        assert np.abs(first.vector - vector).max() < 1e-6
        assert first.vector.dtype == np.float32
        assert first.fields == fields
        assert [type(value) for value in first.fields.values()] == [str, float, bool, tuple]
        assert found[key(2)].fields == {"category": None, "price": None, "in_stock": None, "tags": ()}

    def test_what_the_caller_does_to_a_vector_later_does_not_reach_the_store(self, store, collection):
        vector = unit(1)
        store.upsert(collection, [entity(1, vector)])
        vector[:] = 0
        store.fetch(collection, [key(1)])[0].vector[:] = 0
        assert store.fetch(collection, [key(1)])[0].vector[0] == pytest.approx(1)

    def test_every_id_comes_once_however_many_there_are(self, store, collection):
        expected = {key(number) for number in range(2_500)}
        for start in range(0, 2_500, 500):
            store.upsert(collection, [entity(number) for number in range(start, start + 500)])
        found = list(store.ids(collection))
        assert len(found) == store.count(collection) == 2_500
        assert set(found) == expected
        assert len(store.fetch(collection, sorted(expected))) == 2_500

    def test_search_gives_the_nearest_first_with_their_cosines(self, store, collection):
        vectors = np.random.default_rng(2).normal(size=(300, 8)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        store.upsert(collection, [entity(number, vector) for number, vector in enumerate(vectors)])
        wanted = vectors[7]
        hits = store.search(collection, wanted, limit=20)
        cosines = vectors @ wanted
        assert numbers_of(hits) == list(np.argsort(-cosines)[:20])
        assert [hit.score for hit in hits] == pytest.approx(sorted(cosines)[::-1][:20], abs=1e-5)
        assert (hits[0].image_id, hits[0].product_id) == ("image 7", "product 7")
        assert all(-1 <= hit.score <= 1 for hit in hits)

    def test_the_limit_is_the_most_and_lies_within_bounds(self, store, collection):
        store.upsert(collection, [entity(number) for number in range(5)])
        assert len(store.search(collection, unit(1), limit=2)) == 2
        assert len(store.search(collection, unit(1), limit=16_384)) == 5
        for limit in (0, -1, 16_385):
            with pytest.raises(ValueError, match="limit"):
                store.search(collection, unit(1), limit=limit)

    # Threads

    def test_threads_that_write_at_once_lose_nothing(self, store, collection):
        failures = []

        def write(first):
            try:
                for start in range(first, first + 100, 10):
                    store.upsert(collection, [entity(number) for number in range(start, start + 10)])
                    assert len(store.fetch(collection, [key(start)])) == 1
            except Exception as error:
                failures.append(error)

        threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failures
        assert sorted(store.ids(collection)) == [key(number) for number in range(400)]
        pairs = itertools.pairwise(store.search(collection, unit(1), limit=400))
        assert all(before.score >= after.score for before, after in pairs)
