"""Schemas, entities and filters in Milvus's form. A value is always a literal, never part of an expression."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.filters import AnyOf, Filter, Range, conditions
from shopsearch.types import CollectionSchema, Entity, FieldType, Hit
from shopsearch.vector_stores.milvus.connection import import_pymilvus

if TYPE_CHECKING:
    from shopsearch.types import FilterValue, Vector
    from shopsearch.vector_stores.validation import Fields

PREFIX = "f_"
"""The prefix of declared names, so that a filter may be called ``id`` or ``vector``."""
WORDS_VECTOR = "words"
"""The field in which Milvus keeps the words field's BM25 data."""
MAX_STRING_BYTES = 2048
MAX_STRINGS = 4096
MAX_WORDS_BYTES = 65_535
_KEY_BYTES = 1024
_TYPES: dict[FieldType, str] = {
    "string": "VARCHAR",
    "partition": "VARCHAR",
    "number": "DOUBLE",
    "boolean": "BOOL",
    "strings": "ARRAY",
}
_KINDS: dict[str, FieldType] = {
    "VARCHAR": "string",
    "DOUBLE": "number",
    "BOOL": "boolean",
    "ARRAY": "strings",
}
_FIELD_NAME = re.compile(r"[A-Za-z0-9_]{1,200}")
_HASHED = re.compile("[\0\ud800-\udfff]|…[0-9a-f]{64}\\Z")
# Milvus and Milvus Lite agree on these five escapes. Milvus Lite does not know \u and \b; other control characters need
# no escape.
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


# Schemas


def milvus_schema(schema: CollectionSchema) -> Any:
    """The schema for pymilvus. Raises ImproperlyConfigured for a field that Milvus cannot name."""
    pymilvus = import_pymilvus()
    types = pymilvus.DataType
    wanted = pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    wanted.add_field("id", types.VARCHAR, is_primary=True, max_length=32)
    wanted.add_field("image_id", types.VARCHAR, max_length=_KEY_BYTES)
    wanted.add_field("product_id", types.VARCHAR, max_length=_KEY_BYTES)
    wanted.add_field("vector", types.FLOAT_VECTOR, dim=schema.dimension)
    for name, kind in schema.fields.items():
        if kind == "words":
            continue
        if not _FIELD_NAME.fullmatch(name):
            raise ImproperlyConfigured(
                f"Milvus cannot name a filter {name!r}: use plain letters, digits and _."
            )
        options: dict[str, Any] = {"is_partition_key": True} if kind == "partition" else {"nullable": True}
        if _TYPES[kind] in ("VARCHAR", "ARRAY"):
            options["max_length"] = MAX_STRING_BYTES
        if kind == "strings":
            options |= {"element_type": types.VARCHAR, "max_capacity": MAX_STRINGS}
        wanted.add_field(PREFIX + name, types[_TYPES[kind]], **options)
    if schema.words:
        _add_words(wanted, PREFIX + schema.words, pymilvus)
    return wanted


def _add_words(wanted: Any, name: str, pymilvus: Any) -> None:
    """A words field with BM25. The words are stemmed before they get here: Milvus Lite has no stemmers."""
    analyzer = {"tokenizer": "standard", "filter": ["lowercase"]}
    wanted.add_field(
        name,
        pymilvus.DataType.VARCHAR,
        enable_analyzer=True,
        analyzer_params=analyzer,
        max_length=MAX_WORDS_BYTES,
    )
    wanted.add_field(WORDS_VECTOR, pymilvus.DataType.SPARSE_FLOAT_VECTOR)
    wanted.add_function(
        pymilvus.Function(
            name="bm25",
            function_type=pymilvus.FunctionType.BM25,
            input_field_names=[name],
            output_field_names=[WORDS_VECTOR],
        )
    )


def collection_schema(described: Mapping[str, Any]) -> CollectionSchema:
    """The schema of a collection that the server describes; dimension 0 if shopsearch did not make it."""
    fields = {each["name"]: each for each in described["fields"]}
    return CollectionSchema(
        dimension=int(fields.get("vector", {}).get("params", {}).get("dim", 0)),
        fields={
            name.removeprefix(PREFIX): _kind(each)
            for name, each in fields.items()
            if name.startswith(PREFIX) and each["type"].name in _KINDS
        },
    )


def _kind(described: Mapping[str, Any]) -> FieldType:
    if described.get("is_partition_key"):
        return "partition"
    is_analyzed = str(described["params"].get("enable_analyzer", "")).lower() == "true"
    return "words" if is_analyzed else _KINDS[described["type"].name]


