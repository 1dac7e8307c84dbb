import os
from dataclasses import replace

import pytest
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError
from shopsearch.filters import Range
from shopsearch.types import CollectionSchema
from shopsearch.vector_stores.milvus import indexes
from shopsearch.vector_stores.milvus.connection import Server
from shopsearch.vector_stores.milvus.store import MilvusStore, _Known
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
        def store(self, elsewhere):
            return elsewhere

else:

    @pytest.mark.skip(reason="SHOPSEARCH_TEST_MILVUS_URI names no Milvus server")
    def test_milvus_elsewhere():
        pass


@pytest.fixture
def elsewhere():
    """The Milvus server that the environment names, such as a newer one than can be had from PyPI."""
    if not ELSEWHERE:
        pytest.skip("SHOPSEARCH_TEST_MILVUS_URI names no Milvus server")
    store = MilvusStore(uri=ELSEWHERE, token=os.environ.get("SHOPSEARCH_TEST_MILVUS_TOKEN", ""))
    yield store
    store.close()


@pytest.fixture
def elsewhere_with(elsewhere):
    """A store on that server with these options, and the name of a collection that goes afterwards."""
    names = []

    def make(**options):
        names.append(f"elsewhere_{len(names)}")
        return replace(elsewhere, **options), names[-1]

    yield make
    for name in names:
        elsewhere.drop_collection(name)


# What newer servers alone can do


def needs(store, *version):
    server = store._connection.server()
    if server.is_lite or server.version < version:
        pytest.skip(f"the server is {server.name}, and Milvus {'.'.join(map(str, version))} is needed")


@pytest.mark.services
def test_on_a_server_each_filter_has_its_index(elsewhere_with):
    store, name = elsewhere_with()
    needs(store, 2, 5)
    store.ensure_collection(name, replace(SCHEMA, few_values=frozenset({"category"})))
    found = {
        field: store._call("describe_index", name, index_name=f"f_{field}")["index_type"]
        for field in SCHEMA.fields
    }
    assert found == {"category": "BITMAP", "price": "INVERTED", "in_stock": "BITMAP", "tags": "INVERTED"}


@pytest.mark.services
@pytest.mark.parametrize(
    ("options", "made", "version"),
    [
        ({"expected_entities": 1_000}, "FLAT", (2, 5)),
        ({}, "HNSW", (2, 5)),
        ({"expected_entities": 10**9, "memory_gib": 70}, "IVF_RABITQ", (2, 6)),
        ({"index_type": "HNSW_SQ", "index_params": {"sq_type": "SQ8"}}, "HNSW_SQ", (2, 5)),
    ],
)
def test_on_a_server_the_vector_index_is_the_rules_and_finds(elsewhere_with, options, made, version):
    store, name = elsewhere_with(**options)
    needs(store, *version)
    store.ensure_collection(name, SCHEMA)
    assert store._call("describe_index", name, index_name="vector")["index_type"] == made
    store.upsert(name, [entity(number) for number in range(50)])
    assert len(store.search(name, unit(1), limit=20)) == 20


@pytest.mark.services
def test_on_a_server_a_collection_is_mapped_from_disk_where_that_is_asked_for(elsewhere_with):
    store, name = elsewhere_with(mmap=True)
    needs(store, 2, 5)
    store.ensure_collection(name, SCHEMA)
    assert store._call("describe_collection", name)["properties"]["mmap.enabled"] in ("true", "True", True)


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
        ({"ca_certificate": __file__}, "shopsearch.E013"),
        ({"uri": "https://milvus.example", "ca_certificate": "/no/where.pem"}, "shopsearch.E013"),
        ({"uri": "https://milvus.example", "client_certificate": __file__}, "shopsearch.E013"),
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


# Indexes


