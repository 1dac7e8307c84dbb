"""What every vector store refuses before it writes or searches."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from shopsearch.types import CollectionSchema, Entity, Vector

_ID = re.compile(r"[0-9a-f]{32}")
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")

MAX_LIMIT = 16_384
"""The most that one search may ask for."""


def checked_collection(collection: str) -> str:
    """The name itself. Raises ValueError unless it has only letters, digits and underscores, at most 255."""
    if not _COLLECTION.fullmatch(collection):
        raise ValueError(f"{collection!r} is not a collection's name: use letters, digits and underscores.")
    return collection


def checked_ids(ids: Sequence[str]) -> list[str]:
    """The ids, each once, in their order. Raises ValueError for one that is not 32 hexadecimal digits."""
    for each in ids:
        if not isinstance(each, str) or not _ID.fullmatch(each):
            raise ValueError(f"{each!r} is not an entity's id: 32 lower-case hexadecimal digits.")
    return list(dict.fromkeys(ids))


def checked_vector(vector: Vector, schema: CollectionSchema) -> Vector:
    """The vector as float32. Raises ValueError for another dimension or a number that is not finite."""
    array = np.asarray(vector, dtype=np.float32)
    if array.shape != (schema.dimension,):
        raise ValueError(
            f"The vector has the shape {array.shape}, the collection wants ({schema.dimension},)."
        )
    if not np.isfinite(array).all():
        raise ValueError("The vector has a number that is not finite.")
    return array


def checked_entities(entities: Sequence[Entity], schema: CollectionSchema) -> None:
    """Raises ValueError for an id that is wrong or comes twice, an unknown field, or a vector that does not fit."""
    if len(checked_ids([entity.id for entity in entities])) != len(entities):
        raise ValueError("Two entities of one upsert have the same id.")
    for entity in entities:
        checked_vector(entity.vector, schema)
        if unknown := entity.fields.keys() - schema.fields.keys():
            raise ValueError(f"The collection has no field {', '.join(sorted(unknown))}.")


def checked_limit(limit: int) -> int:
    """The limit itself. Raises ValueError unless it lies between 1 and MAX_LIMIT."""
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"A limit lies between 1 and {MAX_LIMIT:,}, not {limit}.")
    return limit
