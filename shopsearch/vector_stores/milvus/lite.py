"""Milvus Lite as a server: the embedded default, which the web server and the workers share."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shopsearch import extras
from shopsearch.exceptions import VectorStoreError
from shopsearch.vector_stores.milvus.connection import import_pymilvus

_SERVICE = "/milvus.proto.milvus.MilvusService/"
_ENTITY_WRITES = {_SERVICE + name for name in ("Insert", "Upsert", "Delete")}
_ENTITY_READS = {_SERVICE + name for name in ("Query", "Search", "HybridSearch", "GetCollectionStatistics")}
_OTHER_READS = {
    _SERVICE + name
    for name in (
        *("Connect", "GetVersion", "CheckHealth", "HasCollection", "DescribeCollection", "ShowCollections"),
        *("DescribeIndex", "GetLoadingProgress", "GetLoadState", "HasPartition", "ShowPartitions"),
        *("GetFlushState", "GetPartitionStatistics"),
        *("ListDatabases", "DescribeDatabase", "DescribeAlias", "ListAliases", "GetCompactionState"),
    )
}
_MEMTABLE_LIMIT = "MILVUS_LITE_MEMTABLE_MEMORY_LIMIT_BYTES"
_MEMTABLE_BYTES = 4 * 1024 * 1024
_MESSAGE_BYTES = 256 * 1024 * 1024
_THREADS = 10
_QUIET_SECONDS = 0.5


@dataclass(kw_only=True, eq=False)
class LiteServer:
    """Serves a directory's collections to every process of this machine until it is stopped.

    Unlike the server that Milvus Lite brings, it takes one write at a time (concurrent ones lose rows) and none beside
    a search (which would miss what is just being moved), never shares its port with another server, listens to this
    machine alone by default, and stops gracefully. It has no password: whoever reaches the port may read and write.
    """

    data_dir: str | Path
    host: str = "127.0.0.1"
    port: int = 19530
    """0 takes a free one; ``port`` and ``uri`` say which after ``start()``."""
    _grpc_server: Any = field(default=None, init=False, repr=False)
    _database: Any = field(default=None, init=False, repr=False)
    _calls: Calls = field(init=False, repr=False)
    _stopping: threading.Event = field(default_factory=threading.Event, init=False, repr=False)
    _settler: threading.Thread | None = field(default=None, init=False, repr=False)

    @property
    def uri(self) -> str:
        return f"http://{self.host}:{self.port}"

    def start(self) -> None:
        """Afterwards the server answers. Makes the directory where it is missing.

        Raises VectorStoreError, with a sentence, when another server holds the directory or the port.
        """
        Path(self.data_dir).mkdir(parents=True, exist_ok=True)
        lite = _import_milvus_lite()
        try:
            self._database = lite.MilvusLite(str(self.data_dir))
        except lite.DataDirLockedError as error:
            raise VectorStoreError(
                f"Another Milvus Lite server uses {self.data_dir}: stop that one, or give this one its own directory."
            ) from error
        try:
            self._serve(self._database)
        except BaseException:
            self._database.close()
            raise

    def stop(self) -> None:
        """Afterwards calls under way have been answered and everything is on the disk. May be repeated."""
        if self._grpc_server is None:
            return
        self._stopping.set()
        self._grpc_server.stop(grace=5).wait()
        if self._settler is not None:
            self._settler.join()
        with self._calls.alone():  # a call that took longer than the grace is still at it
            self._database.close()
        self._grpc_server = None

    def _serve(self, database: Any) -> None:
        grpc = importlib.import_module("grpc")
        services = importlib.import_module("pymilvus.grpc_gen.milvus_pb2_grpc")
        servicer = importlib.import_module("milvus_lite.adapter.grpc.servicer").MilvusServicer(database)
        self._calls = Calls(servicer)
        server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="milvus-lite"),
            interceptors=[_interceptor(self._calls)],
            options=[
                ("grpc.max_receive_message_length", _MESSAGE_BYTES),
                ("grpc.max_send_message_length", _MESSAGE_BYTES),
                # Otherwise a second server binds the same port, and each answers half of the calls.
                ("grpc.so_reuseport", 0),
            ],
        )
        services.add_MilvusServiceServicer_to_server(servicer, server)
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
        self._settler = threading.Thread(target=self._settle, name="milvus-lite-settler", daemon=True)
        self._settler.start()

    def _settle(self) -> None:
        while not self._stopping.wait(_QUIET_SECONDS):
            self._calls.settle()


class Calls:
    """One write at a time and no search beside it, and the collections that were written since they were last settled.

    When Milvus Lite moves its memtable into a segment, there is a moment when the rows are in neither.
    """

    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer
        self._turn = threading.Lock()
        self._reads = 0
        self._read_ended = threading.Condition()
        self._unsettled: set[tuple[str, str]] = set()

    def handler(self, method: str, handle: Any) -> Any:
        """The handler of this RPC, made to wait for what must not run beside it."""

        def read(request: Any, context: Any) -> Any:
            with self._beside_other_reads():
                _drop_if_abandoned(context)
                return handle(request, context)

        def write(request: Any, context: Any) -> Any:
            with self.alone():
                _drop_if_abandoned(context)
                if method in _ENTITY_WRITES:
                    metadata = {key.lower(): value for key, value in context.invocation_metadata()}
                    database = request.db_name or metadata.get("dbname", "")
                    self._unsettled.add((database, request.collection_name))
                return handle(request, context)

        if method in _ENTITY_READS:
            return read
        return handle if method in _OTHER_READS else write

    def settle(self) -> None:
        """Move what was written lately out of the memtable, where a search is ten times slower, into segments."""
        if not self._unsettled:
            return
        messages = importlib.import_module("pymilvus.grpc_gen.milvus_pb2")
        with self.alone():
            unsettled, self._unsettled = self._unsettled, set()
            for database, collection in unsettled:
                request = messages.FlushRequest(db_name=database, collection_names=[collection])
                self._servicer.Flush(request, None)

    @contextmanager
    def _beside_other_reads(self) -> Iterator[None]:
        with self._turn, self._read_ended:  # who writes keeps the turn: neither side waits for ever
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
    """Who waited for its turn may have a client that has given up, and does it again."""
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


def _import_milvus_lite() -> Any:
    """The module milvus_lite. It reads its limits from the environment as it is imported, and only then."""
    extras.require("milvus_lite")
    import_pymilvus()
    before = os.environ.get(_MEMTABLE_LIMIT)
    os.environ.setdefault(_MEMTABLE_LIMIT, str(_MEMTABLE_BYTES))
    try:
        return importlib.import_module("milvus_lite")
    finally:
        if before is None:
            del os.environ[_MEMTABLE_LIMIT]
