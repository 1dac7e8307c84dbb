"""Noise that tiles, and looks the same at every size."""

from __future__ import annotations

from functools import cache
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Plane = npt.NDArray[np.floating[Any]]

# Frequencies are drawn on this grid whatever the size asked for: a larger tile shows the same noise, finer.
GRID = 256


def band_noise(
    generator: np.random.Generator,
    low: float,
    high: float,
    stretch: tuple[float, float] = (1, 1),
    size: int = GRID,
) -> Plane:
    """A tile of waves that come ``low`` to ``high`` times in it; mean 0, deviation 1. ``size`` is GRID or more."""
    half = GRID // 2
    rows = np.fft.fftfreq(GRID)[:, None] * GRID / stretch[0]
    columns = np.fft.rfftfreq(GRID)[None] * GRID / stretch[1]
    frequency = np.hypot(rows, columns)
    within = (frequency >= low) & (frequency <= high)
    phase = generator.uniform(0, 2 * np.pi, frequency.shape)[within]
    waves = np.zeros(frequency.shape, np.complex128)
    waves[within] = np.exp(1j * phase) / (frequency[within] + 1)
    spectrum = np.zeros((size, size // 2 + 1), np.complex128)
    spectrum[:half, : half + 1] = waves[:half]
    spectrum[-half:, : half + 1] = waves[half:]
    tile = np.fft.irfft2(spectrum, s=(size, size))
    scaled: Plane = (tile / tile.std()).astype(np.float32)
    return scaled


@cache
def _clouds() -> list[Plane]:
    generator = np.random.default_rng(77)
    return [
        np.tile(band_noise(generator, 1, 7, (1, 0.45) if number % 2 else (0.6, 1)), (2, 2))
        for number in range(10)
    ]


def soft_noise(dice: Random, size: int) -> Plane:
    """Slow light and dark, as of folds or of a wall: shape (size, size), deviation about 1."""
    cloud = _clouds()[dice.randrange(10)]
    left, top = dice.randrange(GRID), dice.randrange(GRID)
    window = cloud[top : top + 160, left : left + 160]
    if size == 160:
        return window
    return np.asarray(Image.fromarray(window).resize((size, size), Image.Resampling.BICUBIC))
