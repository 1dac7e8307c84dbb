"""Access: who may search, how often each visitor may, and how many searches a process answers at once."""

from __future__ import annotations

import codecs
import logging
import math
import os
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from functools import partial
from io import BytesIO
from ipaddress import IPv4Address, IPv6Network, ip_address
from typing import Any, Literal, TypeVar, get_args

from django.core.cache import cache
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import connections, transaction
from django.http import HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string
from django.utils.translation import gettext as _
from rest_framework.exceptions import APIException, Throttled
from rest_framework.metadata import SimpleMetadata
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.settings import api_settings
from rest_framework.throttling import BaseThrottle
from rest_framework.views import APIView

from shopsearch import images
from shopsearch.api import upload
from shopsearch.api.errors import answer_to_error
from shopsearch.conf import settings
from shopsearch.evaluation import query_log
from shopsearch.exceptions import Busy, ImageError, ImageTooLarge, QueryError
from shopsearch.images import headers
from shopsearch.images.decoding import SECONDS_PER_BYTE
from shopsearch.search import examples
from shopsearch.search.engine import answer
from shopsearch.search.examples import Box, Example
from shopsearch.search.request import SearchAnswer, SearchRequest
from shopsearch.telemetry import metrics
from shopsearch.telemetry.outages import Outage

logger = logging.getLogger(__name__)
Scope = Literal["search", "suggest", "image", "rerank"]
SCOPES = get_args(Scope)
Kind = Literal["text", "image", "decoding", "large"]
PERIODS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
PAUSE_SECONDS = 5.0
"""How long the cache is not asked after it failed: one that hangs delays one request, not each."""
NETWORK_BITS = 64
"""An IPv6 visitor has a whole network of addresses, which counts as one."""
FAIR_SHARE = 4
"""Of the reranks and of the streams of events that may be open, one visitor may ask for one in so many."""
PICTURES_TURN = 4
"""While both words and pictures wait, one place in so many goes to a picture."""
MAX_WAIT_SECONDS = 1.0
"""How long a search waits for a place before it is turned away."""
LARGE_SECONDS = 0.1
"""Of processor time: a picture that may take longer to decode is a large one. A phone's 12 megapixels take half."""
LARGE_BYTES = LARGE_SECONDS / SECONDS_PER_BYTE
"""Nor is it read where so long a one would be turned away."""
READING_SECONDS_PER_BYTE = 4e-9
"""What receiving a post and refusing it takes from searches by words, measured with those of benchmarks.poison_stream:
twice its processor time, since its thread also gets in the way of theirs."""
LARGE_SHARE, LARGE_BURST_SECONDS = 0.05, 0.5
"""Large pictures together may take this share of a processor. Where they have taken so many seconds more, their place
rests: longer for the visitors of the last FAIR_SHARE of them, who leave half of those seconds to others."""
QUIET_SECONDS = 60.0
"""A process that turns searches away logs it no more often than this."""
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*"?([^";\s]*)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([^\]]*)\](?::\w*)?|(\d+\.\d+\.\d+\.\d+):\w*", re.ASCII)
FORM_BYTES = 256 * 1024
"""The size limit of a request without its picture."""


