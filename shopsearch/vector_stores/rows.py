"""Schemas and entities as Milvus keeps them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from django.core.exceptions import ImproperlyConfigured

from shopsearch.types import CollectionSchema, Entity, FilterType
from shopsearch.vector_stores.connection import import_pymilvus
from shopsearch.vector_stores.expressions import MAX_STRING_BYTES, MAX_STRINGS, PREFIX, stored

if TYPE_CHECKING:
    from shopsearch.types import Vector
    from shopsearch.vector_stores.entities import Fields

_TYPES: dict[FilterType, str] = {
    "string": "VARCHAR",
    "number": "DOUBLE",
    "boolean": "BOOL",
    "strings": "ARRAY",
}
_KINDS: dict[str, FilterType] = {name: kind for kind, name in _TYPES.items()}
_FIELD_NAME = re.compile(r"[A-Za-z0-9_]{1,200}")
_KEY_BYTES = 1024


def milvus_schema(schema: CollectionSchema) -> Any:
    """The schema as pymilvus wants it. Raises ImproperlyConfigured for a field that Milvus cannot name."""
    pymilvus = import_pymilvus()
    types = pymilvus.DataType
    wanted = pymilvus.MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
    wanted.add_field("id", types.VARCHAR, is_primary=True, max_length=32)
    wanted.add_field("image_id", types.VARCHAR, max_length=_KEY_BYTES)
    wanted.add_field("product_id", types.VARCHAR, max_length=_KEY_BYTES)
    wanted.add_field("vector", types.FLOAT_VECTOR, dim=schema.dimension)
    for name, kind in schema.fields.items():
        if not _FIELD_NAME.fullmatch(name):
            raise ImproperlyConfigured(
                f"Milvus cannot name a filter {name!r}: use plain letters, digits and _."
            )
        options: dict[str, Any] = {"nullable": True}
        if kind in ("string", "strings"):
            options["max_length"] = MAX_STRING_BYTES
        if kind == "strings":
            options |= {"element_type": types.VARCHAR, "max_capacity": MAX_STRINGS}
        wanted.add_field(PREFIX + name, types[_TYPES[kind]], **options)
    return wanted


def collection_schema(described: Mapping[str, Any]) -> CollectionSchema:
    """The schema of a collection that a server describes; dimension 0 where it is none of ours."""
    fields = {each["name"]: each for each in described["fields"]}
    return CollectionSchema(
        dimension=int(fields.get("vector", {}).get("params", {}).get("dim", 0)),
        fields={
            name.removeprefix(PREFIX): _KINDS[each["type"].name]
            for name, each in fields.items()
            if name.startswith(PREFIX) and each["type"].name in _KINDS
        },
    )


def row_names(schema: CollectionSchema) -> list[str]:
    """The fields that an entity is read from."""
    return ["id", "image_id", "product_id", "vector", *(PREFIX + name for name in schema.fields)]


def row(entity: Entity, vector: Vector, fields: Fields) -> dict[str, Any]:
    """The entity as it is written. Raises ValueError for a key that is too long to keep."""
    for key in (entity.image_id, entity.product_id):
        if len(key.encode()) > _KEY_BYTES:
            raise ValueError(f"A primary key of more than {_KEY_BYTES} bytes cannot be indexed: {key[:40]}…")
    values = {PREFIX + name: stored(value) for name, value in fields.items()}
    return {
        "id": entity.id,
        "image_id": entity.image_id,
        "product_id": entity.product_id,
        "vector": vector,
        **values,
    }


def entity(found: Mapping[str, Any], schema: CollectionSchema) -> Entity:
    """The entity as it was read."""
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
