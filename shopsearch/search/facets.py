"""Facets: how many products of the result set, or of the whole shop, each value of a filter would leave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.text import capfirst
from django.utils.translation import gettext as _

from shopsearch.conf import settings
from shopsearch.exceptions import FilterError
from shopsearch.filters import AnyOf, Filter, Range, conditions, holds
from shopsearch.registry import ImageIndex
from shopsearch.search.columns import column, narrowed, place_of, products
from shopsearch.search.facet_counts import Condition, DatabaseTally, ReadTally, Tally, ValueCount, readings
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
        listed = ", ".join(sorted(known)) or "none"
        raise FilterError(f"There is no facet {unknown[:60]!r}. The facets of this shop: {listed}; * is all.")
    return list(known) if "*" in names else names


def facets(
    index: ImageIndex, condition: Filter | None, names: Sequence[str], among: ResultSet | None = None
) -> list[Facet]:
    """One facet per name: over the products that the shop shows and that pass all conditions but the facet's own.

    With ``among``, over the products of that result set alone. Filters that are columns of the shop's database are
    counted there, exactly. For others the values are read, of SHOPSEARCH["FACET_LIMIT"] products or images at most.
    """
    chosen = list(conditions(condition))
    columns = {name: column(index, name) for name in {*names, *(each.field for each in chosen)}}

    def others(name: str) -> list[Condition]:
        return [each for each in chosen if each.field != name]

    def is_read(name: str) -> bool:
        label = index.filter_fields[name].label
        needed = [columns[name], *(columns[each.field] for each in others(name))]
        return None in needed or bool(label and place_of(index, label) is None)

    to_read = [name for name in names if is_read(name)]
    keys = None if among is None else among.products
    is_complete = among is None or among.is_complete
    # Of a result set all are read, so that the values' order is the same whatever is chosen.
    narrowing = [
        each for each in chosen if columns[each.field] and each.field not in to_read and keys is None
    ]
    limit = settings.FACET_LIMIT
    needed = list(dict.fromkeys([*to_read, *(each.field for each in chosen)])) if to_read else []
    read = readings(index, narrowing, needed, limit + 1, keys)

    def tally(name: str) -> Tally:
        known = columns[name]
        if known is None or name in to_read:
            is_whole = is_complete and len(read) <= limit
            return ReadTally(name, read[:limit], others(name), is_exact=is_whole)
        return DatabaseTally(index, name, known, others(name), keys, is_exact=is_complete)

    own = {name: [each for each in chosen if each.field == name] for name in names}
    return [_facet(index, name, tally(name), own[name]) for name in names]


def number_of_products(index: ImageIndex, condition: Filter | None, among: ResultSet) -> Number:
    """How many products of the result set the shop shows and pass the condition."""
    chosen = list(conditions(condition))
    if all(column(index, each.field) for each in chosen):
        counted = narrowed(products(index, among.products), index, chosen).count()
        return Number(value=counted, is_exact=among.is_complete)
    limit = settings.FACET_LIMIT
    read = readings(index, [], list(dict.fromkeys(each.field for each in chosen)), limit + 1, among.products)
    passing = {
        each.product
        for each in read[:limit]
        if all(holds(condition, each.values.get(condition.field)) for condition in chosen)
    }
    return Number(value=len(passing), is_exact=among.is_complete and len(read) <= limit)


def _facet(index: ImageIndex, name: str, tally: Tally, own: Sequence[Condition]) -> Facet:
    kind = index.filter_types[name]
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