@pytest.mark.services
def test_a_collection_from_before_an_index_was_wanted_is_given_it(milvus_lite, monkeypatch):
    MilvusStore(uri=milvus_lite).ensure_collection("older", SCHEMA)
    monkeypatch.setattr(
        indexes, "scalar_indexes", lambda schema, server: {"f_price": "INVERTED", "f_in_stock": "INVERTED"}
    )
    store = MilvusStore(uri=milvus_lite)
    store.ensure_collection("older", SCHEMA)
    assert set(store._call("list_indexes", "older")) == {"vector", "f_price", "f_in_stock"}
    store.upsert("older", [entity(1, price=1.0)])
    assert len(store.search("older", unit(1), limit=9, filters=Range("price", 1, 2))) == 1
    store.drop_collection("older")


@pytest.mark.parametrize(
    ("name", "made"),
    [
        ("milvus_lite-3.2.2", {}),
        ("v2.3.5-lite", {}),
        ("v2.5.12", {"f_a": "INVERTED", "f_b": "BITMAP", "f_c": "BITMAP", "f_d": "INVERTED"}),
        ("2.6.4", {"f_a": "INVERTED", "f_b": "BITMAP", "f_c": "BITMAP", "f_d": "INVERTED"}),
        ("Zilliz Cloud", {"f_a": "INVERTED", "f_b": "BITMAP", "f_c": "BITMAP", "f_d": "INVERTED"}),
    ],
)
def test_a_filter_has_the_index_that_its_type_and_the_server_allow(name, made):
    fields = {"a": "string", "b": "string", "c": "boolean", "d": "number", "_words": "words"}
    schema = CollectionSchema(dimension=8, fields=fields, few_values=frozenset("b"))
    assert indexes.scalar_indexes(schema, Server(name=name)) == made


@pytest.mark.parametrize(
    ("name", "wanted", "made"),
    [
        ("v2.6.4", {}, "HNSW"),
        ("v2.6.4", {"entities": 21_845}, "FLAT"),
        ("v2.6.4", {"entities": 21_846}, "HNSW"),
        ("v2.6.4", {"entities": 10_000_000, "memory_bytes": 50e9}, "HNSW"),
        ("v2.6.4", {"entities": 10_000_000, "memory_bytes": 40e9}, "IVF_RABITQ"),
        ("v2.5.12", {"entities": 10_000_000, "memory_bytes": 40e9}, "HNSW_SQ"),
        ("Zilliz Cloud", {"entities": 10_000_000, "memory_bytes": 40e9}, "HNSW_SQ"),
        ("v2.6.4", {"entities": 10_000_000, "memory_bytes": 10e9}, "DISKANN"),
        ("v2.6.4", {"entities": 10_000_000, "memory_bytes": 50e9, "gpu": True}, "GPU_CAGRA"),
        ("v2.6.4", {"entities": 10_000_000, "memory_bytes": 40e9, "gpu": True}, "IVF_RABITQ"),
        ("milvus_lite-3.2.2", {"entities": 10_000_000, "memory_bytes": 40e9}, "FLAT"),
    ],
)
def test_the_vector_index_is_chosen_by_size_memory_and_server(name, wanted, made):
    assert indexes.choose(Server(name=name), dimension=768, **wanted).type == made


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("v2.6.4", (2, 6, 4)),
        ("2.5-gpu", (2, 5, 0)),
        ("Zilliz Cloud Vector Database(Compatible with Milvus 2.6.1)", (2, 6, 1)),
        ("milvus_lite-3.2.2", ()),
        ("main", ()),
    ],
)
def test_a_servers_version_is_read_from_what_it_calls_itself(name, version):
    assert Server(name=name).version == version


