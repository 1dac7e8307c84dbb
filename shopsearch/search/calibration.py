"""Calibrations: the score under which a result is a weak match, by index, space and kind of query."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from django.core.signals import setting_changed
from django.db.models.functions import Now

from shopsearch.models import Calibration
from shopsearch.types import Match, QueryKind

if TYPE_CHECKING:
    from shopsearch.types import Vector

KEPT_SECONDS = 30
"""How long a process takes what it read for what is in the database."""

_kept: dict[tuple[str, str], tuple[float, dict[str, Calibration]]] = {}
"""By index and space: until when it is kept, and the calibrations by kind of query."""


def weak_below(index: str, space: str, kind: QueryKind, vector: Vector) -> float | None:
    """The score under which a result of this query is a weak match; None where the shop has not measured it."""
    key = (index, space)
    kept_until, known = _kept.get(key, (0.0, {}))
    if time.monotonic() >= kept_until:
        known = {each.kind: each for each in Calibration.objects.filter(index=index, space=space)}
        _kept[key] = (time.monotonic() + KEPT_SECONDS, known)
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


def forget(**kwargs: Any) -> None:
    """Read anew at the next search; happens by itself when SHOPSEARCH is overridden in a test."""
    if kwargs.get("setting", "SHOPSEARCH") == "SHOPSEARCH":
        _kept.clear()


setting_changed.connect(forget)
