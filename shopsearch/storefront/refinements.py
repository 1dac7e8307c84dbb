"""Refinements: how the search page lets a shopper narrow and sort what was found; each step is an address."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlencode

from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from shopsearch.conf import settings
from shopsearch.registry import ImageIndex
from shopsearch.search.facets import Facet, FacetRange, FacetValue
from shopsearch.search.sorting import RELEVANCE, is_relevance, sort_label, sort_names
from shopsearch.storefront.markup import Shown, attributes
from shopsearch.types import FilterType

FIRST_CHOICES = 8
"""How many values of a facet are shown at once; the rest is one step away."""

KEPT_CHARACTERS = 200
"""Of a parameter that is kept as an address writes it: a post may have one of 256 KB, and thousands are kept."""


@dataclass(frozen=True, slots=True)
class Address:
    """An address of the search page, and others made from it: a page has some hundred."""

    path: str
    parameters: Mapping[str, Sequence[str]]

    def __str__(self) -> str:
        if not self.parameters:
            return self.path
        written = [
            _kept(name, value) if len(name + value) <= KEPT_CHARACTERS else _written(name, value)
            for name, value in self.pairs
        ]
        return f"{self.path}?{'&'.join(written)}"

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return [(name, value) for name, values in self.parameters.items() for value in values]

    def without(self, *names: str) -> Address:
        kept = {name: values for name, values in self.parameters.items() if name not in names}
        return Address(self.path, kept)

    def having(self, name: str, values: Sequence[str]) -> Address:
        return Address(self.path, {**self.parameters, name: values})

    def toggled(self, name: str, value: str) -> Address:
        """With this value of the parameter, or without it where it is there."""
        values = self.all(name)
        rest = [each for each in values if each != value]
        return self.having(name, rest if len(rest) < len(values) else [*values, value])

    def all(self, name: str) -> list[str]:
        return [each for each in self.parameters.get(name, ()) if each]

    def last(self, name: str) -> str:
        return next(reversed(self.all(name)), "")


def _written(name: str, value: str) -> str:
    """The parameter as an address writes it."""
    return urlencode({name: value})


_kept = lru_cache(maxsize=4_096)(_written)
"""Most parameters stand in every address of a page, or come again with a product or a choice."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice(Shown):
    """A value or a range to choose, or to take back where it is chosen, by following its link."""

    key: str
    """The same in every answer: the script finds the link by it that had the focus."""
    label: str
    count: int
    written: str
    """The count, as the page's language writes it."""
    url: str
    is_chosen: bool
    swatch: str = ""
    """A colour, as CSS writes it; "" where none is declared."""

    @property
    def spoken(self) -> str:
        """What a screen reader says of it."""
        sentence = ngettext("%(label)s, %(count)s product", "%(label)s, %(count)s products", self.count)
        return sentence % {"label": self.label, "count": self.written}

    @property
    def attributes(self) -> SafeString:
        """Of the link, all that depend on the choice."""
        current = {"aria-current": "true"} if self.is_chosen else {}
        own = {"href": self.url, "data-shopsearch-choice": self.key, "aria-label": self.spoken}
        return attributes(own | current)


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel(Shown):
    """What is offered of one filter."""

    name: str
    kind: FilterType
    label: str
    choices: Sequence[Choice] = ()
    further: Sequence[Choice] = ()
    is_exact: bool = True
    count: int = 0
    """Of a checkbox: how many products it would leave."""
    value: str = ""
    """Of a checkbox; "" where it is not checked."""
    minimum: str = ""
    """As it was given; ``least`` and ``most`` say what there is."""
    maximum: str = ""
    least: str = ""
    most: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip(Shown):
    """A condition that holds, and the address without it."""

    name: str
    label: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SortChoice(Shown):
    value: str
    label: str
    is_chosen: bool


