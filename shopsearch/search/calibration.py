"""Calibrations: the score under which a result is a weak match, by index, space and kind of query."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.core.signals import setting_changed
from django.db.models.functions import Now

from shopsearch.models import Calibration
from shopsearch.types import Match, QueryKind

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder
    from shopsearch.types import Vector

logger = logging.getLogger(__name__)
KEPT_SECONDS = 30
"""How long a process takes what it read for what is in the database."""

Calibrations = dict[str, "Calibration"]
"""By kind of query."""

_kept: dict[tuple[str, str], tuple[float, Calibrations]] = {}


def weak_below(index: str, embedder: Embedder, kind: QueryKind, vector: Vector) -> float | None:
    """The score under which a result of this query is a weak match; None where nothing was calibrated.

    What came with the model counts where the shop has not measured for itself.
    """
    key = (index, embedder.space)
    kept_until, known = _kept.get(key, (0.0, {}))
    if time.monotonic() >= kept_until:
        known = _read(index, embedder)
        _kept[key] = (time.monotonic() + KEPT_SECONDS, known)
    return known[kind].weak_below(vector) if kind in known else None


def is_known(index: str, embedder: Embedder) -> bool:
    """Whether anything was measured for the index in the embedder's space, by the shop or with the model."""
    measured = Calibration.objects.filter(index=index, space=embedder.space)
    return measured.exists() or bool(
        embedder.calibration is not None and read(embedder.calibration, embedder.space)
    )


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


def write(calibrations: list[Calibration], path: Path) -> None:
    """Make the file that a model's folder ships."""
    content = {
        "space": calibrations[0].space,
        "typical": [round(number, 4) for number in calibrations[0].typical],
        "kinds": {
            each.kind: {
                "threshold": round(each.threshold, 4),
                "weight": each.weight,
                "pairs": each.pairs,
            }
            for each in calibrations
        },
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    forget()


def read(path: Path, space: str) -> Calibrations:
    """What the file says; nothing where there is none, or where it was made for another model's space."""
    try:
        content = json.loads(path.read_bytes())
        if content["space"] != space:
            return {}
        return {
            kind: Calibration(space=space, kind=kind, typical=content["typical"], **measured)
            for kind, measured in content["kinds"].items()
        }
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        logger.warning("%s is not a calibration and is not used: %r", path, error)
        return {}


def match_of(best: float | None, weak_below: float | None) -> Match:
    """What is to be said of an answer whose best result has this score."""
    if best is None or weak_below is None:
        return "unknown"
    return "weak" if best < weak_below else "good"


def _read(index: str, embedder: Embedder) -> Calibrations:
    measured = {each.kind: each for each in Calibration.objects.filter(index=index, space=embedder.space)}
    if measured or embedder.calibration is None:
        return measured
    return read(embedder.calibration, embedder.space)


def forget(**kwargs: Any) -> None:
    """Read anew at the next search; happens by itself when SHOPSEARCH is overridden in a test."""
    if kwargs.get("setting", "SHOPSEARCH") == "SHOPSEARCH":
        _kept.clear()


setting_changed.connect(forget)
