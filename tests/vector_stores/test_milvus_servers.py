"""What Milvus Lite and a real Milvus answer differently, pinned: why MilvusStore refuses or avoids it."""

import math

import numpy as np
import pytest

from shopsearch.exceptions import VectorStoreError
from shopsearch.types import CollectionSchema
from shopsearch.vector_stores.milvus.store import MilvusStore
from tests.vector_stores.contract import key, unit

pytestmark = pytest.mark.services


class Rows:
    """A collection of a server, written and read with pymilvus's own verbs."""

    def __init__(self, uri, token=""):
        self.store = MilvusStore(uri=uri, token=token, timeout_seconds=60)

    def call(self, verb, collection="lenient", **arguments):
        return self.store._call(verb, collection, **arguments)

    def make(self):
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False)
        schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=32)
        schema.add_field("price", DataType.DOUBLE)
        schema.add_field("vector", DataType.FLOAT_VECTOR, dim=8)
        self.call("create_collection", schema=schema)
        self.store._ensure_indexes("lenient", CollectionSchema(dimension=8))
        self.call("load_collection")

    def row(self, number, price=1.0, vector=None):
        return {"id": key(number), "price": price, "vector": unit(1) if vector is None else vector}

    def prices(self):
        return sorted(row["price"] for row in self.store._read("lenient", output_fields=["price"], limit=100))


@pytest.fixture(params=["lite", pytest.param("standalone", marks=pytest.mark.nightly)])
def server(request):
    return request.param


@pytest.fixture
def rows(request, server):
    if server == "lite":
        rows = Rows(request.getfixturevalue("milvus_lite"))
    else:
        standalone = request.getfixturevalue("milvus_standalone")
        rows = Rows(standalone.uri, standalone.token)
    rows.make()
    yield rows
    rows.store.drop_collection("lenient")
    rows.store.close()


def refuses(rows, verb, **arguments):
    try:
        rows.call(verb, **arguments)
    except VectorStoreError as error:
        return str(error)
    return ""


def test_an_id_that_is_inserted_twice_is_read_once_on_both(rows):
    """As if it had been replaced. MilvusStore upserts, which is a promise."""
    rows.call("insert", data=[rows.row(1, price=1.0)])
    rows.call("insert", data=[rows.row(1, price=2.0)])
    assert len(rows.prices()) == 1


def test_of_two_rows_with_one_id_in_one_batch_lite_keeps_the_last_and_milvus_the_first(rows, server):
    """So MilvusStore refuses such a batch."""
    rows.call("upsert", data=[rows.row(1, price=1.0), rows.row(1, price=2.0)])
    assert rows.prices() == ([2.0] if server == "lite" else [1.0])


def test_lite_takes_a_vector_that_is_no_number(rows, server):
    """And finds it nowhere. So MilvusStore looks at each vector before it sends it."""
    vector = np.full(8, math.nan, np.float32)
    assert bool(refuses(rows, "upsert", data=[rows.row(1, vector=vector)])) == (server == "standalone")


@pytest.mark.parametrize(
    ("condition", "lite", "standalone"),
    [
        ("price >= 10 and price < 20", True, True),
        ("10 <= price < 20", False, True),
        ("price % 2 == 0", False, False),  # Milvus has it for integers alone
        ("not (price > 10)", True, True),
        ("price is not null", True, False),
    ],
)
def test_which_expressions_are_read(rows, server, condition, lite, standalone):
    """MilvusStore writes the first kind, and the last where a range has no bounds."""
    rows.call("upsert", data=[rows.row(1, price=10.0), rows.row(2, price=20.0)])
    said = refuses(rows, "query", filter=condition, output_fields=["price"])
    assert (not said) == {"lite": lite, "standalone": standalone}[server], said


def test_neither_fills_in_a_template(rows):
    """So values are written as literals. Milvus has templates from 2.5 on, and Milvus Lite has none."""
    rows.call("upsert", data=[rows.row(1, price=10.0)])
    template = {"filter": "price == {price}", "filter_params": {"price": 10.0}}
    assert refuses(rows, "query", output_fields=["price"], **template)


def test_to_drop_an_alias_drops_its_collection_on_lite(rows, server):
    """So MilvusStore drops by a collection's own name alone."""
    rows.call("create_alias", alias="another_name")
    said = refuses(rows, "drop_collection", collection="another_name")
    assert ("lenient" in rows.store.collections()) == bool(said) == (server == "standalone")
    if said:
        rows.store._call("drop_alias", alias="another_name")
