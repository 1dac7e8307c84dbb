"""A step's pictures, and what is asked about them: the same for the same seed, stage, step and process."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import numpy.typing as npt

from demo_project.rendering.palettes import COLOURS, PATTERNS
from training.pool import CATEGORIES, Drawing, held_out_pairs
from training.texts import Writer

Numbers = npt.NDArray[np.int64]

ANY = -1
"""An attribute that a picture does not have, or a query leaves open."""
ABSENT = -2
"""In all three places: what is asked for is not sold."""
COLOUR_NAMES = tuple(COLOURS)
CATEGORIES_AT_ONCE = 8
"""Few, so that a batch has several things of a kind to tell apart."""


@dataclass(frozen=True, slots=True)
class Texts:
    """Queries, and the numbers of the category, pattern and colour that each asks for: shape (n, 3)."""

    words: list[str] = field(default_factory=list)
    asked: list[tuple[int, int, int]] = field(default_factory=list)

    def add(self, words: str, category: int = ANY, pattern: int = ANY, colour: int = ANY) -> None:
        self.words.append(words)
        self.asked.append((category, pattern, colour))


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    places: Numbers
    """In the pool."""
    beside: Texts
    """One for each picture."""
    alone: Texts


class Batches:
    """Draws batches from a pool's drawings."""

    def __init__(self, drawings: Sequence[Drawing], *, seed: int) -> None:
        self.seed = seed
        self.attributes: Numbers = np.array([_attributes(drawing) for drawing in drawings], np.int64)
        """Of every picture: shape (n, 3)."""
        self.designs: Numbers = np.array(
            [drawing.design if drawing.category else ANY for drawing in drawings], np.int64
        )
        self._pairs: dict[tuple[int, int], list[int]] = defaultdict(list)
        self._views: dict[int, list[int]] = defaultdict(list)
        self._references: dict[int, list[int]] = defaultdict(list)
        for place, (category, pattern, _) in enumerate(self.attributes.tolist()):
            if category == ANY:
                self._references[pattern].append(place)
            else:
                self._pairs[category, pattern].append(place)
                self._views[int(self.designs[place])].append(place)
        held = held_out_pairs()
        self._named = [
            (category, pattern)
            for category in range(len(CATEGORIES))
            for pattern in range(len(PATTERNS))
            if (CATEGORIES[category], PATTERNS[pattern]) not in held
        ]

    def dice(self, stage: str, step: int, process: int) -> Random:
        return Random(f"{self.seed}/{stage}/{step}/{process}")

    def to_look_at(self, step: int, process: int, *, count: int) -> Batch:
        """Any pictures, and texts about any products; neither has to do with the other."""
        dice = self.dice("look", step, process)
        places = np.array([dice.randrange(len(self.attributes)) for _ in range(count)], np.int64)
        alone = Texts()
        for _ in range(count):
            category, pattern = dice.choice(self._named)
            self._describe(Writer.drawn(dice), alone, category, pattern, dice.randrange(len(COLOUR_NAMES)))
        return Batch(places=places, beside=Texts(), alone=alone)

    def to_join(
        self, step: int, process: int, *, groups: int, absent_share: float, absent_texts: int
    ) -> Batch:
        """Groups of six: a reference, a product twice, and products that differ in one attribute."""
        dice = self.dice("join", step, process)
        places = self._places(dice, groups)
        beside, alone = Texts(), Texts()
        for place in places:
            if dice.random() < absent_share:
                self._ask_in_vain(dice, beside, place)
            else:
                self._ask_beside(dice, beside, place, places)
            if self.attributes[place, 0] != ANY:
                self._describe(Writer.drawn(dice), alone, *self.attributes[place].tolist())
        for _ in range(absent_texts):
            writer = Writer.drawn(dice)
            pattern = dice.choice(["", "", *PATTERNS])
            colour = dice.choice(["", "", *COLOUR_NAMES])
            alone.add(writer.described(writer.absent_thing(), pattern, colour), ABSENT, ABSENT, ABSENT)
        return Batch(places=np.array(places, np.int64), beside=beside, alone=alone)

    def _places(self, dice: Random, groups: int) -> list[int]:
        categories = dice.sample(range(len(CATEGORIES)), CATEGORIES_AT_ONCE)
        patterns = dice.sample(range(len(PATTERNS)), groups)
        places: list[int] = []
        for pattern in patterns:
            shown = [category for category in categories if (category, pattern) in self._pairs]
            category = dice.choice(shown)
            alike = self._pairs[category, pattern]
            product = dice.choice(alike)
            first, *rest = self._views[int(self.designs[product])]
            other_view = rest[0] if rest and product == first else first
            colours = [place for place in alike if self.attributes[place, 2] != self.attributes[product, 2]]
            things = [other for other in shown if other != category]
            prints = [other for other in patterns if other != pattern and (category, other) in self._pairs]
            places += [
                dice.choice(self._references[pattern]),
                product,
                other_view,
                dice.choice(colours or alike),
                dice.choice(self._pairs[dice.choice(things or shown), pattern]),
                dice.choice(self._pairs[category, dice.choice(prints or [pattern])]),
            ]
        return places

    def _ask_beside(self, dice: Random, texts: Texts, place: int, places: Sequence[int]) -> None:
        """Ask for something that the batch has, given this picture."""
        writer = Writer.drawn(dice)
        category, pattern, colour = self.attributes[place].tolist()
        products = [
            (place, *self.attributes[place].tolist()) for place in places if self.attributes[place, 0] != ANY
        ]
        way = dice.random()
        if category == ANY or way < 0.44:
            wanted = [each for each in products if each[2] == pattern and each[1] != category]
            if wanted:
                _, thing, _, dye = dice.choice(wanted)
                dye = dye if dice.random() < 0.12 else ANY
                texts.add(writer.like_this(CATEGORIES[thing], _name(COLOUR_NAMES, dye)), thing, pattern, dye)
                return
        if way < 0.66:
            wanted = [each for each in products if each[1:3] == (category, pattern) and each[3] != colour]
            if wanted:
                dye = dice.choice(wanted)[3]
                texts.add(writer.in_colour(COLOUR_NAMES[dye]), category, pattern, dye)
                return
        if way < 0.82:
            wanted = [each for each in products if each[1] == category and each[2] != pattern]
            if wanted:
                other = dice.choice(wanted)[2]
                texts.add(writer.with_pattern(PATTERNS[other]), category, other)
                return
        if way < 0.88:
            wanted = [each for each in products if each[1] != category and each[3] == colour]
            if wanted:
                thing = dice.choice(wanted)[1]
                texts.add(writer.in_this_colour(CATEGORIES[thing]), thing, ANY, colour)
                return
        title = writer.title(CATEGORIES[category], PATTERNS[pattern], COLOUR_NAMES[colour])
        texts.add(title, category, pattern, colour)

    def _ask_in_vain(self, dice: Random, texts: Texts, place: int) -> None:
        writer = Writer.drawn(dice)
        thing = writer.absent_thing()
        if dice.random() < 0.75:
            words = writer.thing_like_this(thing, dice.choice(["", "", "", *COLOUR_NAMES]))
        else:
            words = writer.described(thing, dice.choice(["", *PATTERNS]), "")
        texts.add(words, ABSENT, ABSENT, ABSENT)

    def _describe(self, writer: Writer, texts: Texts, category: int, pattern: int, colour: int) -> None:
        way = writer.dice.random()
        named = next(parts for share, parts in DESCRIBED if way < share)
        if all(named) and writer.dice.random() < 0.2:
            words = writer.title(CATEGORIES[category], PATTERNS[pattern], COLOUR_NAMES[colour])
            texts.add(words, category, pattern, colour)
            return
        category, pattern, colour = (
            number if wanted else ANY
            for number, wanted in zip((category, pattern, colour), named, strict=True)
        )
        words = writer.description(
            _name(CATEGORIES, category), _name(PATTERNS, pattern), _name(COLOUR_NAMES, colour)
        )
        texts.add(words, category, pattern, colour)


DESCRIBED = (
    (0.42, (True, True, False)),
    (0.72, (True, True, True)),
    (0.82, (True, False, True)),
    (0.88, (True, False, False)),
    (0.94, (False, True, False)),
    (1.01, (False, True, True)),
)
"""What a text names of category, pattern and colour, with the shares added up."""


def _attributes(drawing: Drawing) -> tuple[int, int, int]:
    category = CATEGORIES.index(drawing.category) if drawing.category else ANY
    return category, PATTERNS.index(drawing.pattern), COLOUR_NAMES.index(drawing.colour)


def _name(names: Sequence[str], number: int) -> str:
    return "" if number == ANY else names[number]
