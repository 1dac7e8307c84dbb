import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError
from shopsearch.types import CollectionSchema
from shopsearch.vector_stores.milvus import MilvusStore
from tests.services.milvus import MilvusLiteProcess, eventually, free_port
from tests.vector_store_contract import SCHEMA, VectorStoreContract, entity, key, unit

ROOT = Path(__file__).parents[1]
ELSEWHERE = os.environ.get("SHOPSEARCH_TEST_MILVUS_URI", "")
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


def run_python(code, *arguments, cwd=ROOT):
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


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


# A server that comes and goes


@pytest.mark.services
def test_a_restarted_server_is_used_again_without_anybody_helping(own_server, store):
    store.upsert("shoes", [entity(1), entity(2)])
    own_server.restart()
    assert [hit.id for hit in store.search("shoes", unit(1), limit=1)]
    assert store.count("shoes") == 2
    store.upsert("shoes", [entity(3)])
    assert set(store.ids("shoes")) == {key(1), key(2), key(3)}


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
    verbs = [
        lambda: store.ensure_collection("shoes", SCHEMA),
        lambda: store.drop_collection("boots"),
        lambda: store.collections(),
        lambda: store.upsert("shoes", [entity(2)]),
        lambda: store.delete("shoes", [key(2)]),
        lambda: store.fetch("shoes", [key(1)]),
        lambda: list(store.ids("shoes")),
        lambda: store.search("shoes", unit(1), limit=1),
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


# Several processes


@pytest.mark.services
def test_processes_that_ensure_one_collection_at_once_all_succeed(milvus_lite):
    gate = threading.Barrier(6)

    def ensure(number):
        store = MilvusStore(uri=milvus_lite)
        gate.wait()
        store.ensure_collection("raced", SCHEMA)
        store.upsert("raced", [entity(number)])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(ensure, range(6)))
    store = MilvusStore(uri=milvus_lite)
    assert store.count("raced") == 6
    store.drop_collection("raced")


@pytest.mark.services
def test_a_collection_whose_maker_died_before_its_index_is_mended(milvus_lite):
    store = MilvusStore(uri=milvus_lite)
    store._create("half", SCHEMA)
    store.ensure_collection("half", SCHEMA)
    store.upsert("half", [entity(1)])
    assert len(store.search("half", unit(1), limit=5)) == 1
    store.drop_collection("half")


FORK = """
import os, sys
from shopsearch.vector_stores.milvus import MilvusStore
store = MilvusStore(uri=sys.argv[1])
assert store.count(sys.argv[2]) == 1
for _ in range(3):
    child = os.fork()
    if child == 0:
        os._exit(0 if store.count(sys.argv[2]) == 1 else 7)
    assert os.waitpid(child, 0)[1] == 0
    assert store.count(sys.argv[2]) == 1
"""


@pytest.mark.services
def test_a_store_that_was_used_before_a_fork_is_of_use_on_both_sides_of_it(milvus_lite):
    store = MilvusStore(uri=milvus_lite)
    store.ensure_collection("forked", SCHEMA)
    store.upsert("forked", [entity(1)])
    run_python(FORK, milvus_lite, "forked")
    store.drop_collection("forked")


@pytest.mark.services
def test_one_process_reads_what_another_wrote_and_dropped(milvus_lite):
    ours, theirs = MilvusStore(uri=milvus_lite), MilvusStore(uri=milvus_lite)
    theirs.ensure_collection("shared", SCHEMA)
    assert ours.search("shared", unit(1), limit=1) == []
    theirs.upsert("shared", [entity(1)])
    assert len(ours.search("shared", unit(1), limit=1)) == ours.count("shared") == 1
    theirs.drop_collection("shared")
    assert ours.search("shared", unit(1), limit=1) == []
    with pytest.raises(VectorStoreError):
        ours.upsert("shared", [entity(1)])


# What pymilvus would do to the process

IMPORT = """
import logging, logging.handlers, os, sys
from shopsearch.vector_stores.connection import import_pymilvus
kept = logging.FileHandler("kept.log", mode="w")
buffered = logging.handlers.MemoryHandler(100, target=kept)
logging.basicConfig(handlers=[kept], level=logging.INFO)
logging.getLogger("shop").addHandler(buffered)
def state():
    names = ("", "shop", "pymilvus", "pymilvus.milvus_client", "django")
    loggers = [logging.getLogger(name) for name in names]
    return [(logger.handlers[:], logger.propagate, logger.disabled) for logger in loggers]
import logging.config, dotenv
before, environment = state(), dict(os.environ)
functions = (logging.config.dictConfig, dotenv.load_dotenv)
import_pymilvus()
assert "pymilvus" in sys.modules
assert state() == before, (state(), before)
assert {kept, buffered} <= {handler() for handler in logging._handlerList}, "they are not flushed at exit"
assert set(os.environ) ^ set(environment) == set()
assert (logging.config.dictConfig, dotenv.load_dotenv) == functions
logging.info("still written")
assert "still written" in open("kept.log").read()
"""


def test_importing_pymilvus_leaves_logging_and_environment_as_they_were(tmp_path):
    (tmp_path / ".env").write_text("SECRET_OF_THE_SHOP=1\nMILVUS_URI=./x.db\n")
    run_python(IMPORT, cwd=tmp_path)


def test_a_failed_call_is_raised_and_not_logged_besides(caplog, capfd):
    with pytest.raises(VectorStoreError):
        MilvusStore(uri=f"http://127.0.0.1:{free_port()}").count("shoes")
    assert caplog.records == []
    assert capfd.readouterr().err == ""


def test_constructing_and_checking_a_store_imports_no_pymilvus():
    code = (
        "import sys; from shopsearch.vector_stores.milvus import MilvusStore; MilvusStore().check();"
        "assert not {'pymilvus', 'grpc', 'milvus_lite'} & set(sys.modules)"
    )
    run_python(code)


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
