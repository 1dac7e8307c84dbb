"""Checks of a project's settings: E001, E002, E003, E006, E007."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Iterator
from dataclasses import fields as dataclass_fields
from dataclasses import is_dataclass
from difflib import get_close_matches
from typing import Any

from django.apps import apps
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured
from django.template import TemplateDoesNotExist
from django.template.loader import get_template
from django.utils.module_loading import import_string
from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission

from shopsearch.broker.base import WakeUp
from shopsearch.conf import DEFAULTS, build, settings
from shopsearch.detectors.base import Detector
from shopsearch.embedders.base import Embedder
from shopsearch.rerankers.base import Reranker
from shopsearch.vector_stores.base import VectorStore

MAY_BE_NONE = {"FORMER_EMBEDDER", "QUERY_EMBEDDER", "RERANKER", "DETECTOR", "THROTTLE_RATE", "METRICS_TOKEN"}
MAY_BE_ZERO = {
    "WORDS_WEIGHT",
    "COMPOSED_WORDS_WEIGHT",
    "QUERY_CACHE_SECONDS",
    "DIVERSITY",
    "RERANK_WEIGHT",
    "RERANK_LIFT",
    "RERANK_CACHE_SECONDS",
    "METRICS_PORT",
    "REBUILD_MIN_SHARE",
    "MAX_FAILED_SHARE",
}
DEFAULT_BACKENDS = {
    "FORMER_EMBEDDER": DEFAULTS["EMBEDDER"],
    "QUERY_EMBEDDER": {"BACKEND": "shopsearch.embedders.remote.WorkerEmbedder"},
    "DETECTOR": {"BACKEND": "shopsearch.detectors.objects.ObjectDetector"},
} | {key: default for key, default in DEFAULTS.items() if isinstance(default, dict)}
CLASSES: dict[str, type[Any]] = {
    "AUTHENTICATION_CLASSES": BaseAuthentication,
    "PERMISSION_CLASSES": BasePermission,
}
HOST = re.compile(r"[\w.-]+(:\d+)?", re.ASCII)
RATE = re.compile(r"[1-9]\d*/[smhd]\w*", re.ASCII)
PATTERNS = {
    "METRICS_TOKEN": (r"[!-~]{16,}", "Use 16 or more letters, digits and signs, or None for no metrics."),
    "COLLECTION_PREFIX": (
        r"[A-Za-z]\w{0,63}",
        "Use at most 64 letters, digits and underscores, beginning with a letter.",
    ),
}


def is_readable() -> bool:
    """Whether SHOPSEARCH is a dictionary. If it is not, E006 says so, and no other setting can be checked."""
    return isinstance(settings.user_settings, dict)


def check_models() -> Iterator[CheckMessage]:
    names = ("SHOPSEARCH_PRODUCT_MODEL", "SHOPSEARCH_PRODUCT_IMAGE_MODEL")
    if not any(getattr(django_settings, name, None) for name in names):
        yield Error(
            "shopsearch does not know whose pictures to search.",
            hint="Before the first migrate, set SHOPSEARCH_PRODUCT_MODEL = 'yourapp.Product' to use shopsearch's "
            "own ProductImage, or SHOPSEARCH_PRODUCT_IMAGE_MODEL = 'yourapp.ProductImage' to use your own model.",
            id="shopsearch.E001",
        )


def check_rest_framework() -> Iterator[CheckMessage]:
    if not apps.is_installed("rest_framework"):
        yield Error(
            "The REST API is built on Django REST framework, which is not in INSTALLED_APPS.",
            hint="Add 'rest_framework' to INSTALLED_APPS.",
            id="shopsearch.E007",
        )


def check_settings() -> Iterator[CheckMessage]:
    if not is_readable():
        yield _wrong_value("SHOPSEARCH is not a dictionary.", "Write SHOPSEARCH = {...}.")
        return
    for key, value in settings.user_settings.items():
        if key in DEFAULTS:
            yield from _check_value(key, value)
        else:
            yield _unknown_key(key)
    yield from _check_page_sizes()
    yield from _check_base_template()


def _unknown_key(key: object) -> CheckMessage:
    nearest = get_close_matches(str(key).upper(), DEFAULTS, n=1)
    return Error(
        f"SHOPSEARCH has no setting {key!r}.",
        hint=f"Did you mean {nearest[0]!r}?" if nearest else f"The settings are: {', '.join(DEFAULTS)}.",
        id="shopsearch.E002",
    )


def _wrong_value(message: str, hint: str) -> CheckMessage:
    return Error(message, hint=hint, id="shopsearch.E006")


def _check_value(key: str, value: Any) -> Iterator[CheckMessage]:
    """Compare the value with the type of the setting's default; a few settings allow more or less than that."""
    default = DEFAULTS[key]
    if value is None and key in MAY_BE_NONE:
        return
    if key == "THROTTLE_RATE":
        fits, hint = _check_rates(value)
    elif key in PATTERNS:
        pattern, hint = PATTERNS[key]
        fits = isinstance(value, str) and re.fullmatch(pattern, value, re.ASCII) is not None
    elif key in DEFAULT_BACKENDS:
        fits = isinstance(value, dict) and isinstance(value.get("OPTIONS", {}), dict)
        hint = 'Write {"BACKEND": "dotted.path.of.TheClass", "OPTIONS": {...}}.'
    elif key in CLASSES:
        fits, hint = _check_classes(key, value)
    elif key == "RULE_HOSTS":
        fits = isinstance(value, list | tuple) and all(
            isinstance(each, str) and HOST.fullmatch(each) for each in value
        )
        hint = "It takes a list of hosts without a scheme, such as ['outlet.example']."
    elif isinstance(default, bool):
        fits, hint = isinstance(value, bool), "Write True or False."
    elif isinstance(default, int | float):
        fits, hint = _check_number(key, value)
    elif isinstance(default, str):
        fits, hint = isinstance(value, str) and bool(value), f"It takes a text, such as {default!r}."
    else:
        known = _picture_formats()
        fits = isinstance(value, list | tuple) and bool(value) and all(each in known for each in value)
        hint = f"It takes a list of Pillow's format names: {', '.join(default)}."
    if not fits:
        yield _wrong_value(f"SHOPSEARCH[{key!r}] is {value!r}.", hint)


