"""Product photographs: a shape in a print, posed and lit."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

import numpy as np
from PIL import Image

from . import accessories, clothing, homeware
from .canvas import BOARD, Canvas, Pose, Surface
from .palettes import COLOURS, palette
from .studio import BACKGROUNDS, background, developed, photographed
from .textures import painted, sampled
from .trims import Trim

SHAPES: dict[str, Callable[[Canvas, Random, Trim], Surface]] = {
    "phone_case": accessories.phone_case,
    "mug": homeware.mug,
    "tshirt": clothing.tshirt,
    "tote": accessories.tote,
    "cushion": homeware.cushion,
    "sneaker": clothing.sneaker,
    "cap": clothing.cap,
    "notebook": accessories.notebook,
    "umbrella": accessories.umbrella,
    "backpack": accessories.backpack,
    "dress": clothing.dress,
    "plate": homeware.plate,
    "watch": accessories.watch,
    "socks": clothing.socks,
    "vase": homeware.vase,
    "lamp": homeware.lamp,
}
_DEGREES_OF_TURN = {
    "phone_case": 24,
    "notebook": 16,
    "plate": 30,
    "watch": 20,
    "cushion": 14,
    "socks": 16,
    "tshirt": 6,
    "dress": 5,
    "tote": 6,
    "umbrella": 14,
    "sneaker": 9,
    "cap": 10,
}
_PRINT_SCALE = {"watch": 0.8, "plate": 1.1, "umbrella": 1.15}


@dataclass(frozen=True, kw_only=True)
class Style:
    """How a photographer works."""

    backgrounds: Mapping[str, int]
    """Kinds of background, and how often each comes in a hundred pictures."""
    closeups: bool
    """Now and then a picture is cut off by its frame."""
    grain: float


SNAPSHOTS = Style(backgrounds=BACKGROUNDS, closeups=True, grain=3)
"""Anybody's pictures: what the bundled model was trained on."""
STUDIO = Style(
    backgrounds={"studio": 46, "tint": 24, "spot": 16, "room": 12, "wood": 2}, closeups=False, grain=1.2
)
"""A shop's pictures."""

TRAINING_VARIANTS = range(48, 144)
"""The textures that the bundled model has seen."""
SHOP_VARIANTS = range(32, 40)
"""Those that the demo's shop is printed with."""


def product_picture(
    category: str,
    pattern: str,
    colour: str,
    *,
    design: int,
    view: int = 0,
    size: int = 480,
    variants: range = SHOP_VARIANTS,
    style: Style = SNAPSHOTS,
) -> Image.Image:
    """The photograph of a product: RGB, ``size`` pixels square, the same for the same arguments.

    ``design`` is the product's own seed (print, dye, shape); ``view`` that of the photograph (pose, light,
    background): two views show one product.
    """
    dice = Random(f"d{category}{pattern}{colour}{design}")
    dyes = palette(dice, pattern, colour)
    variant = dice.randrange(variants.start, variants.stop)
    scale = dice.uniform(0.95, 1.5) * _PRINT_SCALE.get(category, 1.0)
    angle = _print_angle(dice, pattern)
    main = dyes[1] if pattern in ("cow", "giraffe", "brick") else COLOURS[colour]
    trim = Trim.drawn(dice, main)

    photographer = Random(f"v{design}/{view}")
    pose, turn, zoom = _pose(photographer, category, style)
    canvas = Canvas(size, pose)
    surface = SHAPES[category](canvas, dice, trim)
    masks = sampled(
        pattern,
        variant,
        size,
        scale=scale * 62 / zoom,
        angle=angle - turn,
        offset=(dice.uniform(-90, 90), dice.uniform(-90, 90)),
    )
    behind = background(photographer, size, style.backgrounds)
    picture = photographed(photographer, canvas, surface, painted(masks, dyes), behind)
    return developed(photographer, picture, grain=style.grain)


def _print_angle(dice: Random, pattern: str) -> float:
    if pattern in ("stripes", "zebra", "checkered", "plaid"):
        return dice.choice([0, 0, 0, math.pi / 2, math.pi / 4, -math.pi / 4])
    if pattern in ("chevron", "tiger"):
        return dice.choice([0, math.pi / 2])
    return 0 if pattern in ("brick", "hearts") else dice.uniform(-0.5, 0.5)


def _pose(dice: Random, category: str, style: Style) -> tuple[Pose, float, float]:
    """How the product lies before the camera; with it, the turn in radians and the zoom."""
    turn = math.radians(dice.uniform(-1, 1) * _DEGREES_OF_TURN.get(category, 4))
    mirrored = dice.random() < 0.5 and category != "notebook"
    zoom, aspect, shear = dice.uniform(54, 70), dice.uniform(0.94, 1.06), dice.uniform(-0.06, 0.06)
    if dice.random() < 0.12 and style.closeups:
        zoom *= 1.2
    elif not style.closeups:
        zoom *= 0.96
    upright = Pose.turned(turn, zoom, (0, 0)).matrix @ np.array([[aspect, shear], [0, 1 / aspect]])
    middle = BOARD / 2
    centre = (middle + dice.uniform(-7, 7), middle + dice.uniform(-7, 7))
    return Pose(upright @ np.diag([-1, 1]) if mirrored else upright, centre), turn, zoom
