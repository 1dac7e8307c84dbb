"""Textures of animals' coats, and of those who hide like them."""

from __future__ import annotations

import math

import numpy as np

from .geometry import blob
from .weaving import Masks, Weaver, edge


def leopard(weave: Weaver) -> Masks:
    dice = weave.dice
    count = dice.choice([5, 6, 7])
    middles, rosettes = weave.stamps(), weave.stamps()
    for x, y in weave.lattice(count, 0.17):
        radius, start = dice.uniform(0.30, 0.40) / count, dice.uniform(0, 6.3)
        stretch = dice.uniform(0.9, 1.25)
        middles.add(blob(dice, x, y, radius * 0.85, 0.15, stretch=stretch, angle=start))
        arcs = dice.choice([2, 3, 3, 4])
        for number in range(arcs):
            begin = start + number * 2 * math.pi / arcs + dice.uniform(-0.15, 0.15)
            turn = np.linspace(begin, begin + 2 * math.pi / arcs * dice.uniform(0.6, 0.82), 13)
            width = radius * dice.uniform(0.2, 0.3)
            outer = radius * 1.02 + width * np.sin(np.linspace(0.3, 2.84, len(turn))) * 0.9
            inner = radius * 1.02 - width * 0.8
            direction = np.stack([np.cos(turn), np.sin(turn)], 1)
            arc = np.concatenate([direction * outer[:, None], direction[::-1] * inner])
            rosettes.add(np.array([x, y]) + arc)
        if dice.random() < 0.55:
            spot_y = y + dice.uniform(-0.12, 0.12) / count
            rosettes.add(blob(dice, x + 0.5 / count, spot_y, 0.085 / count, 0.2))
    return middles.mask(), rosettes.mask(), 0


def zebra(weave: Weaver) -> Masks:
    count = weave.dice.choice([6, 7, 8])
    bend = weave.noise(1, 5) * 0.9 + weave.noise(5, 9) * 0.25
    return edge(np.sin(2 * np.pi * count * weave.x + bend * 1.25) + 0.12 * weave.noise(2, 5), 0.35), 0, 0


def tiger(weave: Weaver) -> Masks:
    count = weave.dice.choice([5, 6, 7])
    bend = weave.noise(1, 4) * 0.8 + weave.noise(5, 9) * 0.3
    thickness = weave.noise(2, 6, (1.0, 0.6))
    bands = edge(np.sin(2 * np.pi * count * weave.x + bend * 1.3) - 0.55 - 0.33 * thickness, 0.32)
    return edge(weave.noise(1, 3) - 1.15, 0.9) * 0.8, bands, 0


def cow(weave: Weaver) -> Masks:
    patches = weave.noise(2, 5) + 0.08 * weave.noise(8, 20)
    return edge(patches - weave.dice.uniform(0, 0.35), 0.08), 0, 0


def giraffe(weave: Weaver) -> Masks:
    count = weave.dice.choice([5, 6])
    centres = np.array(weave.lattice(count, 0.24)) % 1
    around = np.concatenate([centres + np.array([x, y]) for x in (-1, 0, 1) for y in (-1, 0, 1)])
    around = around[((around > -0.35) & (around < 1.35)).all(1)]
    x = weave.x + 0.006 * weave.noise(5, 14)
    y = weave.y + 0.006 * weave.noise(5, 14)
    nearest = np.full_like(x, np.inf)
    second = np.full_like(x, np.inf)
    for centre_x, centre_y in around.astype(np.float32):
        distance = (x - centre_x) ** 2 + (y - centre_y) ** 2
        np.minimum(second, np.maximum(nearest, distance), out=second)
        np.minimum(nearest, distance, out=nearest)
    inside = (np.sqrt(second) - np.sqrt(nearest)) * count
    return edge(inside - 0.2, 0.1), edge(inside - 0.55, 0.5) * 0.35, 0


def camo(weave: Weaver) -> Masks:
    scale = weave.dice.choice([1, 1, 1.5])
    patches = [np.round(weave.noise(2 * scale, 7 * scale) * 6) / 6 for _ in range(3)]
    first, second, third = (
        edge(patch - height, 0.06) for patch, height in zip(patches, (0.25, 0.55, 1.0), strict=True)
    )
    return first, second, third