def _check_rates(value: Any) -> tuple[bool, str]:
    from shopsearch.api.access import SCOPES

    rates = value if isinstance(value, dict) else {"search": value}
    fits = set(rates) <= set(SCOPES) and all(
        rate is None or (isinstance(rate, str) and RATE.fullmatch(rate)) for rate in rates.values()
    )
    return fits, (
        "Write a rate such as '120/min', or {'search': '120/min', 'suggest': '120/min', 'image': '30/min', "
        "'rerank': '30/min'} for separate rates, or None for no throttle."
    )


def _check_classes(key: str, value: Any) -> tuple[bool, str]:
    base = CLASSES[key]
    try:
        found = [import_string(path) for path in value] if isinstance(value, list | tuple) else [None]
    except (ImportError, TypeError, AttributeError):
        found = [None]
    fits = all(inspect.isclass(each) and issubclass(each, base) for each in found)
    return fits, f"It takes a list of dotted paths of subclasses of REST framework's {base.__name__}."


def _check_number(key: str, value: Any) -> tuple[bool, str]:
    default = DEFAULTS[key]
    whole = isinstance(default, int) and not key.endswith(("_SECONDS", "_DAYS"))
    least, most = (0, 1 if key in ("DIVERSITY", "RERANK_WEIGHT") or key.endswith("_SHARE") else math.inf)
    fits = (
        isinstance(value, int if whole else (int, float))
        and not isinstance(value, bool)
        and (least <= value <= most if key in MAY_BE_ZERO else least < value <= most)
    )
    kind = "whole number" if whole else "number"
    bounds = "from 0 to 1" if most == 1 else "of at least 0" if key in MAY_BE_ZERO else "above 0"
    return fits, f"It takes a {kind} {bounds}, such as {default}."


