"""One HTTP request, with a deadline and a limit of bytes: for pictures at an address, and for model servers.

Built on httpcore, the layer beneath httpx, because it does less: it follows no redirects, reads no proxy from the
environment, keeps no cookies and unpacks no compressed bodies.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cache

import httpcore2
from httpx2 import URL, Headers, InvalidURL

from shopsearch.threads import within

__all__ = ["URL", "AddressRefused", "AnswerTooLarge", "Deadline", "Failure", "InvalidURL", "Response", "send"]

PORTS = {"https": 443, "http": 80}
MAX_ADDRESSES = 3
"""How many of a host's addresses are tried at most."""
MAX_ERROR_BYTES = 64 * 1024
"""How much of an error or a redirect is read."""
_WRITE_BYTES = 16 * 1024
_lookups = threading.BoundedSemaphore(32)
"""Limited because a name server that does not answer blocks a thread until the system's own timeout."""


class Failure(Exception):
    """There is no answer. The message has none of the server's own words, so it may be logged."""

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.may_pass = may_pass
        """Whether another try may succeed."""


class AddressRefused(Failure):
    """The host has an address that the caller does not allow."""


class AnswerTooLarge(Failure):
    """The body has more than ``max_bytes``."""


class Deadline:
    """The moment by which everything must be done."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._ends_at = time.monotonic() + seconds

    def left(self) -> float:
        """The seconds that are left. Raises TimeoutError if there are none."""
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def ends_within(self, seconds: float) -> bool:
        return time.monotonic() + seconds >= self._ends_at


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    status: int
    headers: Headers = field(repr=False)
    body: bytes = field(repr=False)


def send(
    method: str,
    url: URL,
    *,
    headers: Mapping[str, str],
    content: bytes = b"",
    deadline: Deadline,
    max_bytes: int,
    allows: Callable[[str], bool] = lambda address: True,
) -> Response:
    """The server's answer, whatever its status. The body of an error or redirect is cut at MAX_ERROR_BYTES.

    The host's name is looked up once, ``allows`` is asked about every address found, and the connection goes to one of
    those very addresses. A body that is compressed or longer than ``max_bytes`` is refused.

    Raises Failure. Its traceback has the headers in it, so a caller that sends secrets should drop it.
    """
    try:
        stream = _Timed(_connect(url, deadline, allows), deadline)
        target = httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        with closing(httpcore2.HTTP11Connection(target.origin, stream)) as connection:
            sent = [("Host", url.netloc.decode("ascii")), *headers.items()]
            sent += [("Accept-Encoding", "identity"), ("Connection", "close")]
            sent += [("Content-Length", str(len(content)))] if content else []
            request = httpcore2.Request(method, target, headers=sent, content=content)
            with closing(connection.handle_request(request)) as response:
                received = Headers(response.headers)
                is_good = 200 <= response.status < 300
                body = _body(response.iter_stream(), received, max_bytes, is_good=is_good)
                return Response(status=response.status, headers=received, body=body)
    except (TimeoutError, httpcore2.TimeoutException) as error:
        raise Failure(f"no answer within {deadline.seconds:g} seconds", may_pass=True) from error
    except socket.gaierror as error:
        again = error.errno == socket.EAI_AGAIN
        raise Failure(f"no such host: {error.strerror}", may_pass=again) from error
    except UnicodeError as error:  # of the look-up, and of a header
        raise Failure("the address or a header has characters that cannot be sent") from error
    except (OSError, httpcore2.NetworkError, httpcore2.ProtocolError) as error:
        cause = error.__cause__ or error
        if isinstance(cause, ssl.SSLCertVerificationError):
            raise Failure(f"a certificate that is not trusted: {cause.verify_message}") from error
        words = cause.strerror if isinstance(cause, OSError) else None
        raise Failure(f"the connection failed: {words or type(error).__name__}", may_pass=True) from error


def _connect(url: URL, deadline: Deadline, allows: Callable[[str], bool]) -> httpcore2.NetworkStream:
    if url.scheme not in PORTS:
        raise Failure("the address is not one of http or https")
    port = PORTS[url.scheme] if url.port is None else url.port
    found = _look_up(url.raw_host.decode("ascii"), port, deadline)
    # A host with both public and private addresses looks like an attack: refuse it altogether.
    for address in found:
        if not allows(address):
            raise AddressRefused(f"not on the public internet: {url.host} is {address}")
    failure: Exception = OSError("the host has no address")
    for place, address in enumerate(tried := found[:MAX_ADDRESSES]):
        try:
            # Divide the time, so that a silent address leaves some for the others.
            share = deadline.left() / (len(tried) - place)
            stream = httpcore2.SyncBackend().connect_tcp(address, port, timeout=share)
            if url.scheme == "http":
                return stream
            return stream.start_tls(
                _tls(), server_hostname=url.raw_host.decode("ascii"), timeout=deadline.left()
            )
        except (httpcore2.NetworkError, httpcore2.TimeoutException) as error:
            failure = error
    raise failure


def _look_up(host: str, port: int, deadline: Deadline) -> list[str]:
    """The host's addresses. In a thread, because the system's look-up has no timeout."""

    def look_up() -> list[str]:
        try:
            return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        finally:
            _lookups.release()

    if not _lookups.acquire(timeout=deadline.left()):
        raise TimeoutError
    return within(deadline.left(), look_up, name="shopsearch-look-up")


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Timed(httpcore2.NetworkStream):
    """A stream whose every read and write ends by the deadline, however slowly the server drips."""

    def __init__(self, stream: httpcore2.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout=self._deadline.left())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In chunks: the stream beneath restarts its timeout each time the server takes some bytes.
        for start in range(0, len(buffer), _WRITE_BYTES):
            self._stream.write(buffer[start : start + _WRITE_BYTES], timeout=self._deadline.left())

    def close(self) -> None:
        self._stream.close()


def _body(parts: Iterable[bytes], headers: Headers, max_bytes: int, *, is_good: bool) -> bytes:
    """The whole body of a good answer; the beginning of an error, where servers say what is wrong."""
    if is_good and headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Failure("the answer is compressed, which was not asked for")
    limit = max_bytes if is_good else min(max_bytes, MAX_ERROR_BYTES)
    length = headers.get("Content-Length", "")
    too_large = length.isdigit() and int(length) > limit
    body = bytearray()
    for part in () if too_large and is_good else parts:
        body += part
        if too_large := len(body) > limit:
            break
    if too_large and is_good:
        raise AnswerTooLarge(f"the answer has more than {max_bytes} bytes")
    return bytes(body[:limit])
