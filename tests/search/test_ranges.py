"""Ranges: a few round ones, none empty, that hold every number."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsearch.search.facet_counts import MAX_RANGES, merged, round_edges


@given(
    st.lists(
        st.floats(-1e12, 1e12, allow_nan=False) | st.integers(0, 500).map(float), min_size=1, max_size=60
    )
)
def test_ranges_are_few_round_and_hold_every_number(numbers):
    edges = round_edges(min(numbers), max(numbers))
    assert edges == sorted(set(edges))

    def count(low, high):
        return sum((low is None or low <= each) and (high is None or each <= high) for each in numbers)

    ranges = merged(edges, count)
    assert len(ranges) <= MAX_RANGES
    assert all(those == count(low, high) > 0 for low, high, those in ranges)
    if ranges:
        assert all(
            any(
                count(low, high) and (low is None or low <= n) and (high is None or n <= high)
                for low, high, _ in ranges
            )
            for n in numbers
        )


@pytest.mark.parametrize(
    ("least", "most", "edges"),
    [
        (3, 80, [5, 10, 20, 50]),
        (0, 1000, [1, 2, 5, 10, 20, 50, 100, 200, 500]),
        (900, 999, [920, 940, 960, 980]),
        (
            -30,
            30,
            [-20, -10, -5, -2, -1, -0.5, -0.2, -0.1, -0.05, -0.02, -0.01, 0, 0.01, 0.02, 0.05, 0.1, 0.2],
        ),
        (7, 7, []),
        (None, None, []),
        (0, math.inf, []),
        (-math.inf, math.inf, []),
        (-1.5e308, 1.5e308, []),  # their difference is infinite
    ],
)
def test_the_edges_of_ranges_are_round(least, most, edges):
    found = round_edges(least, most)
    assert found[: len(edges)] == edges
    assert bool(found) == bool(edges)
