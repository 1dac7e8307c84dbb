"""The OpenAPI schema of a search: made when it is asked for, so that it names this shop's own filters and limits."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from drf_spectacular.utils import OpenApiParameter, OpenApiRequest

from shopsearch.access import GuardedSchema, Method, described_by
from shopsearch.conf import settings
from shopsearch.filters import FALSE, TRUE
from shopsearch.registry import get_indexes
from shopsearch.sorting import sort_names
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
