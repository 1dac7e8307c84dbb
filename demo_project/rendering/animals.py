"""Animals: their faces and their bodies, in the coat of a texture."""

from __future__ import annotations

import math
from random import Random

import numpy as np
from PIL import ImageFilter

from .canvas import BOARD, Canvas, Paint, Pose, Surface
from .geometry import ellipse, spline
from .noise import Plane, soft_noise
from .palettes import INK, PAPER, Colour, Palette, mix, palette
from .studio import channels, coordinates, image_of, photographed, tinted
from .textures import painted, sampled

_CREAM: Colour = (244, 236, 222)
_BLACK: Colour = (20, 16, 16)
_WHITE: Colour = (250, 250, 250)


def animal_face(dice: Random, pattern: str, colour: str, variant: int, size: int) -> Plane:
    """The animal looks into the camera."""
    coat = palette(dice, pattern, colour)
    scale, turn = dice.uniform(50, 64), math.radians(dice.uniform(-10, 10))
    centre = (BOARD / 2 + dice.uniform(-8, 8), BOARD / 2 + dice.uniform(-6, 6))
    canvas = Canvas(size, Pose.turned(turn, scale, centre))
    if pattern in ("leopard", "tiger"):
        _cat_face(canvas, "print" if pattern == "leopard" else coat[0])
    elif pattern == "zebra":
        _zebra_face(canvas)
    elif pattern == "cow":
        _cow_face(canvas, coat)
    else:
        _giraffe_face(canvas, coat)
    fur = sampled(pattern, variant, size, scale=dice.uniform(0.8, 1.2), angle=turn, offset=_somewhere(dice))
    behind = savanna(dice, size)
    return photographed(dice, canvas, Surface(puff=0.7, fold=0.05), painted(fur, coat), behind)


def animal_body(dice: Random, pattern: str, colour: str, variant: int, size: int) -> Plane:
    """The animal stands, seen from its side."""
    coat = palette(dice, pattern, colour)
    giraffe, feline = pattern == "giraffe", pattern in ("leopard", "tiger")
    scale, turn = dice.uniform(54, 66) * (0.86 if giraffe else 1), math.radians(dice.uniform(-5, 5))
    mirrored = dice.random() < 0.5
    centre = (BOARD / 2 + dice.uniform(-8, 8), BOARD / 2 + dice.uniform(-2, 8) + (10 if giraffe else 0))
    canvas = Canvas(size, Pose.turned(turn, scale, centre, mirrored=mirrored))
    legs = 0.74 if feline else 0.85
    far: Paint = mix(mix(coat[0], INK, 0.25), INK, 0.15) if feline or pattern == "cow" else "print"
    for x in (-0.5, 0.42):
        canvas.stroke([(x, 0.2), (x + dice.uniform(-0.1, 0.1), legs)], 0.15, far, 110)
    tail = [(-0.74, -0.1), (-0.98, 0.1), (-1.0, 0.4), (-1.08, 0.2 if feline else 0.55)]
    canvas.stroke(spline(tail, closed=False), 0.08, "print", 110)
    back = [(-0.8, -0.12), (-0.5, -0.34), (0, -0.32), (0.5, -0.34), (0.7, -0.1)]
    canvas.fill(spline([*back, (0.6, 0.24), (0, 0.34), (-0.55, 0.28), (-0.76, 0.1)]))
    for x in (-0.64, 0.54):
        canvas.stroke([(x, 0.1), (x + dice.uniform(-0.06, 0.12), legs)], 0.19, "print", 160)
    if feline:
        canvas.stroke([(0.5, -0.14), (0.75, -0.3)], 0.3, "print", 155)
        _cat_head(canvas, 0.86, -0.34)
    elif giraffe:
        canvas.stroke([(0.4, -0.2), (0.62, -0.9), (0.78, -1.3)], 0.22, "print", 155)
        _hoofed_head(canvas, 0.92, -1.3, (220, 170, 160))
    else:
        canvas.stroke([(0.46, -0.14), (0.78, -0.55)], 0.3, "print", 155)
        _hoofed_head(canvas, 0.88, -0.6, (40, 34, 32) if pattern == "zebra" else (220, 170, 160))
        if pattern == "zebra":
            canvas.stroke([(0.5, -0.42), (0.74, -0.78)], 0.1, (40, 34, 32), 140)
    fur = sampled(pattern, variant, size, scale=dice.uniform(1.1, 1.6), angle=turn, offset=_somewhere(dice))
    behind = savanna(dice, size)
    return photographed(dice, canvas, Surface(puff=0.7, ground=(legs, 0.9)), painted(fur, coat), behind)