class Refinements:
    """Of one search; everything is made when a template asks for it."""

    def __init__(
        self, index: ImageIndex, address: Address, conditions: Collection[str], facets: Sequence[Facet]
    ) -> None:
        self.index = index
        self.address = address
        self.conditions = conditions
        self.facets = facets

    @cached_property
    def panels(self) -> list[Panel]:
        panels = [
            self._checkbox(each) if each.kind == "boolean" else self._panel(each) for each in self.facets
        ]
        return [
            panel
            for panel in panels
            if panel.choices or panel.least or panel.count or panel.name in self._asked
        ]

    @cached_property
    def chips(self) -> list[Chip]:
        return [chip for facet in self.facets if facet.name in self._asked for chip in self._chips(facet)]

    @cached_property
    def _asked(self) -> set[str]:
        """The filters that have a condition."""
        return {key.partition("__")[0] for key in self.conditions}

    @cached_property
    def sorts(self) -> list[SortChoice]:
        """Empty where there is only relevance."""
        names = sort_names(self.index)
        if names == [RELEVANCE]:
            return []
        return [
            SortChoice(
                value="" if name == RELEVANCE else name,
                label=sort_label(name),
                is_chosen=name == (self.sort or RELEVANCE),
            )
            for name in names
        ]

    @property
    def sort(self) -> str:
        """The empty text for relevance."""
        given = next(reversed(self.address.parameters.get("sort", ())), "")
        return "" if is_relevance(given) else given

    @property
    def most_sorted(self) -> int:
        """How many of the most relevant are sorted."""
        return int(settings.SORTED_RESULTS)

    @property
    def kept_by_filters(self) -> list[tuple[str, str]]:
        """What the form of filters must carry along beside its own inputs."""
        inputs = {name for name, kind in self.index.filter_types.items() if kind in ("number", "boolean")}
        return [pair for pair in self.address.pairs if pair[0].partition("__")[0] not in inputs]

    @property
    def kept_by_sort(self) -> list[tuple[str, str]]:
        return [pair for pair in self.address.pairs if pair[0] != "sort"]

    def _chips(self, facet: Facet) -> list[Chip]:
        name, title = facet.name, facet.label
        labels = {str(each.value): each.label for each in facet.values}
        chips = []
        for value in dict.fromkeys(self.address.all(name)):
            if facet.kind == "boolean":
                label = title if _is_checked(facet) else _("%(name)s: no") % {"name": title}
            else:
                written = self._with_unit(name, value)
                label = f"{title}: {written}" if facet.kind == "number" else labels.get(value, value)
            chips.append(Chip(name=title, label=label, url=str(self.address.toggled(name, value))))
        low, high = self.address.last(f"{name}__gte"), self.address.last(f"{name}__lte")
        if low or high:
            url = str(self.address.without(f"{name}__gte", f"{name}__lte"))
            chips.append(Chip(name=title, label=f"{title}: {self._between(name, low, high)}", url=url))
        return chips

    def _checkbox(self, facet: Facet) -> Panel:
        return Panel(
            name=facet.name,
            kind=facet.kind,
            label=facet.label,
            is_exact=facet.is_exact,
            count=next((each.count for each in facet.values if each.value is True), 0),
            value="true" if _is_checked(facet) else "",
        )

    def _panel(self, facet: Facet) -> Panel:
        swatches = self.index.filter_fields[facet.name].swatches or {}
        choices = [self._value(facet.name, each, swatches) for each in facet.values]
        choices += [self._range(facet.name, each) for each in facet.ranges]
        first, later = choices[:FIRST_CHOICES], choices[FIRST_CHOICES:]
        return Panel(
            name=facet.name,
            kind=facet.kind,
            label=facet.label,
            choices=[*first, *(each for each in later if each.is_chosen)],
            further=[each for each in later if not each.is_chosen],
            is_exact=facet.is_exact,
            minimum=self.address.last(f"{facet.name}__gte"),
            maximum=self.address.last(f"{facet.name}__lte"),
            least=_readable(facet.minimum),
            most=_readable(facet.maximum),
        )

    def _value(self, name: str, value: FacetValue, swatches: Mapping[str, str]) -> Choice:
        return Choice(
            key=f"{name}={value.value}",
            label=value.label,
            count=value.count,
            written=_count(value.count),
            url=str(self.address.toggled(name, str(value.value))),
            is_chosen=value.is_chosen,
            swatch=swatches.get(str(value.value), ""),
        )

    def _range(self, name: str, each: FacetRange) -> Choice:
        bounds = {"gte": each.minimum, "lte": each.maximum}
        written = {bound: "" if number is None else f"{number:.15g}" for bound, number in bounds.items()}
        address = self.address.without(f"{name}__gte", f"{name}__lte")
        for bound, text in written.items():
            if text and not each.is_chosen:
                address = address.having(f"{name}__{bound}", [text])
        return Choice(
            key=f"{name}={written['gte']}-{written['lte']}",
            label=self._between(name, _readable(each.minimum), _readable(each.maximum)),
            count=each.count,
            written=_count(each.count),
            url=str(address),
            is_chosen=each.is_chosen,
        )

    def _with_unit(self, name: str, number: str) -> str:
        unit = self.index.filter_fields[name].unit
        return unit.replace("%s", number) if unit and number else number

    def _between(self, name: str, low: str, high: str) -> str:
        low, high = self._with_unit(name, low), self._with_unit(name, high)
        if low and high:
            return f"{low} – {high}"
        return _("from %(number)s") % {"number": low} if low else _("up to %(number)s") % {"number": high}


def _is_checked(facet: Facet) -> bool:
    return any(each.value is True and each.is_chosen for each in facet.values)


def _count(number: int) -> str:
    """Only from a thousand on do languages differ, and asking for the language's way takes time."""
    return str(number) if number < 1_000 else number_format(number)


def _readable(number: float | None) -> str:
    if number is None:
        return ""
    if number == int(number):
        return number_format(int(number))
    decimals = len(f"{number:.10f}".rstrip("0").partition(".")[2])
    return number_format(round(number, decimals), decimal_pos=max(2, decimals))
