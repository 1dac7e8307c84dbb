"""How reliable a mean is: bootstrap intervals, and a paired test by randomisation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]

RESAMPLES = 2_000
FLIPS = 10_000
SEED = 5
"""Fixed, so that the same values have the same interval in every run."""
_NUMBERS_AT_ONCE = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A mean over queries, and its 95 % interval by the percentile bootstrap."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference(Figure):
    """The mean of the differences between two searchers, query by query, with its interval."""

    p_value: float
    """How often a difference as large arises by chance, when the two are swapped at random in each query."""


def figures(values: Numbers) -> list[Figure]:
    """One figure per column of ``values``, shape (queries, columns), at least one query.

    All columns use the same resamples.
    """
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
    """How much better ours are than theirs; shapes as in ``figures``, with a row for the same query in both."""
    gained = ours - theirs
    return [
        PairedDifference(mean=each.mean, low=each.low, high=each.high, p_value=_p_value(column))
        for each, column in zip(figures(gained), gained.T, strict=True)
    ]


def _p_value(gained: Numbers) -> float:
    """Two-sided. Flipping the sign of a difference of 0 changes nothing, so those are left out."""
    moved = gained[gained != 0]
    if not len(moved):
        return 1.0
    dice = np.random.default_rng(SEED)
    # A tolerance, so that rounding does not make an equal sum count as smaller.
    least = abs(moved.sum()) * (1 - 1e-9)
    extreme, left = 0, FLIPS
    while left:
        flips = min(left, max(1, _NUMBERS_AT_ONCE // len(moved)))
        signs = dice.integers(2, size=(flips, len(moved)), dtype=np.int8) * 2 - 1
        extreme += int((np.abs(signs @ moved) >= least).sum())
        left -= flips
    return (1 + extreme) / (1 + FLIPS)
