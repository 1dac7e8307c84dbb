"""Checks declared paths against the models, before any row is read: what cannot be followed, and how to fix it."""

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
"""What a path should end at: a filter's value, texts, or anything."""

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
"""The Python types of Django's own fields. A field of another package may have any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Why a path cannot be followed."""

    message: str
    hint: str = ""
    """How to fix it; "" if nothing can be suggested."""


def fault_in(model: type[Model] | None, path: str, end: End, *, several: bool = False) -> Fault | None:
    """What is wrong with a path from a row of this model; None if nothing, as far as the classes tell.

    A path goes through fields, related rows and attributes, as in ``registry.index.follow``, and may end at a method
    without required arguments. With ``several``, it may lead to several rows. Makes no database query.
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
    """The forward or reverse field with this name; None if it is not a field."""
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
    message = f"{_name(owner)} has no field or attribute {name!r}"
    known = [each for each in dir(owner) if not each.startswith("_")]
    if issubclass(owner, Model):
        by_lookup = {
            each.name: each.get_accessor_name()
            for each in owner._meta.get_fields()
            if isinstance(each, ForeignObjectRel)
        }
        if accessor := by_lookup.get(name):
            return Fault(message=message, hint=f"Rows have it under the name {accessor!r}.")
    nearest = get_close_matches(name, known, n=1)
    return Fault(message=message, hint=f"Did you mean {nearest[0]!r}?" if nearest else "")


def _fault_in_attribute(owner: type[Any], name: str, *, is_last: bool) -> Fault | None:
    """What is wrong with a name that is not a field: a method, a property or a constant."""
    if not inspect.isroutine(inspect.getattr_static(owner, name)):
        return None
    if not is_last:
        return Fault(
            message=f"{_name(owner)}.{name} is a method, and only the end of a path is called",
            hint="End the path there, or make it a property.",
        )
    try:
        parameters = list(inspect.signature(getattr(owner, name)).parameters.values())
    except ValueError:  # some built-in methods have no signature
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
