"""Calibrations: the score under which a result is a weak match, by index, space and kind of query."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db.models.functions import Now

from shopsearch.models import Calibration
from shopsearch.search.kept import Kept
from shopsearch.types import Match, QueryKind

if TYPE_CHECKING:
    from shopsearch.types import Vector

KEPT_SECONDS = 30
"""How long a process takes what it read for what is in the database."""


def _read(key: tuple[str, str], _before: object) -> dict[str, Calibration]:
    """By kind of query."""
    index, space = key
    return {each.kind: each for each in Calibration.objects.filter(index=index, space=space)}


_kept = Kept(_read, lambda: KEPT_SECONDS)
forget = _kept.forget


def weak_below(index: str, space: str, kind: QueryKind, vector: Vector) -> float | None:
    """The score under which a result of this query is a weak match; None where the shop has not measured it."""
    known = _kept.get((index, space))
    return known[kind].weak_below(vector) if kind in known else None


def is_known(index: str, space: str) -> bool:
    """Whether anything was measured for the index in this space."""
    return Calibration.objects.filter(index=index, space=space).exists()


def save(calibrations: list[Calibration]) -> None:
    """Store them in place of what was measured before. Every process knows within KEPT_SECONDS, this one at once."""
    for each in calibrations:
        Calibration.objects.update_or_create(
            index=each.index,
            space=each.space,
            kind=each.kind,
            defaults={name: getattr(each, name) for name in ("threshold", "weight", "typical", "pairs")}
            | {"created_at": Now()},
        )
    forget()


def match_of(best: float | None, weak_below: float | None) -> Match:
    """What is to be said of an answer whose best result has this score."""
    if best is None or weak_below is None:
        return "unknown"
    return "weak" if best < weak_below else "good"
