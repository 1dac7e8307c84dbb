"""The OpenAPI schema of a search: made when it is asked for, so that it names this shop's own filters and limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from django.utils.module_loading import import_string
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import OpenApiParameter, OpenApiRequest, OpenApiResponse
from rest_framework.permissions import AllowAny
from rest_framework.views import APIView

from shopsearch.api.errors import answer_to_error
from shopsearch.api.serializers import ErrorSerializer
from shopsearch.conf import settings
from shopsearch.filters import FALSE, TRUE
from shopsearch.registry import get_indexes
from shopsearch.search.sorting import sort_names
from shopsearch.types import FilterType

# What is no text to a database is none to the API. Python takes four control characters for spaces, most others do not.
_TEXT = r"^[^\x00]*$"
_WORDS = r"^[^\x00]*[^\s\x00\x1c-\x1f][^\x00]*$"
_PICTURE_TYPES = "image/jpeg, image/png, image/webp, image/gif, image/avif, image/bmp, image/tiff"
_BLANK = {"type": "string", "maxLength": 0}
"""As a form leaves a field that was not filled in: it counts as not given."""

_DIGITS = {0: "^[0-9]$", 1: "^[1-9]$", None: r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$"}
"""By the least number: that of an offset, of a limit, of a filter."""

_FLAG = {"type": "string", "enum": [*TRUE, *FALSE, ""]}

_FILTER_TYPES: dict[FilterType, dict[str, Any]] = {
    "string": {"type": "string", "pattern": _TEXT},
    "strings": {"type": "string", "pattern": _TEXT},
    "number": {"anyOf": [{"type": "number"}, _BLANK]},
    "boolean": _FLAG,
}


Method = TypeVar("Method", bound=Callable[..., Any])

_KEPT_OUT = {
    "401": OpenApiResponse(ErrorSerializer, "The project asks who you are; see WWW-Authenticate."),
    "403": OpenApiResponse(ErrorSerializer, "The project does not let you in; `detail` may say why."),
}


class ClassesOf:
    """The classes that a setting names by their dotted paths; a subclass of the view may name its own."""

    def __init__(self, setting: str) -> None:
        self.setting = setting

    def __get__(self, view: object, owner: type | None = None) -> tuple[type[Any], ...]:
        return tuple(import_string(path) for path in getattr(settings, self.setting))


class GuardedView(APIView):
    """Open to whom the settings let in, everyone unless they say otherwise; an error is ``{"code", "detail"}``.

    Without AUTHENTICATION_CLASSES no session and no cookie is looked at, so there is nothing that a foreign page could
    do in a shopper's name, and no CSRF token to send.
    """

    authentication_classes = ClassesOf("AUTHENTICATION_CLASSES")
    permission_classes = ClassesOf("PERMISSION_CLASSES")

    def get_exception_handler(self) -> Any:
        return answer_to_error


class GuardedSchema(AutoSchema):
    """Tells of 401 and 403, too, where the settings do not let everyone in."""

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        if not self.view.authentication_classes and {*self.view.permission_classes} <= {AllowAny}:
            return bodies
        kept_out = {
            code: self._get_response_for_code(refusal, code, direction=direction)  # type: ignore[no-untyped-call]
            for code, refusal in _KEPT_OUT.items()
        }
        return dict(sorted((bodies | kept_out).items()))


def described_by(schema: type[GuardedSchema], method: Method) -> Method:
    """The method of a view, with this schema beneath what ``@extend_schema`` says of it."""
    method.kwargs = {"schema": schema}  # type: ignore[attr-defined]  # where drf-spectacular keeps it
    return method


def guarded(method: Method) -> Method:
    """The schema tells who may call this method of a view: put it below ``@extend_schema``."""
    return described_by(GuardedSchema, method)


def asks_the_shop(method: Method) -> Method:
    """The parameters of this method of a view are the shop's: put it below ``@extend_schema``."""
    return described_by(SearchSchema, method)


def asks_for_a_page(method: Method) -> Method:
    """As ``asks_the_shop``, without words: only which results."""
    return described_by(PageSchema, method)


class SearchSchema(GuardedSchema):
    """Parameters from the settings and the registered indexes as they are at the moment."""

    def asked(self) -> dict[str, dict[str, Any]]:
        return {**words(), **filters()}

    def get_override_parameters(self) -> list[Any]:
        # A POST may have them too, and they win over its body: too much to say in a schema.
        described = self.asked() if self.method == "GET" else {}
        return [
            OpenApiParameter(
                name,
                {key: value for key, value in schema.items() if key != "description"},
                description=schema["description"],
                required=name == "q",
                explode=True if schema.get("type") == "array" else None,
            )
            for name, schema in described.items()
        ]

    def get_request_serializer(self) -> Any:
        form = {"type": "object", "properties": {**form_fields(), **filters()}, "additionalProperties": False}
        alone = {
            "type": "object",
            "properties": {**typed_words(), **typed_filters()},
            "additionalProperties": False,
        }
        return {
            "multipart/form-data": OpenApiRequest(
                {**form, "anyOf": [{"required": ["q"]}, {"required": ["image"]}]},
                encoding={"image": {"contentType": _PICTURE_TYPES}},
            ),
            "application/json": {**alone, "required": ["q"]},
        }

    def _get_request_body(self, direction: str = "request") -> Any:
        body = super()._get_request_body(direction)  # type: ignore[no-untyped-call]
        return body and {**body, "required": True}


