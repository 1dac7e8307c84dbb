"""The interface of a detector, and what makes a model's boxes fit to be offered."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import TYPE_CHECKING, ClassVar

from django.core.checks import CheckMessage

from shopsearch.types import Proposal

if TYPE_CHECKING:
    from PIL.Image import Image

MOST = 20
"""Parts of one picture: more make no choice."""
LEAST_SIDE = 0.05
"""Of a proposal, in shares of the picture's: what is smaller cannot be chosen by hand either."""
WHOLE = 0.9
"""The share of the picture from which a part is the whole."""
SAME = 0.6
"""The intersection over union from which two boxes are about one object."""


class Detector(ABC):
    """Proposes the parts of a picture in which there is an object.

    A subclass is a keyword-only dataclass whose fields are its OPTIONS. Constructing it is cheap: it reads no weights
    and imports no framework. The model loads on first use, once per process, and is thread-safe.
    """

    most: int = MOST
    """How many objects are proposed at most; no more than MOST are, whatever it says."""
    packages: ClassVar[tuple[str, ...]] = ()
    """The ``conf.EXTRAS`` that the model needs."""

    @abstractmethod
    def detect(self, picture: Image) -> list[Proposal]:
        """The objects in a picture from ``shopsearch.images.decode``, in any order; ``distinct`` chooses from them.

        Raises DetectorError if the model cannot answer, ImproperlyConfigured if its files are missing or wrong.
        """

    def check(self) -> list[CheckMessage]:
        """What ``manage.py check`` should say about the options. Loads nothing."""
        return []


def distinct(found: Iterable[Proposal], *, most: int) -> list[Proposal]:
    """At most so many proposals, the surest first: inside the picture, each of another object, none of all of it."""
    kept: list[Proposal] = []
    for each in sorted(filter(None, map(_inside, found)), key=lambda each: -each.score):
        if len(kept) < most and all(_overlap(each, other) < SAME for other in kept):
            kept.append(each)
    return kept


def _inside(found: Proposal) -> Proposal | None:
    """The part of it that is inside the picture; None where that is too small, everything, or no number."""
    numbers = (found.x, found.y, found.width, found.height, found.score)
    if not all(map(math.isfinite, numbers)):
        return None
    left, top = max(0.0, found.x), max(0.0, found.y)
    width, height = min(1.0, found.x + found.width) - left, min(1.0, found.y + found.height) - top
    if min(width, height) < LEAST_SIDE or width * height >= WHOLE:
        return None
    return Proposal(x=left, y=top, width=width, height=height, score=found.score, label=found.label)


def _overlap(one: Proposal, other: Proposal) -> float:
    """Intersection over union."""
    width = min(one.x + one.width, other.x + other.width) - max(one.x, other.x)
    height = min(one.y + one.height, other.y + other.height) - max(one.y, other.y)
    both = max(0.0, width) * max(0.0, height)
    return both / (one.width * one.height + other.width * other.height - both)
