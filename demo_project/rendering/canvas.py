"""A canvas for one thing: what it is made of and how high each part stands, before any light falls on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

from .geometry import Outline, Points
from .palettes import Colour, rounded

BOARD = 160
"""Pictures are composed on a board of 160 by 160 units, whatever their size in pixels."""

Paint = Colour | Literal["print"]
"""One colour, or the product's print showing through."""


@dataclass(frozen=True, kw_only=True)
class Surface:
    """How a thing takes the light; 0 where it does not have the trait."""

    cylinder: float = 0
    """Half the width of a round body, in the thing's own units."""
    puff: float = 0
    fold: float = 0
    gloss: float = 0
    rim: bool = False
    """A plate's."""
    ground: tuple[float, float] | None = None
    """Where it stands, below its centre, and half as wide as what; without it, it lies flat."""


@dataclass(frozen=True)
class Pose:
    """Where a thing is on the board: ``matrix`` takes its own units, about -1 to 1, to the board's."""

    matrix: Points
    centre: tuple[float, float]

    @classmethod
    def turned(
        cls, angle: float, scale: float, centre: tuple[float, float], *, mirrored: bool = False
    ) -> Pose:
        cosine, sine = math.cos(angle), math.sin(angle)
        matrix = np.array([[cosine, -sine], [sine, cosine]]) * scale
        return cls(matrix @ np.diag([-1, 1]) if mirrored else matrix, centre)


class Canvas:
    """Five layers that are drawn together: flat colour, print, seams, height, and what is covered at all."""

    oversampling = 2

    def __init__(self, size: int, pose: Pose) -> None:
        self.size = size
        self.pose = pose
        self.pixels = size * self.oversampling
        self._matrix = pose.matrix * (self.pixels / BOARD)
        self._centre = np.array(pose.centre) * (self.pixels / BOARD)
        self._unit = math.sqrt(abs(float(np.linalg.det(self._matrix))))
        square = (self.pixels, self.pixels)
        self.colour = Image.new("RGB", square)
        self.print = Image.new("L", square)
        self.seams = Image.new("L", square, 255)
        self.height = Image.new("L", square)
        self.cover = Image.new("L", square)
        self._draw = {
            id(layer): ImageDraw.Draw(layer)
            for layer in (self.colour, self.print, self.seams, self.height, self.cover)
        }

    def fill(self, outline: Outline, paint: Paint = "print", height: int = 150) -> None:
        """Cover the outline; height 0 leaves the height below as it is."""
        points = self._placed(outline)
        if paint == "print":
            self._on(self.print).polygon(points, fill=255)
        else:
            self._on(self.print).polygon(points, fill=0)
            self._on(self.colour).polygon(points, fill=rounded(paint))
        if height:
            self._on(self.height).polygon(points, fill=height)
        self._on(self.seams).polygon(points, fill=255)
        self._on(self.cover).polygon(points, fill=255)

    def stroke(
        self, line: Outline, width: float, paint: Paint, height: int = 0, *, covers: bool = True
    ) -> None:
        """A band along the line, ``width`` of the thing's units wide."""
        band = self._band(line, width)
        if paint == "print":
            self._on(self.print).polygon(band, fill=255)
        else:
            self._on(self.print).polygon(band, fill=0)
            self._on(self.colour).polygon(band, fill=rounded(paint))
        if covers:
            self._on(self.cover).polygon(band, fill=255)
        if height:
            self._on(self.height).polygon(band, fill=height)

    def seam(self, line: Outline, width: float = 0.02, shade: int = 170) -> None:
        """A darker line: 0 is black, 255 does not show."""
        self._on(self.seams).polygon(self._band(line, width), fill=shade)

    def erase(self, outline: Outline) -> None:
        points = self._placed(outline)
        for layer in (self.print, self.height, self.cover):
            self._on(layer).polygon(points, fill=0)

    def _on(self, layer: Image.Image) -> ImageDraw.ImageDraw:
        return self._draw[id(layer)]

    def _placed(self, outline: Outline) -> list[tuple[float, float]]:
        points = np.asarray(outline, float) @ self._matrix.T + self._centre
        return [(x, y) for x, y in points.tolist()]

    def _band(self, line: Outline, width: float) -> list[tuple[float, float]]:
        middle = np.asarray(self._placed(line))
        closed = len(middle) > 2 and np.array_equal(middle[0], middle[-1])
        ring = np.concatenate([middle[-2:-1], middle, middle[1:2]]) if closed else middle
        along = np.gradient(ring, axis=0)[1:-1] if closed else np.gradient(ring, axis=0)
        length = np.maximum(np.hypot(along[:, 0], along[:, 1]), 1e-9)
        # Half a pixel less to each side: Pillow's polygons cover their edges.
        half = max(width * self._unit / 2 - 0.5, 0.25)
        aside = np.stack([-along[:, 1], along[:, 0]], 1) / length[:, None] * half
        return [(x, y) for x, y in np.concatenate([middle + aside, (middle - aside)[::-1]]).tolist()]