@contextmanager
def visit(
    visitor: Request | HttpRequest,
    request: SearchRequest,
    *,
    image_url: str = "",
    box: Box | None = None,
    collect: bool = False,
) -> Iterator[SearchAnswer]:
    """The answer to a visitor's search, which has one of the process's places while inside.

    ``image_url`` is fetched and is the first example, ``box`` the part of it that is meant. With ``collect`` the
    shopper lets the shop keep the words. Above the rate of reranks the search is answered without one. Raises Throttled
    above the rate of pictures, Busy where no place is free, ImageUnavailable, and what
    ``shopsearch.search.engine.answer`` raises.
    """
    kind: Kind = "image" if request.has_picture or image_url else "text"
    if kind == "image":
        examples.check(request.examples)
        for _each in range(max(1, sum(each.is_encoded for each in request.examples))):
            throttle(visitor, "image")
    if image_url:
        from shopsearch.images import download  # its HTTP client is a third of what the app adds to a start

        # Before the search has a place, so that a slow server holds none.
        picture = Example(image=BytesIO(download.fetched(image_url)), box=box)
        request = replace(request, examples=(picture, *request.examples))
    if request.wants_rerank and not may_rerank(visitor):
        request = replace(request, wants_rerank=False)
    if any(each.is_encoded for each in request.examples):
        # Likewise: the largest picture takes as long to decode as many searches by words take.
        request = replace(request, examples=decoded(visitor, request.examples))
    with admitted(kind):
        answered = answer(request)
        if collect:
            query_log.collect(answered)
        yield answered


def decoded(visitor: Request | HttpRequest, given: Sequence[Example]) -> tuple[Example, ...]:
    """The visitor's examples with their pictures decoded, in a place for decoding.

    Together they have the limits of one picture. Raises Busy where no place is free, and ImageError and QueryError.
    """
    refuse_if_full(has_picture=True)
    share = 1 / max(1, sum(each.is_encoded for each in given))
    read = [each.read() for each in given]
    is_large = sum(each.seconds(share=share) for each in read) > LARGE_SECONDS
    # Whether this visitor's turn has come was asked before a large body was read, and that it was read counts by now.
    was_asked = body_length(visitor) > LARGE_BYTES
    with admitted("large", None if was_asked else visitor) if is_large else admitted("decoding"):
        return tuple(each.decoded(share=share) for each in read)


def read_as_utf8(request: Request | HttpRequest) -> None:
    """Have the request's texts read as UTF-8. Raises QueryError where it says that they are in anything else.

    Call it before the address's parameters are looked at: Django reads them, too, in whatever encoding is named.
    """
    http: HttpRequest = getattr(request, "_request", request)
    encoding = http.encoding
    if not encoding or encoding.lower() == "utf-8":
        return  # setting it has Django forget what a middleware may have read
    http.encoding = "utf-8"
    if codecs.lookup(encoding).name not in ("utf-8", "ascii"):
        raise QueryError(_("Send the request in UTF-8; it is in another encoding."))


@contextmanager
def reading_body(request: Request | HttpRequest) -> Iterator[None]:
    """Read the request's body inside, once: a picture is looked at while it arrives.

    Reading a large one counts in what large pictures may take, whatever is in it. What a body makes Django's or REST
    framework's parsers raise comes out as a QueryError that says what to do.
    """
    upload.keep_in_memory(request, partial(refuse_by_beginning, request))
    visitor = _name_of(request)
    try:
        yield
    except Busy:
        visitor = ""  # who was turned away on the way has not had his turn
        raise
    except (QueryError, APIException):
        raise
    except RequestDataTooBig as error:
        raise ImageTooLarge from error
    except RecursionError as error:
        raise QueryError(_("The request is nested too deeply; send one object of parameters.")) from error
    except SuspiciousOperation as error:
        raise QueryError(_("The request has too many fields or too large ones; send fewer.")) from error
    except (UnreadablePostError, MultiPartParserError) as error:
        raise QueryError(_("The upload was cut off. Try again.")) from error
    except (BadRequest, ValueError, LookupError) as error:
        raise QueryError(_("The request cannot be read; send a form or JSON, in UTF-8.")) from error
    finally:
        if body_length(request) > LARGE_BYTES:
            _places.spend(body_length(request) * READING_SECONDS_PER_BYTE, visitor)


