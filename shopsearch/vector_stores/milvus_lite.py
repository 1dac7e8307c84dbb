"""Milvus Lite as a server: the embedded default, which the web server and the workers share."""

from __future__ import annotations

import importlib
import os
import threading
from concurrent import futures
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shopsearch.exceptions import VectorStoreError
from shopsearch.vector_stores.connection import import_pymilvus

_SERVICE = "/milvus.proto.milvus.MilvusService/"
_ENTITY_WRITES = {_SERVICE + name for name in ("Insert", "Upsert", "Delete")}
_READS = {
    _SERVICE + name
    for name in (
        *("Connect", "GetVersion", "CheckHealth", "HasCollection", "DescribeCollection", "ShowCollections"),
        *("Query", "Search", "HybridSearch", "DescribeIndex", "GetLoadingProgress", "GetLoadState"),
        *(
            "HasPartition",
            "ShowPartitions",
            "GetFlushState",
            "GetCollectionStatistics",
            "GetPartitionStatistics",
        ),
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

    Unlike the server that Milvus Lite brings, it takes one write at a time (concurrent ones lose rows), never shares
    its port with another server, listens to this machine alone by default, and stops gracefully. It has no password:
    whoever reaches the port may read and write.
    """

    data_dir: str | Path
    host: str = "127.0.0.1"
    port: int = 19530
    """0 takes a free one; ``port`` and ``uri`` say which after ``start()``."""
    _grpc_server: Any = field(default=None, init=False, repr=False)
    _database: Any = field(default=None, init=False, repr=False)
    _writes: Writes = field(init=False, repr=False)
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
        self._database.close()
        self._grpc_server = None

    def _serve(self, database: Any) -> None:
        grpc = importlib.import_module("grpc")
        services = importlib.import_module("pymilvus.grpc_gen.milvus_pb2_grpc")
        servicer = importlib.import_module("milvus_lite.adapter.grpc.servicer").MilvusServicer(database)
        self._writes = Writes(servicer)
        server = grpc.server(
            futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="milvus-lite"),
            interceptors=[_interceptor(self._writes)],
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
            self._writes.settle()


class Writes:
    """One write at a time, and the collections that were written since they were last settled."""

    def __init__(self, servicer: Any) -> None:
        self._servicer = servicer
        self._lock = threading.Lock()
        self._unsettled: set[tuple[str, str]] = set()

    def one_at_a_time(self, method: str, handle: Any) -> Any:
        """The handler of this RPC, made to wait until no other write is under way."""

        def handle_alone(request: Any, context: Any) -> Any:
            with self._lock:
                if method in _ENTITY_WRITES:
                    metadata = {key.lower(): value for key, value in context.invocation_metadata()}
                    database = request.db_name or metadata.get("dbname", "")
                    self._unsettled.add((database, request.collection_name))
                return handle(request, context)

        return handle_alone

    def settle(self) -> None:
        """Move what was written lately out of the memtable, where a search is ten times slower, into segments."""
        messages = importlib.import_module("pymilvus.grpc_gen.milvus_pb2")
        with self._lock:
            unsettled, self._unsettled = self._unsettled, set()
            for database, collection in unsettled:
                request = messages.FlushRequest(db_name=database, collection_names=[collection])
                self._servicer.Flush(request, None)


def _interceptor(writes: Writes) -> Any:
    grpc = importlib.import_module("grpc")

    class OneWriteAtATime(grpc.ServerInterceptor):  # type: ignore[misc,name-defined]  # grpc is imported at run time
        def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = continuation(details)
            if handler is None or handler.unary_unary is None or details.method in _READS:
                return handler
            return grpc.unary_unary_rpc_method_handler(
                writes.one_at_a_time(details.method, handler.unary_unary),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )

    return OneWriteAtATime()


def _import_milvus_lite() -> Any:
    """The module milvus_lite. It reads its limits from the environment as it is imported, and only then."""
    import_pymilvus()
    before = os.environ.get(_MEMTABLE_LIMIT)
    os.environ.setdefault(_MEMTABLE_LIMIT, str(_MEMTABLE_BYTES))
    try:
        return importlib.import_module("milvus_lite")
    finally:
        if before is None:
            del os.environ[_MEMTABLE_LIMIT]
