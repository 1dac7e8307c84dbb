"""A model server over HTTP: one question, answered or given up by its deadline."""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import RerankerError
from shopsearch.images import http
from shopsearch.rerankers.prompts import quoted

MAX_BYTES = 1024 * 1024
"""The largest answer. Ten thousand tokens take a twentieth of it."""
BACKOFF_SECONDS = 0.25
"""The pause before the second try; it doubles before each further one."""
TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
"""Statuses after which another try may succeed."""
MISCONFIGURED = {
    401: "Correct its API key.",
    403: "Correct its API key.",
    404: "Correct url, which ends before /chat/completions or /systemone, and the model's name.",
}
"""Statuses that a wrong setting causes, with what to do about them."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(kw_only=True, eq=False)
class Breaker:
    """A circuit breaker: after failures in a row it refuses requests for a while, then lets one try through."""

    max_failures: int
    pause_seconds: float
    clock: Callable[[], float] = time.monotonic
    _failures: int = field(default=0, init=False)
    _refused_until: float = field(default=0.0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def admit(self) -> None:
        """Raises RerankerError while the breaker is open."""
        with self._lock:
            if self._failures < self.max_failures:
                return
            left = self._refused_until - self.clock()
            if left > 0:
                raise RerankerError(
                    f"The model server failed {self._failures} times in a row; it is asked again in {left:.0f} s."
                )
            # This request tries; the others are refused until it has an answer.
            self._refused_until = self.clock() + self.pause_seconds

    def succeeded(self) -> None:
        with self._lock:
            self._failures = 0

    def failed(self) -> None:
        with self._lock:
            self._failures += 1
            self._refused_until = self.clock() + self.pause_seconds


class _Transient(Exception):
    """The server failed in a way that may pass soon."""

    def __init__(self, message: str, wait_seconds: float = 0.0) -> None:
        super().__init__(message)
        self.wait_seconds = wait_seconds


class _Refused(Exception):
    """The server works but refuses this request."""


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
    def address(self) -> http.URL:
        """The API's base address. Raises ImproperlyConfigured if it is not a server's address."""
        try:
            address = http.URL(self.url)
        except (http.InvalidURL, TypeError):
            raise ImproperlyConfigured("The reranker's url is not an address.") from None
        good = address.scheme in http.PORTS and address.host and 0 < (address.port or 80) < 65_536
        if not good or address.query or address.fragment or " " in self.url:
            raise ImproperlyConfigured("The reranker's url must look like https://host/v1.")
        if address.userinfo:
            raise ImproperlyConfigured("The reranker's url must not contain a password; use api_key.")
        return address

    @property
    def exposes_key(self) -> bool:
        """Whether an API key would travel unencrypted to another machine."""
        has_key = bool(self.api_key or self.api_key_environment)
        return has_key and self.address.scheme == "http" and self.address.host not in LOOPBACK

    def ask(self, path: str, question: Mapping[str, object]) -> Mapping[str, Any]:
        """The JSON object that the server answers to a POST of ``question`` to ``path``.

        All tries and the pauses between them take ``timeout_seconds`` at most. Raises RerankerError if there is no
        such answer, ImproperlyConfigured if the address or the API key is malformed.
        """
        url = self.address.copy_with(path=f"{self.address.path.rstrip('/')}{path}")
        self._key()
        self.breaker.admit()
        try:
            answer = self._try(url, json.dumps(question).encode())
        except _Refused as refusal:
            self.breaker.succeeded()
            raise RerankerError(str(refusal)) from None
        except BaseException:
            self.breaker.failed()
            raise
        self.breaker.succeeded()
        return answer

    def _try(self, url: http.URL, content: bytes) -> Mapping[str, Any]:
        deadline = http.Deadline(self.timeout_seconds)
        for tried in range(self.retries + 1):
            try:
                return self._read(self._send(url, content, deadline))
            except _Transient as failure:
                # Random, so that not every worker asks at the moment when the server comes back.
                pause = BACKOFF_SECONDS * 2**tried * random.uniform(0.5, 1)  # noqa: S311
                pause = max(pause, failure.wait_seconds)
                if tried == self.retries or deadline.ends_within(pause):
                    raise RerankerError(str(failure)) from failure.__cause__
            time.sleep(pause)
        raise AssertionError("unreachable")

    def _send(self, url: http.URL, content: bytes, deadline: http.Deadline) -> http.Response:
        try:
            return http.send(
                "POST", url, headers=self._headers(), content=content, deadline=deadline, max_bytes=MAX_BYTES
            )
        except http.Failure as error:
            # Drop the frames and causes: their variables hold the API key.
            failure = error.with_traceback(None)
            failure.__cause__ = failure.__context__ = None
        message = f"The model server {url.host} gave no usable answer: {failure}."
        raise (_Transient if failure.may_pass else RerankerError)(message) from failure

    def _headers(self) -> dict[str, str]:
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "User-Agent": "shopsearch",
        }
        return {**headers, "Authorization": f"Bearer {key}"} if (key := self._key()) else headers

    def _key(self) -> str:
        key = (self.api_key or os.environ.get(self.api_key_environment, "")).strip()
        if key.isascii() and key.isprintable():
            return key
        del key  # an error report may show this frame's variables
        raise ImproperlyConfigured("The reranker's API key has characters that cannot be sent.")

    def _read(self, response: http.Response) -> Mapping[str, Any]:
        value, status = self._parsed(response.body), response.status
        reason = _reason(value)
        if status in TRANSIENT or (status == 200 and isinstance(value, dict) and value.get("error")):
            wait = response.headers.get("Retry-After", "").strip()
            seconds = float(wait) if wait.isascii() and wait.isdigit() else 0.0
            raise _Transient(f"The model server failed with status {status}{reason}.", seconds)
        if status in MISCONFIGURED:
            hint = MISCONFIGURED[status]
            raise RerankerError(f"The model server refused with status {status}{reason}. {hint}")
        if 300 <= status < 400:
            raise RerankerError(
                "The model server redirects, which is not followed; set url to where it leads."
            )
        if status != 200:
            raise _Refused(f"The model server refused the request with status {status}{reason}.")
        if not isinstance(value, dict):
            raise RerankerError("The model server's answer is not a JSON object.")
        return value

    def _parsed(self, body: bytes) -> object:
        """The JSON value, or None if it is not JSON; without the API key, which some servers quote."""
        text = body.decode("utf-8", "replace")
        text = text.replace(self._key(), "[API key]") if len(self._key()) >= 8 else text
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None


def _reason(value: object) -> str:
    """The message in an error's body, in OpenAI's or FastAPI's form; quoted and bounded."""
    if not isinstance(value, dict):
        return ""
    error = value.get("error") or value.get("detail") or value.get("message")
    message = error.get("message") if isinstance(error, dict) else error
    return f": {quoted(str(message))}" if message else ""
