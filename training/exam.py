"""A catalogue that the model has never seen, and what is asked of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

from demo_project.rendering.absences import ABSENT_THINGS
from demo_project.rendering.palettes import NATURAL, PATTERNS, colours_of
from demo_project.rendering.vocabulary import Language
from training.pool import CATEGORIES, Drawing, Pictures, drawn, held_out_pairs, texture_of
from training.texts import Writer

PIXELS = 200
REFERENCES_EACH = 24
"""Pictures of each pattern to ask with; questions share them."""
OF_EACH_HELD_OUT_PAIR = 3
LANGUAGES: tuple[Language, ...] = ("en", "es")


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    kind: str
    language: str = ""
    """"" where there are no words."""
    words: str = ""
    picture: Drawing | None = None
    category: str = ""
    """"" where it is left open, as the pattern and the colour are."""
    pattern: str = ""
    colour: str = ""
    product: int | None = None
    """The one right answer, where there is only one: its place in the catalogue."""


@dataclass(kw_only=True)
class Exam:
    """The same for the same arguments. ``questions`` are asked of each kind, in each language."""

    seed: int
    variants: range
    questions_each: int
    products: int = 900
    catalogue: list[Drawing] = field(init=False)
    questions: list[Question] = field(init=False)

    def __post_init__(self) -> None:
        self.dice = Random(f"exam {self.seed}")
        self.first = 50_000_000 + self.seed * 1_000_000
        self.catalogue = self._catalogue()
        self.photographed = self.dice.sample(self.catalogue, min(self.questions_each, self.products))
        """The products that are asked with another photograph of."""
        self.references = {pattern: self._references(pattern) for pattern in PATTERNS}
        self.questions = [
            question
            for language in LANGUAGES
            for ask in (self._with_words, self._with_both, self._about_a_product)
            for question in ask(Writer(self.dice, language))
        ]
        self.questions += self._with_pictures()

    def draw(self, folder: Path, *, name: str) -> dict[Drawing, Pictures]:
        """Every picture of the exam, PIXELS square."""
        asked = {question.picture for question in self.questions if question.picture}
        wanted = sorted({*self.catalogue, *asked}, key=lambda each: (*texture_of(each), repr(each)))
        pool = drawn(wanted, folder, name=name, pixels=PIXELS)
        return dict(zip(wanted, pool.pictures, strict=True))

    def _catalogue(self) -> list[Drawing]:
        held = sorted(held_out_pairs())
        pairs = held * OF_EACH_HELD_OUT_PAIR
        while len(pairs) < self.products:
            pair = self.dice.choice(CATEGORIES), self.dice.choice(PATTERNS)
            if pair not in held:
                pairs.append(pair)
        return [
            Drawing(
                category=category,
                pattern=pattern,
                colour=self.dice.choice(colours_of(pattern)),
                design=self.first + number,
                variant=self.dice.choice(self.variants),
                studio=True,
            )
            for number, (category, pattern) in enumerate(pairs)
        ]

    def _references(self, pattern: str) -> list[Drawing]:
        return [
            Drawing(
                pattern=pattern,
                colour=NATURAL[pattern]
                if pattern in NATURAL and self.dice.random() < 0.8
                else self.dice.choice(colours_of(pattern)),
                design=self.first + number,
                variant=self.dice.choice(self.variants),
            )
            for number in range(REFERENCES_EACH)
        ]

    def _pairs(self, *, held_out: bool, with_plain: bool = True) -> list[tuple[str, str]]:
        held = held_out_pairs()
        pairs = sorted({(each.category, each.pattern) for each in self.catalogue})
        return [pair for pair in pairs if (pair in held) is held_out and (with_plain or pair[1] != "solid")]

    def _with_words(self, writer: Writer) -> list[Question]:
        asked = []
        for kind, held_out in (("text", False), ("text, held out", True)):
            pairs = self._pairs(held_out=held_out)
            for _ in range(self.questions_each):
                category, pattern = self.dice.choice(pairs)
                words = writer.description(category, pattern, "")
                asked.append(
                    Question(
                        kind=kind,
                        language=writer.language,
                        words=words,
                        category=category,
                        pattern=pattern,
                    )
                )
        for _ in range(self.questions_each):
            product = self.dice.choice(self.catalogue)
            category, pattern, colour = product.category, product.pattern, product.colour
            words = writer.description(category, pattern, colour)
            asked.append(
                Question(
                    kind="text with a colour",
                    language=writer.language,
                    words=words,
                    category=category,
                    pattern=pattern,
                    colour=colour,
                )
            )
        return asked

    def _with_both(self, writer: Writer) -> list[Question]:
        asked = []
        for kind, held_out in (("composed", False), ("composed, held out", True)):
            pairs = self._pairs(held_out=held_out, with_plain=False)
            for _ in range(self.questions_each):
                category, pattern = self.dice.choice(pairs)
                asked.append(
                    Question(
                        kind=kind,
                        language=writer.language,
                        words=writer.like_this(category),
                        picture=self._reference(pattern),
                        category=category,
                        pattern=pattern,
                    )
                )
        return asked

    def _about_a_product(self, writer: Writer) -> list[Question]:
        """Beside another photograph of a product: its pattern elsewhere, another colour, another pattern."""
        by_pattern, by_pair, by_category = (
            defaultdict[object, list[Drawing]](list),
            defaultdict[object, list[Drawing]](list),
            defaultdict[object, list[Drawing]](list),
        )
        for each in self.catalogue:
            by_pattern[each.pattern].append(each)
            by_pair[each.category, each.pattern].append(each)
            by_category[each.category].append(each)
        asked = []
        for _ in range(self.questions_each):
            product = self.dice.choice(self.photographed)
            about = partial(Question, language=writer.language, picture=self._other_view(product))
            things = [each for each in by_pattern[product.pattern] if each.category != product.category]
            if things and product.pattern != "solid":
                category = self.dice.choice(things).category
                asked.append(
                    about(
                        kind="product, another thing",
                        words=writer.like_this(category),
                        category=category,
                        pattern=product.pattern,
                    )
                )
            alike = by_pair[product.category, product.pattern]
            colours = sorted({each.colour for each in alike} - {product.colour})
            if colours:
                colour = self.dice.choice(colours)
                asked.append(
                    about(
                        kind="product, another colour",
                        words=writer.in_colour(colour),
                        category=product.category,
                        pattern=product.pattern,
                        colour=colour,
                    )
                )
            patterns = sorted({each.pattern for each in by_category[product.category]} - {product.pattern})
            pattern = self.dice.choice(patterns)
            asked.append(
                about(
                    kind="product, another pattern",
                    words=writer.with_pattern(pattern),
                    category=product.category,
                    pattern=pattern,
                )
            )
        return asked

    def _with_pictures(self) -> list[Question]:
        places = {product: place for place, product in enumerate(self.catalogue)}
        asked = []
        for product in self.photographed:
            picture = self._other_view(product)
            category, pattern, colour = product.category, product.pattern, product.colour
            asked.append(
                Question(kind="image", picture=picture, category=category, pattern=pattern, colour=colour)
            )
            asked.append(Question(kind="image, the same product", picture=picture, product=places[product]))
        for number in range(self.questions_each):
            pattern = PATTERNS[1 + number % (len(PATTERNS) - 1)]
            asked.append(Question(kind="reference alone", picture=self._reference(pattern), pattern=pattern))
        return asked

    def _reference(self, pattern: str) -> Drawing:
        return self.dice.choice(self.references[pattern])

    @staticmethod
    def _other_view(product: Drawing) -> Drawing:
        return replace(product, view=1, studio=False)


def in_vain(exam: Exam, *, count: int) -> tuple[Sequence[Question], Sequence[Question]]:
    """Questions for things that are not sold, in words the model was not told; and the exam's own for what is."""
    dice = Random(f"in vain {exam.seed}")
    asked = []
    for number in range(count):
        writer = Writer(dice, LANGUAGES[number % 2])
        thing = dice.choice(ABSENT_THINGS[writer.language])
        pattern = dice.choice(["", "", *PATTERNS])
        asked.append(
            Question(kind="not sold", language=writer.language, words=writer.described(thing, pattern, ""))
        )
    sold = [question for question in exam.questions if question.kind.startswith("text")]
    return asked, dice.sample(sold, min(count, len(sold)))