def savanna(dice: Random, size: int) -> Plane:
    """Grass under a sky, out of focus."""
    _, y = coordinates(size)
    horizon = dice.uniform(0.45, 0.65)
    skies: list[Colour] = [(176, 208, 236), (240, 214, 170), (206, 222, 230)]
    grasses: list[Colour] = [(196, 174, 104), (126, 158, 84), (104, 134, 70), (170, 150, 100)]
    sky, grass = dice.choice(skies), dice.choice(grasses)
    ground = tinted(grass, 0.9 + 0.25 * (y - horizon) + 0.05 * soft_noise(dice, size), size)
    scene = np.where(y > horizon, ground, tinted(sky, 1 + 0.08 * (y - horizon), size))
    return channels(image_of(scene).filter(ImageFilter.GaussianBlur(2 * size / BOARD)))


def _somewhere(dice: Random) -> tuple[float, float]:
    return dice.uniform(-60, 60), dice.uniform(-60, 60)


def _cat_face(canvas: Canvas, ears: Paint) -> None:
    canvas.fill(spline([(-0.5, 0.5), (-0.9, 1.6), (0.9, 1.6), (0.5, 0.5)]), "print", 120)
    for side in (-1, 1):
        canvas.fill(ellipse(side * 0.68, -0.68, 0.28, 0.28), ears, 130)
        canvas.fill(ellipse(side * 0.68, -0.66, 0.16, 0.17), (50, 38, 34), 120)
    right = [(0.55, -0.72), (0.86, -0.2), (0.84, 0.25), (0.5, 0.72)]
    left = [(-0.5, 0.72), (-0.84, 0.25), (-0.86, -0.2), (-0.55, -0.72)]
    canvas.fill(spline([(0, -0.86), *right, (0, 0.9), *left]))
    muzzle = [(-0.42, 0.45), (-0.2, 0.2), (0.2, 0.2), (0.42, 0.45), (0.3, 0.8), (0, 0.9), (-0.3, 0.8)]
    canvas.fill(spline(muzzle), _CREAM, 165)
    for side in (-1, 1):
        x = side * 0.38
        canvas.fill(ellipse(x, -0.16, 0.21, 0.16, side * 0.2), _CREAM, 155)
        canvas.fill(ellipse(x, -0.14, 0.16, 0.125, side * 0.25), (30, 24, 20), 150)
        canvas.fill(ellipse(x, -0.14, 0.125, 0.105), (206, 166, 62), 150)
        canvas.fill(ellipse(x, -0.14, 0.05, 0.09), (16, 14, 14), 0)
        canvas.fill(ellipse(x - 0.04, -0.18, 0.025, 0.025), (255, 255, 255), 0)
        for y in (0.45, 0.54, 0.63):
            canvas.stroke(
                [(side * 0.2, y), (side * 0.85, y - 0.12 + 0.2 * (y - 0.5))], 0.012, (250, 248, 244)
            )
    nose = [(-0.16, 0.28), (0.16, 0.28), (0.06, 0.42), (0, 0.46), (-0.06, 0.42)]
    canvas.fill(nose, (214, 140, 140), 180)
    canvas.seam([(0, 0.46), (0, 0.6)], 0.03, 60)
    mouth = [(-0.22, 0.66), (-0.1, 0.68), (0, 0.6), (0.1, 0.68), (0.22, 0.66)]
    canvas.seam(spline(mouth, closed=False), 0.03, 70)


def _zebra_face(canvas: Canvas) -> None:
    canvas.fill(spline([(-0.36, 0.3), (-0.8, 1.7), (0.8, 1.7), (0.36, 0.3)]), "print", 120)
    for side in (-1, 1):
        ear = [(side * 0.3, -0.7), (side * 0.62, -1.1), (side * 0.66, -0.72), (side * 0.46, -0.5)]
        canvas.fill(spline(ear), "print", 140)
    canvas.stroke([(0, -0.95), (0, -0.4)], 0.22, (34, 30, 30), 130)
    right = [(0.4, -0.68), (0.46, -0.2), (0.34, 0.35), (0.3, 0.8)]
    left = [(-0.3, 0.8), (-0.34, 0.35), (-0.46, -0.2), (-0.4, -0.68)]
    canvas.fill(spline([(0, -0.85), *right, (0, 0.98), *left]))
    muzzle = [(-0.32, 0.6), (0, 0.5), (0.32, 0.6), (0.28, 0.86), (0, 1.0), (-0.28, 0.86)]
    canvas.fill(spline(muzzle), (48, 44, 46), 165)
    for side in (-1, 1):
        canvas.fill(ellipse(side * 0.36, -0.2, 0.1, 0.12), _BLACK, 150)
        canvas.fill(ellipse(side * 0.36 - 0.03, -0.24, 0.03, 0.03), _WHITE, 0)
        canvas.fill(ellipse(side * 0.14, 0.76, 0.05, 0.07), (14, 12, 12), 0)


