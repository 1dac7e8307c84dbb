"""The contract on milvus-lite 2.5.1, whose core is Milvus 2.5's own C++ code: full text above all.

It lacks what a server has around the core: aliases, fields without a value, partition keys, indexes of arrays. So an
entity without a value is written with an empty one here, filters have no indexes, and ``NOT_KEPT`` names the promises
that it cannot keep. All of full text holds.

It cannot be installed beside the milvus-lite that shopsearch needs. Install it in an environment of its own, and name
that one's Python: ``SHOPSEARCH_TEST_MILVUS_CORE=/path/to/bin/python``.
"""

import os
import subprocess

import pytest

from shopsearch.vector_stores.milvus import indexes
from shopsearch.vector_stores.milvus.connection import Server
from tests.services.milvus import free_port
from tests.vector_stores import test_milvus_standalone as standalone
from tests.vector_stores.contract import VectorStoreContract

PYTHON = os.environ.get("SHOPSEARCH_TEST_MILVUS_CORE", "")
SERVE = """
import sys
from milvus_lite.server import Server
server = Server(sys.argv[1], address=sys.argv[2])
assert server.start()
print("ready", flush=True)
sys.stdin.read()
server.stop()
"""
_EMPTY = "a field without a value is read as an empty one"
NOT_KEPT = {
    "test_an_alias_names_a_collection_and_then_another": "it has no aliases",
    "test_a_dropped_collection_takes_its_alias_along_and_an_alias_is_no_name_to_drop": "it has no aliases",
    "test_a_field_may_partition_the_collection_and_filters_like_any_other": "it has no partition keys",
    "test_any_text_is_a_value_and_finds_its_own_entity_alone": (
        "its reader of expressions, which is not Milvus's, takes no escapes of newline, return and tab"
    ),
    "test_what_is_fetched_is_what_was_written": _EMPTY,
    "test_writing_twice_leaves_one_entity_as_it_was_written_last": _EMPTY,
}

pytestmark = [
    pytest.mark.services,
    pytest.mark.skipif(
        not PYTHON, reason="SHOPSEARCH_TEST_MILVUS_CORE names no Python with milvus-lite 2.5.1"
    ),
]

FULL_ENTITIES = standalone.TestMilvusStandalone
"""Whose test of filters gives each entity a value in each field."""


@pytest.fixture(scope="module")
def milvus_core(tmp_path_factory):
    """The URI of a server with milvus-lite 2.5.1."""
    address = f"127.0.0.1:{free_port()}"
    command = [PYTHON, "-c", SERVE, str(tmp_path_factory.mktemp("core") / "core.db"), address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout.readline() == "ready\n"
        yield f"http://{address}"
        server.stdin.close()


class CoreStore(standalone.OldMilvusStore):
    """MilvusStore on a server that has no aliases and does not say its version."""

    def __post_init__(self):
        super().__post_init__()
        self._connection._server = Server(name="v2.5.1")

    def _call(self, verb, collection="", **arguments):
        return {"aliases": []} if verb == "list_aliases" else super()._call(verb, collection, **arguments)


class TestMilvusCore(VectorStoreContract):
    test_exactly_what_passes_the_filter_is_found = FULL_ENTITIES.test_exactly_what_passes_the_filter_is_found

    @pytest.fixture
    def store(self, milvus_core, request, monkeypatch):
        if reason := NOT_KEPT.get(request.function.__name__):
            request.applymarker(pytest.mark.xfail(reason=reason, strict=True))
        monkeypatch.setattr(indexes, "scalar_indexes", lambda schema, server: {})
        store = CoreStore(uri=milvus_core, index_type="FLAT")
        yield store
        store.close()
