"""A model's server over HTTP: one question, answered or given up within a bounded time.

The standard library's client, because of what it leaves out: it follows no redirect, reads no proxy from the
environment, keeps no cookies and unpacks no compressed body, and it is no further dependency.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from socket import SHUT_RDWR, socket
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import RerankerError
from shopsearch.rerankers.prompts import quoted

MOST_BYTES = 1024 * 1024
"""Of an answer. Ten thousand tokens are a twentieth of it."""
BACKOFF_SECONDS = 0.25
"""Before the second try; twice as long before each further one."""
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""What may be over at the next try."""
MISCONFIGURED = {
    401: "Correct its API key.",
    403: "Correct its API key.",
    404: "Correct url, which ends before /chat/completions or /systemone, and the model's name.",
}
"""What every request would meet, and what to do about it."""
THREAD = "shopsearch-model-server"
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(kw_only=True, eq=False)
class Breaker:
    """Refuses for a while after failures in a row, then lets one try through."""

    most_failures: int
    pause_seconds: float
    clock: Callable[[], float] = time.monotonic
    _failures: int = field(default=0, init=False)
    _refused_until: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def admit(self) -> None:
        """Raises RerankerError while it is open."""
        with self._lock:
            if self._failures < self.most_failures:
                return
            left = self._refused_until - self.clock()
            if left > 0:
                raise RerankerError(
                    f"The model server failed {self._failures} times in a row; it is asked again in {left:.0f} s."
                )
            # This one tries; the others wait for how it ends.
            self._refused_until = self.clock() + self.pause_seconds

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._refused_until = self.clock() + self.pause_seconds


class _Passing(Exception):
    """The server failed in a way that may be over soon."""

    wait_seconds: float = 0.0


class _Refused(Exception):
    """The server is well, and does not want this very request."""


@dataclass(kw_only=True, eq=False)
class Endpoint:
    """A server's API: asked by any number of threads, each for at most ``timeout_seconds``."""

    url: str
    api_key: str = field(default="", repr=False)
    api_key_environment: str = ""
    timeout_seconds: float
    retries: int
    breaker: Breaker

    @property
    def address(self) -> SplitResult:
        """Where the API begins. Raises ImproperlyConfigured where that is not an address of a server."""
        try:
            address = urlsplit(self.url)
            good = address.scheme in ("http", "https") and address.hostname and address.port != 0
        except (ValueError, AttributeError, TypeError):
            raise ImproperlyConfigured("The reranker's url is not an address.") from None
        if not good or address.query or address.fragment or not self.url.isprintable() or " " in self.url:
            raise ImproperlyConfigured("The reranker's url must look like https://host/v1.")
        if address.username or address.password:
            raise ImproperlyConfigured("The reranker's url must not contain a password; use api_key.")
        return address

    @property
    def tells_the_network(self) -> bool:
        """Whether an API key would travel unencrypted to another machine."""
        has_key = bool(self.api_key or self.api_key_environment)
        return has_key and self.address.scheme == "http" and self.address.hostname not in LOOPBACK

    def ask(self, path: str, question: Mapping[str, object]) -> Mapping[str, Any]:
        """The JSON object that the server answers when this is posted to ``path``.

        All tries, and the pauses between them, take ``timeout_seconds`` at most. Raises RerankerError when there is no
        such answer, ImproperlyConfigured when the address or the API key is not one.
        """
        address = self.address
        self._key()
        self.breaker.admit()
        try:
            answer = self._try(address, path, json.dumps(question).encode())
        except _Refused as refusal:
            self.breaker.succeeded()
            raise RerankerError(str(refusal)) from None
        except BaseException:
            self.breaker.failed()
            raise
        self.breaker.succeeded()
        return answer

    def _try(self, address: SplitResult, path: str, content: bytes) -> Mapping[str, Any]:
        deadline = time.monotonic() + self.timeout_seconds
        for tried in range(self.retries + 1):
            request = _Request(address, path, content, self._key(), seconds=deadline - time.monotonic())
            try:
                return request.answer()
            except _Passing as failure:
                # Not all at the same moment: a server that comes back would meet every worker at once.
                pause = BACKOFF_SECONDS * 2**tried * random.uniform(0.5, 1)  # noqa: S311
                pause = max(pause, failure.wait_seconds)
                if tried == self.retries or time.monotonic() + pause >= deadline:
                    raise RerankerError(str(failure)) from failure.__cause__
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _key(self) -> str:
        key = (self.api_key or os.environ.get(self.api_key_environment, "")).strip()
        if key.isascii() and key.isprintable():
            return key
        del key  # a report of the error may show this frame
        raise ImproperlyConfigured("The reranker's API key has characters that cannot be sent.")


