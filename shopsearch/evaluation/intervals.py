"""How far a mean can be trusted: bootstrap intervals, and a paired test by randomisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

RESAMPLES = 2_000
FLIPS = 10_000
SEED = 5
"""Equal values have equal intervals in every run."""
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A mean over queries, and its 95 % interval by the percentile bootstrap."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference(Figure):
    """A mean of differences, query by query."""

    p_value: float
    """How often chance alone, by swapping the two at random in each query, makes a difference as large."""


def figures(values: Numbers) -> list[Figure]:
    """One per column of ``values``, shape (queries, columns), at least one query; all columns are drawn together."""
    count = len(values)
    dice = np.random.default_rng(SEED)
    means = np.empty((RESAMPLES, values.shape[1]))
    for row in means:
        drawn = np.bincount(dice.integers(count, size=count), minlength=count)
        row[:] = drawn @ values / count
    low, high = np.percentile(means, [2.5, 97.5], axis=0)
    return [
        Figure(mean=float(mean), low=float(least), high=float(most))
        for mean, least, most in zip(values.mean(axis=0), low, high, strict=True)
    ]


def differences(ours: Numbers, theirs: Numbers) -> list[PairedDifference]:
    """By how much ours are better than theirs; shapes as in ``figures``, rows of the same queries."""
    gained = ours - theirs
    return [
        PairedDifference(mean=each.mean, low=each.low, high=each.high, p_value=_p_value(column))
        for each, column in zip(figures(gained), gained.T, strict=True)
    ]


def _p_value(gained: Numbers) -> float:
    """Two-sided. No difference weighs more than another, so those that are 0 need not be flipped."""
    moved = gained[gained != 0]
    if not len(moved):
        return 1.0
    dice = np.random.default_rng(SEED)
    # What rounding makes of equal sums is not to count as less.
    least = abs(moved.sum()) * (1 - 1e-9)
    extreme, left = 0, FLIPS
    while left:
        flips = min(left, max(1, _NUMBERS_AT_ONCE // len(moved)))
        signs = dice.integers(2, size=(flips, len(moved)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ moved) >= least).sum())
        left -= flips
    return (1 + extreme) / (1 + FLIPS)
