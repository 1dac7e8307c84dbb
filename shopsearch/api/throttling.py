"""Throttles: how often one visitor may search, search by picture, and have a better order made."""

from __future__ import annotations

import logging
import math
import time
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any, Literal, get_args

from django.core.cache import cache
from django.http import HttpRequest
from django.utils.crypto import salted_hmac
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from shopsearch.conf import settings
from shopsearch.telemetry import metrics

logger = logging.getLogger(__name__)
Scope = Literal["search", "image", "rerank"]
SCOPES = get_args(Scope)
PERIODS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
PAUSE_SECONDS = 5.0
"""After a failure of the cache, how long it is not asked again: one that hangs delays one request, not each."""
NETWORK_BITS = 64
"""A visitor of IPv6 has a network of addresses to come from, which counts as one."""


def seconds_to_wait(request: Request | HttpRequest, scope: Scope) -> int:
    """Count this request of a visitor in the scope: 0 where it may be answered, else when the visitor may come again.

    A rate holds for all processes that share Django's default cache, exactly, where that cache counts in one step as
    Redis and Memcached do. Time is cut into the rate's periods by the clock. While the cache is away nobody waits.
    """
    rate = rate_of(scope)
    if rate is None:
        return 0
    most, period = int(rate.split("/")[0]), PERIODS[rate.split("/")[1][0]]
    now = time.time()
    number = int(now // period)
    if _counter.count(f"shopsearch:throttle:{scope}:{number}:{visitor(request)}", 2 * period) <= most:
        return 0
    metrics.count_throttled(scope)
    return max(1, math.ceil((number + 1) * period - now))


def rate_of(scope: Scope) -> str | None:
    """How often, as ``120/min``; None for no limit. Every search is counted in ``search``, whatever else it is."""
    rate: Any = settings.THROTTLE_RATE
    if isinstance(rate, dict):
        found: str | None = rate.get(scope)
        return found
    # One rate for all scopes is the rate of the one that counts everything.
    return rate if scope == "search" else None


def visitor(request: Request | HttpRequest) -> str:
    """A digest of who asks: a user where the REST API authenticates, the address otherwise.

    Nobody's address can be read from the cache. REST framework's NUM_PROXIES says which address is believed.
    """
    user = request.user if isinstance(request, Request) else None
    if user is not None and user.is_authenticated:
        who = f"user {user.pk}"
    else:
        who = _network(BaseThrottle().get_ident(request) or "")  # type: ignore[arg-type]
    return salted_hmac("shopsearch.api.throttling", who, algorithm="sha256").hexdigest()[:32]


def _network(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:  # whatever a proxy wrote
        return address
    if isinstance(parsed, IPv4Address) or parsed.ipv4_mapped:
        return str(getattr(parsed, "ipv4_mapped", parsed))
    return str(IPv6Network((int(parsed), NETWORK_BITS), strict=False))


class SearchThrottle(BaseThrottle):
    """SHOPSEARCH["THROTTLE_RATE"] for REST framework: every search, before its body is read."""

    def __init__(self) -> None:
        self.seconds = 0

    def allow_request(self, request: Request, view: Any) -> bool:
        self.seconds = seconds_to_wait(request, "search")
        return not self.seconds

    def wait(self) -> float | None:
        return self.seconds or None


class _Counter:
    """Counts in Django's default cache."""

    def __init__(self) -> None:
        self._is_failing = False
        self._asked_again_at = 0.0

    def count(self, key: str, seconds: int) -> int:
        """How many have been counted under the key with this one; 0 while the cache is away."""
        if time.monotonic() < self._asked_again_at:
            return 0
        try:
            count = self._counted(key, seconds)
        except Exception as error:  # whatever the project's cache raises
            self._asked_again_at = time.monotonic() + PAUSE_SECONDS
            # Once per outage.
            level = logging.DEBUG if self._is_failing else logging.WARNING
            logger.log(level, "The cache is away, so no visitor is throttled: %s", error)
            self._is_failing = True
            return 0
        if self._is_failing:
            logger.info("The cache is back.")
        self._is_failing = False
        return count

    def _counted(self, key: str, seconds: int) -> int:
        for _ in range(2):
            try:
                return cache.incr(key)
            except ValueError:  # nobody came before
                if cache.add(key, 1, seconds):
                    return 1
        return 1  # evicted as soon as it was added


_counter = _Counter()
