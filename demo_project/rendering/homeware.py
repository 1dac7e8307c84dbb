"""Shapes of things for the home. Each draws itself on a canvas and says how it takes the light."""

from __future__ import annotations

import math
from random import Random

import numpy as np

from .canvas import Canvas, Paint, Surface
from .geometry import ellipse, spline, symmetric
from .palettes import INK, PAPER, Colour, mix
from .trims import Trim


def mug(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    width, height = dice.uniform(0.58, 0.68), dice.uniform(0.66, 0.78)
    handle: Paint = trim.light if dice.random() < 0.4 else "print"
    canvas.fill(ellipse(width + 0.06, 0.02, 0.36, 0.42), handle, 140)
    canvas.erase(ellipse(width + 0.04, 0.02, 0.22, 0.28))
    taper = dice.uniform(0, 0.1)
    x = np.linspace(-1, 1, 33)
    bottom = np.stack([x * (width - taper), height + 0.14 * np.sqrt(1 - x**2) - 0.02], 1)[::-1]
    canvas.fill(np.concatenate([[[-width, -height], [width, -height]], bottom]))
    canvas.fill(ellipse(0, -height, width, 0.17), trim.light, 170)
    canvas.fill(ellipse(0, -height, width - 0.06, 0.125), mix(trim.light, INK, 0.42), 120)
    return Surface(cylinder=width, ground=(height + 0.1, width), gloss=0.25)


def cushion(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    waist, edge = dice.uniform(0.1, 0.2), 0.88
    corners = [(-edge, -edge), (edge, -edge), (edge, edge), (-edge, edge)]
    middles = [(0, -edge + waist), (edge - waist, 0), (0, edge - waist), (-edge + waist, 0)]
    t = np.linspace(0, 1, 16, endpoint=False)[:, None]
    sides = []
    for number in range(4):
        start, end = np.array(corners[number]), np.array(corners[(number + 1) % 4])
        control = np.array(middles[number]) * 2 - (start + end) / 2
        sides.append((1 - t) ** 2 * start + 2 * t * (1 - t) * control + t**2 * end)
    outline = np.concatenate(sides)
    canvas.fill(outline)
    canvas.stroke(np.concatenate([outline, outline[:1]]), 0.05, trim.accent, 150)
    return Surface(puff=1, fold=0.08)


def plate(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    radius, kind = 0.95, dice.random()
    bordered = kind >= 0.75
    canvas.fill(ellipse(0, 0, radius, radius, points=96), trim.light if bordered else "print")
    if bordered:
        canvas.fill(ellipse(0, 0, radius * 0.9, radius * 0.9, points=96))
    if kind < 0.3:
        canvas.fill(ellipse(0, 0, radius * 0.5, radius * 0.5, points=72), trim.light)
    else:
        well = ellipse(0, 0, radius * 0.62, radius * 0.62, points=72)
        canvas.seam(np.concatenate([well, well[:1]]), 0.03, 205)
    rim = ellipse(0, 0, radius, radius, points=96)
    gold: Colour = (198, 170, 96)
    canvas.stroke(np.concatenate([rim, rim[:1]]), 0.035, trim.light if kind < 0.5 else gold, 150)
    return Surface(rim=True, gloss=0.4)


def vase(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    profiles = [
        [(0.2, -0.92), (0.16, -0.6), (0.3, -0.3), (0.54, 0.12), (0.5, 0.55), (0.3, 0.88)],
        [(0.3, -0.92), (0.2, -0.62), (0.46, -0.3), (0.56, 0.05), (0.44, 0.5), (0.28, 0.88)],
        [(0.24, -0.92), (0.28, -0.5), (0.36, 0), (0.46, 0.4), (0.46, 0.7), (0.34, 0.88)],
    ]
    profile = dice.choice(profiles)
    mouth, foot = profile[0][0], profile[-1][0]
    right = spline(profile, closed=False)
    bottom = [(foot * x, 0.88 + 0.06 * math.sqrt(1 - x * x)) for x in np.linspace(1, -1, 17)]
    left = (right * [-1, 1])[::-1]
    canvas.fill(np.concatenate([[(mouth, -0.92)], right, bottom, left, [(-mouth, -0.92)]]))
    lip = trim.light if dice.random() < 0.5 else mix(trim.main, PAPER, 0.3)
    canvas.fill(ellipse(0, -0.92, mouth + 0.03, 0.07), lip, 175)
    canvas.fill(ellipse(0, -0.92, mouth - 0.02, 0.045), (36, 32, 32), 100)
    return Surface(cylinder=0.56, ground=(0.9, 0.4), gloss=0.4, puff=0.4)


def lamp(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    metals: list[Colour] = [
        (196, 164, 92),
        (88, 60, 42),
        (180, 182, 188),
        (46, 46, 50),
        (236, 234, 228),
    ]
    metal = dice.choice(metals)
    top, bottom = dice.uniform(0.3, 0.5), dice.uniform(0.66, 0.76)
    if dice.random() < 0.5:
        canvas.stroke([(0, 0), (0, 0.85)], 0.08, metal, 160)
    else:
        body = [(0.06, 0.1), (0.1, 0.3), (0.24, 0.55), (0.14, 0.8), (0.1, 0.88)]
        canvas.fill(symmetric(spline(body, closed=False)), metal, 160)
    canvas.fill(ellipse(0, 0.9, 0.36, 0.08), metal, 170)
    x = np.linspace(1, -1, 33)
    hem = np.stack([x * bottom, 0.14 + 0.07 * np.sqrt(1 - x**2)], 1)
    canvas.fill(np.concatenate([[(-top, -0.92), (top, -0.92)], hem]))
    canvas.stroke([(-top, -0.92), (top, -0.92)], 0.04, trim.accent, 170)
    canvas.stroke(hem, 0.04, trim.accent, 170)
    return Surface(cylinder=bottom, ground=(0.92, 0.36))
