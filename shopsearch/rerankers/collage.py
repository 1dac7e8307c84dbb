"""One picture of all candidates, numbered, beside the query's: what a listwise reranker looks at.

The layout is that of Milvus's tutorial "Multimodal Semantic Search with Images and Text": tiles of 300 pixels with a
black border and a red number on a white badge; a column on the left with the query, in a blue border, at its bottom;
1200x900 for nine candidates and a query picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from PIL import Image, ImageColor, ImageDraw, ImageFont, ImageOps

TILE = 300
BORDER = 2
QUERY_BORDER = 10
BADGE = 48
WHITE, BLACK, RED, BLUE = (ImageColor.getrgb(name) for name in ("white", "black", "red", "blue"))


def collage(pictures: Sequence[Image.Image], query: Image.Image | None = None) -> Image.Image:
    """The pictures in a grid, row by row, numbered from 1; RGB; nothing is cropped or squashed.

    The grid is as square as possible, and empty places are white. A query picture adds a column. Raises ValueError
    without pictures.
    """
    if not pictures:
        raise ValueError("A collage needs at least one picture.")
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    left = TILE if query is not None else 0
    canvas = Image.new("RGB", (left + columns * TILE, rows * TILE), WHITE)
    for place, picture in enumerate(pictures):
        corner = (left + place % columns * TILE, place // columns * TILE)
        canvas.paste(_tile(picture, BORDER, BLACK), corner)
        _number(canvas, corner, str(place + 1))
    if query is not None:
        canvas.paste(_tile(query, QUERY_BORDER, BLUE), (0, (rows - 1) * TILE))
    return canvas


def _tile(picture: Image.Image, border: int, colour: tuple[int, ...]) -> Image.Image:
    """The picture letterboxed on white, with a border inside the tile's edge."""
    inner = TILE - 2 * border
    fitted = ImageOps.pad(picture.convert("RGB"), (inner, inner), color=WHITE)
    return ImageOps.expand(fitted, border, fill=colour)


def _number(canvas: Image.Image, corner: tuple[int, int], label: str) -> None:
    x, y = corner[0] + BORDER, corner[1] + BORDER
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((x, y, x + BADGE, y + BADGE), fill=WHITE)
    font = ImageFont.load_default(BADGE * 3 // 4)
    draw.text((x + BADGE / 2, y + BADGE / 2), label, fill=RED, font=font, anchor="mm")
