"""Shapes of clothes. Each draws itself on a canvas and says how it takes the light."""

from __future__ import annotations

from random import Random

import numpy as np

from .canvas import Canvas, Paint, Surface
from .geometry import arch, ellipse, rounded_rectangle, spline, symmetric
from .palettes import INK, mix
from .trims import Trim


def tshirt(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    length, droop = dice.uniform(0.8, 0.95), dice.uniform(0, 0.12)
    sleeve = [(0.2, -0.86), (0.42, -0.8), (0.62, -0.68), (1.0, -0.22 + droop), (0.74, -0.02 + droop)]
    side = [(0.56, -0.26), (0.55, 0.3), (0.57, length), (0.2, length + 0.03), (0, length + 0.03)]
    canvas.fill(symmetric([(0, -0.86), *sleeve, *side]))
    canvas.seam([(0.56, -0.26), (0.5, -0.72)], 0.02, 200)
    canvas.seam([(-0.56, -0.26), (-0.5, -0.72)], 0.02, 200)
    if dice.random() < 0.3:
        neck = np.array([(-0.22, -0.89), (-0.16, -0.72), (0, -0.5), (0.16, -0.72), (0.22, -0.89)])
    else:
        neck = spline([(-0.22, -0.89), (-0.16, -0.7), (0, -0.6), (0.16, -0.7), (0.22, -0.89)], closed=False)
    canvas.fill(np.concatenate([neck, [(0, -0.82)]]), mix(trim.main, INK, 0.5), 100)
    canvas.erase([(-0.24, -0.95), (0.24, -0.95), (0.2, -0.88), (0, -0.84), (-0.2, -0.88)])
    canvas.stroke(neck, 0.06, trim.accent, 160, covers=False)
    canvas.seam([(-0.57, length - 0.06), (0.57, length - 0.06)], 0.015, 205)
    return Surface(fold=0.12)


def dress(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    length, flare = dice.uniform(0.86, 0.98), dice.uniform(0.55, 0.75)
    if dice.random() < 0.5:
        for side in (-1, 1):
            canvas.stroke([(side * 0.17, -0.68), (side * 0.15, -0.96)], 0.05, "print", 140)
        top = [(0, -0.62), (0.14, -0.66), (0.2, -0.7), (0.28, -0.56), (0.26, -0.3), (0.22, -0.14)]
    else:
        top = [(0, -0.72), (0.1, -0.8), (0.16, -0.9), (0.3, -0.86), (0.46, -0.6), (0.34, -0.5)]
        top += [(0.27, -0.58), (0.26, -0.3), (0.22, -0.14)]
    hem = [
        (flare, length - 0.03),
        (flare * 0.66, length + 0.02),
        (flare * 0.33, length - 0.02),
        (0, length + 0.02),
    ]
    canvas.fill(symmetric([*top, (0.36, 0.2), (0.5, 0.55), *hem]))
    for x in (-0.55, -0.2, 0.2, 0.55):
        pleat = [(x * 0.34, -0.08), (x * 0.7, 0.4), (x * flare * 1.3, length - 0.06)]
        canvas.seam(spline(pleat, closed=False), 0.022, 188)
    canvas.fill([(-0.235, -0.2), (0.235, -0.2), (0.235, -0.1), (-0.235, -0.1)], trim.accent, 175)
    return Surface(fold=0.1)


def sneaker(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    top = dice.uniform(-0.1, 0.02) if dice.random() < 0.6 else -0.38
    back = [(-0.92, 0.28), (-0.95, -0.1 + top * 0.6), (-0.86, -0.42 + top), (-0.55, -0.36 + top)]
    instep = [(-0.38, -0.32 + top * 0.8), (-0.12, -0.2), (0.25, 0.02), (0.62, 0.1)]
    toe = [(0.92, 0.2), (1.0, 0.38), (0.9, 0.46), (-0.9, 0.46)]
    tongue = [(-0.6, -0.3 + top), (-0.42, -0.56 + top), (-0.22, -0.5 + top), (-0.1, -0.2), (-0.3, -0.1)]
    canvas.fill(spline(tongue), mix(trim.light, INK, 0.12), 120)
    canvas.fill(spline([*back, *instep, *toe]))
    canvas.fill(spline([(0.55, 0.46), (0.58, 0.14), (0.8, 0.14), (1.0, 0.3), (1.0, 0.46)]), trim.light, 165)
    heel = [(-0.93, 0.4), (-0.95, -0.05), (-0.8, -0.02), (-0.74, 0.4)]
    canvas.fill(spline(heel), trim.accent, 160)
    canvas.fill(rounded_rectangle(-1.0, 0.38, 1.06, 0.6, 0.1), trim.light, 185)
    canvas.seam([(-0.98, 0.53), (1.04, 0.53)], 0.025, 190)
    for number in range(4):
        x, y = -0.3 + number * 0.17, -0.26 + number * 0.085 + (top * 0.5 if number == 0 else 0)
        canvas.stroke([(x - 0.04, y + 0.16), (x + 0.13, y - 0.02)], 0.05, trim.lace, 175)
    canvas.seam(spline([(-0.45, 0.38), (-0.35, 0), (-0.05, 0)], closed=False), 0.02, 180)
    return Surface(ground=(0.58, 1), fold=0.04)


def cap(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    brim_paint: Paint = trim.accent if dice.random() < 0.45 else "print"
    brim = [(-0.56, 0.12), (-0.8, 0.2), (-1.02, 0.36), (-0.98, 0.46), (-0.6, 0.42)]
    brim += [(-0.1, 0.36), (0.3, 0.32), (0.2, 0.14), (-0.2, 0.06)]
    canvas.fill(spline(brim), brim_paint, 130)
    dome = arch(0.72, 0.78, 2.3) + np.array([0.12, 0.2])
    canvas.fill(np.concatenate([dome, [(0.84, 0.26), (0.5, 0.33), (0.12, 0.3), (-0.3, 0.22)]]), "print", 160)
    panels = (
        ((0, -0.2), (-0.02, 0.24), 175),
        ((0.45, -0.35), (0.56, 0.28), 185),
        ((-0.3, -0.38), (-0.42, 0.16), 185),
    )
    for middle, end, shade in panels:
        canvas.seam(spline([(0.12, -0.57), middle, end], closed=False), 0.02, shade)
    canvas.seam(spline([(-0.58, 0.14), (-0.2, 0.2), (0.3, 0.26), (0.84, 0.22)], closed=False), 0.03, 165)
    canvas.fill(ellipse(0.12, -0.58, 0.08, 0.045), trim.accent, 190)
    for x, y in ((-0.18, -0.3), (0.32, -0.32)):
        canvas.fill(ellipse(x, y, 0.03, 0.03, points=16), mix(trim.main, INK, 0.5), 0)
    return Surface(puff=0.6)


def socks(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    top = dice.uniform(0.9, 1.0)
    leg = [(-0.28, -top), (0.16, -top), (0.17, -0.2), (0.2, 0.2), (0.42, 0.4), (0.68, 0.56)]
    foot = [(0.72, 0.78), (0.5, 0.88), (0.1, 0.8), (-0.22, 0.6), (-0.33, 0.36), (-0.29, -0.1)]
    toe = [(0.46, 0.43), (0.68, 0.56), (0.72, 0.78), (0.5, 0.88), (0.38, 0.84), (0.36, 0.6)]
    heel = [(-0.3, 0.2), (-0.1, 0.4), (-0.06, 0.66), (-0.22, 0.6), (-0.33, 0.36)]
    for x, y, height in ((0.2, -0.06, 150), (-0.22, 0.04, 175)):
        place = np.array([x, y])
        canvas.fill(spline([*leg, *foot]) + place, "print", height)
        canvas.fill(spline(toe) + place, trim.accent, height)
        canvas.fill(spline(heel) + place, trim.accent, height)
        cuff = rounded_rectangle(-0.3, -top - 0.02, 0.18, -top + 0.2, 0.03)
        canvas.fill(cuff + place, trim.accent, height + 15)
        for rib in np.linspace(-0.25, 0.13, 7):
            canvas.seam(np.array([(rib, -top), (rib, -top + 0.18)]) + place, 0.012, 205)
    return Surface(fold=0.06)
