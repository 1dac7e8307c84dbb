"""Pictures as another photographer would have taken them: nearer, turned, mirrored, lighter."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F  # noqa: N812, as everybody writes it
from torch import Tensor

from shopsearch.embedders.preprocessing import Preprocessing
from training.pool import Pictures

TURN = 0.14
"""Radians, to either side."""


def augmented(
    pictures: Pictures, products: npt.NDArray[np.bool_], *, pixels: int, dice: np.random.Generator
) -> Tensor:
    """Normalised pixels, shape (n, 3, pixels, pixels); of references a smaller part may be seen than of products."""
    count = len(pictures)
    image = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255

    def drawn(low: float, high: float) -> Tensor:
        return torch.from_numpy(dice.uniform(low, high, count).astype(np.float32))

    seen = torch.where(torch.from_numpy(products), drawn(0.84, 1.04), drawn(0.55, 1.0))
    turn = drawn(-TURN, TURN)
    mirror = torch.where(drawn(0, 1) < 0.5, -1.0, 1.0)
    room = (1 - seen).abs() + 0.05
    placed = torch.zeros(count, 2, 3)
    placed[:, 0, 0] = seen * turn.cos() * mirror
    placed[:, 0, 1] = -seen * turn.sin()
    placed[:, 1, 0] = seen * turn.sin() * mirror
    placed[:, 1, 1] = seen * turn.cos()
    placed[:, 0, 2] = drawn(-1, 1) * room
    placed[:, 1, 2] = drawn(-1, 1) * room
    grid = F.affine_grid(placed, [count, 3, pixels, pixels], align_corners=False)
    image = F.grid_sample(image, grid, padding_mode="reflection", align_corners=False)
    brightness, contrast = drawn(0.9, 1.1).view(-1, 1, 1, 1), drawn(0.85, 1.15).view(-1, 1, 1, 1)
    middle = image.mean((1, 2, 3), keepdim=True)
    image = ((image - middle) * contrast + middle) * brightness
    settings = Preprocessing(size=pixels)
    mean, deviation = torch.tensor(settings.mean).view(3, 1, 1), torch.tensor(settings.std).view(3, 1, 1)
    return (image.clamp(0, 1) - mean) / deviation
