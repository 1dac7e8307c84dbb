"""The pictures to learn from: planned by a seed, drawn once, read from disk as one array."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from random import Random

import numpy as np
import numpy.typing as npt
from PIL import Image
from tqdm import tqdm

from demo_project.rendering.palettes import NATURAL, PATTERNS, colours_of
from demo_project.rendering.products import (
    SHAPES,
    SNAPSHOTS,
    STUDIO,
    TRAINING_VARIANTS,
    product_picture,
)
from demo_project.rendering.scenes import reference_picture

CATEGORIES = tuple(SHAPES)
DRAWN_PIXELS = 200
KEPT_PIXELS = 104
"""The edge of the pictures kept: a little more than the tower sees, so that there is something to crop."""
STUDIO_SHARE = 0.75
"""Of the first views; the second views are snapshots as often."""
NATURAL_SHARE = 0.55

Pair = tuple[str, str]
Pictures = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """What one picture shows."""

    category: str = ""
    """"" for a reference picture: a pattern without a product."""
    pattern: str
    colour: str
    design: int
    """Two drawings of a product share it."""
    view: int = 0
    variant: int
    studio: bool = False

    def picture(self, pixels: int) -> Image.Image:
        """The picture, so many pixels square."""
        variants, size = range(self.variant, self.variant + 1), max(DRAWN_PIXELS, pixels)
        if self.category:
            drawn = product_picture(
                self.category,
                self.pattern,
                self.colour,
                design=self.design,
                view=self.view,
                size=size,
                variants=variants,
                style=STUDIO if self.studio else SNAPSHOTS,
            )
        else:
            drawn = reference_picture(
                self.pattern, self.colour, seed=self.design, size=size, variants=variants
            )
        return drawn if size == pixels else drawn.resize((pixels, pixels), Image.Resampling.BICUBIC)


def held_out_pairs(count: int = 48) -> frozenset[Pair]:
    """The pairs of category and pattern that no training picture shows, at most 3 of a category or a pattern."""
    held = [("phone_case", "leopard"), ("mug", "galaxy"), ("tshirt", "zebra"), ("umbrella", "floral")]
    pairs = [(category, pattern) for category in CATEGORIES for pattern in PATTERNS if pattern != "solid"]
    Random("held out").shuffle(pairs)
    for pair in pairs:
        if len(held) < count and pair not in held and all(_times(held, part) < 3 for part in pair):
            held.append(pair)
    return frozenset(held)


def _times(pairs: Sequence[Pair], part: str) -> int:
    return sum(part in pair for pair in pairs)


def plan(
    *,
    products: int,
    references: int,
    seed: int,
    variants: range = TRAINING_VARIANTS,
    held_out: frozenset[Pair] | None = None,
) -> list[Drawing]:
    """Two views of each product and one of each reference, the same for the same arguments, pattern by pattern."""
    held_out = held_out_pairs() if held_out is None else held_out
    dice = Random(f"pool {seed}")
    # Far from the designs of the demo (2,000,000 on) and of the evaluations.
    first = 10_000_000 + seed * 1_000_000
    drawings = []
    for number in range(products):
        while True:
            category, pattern = dice.choice(CATEGORIES), dice.choice(PATTERNS)
            if (category, pattern) not in held_out:
                break
        colour, variant = dice.choice(colours_of(pattern)), dice.choice(variants)
        for view in range(2):
            studio = (dice.random() < STUDIO_SHARE) is (view == 0)
            drawings.append(
                Drawing(
                    category=category,
                    pattern=pattern,
                    colour=colour,
                    design=first + number,
                    view=view,
                    variant=variant,
                    studio=studio,
                )
            )
    for number in range(references):
        pattern = dice.choice(PATTERNS)
        natural = pattern in NATURAL and dice.random() < NATURAL_SHARE
        colour = NATURAL[pattern] if natural else dice.choice(colours_of(pattern))
        drawings.append(
            Drawing(pattern=pattern, colour=colour, design=first + number, variant=dice.choice(variants))
        )
    return sorted(drawings, key=texture_of)


def texture_of(drawing: Drawing) -> tuple[str, int]:
    """What to sort drawings by before they are drawn."""
    return drawing.pattern, drawing.variant


@dataclass(frozen=True)
class Pool:
    """Drawings and their pictures, in the same order; the pictures stay on disk."""

    drawings: Sequence[Drawing]
    file: Path

    @cached_property
    def pictures(self) -> Pictures:
        """Shape (n, pixels, pixels, 3)."""
        array: Pictures = np.load(self.file, mmap_mode="r")
        return array


def drawn(
    drawings: Sequence[Drawing],
    folder: Path,
    *,
    name: str = "pool",
    pixels: int = KEPT_PIXELS,
    processes: int = 2,
) -> Pool:
    """The pool of these drawings, drawn by so many processes unless ``folder`` has it from before."""
    file, told = folder / f"{name}.npy", folder / f"{name}.txt"
    signature = f"{pixels} {hashlib.sha256(repr(drawings).encode()).hexdigest()}"
    if told.is_file() and told.read_text() == signature and file.is_file():
        return Pool(drawings, file)
    folder.mkdir(parents=True, exist_ok=True)
    told.unlink(missing_ok=True)
    shape = (len(drawings), pixels, pixels, 3)
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=shape)
    # One texture at a time: it is made once and printed on everything.
    parts = [list(group) for _, group in groupby(drawings, key=texture_of)]
    bar = tqdm(total=len(drawings), unit="picture", desc=f"drawing the {name}", smoothing=0.05, mininterval=2)
    done = 0
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as workers, bar:
        for pictures in workers.map(partial(_draw, pixels), parts):
            array[done : done + len(pictures)] = pictures
            done += len(pictures)
            bar.update(len(pictures))
    array.flush()
    told.write_text(signature)
    return Pool(drawings, file)


def _draw(pixels: int, drawings: Sequence[Drawing]) -> Pictures:
    return np.stack([np.asarray(drawing.picture(pixels), np.uint8) for drawing in drawings])
