"""The contract on a real Milvus standalone. Only 2.3.5 can be had from PyPI, which is older than shopsearch asks for.

It differs from the contract in three things. It has no fields without a value, so an entity without one is written
with an empty one here, and it cannot keep the promises about missing values: ``NOT_KEPT``. Its upserts do not go
together with a partition key. And of two entities with one id in one batch it keeps the first, where later versions
keep the last; shopsearch sends no such batch. Otherwise the same contract holds as for Milvus Lite.
"""

from dataclasses import dataclass, replace

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shopsearch.backends import get_vector_store
from shopsearch.checks.indexes import check_indexes
from shopsearch.exceptions import VectorStoreError
from shopsearch.filters import Range, conditions
from shopsearch.vector_stores.milvus.rows import milvus_schema
from shopsearch.vector_stores.milvus.store import MilvusStore
from tests.commands.running import status_json
from tests.shop.pictures import GREEN, RED, product
from tests.shop.store import IMAGES, index_everything, live_name
from tests.vector_stores.contract import SCHEMA, VectorStoreContract, entity, key, unit
from tests.vector_stores.filter_contract import FILTERS, VALUES, hypothesis

pytestmark = pytest.mark.services

EMPTY = {"string": "", "partition": "", "number": 0.0, "boolean": False, "strings": (), "words": ""}
NOT_KEPT = {
    "test_a_field_may_partition_the_collection_and_filters_like_any_other": (
        "an upsert goes to another partition than a search looks in: milvus-io/milvus#30607, mended since"
    ),
    "test_writing_twice_leaves_one_entity_as_it_was_written_last": "a field without a value is read as an empty one",
    "test_what_is_fetched_is_what_was_written": "a field without a value is read as an empty one",
}


@dataclass(kw_only=True, eq=False)
class OldMilvusStore(MilvusStore):
    """MilvusStore on a server without nullable fields. Patient: beside other tests that server needs its time."""

    timeout_seconds: float = 120.0

    def _create(self, collection, schema):
        declared = milvus_schema(schema)
        for field in declared.fields:
            field.nullable = False
        arguments = {"schema": declared, "consistency_level": self.consistency_level}
        self._call("create_collection", collection, **arguments)

    def upsert(self, collection, entities):
        known = self._describe_once(collection)
        empty = {name: EMPTY[kind] for name, kind in known.schema.fields.items()} if known else {}
        held = [
            {name: value for name, value in each.fields.items() if value is not None} for each in entities
        ]
        super().upsert(
            collection,
            [replace(each, fields={**empty, **fields}) for each, fields in zip(entities, held, strict=True)],
        )


@pytest.mark.nightly  # a minute and a half for a version that shopsearch itself refuses
class TestMilvusStandalone(VectorStoreContract):
    @pytest.fixture
    def collection(self, store):
        """One for all, emptied: to make one and load it takes three seconds here."""
        known = store._describe("contract")
        if known is None or known.schema != SCHEMA:  # the first test, or one has changed it
            store.drop_collection("contract")
            store.ensure_collection("contract", SCHEMA)
        store.delete("contract", list(store.ids("contract")))
        return "contract"

    @pytest.fixture
    def store(self, milvus_standalone, request):
        if reason := NOT_KEPT.get(request.function.__name__):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
        store = OldMilvusStore(uri=milvus_standalone.uri, token=milvus_standalone.token, full_text=False)
        yield store
        store.close()

    @hypothesis_settings(hypothesis, max_examples=10)
    @given(
        st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=6),
        st.lists(FILTERS, min_size=1, max_size=5),
    )
    def test_exactly_what_passes_the_filter_is_found(self, store, collection, held, filters):
        """Of entities that have a value in every field, by conditions that ask for one."""
        assume(not any(each == Range(each.field) for every in filters for each in conditions(every)))
        self.finds_exactly_what_passes(store, collection, held, filters)


@pytest.fixture
def store(milvus_standalone):
    store = MilvusStore(uri=milvus_standalone.uri, token=milvus_standalone.token, timeout_seconds=120)
    yield store
    store.close()


def test_a_server_that_is_too_old_is_told_from_one_that_is_away(store):
    with pytest.raises(
        ImproperlyConfigured, match=r"is Milvus v2\.3\.5-lite: shopsearch needs 2\.5 or later"
    ):
        store.ensure_collection("shoes", SCHEMA)
    assert "shoes" not in store.collections()


@pytest.mark.django_db
def test_where_the_server_has_no_full_text_vectors_alone_answer_and_say_so(
    milvus_standalone, settings, monkeypatch, client
):
    for name, value in {"words": ("title",), "identifiers": ("title",), "language": "en"}.items():
        monkeypatch.setattr(type(IMAGES), name, value)
    options = {"uri": milvus_standalone.uri, "token": milvus_standalone.token, "full_text": False}
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "VECTOR_STORE": {
            "BACKEND": "tests.vector_stores.test_milvus_standalone.OldMilvusStore",
            "OPTIONS": options,
        },
        "THROTTLE_RATE": None,
    }
    product(GREEN, title="something green")
    product(RED, title="red mug")
    index_everything()
    try:
        answer = client.get("/api/search/", {"q": "red mug"}).json()
        assert answer["retrieval"] == "vectors"
        assert [each["product"]["title"] for each in answer["results"]] == ["red mug", "something green"]
        assert [message.id for message in check_indexes()] == ["shopsearch.W011"]
        problems = [each["detail"] for each in status_json()[0]["problems"]]
        assert any("Words find nothing: the vector store has no full text." in each for each in problems)
    finally:
        get_vector_store().drop_collection(live_name(IMAGES))


@pytest.mark.parametrize("token", ["", "root:wrong", "nobody:Milvus", "a-key-of-another"])
def test_a_token_that_the_server_refuses_is_told_from_a_server_that_is_away(milvus_standalone, token):
    store = MilvusStore(uri=milvus_standalone.uri, token=token)
    with pytest.raises(VectorStoreError, match="refuses the token: write it as user:password") as caught:
        store.collections()
    assert token == "" or token not in str(caught.value)


def test_the_vector_index_is_hnsw_with_parameters_of_ours(milvus_standalone):
    store = OldMilvusStore(uri=milvus_standalone.uri, token=milvus_standalone.token)
    store.ensure_collection("indexed", SCHEMA)
    found = store._call("describe_index", "indexed", index_name="vector")
    assert (found["index_type"], found["M"], found["efConstruction"]) == ("HNSW", "32", "256")
    store.upsert("indexed", [entity(1)])
    assert [hit.id for hit in store.search("indexed", unit(1), limit=16_384)] == [key(1)]
    store.drop_collection("indexed")