class PageSchema(SearchSchema):
    def asked(self) -> dict[str, dict[str, Any]]:
        described = words()
        return {**{name: described[name] for name in ("limit", "offset", "index")}, **filters()}


def words() -> dict[str, dict[str, Any]]:
    """The parameters of a search by words, without its filters."""
    return {
        "q": {
            "type": "string",
            "maxLength": settings.MAX_QUERY_CHARACTERS,
            "pattern": _WORDS,
            "description": "Words to search for.",
        },
        "limit": {
            "anyOf": [{"type": "integer", "minimum": 1, "maximum": settings.MAX_PAGE_SIZE}, _BLANK],
            "default": settings.PAGE_SIZE,
            "description": "Results per page.",
        },
        "offset": {
            "anyOf": [{"type": "integer", "minimum": 0, "maximum": settings.MAX_RESULTS - 1}, _BLANK],
            "default": 0,
            "description": "Results to pass over.",
        },
        "index": {
            "type": "string",
            "enum": [*(index.name for index in get_indexes()), ""],
            "description": "Which index to search, where a shop has several.",
        },
        "facets": {
            "type": "string",
            "pattern": _names(name for index in get_indexes() for name in index.filter_types),
            "description": "Filters whose values are to be counted, separated by commas; * for all.",
        },
        "sort": {
            "type": "string",
            "enum": [*dict.fromkeys(sort for index in get_indexes() for sort in sort_names(index)), ""],
            "description": "Another order of the most relevant results.",
        },
        "rerank": {
            **_FLAG,
            "description": "Whether a better order is wanted, to be asked for a moment later.",
        },
        "collect": {
            **_FLAG,
            "description": "Whether the shopper lets the shop keep the words, where the shop collects any.",
        },
    }


def _names(known: Iterable[str]) -> str:
    one = "|".join(sorted({re.escape(name) for name in known}))
    return rf"^(\*|({one})(,({one}))*)?$" if one else r"^\*?$"


def form_fields() -> dict[str, dict[str, Any]]:
    """Those of a search by words, by picture, or by both."""
    fields = words()
    fields["image"] = {
        "type": "string",
        "format": "binary",
        "description": "A picture to search with: a file of one of the formats that the shop takes.",
    }
    if settings.FETCH_IMAGE_URLS:
        fields["image_url"] = {
            "type": "string",
            "format": "uri",
            "description": "In place of a file: the address of a picture, from https on.",
        }
    return fields


def filters() -> dict[str, dict[str, Any]]:
    """The filters that the indexes declare, as a query string or a form has them."""
    found: dict[str, dict[str, Any]] = {}
    for index in get_indexes():
        for name, kind in index.filter_types.items():
            described = f"{index.name}: any of these values."
            found[name] = {"type": "array", "items": _FILTER_TYPES[kind], "description": described}
            if kind == "number":
                for lookup, bound in (("gte", "at least"), ("lte", "at most")):
                    found[f"{name}__{lookup}"] = {
                        **_FILTER_TYPES["number"],
                        "description": f"{index.name}: {name} is {bound} this.",
                    }
    return found


# In a JSON body values have types, and null counts as not given.


def typed_words() -> dict[str, dict[str, Any]]:
    """The parameters of a search by words, without its filters."""
    described = words()
    words_or_number = {**described["q"], "anyOf": [{"type": "string"}, {"type": "number"}]}
    del words_or_number["type"]
    return {**{name: _typed(schema) for name, schema in described.items()}, "q": words_or_number}


def typed_filters() -> dict[str, dict[str, Any]]:
    """A single value may stand without its list."""
    typed = {}
    for name, schema in filters().items():
        if "items" in schema:
            value = _typed(schema["items"])
            several = {"type": "array", "items": value}
            typed[name] = {"oneOf": [value, several], "description": schema["description"]}
        else:
            value = _typed(schema)
            blank = {"type": "array", "items": {**_BLANK, "nullable": True}}
            alone = {"type": "array", "items": value, "maxItems": 1}
            typed[name] = {"anyOf": [value, alone, blank], "description": schema["description"]}
    return typed


def _typed(schema: dict[str, Any]) -> dict[str, Any]:
    notes = {key: value for key, value in schema.items() if key in ("description", "default")}
    kinds = schema.get("anyOf", [{key: value for key, value in schema.items() if key not in notes}])
    if kinds == [_FLAG]:
        kinds = [_FLAG, {"type": "boolean"}, {"type": "integer", "enum": [0, 1]}]
    elif schema.get("pattern") == _TEXT:  # whatever is given is read as its text
        kinds = [*kinds, {"type": "number"}, {"type": "boolean"}]
    elif "anyOf" in schema:  # a number, which may be written as a text
        kinds = [*kinds, {"type": "string", "pattern": _DIGITS[kinds[0].get("minimum")]}]
    return {"anyOf": kinds, "nullable": True, **notes}
