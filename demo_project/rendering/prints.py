"""Textures that are woven, printed or built."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from .geometry import Points, ellipse, heart, star
from .noise import Plane
from .weaving import Masks, Weaver, edge


def solid(weave: Weaver) -> Masks:
    return (0.5 + 0.125 * weave.noise(30, 90)).clip(0, 1) * 0.5, 0, 0


def stripes(weave: Weaver) -> Masks:
    count, share = weave.dice.choice([5, 6, 8, 10]), weave.dice.uniform(0.38, 0.55)
    x = (weave.x * count) % 1
    lines = edge(0.04 - abs(((x + 0.5) % 1) - 0.5), 0.03) if weave.dice.random() < 0.3 else 0
    return edge(share / 2 - abs(x - 0.5), 0.06), lines, 0


def dots(weave: Weaver) -> Masks:
    count = weave.dice.choice([4, 6, 6, 8])
    radius = weave.dice.uniform(0.22, 0.34) / count
    stamps = weave.stamps()
    for x, y in weave.lattice(count, 0):
        stamps.add(ellipse(x, y, radius, radius))
    return stamps.mask(), 0, 0


def plaid(weave: Weaver) -> Masks:
    dice = weave.dice
    count, share = dice.choice([2, 3, 4]), dice.uniform(0.4, 0.55)

    def band(axis: Plane, offset: float, half: float) -> Plane:
        return edge(half - abs((axis * count + offset) % 1 - 0.5), 0.03)

    def lines(offset: float) -> Plane:
        return np.maximum(band(weave.x, offset, 0.035), band(weave.y, offset, 0.035))

    bands = (band(weave.x, 0, share / 2) + band(weave.y, 0, share / 2)) * 0.5
    first = lines(dice.choice([0, 0.25])) * 0.85
    return bands, first, lines(0.5) * 0.8 if dice.random() < 0.5 else 0


def chevron(weave: Weaver) -> Masks:
    dice = weave.dice
    rows, turns = dice.choice([4, 5, 6]), dice.choice([3, 4, 5])
    zigzag = abs(((weave.x * turns) % 1) - 0.5) * 2
    y = (weave.y * rows + zigzag * dice.uniform(0.5, 0.8) * rows / turns) % 1
    return edge(dice.uniform(0.42, 0.52) / 2 - abs(y - 0.5), 0.07), 0, 0


def checkered(weave: Weaver) -> Masks:
    turns = weave.dice.choice([3, 4, 5]) * 2 * np.pi
    return edge(np.sin(weave.x * turns) * np.sin(weave.y * turns), 0.08), 0, 0


def floral(weave: Weaver) -> Masks:
    dice = weave.dice
    count = dice.choice([2, 3, 3])
    leaves, petals, hearts_of_flowers = weave.stamps(), weave.stamps(), weave.stamps()
    petal_count = dice.choice([5, 5, 6, 8])
    for x, y in weave.lattice(count, 0.12):
        radius, start = dice.uniform(0.24, 0.34) / count, dice.uniform(0, 6)
        for number in range(2):
            turn = start + 1 + number * 2.4
            centre = x + math.cos(turn) * radius * 1.25, y + math.sin(turn) * radius * 1.25
            leaves.add(ellipse(*centre, radius * 0.5, radius * 0.2, turn))
        for number in range(petal_count):
            turn = start + number * 2 * math.pi / petal_count
            centre = x + math.cos(turn) * radius * 0.58, y + math.sin(turn) * radius * 0.58
            petals.add(ellipse(*centre, radius * 0.5, radius * (0.36 if petal_count < 7 else 0.22), turn))
        hearts_of_flowers.add(ellipse(x, y, radius * 0.28, radius * 0.28))
        if dice.random() < 0.8:
            x, y = x + 0.5 / count, y + dice.uniform(-0.1, 0.1) / count
            for number in range(5):
                turn = start + number * 1.257
                centre = x + math.cos(turn) * radius * 0.25, y + math.sin(turn) * radius * 0.25
                petals.add(ellipse(*centre, radius * 0.2, radius * 0.15, turn))
            hearts_of_flowers.add(ellipse(x, y, radius * 0.12, radius * 0.12))
    return leaves.mask(), petals.mask(), hearts_of_flowers.mask()


def hearts(weave: Weaver) -> Masks:
    return _scattered(weave, lambda x, y, radius: heart(x, y, radius, weave.dice.uniform(-0.3, 0.3)))


def stars(weave: Weaver) -> Masks:
    return _scattered(weave, lambda x, y, radius: star(x, y, radius * 1.1, weave.dice.uniform(-0.4, 0.4)))


def _scattered(weave: Weaver, outline: Callable[[float, float, float], Points]) -> Masks:
    count = weave.dice.choice([3, 4, 5])
    stamps = weave.stamps()
    for x, y in weave.lattice(count, 0.08):
        stamps.add(outline(x, y, weave.dice.uniform(0.3, 0.4) / count))
    return stamps.mask(), 0, 0


def galaxy(weave: Weaver) -> Masks:
    dice = weave.dice
    clouds = (weave.noise(1, 12) * 0.42 + 0.35).clip(0, 1) ** 1.3
    glow = (weave.noise(1, 8) * 0.4 - 0.05).clip(0, 1) * 0.9
    stamps = weave.stamps()
    for _ in range(130):
        radius = dice.choice([0.002, 0.0025, 0.003, 0.0045, 0.007])
        x, y = dice.random(), dice.random()
        large = radius > 0.004
        stamps.add(
            star(x, y, radius * 2.2, 0, waist=0.3, rays=4)
            if large
            else ellipse(x, y, radius, radius, points=12)
        )
    return clouds, glow, stamps.mask()


def marble(weave: Weaver) -> Masks:
    course, fine = weave.noise(1, 9), weave.noise(1, 16)
    veins = np.exp(-abs(course + 0.25 * fine) / 0.09) * 0.85 * (0.4 + 0.6 * edge(weave.noise(1, 4), 1.5))
    clouds = (weave.noise(1, 5) * 0.25 + 0.18).clip(0, 0.5)
    thin = np.exp(-abs(weave.noise(1, 7) + 0.3 * fine) / 0.05) * 0.5
    return np.maximum(veins, thin), clouds, 0


def brick(weave: Weaver) -> Masks:
    rows = weave.dice.choice([6, 8])
    columns = rows // 2
    row = np.floor(weave.y * rows).astype(int)
    x = weave.x * columns + 0.5 * (row % 2)
    tones = weave.generator.uniform(0.62, 1, (rows, columns)).astype(np.float32)
    tone = tones[row % rows, np.floor(x).astype(int) % columns]
    across = np.minimum(x % 1, 1 - x % 1) * rows / columns
    down = np.minimum((weave.y * rows) % 1, 1 - (weave.y * rows) % 1)
    bricks = edge(np.minimum(across, down) - 0.06, 0.05)
    return bricks, bricks * (1 - tone) * 0.9 + bricks * (weave.noise(20, 80) * 0.05).clip(0, 0.2), 0


def leaves(weave: Weaver) -> Masks:
    dice = weave.dice
    count = dice.choice([2, 3])
    light, dark = weave.stamps(), weave.stamps()
    places = [*weave.lattice(count, 0.2), *weave.lattice(count, 0.3, staggered=False)]
    for x, y in places:
        angle, length = dice.uniform(0, 6.3), dice.uniform(0.4, 0.55) / count
        t = np.linspace(0, np.pi, 25)
        width = np.sin(t) ** 0.8 * length * dice.uniform(0.28, 0.4)
        along = -np.cos(t) * length
        front, back = (light, dark) if dice.random() < 0.6 else (dark, light)
        turned = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])

        def laid(points: npt.ArrayLike, turned: Points = turned, x: float = x, y: float = y) -> Points:
            return np.asarray(points, float) @ turned + [x, y]

        blade = laid(np.concatenate([np.stack([along, width], 1), np.stack([along[::-1], -width[::-1]], 1)]))
        light.add(blade, 0)
        dark.add(blade, 0)
        front.add(blade)
        for number in range(-4, 5):
            start, reach = number * length * 0.2, length * 0.33 * max(0, 1 - (number / 5) ** 2)
            for side in (-1, 1):
                tip = (start + 0.14 * length, side * reach * 0.85)
                back.add(laid([(start, 0), (start + 0.02 * length, 0), tip]))
        back.add(laid([(-length, -0.018 * length), (-length, 0.018 * length), (length, 0)]))
    return light.mask(), dark.mask(), 0
