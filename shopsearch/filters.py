"""The typed filter tree: conditions that are values, never expressions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from django.utils.translation import gettext as _

from shopsearch.exceptions import FilterError
from shopsearch.types import FilterType, FilterValue


@dataclass(frozen=True, slots=True)
class AnyOf:
    """The field has one of these values; a field of several strings has at least one of them."""

    field: str
    values: tuple[str | float | bool, ...]


@dataclass(frozen=True, slots=True)
class Range:
    """The field's number lies between the bounds, both included; None leaves a side open."""

    field: str
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, slots=True)
class And:
    """Every condition holds."""

    filters: tuple[AnyOf | Range, ...]


Filter = AnyOf | Range | And
MAX_CONDITIONS = 100
MAX_VALUES = 1_000
"""How many values one condition may list."""

MAX_CHARACTERS = 100_000
"""How many characters the values of all conditions may have together."""

_SHOWN = 60  # how many characters of a wrong value the error quotes

TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")
"""What forms and people write for a boolean, in upper or lower case."""


def parse(conditions: Mapping[str, object], declared: Mapping[str, FilterType]) -> Filter | None:
    """The filter that these conditions mean; None if there are none.

    ``{"category": ["mug", "plate"], "price__gte": 5, "price__lte": "20", "in_stock": True}``: a list means any of
    its values; ``__gte`` and ``__lte`` bound a number. Values are typed, or text as in a query string; empty text, as
    from a blank form field, is no condition.

    Raises FilterError for a name that is not declared, a value of the wrong type, and more filters, values or
    characters than the limits above.
    """
    if len(conditions) > MAX_CONDITIONS:
        raise FilterError(
            _("A search takes up to %(most)s filters, not %(count)s.")
            % {"most": MAX_CONDITIONS, "count": f"{len(conditions):,}"}
        )
    characters = 0
    any_of: dict[str, AnyOf] = {}
    ranges: dict[str, Range] = {}
    for key, given in conditions.items():
        name, _separator, lookup = (key, "", "") if key in declared else key.rpartition("__")
        kind = declared.get(name)
        if kind is None or (not lookup and key != name):
            known = ", ".join(sorted(declared)) or _("none")
            raise FilterError(
                _("There is no filter %(name)r. The filters of this shop: %(known)s.")
                % {"name": key[:_SHOWN], "known": known}
            )
        values = _listed(given)
        if not values:
            continue
        if len(values) > MAX_VALUES:
            raise FilterError(
                _("The filter %(name)r takes up to %(most)s values, not %(count)s.")
                % {"name": name, "most": f"{MAX_VALUES:,}", "count": f"{len(values):,}"}
            )
        characters += sum(len(value) for value in values if isinstance(value, str))
        if characters > MAX_CHARACTERS:
            raise FilterError(
                _("Filters have up to %(most)s characters together; ask for fewer values.")
                % {"most": f"{MAX_CHARACTERS:,}"}
            )
        if not lookup:
            any_of[name] = AnyOf(name, tuple(_exact(name, kind, value) for value in values))
        elif lookup in ("gte", "lte") and kind == "number":
            if len(values) > 1:
                raise FilterError(
                    _("The filter %(name)r takes one number, not %(count)s.")
                    % {"name": key, "count": len(values)}
                )
            bound = _typed(name, kind, values[0])
            before = ranges.get(name, Range(name))
            ranges[name] = (
                Range(name, float(bound), before.maximum)
                if lookup == "gte"
                else Range(name, before.minimum, float(bound))
            )
        else:
            raise FilterError(
                _("%(key)r is not a filter: __gte and __lte bound numbers, and %(name)r is %(kind)s.")
                % {"key": key, "name": name, "kind": kind}
            )
    found: tuple[AnyOf | Range, ...] = (*any_of.values(), *ranges.values())
    return None if not found else found[0] if len(found) == 1 else And(found)


def holds(condition: AnyOf | Range, value: FilterValue | None) -> bool:
    """Whether a product with this value passes. A product without a value passes no condition."""
    if value is None:
        return False
    if isinstance(condition, AnyOf):
        return not set(condition.values).isdisjoint(value if isinstance(value, tuple) else (value,))
    least = -math.inf if condition.minimum is None else condition.minimum
    most = math.inf if condition.maximum is None else condition.maximum
    return not isinstance(value, str | tuple) and least <= value <= most


def _listed(given: object) -> list[object]:
    values = list(given) if isinstance(given, list | tuple | set | frozenset) else [given]
    return [value for value in values if value is not None and value != ""]


def _typed(name: str, kind: FilterType, value: object) -> str | float | bool:
    try:
        text = str(value)
    except ValueError:  # an integer with more digits than Python converts to text
        text = _("a number of thousands of digits")
    if kind in ("string", "strings"):
        return text
    if kind == "boolean":
        if text.lower() in TRUE + FALSE:
            return text.lower() in TRUE
        raise FilterError(
            _("The filter %(name)r takes true or false, not %(text)r.")
            % {"name": name, "text": text[:_SHOWN]}
        )
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise FilterError(
            _("The filter %(name)r takes a number, not %(text)r.") % {"name": name, "text": text[:_SHOWN]}
        )
    return number


def _exact(name: str, kind: FilterType, value: object) -> str | float | bool:
    typed = _typed(name, kind, value)
    if kind == "number" and (text := str(value).strip()).lstrip("+-").isdecimal() and int(text) != typed:
        raise FilterError(
            _(
                "The filter %(name)r takes numbers that are exact: whole ones up to 9,007,199,254,740,992, and not "
                "%(text)s."
            )
            % {"name": name, "text": text[:_SHOWN]}
        )
    return typed


def conditions(filters: Filter | None) -> Iterator[AnyOf | Range]:
    """The conditions that must all hold."""
    if filters is not None:
        yield from filters.filters if isinstance(filters, And) else (filters,)
