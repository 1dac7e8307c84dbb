import io
import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent import futures
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from shopsearch.exceptions import VectorStoreError
from shopsearch.vector_stores.milvus import lite as lite
from shopsearch.vector_stores.milvus.lite import LiteServer
from shopsearch.vector_stores.milvus.store import MilvusStore
from tests import ROOT
from tests.services.milvus import MilvusLiteProcess, eventually, free_port
from tests.vector_stores.contract import SCHEMA, entity, key, unit

PATIENCE_SECONDS = 60


def listens(port, host="127.0.0.1"):
    with socket.socket() as caller:
        return caller.connect_ex((host, port)) == 0


@pytest.fixture
def server(tmp_path):
    server = LiteServer(data_dir=tmp_path / "a" / "b", port=0)
    server.start()
    yield server
    server.stop()


# In a thread of this process


@pytest.mark.services
def test_a_server_in_this_process_keeps_entities_across_a_restart(server):
    store = MilvusStore(uri=server.uri)
    store.ensure_collection("shoes", SCHEMA)
    store.upsert("shoes", [entity(1), entity(2)])
    uri = server.uri
    server.stop()
    server.stop()
    assert not listens(server.port)
    server.start()
    assert server.uri == uri
    assert {hit.id for hit in store.search("shoes", unit(1), limit=9)} == {key(1), key(2)}


@pytest.mark.services
def test_what_was_written_is_flushed_into_segments_by_itself(server):
    store = MilvusStore(uri=server.uri)
    store.ensure_collection("shoes", SCHEMA)
    store.upsert("shoes", [entity(number) for number in range(50)])
    eventually(lambda: list(Path(server.data_dir).glob("**/data_*.parquet")))
    store.delete("shoes", [key(7)])
    assert store.count("shoes") == 49


@pytest.mark.services
def test_a_directory_has_one_server(server):
    with pytest.raises(VectorStoreError, match="Another Milvus Lite server uses"):
        LiteServer(data_dir=server.data_dir, port=0).start()
    assert listens(server.port)


@pytest.mark.services
def test_a_port_has_one_server_and_the_refused_one_lets_go_of_its_directory(server, tmp_path):
    other = LiteServer(data_dir=tmp_path / "other", port=server.port)
    with pytest.raises(VectorStoreError, match=f"{server.port} cannot be listened on"):
        other.start()
    other.port = 0
    other.start()
    other.stop()


@pytest.mark.services
def test_by_default_only_this_machine_reaches_it(server):
    # Every 127.x address is this machine's, but only 127.0.0.1 is listened on: with 0.0.0.0 both would answer.
    assert listens(server.port)
    assert not listens(server.port, "127.0.0.2")


@pytest.mark.services
def test_while_rows_are_on_their_way_into_a_segment_no_search_is_under_way(server, monkeypatch):
    from milvus_lite.engine import collection

    swaps = []

    class NewLog(
        collection.WAL
    ):  # opened when the memtable has been emptied and the segment is not there yet
        def __init__(self, *args, **kwargs):
            swaps.append((server._calls._turn.locked(), server._calls._reads))
            super().__init__(*args, **kwargs)

    store, done = MilvusStore(uri=server.uri), threading.Event()
    store.ensure_collection("shoes", SCHEMA)
    monkeypatch.setattr(collection, "WAL", NewLog)

    def search():
        while not done.is_set():
            store.search("shoes", unit(1), limit=9)

    with futures.ThreadPoolExecutor() as threads:
        searching = threads.submit(search)
        store.upsert("shoes", [entity(1)])
        eventually(lambda: swaps)
        done.set()
        searching.result()
    assert set(swaps) == {(True, 0)}


@pytest.mark.services
def test_stopping_waits_for_a_call_that_outlasts_the_grace(server):
    store = MilvusStore(uri=server.uri)
    store.ensure_collection("shoes", SCHEMA)
    closed, close = [], server._database.close
    server._database.close = lambda: (closed.append(True), close())
    stopping = threading.Thread(target=server.stop)
    with server._calls.alone():  # as a long write is
        stopping.start()
        eventually(lambda: not listens(server.port) and not server._flusher.is_alive())
        assert closed == []
    stopping.join()
    assert closed == [True]


def test_every_rpc_that_does_not_wait_is_one_that_milvus_lite_has_and_does_not_write():
    from milvus_lite.adapter.grpc.servicer import MilvusServicer

    names = {
        method.removeprefix(lite._SERVICE)
        for method in lite._OTHER_READS | lite._READS_OF_ENTITIES | lite._WRITES_OF_ENTITIES
    }
    assert {name for name in names if not hasattr(MilvusServicer, name)} == set()
    changing = (
        "Insert",
        "Upsert",
        "Delete",
        "Create",
        "Drop",
        "Alter",
        "Load",
        "Release",
        "Rename",
        "Flush",
        "Truncate",
    )
    assert not [
        method
        for method in lite._OTHER_READS | lite._READS_OF_ENTITIES
        if method.removeprefix(lite._SERVICE).startswith(tuple(changing))
    ]


ENVIRONMENT = """
import os
from shopsearch.vector_stores.milvus.lite import _import_engine
before = dict(os.environ)
_import_engine()
from milvus_lite.constants import MEMTABLE_MEMORY_LIMIT
assert dict(os.environ) == before
print(MEMTABLE_MEMORY_LIMIT)
"""


def test_the_memtable_is_small_and_the_environment_stays_as_it_was():
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", ENVIRONMENT]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert (done.stdout, done.returncode) == (f"{4 * 1024 * 1024}\n", 0), done.stderr


# As a command


@pytest.mark.services
def test_the_command_says_when_it_is_ready_and_stops_gracefully(tmp_path):
    process = MilvusLiteProcess(tmp_path / "milvus" / "data").start()
    store = MilvusStore(uri=process.uri)
    store.ensure_collection("shoes", SCHEMA)
    store.upsert("shoes", [entity(1)])
    assert process.stop() == 0
    # What was acknowledged is in segments now; the log that a crash would need is empty or gone.
    assert list((tmp_path / "milvus").glob("**/data_*.parquet"))
    assert not listens(process.port)


@pytest.mark.services
def test_the_command_refuses_a_directory_or_a_port_that_is_taken(server, tmp_path):
    for options in (
        {"data_dir": str(server.data_dir), "port": free_port()},
        {"data_dir": str(tmp_path / "new"), "port": server.port},
    ):
        with pytest.raises(CommandError, match=r"Another Milvus Lite server|cannot be listened on"):
            call_command("shopsearch_milvus_lite", stdout=io.StringIO(), **options)


PARENT = """
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-m", "django", "shopsearch_milvus_lite", "--with-parent",
    "--data-dir", sys.argv[1], "--port", sys.argv[2]], stdout=subprocess.PIPE, text=True)
print(child.stdout.readline(), child.pid, flush=True)
sys.stdin.read()
"""


@pytest.mark.services
def test_with_its_parent_gone_the_server_goes_too(tmp_path):
    port = free_port()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path / "data"), str(port)],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout.readline().startswith("ready")
    assert listens(port)
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    eventually(lambda: not listens(port))
