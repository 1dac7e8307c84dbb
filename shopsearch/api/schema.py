"""What OpenAPI says of a search beyond its serializers: this shop's own filters, indexes, limits, and who may ask."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework.permissions import AllowAny

from shopsearch.api.serializers import MANY, PageParameters, SearchForm, SearchParameters, SuggestParameters
from shopsearch.conf import settings
from shopsearch.filters import FALSE, TRUE
from shopsearch.registry import get_indexes
from shopsearch.search.examples import MAX_EXAMPLES
from shopsearch.search.sorting import sort_names
from shopsearch.types import FilterType

PICTURE_TYPES = "image/jpeg, image/png, image/webp, image/gif, image/avif, image/bmp, image/tiff"

# A text that no database holds is refused. Python counts four control characters as spaces, most languages do not.
_TEXT = {"type": "string", "pattern": r"^[^\x00]*$"}
_WORDS = {"type": "string", "pattern": r"^[^\x00]*[^\s\x00\x1c-\x1f][^\x00]*$"}
_BLANK = {"type": "string", "maxLength": 0}
"""As a form sends a field that was not filled in: it counts as not given."""


def _one_of(values: Iterable[str]) -> dict[str, Any]:
    # Within anyOf, as drf-spectacular makes a component of any other enum, whose name could meet one of the shop's.
    return {"anyOf": [{"type": "string", "enum": [*values, ""]}]}


_FLAG = _one_of([*TRUE, *FALSE])
_NUMBER = {"anyOf": [{"type": "number"}, _BLANK]}
_FILTERS: dict[FilterType, dict[str, Any]] = {
    "string": _TEXT,
    "strings": _TEXT,
    "number": _NUMBER,
    "boolean": _FLAG,
}
_DIGITS = {0: "^[0-9]$", 1: "^[1-9]$", None: r"^-?[0-9]{1,15}(\.[0-9]{1,9})?$"}
"""Numbers written as text, by their minimum: an offset's, a limit's, a filter's."""


_KEY = {"anyOf": [{"type": "integer"}, _WORDS]}
_WEIGHTS = [{"minimum": -1, "maximum": -0.01}, {"minimum": 0.01, "maximum": 1}]
_EXAMPLE = {
    "type": "object",
    "properties": {
        "product": _KEY,
        "image_id": _KEY,
        "weight": {"anyOf": [{"type": "number", **each} for each in _WEIGHTS]},
    },
    "oneOf": [{"required": ["product"]}, {"required": ["image_id"]}],
    "additionalProperties": False,
}
_WEIGHT = r"-?(1|0\.[1-9])"
_EXAMPLES_AS_TEXT = r'^\[\{"(product|image_id)":"[A-Za-z0-9-]{1,40}"(,"weight":-?(1|0\.[1-9]))?\}\]$'
"""One of them, as it may be written; there may be more."""
_SHARE = r"(0|0?\.[1-4][0-9]{0,5})"


class GuardedSchema(AutoSchema):
    """Names 401 and 403 too, where the settings do not let everyone in; a body, where there is one, is required."""

    def get_operation(self, *args: Any, **kwargs: Any) -> dict[str, Any] | None:
        operation = super().get_operation(*args, **kwargs)
        if operation is None:
            return None
        if "requestBody" in operation:
            operation["requestBody"]["required"] = True
        if self.view.authentication_classes or not {*self.view.permission_classes} <= {AllowAny}:
            responses = operation["responses"]
            error = responses.get("400") or responses["404"]
            responses["401"] = {**error, "description": "Authenticate first; see WWW-Authenticate."}
            responses["403"] = {**error, "description": "You are not allowed in; `detail` may say why."}
        return operation


class SearchObject(SearchParameters):
    """A search by words as an object of JSON: its values have types, and null counts as not given."""


class QuerySchema(OpenApiSerializerExtension):  # type: ignore[no-untyped-call]
    """A query with the shop's own filters as parameters of their own names."""

    target_class = PageParameters
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: str) -> dict[str, Any]:
        fields = self.target.fields
        if not settings.FETCH_IMAGE_URLS:
            fields.pop("image_url", None)
        own = {name: {**_parameter(name), "description": fields[name].help_text} for name in fields}
        properties = own if isinstance(self.target, SuggestParameters) else own | _filters()
        needs: dict[str, Any] = {"required": ["q"]} if "q" in fields else {}
        if isinstance(self.target, SearchForm):
            needs = {
                "anyOf": [
                    {"required": [name]} for name in ("q", "image", "image_url", "like") if name in fields
                ]
            }
        if isinstance(self.target, SearchObject):
            needs = {"anyOf": [{"required": [name]} for name in ("q", "like", "examples")]}
            properties = {name: _in_json(name, each) for name, each in properties.items()}
        return {"type": "object", "properties": properties, "additionalProperties": False, **needs}


