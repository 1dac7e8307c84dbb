"""What the benchmarks hand to the runner: rows with their targets, ratios with intervals, and what is drawn."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

RESAMPLES = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A ratio of two medians, and its 95 % interval by the percentile bootstrap over rounds."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2f} ({self.low:.2f} to {self.high:.2f})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table in docs/performance.md."""

    number: str
    """Of the row, such as "1" or "11a"."""
    what: str
    target: str
    measured: str
    reached: bool | None
    """None: not measured on this machine."""
    why: str = ""
    """Why it is not reached, or how the figure is to be read."""
    figures: dict[str, Any] = field(default_factory=dict)
    """For whoever reads the JSON."""
    unit: str = ""
    samples: dict[str, list[float]] = field(default_factory=dict)
    """What is drawn, in the unit: by name, one value a round."""
    x: list[float] = field(default_factory=list)
    """Where it is a curve: what each sample of every series belongs to."""
    x_label: str = ""


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Of the medians. Both have one value a round, and a round is drawn as a whole."""
    upper, lower = np.asarray(above, float), np.asarray(below, float)
    dice = np.random.default_rng(5)
    drawn = dice.integers(len(upper), size=(RESAMPLES, len(upper)))
    ratios = np.median(upper[drawn], axis=1) / np.maximum(np.median(lower[drawn], axis=1), 1e-12)
    low, high = np.percentile(ratios, [2.5, 97.5])
    return Ratio(
        value=float(np.median(upper) / max(np.median(lower), 1e-12)), low=float(low), high=float(high)
    )


def median(values: Sequence[float]) -> float:
    return float(np.median(values))


def interleaved(
    rounds: int, flows: dict[str, Callable[[int], float]], warm_up: int = 3
) -> dict[str, list[float]]:
    """What each flow says of each round; each round asks every flow, so that all see the same machine."""
    taken: dict[str, list[float]] = {name: [] for name in flows}
    for number in range(-warm_up, rounds):
        # By turns the first: whoever comes second finds warm caches.
        names = list(flows)[:: 1 if number % 2 else -1]
        for name in names:
            value = flows[name](number)
            if number >= 0:
                taken[name].append(value)
    return taken


def report(measure: Callable[[bool], list[Row]]) -> None:
    """Run a module as a program: the rows as JSON on the last line of stdout. `--quick` makes fewer rounds."""
    rows = measure("--quick" in sys.argv)
    sys.stdout.flush()
    print("\n" + json.dumps([asdict(row) for row in rows]), flush=True)


def quiet_torch() -> None:
    """One thread, so that this process's processor time is that of the work."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(name, "1")
