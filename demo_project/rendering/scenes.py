"""Pictures to search with: animals, skies, walls and cloths that show a pattern, but no product."""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from .animals import animal_body, animal_face
from .canvas import BOARD, Canvas, Pose, Surface
from .geometry import ellipse, rounded_rectangle, spline
from .noise import Plane, soft_noise
from .palettes import ANIMALS, COLOURS, NATURAL, PAPER, Colour, dyed, mix, palette
from .products import SHOP_VARIANTS
from .studio import background_of, channels, coordinates, developed, image_of, photographed, tinted
from .textures import painted, sampled

_MIDDLE = (BOARD / 2, BOARD / 2)
_FLOWERS = ["red", "yellow", "pink", "white", "purple", "orange", "blue"]


def reference_picture(
    pattern: str,
    colour: str,
    *,
    seed: int,
    scene: str = "",
    size: int = 480,
    variants: range = SHOP_VARIANTS,
    grain: float = 3,
) -> Image.Image:
    """A photograph of something with this pattern: RGB, ``size`` pixels square, the same for the same arguments.

    ``scene`` is one of SCENES, "face", "body" (of animals) or "meadow" (of flowers); "" leaves it to the seed.
    """
    dice = Random(f"i{pattern}{colour}{seed}")
    variant = dice.randrange(variants.start, variants.stop)
    scene = scene or dice.choice(scenes_of(pattern, colour))
    if scene == "face":
        picture = animal_face(dice, pattern, colour, variant, size)
    elif scene == "body":
        picture = animal_body(dice, pattern, colour, variant, size)
    elif scene == "meadow":
        picture = meadow(dice, colour, size)
    else:
        picture = SCENES[scene](dice, _cloth(dice, pattern, colour, variant, size))
    return developed(dice, picture, grain=grain)


def scenes_of(pattern: str, colour: str) -> list[str]:
    """The scenes in which the pattern is seen, more often those that come naturally."""
    anything = ["drape", "swatch", "gift", "room", "full"]
    if pattern in ANIMALS:
        if colour == NATURAL[pattern]:
            return ["face", "body", "pelt", "face", "body", "pelt", "drape", "swatch"]
        return ["pelt", "body", *anything]
    if pattern == "floral":
        return [*["meadow"] * 5, *anything]
    if pattern == "galaxy":
        return ["night", "night", "night", "full", "full", "drape"]
    if pattern in ("marble", "brick"):
        return ["full", "full", "full", "full", "room", "slab", "slab"]
    return [*["full"] * 3, *anything] if pattern == "leaves" else anything


def _cloth(dice: Random, pattern: str, colour: str, variant: int, size: int) -> Image.Image:
    dyes = palette(dice, pattern, colour)
    scale = dice.uniform(0.75, 1.5)
    angle = 0 if pattern == "brick" else dice.uniform(-0.6, 0.6)
    offset = (dice.uniform(-60, 60), dice.uniform(-60, 60))
    return painted(sampled(pattern, variant, size, scale=scale, angle=angle, offset=offset), dyes)


def full(dice: Random, cloth: Image.Image) -> Plane:
    return channels(cloth) * (1 + 0.04 * soft_noise(dice, cloth.width))


def pelt(dice: Random, cloth: Image.Image) -> Plane:
    noise = soft_noise(dice, cloth.width)
    return channels(cloth) * (1 + 0.08 * noise + 0.05 * np.roll(noise, 7, 1)[:, ::-1])


def drape(dice: Random, cloth: Image.Image) -> Plane:
    size = cloth.width
    noise = soft_noise(dice, size)
    x, y = coordinates(size)
    direction = dice.uniform(0, 3.14)
    cosine, sine = math.cos(direction), math.sin(direction)
    phase = (x * cosine + y * sine) * dice.uniform(10, 22) + noise * 1.1
    shift = 2.5 * size / BOARD * np.cos(phase)
    columns = np.clip(x * size + shift * cosine, 0, size - 1).astype(int)
    rows = np.clip(y * size + shift * sine, 0, size - 1).astype(int)
    folded = Image.fromarray(np.asarray(cloth)[rows, columns])
    folded = folded.filter(ImageFilter.GaussianBlur(0.8 * size / BOARD))
    return channels(folded) * (1 + 0.17 * np.sin(phase) + 0.06 * noise)


