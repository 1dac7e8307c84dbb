"""Fetch a stranger's picture by its address: from the public internet only, within limits."""

from __future__ import annotations

import io
import ipaddress
import logging
import queue
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from shopsearch.conf import settings
from shopsearch.exceptions import Busy, ImageTooLarge, ImageUnavailable, QueryError

logger = logging.getLogger(__name__)
USER_AGENT = "shopsearch"
LONGEST_ADDRESS = 2_000
FETCHES_AT_ONCE = 8
"""Of shoppers' pictures: each waits for a stranger's server, and takes a thread of the web server's meanwhile."""

_PORTS = {"https": 443, "http": 80}
_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_PART_BYTES = 64 * 1024
_ADDRESSES_TRIED = 3
_HOST = re.compile(r"[A-Za-z0-9._:-]{1,253}")
_NOT_IN_AN_ADDRESS = re.compile(r"[\x00-\x20\x7f\\]")
_fetches = threading.BoundedSemaphore(FETCHES_AT_ONCE)
_lookups = threading.BoundedSemaphore(32)
"""A name server that does not answer keeps a thread for as long as the system waits for it."""


def fetched(address: str) -> bytes:
    """The file at an address that a shopper gave, where SHOPSEARCH["FETCH_IMAGE_URLS"] allows it; https only.

    Raises QueryError where it does not, Busy while FETCHES_AT_ONCE others are under way in this process, and what
    ``Downloader.fetch`` raises.
    """
    if not settings.FETCH_IMAGE_URLS:
        raise QueryError("Pictures are not fetched by their address here; send the picture as a file.")
    if not _fetches.acquire(blocking=False):
        raise Busy
    try:
        return Downloader(seconds=settings.FETCH_IMAGE_SECONDS).fetch(address)
    except ImageUnavailable as error:
        logger.info("A shopper's picture was not fetched: %s", error.reason)
        raise
    finally:
        _fetches.release()


@dataclass(frozen=True, kw_only=True)
class Downloader:
    """Fetches pictures by https from public addresses; each field allows a little more, or less.

    A host's address is looked up once and checked, and the connection goes to that very address, so that a name
    server that changes its mind gains nothing; after a redirect all is checked anew. No proxy is used, no cookie kept,
    nothing of a request but the address is sent.
    """

    schemes: tuple[str, ...] = ("https",)
    ports: tuple[int, ...] = ()
    """Allowed beside the scheme's own."""
    networks: tuple[str, ...] = ()
    """Reached although they are not public, such as those of a shop's own picture server: ``("10.1.0.0/16",)``."""
    redirects: int = 3
    seconds: float = 10.0
    """For everything together: names, redirects, and the last byte."""

    def fetch(self, address: str) -> bytes:
        """The file at the address, whatever it is: ``shopsearch.images.decode`` judges that.

        Raises ImageTooLarge past SHOPSEARCH["MAX_IMAGE_BYTES"], and ImageUnavailable for everything else that comes
        between: its message may be shown to anyone, its ``reason`` is for a log.
        """
        deadline = _Deadline(self.seconds)
        for _ in range(self.redirects + 1):
            try:
                target = self._checked(address)
                with _asked(target, self._connected(target, deadline)) as response:
                    location = response.headers.get("Location")
                    if response.status not in _REDIRECTS or location is None:
                        return _content(response)
                    address = urljoin(address, location)
            except TimeoutError as error:
                raise ImageUnavailable(
                    reason=f"no answer: not within {self.seconds:g} seconds", may_pass=True
                ) from error
            except ssl.SSLCertVerificationError as error:
                raise ImageUnavailable(
                    reason=f"a certificate that is not believed: {error.verify_message}"
                ) from error
            except socket.gaierror as error:
                again = error.errno == socket.EAI_AGAIN
                raise ImageUnavailable(reason=f"no such host: {error.strerror}", may_pass=again) from error
            except (OSError, HTTPException) as error:
                # Not the words of an HTTPException: they may be the server's own, and a log is no place for those.
                words = error.strerror if isinstance(error, OSError) else None
                reason = f"the connection failed: {words or type(error).__name__}"
                raise ImageUnavailable(reason=reason, may_pass=True) from error
            except ValueError as error:  # urljoin's; UnicodeError too
                raise ImageUnavailable(reason="the address cannot be read") from error
        raise ImageUnavailable(reason=f"more than {self.redirects} redirects")

    def _checked(self, address: str) -> _Target:
        """The address, taken apart. Raises ImageUnavailable, or ValueError, for one that is not to be asked."""
        if len(address) > LONGEST_ADDRESS:
            raise ImageUnavailable(reason=f"the address is longer than {LONGEST_ADDRESS} characters")
        if _NOT_IN_AN_ADDRESS.search(address):
            raise ImageUnavailable(reason="the address has spaces or other characters that none has")
        parts = urlsplit(address)
        if parts.scheme not in self.schemes or parts.scheme not in _PORTS:
            raise ImageUnavailable(reason=f"only {' and '.join(self.schemes)} addresses are fetched")
        if parts.username is not None or parts.password is not None:
            raise ImageUnavailable(reason="the address has a user's name in it")
        usual = _PORTS[parts.scheme]
        port = usual if parts.port is None else parts.port
        if port != usual and port not in self.ports:
            raise ImageUnavailable(reason=f"the port {port} is not one that is asked")
        host = (parts.hostname or "").encode("idna").decode("ascii")
        if not _HOST.fullmatch(host):
            raise ImageUnavailable(reason="the address has no host's name")
        path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~")
        query = quote(parts.query, safe="/%:@!$&'()*+,;=~?")
        return _Target(
            scheme=parts.scheme, host=host, port=port, path=f"{path}?{query}" if query else path, usual=usual
        )

    def _connected(self, target: _Target, deadline: _Deadline) -> _Wire:
        """A connection to the very address that was checked."""
        found = _looked_up(target, deadline)
        # One that must not be asked among others that may: somebody is trying something.
        for _, (address, *_) in found:
            if not is_public(address) and not is_in(address, self.networks):
                raise ImageUnavailable(reason=f"not on the public internet: {target.host} is {address}")
        failure = OSError("its name has no address")
        tried = found[:_ADDRESSES_TRIED]
        for number, (family, where) in enumerate(tried):
            plain = socket.socket(family, socket.SOCK_STREAM)
            try:
                # A share for each, or else a first one that is silent would leave nothing for the others.
                plain.settimeout(deadline.left() / (len(tried) - number))
                plain.connect(where)
                if target.scheme == "http":
                    return _Wire(plain, deadline)
                plain.settimeout(deadline.left())
                return _Wire(_tls().wrap_socket(plain, server_hostname=target.host), deadline)
            except OSError as error:
                plain.close()
                failure = error
            except BaseException:
                plain.close()
                raise
        raise failure


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    scheme: str
    host: str
    port: int
    usual: int
    path: str

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == self.usual else f"{host}:{self.port}"


