"""What textures are made with: dice, noise, stamps and a tile's coordinates."""

from __future__ import annotations

from random import Random

import numpy as np
from PIL import Image, ImageDraw

from .geometry import Outline
from .noise import Plane, band_noise

Masks = tuple[Plane | float, Plane | float, Plane | float]


class Stamps:
    """A mask of outlines in tile coordinates, 0 to 1; what leaves at one side comes in at the other."""

    oversampling = 2

    def __init__(self, size: int) -> None:
        self.size = size
        self.image = Image.new("L", (size * self.oversampling, size * self.oversampling))
        self.draw = ImageDraw.Draw(self.image)

    def add(self, outline: Outline, value: int = 255) -> None:
        points = np.asarray(outline)
        (left, top), (right, bottom) = points.min(0), points.max(0)
        for shift_x in (-1, 0, 1):
            for shift_y in (-1, 0, 1):
                if (
                    right + shift_x >= 0
                    and left + shift_x <= 1
                    and bottom + shift_y >= 0
                    and top + shift_y <= 1
                ):
                    moved = (points + np.array([shift_x, shift_y])) * self.image.width
                    self.draw.polygon([tuple(point) for point in moved], fill=value)

    def mask(self) -> Plane:
        return np.asarray(self.image.reduce(self.oversampling), np.float32) / 255


class Weaver:
    """What every texture is made from: its own dice, its own noise, and the tile's coordinates."""

    def __init__(self, pattern: str, variant: int, size: int) -> None:
        self.size = size
        self.dice = Random(f"{pattern}/{variant}")
        self.generator = np.random.default_rng(self.dice.randrange(2**31))
        rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size
        self.x: Plane = columns
        self.y: Plane = rows

    def noise(self, low: float, high: float, stretch: tuple[float, float] = (1, 1)) -> Plane:
        return band_noise(self.generator, low, high, stretch, self.size)

    def stamps(self) -> Stamps:
        return Stamps(self.size)

    def lattice(self, count: int, jitter: float, *, staggered: bool = True) -> list[tuple[float, float]]:
        """Places on a grid of ``count`` by ``count``, each a little off."""
        places = []
        for row in range(count):
            for column in range(count):
                stagger = 0.5 * (row % 2) if staggered else 0
                x = (column + stagger + self.dice.uniform(-jitter, jitter) + 0.25) / count
                places.append((x, (row + 0.5 + self.dice.uniform(-jitter, jitter)) / count))
        return places


def edge(distance: Plane, width: float) -> Plane:
    """0 where the distance is negative, 1 where it is positive, ``width`` for the way between."""
    share: Plane = np.clip(distance / width + 0.5, 0, 1)
    return share
