"""Declared paths, resolved against the models before a row is read: what cannot be followed, and what mends it."""

from __future__ import annotations

import datetime
import decimal
import inspect
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

from django.db.models import Field, ForeignObjectRel, Model, fields

from shopsearch.types import FilterType

End = FilterType | Literal["texts", "anything"]
"""What is to be at the end of a path: a filter's value, texts, or whatever there is."""

_PYTHON: Mapping[type[Any], type[Any]] = {
    fields.CharField: str,
    fields.TextField: str,
    fields.GenericIPAddressField: str,
    fields.UUIDField: uuid.UUID,
    fields.DateTimeField: datetime.datetime,
    fields.DateField: datetime.date,
    fields.TimeField: datetime.time,
    fields.DurationField: datetime.timedelta,
    fields.DecimalField: decimal.Decimal,
    fields.FloatField: float,
    fields.IntegerField: int,
    fields.BooleanField: bool,
}
"""What rows hold in Django's own fields. A field of another package may give anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a path cannot be followed."""

    message: str
    hint: str = ""
    """What mends it; "" where only the declaration's own words can say."""


def fault_in(model: type[Model] | None, path: str, end: End, *, several: bool = False) -> Fault | None:
    """What is wrong with a path from a row of this model; None where all is well as far as classes can tell.

    A path goes through fields, related rows and attributes, as ``registry.index.follow`` does, and may end at a method
    that needs no arguments. With ``several``, it may lead to several rows. Asks no database.
    """
    owner: type[Any] | None = model
    is_many = False
    names = path.split("__")
    for place, name in enumerate(names):
        is_last = place == len(names) - 1
        if owner is None or hasattr(owner, "__getattr__"):
            return None
        field = _field(owner, name)
        if field is None and not hasattr(owner, name):
            return _missing(owner, name)
        if field is None:
            return _fault_in_attribute(owner, name, is_last=is_last)
        if field.many_to_many or field.one_to_many:
            if not several:
                return _fault_in_many(owner, name, field, path, end)
            is_many = True
            if is_last:
                return None
        if is_last:
            return _fault_in_type(owner, name, field, "string" if is_many and end == "strings" else end)
        related = field.related_model if field.is_relation else _python(field)
        owner = related if isinstance(related, type) else None
    return None


def _field(owner: type[Any], name: str) -> Any:
    """The field or the other end of one that rows have under this name; None where it is no field."""
    if not issubclass(owner, Model):
        return None
    for field in owner._meta.get_fields():
        if name == (field.get_accessor_name() if isinstance(field, ForeignObjectRel) else field.name):
            return field
    return None


def _python(field: Any) -> type[Any] | None:
    if type(field).__module__.startswith(fields.__name__):
        return next((_PYTHON[kind] for kind in type(field).__mro__ if kind in _PYTHON), None)
    return None


def _name(owner: type[Any]) -> str:
    return owner._meta.label if issubclass(owner, Model) else owner.__name__


def _missing(owner: type[Any], name: str) -> Fault:
    known = [each for each in dir(owner) if not each.startswith("_")]
    if issubclass(owner, Model):
        by_lookup = {
            each.name: each.get_accessor_name()
            for each in owner._meta.get_fields()
            if isinstance(each, ForeignObjectRel)
        }
        if accessor := by_lookup.get(name):
            return Fault(
                message=f"{_name(owner)} has no field or attribute {name!r}",
                hint=f"Rows have it under the name {accessor!r}.",
            )
    nearest = get_close_matches(name, known, n=1)
    return Fault(
        message=f"{_name(owner)} has no field or attribute {name!r}",
        hint=f"Did you mean {nearest[0]!r}?" if nearest else "",
    )


def _fault_in_attribute(owner: type[Any], name: str, *, is_last: bool) -> Fault | None:
    """Of what is no field: a method, a property, a constant."""
    if not inspect.isroutine(inspect.getattr_static(owner, name)):
        return None
    if not is_last:
        return Fault(
            message=f"{_name(owner)}.{name} is a method, and only the end of a path is called",
            hint="End the path there, or make it a property.",
        )
    try:
        parameters = list(inspect.signature(getattr(owner, name)).parameters.values())
    except ValueError:  # some of Python's own methods do not say
        return None
    if not isinstance(inspect.getattr_static(owner, name), staticmethod | classmethod):
        parameters = parameters[1:]
    needed = [
        each.name
        for each in parameters
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if not needed:
        return None
    return Fault(
        message=f"{_name(owner)}.{name} needs arguments: {', '.join(needed)}",
        hint="Name a method that needs none, such as one of your own that calls it.",
    )


def _fault_in_many(owner: type[Any], name: str, field: Any, path: str, end: End) -> Fault:
    rows = _name(field.related_model) if isinstance(field.related_model, type) else "other"
    aggregate = "any" if end == "boolean" else "min"
    return Fault(
        message=f"{_name(owner)}.{name} leads to several {rows} rows, and one value is asked for",
        hint=f"Say which of them counts: FilterField(…, {path!r}, aggregate={aggregate!r}). "
        "A list[str] has all of them.",
    )


def _fault_in_type(owner: type[Any], name: str, field: Field[Any, Any], end: End) -> Fault | None:
    kind, what = _python(field), type(field).__name__
    wrong = Fault(message=f"{_name(owner)}.{name} is a {what}, which is no {end}")
    if field.is_relation:
        if end in ("number", "strings"):
            return Fault(message=wrong.message, hint=f"Go on to one of its fields: '{name}__…'.")
        return None
    text = "Declare it str, or name a property that makes such a value of it."
    if end == "number" and kind in (str, uuid.UUID, datetime.datetime, datetime.date, datetime.time):
        return Fault(message=wrong.message, hint=text)
    if end == "number" and kind is datetime.timedelta:
        return Fault(message=wrong.message, hint="Name a property that gives its total_seconds().")
    if end == "boolean" and kind is str:
        return Fault(message=f"{wrong.message}: any text but an empty one would be true", hint=text)
    if end == "strings" and kind is str:
        return Fault(
            message=f"{_name(owner)}.{name} is a {what}, and list[str] would take it letter by letter",
            hint="Declare it str, or name a property that splits it: return self.tags.split(',').",
        )
    if end == "strings" and kind is not None:
        return Fault(message=f"{_name(owner)}.{name} is a {what}, which is no list", hint=text)
    return None
