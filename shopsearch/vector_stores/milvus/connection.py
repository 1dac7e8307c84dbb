"""The connection to a Milvus server: pymilvus without its side effects, its failures turned into VectorStoreError."""

from __future__ import annotations

import importlib
import logging
import logging.config
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError

# By default, a gRPC channel waits up to two minutes before it tries to reconnect, and pings so often that Milvus Lite
# treats it as an attack.
_GRPC_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.min_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.keepalive_time_ms": 330_000,
}
_ADDRESS = re.compile(r"(https?://|tcp://|unix:).*(?<!\.db)")
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_UNREACHABLE, _COLLECTION_MISSING, _NOT_LOADED = 2, 100, 101
# These keep several nodes of a server busy, and no shopper waits for them.
_SLOW_VERBS = {"create_collection", "create_index", "drop_collection", "load_collection"}
_SLOW_SECONDS = 60.0
_CLIENT_TLS = {"client_pem_path", "client_key_path", "ca_pem_path"}
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?")
_import_lock = threading.Lock()


class CollectionMissing(VectorStoreError):
    """There is no such collection in the vector store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server, as it describes itself."""

    name: str
    """Such as "v2.6.4" or "milvus_lite-3.2.2"."""

    @property
    def is_lite(self) -> bool:
        return self.name.startswith("milvus_lite")

    @property
    def version(self) -> tuple[int, ...]:
        """Milvus's version as numbers; () for Milvus Lite and for a server that gives none."""
        found = None if self.is_lite else _VERSION.search(self.name)
        return tuple(int(each or 0) for each in found.groups()) if found else ()


def import_pymilvus() -> Any:
    """The module pymilvus, imported so that the project's logging and environment stay as they are.

    A plain import closes all log handlers, adds one of its own, and reads the nearest ``.env``.
    """
    with _import_lock:
        if "pymilvus" not in sys.modules:
            with (
                _ignoring_pymilvus(logging.config, "dictConfig"),
                _ignoring_pymilvus(importlib.import_module("dotenv"), "load_dotenv"),
            ):
                importlib.import_module("pymilvus")
            logger = logging.getLogger("pymilvus")
            if logger.level == logging.NOTSET and not logger.handlers:
                # We handle every failure; pymilvus would also log it as an error with a traceback.
                logger.setLevel(logging.CRITICAL)
        return sys.modules["pymilvus"]


@contextmanager
def _ignoring_pymilvus(module: Any, name: str) -> Iterator[None]:
    """Meanwhile this function of the module does nothing when pymilvus calls it, and works for all other callers."""
    function: Callable[..., Any] = getattr(module, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] == "pymilvus":
            return None
        return function(*args, **kwargs)

    setattr(module, name, wrapper)
    try:
        yield
    finally:
        setattr(module, name, function)


