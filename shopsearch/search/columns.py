"""Columns: which of an index's filters the shop's database can look up by itself, and its products by them."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DecimalField,
    Expression,
    F,
    Field,
    FloatField,
    IntegerField,
    Model,
    Q,
    QuerySet,
    TextField,
    When,
)
from django.db.models.functions import Cast
from django.db.models.lookups import GreaterThanOrEqual, LessThanOrEqual

from shopsearch.filters import AnyOf, Range
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import is_storable
from shopsearch.types import FilterType

_MOST = sys.float_info.max
_TEXTS, _NUMBERS = (CharField, TextField), (IntegerField, FloatField, DecimalField)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A filter whose value, to the database, is what the vector store holds."""

    kind: FilterType
    field: Field[Any, Any]
    path: str

    @property
    def expression(self) -> F | Expression:
        """Of a product: text, a float as stores keep numbers, or a boolean; NULL where the product has none."""
        if self.kind == "number":
            number = Cast(self.path, FloatField())
            if isinstance(self.field, IntegerField):
                return number
            # Not one that is infinite or none at all.
            is_finite = Q(GreaterThanOrEqual(number, -_MOST)) & Q(LessThanOrEqual(number, _MOST))
            return Case(When(is_finite, then=number), default=None, output_field=FloatField())
        if self.kind == "boolean" and not isinstance(self.field, BooleanField):
            unknown, no = (
                When(**{f"{self.path}__isnull": True}, then=None),
                When(**{self.path: 0}, then=False),
            )
            return Case(unknown, no, default=True, output_field=BooleanField())
        return F(self.path)


def column(index: ImageIndex, name: str) -> Column | None:
    """The filter's column; None where its value is an attribute or a method that only Python knows."""
    if finds_its_own_way(index):
        return None
    declared = index.filter_fields[name]
    path = declared.source or name
    field = field_at(index, path)
    if field is None:
        return None
    if declared.kind == "string":
        is_column = isinstance(field, _TEXTS) and not field.db_collation
    elif declared.kind == "boolean":
        is_column = isinstance(field, (BooleanField, *_NUMBERS))
    else:
        is_column = declared.kind == "number" and isinstance(field, _NUMBERS)
    return Column(kind=declared.kind, field=field, path=path) if is_column else None


def field_at(index: ImageIndex, path: str) -> Field[Any, Any] | None:
    """The column of the product, or of a row that it has one of, at the end of this path; None where there is none."""
    try:
        model: Any = index.product_model
        *steps, last = path.split("__")
        for name in steps:
            field = model._meta.get_field(name)
            if not (field.many_to_one or field.one_to_one) or not isinstance(field.related_model, type):
                return None
            model = field.related_model
        found = model._meta.get_field(last)
    except (FieldDoesNotExist, ImproperlyConfigured):
        return None
    return found if isinstance(found, Field) and not found.is_relation else None


def products(index: ImageIndex) -> QuerySet[Model]:
    """Those that the shop shows with an image, one row each."""
    images = index.get_queryset()
    key = f"{index.product_field}__pk" if index.product_field else "pk"
    return index.product_model._base_manager.using(images.db).filter(pk__in=images.values(key))


def narrowed(
    found: QuerySet[Model], index: ImageIndex, conditions: Iterable[AnyOf | Range]
) -> QuerySet[Model]:
    """The products that pass these conditions, as they would pass the vector store's; each must have a column."""
    for number, condition in enumerate(conditions):
        known, alias = column(index, condition.field), f"shopsearch_condition{number}"
        if known is None:
            raise ValueError(f"{condition.field!r} has no column.")
        found = found.alias(**{alias: known.expression})
        if isinstance(condition, AnyOf):
            found = found.filter(**{f"{alias}__in": [each for each in condition.values if is_storable(each)]})
        if isinstance(condition, Range) and condition.minimum is not None:
            found = found.filter(**{f"{alias}__gte": condition.minimum})
        if isinstance(condition, Range) and condition.maximum is not None:
            found = found.filter(**{f"{alias}__lte": condition.maximum})
    return found


def finds_its_own_way(index: ImageIndex) -> bool:
    """Whether the project overrides how values are found, so that the declared paths say nothing."""
    kind = type(index)
    return (kind.get_filter_values, kind.get_product) != (
        ImageIndex.get_filter_values,
        ImageIndex.get_product,
    )