def refuse_unread(request: Request | HttpRequest, *scopes: Scope) -> None:
    """Turn a request away before its body is read, where its length says enough. Counts nothing.

    Raises ImageTooLarge; and of a body that must have a picture in it Busy where no place is free, and Throttled where
    the visitor has used up the rate of one of these scopes.
    """
    allowed, length = FORM_BYTES, body_length(request)
    if (request.content_type or "").startswith("multipart/"):
        allowed += settings.MAX_IMAGE_BYTES
        if FORM_BYTES < length <= allowed:
            refuse_if_full(has_picture=True, unread=request)
            for scope in scopes:
                if seconds := seconds_to_wait(request, scope, is_counted=False):
                    raise Throttled(seconds)
    if length > allowed:
        raise ImageTooLarge(
            _("The request is too large: send at most %(most)s KB, or a smaller picture."),
            most=allowed // 1024,
        )


def refuse_by_beginning(visitor: Request | HttpRequest, content: bytes) -> None:
    """Refuse a visitor's picture of which this has arrived, where it says enough.

    Raises ImageUnreadable where every file that begins like this is refused, and Busy where it is a large picture and
    those have no place: reading the rest of it would cost more than a search by words.
    """
    headers.check_beginning(content)
    name = _name_of(visitor)
    if _places.is_full("large", name):
        with suppress(ImageError):  # the header may be longer
            if images.seconds_of(content, length=body_length(visitor)) > LARGE_SECONDS:
                _places.refuse_if_full("large", name)


def body_length(request: Request | HttpRequest) -> int:
    """In bytes, as the request's header says it."""
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0)
    except ValueError:  # some servers pass on what is no number; Django then reads nothing
        return 0


# Who


class ClassesOf:
    """The classes that a setting names by their dotted paths; a subclass of the view may name its own."""

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def __get__(self, view: object, owner: type | None = None) -> tuple[type[Any], ...]:
        return tuple(import_string(path) for path in getattr(settings, self.setting))


class IndependentView(APIView):
    """A view that answers in the one form of this API, whatever REST_FRAMEWORK says of the project's own views."""

    renderer_classes = (JSONRenderer,)
    throttle_classes: Sequence[type[BaseThrottle]] = ()
    content_negotiation_class = DefaultContentNegotiation
    metadata_class = SimpleMetadata
    versioning_class = None

    def get_exception_handler(self) -> Any:
        return answer_to_error


class GuardedView(IndependentView):
    """Open to whom the settings let in, to everyone by default; an error is ``{"code", "detail"}``.

    Without AUTHENTICATION_CLASSES no session and no cookie is read, so another site's page can do nothing in a
    shopper's name, and no CSRF token is needed.
    """

    authentication_classes = ClassesOf("AUTHENTICATION_CLASSES")
    permission_classes = ClassesOf("PERMISSION_CLASSES")

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        read_as_utf8(request)
        super().initial(request, *args, **kwargs)


View = TypeVar("View", bound=Callable[..., Any])


def without_transaction(view: View) -> View:
    """The view, which ATOMIC_REQUESTS of no database puts into a transaction.

    Django cannot do that to an async view, and would not even call one while the database is away.
    """
    for alias in connections:
        view = transaction.non_atomic_requests(alias)(view)
    return view


# How often


class SearchThrottle(BaseThrottle):
    """SHOPSEARCH["THROTTLE_RATE"] for REST framework: every search, before its body is read."""

    scope: Scope = "search"

    def __init__(self) -> None:
        self.seconds = 0

    def allow_request(self, request: Request, view: Any) -> bool:
        self.seconds = seconds_to_wait(request, self.scope)
        return not self.seconds

    def wait(self) -> float | None:
        return self.seconds or None


class SuggestThrottle(SearchThrottle):
    """The same for suggestions, which are counted by themselves: typing uses up no searches."""

    scope = "suggest"


def throttle(visitor: Request | HttpRequest, scope: Scope) -> None:
    """Count this request. Raises REST framework's Throttled above the rate."""
    if seconds := seconds_to_wait(visitor, scope):
        raise Throttled(seconds)


