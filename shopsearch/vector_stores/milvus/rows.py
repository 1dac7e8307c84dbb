"""Schemas and entities as Milvus keeps them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from django.core.exceptions import ImproperlyConfigured

from shopsearch.types import CollectionSchema, Entity, FieldType, Hit
from shopsearch.vector_stores.milvus.connection import import_pymilvus
from shopsearch.vector_stores.milvus.expressions import MAX_STRING_BYTES, MAX_STRINGS, PREFIX, stored

if TYPE_CHECKING:
    from shopsearch.types import Vector
    from shopsearch.vector_stores.validation import Fields

WORDS_VECTOR = "words"
"""Where Milvus keeps what BM25 needs of the field of words."""

MAX_WORDS_BYTES = 65_535

_TYPES: dict[FieldType, str] = {
    "string": "VARCHAR",
    "number": "DOUBLE",
    "boolean": "BOOL",
    "strings": "ARRAY",
}

_KINDS: dict[str, FieldType] = {name: kind for kind, name in _TYPES.items()}
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
        if kind == "words":
            continue
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
    if schema.words:
        _add_words(wanted, PREFIX + schema.words, pymilvus)
    return wanted


def _add_words(wanted: Any, name: str, pymilvus: Any) -> None:
    """A text of words, and BM25 over it. Languages are not the server's affair: Milvus Lite knows of none."""
    types = pymilvus.DataType
    analyzer = {"tokenizer": "standard", "filter": ["lowercase"]}
    options = {"enable_analyzer": True, "analyzer_params": analyzer, "max_length": MAX_WORDS_BYTES}
    wanted.add_field(name, types.VARCHAR, **options)
    wanted.add_field(WORDS_VECTOR, types.SPARSE_FLOAT_VECTOR)
    wanted.add_function(
        pymilvus.Function(
            name="bm25",
            function_type=pymilvus.FunctionType.BM25,
            input_field_names=[name],
            output_field_names=[WORDS_VECTOR],
        )
    )


def collection_schema(described: Mapping[str, Any]) -> CollectionSchema:
    """The schema of a collection that a server describes; dimension 0 where it is none of ours."""
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
    is_analyzed = str(described["params"].get("enable_analyzer", "")).lower() == "true"
    return "words" if is_analyzed else _KINDS[described["type"].name]


def row_names(schema: CollectionSchema) -> list[str]:
    """The fields that an entity is read from."""
    return ["id", "image_id", "product_id", "vector", *(PREFIX + name for name in schema.fields)]


def row(entity: Entity, vector: Vector, fields: Fields, words: str) -> dict[str, Any]:
    """The entity as it is written; ``words`` is its field of words. Raises ValueError for a key too long to keep."""
    for key in (entity.image_id, entity.product_id):
        if len(key.encode()) > _KEY_BYTES:
            raise ValueError(f"A primary key of more than {_KEY_BYTES} bytes cannot be indexed: {key[:40]}…")
    values = {PREFIX + name: stored(value) for name, value in fields.items() if name != words}
    if words:
        values[PREFIX + words] = _cut(str(fields[words]))
    return {
        "id": entity.id,
        "image_id": entity.image_id,
        "product_id": entity.product_id,
        "vector": vector,
        **values,
    }


def _cut(text: str) -> str:
    encoded = text.encode("utf-8", "replace")
    return encoded[:MAX_WORDS_BYTES].decode("utf-8", "ignore")


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


def hit(found: Mapping[str, Any], score: float, words: str = "") -> Hit:
    """The entity as a search found it, with the cosine for its score; ``words`` is the field to be read along."""
    row = found["entity"]
    return Hit(
        id=found["id"],
        image_id=row["image_id"],
        product_id=row["product_id"],
        score=min(1.0, max(-1.0, score)),
        words=row[PREFIX + words] if words else "",
    )


def cosine(vector: Any, wanted: Vector) -> float:
    """Of a vector as it was read with the wanted one."""
    held = np.asarray(vector, dtype=np.float32)
    lengths = float(np.linalg.norm(held) * np.linalg.norm(wanted))
    return float(held @ wanted) / lengths if lengths else 0.0


_OLDEST = (2, 5)
_HNSW = {"M": 32, "efConstruction": 256}


def check_version(version: str) -> None:
    """An older server would make the collection all the same, and refuse each entity without a value."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)  # Milvus Lite and Zilliz Cloud begin with their names
    if numbers and tuple(map(int, numbers.groups())) < _OLDEST:
        raise ImproperlyConfigured(f"The vector store is Milvus {version}: shopsearch needs 2.5 or later.")


def indexes(names: Iterable[str], version: str, *, vector_index: str, params: Mapping[str, Any]) -> Any:
    """The indexes of these fields, as pymilvus wants them made; ``vector_index`` "" is what serves best there."""
    made = import_pymilvus().MilvusClient.prepare_index_params()
    for name in names:
        if name == WORDS_VECTOR:
            made.add_index(name, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        else:
            kind = vector_index or ("FLAT" if version.startswith("milvus_lite") else "HNSW")
            chosen = dict(params) or (_HNSW if kind == "HNSW" else {})
            made.add_index(name, index_type=kind, metric_type="COSINE", params=chosen)
    return made