@pytest.mark.parametrize(
    ("index_type", "own", "limit", "params"),
    [
        ("HNSW", {}, 10, {"ef": 256}),
        ("HNSW", {}, 1_000, {"ef": 1_000}),
        ("HNSW", {"ef": 32}, 10, {"ef": 32}),
        ("HNSW", {"ef": 32}, 100, {"ef": 100}),
        ("DISKANN", {}, 1_000, {"search_list": 1_000}),
        ("IVF_RABITQ", {}, 10_000, {"nprobe": 128, "refine_k": 4}),
        ("FLAT", {}, 10, {}),
        ("SCANN", {"nprobe": 8}, 10, {"nprobe": 8}),
        ("", {}, 10, {}),
    ],
)
def test_a_search_has_the_parameters_of_the_index_that_there_is(index_type, own, limit, params):
    assert indexes.search_params(index_type, own, limit) == params


def test_scores_that_are_known_are_not_asked_for_again(monkeypatch):
    store, asked = MilvusStore(), []
    schema = replace(SCHEMA, fields={**SCHEMA.fields, "_words": "words"})
    monkeypatch.setitem(store._known, "shoes", _Known(schema, "FLAT"))
    mugs = {key(number): {"image_id": "", "product_id": "", "f__words": "mug"} for number in (1, 2)}

    def call(verb, collection, **arguments):
        asked.append(arguments["filter"])
        return [[{"id": each, "distance": 0.5, "entity": mugs[each]} for each in mugs]]

    def found(**options):
        asked.clear()
        return store.search_words("shoes", "mug", vector=unit(1), limit=9, **options)

    monkeypatch.setattr(store, "_call", call)
    both = found()
    assert [hit.id in asked[1] for hit in both] == [True, True]
    assert found(known=both[:1]) == both
    assert [hit.id in asked[1] for hit in both] == [False, True]
    assert found(known=both) == both
    assert asked == [""]
    assert [hit.score for hit in found(score_if=lambda words: words != "mug")] == [-1.0, -1.0]
    assert asked == [""]


# Aliases


def test_an_alias_is_not_created_when_the_store_fails_to_move_it(monkeypatch):
    store, called = MilvusStore(), []

    def call(verb, collection="", **arguments):
        called.append(verb)
        if verb == "alter_alias":
            raise VectorStoreError("It takes too long.")
        return {"list_collections": ["shoes"], "list_aliases": {"aliases": ["search"]}}[verb]

    monkeypatch.setattr(store, "_call", call)
    with pytest.raises(VectorStoreError, match="It takes too long"):
        store.point_alias("search", "shoes")
    assert "create_alias" not in called


def test_an_alias_that_another_process_creates_meanwhile_is_moved(monkeypatch):
    store, called, aliases = MilvusStore(), [], []

    def call(verb, collection="", **arguments):
        called.append(verb)
        if verb == "create_alias":
            aliases.append("search")
            raise VectorStoreError("There is such an alias.")
        return {"list_collections": ["shoes"], "list_aliases": {"aliases": aliases}, "alter_alias": None}[
            verb
        ]

    monkeypatch.setattr(store, "_call", call)
    store.point_alias("search", "shoes")
    assert called[-1] == "alter_alias"


# What is passed on


def test_replicas_resource_groups_and_mmap_are_passed_on(monkeypatch):
    store, called = MilvusStore(replicas=2, resource_groups=("shop",), mmap=True), {}
    monkeypatch.setattr(store._connection, "_server", Server(name="v2.6.4"))
    monkeypatch.setattr(store, "_call", lambda verb, *names, **arguments: called.update({verb: arguments}))
    store._create("shoes", SCHEMA)
    store._load("shoes")
    assert called["create_collection"]["properties"] == {"mmap.enabled": True}
    assert called["load_collection"] == {"replica_number": 2, "resource_groups": ["shop"]}


def test_by_default_the_server_decides_on_replicas_and_mapping(monkeypatch):
    store, called = MilvusStore(), {}
    monkeypatch.setattr(store._connection, "_server", Server(name="v2.6.4"))
    monkeypatch.setattr(store, "_call", lambda verb, *names, **arguments: called.update({verb: arguments}))
    store._create("shoes", SCHEMA)
    store._load("shoes")
    assert called["load_collection"] == {}
    assert "properties" not in called["create_collection"]
