"""The store while its server stops, dies, hangs and returns."""

import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from shopsearch.exceptions import VectorStoreError
from shopsearch.vector_stores.milvus.store import MilvusStore
from tests.services.milvus import MilvusLiteProcess, eventually, free_port
from tests.vector_stores.contract import SCHEMA, entity, key, unit
from tests.vector_stores.words_contract import SCHEMA_OF_WORDS

PATIENCE_SECONDS = 60  # how long a test waits before it says that something hangs


@pytest.fixture(scope="module")
def own_server(tmp_path_factory):
    """A server that a test may stop, kill and suspend; afterwards it runs again."""
    server = MilvusLiteProcess(tmp_path_factory.mktemp("milvus") / "data").start()
    yield server
    server.stop()


@pytest.fixture
def store(own_server):
    store = MilvusStore(uri=own_server.uri)
    store.ensure_collection("shoes", SCHEMA)
    yield store
    store.drop_collection("shoes")
    store.close()


@pytest.mark.services
def test_a_restarted_server_is_used_again_without_anybody_helping(own_server, store):
    store.upsert("shoes", [entity(1), entity(2)])
    own_server.restart()
    assert [hit.id for hit in store.search("shoes", unit(1), limit=1)]
    assert store.count("shoes") == 2
    store.upsert("shoes", [entity(3)])
    assert set(store.ids("shoes")) == {key(1), key(2), key(3)}


@pytest.mark.services
def test_nothing_that_was_acknowledged_is_lost_when_the_server_is_killed_amid_four_writers(own_server, store):
    acknowledged, lock, enough = set(), threading.Lock(), threading.Event()

    def write(first):
        writer = MilvusStore(uri=own_server.uri)
        for start in range(first, first + 10_000, 20):
            numbers = range(start, start + 20)
            try:
                writer.upsert("shoes", [entity(number) for number in numbers])
            except VectorStoreError:
                return
            with lock:
                acknowledged.update(map(key, numbers))
                if len(acknowledged) >= 1_500:
                    enough.set()

    writers = [threading.Thread(target=write, args=(first,)) for first in (0, 10_000, 20_000, 30_000)]
    for writer in writers:
        writer.start()
    assert enough.wait(PATIENCE_SECONDS)
    own_server.kill()
    for writer in writers:
        writer.join()
    own_server.start()
    held = list(store.ids("shoes"))
    assert len(held) == len(set(held)) == store.count("shoes")
    assert acknowledged <= set(held)
    # What was written without its acknowledgement having arrived is at most one batch of each writer.
    assert len(set(held) - acknowledged) <= 4 * 20


@pytest.mark.services
def test_every_verb_says_that_the_store_is_away_and_works_again_when_it_is_back(own_server, store):
    store.upsert("shoes", [entity(1)])
    store.ensure_collection("words", SCHEMA_OF_WORDS)
    verbs = [
        lambda: store.ensure_collection("shoes", SCHEMA),
        lambda: store.drop_collection("boots"),
        lambda: store.collections(),
        lambda: store.upsert("shoes", [entity(2)]),
        lambda: store.delete("shoes", [key(2)]),
        lambda: store.fetch("shoes", [key(1)]),
        lambda: list(store.ids("shoes")),
        lambda: store.search("shoes", unit(1), limit=1),
        lambda: store.search_words("words", "red", vector=unit(1), limit=1),
        lambda: store.point_alias("alias", "shoes"),
        lambda: store.count("shoes"),
    ]
    own_server.kill()
    for verb in verbs:
        with pytest.raises(VectorStoreError, match="cannot be reached") as caught:
            verb()
        assert caught.value.__cause__ is not None
    own_server.start()
    for verb in verbs:
        verb()
    assert store.count("shoes") == 1


@pytest.mark.services
def test_a_server_that_hangs_is_given_up_and_used_again_when_it_answers(own_server, store):
    store.upsert("shoes", [entity(1)])
    hasty = MilvusStore(uri=own_server.uri, timeout_seconds=1)

    def answers():
        try:
            return hasty.count("shoes") == 1
        except VectorStoreError:
            return False

    eventually(answers)
    own_server.suspend()
    try:
        with ThreadPoolExecutor(1) as pool:
            for each in (hasty, MilvusStore(uri=own_server.uri, timeout_seconds=1)):
                with pytest.raises(VectorStoreError):
                    pool.submit(each.count, "shoes").result(timeout=PATIENCE_SECONDS)
    finally:
        own_server.resume()
    eventually(answers)


def test_a_store_that_was_never_there_is_away():
    with pytest.raises(VectorStoreError) as caught:
        MilvusStore(uri=f"http://127.0.0.1:{free_port()}").count("shoes")
    assert caught.value.__cause__ is not None


def test_a_server_that_lacks_a_call_is_told_from_one_that_is_away():

    class Unimplemented(grpc.RpcError):
        def code(self):
            return grpc.StatusCode.UNIMPLEMENTED

    with (
        pytest.raises(VectorStoreError, match=r"needs Milvus 2\.5 or later"),
        MilvusStore()._connection.failures(),
    ):
        raise Unimplemented