def _cow_face(canvas: Canvas, coat: Palette) -> None:
    for side in (-1, 1):
        ear = [(side * 0.4, -0.42), (side * 1.0, -0.5), (side * 0.95, -0.24), (side * 0.45, -0.2)]
        canvas.fill(spline(ear), coat[1] if side < 0 else coat[0], 130)
        horn = [(side * 0.24, -0.66), (side * 0.42, -1.05), (side * 0.46, -0.66)]
        canvas.fill(spline(horn), (206, 196, 170), 130)
    right = [(0.42, -0.64), (0.52, -0.2), (0.4, 0.3), (0.42, 0.72)]
    left = [(-0.42, 0.72), (-0.4, 0.3), (-0.52, -0.2), (-0.42, -0.64)]
    canvas.fill(spline([(0, -0.76), *right, (0, 0.92), *left]))
    muzzle = [(-0.42, 0.5), (0, 0.4), (0.42, 0.5), (0.44, 0.74), (0, 0.94), (-0.44, 0.74)]
    canvas.fill(spline(muzzle), (228, 170, 164), 170)
    for side in (-1, 1):
        canvas.fill(ellipse(side * 0.36, -0.14, 0.09, 0.11), _BLACK, 150)
        canvas.fill(ellipse(side * 0.33, -0.18, 0.03, 0.03), _WHITE, 0)
        canvas.fill(ellipse(side * 0.18, 0.66, 0.06, 0.045), (120, 70, 70), 0)


def _giraffe_face(canvas: Canvas, coat: Palette) -> None:
    canvas.fill(spline([(-0.26, -0.1), (-0.5, 1.8), (0.5, 1.8), (0.26, -0.1)]), "print", 120)
    for side in (-1, 1):
        canvas.stroke([(side * 0.14, -0.7), (side * 0.2, -1.02)], 0.09, coat[1], 130)
        canvas.fill(ellipse(side * 0.2, -1.04, 0.08, 0.07), (60, 40, 30), 140)
        ear = [(side * 0.3, -0.62), (side * 0.74, -0.74), (side * 0.6, -0.5), (side * 0.34, -0.46)]
        canvas.fill(spline(ear), coat[0], 130)
    right = [(0.34, -0.64), (0.36, -0.3), (0.2, 0.1), (0.22, 0.34)]
    left = [(-0.22, 0.34), (-0.2, 0.1), (-0.36, -0.3), (-0.34, -0.64)]
    canvas.fill(spline([(0, -0.78), *right, (0, 0.46), *left]))
    muzzle = [(-0.22, 0.14), (0, 0.08), (0.22, 0.14), (0.22, 0.36), (0, 0.48), (-0.22, 0.36)]
    canvas.fill(spline(muzzle), mix(coat[0], PAPER, 0.3), 165)
    for side in (-1, 1):
        canvas.fill(ellipse(side * 0.3, -0.36, 0.08, 0.1), _BLACK, 150)
        canvas.fill(ellipse(side * 0.08, 0.22, 0.03, 0.04), (90, 60, 50), 0)


def _cat_head(canvas: Canvas, x: float, y: float) -> None:
    for aside in (-0.12, 0.12):
        canvas.fill(ellipse(x + aside, y - 0.22, 0.09, 0.09))
    canvas.fill(ellipse(x, y, 0.27, 0.25), "print", 165)
    canvas.fill(ellipse(x + 0.12, y + 0.1, 0.14, 0.1), (240, 230, 214), 170)
    canvas.fill(ellipse(x + 0.18, y + 0.05, 0.045, 0.035), (60, 36, 34), 0)
    canvas.fill(ellipse(x + 0.06, y - 0.06, 0.04, 0.04), (20, 18, 16), 0)


def _hoofed_head(canvas: Canvas, x: float, y: float, nose: Colour) -> None:
    for aside in (-0.08, 0.02):
        tip = x + aside
        canvas.fill(spline([(tip - 0.06, y - 0.1), (tip - 0.08, y - 0.32), (tip + 0.06, y - 0.12)]))
    crown, jaw = [(-0.18, -0.12), (0.06, -0.16), (0.32, 0.1)], [(0.28, 0.22), (-0.08, 0.14)]
    canvas.fill(spline(np.array([*crown, *jaw]) + np.array([x, y])), "print", 165)
    canvas.fill(ellipse(x + 0.27, y + 0.14, 0.1, 0.08, 0.5), nose, 170)
    canvas.fill(ellipse(x + 0.04, y - 0.04, 0.035, 0.035), (16, 14, 14), 0)