def swatch(dice: Random, cloth: Image.Image) -> Plane:
    turn = dice.uniform(-0.4, 0.4)
    canvas = Canvas(cloth.width, Pose.turned(turn, dice.uniform(50, 62), _MIDDLE))
    along, zigzag = np.linspace(-0.95, 0.95, 15), 0.04 * (np.arange(15) % 2)
    top, right = np.stack([along, zigzag - 0.95], 1), np.stack([0.95 - zigzag, along], 1)
    canvas.fill(np.concatenate([top, right, -top, -right]))
    behind = background_of(dice, dice.choice(["studio", "tint", "wood"]), cloth.width)
    return photographed(dice, canvas, Surface(fold=0.1), cloth, behind)


def gift(dice: Random, cloth: Image.Image) -> Plane:
    canvas = Canvas(cloth.width, Pose.turned(0, dice.uniform(50, 60), (BOARD / 2, BOARD / 2 + 6)))
    width, height = dice.uniform(0.75, 0.95), dice.uniform(0.6, 0.85)
    ribbon = dyed(dice, dice.choice(list(COLOURS.values())))
    canvas.fill(rounded_rectangle(-width, -height, width, height, 0.03))
    canvas.stroke([(0, -height), (0, height)], 0.16, ribbon, 170)
    canvas.stroke([(-width, 0), (width, 0)], 0.16, ribbon, 170)
    for side in (-1, 1):
        bow = [(0, -height), (side * 0.34, -height - 0.34), (side * 0.5, -height - 0.14)]
        canvas.fill(spline([*bow, (side * 0.2, -height + 0.02)]), ribbon, 190)
    behind = background_of(dice, dice.choice(["studio", "tint", "wood", "room"]), cloth.width)
    return photographed(dice, canvas, Surface(ground=(height, width)), cloth, behind)


def room(dice: Random, cloth: Image.Image) -> Plane:
    """The cloth is the wallpaper."""
    size = cloth.width
    _, y = coordinates(size)
    horizon = dice.uniform(0.66, 0.8)
    floors: list[Colour] = [(186, 150, 112), (140, 104, 76), (206, 198, 188)]
    floor = tinted(dice.choice(floors), 0.9 + 0.3 * (y - horizon), size)
    scene = np.where(y > horizon, floor, channels(cloth) * 0.97)
    scene = np.where((y > horizon - 0.03) & (y < horizon), np.float32(238), scene)
    if dice.random() >= 0.7:
        return scene
    scale = dice.uniform(34, 46)
    canvas = Canvas(size, Pose.turned(0, scale, (BOARD / 2 + dice.uniform(-30, 30), BOARD * horizon - 4)))
    paint = dyed(dice, dice.choice(list(COLOURS.values())))
    if dice.random() < 0.5:  # a sofa
        canvas.fill(rounded_rectangle(-0.9, -0.6, 0.9, 0.5, 0.2), paint, 130)
        canvas.fill(rounded_rectangle(-0.8, -0.05, 0.8, 0.4, 0.1), mix(paint, PAPER, 0.12), 170)
        canvas.fill(rounded_rectangle(-1.05, -0.25, -0.75, 0.5, 0.12), paint, 180)
        canvas.fill(rounded_rectangle(0.75, -0.25, 1.05, 0.5, 0.12), paint, 180)
    else:  # a chest with a vase
        canvas.fill(rounded_rectangle(-0.8, -0.3, 0.8, 0.5, 0.03), (150, 110, 76))
        canvas.seam([(-0.8, 0.1), (0.8, 0.1)], 0.03, 120)
        canvas.fill(ellipse(-0.4, -0.5, 0.16, 0.22), paint, 160)
    return photographed(dice, canvas, Surface(ground=(0.5, 0.9)), cloth, scene)


