"""Textures: tiles of three masks that a palette paints, one after another, over its base colour."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from PIL import Image

from . import furs, prints
from .noise import GRID
from .palettes import Palette, rounded
from .weaving import Masks, Weaver

TEXTURES: dict[str, Callable[[Weaver], Masks]] = {
    "solid": prints.solid,
    "stripes": prints.stripes,
    "dots": prints.dots,
    "plaid": prints.plaid,
    "chevron": prints.chevron,
    "checkered": prints.checkered,
    "floral": prints.floral,
    "hearts": prints.hearts,
    "stars": prints.stars,
    "leopard": furs.leopard,
    "zebra": furs.zebra,
    "tiger": furs.tiger,
    "cow": furs.cow,
    "giraffe": furs.giraffe,
    "camo": furs.camo,
    "galaxy": prints.galaxy,
    "marble": prints.marble,
    "brick": prints.brick,
    "leaves": prints.leaves,
}


# Pictures come pattern by pattern, so that a few tiles at a time are enough.
@lru_cache(maxsize=16)
def texture(pattern: str, variant: int, size: int) -> Image.Image:
    """The tile twice over in each direction: an RGB picture whose channels are the three masks."""
    tile = np.zeros((size, size, 3), np.float32)
    for channel, mask in enumerate(TEXTURES[pattern](Weaver(pattern, variant, size))):
        tile[..., channel] = mask
    return Image.fromarray(np.tile((tile.clip(0, 1) * 255).astype(np.uint8), (2, 2, 1)))


def sampled(
    pattern: str, variant: int, size: int, *, scale: float, angle: float, offset: tuple[float, float]
) -> Image.Image:
    """A square cut from the texture; ``scale`` 1 shows 1 tile, ``offset`` moves by 256ths of a tile."""
    tile = GRID if size <= 200 else 2 * GRID
    step = scale * tile / size
    cosine, sine = math.cos(angle) * step, math.sin(angle) * step
    half = size / 2
    x, y = (tile + part * tile / GRID for part in offset)
    matrix = (cosine, -sine, x - (cosine - sine) * half, sine, cosine, y - (sine + cosine) * half)
    return texture(pattern, variant, tile).transform(
        (size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR
    )


def painted(masks: Image.Image, palette: Palette) -> Image.Image:
    """The masks' picture in the palette's colours."""
    result = Image.new("RGB", masks.size, rounded(palette[0]))
    for channel, colour in zip(masks.split(), palette[1:], strict=True):
        result.paste(rounded(colour), mask=channel)
    return result
