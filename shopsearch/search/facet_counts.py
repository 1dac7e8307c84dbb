"""Facet counts: how many products have each value of a filter, by the shop's database or by reading."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError
from django.db.models import Count, F, Max, Min, Q, QuerySet
from django.utils.translation import get_language

from shopsearch.conf import settings
from shopsearch.filters import AnyOf, Range, holds
from shopsearch.registry import ImageIndex
from shopsearch.registry.index import follow, labels_of, typed
from shopsearch.registry.keys import is_storable
from shopsearch.registry.relations import blank_images, with_related
from shopsearch.search.columns import Column, Place, column, finds_its_own_way, narrowed, place_of, products
from shopsearch.types import FilterValue

Condition = AnyOf | Range
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueCount:
    value: str | bool
    label: str
    """What shoppers read for it; "" where that is the value itself."""
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The least and the greatest number, None where no product has one, and the ranges between them."""

    least: float | None
    most: float | None
    ranges: Sequence[Counted]


class Tally(ABC):
    """The counts of one filter. A product counts once for each value, however many images it has."""

    is_exact = True

    @abstractmethod
    def values(self, most: int, including: Sequence[str]) -> tuple[list[ValueCount], bool]:
        """So many of the most frequent without conditions, among equals by value, then others to be included.

        Each with its count under the conditions, and only where that is not 0; and whether there are more.
        """

    @abstractmethod
    def numbers(self) -> Bounds: ...


