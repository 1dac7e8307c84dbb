"""The checks of names, ids, vectors, fields and filters that all vector stores share."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from django.utils.translation import gettext_noop as _

from shopsearch.exceptions import FilterError
from shopsearch.filters import AnyOf, Filter, conditions

if TYPE_CHECKING:
    from shopsearch.types import CollectionSchema, Entity, FieldType, FilterValue, Vector

    Fields = dict[str, FilterValue | None]

MAX_LIMIT = 16_384
"""The largest limit of a search."""
_ID = re.compile(r"[0-9a-f]{32}")
_COLLECTION = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_TYPES: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "strings": (str,),
    "partition": (str,),
    "boolean": (bool,),
    "number": (int, float),
}


def checked_collection(collection: str) -> str:
    """The name. Raises ValueError unless it is at most 255 letters, digits and underscores."""
    if not _COLLECTION.fullmatch(collection):
        raise ValueError(f"{collection!r} is not a collection's name: use letters, digits and underscores.")
    return collection


def checked_ids(ids: Sequence[str]) -> list[str]:
    """The ids in their order, each once. Raises ValueError for one that is not 32 hexadecimal digits."""
    for each in ids:
        if not _ID.fullmatch(each):
            raise ValueError(f"{each!r} is not an entity's id: 32 lower-case hexadecimal digits.")
    return list(dict.fromkeys(ids))


def checked_limit(limit: int) -> int:
    """The limit. Raises ValueError unless it lies between 1 and MAX_LIMIT."""
    if not 1 <= limit <= MAX_LIMIT:
        raise ValueError(f"A limit lies between 1 and {MAX_LIMIT:,}, not {limit}.")
    return limit


def checked_vector(vector: Vector, schema: CollectionSchema) -> Vector:
    """A copy of the vector, float32. Raises ValueError for another dimension or a value that is not finite."""
    import numpy as np

    array = np.array(vector, dtype=np.float32)
    if array.shape != (schema.dimension,):
        raise ValueError(
            f"The vector has the shape {array.shape}; the collection takes ({schema.dimension},)."
        )
    if not np.isfinite(array).all():
        raise ValueError("The vector has a number that is not finite.")
    return array


def checked_entities(
    entities: Sequence[Entity], schema: CollectionSchema
) -> list[tuple[Entity, Vector, Fields]]:
    """Each entity with its vector and its typed fields, one per field of the schema.

    Raises ValueError for a wrong or repeated id, a vector that does not fit, an unknown field, or a value of the
    wrong type.
    """
    if len(checked_ids([entity.id for entity in entities])) != len(entities):
        raise ValueError("Two entities of one upsert have the same id.")
    return [
        (entity, checked_vector(entity.vector, schema), checked_fields(entity.fields, schema))
        for entity in entities
    ]


def checked_fields(fields: Mapping[str, FilterValue | None], schema: CollectionSchema) -> Fields:
    """The typed values, one per field of the schema. Raises ValueError for an unknown field or a wrong type."""
    if unknown := fields.keys() - schema.fields.keys():
        raise ValueError(f"The collection has no field {', '.join(sorted(unknown))}.")
    return {name: _typed(kind, fields.get(name)) for name, kind in schema.fields.items()}


def _typed(kind: FieldType, value: object) -> FilterValue | None:
    if kind in ("words", "partition"):
        return str(value or "")
    if value is None:
        return None
    if kind == "strings":
        if isinstance(value, str) or not isinstance(value, Sequence):
            raise ValueError(f"A field of strings holds a tuple of them, not {value!r}.")
        return tuple(str(each) for each in value)
    if kind == "boolean":
        return bool(value)
    if kind == "string":
        return str(value)
    number = float(str(value))
    if not math.isfinite(number):
        raise ValueError(f"A field's number is finite, not {value!r}.")
    return number + 0.0  # turns -0.0 into 0.0: some stores tell them apart


def checked_filter(filters: Filter | None, schema: CollectionSchema) -> None:
    """Raises FilterError for a field that the schema lacks, or a value that is not of its field's type."""
    for condition in conditions(filters):
        kind = schema.fields.get(condition.field)
        if kind is None or kind == "words":
            raise FilterError(_("There is no filter %(name)r."), name=condition.field)
        values: tuple[object, ...]
        if isinstance(condition, AnyOf):
            values, types = condition.values, _TYPES[kind]
        else:
            values = tuple(each for each in (condition.minimum, condition.maximum) if each is not None)
            types = _TYPES["number"] if kind == "number" else ()
        for value in values:
            if not isinstance(value, types) or (kind == "number" and not _is_number(value)):
                raise FilterError(
                    _("The filter %(name)r is of type %(kind)s; %(value)r does not fit."),
                    name=condition.field,
                    kind=kind,
                    value=value,
                )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
