"""The studio: backgrounds, light and shadow, and the camera's own traces.

A picture in the making is three planes, red, green and blue: shape (3, size, size), 0 to 255.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

import numpy as np
from PIL import Image, ImageFilter

from .canvas import BOARD, Canvas, Surface
from .noise import Plane, soft_noise
from .palettes import COLOURS, Colour, mix

BACKGROUNDS = {"studio": 34, "tint": 20, "room": 14, "wood": 11, "spot": 13, "cloth": 8}
"""Kinds of background, and how often each comes in a hundred pictures."""

_WALLS: list[Colour] = [*COLOURS.values(), *[(200, 190, 175)] * 4, *[(210, 220, 228)] * 3]
_FLOORS: list[Colour] = [
    (186, 150, 112),
    (160, 124, 90),
    (206, 198, 188),
    (150, 148, 146),
    (222, 206, 184),
]
_TABLES: list[Colour] = [
    (196, 158, 116),
    (164, 120, 82),
    (222, 200, 168),
    (120, 88, 64),
    (200, 196, 190),
]


def coordinates(size: int) -> tuple[Plane, Plane]:
    """x as a row and y as a column, each from 0 to 1."""
    line = np.arange(size, dtype=np.float32) / size
    return line[None, :], line[:, None]


def tinted(colour: Colour, light: Plane | float, size: int) -> Plane:
    """A picture of one colour under this light."""
    lights = np.broadcast_to(np.asarray(light, np.float32), (size, size))
    picture: Plane = np.asarray(colour, np.float32)[:, None, None] * lights
    return picture


def background(dice: Random, size: int, kinds: Mapping[str, int] = BACKGROUNDS) -> Plane:
    """What stands behind a product."""
    return background_of(dice, dice.choices(list(kinds), list(kinds.values()))[0], size)


def background_of(dice: Random, kind: str, size: int) -> Plane:
    x, y = coordinates(size)
    if kind == "studio":
        top = dice.uniform(225, 252)
        grey = tinted((1, 1, 1), top - dice.uniform(0, 22) * y, size)
        grey[2] += dice.uniform(-4, 4)
        return grey
    wall = mix(dice.choice(_WALLS), (244, 242, 238), dice.uniform(0.55, 0.88))
    if kind == "tint":
        return tinted(wall, 1.04 - 0.12 * y, size)
    if kind == "spot":
        return tinted(wall, 1.06 - 0.5 * np.minimum(1, (x - 0.5) ** 2 + (y - 0.45) ** 2), size)
    if kind == "room":
        horizon = dice.uniform(0.58, 0.78)
        floor = tinted(dice.choice(_FLOORS), 0.86 + 0.3 * (y - horizon), size)
        room = np.where(y > horizon, floor, tinted(wall, 1.02 - 0.08 * y, size))
        room *= 1 - 0.14 * np.exp(-(((y - horizon) / 0.006) ** 2))
        return room
    if kind == "wood":
        table, noise = dice.choice(_TABLES), soft_noise(dice, size)
        grain = np.sin((y if dice.random() < 0.6 else x) * dice.uniform(30, 60) + noise * 1.4)
        gaps = np.where((y * dice.choice([3, 4])) % 1 < 0.02, 0.8, 1)
        return tinted(table, (1 + 0.05 * grain) * gaps, size)
    return tinted(wall, 1 + 0.05 * soft_noise(dice, size), size)


def photographed(
    dice: Random,
    canvas: Canvas,
    surface: Surface,
    print_: Image.Image,
    behind: Plane,
    *,
    shadow: bool = True,
) -> Plane:
    """The thing on the canvas, lit, before its background."""
    unit = canvas.size / BOARD
    cover = canvas.cover.reduce(canvas.oversampling)
    flat = canvas.colour.reduce(canvas.oversampling)
    flat.paste(print_, mask=canvas.print.reduce(canvas.oversampling))
    colour = channels(flat)

    u, v = _own_coordinates(canvas)
    side = dice.choice([-1, 1]) * dice.uniform(0.4, 1)
    light = _light(dice, canvas, surface, cover, u, v, side)
    outline = 0.72 + 0.28 * np.clip((_blurred(cover, 1.4 * unit) - 0.5) * 2, 0, 1)
    seams = _plane(canvas.seams.reduce(canvas.oversampling))
    colour *= light * seams * outline
    colour += np.clip(light - 1.08, 0, 1) * outline * 150

    if shadow:
        across, down = -side * dice.uniform(2, 5), dice.uniform(3, 7)
        cast = _softened(cover, dice.uniform(3.5, 6))
        if surface.ground:
            depth, width = surface.ground
            distance = (u / (width * 1.15)) ** 2 + ((v - depth) / 0.13) ** 2
            cast = _shifted(cast, int(across * 2 * unit), int(down * unit))
            behind = behind * ((1 - 0.5 * np.exp(-1.1 * distance)) * (1 - 0.14 * cast))
        else:
            cast = _shifted(cast, int(across * unit), int(down * unit))
            behind = behind * (1 - dice.uniform(0.3, 0.48) * cast)
    result: Plane = behind + (colour - behind) * _plane(cover)
    return result


def developed(dice: Random, picture: Plane, *, grain: float = 3) -> Image.Image:
    """The photograph: exposure, white balance and grain, all slight."""
    exposure = dice.uniform(0.94, 1.05)
    balance = [exposure * dice.uniform(0.985, 1.015) for _ in range(3)]
    generator = np.random.default_rng(dice.randrange(2**31))
    speckle = generator.standard_normal(picture.shape[1:], dtype=np.float32)
    speckle *= dice.uniform(0.5, grain)
    return image_of(picture * np.asarray(balance, np.float32)[:, None, None] + speckle)


def channels(image: Image.Image) -> Plane:
    """The picture as planes of red, green and blue."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1), np.float32)