class DatabaseTally(Tally):
    """Counted by the shop's database: exact, whatever the shop's size."""

    def __init__(
        self,
        index: ImageIndex,
        name: str,
        column: Column,
        conditions: Sequence[Condition],
        *,
        pictureless: bool = False,
    ) -> None:
        with index.in_its_language():
            whole = products(index, pictureless=pictureless)
            narrow = narrowed(whole, index, conditions) if conditions else None
            whole = whole.annotate(shopsearch_value=column.expression)
        self._counts_if = Q() if narrow is None else Q(pk__in=narrow.values("pk"))
        self._whole = whole.filter(shopsearch_value__isnull=False)
        self._found = self._whole.filter(self._counts_if)
        self._column = column
        label = index.filter_fields[name].label
        place = place_of(index, label) if label else None
        self._label = place.lookup if place else ""

    def values(self, most: int, including: Sequence[str]) -> tuple[list[ValueCount], bool]:
        is_text = self._column.kind in ("string", "strings")
        found = self._whole.exclude(shopsearch_value="") if is_text else self._whole
        top = self._counted(found, most + 1)
        known = {each.value for each in top[:most]}
        missing = [each for each in including if each not in known and is_storable(each)]
        further = self._counted(found.filter(shopsearch_value__in=missing), len(missing)) if missing else []
        return [each for each in (*top[:most], *further) if each.count], len(top) > most

    def numbers(self) -> Bounds:
        found = self._found.aggregate(least=Min("shopsearch_value"), most=Max("shopsearch_value"))
        edges = round_edges(**found)
        # How many lie below an edge and up to it: a range's count is the difference of two of these.
        sums = {
            f"{lookup}_{place}": Count("pk", filter=Q(**{f"shopsearch_value__{lookup}": edge}))
            for place, edge in enumerate(edges)
            for lookup in ("lt", "lte")
        }
        counts = self._found.aggregate(**sums, all=Count("pk")) if edges else {}

        def count(minimum: float | None, maximum: float | None) -> int:
            upto = counts["all"] if maximum is None else counts[f"lte_{edges.index(maximum)}"]
            return int(upto - (0 if minimum is None else counts[f"lt_{edges.index(minimum)}"]))

        return Bounds(**found, ranges=merged(edges, count))

    def _counted(self, found: Any, most: int) -> list[ValueCount]:
        label = {}
        if self._label:
            # By F, as values are: django-modeltranslation puts a language's column in its place.
            found = found.annotate(shopsearch_named=F(self._label))
            label = {"shopsearch_label": Min("shopsearch_named")}
        # A product's several rows, or several labels, are joined to it.
        is_joined = self._column.several_of is not None
        count = Count("pk", filter=self._counts_if, distinct=is_joined) if self._counts_if else None
        whole = Count("pk", distinct=is_joined)
        groups = found.values("shopsearch_value").annotate(shopsearch_whole=whole, **label)
        groups = groups.annotate(shopsearch_count=F("shopsearch_whole") if count is None else count)
        choices = dict(getattr(self._column.field, "flatchoices", ()))
        return [
            ValueCount(
                value=row["shopsearch_value"],
                label=str(row.get("shopsearch_label") or choices.get(row["shopsearch_value"], "")),
                count=row["shopsearch_count"],
            )
            for row in groups.order_by("-shopsearch_whole", "shopsearch_value")[:most]
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What is known of a product, by one of its images where these may differ."""

    product: object
    values: dict[str, FilterValue | None]
    labels: dict[str, dict[object, str]]
    """By filter and value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """The values of some filters, read of products one by one."""

    read: Sequence[Reading] = ()
    is_complete: bool = True
    """Else there are more products or images than SHOPSEARCH["FACET_LIMIT"]."""


def readings(
    index: ImageIndex,
    names: Sequence[str],
    conditions: Sequence[Condition] = (),
    among: Collection[str] | None = None,
    *,
    pictureless: bool = False,
) -> Readings:
    """The values of these filters, of the products that pass these conditions, or of those with these keys.

    With ``pictureless``, of those without a picture too.
    """
    labels = {name: label for name in names if (label := index.filter_fields[name].label)}
    limit = settings.FACET_LIMIT
    with index.in_its_language():
        found = narrowed(products(index, among, pictureless=pictureless), index, conditions)
    if (
        read := _by_columns(index, found, names, labels, None if among is not None else limit + 1)
    ) is not None:
        return Readings(
            read=read if among is not None else read[:limit],
            is_complete=among is not None or len(read) <= limit,
        )
    images = with_related(index, index.get_queryset().order_by("pk"))
    if conditions or among is not None:
        images = images.alias(shopsearch_product=index.product_key)
        images = images.filter(shopsearch_product__in=found.values("pk"))

    def rows() -> Iterator[Any]:
        yield from images[: limit + 1].iterator(chunk_size=1_000)
        if pictureless:
            without = index.pictureless_products().filter(pk__in=found.values("pk")).order_by("pk")
            yield from blank_images(index, without[: limit + 1])

    with index.in_its_language():
        each_read = list(islice(_by_images(index, rows(), names, labels), limit + 1))
        language = get_language()
    if labels and get_language() != language:  # what shoppers read is in theirs
        shown = {
            product: each for product, _, each in _by_images(index, islice(rows(), limit + 1), (), labels)
        }
        each_read = [(product, values, shown.get(product, own)) for product, values, own in each_read]
    read = [
        Reading(
            product=product,
            values=values,
            labels={name: labels_of(values.get(name), label) for name, label in shown_as.items()},
        )
        for product, values, shown_as in each_read[:limit]
        if product is not None
    ]
    return Readings(read=read, is_complete=len(each_read) <= limit)


def _by_images(
    index: ImageIndex, images: Iterable[Any], names: Sequence[str], labels: dict[str, str]
) -> Iterator[tuple[object, dict[str, FilterValue | None], dict[str, Any]]]:
    """Of each image its product's key, the values of these filters, and what is at the end of the labels' paths.

    The key is None where the image has no product: it was looked at, and counts for the limit.
    """
    for image in images:
        product = index.product_of(image)
        if product is None:
            yield None, {}, {}
            continue
        values = (_known(index.filter_values, image) or {}) if names else {}
        yield product.pk, values, {name: follow(product, path) for name, path in labels.items()}


def _by_columns(
    index: ImageIndex,
    found: QuerySet[Any],
    names: Sequence[str],
    labels: dict[str, str],
    limit: int | None,
) -> list[Reading] | None:
    """In one query, and one more for each filter of several texts; None where a value or a label is no column.

    With a limit so many products by key are read, and None is returned where a value is on several rows.
    """
    if finds_its_own_way(index):
        return None
    fields = index.filter_fields
    paths = {name: fields[name].source or name for name in names}
    places = {name: place_of(index, path) for name, path in paths.items() if isinstance(path, str)}
    shown = {name: place_of(index, path) for name, path in labels.items()}
    values: dict[str, Any] = {}
    texts: list[str] = []
    for name in names:
        place, label = places.get(name), shown.get(name)
        if place is None or (name in labels and label is None):
            return None
        if not place.is_several:
            if label and label.is_several:
                return None
            values[f"shopsearch_value_{name}"] = F(place.lookup)
            continue
        known = column(index, name)
        if known is None or limit:
            return None
        if known.kind == "strings":
            texts.append(name)
        else:
            values[f"shopsearch_value_{name}"] = known.expression
    # By F, and labels in the shopper's language: django-modeltranslation puts a language's column in its place.
    named = {
        f"shopsearch_label_{name}": F(each.lookup)
        for name, each in shown.items()
        if each and name not in texts
    }
    with index.in_its_language():
        rows = found.order_by("pk").annotate(**values)
    several = {name: _texts_by_product(index, found, places[name], shown.get(name)) for name in texts}
    kinds = {name: fields[name].kind for name in names if name not in several}
    columns = {name: number for number, name in enumerate(["pk", *values, *named])}
    places_of_values = [(name, kind, columns[f"shopsearch_value_{name}"]) for name, kind in kinds.items()]
    places_of_labels = [(name, columns[f"shopsearch_label_{name}"]) for name in kinds if name in labels]
    read = []
    for row in rows.annotate(**named).values_list("pk", *values, *named)[:limit]:
        product = row[0]
        own: dict[str, FilterValue | None] = {
            name: _known(typed, kind, row[place]) for name, kind, place in places_of_values
        }
        labelled: dict[str, dict[object, str]] = {
            name: {own[name]: str(row[place] or "")} for name, place in places_of_labels
        }
        for name, by_product in several.items():
            those = by_product.get(product, {})
            own[name], labelled[name] = tuple(those), dict(those.items())
        read.append(Reading(product=product, values=own, labels=labelled))
    return read


def _texts_by_product(
    index: ImageIndex, found: QuerySet[Any], text: Place | None, label: Place | None
) -> dict[object, dict[str, str]]:
    """By product the texts on its rows, each with its label."""
    texts: defaultdict[object, dict[str, str]] = defaultdict(dict)
    if text is None:
        return texts
    with index.in_its_language():
        rows = found.annotate(shopsearch_text=F(text.lookup))
    rows = rows.annotate(shopsearch_label=F(label.lookup if label else text.lookup))
    for product, value, name in rows.values_list("pk", "shopsearch_text", "shopsearch_label"):
        if value is not None:
            texts[product][value] = str(name or "") if label else ""
    return texts


def _known(ask: Callable[..., Answer], *arguments: Any) -> Answer | None:
    """The answer; None where the shop's own code or value is at fault: its index entry has FAILED and says why."""
    try:
        return ask(*arguments)
    except (OperationalError, InterfaceError):  # the database is away, and not for this product alone
        raise
    except Exception:
        return None


class ReadTally(Tally):
    """Counted by reading: where only Python knows the values, and where few products are counted."""

    def __init__(
        self, name: str, readings: Readings, conditions: Sequence[Condition], names: Mapping[Any, str]
    ) -> None:
        """``names`` are what shoppers read for values that have no label."""
        self.is_exact = readings.is_complete
        self._whole: defaultdict[Any, set[object]] = defaultdict(set)
        self._products: defaultdict[Any, set[object]] = defaultdict(set)
        self._labels: dict[Any, str] = {}
        for each in readings.read:
            value = each.values.get(name)
            if value is None or value == "":
                continue
            passes = all(holds(condition, each.values.get(condition.field)) for condition in conditions)
            labels = each.labels.get(name)
            for one in value if isinstance(value, tuple) else (value,):
                if one in (None, ""):
                    continue
                self._whole[one].add(each.product)
                if labels and (label := labels.get(one)):
                    self._labels[one] = min(label, self._labels.get(one, label))
                if passes:
                    self._products[one].add(each.product)
        self._names = names

    def values(self, most: int, including: Sequence[str]) -> tuple[list[ValueCount], bool]:
        order = sorted(self._whole, key=lambda value: (-len(self._whole[value]), value))
        listed = [*order[:most], *(value for value in order[most:] if value in including)]
        counted = [
            ValueCount(
                value=value,
                label=self._labels.get(value) or str(self._names.get(value, "")),
                count=len(self._products[value]),
            )
            for value in listed
            if value in self._products
        ]
        return counted, len(order) > most

    def numbers(self) -> Bounds:
        numbers = sorted(self._products)
        those = [self._products[number] for number in numbers]
        least, most = (numbers[0], numbers[-1]) if numbers else (None, None)

        def count(minimum: float | None, maximum: float | None) -> int:
            first = 0 if minimum is None else bisect_left(numbers, minimum)
            last = len(numbers) if maximum is None else bisect_right(numbers, maximum)
            return len(set().union(*those[first:last]))

        return Bounds(least=least, most=most, ranges=merged(round_edges(least, most), count))


MAX_RANGES = 5
_DECADES = 4
"""What is below a ten-thousandth of the largest number is one range."""

Counted = tuple[float | None, float | None, int]
"""A range's bounds, both included, None for an open side, and how many lie in it."""


def round_edges(least: float | None, most: float | None) -> list[float]:
    """Round numbers between these two, ascending: 1, 2, 5, 10, …; in even steps where few of those lie between."""
    if least is None or most is None or not math.isfinite(most - least):
        return []
    largest = max(abs(least), abs(most))
    if most - least < largest * 1e-9 or largest < 1e-300:
        return []
    power = math.floor(math.log10(largest))
    steps = [float(f"{digit}e{power - back}") for back in range(_DECADES) for digit in (1, 2, 5)]
    edges = {*steps, 0.0, *(-step for step in steps)} if least < 0 else set(steps)
    between = sorted(edge for edge in edges if least < edge < most)
    return between if len(between) >= MAX_RANGES - 2 else _even(least, most)


def _even(least: float, most: float) -> list[float]:
    wanted = (most - least) / MAX_RANGES
    power = math.floor(math.log10(wanted))
    step = next(each for each in (float(f"{digit}e{power}") for digit in (1, 2, 5, 10, 20)) if each >= wanted)
    first = math.floor(least / step) + 1
    edges = (float(f"{(first + number) * step:.12g}") for number in range(MAX_RANGES))
    return [edge for edge in edges if least < edge < most]


def merged(edges: Sequence[float], count: Callable[[float | None, float | None], int]) -> list[Counted]:
    """At most MAX_RANGES ranges between these edges, none empty, each with its count; neighbours of few are one.

    Empty where there would be one alone: nobody could choose.
    """
    if not edges:
        return []
    kept = list(edges)
    while len(kept) >= MAX_RANGES:
        bounds = [None, *kept, None]
        weights = [count(bounds[place], bounds[place + 2]) for place in range(len(kept))]
        del kept[weights.index(min(weights))]
    bounds = [None, *kept, None]
    ranges = [(low, high, those) for low, high in pairwise(bounds) if (those := count(low, high))]
    return ranges if len(ranges) > 1 else []
