"""The store between processes, and pymilvus as a guest in ours."""

import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shopsearch.exceptions import VectorStoreError
from shopsearch.vector_stores.milvus.store import MilvusStore
from tests import ROOT
from tests.services.milvus import free_port
from tests.vector_stores.contract import SCHEMA, entity, unit

PATIENCE_SECONDS = 60  # how long a test waits before it says that something hangs


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
def test_stores_that_ensure_one_collection_at_once_all_succeed(milvus_lite):
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
from shopsearch.vector_stores.milvus.connection import import_pymilvus
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
