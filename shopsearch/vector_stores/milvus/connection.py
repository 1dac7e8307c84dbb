"""The connection to a Milvus server: pymilvus without its surprises, and its failures as ours."""

from __future__ import annotations

import importlib
import logging
import logging.config
import os
import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from django.core import checks
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError

_import_lock = threading.Lock()

# Without these a channel waits up to two minutes between attempts to reach a server that was away; and Milvus Lite
# takes more frequent pings than the last one allows for an attack.
_GRPC_OPTIONS = {
    "grpc.initial_reconnect_backoff_ms": 200,
    "grpc.min_reconnect_backoff_ms": 200,
    "grpc.max_reconnect_backoff_ms": 1_000,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.keepalive_time_ms": 330_000,
}
_ADDRESS = re.compile(r"(https?://|tcp://|unix:).*(?<!\.db)")
_HERE = ("localhost", "127.0.0.1", "::1")
_UNREACHABLE, _COLLECTION_MISSING, _NOT_LOADED = 2, 100, 101


class CollectionMissing(VectorStoreError):
    """There is no such collection in the vector store."""


def _is_refusal(error: BaseException | None, grpc: Any) -> bool:
    """Whether the server asked who we are and did not like the answer."""
    return isinstance(error, grpc.RpcError) and error.code() in (
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.PERMISSION_DENIED,
    )


def import_pymilvus() -> Any:
    """The module pymilvus, imported so that the project's logging and environment stay as they are.

    Importing it plainly closes every log handler there is, adds one of its own, and reads the nearest ``.env``.
    """
    with _import_lock:
        if "pymilvus" not in sys.modules:
            with (
                _deaf_to_pymilvus(logging.config, "dictConfig"),
                _deaf_to_pymilvus(importlib.import_module("dotenv"), "load_dotenv"),
            ):
                importlib.import_module("pymilvus")
            logger = logging.getLogger("pymilvus")
            if logger.level == logging.NOTSET and not logger.handlers:
                # Every failed call is raised to us; pymilvus logs it as an error with its traceback besides.
                logger.setLevel(logging.CRITICAL)
        return sys.modules["pymilvus"]


@contextmanager
def _deaf_to_pymilvus(module: Any, name: str) -> Iterator[None]:
    """Meanwhile the module's function does nothing for pymilvus, and the same as ever for any other thread."""
    function: Callable[..., Any] = getattr(module, name)

    def deaf(*args: Any, **kwargs: Any) -> Any:
        if sys._getframe(1).f_globals.get("__name__", "").partition(".")[0] == "pymilvus":
            return None
        return function(*args, **kwargs)

    setattr(module, name, deaf)
    try:
        yield
    finally:
        setattr(module, name, function)


@dataclass(kw_only=True, eq=False)
class Connection:
    """One client per process, made at its first call; every call has a deadline and fails with VectorStoreError."""

    uri: str
    token: str = field(repr=False)
    database: str
    timeout_seconds: float
    _clients: dict[int, Any] = field(default_factory=dict, init=False, repr=False)
    _locks: dict[int, threading.Lock] = field(default_factory=dict, init=False, repr=False)

    def call(self, verb: str, collection: str = "", **arguments: Any) -> Any:
        """What MilvusClient's method of this name answers. Loads a collection that a restart left unloaded.

        Raises CollectionMissing when the collection does not exist, VectorStoreError for everything else.
        """
        if collection:
            arguments["collection_name"] = collection
        arguments.setdefault("timeout", self.timeout_seconds)
        with self.failures():
            client = self._client()
            try:
                return getattr(client, verb)(**arguments)
            except import_pymilvus().MilvusException as error:
                if error.code != _NOT_LOADED or not collection:
                    raise
            client.load_collection(collection, timeout=self.timeout_seconds)
            return getattr(client, verb)(**arguments)

    @contextmanager
    def failures(self) -> Iterator[None]:
        """Whatever goes wrong inside is raised as VectorStoreError, with pymilvus's own error as its cause."""
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
        except grpc.RpcError as error:  # a deadline, or a call that the server does not know, comes unwrapped
            raise VectorStoreError from error

    def check(self) -> Iterator[checks.CheckMessage]:
        """What is wrong with the address; opens no connection."""
        if not _ADDRESS.fullmatch(self.uri):
            # pymilvus would open a file itself, in this process alone: the web server and the worker cannot share it.
            yield checks.Error(
                f"The vector store's uri is not a server's address: {self.uri!r}.",
                hint="Run `manage.py shopsearch_milvus_lite --data-dir DIRECTORY` and use http://127.0.0.1:19530.",
                id="shopsearch.E010",
            )
        address = urlsplit(self.uri)
        if (
            address.scheme in ("http", "tcp")
            and address.hostname not in _HERE
            and (self.token or address.password)
        ):
            yield checks.Warning(
                f"The vector store's token travels unencrypted to {address.hostname}.",
                hint="Use an address that begins with https://.",
                id="shopsearch.W010",
            )
        if not self.timeout_seconds > 0:
            yield checks.Error(
                f"The vector store's timeout_seconds is {self.timeout_seconds}.",
                hint="Use a number of seconds above 0, such as 10.",
                id="shopsearch.E011",
            )

    def close(self) -> None:
        """Let go of this process's client; the next call makes a new one."""
        client = self._clients.pop(os.getpid(), None)
        if client is not None:
            client.close()

    def _client(self) -> Any:
        # By process id: neither a channel nor a lock that somebody held survives a fork. A parent's client is left
        # alone in the child: closing it there would hang up on the parent.
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
                )
            return self._clients[process]