@dataclass(kw_only=True, eq=False)
class Connection:
    """One client per process, made at the first call. Every call has a deadline, and only fails as VectorStoreError."""

    uri: str
    token: str = field(repr=False)
    database: str
    timeout_seconds: float
    tls: Mapping[str, str] = field(default_factory=dict)
    """Paths of certificates and the server's name, under pymilvus's argument names."""
    _clients: dict[int, Any] = field(default_factory=dict, init=False, repr=False)
    _locks: dict[int, threading.Lock] = field(default_factory=dict, init=False, repr=False)
    _server: Server | None = field(default=None, init=False, repr=False)

    def call(self, verb: str, collection: str = "", **arguments: Any) -> Any:
        """Call MilvusClient's method of this name. Loads the collection first if a restart has unloaded it.

        Raises CollectionMissing if the collection does not exist, VectorStoreError for everything else.
        """
        if collection:
            arguments["collection_name"] = collection
        seconds = max(self.timeout_seconds, _SLOW_SECONDS) if verb in _SLOW_VERBS else self.timeout_seconds
        arguments.setdefault("timeout", seconds)
        with self.failures():
            client = self._client()
            try:
                return getattr(client, verb)(**arguments)
            except import_pymilvus().MilvusException as error:
                if error.code != _NOT_LOADED or not collection:
                    raise
            client.load_collection(collection, timeout=self.timeout_seconds)
            return getattr(client, verb)(**arguments)

    def server(self) -> Server:
        """The server, asked once per connection."""
        if self._server is None:
            self._server = Server(name=str(self.call("get_server_version")))
        return self._server

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Raise every failure inside as VectorStoreError, caused by pymilvus's error."""
        pymilvus, grpc = import_pymilvus(), importlib.import_module("grpc")
        try:
            yield
        except pymilvus.MilvusException as error:
            if error.code == _COLLECTION_MISSING:
                raise CollectionMissing from error
            if _is_refusal(error.__cause__, grpc):
                raise VectorStoreError(
                    "The vector store refuses the token: write it as user:password, or as the key that it gave you."
                ) from error
            away = error.code == _UNREACHABLE or isinstance(error.code, grpc.StatusCode)
            raise VectorStoreError("" if away else f"The vector store refused: {error.message}") from error
        # pymilvus does not wrap a deadline, or a call that the server does not know.
        except grpc.RpcError as error:
            unknown = error.code() == grpc.StatusCode.UNIMPLEMENTED
            message = "The vector store lacks a call that shopsearch makes: it needs Milvus 2.5 or later."
            raise VectorStoreError(message if unknown else "") from error

    def check(self) -> Iterator[checks.CheckMessage]:
        """What is wrong with the options; opens no connection."""
        if not _ADDRESS.fullmatch(self.uri):
            # pymilvus would open a file in this process, and web server and workers could not share it.
            yield checks.Error(
                f"The vector store's uri is not a server's address: {self.uri!r}.",
                hint="Run `manage.py shopsearch_milvus_lite` and use http://127.0.0.1:19530.",
                id="shopsearch.E010",
            )
        address = urlsplit(self.uri)
        is_plain = address.scheme in ("http", "tcp")
        if is_plain and address.hostname not in _THIS_MACHINE and (self.token or address.password):
            yield checks.Warning(
                f"The vector store's token travels unencrypted to {address.hostname}.",
                hint="Use an address that begins with https://.",
                id="shopsearch.W010",
            )
        yield from self._check_tls(address.scheme)
        if not self.timeout_seconds > 0:
            yield checks.Error(
                f"The vector store's timeout_seconds is {self.timeout_seconds}.",
                hint="Use a number of seconds above 0, such as 10.",
                id="shopsearch.E011",
            )

    def _check_tls(self, scheme: str) -> Iterator[checks.CheckMessage]:
        if 0 < len(_CLIENT_TLS & self.tls.keys()) < len(_CLIENT_TLS):
            yield checks.Error(
                "The vector store's client certificate is incomplete.",
                hint="Give client_certificate, client_key and ca_certificate, or ca_certificate alone.",
                id="shopsearch.E013",
            )
        if self.tls and scheme != "https":
            yield checks.Error(
                f"The vector store has certificates, but an address without TLS: {self.uri!r}.",
                hint="Use an address that begins with https://.",
                id="shopsearch.E013",
            )
        for path in (path for name, path in self.tls.items() if name.endswith("_path")):
            if not os.access(path, os.R_OK):
                yield checks.Error(
                    f"The vector store's certificate or key {path} cannot be read.",
                    hint="Give the path of a PEM file that this process may read.",
                    id="shopsearch.E013",
                )

    def close(self) -> None:
        """Close this process's client; the next call makes a new one."""
        self._server = None
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def _client(self) -> Any:
        # By process id, because neither a channel nor a held lock survives a fork. A child must not close its parent's
        # client: that would disconnect the parent.
        process = os.getpid()
        with self._locks.setdefault(process, threading.Lock()):
            if process not in self._clients:
                for problem in self.check():
                    if problem.is_serious():
                        raise ImproperlyConfigured(f"{problem.msg} {problem.hint}")
                self._clients[process] = import_pymilvus().MilvusClient(
                    self.uri,
                    token=self.token,
                    db_name=self.database,
                    timeout=self.timeout_seconds,
                    dedicated=True,  # pymilvus's shared registry of connections hangs in a forked child
                    grpc_options=_GRPC_OPTIONS,
                    **self.tls,
                )
            return self._clients[process]


def _is_refusal(error: BaseException | None, grpc: Any) -> bool:
    """Whether the server rejected our credentials."""
    return isinstance(error, grpc.RpcError) and error.code() in (
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    )
