"""Fetches a picture by an address that a stranger gave: from the public internet only, within limits."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils.translation import gettext_noop as _

from shopsearch.conf import settings
from shopsearch.exceptions import Busy, ImageTooLarge, ImageUnavailable, QueryError
from shopsearch.images import http

logger = logging.getLogger(__name__)
MAX_ADDRESS_CHARACTERS = 2_000
MAX_FETCHES = 8
"""How many shoppers' pictures are fetched at once: each blocks a thread of the web server while it waits."""

_REDIRECTS = (301, 302, 303, 307, 308)
_MAY_PASS = (408, 425, 429, 500, 502, 503, 504)
_fetches = threading.BoundedSemaphore(MAX_FETCHES)


def fetched(address: str) -> bytes:
    """The file at an address that a shopper gave; https only.

    Raises QueryError if SHOPSEARCH["FETCH_IMAGE_URLS"] forbids it, Busy while this process is fetching MAX_FETCHES
    others, and what ``Downloader.fetch`` raises.
    """
    if not settings.FETCH_IMAGE_URLS:
        raise QueryError(_("Pictures are not fetched by their address here; send the picture as a file."))
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

    A host's name is looked up once, its addresses are checked, and the connection goes to one of them, so a name
    server that changes its answer (DNS rebinding) gains nothing. Redirects are checked in the same way.
    """

    schemes: tuple[str, ...] = ("https",)
    ports: tuple[int, ...] = ()
    """Ports that are allowed besides the scheme's own."""
    networks: tuple[str, ...] = ()
    """Networks that are allowed although they are not public, as of a shop's picture server: ``("10.1.0.0/16",)``."""
    redirects: int = 3
    seconds: float = 10.0
    """The limit for all of it: look-ups, redirects and the whole body."""

    def fetch(self, address: str) -> bytes:
        """The file at the address, of any kind: ``shopsearch.images.decode`` checks whether it is a picture.

        Raises ImageTooLarge above SHOPSEARCH["MAX_IMAGE_BYTES"], and ImageUnavailable for anything else that goes
        wrong: its message may be shown to anyone, its ``reason`` is only for the log.
        """
        deadline = http.Deadline(self.seconds)
        try:
            url = http.URL(address)
            for _ in range(self.redirects + 1):
                response = self._get(url, deadline)
                location = response.headers.get("Location")
                if response.status not in _REDIRECTS or location is None:
                    return _content(response)
                url = url.join(location)
        except http.AnswerTooLarge as error:
            raise ImageTooLarge from error
        except http.Failure as error:
            raise ImageUnavailable(reason=str(error), may_pass=error.may_pass) from error
        except (http.InvalidURL, ValueError) as error:
            raise ImageUnavailable(reason="the address cannot be read") from error
        raise ImageUnavailable(reason=f"more than {self.redirects} redirects")

    def _get(self, url: http.URL, deadline: http.Deadline) -> http.Response:
        if len(str(url)) > MAX_ADDRESS_CHARACTERS:
            raise ImageUnavailable(reason=f"the address is longer than {MAX_ADDRESS_CHARACTERS} characters")
        if url.scheme not in self.schemes:
            raise ImageUnavailable(reason=f"only {' and '.join(self.schemes)} addresses are fetched")
        if url.userinfo:
            raise ImageUnavailable(reason="the address has a user's name in it")
        if url.port is not None and url.port not in self.ports:
            raise ImageUnavailable(reason=f"the port {url.port} is not allowed")
        if not url.host:
            raise ImageUnavailable(reason="the address has no host")
        return http.send(
            "GET",
            url,
            headers={"User-Agent": "shopsearch", "Accept": "image/*"},
            deadline=deadline,
            max_bytes=settings.MAX_IMAGE_BYTES,
            allows=lambda found: is_public(found) or is_in(found, self.networks),
        )


def _content(response: http.Response) -> bytes:
    if response.status == 200:
        return response.body
    wait = response.headers.get("Retry-After", "")
    raise ImageUnavailable(
        reason=f"the server answered {response.status}",
        may_pass=response.status in _MAY_PASS,
        retry_after_seconds=int(wait) if wait.isascii() and wait.isdigit() and len(wait) < 6 else None,
    )


# IANA's special-purpose networks, listed here because the ipaddress module's answers differ between Python versions.
_NOT_PUBLIC = [
    ipaddress.ip_network(network)
    for network in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24"),
        *("192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4"),
        "168.63.129.16/32",  # Azure's internal services, at an address that looks public
        *("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"),
    )
]

_PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
"""The only IPv6 network in public use: embedded IPv4, local and multicast addresses all lie outside."""


def is_public(address: str) -> bool:
    """Whether an IP address is on the public internet: not private, local, reserved or an embedded IPv4 address."""
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