class _Request(threading.Thread):
    """One try, in a thread of its own.

    Looking up a name, connecting, TLS and every read have timeouts of their own, and none has one for the sum: a server
    that sends a byte a second would never time out. So the sum is waited for here, and then the connection is cut.
    """

    def __init__(self, address: SplitResult, path: str, content: bytes, key: str, *, seconds: float) -> None:
        super().__init__(daemon=True, name=THREAD)
        self._address, self._content, self._key, self._seconds = address, content, key, max(seconds, 0.001)
        self._path = f"{address.path.rstrip('/')}{path}"
        self._given_up = threading.Event()
        self._socket: socket | None = None
        self._status, self._retry_after, self._body = 0, "", b""
        self._error: Exception | None = None

    def answer(self) -> Mapping[str, Any]:
        """The JSON object that came back. Raises _Passing, _Refused, and RerankerError for all else."""
        self.start()
        try:
            self.join(self._seconds)
        finally:  # the caller's own time limit included
            in_time = not self.is_alive()
            if not in_time:
                self._cut()
        if not in_time:
            raise _Passing(f"The model server {self._address.hostname} did not answer in time.")
        if self._error is not None:
            # Without its frames, whose variables have the API key.
            cause = self._error.with_traceback(None)
            raise _Passing(
                f"The model server {self._address.hostname} cannot be reached, or its answer was cut off: "
                f"{type(cause).__name__}."
            ) from cause
        if len(self._body) > MOST_BYTES:
            raise RerankerError(f"The model server's answer has more than {MOST_BYTES} bytes.")
        return self._read()

    def _cut(self) -> None:
        self._given_up.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(SHUT_RDWR)

    def run(self) -> None:
        connection = self._connection()
        try:
            connection.connect()
            self._socket = connection.sock
            if self._given_up.is_set():
                return
            connection.request("POST", self._path, self._content, self._headers())
            response = connection.getresponse()
            self._body = response.read(MOST_BYTES + 1)
            if response.length and len(self._body) <= MOST_BYTES:
                raise http.client.IncompleteRead(self._body, response.length)
            self._retry_after = response.getheader("Retry-After", "")
            self._status = response.status
        except Exception as error:  # whatever a stranger's bytes provoke in the client
            self._error = error
        finally:
            connection.close()

    def _connection(self) -> http.client.HTTPConnection:
        host, port = str(self._address.hostname), self._address.port
        # Longer than is waited: it only ends what could not be cut, such as connecting.
        seconds = self._seconds + 1
        if self._address.scheme == "https":
            context = ssl.create_default_context()
            return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)
        return http.client.HTTPConnection(host, port, timeout=seconds)

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Content-Type": "application/json",
            "Connection": "close",
            "User-Agent": "shopsearch",
        }
        return {**headers, "Authorization": f"Bearer {self._key}"} if self._key else headers

    def _read(self) -> Mapping[str, Any]:
        # Servers that quote the request must not bring the key into a receipt or a message.
        text = self._body.decode("utf-8", "replace")
        text = text.replace(self._key, "[API key]") if len(self._key) >= 8 else text
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            value = None
        said = _said(value)
        if self._status in PASSING or (
            self._status == 200 and isinstance(value, dict) and value.get("error")
        ):
            failure = _Passing(f"The model server failed with status {self._status}{said}.")
            seconds = self._retry_after.strip()
            failure.wait_seconds = float(seconds) if seconds.isascii() and seconds.isdigit() else 0.0
            raise failure
        if self._status in MISCONFIGURED:
            hint = MISCONFIGURED[self._status]
            raise RerankerError(f"The model server refused with status {self._status}{said}. {hint}")
        if 300 <= self._status < 400:
            raise RerankerError(
                "The model server redirects, which is not followed; set url to where it leads."
            )
        if self._status != 200:
            raise _Refused(f"The model server refused the request with status {self._status}{said}.")
        if not isinstance(value, dict):
            raise RerankerError("The model server's answer is not a JSON object.")
        return value


def _said(value: object) -> str:
    """What an error's body says, quoted and bounded, as OpenAI's and FastAPI's have it."""
    if not isinstance(value, dict):
        return ""
    error = value.get("error") or value.get("detail") or value.get("message")
    message = error.get("message") if isinstance(error, dict) else error
    return f": {quoted(str(message))}" if message else ""
