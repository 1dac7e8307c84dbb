import os
from dataclasses import replace

import pytest
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError
from shopsearch.types import CollectionSchema
from shopsearch.vector_stores.milvus.store import MilvusStore
from tests.vector_stores.contract import SCHEMA, VectorStoreContract, entity, key, unit

ELSEWHERE = os.environ.get("SHOPSEARCH_TEST_MILVUS_URI", "")


@pytest.mark.services
class TestMilvusLite(VectorStoreContract):
    @pytest.fixture
    def store(self, milvus_lite):
        store = MilvusStore(uri=milvus_lite)
        yield store
        store.close()


if ELSEWHERE:

    @pytest.mark.services
    class TestMilvusElsewhere(VectorStoreContract):
        @pytest.fixture
        def store(self):
            store = MilvusStore(uri=ELSEWHERE, token=os.environ.get("SHOPSEARCH_TEST_MILVUS_TOKEN", ""))
            yield store
            store.close()

else:

    @pytest.mark.skip(reason="SHOPSEARCH_TEST_MILVUS_URI names no Milvus server")
    def test_milvus_elsewhere():
        pass


@pytest.mark.services
@pytest.mark.parametrize("verb", ["ids", "count", "fetch", "search", "upsert", "delete", "ensure"])
def test_each_verb_loads_a_collection_that_the_server_does_not_hold_in_memory(milvus_lite, verb):
    store = MilvusStore(uri=milvus_lite)
    store.ensure_collection("released", SCHEMA)
    store.upsert("released", [entity(1)])
    store._call("release_collection", "released")  # as every collection is when Milvus Lite starts
    first = {
        "ids": lambda: list(store.ids("released")) == [key(1)],
        "count": lambda: store.count("released") == 1,
        "fetch": lambda: store.fetch("released", [key(1)])[0].id == key(1),
        "search": lambda: store.search("released", unit(1), limit=1)[0].id == key(1),
        "upsert": lambda: store.upsert("released", [entity(1)]) is None,
        "delete": lambda: store.delete("released", [key(9)]) is None,
        "ensure": lambda: store.ensure_collection("released", SCHEMA) is None,
    }
    assert first[verb]()
    assert store.count("released") == 1
    store.drop_collection("released")


# Options


@pytest.mark.parametrize(
    "uri", ["./milvus.db", "/var/lib/shop/milvus.db", "http://here/milvus.db", "", "milvus:19530"]
)
def test_a_file_is_no_address_as_two_processes_cannot_share_it(uri, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = MilvusStore(uri=uri)
    [problem] = store.check()
    assert problem.id == "shopsearch.E010"
    assert "shopsearch_milvus_lite" in problem.hint
    with pytest.raises(ImproperlyConfigured, match="not a server's address"):
        store.count("shoes")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"timeout_seconds": 0}, "shopsearch.E011"),
        ({"consistency_level": "session"}, "shopsearch.E012"),
        ({"uri": "http://milvus.example:19530", "token": "secret"}, "shopsearch.W010"),
        ({"uri": "http://root:secret@milvus.example:19530"}, "shopsearch.W010"),
    ],
)
def test_check_finds_the_mistake_and_its_hint_mends_it(options, problem):
    [message] = MilvusStore(**options).check()
    assert message.id == problem
    assert message.hint
    assert "secret" not in str(message)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"uri": "https://cluster.example", "token": "secret", "database": "shop"},
        {"uri": "unix:/run/milvus.sock"},
        {"uri": "http://localhost:19530", "token": "root:Milvus"},
    ],
)
def test_check_is_content_with_what_works(options):
    assert MilvusStore(**options).check() == []


def test_a_store_does_not_show_its_token():
    assert "secret" not in repr(MilvusStore(token="secret"))
    assert "secret" not in repr(MilvusStore(token="secret")._connection)


@pytest.mark.services
def test_what_the_server_refuses_is_told_with_its_reason(milvus_lite):
    store = MilvusStore(uri=milvus_lite)
    store.ensure_collection("refused", SCHEMA)
    with pytest.raises(VectorStoreError, match="The vector store refused: ") as caught:
        store._call("query", "refused", filter="this is no filter", output_fields=["id"])
    assert caught.value.__cause__ is not None


@pytest.mark.services
@pytest.mark.parametrize(("given", "made"), [("", "FLAT"), ("HNSW", "HNSW")])
def test_the_vector_index_is_the_one_asked_for_and_exact_on_lite_otherwise(milvus_lite, given, made):
    store = MilvusStore(uri=milvus_lite, index_type=given)
    store.ensure_collection("indexed", SCHEMA)
    assert store._call("describe_index", "indexed", index_name="vector")["index_type"] == made
    store.drop_collection("indexed")


@pytest.mark.services
def test_a_filter_that_milvus_cannot_name_is_the_projects_mistake(milvus_lite):
    schema = CollectionSchema(dimension=2, fields={"año": "number"})
    with pytest.raises(ImproperlyConfigured, match="año"):
        MilvusStore(uri=milvus_lite).ensure_collection("named", schema)


@pytest.mark.services
def test_a_filter_may_be_called_as_a_field_of_ours(milvus_lite):
    store = MilvusStore(uri=milvus_lite)
    store.ensure_collection(
        "clash", CollectionSchema(dimension=8, fields={"id": "string", "vector": "number"})
    )
    store.upsert("clash", [replace(entity(1), fields={"id": "x", "vector": 1.0})])
    assert store.fetch("clash", [key(1)])[0].fields == {"id": "x", "vector": 1.0}
    store.drop_collection("clash")
