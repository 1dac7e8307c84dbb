"""Filters and field values as Milvus reads them: a value is always a literal, never a part of the expression."""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from shopsearch.filters import AnyOf, Filter, Range, conditions

if TYPE_CHECKING:
    from shopsearch.types import CollectionSchema, FieldType, FilterValue

PREFIX = "f_"
"""Before each declared name, so that no filter can be called ``id`` or ``vector``."""
MAX_STRING_BYTES = 2048
MAX_STRINGS = 4096
_NOT_AS_IT_IS = re.compile("[\ud800-\udfff]|…[0-9a-f]{64}\\Z")

# These five escapes are read alike by Milvus and by Milvus Lite, which knows no \u and no \b; other control
# characters may stand as they are.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


def expression(filters: Filter | None, schema: CollectionSchema) -> str:
    """The filter as a Milvus expression; "" where there is none. The filter fits the schema."""
    return " and ".join(_condition(each, schema.fields[each.field]) for each in conditions(filters))


def _condition(condition: AnyOf | Range, kind: FieldType) -> str:
    name = PREFIX + condition.field
    if isinstance(condition, Range):
        bounds = ((">=", condition.minimum), ("<=", condition.maximum))
        return " and ".join(
            f"{name} {sign} {literal(bound)}" for sign, bound in bounds if bound is not None
        ) or (f"{name} is not null")
    if not condition.values:
        return 'id == ""'  # any of nothing: no entity has an empty id
    values = f"[{', '.join(literal(value) for value in condition.values)}]"
    return f"array_contains_any({name}, {values})" if kind == "strings" else f"{name} in {values}"


def literal(value: str | float | bool) -> str:
    """The value as Milvus reads it: quoted text, true or false, or a number."""
    if isinstance(value, str):
        return f'"{stored_string(value).translate(_ESCAPES)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value) + 0.0)


def stored_string(value: str) -> str:
    """The text as it is kept, and no other text is kept like it.

    A very long one is cut and ends in its digest; so does what is not Unicode text, such as half a surrogate pair,
    and what looks as if it ended in one.
    """
    encoded = value.encode("utf-8", "surrogatepass")
    if len(encoded) <= MAX_STRING_BYTES and not _NOT_AS_IT_IS.search(value):
        return value
    digest = hashlib.sha256(encoded).hexdigest()
    return encoded[: MAX_STRING_BYTES - len(digest) - 3].decode("utf-8", "ignore") + "…" + digest


def stored(value: FilterValue | None) -> Any:
    """A field's value as it is kept."""
    if isinstance(value, str):
        return stored_string(value)
    return [stored_string(each) for each in value[:MAX_STRINGS]] if isinstance(value, tuple) else value