def _picture_formats() -> list[str]:
    from PIL import Image

    Image.init()
    # Without formats that another package adds, such as HEIF: the decoding process only has Pillow's own decoders.
    own = [name for name, (opener, _) in Image.OPEN.items() if opener.__module__.startswith("PIL.")]
    return [*own, *DEFAULTS["IMAGE_FORMATS"]]


def _check_page_sizes() -> Iterator[CheckMessage]:
    sizes = [getattr(settings, name) for name in ("PAGE_SIZE", "MAX_PAGE_SIZE", "MAX_RESULTS")]
    if all(isinstance(size, int) for size in sizes) and sizes != sorted(sizes):
        yield _wrong_value(
            f"SHOPSEARCH: PAGE_SIZE is {sizes[0]}, MAX_PAGE_SIZE {sizes[1]}, MAX_RESULTS {sizes[2]}.",
            "Each must be at least as large as the one before it.",
        )


def _check_base_template() -> Iterator[CheckMessage]:
    name: object = settings.BASE_TEMPLATE  # unchecked: E006 may say that it is not a text
    if not isinstance(name, str):
        return
    try:
        get_template(name)
    except TemplateDoesNotExist as error:
        missing = f"extends or includes {error}" if str(error) != name else "is not there"
        yield _wrong_value(
            f"SHOPSEARCH['BASE_TEMPLATE'] is {name!r}, and the template {missing}.",
            "Name the template that the shop's pages extend, as {% extends %} does: 'base.html'.",
        )
    except Exception:  # the template is there; its pages show what is wrong inside it
        return


def check_backends() -> Iterator[CheckMessage]:
    """Whether each backend can be built, and what each backend's own check finds."""
    kinds = {
        "EMBEDDER": Embedder,
        "FORMER_EMBEDDER": Embedder,
        "QUERY_EMBEDDER": Embedder,
        "VECTOR_STORE": VectorStore,
        "RERANKER": Reranker,
        "DETECTOR": Detector,
        "WAKE_UP": WakeUp,
    }
    for setting, base in kinds.items():
        if getattr(settings, setting) is not None or setting not in MAY_BE_NONE:
            yield from _check_backend(setting, base)


def _check_backend(setting: str, base: type[Any]) -> Iterator[CheckMessage]:
    try:
        backend = build(setting, base)
        yield from backend.check()
    except (ImproperlyConfigured, ValueError) as error:
        yield Error(str(error), hint=_backend_hint(setting), id="shopsearch.E003")
    else:
        yield from _outdated_methods(type(backend), base)


def _outdated_methods(backend_class: type[Any], base: type[Any]) -> Iterator[CheckMessage]:
    """What a backend that was written for an earlier version lacks: calls with a new argument would fail."""
    for name, method in inspect.getmembers(base, inspect.isfunction):
        try:
            own = inspect.signature(getattr(backend_class, name)).parameters
        except (TypeError, ValueError):  # a property, say, or a function in C: nobody knows its arguments
            continue
        if any(each.kind == each.VAR_KEYWORD for each in own.values()):
            continue
        named = (
            each for each in inspect.signature(method).parameters.values() if each.kind == each.KEYWORD_ONLY
        )
        for each in named:
            if each.name not in own:
                yield Error(
                    f"{backend_class.__name__}.{name} lacks the argument {each.name}.",
                    hint=f"Add it: the docstring of {base.__name__}.{name} says what it is for.",
                    id="shopsearch.E003",
                )


def _backend_hint(setting: str) -> str:
    try:
        backend_class = import_string(getattr(settings, setting)["BACKEND"])
    except (ImportError, KeyError, TypeError, AttributeError):
        return f"BACKEND is the dotted path of a class, such as {DEFAULT_BACKENDS[setting]['BACKEND']!r}."
    if not (inspect.isclass(backend_class) and is_dataclass(backend_class)):
        return "BACKEND is the dotted path of a keyword-only dataclass that implements the interface."
    options = ", ".join(field.name for field in dataclass_fields(backend_class) if field.init)
    return f"The OPTIONS of {backend_class.__name__} are: {options or 'none'}."
