"""Refinements: how the search page lets a shopper narrow and sort what was found, each step an address."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from django.http import QueryDict
from django.utils.formats import number_format
from django.utils.functional import cached_property
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from shopsearch.conf import settings
from shopsearch.filters import parse
from shopsearch.registry import ImageIndex
from shopsearch.search.facets import Facet, FacetRange, FacetValue, facets
from shopsearch.search.sorting import RELEVANCE, is_relevance, sort_label, sort_names
from shopsearch.types import FilterType

FIRST_CHOICES = 8
"""How many values of a facet are in sight; the rest is one step away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A value or a range to choose, or to take back where it is chosen, by following its link."""

    key: str
    """The same in every answer: by which the script finds the link again that had the focus."""
    label: str
    count: int
    url: str
    is_chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """What is offered of one filter."""

    name: str
    kind: FilterType
    label: str
    choices: tuple[Choice, ...] = ()
    further: tuple[Choice, ...] = ()
    is_exact: bool = True
    count: int = 0
    """Of a box to tick: how many products it would leave."""
    value: str = ""
    """Of a box to tick; "" where it is not."""
    minimum: str = ""
    """As it was given; ``least`` and ``most`` say what there is."""
    maximum: str = ""
    least: str = ""
    most: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chip:
    """A condition that holds, and the address without it."""

    name: str
    label: str
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SortChoice:
    value: str
    label: str
    is_chosen: bool


class Refinements:
    """Of one search; everything is made when a template asks for it."""

    def __init__(
        self, index: ImageIndex, path: str, parameters: QueryDict, conditions: Mapping[str, Sequence[str]]
    ) -> None:
        self.index = index
        self.path = path
        self.parameters = parameters
        self.conditions = conditions

    @cached_property
    def facets(self) -> list[Facet]:
        types = self.index.filter_types
        return facets(self.index, parse(self.conditions, types), list(types))

    @cached_property
    def panels(self) -> list[Panel]:
        panels = [self._panel(facet) for facet in self.facets]
        return [
            panel
            for panel in panels
            if panel.choices or panel.least or panel.count or self._holds(panel.name)
        ]

    @cached_property
    def chips(self) -> list[Chip]:
        labels = {(facet.name, str(each.value)): each.label for facet in self.facets for each in facet.values}
        chips = []
        for name, kind in self.index.filter_types.items():
            title = capfirst(_(name.replace("_", " ")))
            for value in dict.fromkeys(filter(None, self.parameters.getlist(name))):
                label = title if kind == "boolean" else labels.get((name, value), value)
                if kind == "boolean" and not self._ticked(name):
                    label = _("%(name)s: no") % {"name": title}
                elif kind == "number":
                    label = f"{title}: {value}"
                chips.append(Chip(name=title, label=label, url=self._toggled(name, value)))
            low, high = self._bound(name, "gte"), self._bound(name, "lte")
            if low or high:
                url = self._address(without=(f"{name}__gte", f"{name}__lte"))
                chips.append(Chip(name=title, label=f"{title}: {_between(low, high)}", url=url))
        return chips

    @property
    def sorts(self) -> list[SortChoice]:
        """None where there is only relevance."""
        names = sort_names(self.index)
        asked = self.sort or RELEVANCE
        if names == [RELEVANCE]:
            return []
        return [
            SortChoice(
                value="" if name == RELEVANCE else name, label=sort_label(name), is_chosen=name == asked
            )
            for name in names
        ]

    @property
    def sort(self) -> str:
        """The empty text for relevance."""
        given = self.parameters.get("sort", "")
        return "" if is_relevance(given) else given

    @property
    def most_sorted(self) -> int:
        """How many of the most relevant are sorted."""
        return int(settings.SORTED_RESULTS)

    @property
    def kept_by_filters(self) -> list[tuple[str, str]]:
        """What the form of filters must carry along beside its own inputs."""
        inputs = {name for name, kind in self.index.filter_types.items() if kind in ("number", "boolean")}
        return self._kept(lambda name: name.partition("__")[0] in inputs)

    @property
    def kept_by_sort(self) -> list[tuple[str, str]]:
        return self._kept(lambda name: name == "sort")

    def _panel(self, facet: Facet) -> Panel:
        name = facet.name
        if facet.kind == "boolean":
            count = next((each.count for each in facet.values if each.value is True), 0)
            value = "true" if self._ticked(name) else ""
            return Panel(
                name=name,
                kind=facet.kind,
                label=facet.label,
                is_exact=facet.is_exact,
                count=count,
                value=value,
            )
        choices = [self._value(name, each) for each in facet.values]
        choices += [self._range(name, each) for each in facet.ranges]
        return Panel(
            name=name,
            kind=facet.kind,
            label=facet.label,
            choices=tuple(choices[:FIRST_CHOICES]),
            further=tuple(choices[FIRST_CHOICES:]),
            is_exact=facet.is_exact,
            minimum=self._bound(name, "gte"),
            maximum=self._bound(name, "lte"),
            least="" if facet.minimum is None else _readable(facet.minimum),
            most="" if facet.maximum is None else _readable(facet.maximum),
        )

    def _value(self, name: str, value: FacetValue) -> Choice:
        return Choice(
            key=f"{name}={value.value}",
            label=value.label,
            count=value.count,
            url=self._toggled(name, str(value.value)),
            is_chosen=value.is_chosen,
        )

    def _range(self, name: str, each: FacetRange) -> Choice:
        bounds = {"gte": each.minimum, "lte": each.maximum}
        parameters = self._without((f"{name}__gte", f"{name}__lte"))
        written = {bound: "" if number is None else f"{number:.15g}" for bound, number in bounds.items()}
        for bound, text in written.items():
            if text and not each.is_chosen:
                parameters[f"{name}__{bound}"] = text
        return Choice(
            key=f"{name}={written['gte']}-{written['lte']}",
            label=_between(*("" if number is None else _readable(number) for number in bounds.values())),
            count=each.count,
            url=self._written(parameters),
            is_chosen=each.is_chosen,
        )

    def _holds(self, name: str) -> bool:
        return any(key.partition("__")[0] == name for key in self.conditions)

    def _ticked(self, name: str) -> bool:
        condition = parse({name: self.parameters.getlist(name)}, self.index.filter_types)
        return True in getattr(condition, "values", ())

    def _bound(self, name: str, bound: str) -> str:
        """The last one that was given, as the search takes it."""
        return next((each for each in reversed(self.parameters.getlist(f"{name}__{bound}")) if each), "")

    def _toggled(self, name: str, value: str) -> str:
        parameters = self._without(())
        values = [each for each in parameters.getlist(name) if each]
        rest = [each for each in values if each != value]
        parameters.setlist(name, rest if len(rest) < len(values) else [*values, value])
        return self._written(parameters)

    def _address(self, *, without: Sequence[str]) -> str:
        return self._written(self._without(without))

    def _without(self, names: Sequence[str]) -> QueryDict:
        parameters = self.parameters.copy()
        for name in ("offset", *names):
            parameters.pop(name, None)
        return parameters

    def _written(self, parameters: QueryDict) -> str:
        return f"{self.path}?{parameters.urlencode()}" if parameters else self.path

    def _kept(self, is_input: Callable[[str], bool]) -> list[tuple[str, str]]:
        return [
            (name, value)
            for name, values in self.parameters.lists()
            if name != "offset" and not is_input(name)
            for value in values
        ]


def _readable(number: float) -> str:
    if number == int(number):
        return number_format(int(number))
    decimals = len(f"{number:.10f}".rstrip("0").partition(".")[2])
    return number_format(round(number, decimals), decimal_pos=max(2, decimals))


def _between(low: str, high: str) -> str:
    if low and high:
        return f"{low} – {high}"
    return _("from %(number)s") % {"number": low} if low else _("up to %(number)s") % {"number": high}
