"""Shapes of things that are carried. Each draws itself on a canvas and says how it takes the light."""

from __future__ import annotations

import math
from random import Random

import numpy as np

from .canvas import Canvas, Paint, Surface
from .geometry import arch, ellipse, rounded_rectangle, spline
from .palettes import INK, PAPER, Colour, mix
from .trims import Trim


def phone_case(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    width = dice.uniform(0.46, 0.54)
    canvas.fill(rounded_rectangle(-width - 0.03, -1, width + 0.03, 1, 0.2), mix(trim.main, INK, 0.45), 120)
    canvas.fill(rounded_rectangle(-width, -0.97, width, 0.97, 0.17))
    cameras = [
        (0.52, -0.44, 0.12, [(0.19, -0.78), (0.4, -0.78), (0.295, -0.56)]),
        (0.3, -0.3, 0.11, [(0.185, -0.77), (0.185, -0.6), (0.185, -0.43)]),
        (0.52, -0.66, 0.11, [(0.2, -0.78), (0.4, -0.78)]),
    ]
    right, bottom, corner, lenses = dice.choice(cameras)
    canvas.fill(rounded_rectangle(-width + 0.07, -0.9, -width + right, bottom, corner), (44, 44, 48), 190)
    for across, y in lenses:
        x = -width + across
        canvas.fill(ellipse(x, y, 0.085, 0.085), (90, 92, 98), 0)
        canvas.fill(ellipse(x, y, 0.062, 0.062), (14, 14, 22), 0)
        canvas.fill(ellipse(x - 0.02, y - 0.02, 0.02, 0.02, points=16), (150, 170, 210), 0)
    canvas.stroke([(width + 0.035, -0.4), (width + 0.035, -0.1)], 0.045, mix(trim.main, INK, 0.6))
    return Surface(gloss=0.5)


def tote(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    slant = dice.uniform(0, 0.1)
    handle: Paint = trim.accent if dice.random() < 0.6 else "print"
    reach = dice.uniform(0.85, 1.0)
    shadowed = mix(trim.main, INK, 0.35)
    for paint, drop in ((shadowed, 0.06), (handle, 0.0)):
        loop = [(-0.34, -0.2), (-0.32, -0.62 + drop), (-0.2, -reach + drop)]
        loop += [(-x, y) for x, y in reversed(loop)]
        canvas.stroke(spline(loop, closed=False), 0.09, paint, 130)
    left = [(-0.62 - slant, -0.3), (-0.6, 0.3), (-0.66 + slant, 0.93), (-0.6, 0.96)]
    right = [(0.6, 0.96), (0.66 - slant, 0.93), (0.6, 0.3), (0.62 + slant, -0.3)]
    canvas.fill(spline([*left, (0, 0.98), *right, (0, -0.28)]))
    canvas.seam([(-0.62, -0.2), (0.62, -0.2)], 0.018, 190)
    patch = mix(trim.main, INK, 0.3) if handle == "print" else trim.accent
    for x in (-0.34, 0.34):
        canvas.fill(rounded_rectangle(x - 0.06, -0.3, x + 0.06, -0.08, 0.02), patch, 170)
    return Surface(fold=0.13)


def notebook(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    width, height = dice.uniform(0.6, 0.7), dice.uniform(0.84, 0.95)
    pages = rounded_rectangle(-width + 0.06, -height + 0.06, width + 0.06, height + 0.06, 0.05)
    canvas.fill(pages, mix(PAPER, INK, 0.12), 110)
    for number in range(2):
        x = width + 0.01 + 0.02 * number
        canvas.seam([(x, -height + 0.08), (x, height + 0.03)], 0.008, 200)
    canvas.fill(rounded_rectangle(-width, -height, width, height, 0.06))
    if dice.random() < 0.6:
        for y in np.linspace(-height + 0.1, height - 0.1, dice.choice([9, 11, 13])):
            canvas.fill(ellipse(-width + 0.1, y, 0.03, 0.022, points=16), (40, 38, 40), 0)
            ring = [(-width - 0.06, y - 0.02), (-width + 0.1, y)]
            canvas.stroke(ring, 0.028, (176, 178, 184), 190)
    else:
        canvas.stroke([(width - 0.16, -height), (width - 0.16, height)], 0.05, trim.accent, 170)
        canvas.seam([(-width + 0.12, -height), (-width + 0.12, height)], 0.03, 170)
    if dice.random() < 0.35:
        canvas.fill(rounded_rectangle(-0.28, -0.5, 0.32, -0.2, 0.03), PAPER, 160)
        canvas.seam([(-0.18, -0.38), (0.22, -0.38)], 0.02, 150)
        canvas.seam([(-0.18, -0.3), (0.1, -0.3)], 0.02, 170)
    return Surface()


def umbrella(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    panels, radius, hem = dice.choice([4, 5, 6]), 0.98, 0.05
    pole: Colour = (96, 70, 48) if dice.random() < 0.6 else (50, 50, 54)
    canvas.stroke([(0, -0.4), (0, 0.78)], 0.045, pole, 150)
    crook = [(0, 0.72), (0, 0.9), (0.1, 0.98), (0.22, 0.92), (0.24, 0.8)]
    canvas.stroke(spline(crook, closed=False), 0.07, (96, 66, 42), 170)
    canvas.stroke([(0, -0.95), (0, -0.78)], 0.045, (70, 70, 74), 150)
    tips = np.cos(np.linspace(np.pi, 0, panels + 1)) * radius
    scallops = []
    for number in range(panels, 0, -1):
        t = np.linspace(0, 1, 12, endpoint=False)
        step = tips[number - 1] - tips[number]
        scallops.append(
            np.stack([tips[number] + step * t, hem - 0.09 * np.sin(np.pi * t) * abs(step) / 0.4], 1)
        )
    canvas.fill(np.concatenate([arch(radius, 0.86, 2.1) + np.array([0, hem]), *scallops]))
    for tip in tips[1:-1]:
        rib = [(0, -0.81), (tip * 0.62, -0.5), (tip * 0.93, -0.2), (tip, hem)]
        canvas.seam(spline(rib, closed=False), 0.022, 165)
    return Surface(puff=0.8, cylinder=1.05)


def backpack(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    brass: Colour = (196, 186, 150)
    loop = [(-0.16, -0.8), (-0.14, -1), (0.14, -1), (0.16, -0.8)]
    canvas.stroke(spline(loop, closed=False), 0.07, trim.accent, 120)
    for side in (-1, 1):
        strap = [(side * 0.5, -0.6), (side * 0.74, -0.2), (side * 0.7, 0.4), (side * 0.6, 0.7)]
        canvas.stroke(spline(strap, closed=False), 0.1, mix(trim.accent, INK, 0.3), 110)
        left, right = sorted((side * 0.56, side * 0.72))
        pouch: Paint = "print" if dice.random() < 0.5 else trim.accent
        canvas.fill(rounded_rectangle(left, 0.25, right, 0.8, 0.06), pouch, 125)
    half = [(0.3, -0.86), (0.54, -0.62), (0.62, -0.1), (0.6, 0.9), (0.3, 0.95)]
    canvas.fill(spline([(-x, y) for x, y in half[3::-1]] + half + [(-0.3, 0.95)]))
    zip_ = [(0.26, -0.74), (0.5, -0.55), (0.56, 0)]
    canvas.seam(spline([(-x, y) for x, y in reversed(zip_)] + zip_, closed=False), 0.035, 110)
    pocket: Paint = "print" if dice.random() < 0.75 else trim.accent
    canvas.fill(rounded_rectangle(-0.42, 0.16, 0.42, 0.82, 0.12), pocket, 195)
    canvas.seam([(-0.36, 0.3), (0.36, 0.3)], 0.035, 110)
    canvas.fill(rounded_rectangle(0.2, 0.27, 0.25, 0.42, 0.02), brass, 210)
    canvas.fill(rounded_rectangle(-0.05, -0.72, 0, -0.58, 0.02), brass, 210)
    return Surface(puff=0.5, fold=0.05, ground=(0.92, 0.55))


def watch(canvas: Canvas, dice: Random, trim: Trim) -> Surface:
    width, waist = dice.uniform(0.24, 0.3), 0.84
    end = width * waist
    canvas.fill([(-width, -0.2), (-end, -1.02), (end, -1.02), (width, -0.2)], "print", 140)
    lower = [(-width, 0.2), (-end, 0.9), (-width * 0.5, 1.04)]
    canvas.fill(spline(lower + [(-x, y) for x, y in reversed(lower)]), "print", 140)
    for y in (0.72, 0.82, 0.92):
        canvas.fill(ellipse(0, y, 0.025, 0.025, points=16), mix(trim.main, INK, 0.7), 0)
    metals: list[Colour] = [(190, 192, 198), (212, 178, 110), (60, 60, 66)]
    metal = dice.choice(metals)
    canvas.fill(rounded_rectangle(0.44, -0.06, 0.53, 0.06, 0.02), metal)
    canvas.fill(ellipse(0, 0, 0.47, 0.47, points=72), metal, 190)
    night: Colour = (36, 38, 46)
    dial: Paint = dice.choice([PAPER, PAPER, night])
    ink = PAPER if dial == night else INK
    if dice.random() < 0.3:
        dial, ink = "print", INK
    canvas.fill(ellipse(0, 0, 0.385, 0.385, points=72), dial, 175)
    for hour in range(12):
        x, y = math.sin(hour * math.pi / 6), -math.cos(hour * math.pi / 6)
        canvas.stroke([(x * 0.31, y * 0.31), (x * 0.355, y * 0.355)], 0.03 if hour % 3 else 0.045, ink)
    for length, thickness, angle in (
        (0.19, 0.05, dice.uniform(0, 6.3)),
        (0.29, 0.03, dice.uniform(0, 6.3)),
    ):
        canvas.stroke([(0, 0), (math.sin(angle) * length, -math.cos(angle) * length)], thickness, ink)
    canvas.fill(ellipse(0, 0, 0.035, 0.035, points=16), metal, 0)
    return Surface(gloss=0.3)
