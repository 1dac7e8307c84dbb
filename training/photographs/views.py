"""The same thing as another photographer shows it: what must not change a picture's place in the space."""

from __future__ import annotations

import io
import random

import numpy as np
from PIL import Image, ImageFilter, ImageOps

SIDE = 360
EVEN = 14
"""How far 80 % of the border may be from its median for the thing to be cut out."""


def view(image: Image.Image, background: Image.Image, dice: random.Random) -> Image.Image:
    """Turned, in another light and a poorer file; before another background where the thing can be cut out."""
    image = image.convert("RGB")
    image.thumbnail((SIDE, SIDE))
    mask = cut_out(image)
    if dice.random() < 0.3:
        image, mask = ImageOps.mirror(image), mask and ImageOps.mirror(mask)
    found = _turned(image, image, dice, 0.06)[0] if mask is None else image
    found = _cropped(found, dice) if mask is None else _placed(image, mask, background, dice)
    found = _lit(found, dice)
    if dice.random() < 0.4:
        found = found.filter(ImageFilter.GaussianBlur(dice.uniform(0.3, 1.5)))
    file = io.BytesIO()
    found.save(file, "JPEG", quality=dice.randint(30, 90))
    return Image.open(file).convert("RGB")


def cut_out(image: Image.Image) -> Image.Image | None:
    """A soft mask of what differs from an even border; None where the border is not even."""
    pixels = np.asarray(image, np.float32)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    middle = np.median(border, axis=0)
    if np.percentile(np.abs(border - middle).max(1), 80) > EVEN:
        return None
    soft = np.clip((np.abs(pixels - middle).max(2) - 8) / 14, 0, 1)
    mask = Image.fromarray((soft * 255).astype(np.uint8))
    mask = mask.filter(ImageFilter.MaxFilter(5)).filter(ImageFilter.MinFilter(3))
    mask = mask.filter(ImageFilter.GaussianBlur(1))
    return mask if 0.04 < np.asarray(mask).mean() / 255 < 0.95 else None


def _turned(
    image: Image.Image, mask: Image.Image, dice: random.Random, strength: float
) -> tuple[Image.Image, Image.Image]:
    """Both, as from another side."""
    width, height = image.size
    corners = [(0, 0), (width, 0), (width, height), (0, height)]
    rows, values = [], []
    for u, v in corners:
        x = u + dice.uniform(-strength, strength) * width
        y = v + dice.uniform(-strength, strength) * height
        rows += [[u, v, 1, 0, 0, 0, -x * u, -x * v], [0, 0, 0, u, v, 1, -y * u, -y * v]]
        values += [x, y]
    perspective = np.linalg.solve(np.array(rows, float), np.array(values, float)).tolist()
    angle = dice.gauss(0, 10)

    def moved(picture: Image.Image) -> Image.Image:
        bent = picture.transform(
            picture.size, Image.Transform.PERSPECTIVE, perspective, Image.Resampling.BICUBIC
        )
        return bent.rotate(angle, Image.Resampling.BICUBIC)

    return moved(image), moved(mask)


def _placed(
    image: Image.Image, mask: Image.Image, background: Image.Image, dice: random.Random
) -> Image.Image:
    thing, shape = _turned(image, mask, dice, 0.10)
    if dice.random() < 0.75:
        found = ImageOps.fit(background.convert("RGB"), (SIDE, SIDE))
    else:
        red, green, blue = (dice.randrange(120, 256) for _ in range(3))
        found = Image.new("RGB", (SIDE, SIDE), (red, green, blue))
    if box := shape.getbbox():
        thing, shape = thing.crop(box), shape.crop(box)
    factor = dice.uniform(0.5, 0.95) * SIDE / max(thing.size)
    size = (max(8, round(thing.width * factor)), max(8, round(thing.height * factor)))
    thing, shape = thing.resize(size), shape.resize(size)
    found.paste(thing, (dice.randint(0, SIDE - size[0]), dice.randint(0, SIDE - size[1])), shape)
    return found


def _cropped(image: Image.Image, dice: random.Random) -> Image.Image:
    share = dice.uniform(0.65, 1)
    width, height = round(image.width * share), round(image.height * share)
    left, top = dice.randint(0, image.width - width), dice.randint(0, image.height - height)
    return image.crop((left, top, left + width, top + height))


def _lit(image: Image.Image, dice: random.Random) -> Image.Image:
    """Another exposure, white balance and side that the light comes from, and some noise."""
    pixels = (np.asarray(image, np.float32) / 255) ** np.exp(dice.gauss(0, 0.25)) * np.exp(
        dice.gauss(0, 0.15)
    )
    pixels = pixels * np.exp([dice.gauss(0, 0.07), dice.gauss(0, 0.03), dice.gauss(0, 0.09)])
    height, width = pixels.shape[:2]
    angle = dice.uniform(0, 2 * np.pi)
    y, x = np.mgrid[0:height, 0:width]
    slope = (x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle)
    pixels = pixels * (1 + dice.uniform(0, 0.5) * slope)[..., None]
    noise = np.random.default_rng(dice.randrange(1 << 30))
    pixels = pixels + noise.normal(0, dice.uniform(0, 0.03), pixels.shape)
    return Image.fromarray((np.clip(pixels, 0, 1) * 255).astype(np.uint8))
