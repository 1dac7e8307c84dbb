"""Outlines: arrays of points, shape (n, 2), x to the right and y down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
Outline = Points | Sequence[tuple[float, float]]


def _placed(x: Points, y: Points, centre: tuple[float, float], angle: float) -> Points:
    cosine, sine = math.cos(angle), math.sin(angle)
    return np.stack([centre[0] + x * cosine - y * sine, centre[1] + x * sine + y * cosine], 1)


def ellipse(
    x: float, y: float, radius_x: float, radius_y: float, angle: float = 0, points: int = 48
) -> Points:
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    return _placed(np.cos(turn) * radius_x, np.sin(turn) * radius_y, (x, y), angle)


def rounded_rectangle(left: float, top: float, right: float, bottom: float, radius: float) -> Points:
    corners = (
        (right - radius, top + radius, -90),
        (right - radius, bottom - radius, 0),
        (left + radius, bottom - radius, 90),
        (left + radius, top + radius, 180),
    )
    return np.concatenate(
        [
            np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], 1)
            for x, y, start in corners
            for turn in [np.radians(start + np.linspace(0, 90, 13))]
        ]
    )


def spline(controls: Outline, *, closed: bool = True, points: int = 12) -> Points:
    """A smooth curve through the controls (Catmull-Rom), ``points`` for each piece."""
    control = np.asarray(controls, float)
    count = len(control)
    t = np.linspace(0, 1, points, endpoint=False)[:, None]
    pieces = []
    for start in range(count if closed else count - 1):
        a, b, c, d = (
            control[(start + step) % count if closed else min(max(start + step, 0), count - 1)]
            for step in (-1, 0, 1, 2)
        )
        pieces.append(
            0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
        )
    return np.concatenate(pieces)


def symmetric(half: Outline) -> Points:
    """The outline whose right half is given from top to bottom."""
    right = np.asarray(half, float)
    return np.concatenate([right, (right * [-1, 1])[::-1]])


def arch(width: float, height: float, power: float, points: int = 65) -> Points:
    """A dome's edge from left to right, ``height`` above zero at the middle; finer where it is steep."""
    x = -np.cos(np.linspace(0, np.pi, points))
    return np.stack([x * width, -height * np.sqrt(np.maximum(0, 1 - np.abs(x) ** power))], 1)


def blob(
    dice: Random,
    x: float,
    y: float,
    radius: float,
    irregularity: float,
    *,
    stretch: float = 1,
    angle: float = 0,
) -> Points:
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    reach = np.ones(len(turn))
    for wave in (2, 3, 4):
        amplitude = irregularity * dice.uniform(-1, 1) / wave * 1.6
        reach += amplitude * np.cos(wave * turn + dice.uniform(0, 6.3))
    return _placed(np.cos(turn) * radius * reach * stretch, np.sin(turn) * radius * reach, (x, y), angle)


def star(x: float, y: float, radius: float, angle: float, *, waist: float = 0.45, rays: int = 5) -> Points:
    turn = np.arange(2 * rays) * np.pi / rays + angle
    reach = np.where(np.arange(2 * rays) % 2 == 0, radius, radius * waist)
    return np.stack([x + np.sin(turn) * reach, y - np.cos(turn) * reach], 1)


def heart(x: float, y: float, radius: float, angle: float = 0) -> Points:
    t = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    across = 0.062 * 16 * np.sin(t) ** 3 * radius
    down = -0.062 * (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)) * radius
    return _placed(across, down, (x, y), angle)