class _Deadline:
    def __init__(self, seconds: float) -> None:
        self.ends_at = time.monotonic() + seconds

    def left(self) -> float:
        """Raises TimeoutError when there is nothing left."""
        left = self.ends_at - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _looked_up(target: _Target, deadline: _Deadline) -> list[tuple[socket.AddressFamily, Any]]:
    """The host's addresses. In a thread, because the system's look-up knows no deadline."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            answers.put(socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM))
        except Exception as error:  # the thread that waits raises it
            answers.put(error)
        finally:
            _lookups.release()

    if not _lookups.acquire(timeout=deadline.left()):
        raise TimeoutError
    threading.Thread(target=look_up, daemon=True).start()
    try:
        found = answers.get(timeout=deadline.left())
    except queue.Empty as error:
        raise TimeoutError from error
    if isinstance(found, Exception):
        raise found
    return [(family, where) for family, _type, _protocol, _name, where in found]


@cache
def _tls() -> ssl.SSLContext:
    return ssl.create_default_context()


class _Wire:
    """A socket as http.client uses one, every use of which ends with the deadline: a drop a second does not."""

    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self.connection = connection
        self.deadline = deadline

    def sendall(self, data: Any) -> None:
        self.connection.settimeout(self.deadline.left())
        self.connection.sendall(data)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Incoming(self.connection, self.deadline))

    def close(self) -> None:
        self.connection.close()


class _Incoming(io.RawIOBase):
    def __init__(self, connection: socket.socket, deadline: _Deadline) -> None:
        self.connection = connection
        self.deadline = deadline
        # Keeps the connection open until it is closed itself.
        self.file = connection.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self.connection.settimeout(self.deadline.left())
        return self.file.readinto(buffer)

    def close(self) -> None:
        self.file.close()
        super().close()


@contextmanager
def _asked(target: _Target, wire: _Wire) -> Iterator[HTTPResponse]:
    with closing(HTTPConnection(target.host, target.port)) as connection:
        connection.sock = wire
        connection.putrequest("GET", target.path, skip_host=True, skip_accept_encoding=True)
        connection.putheader("Host", target.host_header)
        connection.putheader("User-Agent", USER_AGENT)
        connection.putheader("Accept", "image/*")
        connection.putheader("Accept-Encoding", "identity")
        connection.putheader("Connection", "close")
        connection.endheaders()
        with closing(connection.getresponse()) as response:
            yield response


def _content(response: HTTPResponse) -> bytes:
    """What the answer holds, at most as much as a picture may have."""
    if response.status != 200:
        wait = response.headers.get("Retry-After", "")
        raise ImageUnavailable(
            reason=f"the server answered {response.status}",
            may_pass=response.status in _MAY_PASS,
            retry_after_seconds=int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else None,
        )
    limit: int = settings.MAX_IMAGE_BYTES
    expected = response.length
    content = bytearray()
    if expected is None or expected <= limit:
        while len(content) <= limit and (part := response.read(_PART_BYTES)):
            content += part
    if len(content) > limit or (expected or 0) > limit:
        raise ImageTooLarge
    if expected is not None and len(content) < expected:
        reason = f"the picture broke off: after {len(content)} of {expected} bytes"
        raise ImageUnavailable(reason=reason, may_pass=True)
    return bytes(content)


# What IANA has set aside, spelt out: the ipaddress module's own answers differ from one Python to the next.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # a cloud's own services, under an address that looks public
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
]

_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
"""Nothing else is given out: IPv4 in disguise, local and multicast addresses all lie outside."""


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet: none that is private, local, reserved or disguised."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    if parsed.version == 6 and parsed not in _PUBLIC_IPV6:
        return False
    return not any(parsed.version == network.version and parsed in network for network in _NOT_PUBLIC)


def is_in(address: str, networks: Iterable[str]) -> bool:
    """Whether an IP address lies in one of these networks, such as "10.1.0.0/16"."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    known = map(ipaddress.ip_network, networks)
    return any(parsed.version == network.version and parsed in network for network in known)