# Entities


def field_names(schema: CollectionSchema) -> list[str]:
    """The fields to read for an entity."""
    return ["id", "image_id", "product_id", "vector", *(PREFIX + name for name in schema.fields)]


def row(entity: Entity, vector: Vector, fields: Fields, words_field: str) -> dict[str, Any]:
    """The entity in Milvus's form; ``words_field`` names its words field. Raises ValueError if a key is too long."""
    values = {
        PREFIX + name: words(str(value)) if name == words_field else stored(value)
        for name, value in fields.items()
    }
    return {
        "id": entity.id,
        "image_id": _checked_key(entity.image_id),
        "product_id": _checked_key(entity.product_id),
        "vector": vector,
        **values,
    }


def _checked_key(key: str) -> str:
    if len(key.encode()) > _KEY_BYTES:
        raise ValueError(f"A primary key of more than {_KEY_BYTES} bytes cannot be indexed: {key[:40]}…")
    return key


def words(text: str) -> str:
    """The words for Milvus: with its limit of bytes, and without NUL, where Milvus 2.5 would stop reading."""
    return text.replace("\0", " ").encode("utf-8", "replace")[:MAX_WORDS_BYTES].decode("utf-8", "ignore")


def entity(found: Mapping[str, Any], schema: CollectionSchema) -> Entity:
    """The entity from a row that was read."""
    import numpy as np

    fields = {name: found.get(PREFIX + name) for name in schema.fields}
    return Entity(
        id=found["id"],
        image_id=found["image_id"],
        product_id=found["product_id"],
        vector=np.asarray(found["vector"], dtype=np.float32),
        fields={
            name: value if value is None or schema.fields[name] != "strings" else tuple(value)
            for name, value in fields.items()
        },
    )


def hit(found: Mapping[str, Any], score: float, words_field: str = "") -> Hit:
    """The hit from a row that was found; ``score`` is the cosine, ``words_field`` the words field to read."""
    fields = found["entity"]
    return Hit(
        id=found["id"],
        image_id=fields["image_id"],
        product_id=fields["product_id"],
        score=min(1.0, max(-1.0, score)),
        words=fields[PREFIX + words_field] if words_field else "",
    )


# Values and filters


def stored(value: FilterValue | None) -> FilterValue | None:
    """The value as it is stored: long texts and lists are cut."""
    if isinstance(value, str):
        return stored_string(value)
    return tuple(map(stored_string, value[:MAX_STRINGS])) if isinstance(value, tuple) else value


def stored_string(value: str) -> str:
    """The text as it is stored. Different texts are stored differently.

    A long text is cut and ends in its digest. A digest also ends a text that is not valid Unicode, such as half a
    surrogate pair, a text with a NUL, where Milvus 2.5 would stop reading, and a text that looks like one with a
    digest.
    """
    encoded = value.encode("utf-8", "surrogatepass")
    if len(encoded) <= MAX_STRING_BYTES and not _HASHED.search(value):
        return value
    digest = hashlib.sha256(encoded).hexdigest()
    begin = encoded[: MAX_STRING_BYTES - len(digest) - 3].decode("utf-8", "ignore").replace("\0", "")
    return f"{begin}…{digest}"


def expression(filters: Filter | None, schema: CollectionSchema) -> str:
    """The filter, already checked against the schema, as a Milvus expression; "" for no filter."""
    return " and ".join(_condition(each, schema.fields[each.field]) for each in conditions(filters))


def _condition(condition: AnyOf | Range, kind: FieldType) -> str:
    name = PREFIX + condition.field
    if isinstance(condition, Range):
        bounds = ((">=", condition.minimum), ("<=", condition.maximum))
        return " and ".join(
            f"{name} {sign} {literal(bound)}" for sign, bound in bounds if bound is not None
        ) or (f"{name} is not null")
    if not condition.values:
        return 'id == ""'  # an empty list of values matches nothing, and no entity has an empty id
    values = f"[{', '.join(map(literal, condition.values))}]"
    return f"array_contains_any({name}, {values})" if kind == "strings" else f"{name} in {values}"


def any_id(ids: list[str]) -> str:
    """The expression for the entities with these ids."""
    return f"id in [{', '.join(map(literal, ids))}]"


def literal(value: str | float | bool) -> str:
    """The value as a Milvus literal: quoted text, true or false, or a number."""
    if isinstance(value, str):
        return f'"{stored_string(value).translate(_ESCAPES)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(float(value) + 0.0)
