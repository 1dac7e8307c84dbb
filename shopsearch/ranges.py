"""Ranges: a few round ones that a shop's numbers fall into."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

MOST_RANGES = 5
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
    return between if len(between) >= MOST_RANGES - 2 else _even(least, most)


def _even(least: float, most: float) -> list[float]:
    wanted = (most - least) / MOST_RANGES
    power = math.floor(math.log10(wanted))
    step = next(each for each in (float(f"{digit}e{power}") for digit in (1, 2, 5, 10, 20)) if each >= wanted)
    first = math.floor(least / step) + 1
    edges = (float(f"{(first + number) * step:.12g}") for number in range(MOST_RANGES))
    return [edge for edge in edges if least < edge < most]


def merged(edges: Sequence[float], count: Callable[[float | None, float | None], int]) -> list[Counted]:
    """At most MOST_RANGES ranges between these edges, none empty, each with its count; neighbours of few are one.

    Empty where there would be one alone: nobody could choose.
    """
    if not edges:
        return []
    kept = list(edges)
    while len(kept) >= MOST_RANGES:
        bounds = [None, *kept, None]
        weights = [count(bounds[place], bounds[place + 2]) for place in range(len(kept))]
        del kept[weights.index(min(weights))]
    bounds = [None, *kept, None]
    ranges = [(low, high, those) for low, high in pairwise(bounds) if (those := count(low, high))]
    return ranges if len(ranges) > 1 else []
