"""Facets: how many products of the result set, or of the whole shop, each value of a filter would leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from shopsearch.exceptions import FilterError
from shopsearch.filters import AnyOf, Filter, Range, conditions, holds
from shopsearch.registry import ImageIndex
from shopsearch.search.columns import column, place_of
from shopsearch.search.facet_counts import (
    Condition,
    DatabaseTally,
    Readings,
    ReadTally,
    Tally,
    ValueCount,
    readings,
)
from shopsearch.search.result_set import ResultSet
from shopsearch.types import FilterType

MAX_VALUES = 20
"""How many values a facet lists: the most frequent, and those that are chosen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValue:
    value: str | bool
    label: str
    """What shoppers read for it."""
    count: int
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetRange:
    """Both bounds are included, as those of a filter are; None leaves a side open."""

    minimum: float | None
    maximum: float | None
    count: int
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Facet:
    """The counts of one filter: of its values, or of a number's ranges."""

    name: str
    kind: FilterType
    is_exact: bool = True
    """Else not all products were looked at, for SHOPSEARCH["FACET_LIMIT"] or the size of the result set; there may be
    more of everything."""
    values: tuple[FacetValue, ...] = ()
    """The most frequent first, as if nothing were chosen, so that the order stays while a shopper chooses; among equals
    by value; then the chosen ones that are not among them."""
    has_more: bool = False
    """Whether there are values that are not listed."""
    minimum: float | None = None
    """The least number; None where no product has one."""
    maximum: float | None = None
    ranges: tuple[FacetRange, ...] = ()

    @property
    def label(self) -> str:
        return capfirst(_(self.name.replace("_", " ")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A number of products."""

    value: int
    is_exact: bool
    """Else there are more."""


def facet_names(index: ImageIndex, asked: Iterable[object]) -> list[str]:
    """The filters that these parameters name, each once: ``["category,price"]``, or ``["*"]`` for all of them.

    Raises FilterError with the names there are.
    """
    given = [name.strip() for each in asked for name in str(each).split(",")]
    names = [name for name in dict.fromkeys(given) if name]
    known = index.filter_types
    unknown = next((name for name in names if name not in known and name != "*"), None)
    if unknown is not None:
        listed = ", ".join(sorted(known)) or _("none")
        raise FilterError(
            _("There is no facet %(name)r. The facets of this shop: %(known)s; * is all."),
            name=unknown[:60],
            known=listed,
        )
    return list(known) if "*" in names else names


def facets(
    index: ImageIndex, condition: Filter | None, names: Sequence[str], *, pictureless: bool = False
) -> list[Facet]:
    """One facet per name: over the products that the shop shows and that pass all conditions but the facet's own.

    Those without a picture count with ``pictureless``.

    Filters that are columns of the shop's database are counted there, exactly. For others the values are read, of
    SHOPSEARCH["FACET_LIMIT"] products or images at most.
    """
    chosen = list(conditions(condition))
    columns = {name: column(index, name) for name in {*names, *(each.field for each in chosen)}}

    def is_read(name: str) -> bool:
        label = index.filter_fields[name].label
        needed = [columns[name], *(columns[each.field] for each in _others(chosen, name))]
        return None in needed or bool(label and place_of(index, label) is None)

    to_read = [name for name in names if is_read(name)]
    narrowing = [each for each in chosen if columns[each.field] and each.field not in to_read]
    needed = list(dict.fromkeys([*to_read, *(each.field for each in chosen)]))
    read = readings(index, needed, narrowing, pictureless=pictureless) if to_read else Readings()

    def tally(name: str) -> Tally:
        known = columns[name]
        if known is not None and name not in to_read:
            return DatabaseTally(index, name, known, _others(chosen, name), pictureless=pictureless)
        return _read_tally(index, name, read, chosen)

    return [_facet(index, name, tally(name), chosen) for name in names]


def facets_of(
    among: ResultSet, index: ImageIndex, condition: Filter | None, names: Sequence[str]
) -> tuple[list[Facet], Number]:
    """The facets of a result set, and how many of its products the shop shows and pass the condition.

    A result set is small, so its products' values are read once and counted here: one query, and one more for each
    filter of several texts, where all are columns.
    """
    chosen = list(conditions(condition))
    needed = list(dict.fromkeys([*names, *(each.field for each in chosen)]))
    found = readings(index, needed, among=among.products, pictureless=index.finds_pictureless)
    read = replace(found, is_complete=found.is_complete and among.is_complete)
    passing = {
        each.product
        for each in read.read
        if all(holds(condition, each.values.get(condition.field)) for condition in chosen)
    }
    counted = [_facet(index, name, _read_tally(index, name, read, chosen), chosen) for name in names]
    return counted, Number(value=len(passing), is_exact=read.is_complete)


def _others(chosen: Sequence[Condition], name: str) -> list[Condition]:
    return [each for each in chosen if each.field != name]


def _read_tally(index: ImageIndex, name: str, read: Readings, chosen: Sequence[Condition]) -> ReadTally:
    known = column(index, name)
    choices = dict(getattr(known.field, "flatchoices", ())) if known else {}
    return ReadTally(name, read, _others(chosen, name), choices)


def _facet(index: ImageIndex, name: str, tally: Tally, conditions: Sequence[Condition]) -> Facet:
    kind = index.filter_types[name]
    own = [each for each in conditions if each.field == name]
    if kind == "number":
        bounds = tally.numbers()
        asked = [(each.minimum, each.maximum) for each in own if isinstance(each, Range)]
        return Facet(
            name=name,
            kind=kind,
            is_exact=tally.is_exact,
            minimum=bounds.least,
            maximum=bounds.most,
            ranges=tuple(
                FacetRange(minimum=low, maximum=high, count=count, is_chosen=(low, high) in asked)
                for low, high, count in bounds.ranges
            ),
        )
    chosen = [value for each in own if isinstance(each, AnyOf) for value in each.values][:MAX_VALUES]
    counted, has_more = tally.values(MAX_VALUES, [value for value in chosen if isinstance(value, str)])
    known = {each.value for each in counted}
    nothing = [
        ValueCount(value=value, label="", count=0)
        for value in dict.fromkeys(chosen)
        if value not in known and not isinstance(value, float)
    ]
    return Facet(
        name=name,
        kind=kind,
        is_exact=tally.is_exact,
        has_more=has_more,
        values=tuple(
            FacetValue(
                value=each.value,
                label=each.label or _readable(each.value),
                count=each.count,
                is_chosen=each.value in chosen,
            )
            for each in [*counted, *nothing]
        ),
    )


def _readable(value: str | bool) -> str:
    if isinstance(value, bool):
        return _("Yes") if value else _("No")
    return value