def image_of(planes: Plane) -> Image.Image:
    return Image.merge("RGB", [Image.fromarray(plane) for plane in planes.clip(0, 255).astype(np.uint8)])


def _light(
    dice: Random, canvas: Canvas, surface: Surface, cover: Image.Image, u: Plane, v: Plane, side: float
) -> Plane:
    unit = canvas.size / BOARD
    step = max(1, round(unit))

    def slope(heights: Plane) -> Plane:
        """How much a surface of these heights turns to the light, per unit of the board."""
        down = _shifted(heights, 0, step) - _shifted(heights, 0, -step)
        across = _shifted(heights, step, 0) - _shifted(heights, -step, 0)
        facing: Plane = (down + across * side) * np.float32(unit / step)
        return facing

    heights = _blurred(canvas.height.reduce(canvas.oversampling), 1.8 * unit)
    light: Plane = 1 + np.clip(0.55 * slope(heights), -0.28, 0.22)
    if surface.puff:
        pillow = _softened(cover, 15)
        light += np.clip(2.4 * surface.puff * slope(pillow), -0.35, 0.25)
        light *= 0.86 + 0.14 * np.clip(pillow * 1.25, 0, 1)
    if surface.cylinder:
        around = np.clip(u / surface.cylinder, -1.1, 1.1)
        light *= 1.06 - 0.36 * (around - 0.22 * side) ** 2
        if surface.gloss:
            light += 0.10 * np.exp(-(((around + 0.45 * side) / 0.13) ** 2))
    if surface.fold:
        light += surface.fold * 0.55 * soft_noise(dice, canvas.size)
    if surface.rim:
        ring = np.exp(-(((np.hypot(u, v) - 0.6) / 0.05) ** 2))
        light += 0.09 * ring * np.sign(u * side + v) - 0.06 * (u * side - v) * 0.7
    if surface.gloss and not surface.cylinder:
        light += surface.gloss * 0.22 * np.exp(-(((u * 0.8 * side + v * 0.6 + 0.25) / 0.22) ** 2))
    light *= 1.03 - 0.10 * np.clip(v, -1, 1)
    return light


def _own_coordinates(canvas: Canvas) -> tuple[Plane, Plane]:
    """Every pixel's place in the thing's own units."""
    inverse = np.linalg.inv(canvas.pose.matrix).astype(np.float32)
    x, y = (
        line * BOARD - np.float32(middle)
        for line, middle in zip(coordinates(canvas.size), canvas.pose.centre, strict=True)
    )
    return inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y


def _plane(layer: Image.Image) -> Plane:
    return np.asarray(layer, np.float32) * np.float32(1 / 255)


def _blurred(layer: Image.Image, radius: float) -> Plane:
    return _plane(layer.filter(ImageFilter.GaussianBlur(radius)))


def _softened(layer: Image.Image, radius: float) -> Plane:
    """Blurred by this many units of the board: so much that the board's own size is enough to do it in."""
    small = layer.resize((BOARD, BOARD), Image.Resampling.BOX) if layer.width > BOARD else layer
    soft = small.filter(ImageFilter.GaussianBlur(radius))
    return _plane(soft.resize(layer.size, Image.Resampling.BICUBIC) if small is not layer else soft)


def _shifted(plane: Plane, right: int, down: int) -> Plane:
    """Moved by so many pixels; the edges are drawn out to fill what is laid bare."""
    rows = np.clip(np.arange(plane.shape[0]) - down, 0, plane.shape[0] - 1)
    columns = np.clip(np.arange(plane.shape[1]) - right, 0, plane.shape[1] - 1)
    return plane[rows][:, columns]