def _parameter(name: str) -> dict[str, Any]:
    indexes = get_indexes()
    if name == "q":
        return {**_WORDS, "maxLength": settings.MAX_QUERY_CHARACTERS}
    if name == "limit":
        limits = {"type": "integer", "minimum": 1, "maximum": settings.MAX_PAGE_SIZE}
        return {"anyOf": [limits, _BLANK], "default": settings.PAGE_SIZE}
    if name == "offset":
        limits = {"type": "integer", "minimum": 0, "maximum": settings.MAX_RESULTS - 1}
        return {"anyOf": [limits, _BLANK], "default": 0}
    if name == "index":
        return _one_of(index.name for index in indexes)
    if name == "sort":
        return _one_of(dict.fromkeys(sort for index in indexes for sort in sort_names(index)))
    if name == "facets":
        one = "|".join(sorted({re.escape(each) for index in indexes for each in index.filter_types}))
        return {"type": "string", "pattern": rf"^(\*|({one})(,({one}))*)?$" if one else r"^\*?$"}
    if name == "language":
        return {**_TEXT, "maxLength": 20}
    if name == "image":
        file = {"type": "string", "format": "binary"}
        return {"type": "array", "items": file, "minItems": 1, "maxItems": MAX_EXAMPLES}
    if name == "image_weights":
        return {"type": "string", "pattern": rf"^{_WEIGHT}(,{_WEIGHT}){{0,{MAX_EXAMPLES - 1}}}$"}
    if name in MANY:
        return {"type": "array", "items": _WORDS, "minItems": 1, "maxItems": MAX_EXAMPLES}
    if name == "examples":
        return {"type": "string", "pattern": _EXAMPLES_AS_TEXT}
    if name == "box":
        return {"type": "string", "pattern": rf"^{_SHARE},{_SHARE},0?\.[3-5],0?\.[3-5]$"}
    return {"type": "string", "format": "uri"} if name == "image_url" else _FLAG


def _filters() -> dict[str, dict[str, Any]]:
    """The filters that the indexes declare."""
    found: dict[str, dict[str, Any]] = {}
    for index in get_indexes():
        for name, kind in index.filter_types.items():
            described = f"{index.name}: any of these values."
            found[name] = {"type": "array", "items": _FILTERS[kind], "description": described}
            if kind == "number":
                for lookup, bound in (("gte", "at least"), ("lte", "at most")):
                    described = f"{index.name}: {name} is {bound} this."
                    found[f"{name}__{lookup}"] = {**_NUMBER, "description": described}
    return found


def _in_json(name: str, described: dict[str, Any]) -> dict[str, Any]:
    """The same parameter in a JSON body; a filter's value may come with or without its list."""
    notes = {key: value for key, value in described.items() if key in ("description", "default")}
    if name == "q":
        return {"anyOf": [described, {"type": "number"}]}
    if name in MANY:
        return {**described, "items": {"anyOf": [_WORDS, {"type": "integer"}]}}
    if name == "examples":
        return {"type": "array", "items": _EXAMPLE, "minItems": 1, "maxItems": MAX_EXAMPLES, **notes}
    if "items" in described:
        value = _value_in_json(described["items"])
        return {"oneOf": [value, {"type": "array", "items": value}], **notes}
    value = _value_in_json({key: each for key, each in described.items() if key not in notes})
    if "__" in name:
        alone = {"type": "array", "items": value, "maxItems": 1}
        blank = {"type": "array", "items": {**_BLANK, "nullable": True}}
        return {"anyOf": [value, alone, blank], **notes}
    return value | notes


def _value_in_json(value: dict[str, Any]) -> dict[str, Any]:
    """Typed, or written as text, or null."""
    kinds = value.get("anyOf", [value])
    if value == _FLAG:
        kinds = [*kinds, {"type": "boolean"}, {"type": "integer", "enum": [0, 1]}]
    elif value == _TEXT:  # whatever is given is read as its text
        kinds = [_TEXT, {"type": "number"}, {"type": "boolean"}]
    elif kinds[0]["type"] in ("number", "integer"):
        kinds = [*kinds, {"type": "string", "pattern": _DIGITS[kinds[0].get("minimum")]}]
    return {"anyOf": kinds, "nullable": True}
