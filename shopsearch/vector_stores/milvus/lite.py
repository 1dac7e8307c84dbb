"""Milvus Lite as a server: the default for one machine, which web server and workers share."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shopsearch import conf
from shopsearch.exceptions import VectorStoreError
from shopsearch.vector_stores.milvus.connection import import_pymilvus

_SERVICE = "/milvus.proto.milvus.MilvusService/"
_WRITES_OF_ENTITIES = {_SERVICE + name for name in ("Insert", "Upsert", "Delete")}
_READS_OF_ENTITIES = {
    _SERVICE + name for name in ("Query", "Search", "HybridSearch", "GetCollectionStatistics")
}
_OTHER_READS = {
    _SERVICE + name
    for name in (
        *("Connect", "GetVersion", "CheckHealth", "HasCollection", "DescribeCollection", "ShowCollections"),
        *("DescribeIndex", "GetLoadingProgress", "GetLoadState", "HasPartition", "ShowPartitions"),
        *("GetFlushState", "GetPartitionStatistics"),
        *("ListDatabases", "DescribeDatabase", "DescribeAlias", "ListAliases", "GetCompactionState"),
    )
}
"""The calls that only read. Every other call counts as a write."""
_MEMTABLE_LIMIT = "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES"
_MEMTABLE_BYTES = 4 * 1024 * 1024
_MESSAGE_BYTES = 256 * 1024 * 1024
_THREADS = 10
_FLUSH_SECONDS = 0.5


@dataclass(kw_only=True, eq=False)
class LiteServer:
    """Serves a directory's collections to every process of this machine until it is stopped.

    Unlike the server that comes with Milvus Lite, it takes one write at a time (concurrent writes lose rows), runs no
    search during a write (it would miss rows that are being moved), searches several times faster (see lite_engine),
    never shares its port with another server, listens only to this machine by default, and stops gracefully. It has
    no password: anyone who reaches the port may read and write.
    """

    data_dir: str | Path
    host: str = "127.0.0.1"
    port: int = 19530
    """0 takes a free port; after ``start()``, ``port`` and ``uri`` have it."""
    _grpc_server: Any = field(default=None, init=False, repr=False)
    _database: Any = field(default=None, init=False, repr=False)
    _calls: Calls = field(init=False, repr=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _flusher: threading.Thread | None = field(default=None, init=False, repr=False)

    @property
    def uri(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Start the server; on return it answers. Creates the directory if it is missing.

        Raises VectorStoreError if another server uses the directory or the port, or if the installed Milvus Lite is
        not version 3.2.
        """
        Path(self.data_dir).mkdir(parents=True, exist_ok=True)
        engine = _import_engine()
        self._database = engine.open_database(str(self.data_dir))
        try:
            self._serve(engine)
        except BaseException:
            self._database.close()
            raise

    def stop(self) -> None:
        """Stop the server: running calls are answered and everything is on disk. May be repeated."""
        if self._grpc_server is None:
            return
        self._stopping.set()
        self._grpc_server.stop(grace=5).wait()
        if self._flusher is not None:
            self._flusher.join()
        with self._calls.alone():  # wait for calls that outlive the grace period
            self._database.close()
        self._grpc_server = None

    def _serve(self, engine: Any) -> None:
        grpc = importlib.import_module("grpc")
        servicer = engine.servicer_of(self._database)
        self._calls = Calls(lambda database, collection: engine.flush(servicer, database, collection))
        server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="milvus-lite"),
            interceptors=[_interceptor(self._calls)],
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
                # Else a second server could bind the same port, and each would answer half of the calls.
                ("grpc.so_reuseport", 0),
            ],
        )
        engine.add_to_server(servicer, server)
        try:
            port = server.add_insecure_port(f"{self.host}:{self.port}")
        except RuntimeError as error:
            raise VectorStoreError(
                f"{self.host}:{self.port} cannot be listened on: another server has it, or the host is not this "
                "machine's. Choose another --port."
            ) from error
        self.port = port
        self._stopping.clear()
        server.start()
        self._grpc_server = server
        self._flusher = threading.Thread(
            target=self._flush_now_and_then, name="milvus-lite-flush", daemon=True
        )
        self._flusher.start()

    def _flush_now_and_then(self) -> None:
        while not self._stopping.wait(_FLUSH_SECONDS):
            self._calls.flush()


class Calls:
    """Runs writes alone and reads side by side, and flushes the collections that were written.

    While Milvus Lite moves rows from memory into a segment, there is a moment when they are in neither.
    """

    def __init__(self, flush: Callable[[str, str], None]) -> None:
        self._flush = flush
        self._turn = threading.Lock()
        self._reads = 0
        self._read_ended = threading.Condition()
        self._written: set[tuple[str, str]] = set()

    def handler(self, method: str, handle: Any) -> Any:
        """The handler of this RPC, wrapped to wait for the calls that must not run beside it."""

        def read(request: Any, context: Any) -> Any:
            with self._beside_other_reads():
                _drop_if_abandoned(context)
                return handle(request, context)

        def write(request: Any, context: Any) -> Any:
            with self.alone():
                _drop_if_abandoned(context)
                if method in _WRITES_OF_ENTITIES:
                    metadata = {key.lower(): value for key, value in context.invocation_metadata()}
                    database = request.db_name or metadata.get("dbname", "")
                    self._written.add((database, request.collection_name))
                return handle(request, context)

        if method in _READS_OF_ENTITIES:
            return read
        return handle if method in _OTHER_READS else write

    def flush(self) -> None:
        """Move recent writes from memory into segments, where searches are faster."""
        if not self._written:
            return
        with self.alone():
            written, self._written = self._written, set()
            for database, collection in written:
                self._flush(database, collection)

    @contextmanager
    def _beside_other_reads(self) -> Iterator[None]:
        # A waiting write holds the turn, so neither side can starve the other.
        with self._turn, self._read_ended:
            self._reads += 1
        try:
            yield
        finally:
            with self._read_ended:
                self._reads -= 1
                self._read_ended.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._turn:
            with self._read_ended:
                self._read_ended.wait_for(lambda: not self._reads)
            yield


def _drop_if_abandoned(context: Any) -> None:
    """Drop the call of a client that gave up while it was waiting: the client may have repeated it."""
    if not context.is_active():
        context.abort(importlib.import_module("grpc").StatusCode.CANCELLED, "The client has given up.")


def _interceptor(calls: Calls) -> Any:
    grpc = importlib.import_module("grpc")

    class EachInItsTurn(grpc.ServerInterceptor):  # type: ignore[misc,name-defined]  # grpc is imported at run time
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = continuation(details)
            if handler is None or handler.unary_unary is None:
                return handler
            return grpc.unary_unary_rpc_method_handler(
                calls.handler(details.method, handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )

    return EachInItsTurn()


def _import_engine() -> Any:
    """The module lite_engine. Sets Milvus Lite's limits first: it reads them from the environment at import."""
    conf.require_packages("milvus_lite")
    import_pymilvus()
    before = os.environ.get(_MEMTABLE_LIMIT)
    os.environ.setdefault(_MEMTABLE_LIMIT, str(_MEMTABLE_BYTES))
    try:
        return importlib.import_module("shopsearch.vector_stores.milvus.lite_engine")
    finally:
        if before is None:
            del os.environ[_MEMTABLE_LIMIT]
