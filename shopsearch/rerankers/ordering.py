"""Turns any reranker output into a permutation of the candidates, fused with retrieval's order."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from shopsearch.types import RerankerOutput

MAX_CHARACTERS = 20_000
"""How much of a model's text is read: more than any ranking needs."""

BELOW = -0.01
"""The value of a candidate that was not judged, where the worst that was judged has 0."""

_GROUP = re.compile(r"\[[^\[\]]*\]")
_NUMBER = re.compile(r"(?<![\w.])\d{1,6}(?![\w.]*\d)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A permutation, and what had to be repaired to get it."""

    positions: tuple[int, ...]
    """Every candidate's place in retrieval's order, exactly once, the best first."""
    repairs: Mapping[str, int]
    """How many labels were ``missing``, ``repeated``, ``unknown`` or ``unreadable``; no zeros."""


def arrange(
    output: RerankerOutput,
    retrieval: Sequence[float],
    *,
    weight: float = 0.6,
    lift: int = 6,
    words: Sequence[float] = (),
) -> Order:
    """A permutation of the candidates, for any output whatsoever; raises nothing.

    ``retrieval`` has the candidates' scores in retrieval's order. ``weight`` is the model's share, in [0, 1]: at 0 the
    order stays, at 1 the model alone decides. No candidate climbs more than ``lift`` places, so that a product's own
    words can gain it little. ``words`` has the share of the query's words that each candidate has: one that has none
    of them passes none that has them all. What the model left out follows in retrieval's order; an empty output
    changes nothing.
    """
    repairs: Counter[str] = Counter()
    judged = _judged(output, len(retrieval), repairs)
    if not any(value is not None for value in judged):
        return Order(positions=tuple(range(len(retrieval))), repairs=dict(+repairs))
    model = spread(judged)
    prior = spread([_number(score) for score in retrieval])
    fused = [weight * ours + (1 - weight) * theirs for ours, theirs in zip(model, prior, strict=True)]
    left = sorted(range(len(retrieval)), key=lambda place: (-fused[place], place))
    having_all = [place for place, share in enumerate(words) if share == 1]
    positions: list[int] = []

    def may_stand_here(place: int) -> bool:
        if place > len(positions) + lift:
            return False
        has_none = place < len(words) and words[place] == 0
        return not (has_none and any(each < place and each in left for each in having_all))

    while left:
        # One always may: of those left, the first in retrieval's order, which passes nobody.
        chosen = next(place for place in left if may_stand_here(place))
        left.remove(chosen)
        positions.append(chosen)
    return Order(positions=tuple(positions), repairs=dict(+repairs))


def _judged(output: RerankerOutput, count: int, repairs: Counter[str]) -> list[float | None]:
    """A value per candidate, higher is better; None for one that the model did not judge."""
    if output.scores is not None:
        return _from_scores(output.scores, count, repairs)
    return _from_labels(output.labels, count, repairs)


def _from_scores(scores: object, count: int, repairs: Counter[str]) -> list[float | None]:
    if not isinstance(scores, Sequence) or isinstance(scores, str | bytes):
        repairs["unreadable"] += 1
        return [None] * count
    values = [_number(score) for score in scores[:count]]
    repairs["unreadable"] += values.count(None)
    repairs["missing"] += count - len(values)
    repairs["unknown"] += max(0, len(scores) - count)
    return values + [None] * (count - len(values))


def _from_labels(labels: object, count: int, repairs: Counter[str]) -> list[float | None]:
    values: list[float | None] = [None] * count
    place = 0
    for label in _listed(labels, count, repairs):
        number = _number(label)
        if number is None or number != int(number):
            repairs["unreadable"] += 1
        elif not 1 <= number <= count:
            repairs["unknown"] += 1
        elif values[int(number) - 1] is not None:
            repairs["repeated"] += 1
        else:
            values[int(number) - 1] = float(count - place)
            place += 1
    if labels is not None:
        repairs["missing"] += count - place
    # Candidates that it did not name rank below all that it named.
    return [value or 0.0 for value in values] if place else values


def _listed(labels: object, count: int, repairs: Counter[str]) -> Sequence[object]:
    if isinstance(labels, bytes):
        labels = labels[:MAX_CHARACTERS].decode("utf-8", "replace")
    if isinstance(labels, str):
        return _read(labels[:MAX_CHARACTERS], count)
    if isinstance(labels, Mapping):
        lists = [value for value in labels.values() if isinstance(value, list | tuple)]
        return lists[0] if lists else ()
    if isinstance(labels, Sequence):
        return labels[: 10 * count + 10]
    repairs["unreadable"] += labels is not None
    return ()


def _read(text: str, count: int) -> Sequence[object]:
    """The ranking in a text: the bracketed list that names most candidates, else every number that stands alone."""
    groups = [_NUMBER.findall(group) for group in _GROUP.findall(text)]
    best = max(
        groups, key=lambda group: len({number for number in group if 1 <= int(number) <= count}), default=[]
    )
    return best or _NUMBER.findall(text)[: 10 * count + 10]


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def spread(values: Sequence[float | None]) -> list[float]:
    """The values scaled to [0, 1], a missing one just below 0; all 0 if they are equal."""
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 0.0)
    # Halved first: the difference of the largest floats would overflow.
    width = high / 2 - low / 2
    if width <= 0:
        return [0.0 if value is not None else BELOW for value in values]
    return [BELOW if value is None else (value / 2 - low / 2) / width for value in values]


def parse_json(text: str) -> Mapping[str, object]:
    """The first JSON object in the text, or an empty one; fences and words around it are skipped."""
    text = text[:MAX_CHARACTERS]
    for start in (found.start() for found in re.finditer(r"\{", text)):
        try:
            value, _ = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            return value
    return {}