def seconds_to_wait(request: Request | HttpRequest, scope: Scope, *, is_counted: bool = True) -> int:
    """Count this request: 0 where it may be answered, else when the visitor may come again.

    Unless ``is_counted`` nothing is counted, and 0 says that the next one may be answered.

    A rate holds for all processes that share Django's default cache, exactly where that cache counts atomically, as
    Redis and Memcached do. Periods are those of the clock. While the cache is away nobody is throttled.
    """
    rate = rate_of(scope)
    if rate is None:
        return 0
    most, period = int(rate.split("/")[0]), PERIODS[rate.split("/")[1][0]]
    return _seconds_to_wait(request, scope, most, period, is_counted=is_counted)


def may_rerank(request: Request | HttpRequest) -> bool:
    """Count this request; whether the visitor may have another rerank, by the rate and by a fair share.

    Where anybody is throttled at all, a visitor may ask for one in FAIR_SHARE of MAX_OPEN_RERANKS in the time in which
    a rerank is open at most. So one visitor never has more than two in FAIR_SHARE of the places.
    """
    if seconds_to_wait(request, "rerank"):
        return False
    if settings.THROTTLE_RATE is None:
        return True
    most = math.ceil(settings.MAX_OPEN_RERANKS / FAIR_SHARE)
    return not _seconds_to_wait(request, "rerank", most, math.ceil(settings.RERANK_DEADLINE_SECONDS), "share")


