"""What a shopper's camera does to a picture: cropped, turned, compressed, too dark or too bright."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from random import Random

from PIL import Image, ImageEnhance

KEPT = 0.7
"""Of each side, by a crop."""
DEGREES = 15
JPEG_QUALITY = 40
DARKER, BRIGHTER = 0.6, 1.4


def crop(picture: Image.Image, dice: Random) -> Image.Image:
    """A part of it, anywhere."""
    width, height = round(picture.width * KEPT), round(picture.height * KEPT)
    left, top = dice.randint(0, picture.width - width), dice.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def turn(degrees: float) -> Callable[[Image.Image, Random], Image.Image]:
    """The corners that come into sight are white."""
    return lambda picture, _: picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white")


def light(factor: float) -> Callable[[Image.Image, Random], Image.Image]:
    return lambda picture, _: ImageEnhance.Brightness(picture).enhance(factor)


CORRUPTIONS: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    f"crop to {KEPT:.0%}": crop,
    f"turned +{DEGREES}°": turn(DEGREES),
    f"turned -{DEGREES}°": turn(-DEGREES),
    f"JPEG q{JPEG_QUALITY}": lambda picture, _: picture,
    f"light ×{DARKER}": light(DARKER),
    f"light ×{BRIGHTER}": light(BRIGHTER),
}


def spoil(picture: Image.Image, kind: str, seed: str) -> Image.Image:
    """The picture as it comes out of a JPEG file, spoilt in this way; the same for the same seed."""
    file = BytesIO()
    quality = JPEG_QUALITY if kind.startswith("JPEG") else 95
    CORRUPTIONS[kind](picture, Random(f"{seed} {kind}")).save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")
