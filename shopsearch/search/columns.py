"""Columns: which of an index's filters the shop's database can look up by itself, and its products by them."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldDoesNotExist, ImproperlyConfigured
from django.db.models import (
    BooleanField,
    Case,
    CharField,
    DecimalField,
    Exists,
    F,
    Field,
    FloatField,
    IntegerField,
    Max,
    Min,
    Model,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    TextField,
    When,
)
from django.db.models.expressions import Combinable
from django.db.models.functions import Cast
from django.db.models.lookups import GreaterThanOrEqual, LessThanOrEqual

from shopsearch.filters import AnyOf, Range
from shopsearch.registry import ImageIndex
from shopsearch.registry.index import Aggregate
from shopsearch.registry.keys import is_storable, keys_from
from shopsearch.registry.relations import relation
from shopsearch.types import FilterType

_MOST = sys.float_info.max
_TEXTS, _NUMBERS = (CharField, TextField), (IntegerField, FloatField, DecimalField)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A filter whose value, to the database, is what the vector store holds."""

    kind: FilterType
    field: Field[Any, Any]
    path: str
    """As a lookup from the product."""
    several_of: type[Model] | None = None
    """The product's model where the path leads to several rows, whose values the aggregate makes one."""
    aggregate: Aggregate = ""

    @property
    def expression(self) -> Combinable:
        """Of a product: text, a float as stores keep numbers, or a boolean; NULL where the product has none.

        For a filter of several texts, one row for each.
        """
        if self.several_of is None or self.kind == "strings":
            return self._value
        own = self.several_of._base_manager.filter(pk=OuterRef("pk")).order_by()
        values = own.annotate(shopsearch_one=self._value)
        if self.aggregate == "any":
            return Exists(values.filter(shopsearch_one=True))
        least_or_most = (Min if self.aggregate == "min" else Max)("shopsearch_one")
        return Subquery(values.values("pk").annotate(shopsearch_all=least_or_most).values("shopsearch_all"))

    @property
    def _value(self) -> Combinable:
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
    kind, path = declared.kind, declared.source or name
    place = place_of(index, path) if isinstance(path, str) else None
    # Several values need an aggregate; which of several texts comes first is not the same for every database.
    if place is None or place.is_several != (
        kind == "strings" or declared.aggregate in ("min", "max", "any")
    ):
        return None
    if kind in ("string", "strings"):
        is_column = isinstance(place.field, _TEXTS) and not place.field.db_collation
        is_column = is_column and place.is_several == (kind == "strings")
    elif kind == "boolean":
        is_column = isinstance(place.field, (BooleanField, *_NUMBERS))
    else:
        is_column = isinstance(place.field, _NUMBERS)
    if not is_column:
        return None
    return Column(
        kind=kind,
        field=place.field,
        path=place.lookup,
        several_of=index.product_model if place.is_several else None,
        aggregate=declared.aggregate,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a declared path ends: a column of the product, or of rows that it leads to."""

    field: Field[Any, Any]
    lookup: str
    is_several: bool
    """Whether a product may have more than one of them, or none."""


def place_of(index: ImageIndex, path: str) -> Place | None:
    """Where this path ends; None where that is no column."""
    try:
        model: Any = index.product_model
        *steps, last = path.split("__")
        lookup, is_several = "", False
        for name in steps:
            field = relation(model, name)
            if field is None:
                return None
            lookup, model = f"{lookup}{field.name}__", field.related_model
            is_several = is_several or not (field.many_to_one or field.one_to_one)
        found = model._meta.get_field(last)
    except (FieldDoesNotExist, ImproperlyConfigured):
        return None
    if not isinstance(found, Field) or found.is_relation:
        return None
    return Place(field=found, lookup=f"{lookup}{last}", is_several=is_several)


def products(
    index: ImageIndex, among: Collection[str] | None = None, *, pictureless: bool = False
) -> QuerySet[Model]:
    """Those that the shop shows with an image, one row each; of these keys alone unless None.

    With ``pictureless``, those without an image too.
    """
    images = index.get_queryset()
    is_shown = Q(pk__in=images.order_by().values_list(index.product_key))
    if pictureless:
        is_shown |= Q(pk__in=index.pictureless_products().using(images.db).order_by().values("pk"))
    found = index.product_model._base_manager.using(images.db).filter(is_shown)
    return found if among is None else found.filter(pk__in=keys_from(index.product_model, among))


def narrowed(
    found: QuerySet[Model], index: ImageIndex, conditions: Iterable[AnyOf | Range]
) -> QuerySet[Model]:
    """The products that pass these conditions, as they would pass the vector store's; each must have a column."""
    for number, condition in enumerate(conditions):
        known, alias = column(index, condition.field), f"shopsearch_condition{number}"
        if known is None:
            raise ValueError(f"{condition.field!r} has no column.")
        if known.kind == "strings" and isinstance(condition, AnyOf):
            asked = [each for each in condition.values if is_storable(each)]
            having = found.model._base_manager.filter(**{f"{known.path}__in": asked})
            found = found.filter(pk__in=having.values("pk"))
            continue
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