def _seconds_to_wait(
    request: Request | HttpRequest,
    scope: Scope,
    most: int,
    period: int,
    kind: str = "throttle",
    *,
    is_counted: bool = True,
) -> int:
    now = time.time()
    number = int(now // period)
    key = f"shopsearch:{kind}:{scope}:{number}:{visitor_key(request)}"
    count = _counter.count(key, 2 * period) if is_counted else _counter.following(key)
    if count <= most:
        return 0
    metrics.count_throttled(scope)
    return max(1, math.ceil((number + 1) * period - now))


def rate_of(scope: Scope) -> str | None:
    """How often, as ``120/min``; None for no limit. Every search counts in ``search``, whatever else it is.

    One rate for all scopes is that of searches, and of suggestions.
    """
    rate: Any = settings.THROTTLE_RATE
    if isinstance(rate, dict):
        found: str | None = rate.get(scope)
        return found
    return rate if scope in ("search", "suggest") else None


def visitor_key(request: Request | HttpRequest) -> str:
    """A digest of who asks: of the user where the REST API authenticates, of the address otherwise.

    Nobody's address can be read from the cache. REST framework's NUM_PROXIES says which address is believed, of
    X-Forwarded-For or, where there is none, of Forwarded (RFC 7239).
    """
    user = request.user if isinstance(request, Request) else None
    who = f"user {user.pk}" if user and user.is_authenticated else _network(_address(request))
    return salted_hmac("shopsearch.api.throttling", who, algorithm="sha256").hexdigest()[:32]


def _name_of(visitor: Request | HttpRequest) -> str:
    """Who shares the time of large pictures with others; empty where nobody is throttled."""
    return visitor_key(visitor) if settings.THROTTLE_RATE else ""


def _address(request: Request | HttpRequest) -> str:
    forwarded, proxies = request.META.get("HTTP_FORWARDED", ""), api_settings.NUM_PROXIES
    if forwarded and proxies and "HTTP_X_FORWARDED_FOR" not in request.META:
        # Each proxy adds its part at the end. Before that, a visitor may have written quotes that nothing closes.
        parts = forwarded.split(",")
        part = parts[-min(proxies, len(parts))]
        found = _FOR.search(part)
        return found[1] if found else part
    return BaseThrottle().get_ident(request) or ""  # type: ignore[arg-type]


def _network(address: str) -> str:
    if found := _WITH_PORT.fullmatch(address.strip()):
        address = found[1] or found[2]
    try:
        parsed = ip_address(address)
    except ValueError:  # whatever a proxy wrote
        return address
    if isinstance(parsed, IPv4Address) or parsed.ipv4_mapped:
        return str(getattr(parsed, "ipv4_mapped", parsed))
    return str(IPv6Network((int(parsed), NETWORK_BITS), strict=False))


class _Counter:
    """Counts in Django's default cache."""

    def __init__(self) -> None:
        self._outage = Outage(
            logger,
            away="The cache is away, so no visitor is throttled",
            back="The cache is back.",
            pause_seconds=PAUSE_SECONDS,
        )

    def count(self, key: str, seconds: int) -> int:
        """How many have been counted under the key, this one included; 0 while the cache is away."""
        return self._asked(lambda: self._one_more(key, seconds))

    def following(self, key: str) -> int:
        """What ``count`` would return now; counts nothing."""
        return self._asked(lambda: int(cache.get(key) or 0) + 1)

    def _asked(self, ask: Callable[[], int]) -> int:
        if self._outage.is_pausing:
            return 0
        try:
            count = ask()
        except Exception as error:  # whatever the project's cache raises
            self._outage.failed(error)
            return 0
        self._outage.succeeded()
        return count

    def _one_more(self, key: str, seconds: int) -> int:
        for _again in range(2):
            try:
                return cache.incr(key)
            except ValueError:  # the first in this period
                if cache.add(key, 1, seconds):
                    return 1
        return 1  # evicted as soon as it was added


_counter = _Counter()


# How many at once


class Places:
    """A semaphore with a short queue: MAX_SEARCHES places, of which pictures may have MAX_IMAGE_SEARCHES.

    Who finds no place waits in the queue, first come first served, and is turned away where the queue is full. Words go
    before pictures, which have one place in PICTURES_TURN while both wait. Another MAX_IMAGE_SEARCHES places are for
    decoding pictures, so that no word search waits for a decoder, and one is for decoding large pictures, so that no
    ordinary one waits for those; it rests where they take more than LARGE_SHARE.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._taken: Counter[Kind] = Counter()
        self._waiting: dict[Kind, deque[object]] = {kind: deque() for kind in get_args(Kind)}
        self._logged_at = -QUIET_SECONDS
        self._large_seconds, self._large_until = 0.0, time.monotonic()
        """What large pictures have taken beyond their share, and until when."""
        self._large_visitors: deque[str] = deque(maxlen=FAIR_SHARE)
        """Whose the last ones were."""
        self._words_in_turn = 0
        """So many searches by words alone were admitted since the last one by picture."""

    @contextmanager
    def admitted(self, kind: Kind, visitor: str = "") -> Iterator[None]:
        with self._condition:
            if self._leaves_time(kind, visitor):
                self._turn_away(kind)  # nor does he keep others waiting in the queue
            if self._waiting[kind] or not self._is_free(kind):
                self._wait(kind)
            self._taken[kind] += 1
            if kind in ("text", "image"):
                self._words_in_turn = self._words_in_turn + 1 if kind == "text" else 0
        begun = time.monotonic()
        try:
            yield
        finally:
            if kind == "large":
                self.spend(time.monotonic() - begun, visitor)
            with self._condition:
                self._taken[kind] -= 1
                self._condition.notify_all()

    def spend(self, seconds: float, visitor: str = "") -> None:
        """Count what a large picture of this visitor has taken of a processor."""
        with self._condition:
            now = time.monotonic()
            earned = LARGE_SHARE * (now - self._large_until)
            self._large_seconds = max(0.0, self._large_seconds - earned) + seconds
            self._large_until = now
            if visitor:
                self._large_visitors.append(visitor)

    def _rest_seconds(self, burst: float) -> float:
        """For how long the place of large pictures rests; less than 0 where it does not."""
        return (self._large_seconds - burst) / LARGE_SHARE - (time.monotonic() - self._large_until)

    def _leaves_time(self, kind: Kind, visitor: str) -> bool:
        """Whether this visitor has had a large picture lately, and has to leave time to others."""
        had_turn = kind == "large" and visitor in self._large_visitors
        return had_turn and self._rest_seconds(LARGE_BURST_SECONDS / 2) > 0

    def is_full(self, kind: Kind, visitor: str = "") -> bool:
        """Whether a search of this kind would be turned away now."""
        with self._condition:
            has_room = self._is_free(kind) or not self._is_queue_full(kind)
            return not has_room or self._leaves_time(kind, visitor)

    def refuse_if_full(self, kind: Kind, visitor: str = "") -> None:
        if self.is_full(kind, visitor):
            self._turn_away(kind)

    def _wait(self, kind: Kind) -> None:
        if self._is_queue_full(kind):
            self._turn_away(kind)
        queue, own = self._waiting[kind], object()
        queue.append(own)
        try:
            # Nobody says that the place of large pictures has rested: whoever waits for that looks at the end.
            has_turn = self._condition.wait_for(
                lambda: queue[0] is own and self._is_free(kind), MAX_WAIT_SECONDS
            )
        finally:
            queue.remove(own)
            self._condition.notify_all()  # the next one is first now
        if not has_turn:
            self._turn_away(kind)

    def _is_free(self, kind: Kind) -> bool:
        if kind == "large":
            return not self._taken[kind] and self._rest_seconds(LARGE_BURST_SECONDS) <= 0
        if kind == "decoding":
            return self._taken[kind] < settings.MAX_IMAGE_SEARCHES
        if self._taken["text"] + self._taken["image"] >= settings.MAX_SEARCHES:
            return False
        has_room = self._taken["image"] < settings.MAX_IMAGE_SEARCHES
        is_pictures_turn = self._words_in_turn >= PICTURES_TURN - 1
        if kind == "text":
            return not (is_pictures_turn and has_room and self._waiting["image"])
        return has_room and (is_pictures_turn or not self._waiting["text"])

    def _is_queue_full(self, kind: Kind) -> bool:
        queue: int = settings.MAX_WAITING_SEARCHES
        if kind == "large":
            # They wait in memory, and long: only the next one does, and none whose place rests until it has to go.
            rests = self._rest_seconds(LARGE_BURST_SECONDS) > MAX_WAIT_SECONDS
            queue = 0 if rests else min(queue, 1)
        return len(self._waiting[kind]) >= queue

    def _turn_away(self, kind: Kind) -> None:
        metrics.count_shed("text" if kind == "text" else "image")
        if time.monotonic() - self._logged_at >= QUIET_SECONDS:
            self._logged_at = time.monotonic()
            logger.warning("There are more searches than this process can answer; some get a 503.")
        raise Busy


_places = Places()


def admitted(kind: Kind, visitor: Request | HttpRequest | None = None) -> AbstractContextManager[None]:
    """One of this process's places while inside: ``text`` for words alone, ``image`` for what has a picture, and
    ``decoding`` for a picture that is decoded before, or ``large`` for one of this visitor.

    Raises Busy, at once or after MAX_WAIT_SECONDS, where none is free.
    """
    return _places.admitted(kind, _name_of(visitor) if visitor else "")


def refuse_if_full(*, has_picture: bool, unread: Request | HttpRequest | None = None) -> None:
    """Raises Busy where a search of this kind would be turned away: before it has cost anything.

    ``unread`` is the request where its picture has still to be read.
    """
    if not has_picture:
        _places.refuse_if_full("text")
        return
    _places.refuse_if_full("image")
    if unread and body_length(unread) > LARGE_BYTES:
        _places.refuse_if_full("large", _name_of(unread))
    else:
        _places.refuse_if_full("decoding")


def _after_fork() -> None:
    # The parent's searches are not in the child, and its lock may be held for ever.
    global _places
    _places = Places()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