def slab(dice: Random, cloth: Image.Image) -> Plane:
    canvas = Canvas(cloth.width, Pose.turned(0, 60, _MIDDLE))
    slant = dice.uniform(0, 0.25)
    canvas.fill([(-1 + slant, -0.8), (1 - slant * 0.3, -0.85), (1.02, 0.85), (-1.05, 0.8)])
    canvas.fill([(-1.05, 0.8), (1.02, 0.85), (1.02, 0.95), (-1.05, 0.9)], (110, 108, 106), 120)
    behind = background_of(dice, dice.choice(["studio", "tint", "room"]), cloth.width)
    return photographed(dice, canvas, Surface(gloss=0.3), cloth, behind)


def night(dice: Random, cloth: Image.Image) -> Plane:
    """The cloth is the sky, over dark hills."""
    canvas = Canvas(cloth.width, Pose.turned(0, 1, (0, 0)))
    x = np.linspace(-5, BOARD + 5, 24)
    hills = BOARD * dice.uniform(0.74, 0.9) + np.cumsum([dice.uniform(-9, 9) for _ in x])
    below = [(BOARD + 5, BOARD + 5), (-5, BOARD + 5)]
    canvas.fill(np.concatenate([np.stack([x, hills], 1), below]), (12, 12, 22))
    return photographed(dice, canvas, Surface(), cloth, channels(cloth), shadow=False)


def meadow(dice: Random, colour: str, size: int) -> Plane:
    """Flowers of this colour, and some others."""
    _, y = coordinates(size)
    horizon = dice.choice([0, 0.2, 0.35])
    grass = tinted(dyed(dice, (86, 150, 66)), 0.75 + 0.4 * y + 0.1 * soft_noise(dice, size), size)
    scene = np.where(y > horizon, grass, tinted((170, 206, 240), 1, size))
    image = image_of(scene).resize((size * 2, size * 2))
    draw = ImageDraw.Draw(image)
    unit, edge = size / BOARD, 2 * size
    named = [] if colour == "green" else [colour]
    names = named + dice.sample(_FLOWERS, dice.choice([0, 1, 2]) if named else 2)
    for depth in sorted(dice.uniform(horizon + 0.04, 1.05) for _ in range(dice.randint(26, 60))):
        radius = (3 + 15 * (depth - horizon) / (1 - horizon + 0.01)) * dice.uniform(0.8, 1.3) * unit
        x, top = dice.uniform(0, 1) * edge, depth * edge
        red, green, blue = (int(part) for part in dyed(dice, COLOURS[dice.choice(names)], 14))
        stalk = [(x, top), (x + dice.uniform(-4, 4) * unit, top + radius * 2.4)]
        draw.line(stalk, fill=(54, 110, 44), width=max(1, int(radius * 0.14)))
        petals, start = dice.choice([5, 6, 8]), dice.uniform(0, 6)
        for number in range(petals):
            turn = start + number * 2 * math.pi / petals
            centre = (x + math.cos(turn) * radius * 0.6, top + math.sin(turn) * radius * 0.5)
            petal = ellipse(*centre, radius * 0.5, radius * 0.3, turn, points=24)
            draw.polygon([(px, py) for px, py in petal.tolist()], fill=(red, green, blue))
        heart = (236, 190, 50) if red < 230 or blue > 120 else (110, 70, 40)
        half = radius * 0.26
        draw.ellipse([x - half, top - half, x + half, top + half], fill=heart)
    return channels(image.reduce(2))


SCENES: dict[str, Callable[[Random, Image.Image], Plane]] = {
    "full": full,
    "pelt": pelt,
    "drape": drape,
    "swatch": swatch,
    "gift": gift,
    "room": room,
    "slab": slab,
    "night": night,
}
