"""What training asks for: the shoppers' phrases of the demo and many more shapes, English and Spanish."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from demo_project.rendering import phrases
from demo_project.rendering.vocabulary import (
    CATEGORY_NAMES,
    COLOUR_NAMES,
    PATTERN_ADJECTIVES,
    PATTERN_NOUNS,
    Language,
)
from training.absent_things import THINGS

SPANISH_SHARE = 0.4
DEMO_SHARE = 0.3
"""How many phrases are the demo's own."""
CHATTY_SHARE = 0.12
"""How many have a word or two more that change nothing."""

ANYTHING: dict[Language, list[str]] = {
    "en": ["product", "thing", "item", "something", "stuff", "anything", ""],
    "es": ["producto", "algo", "artículo", "cosa", "cualquier cosa", ""],
}
OPENINGS: dict[Language, list[str]] = {
    "en": ["show me", "i want", "looking for", "find me", "i need", "buy", "search for", "do you have"],
    "es": ["quiero", "busco", "necesito", "muéstrame", "enséñame", "comprar", "buscar", "tenéis", "hay"],
}
ARTICLES: dict[Language, list[str]] = {
    "en": ["", "", "", "a", "a", "the", "some"],
    "es": ["", "", "", "un", "una", "el", "la", "unos", "unas"],
}
CHATTER_BEFORE: dict[Language, list[str]] = {
    "en": ["nice", "cheap", "new", "cute", "beautiful", "good", "cool", "small", "big", "best", "modern"],
    "es": ["hola", "por favor", "buenas"],
}
CHATTER_AFTER: dict[Language, list[str]] = {
    "en": [
        "please", "for a gift", "for my sister", "for summer", "for women", "for men", "for kids", "online",
        "for home", "thanks", "for my birthday", "today", "on sale",
    ],
    "es": [
        "por favor", "para regalar", "para mi hermana", "para el verano", "de mujer", "de hombre",
        "para niños", "barato", "bonito", "bonita", "nuevo", "para casa", "gracias", "en oferta", "grande",
    ],
}  # fmt: skip
THIS: dict[Language, list[str]] = {
    "en": [
        "this", "this", "that", "this pattern", "this print", "this design", "the same pattern",
        "that print", "this on it", "the pattern in the picture", "this look", "that design",
        "this image theme", "the theme of this image", "this theme", "this image", "this picture",
        "this photo", "this motif", "this style", "the print in the photo", "these", "the same design",
    ],
    "es": [
        "esto", "esto", "este estampado", "este dibujo", "este diseño", "el mismo estampado", "este patrón",
        "eso", "el tema de esta imagen", "esta imagen", "esta foto", "este motivo", "este estilo",
        "el estampado de la foto", "el dibujo de la imagen", "este tema",
    ],
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Writer:
    """Writes phrases that name exactly what they are asked to."""

    dice: Random
    language: Language

    @classmethod
    def drawn(cls, dice: Random) -> Writer:
        """A writer of either language."""
        return cls(dice, "es" if dice.random() < SPANISH_SHARE else "en")

    def thing(self, category: str) -> str:
        return self.dice.choice(CATEGORY_NAMES[self.language][category])

    def absent_thing(self) -> str:
        """Something that is not sold; now and then it is no word at all."""
        nouns = THINGS[self.language]
        if self.dice.random() < 0.7:
            return self.dice.choice(nouns)
        first, second = self.dice.choice(nouns), self.dice.choice(nouns)
        cut = self.dice.randint(2, max(2, len(first) - 2))
        return first[:cut] + second[-self.dice.randint(2, max(2, len(second) - 2)) :]

    def description(self, category: str, pattern: str, colour: str) -> str:
        """Words alone; "" for what is left open."""
        if category and pattern and self.dice.random() < DEMO_SHARE:
            return phrases.description(self.dice, category, pattern, colour, language=self.language)
        thing = self.thing(category) if category else self.dice.choice(ANYTHING[self.language])
        return self.described(thing, pattern, colour) or thing or self.thing("mug")

    def described(self, thing: str, pattern: str, colour: str) -> str:
        dice, dye = self.dice, self.dye(colour)
        if self.language == "en":
            if not pattern:
                forms = [f"{dye} {thing}"] * 2 + [f"{thing} {dye}"]
                forms += [f"{thing} in {dye}", f"{thing} that is {dye}"] if dye else []
            else:
                adjective, noun = self.adjective(pattern), self.noun(pattern)
                bare = adjective.replace(" print", "")
                forms = [
                    f"{dye} {adjective} {thing}",
                    f"{dye} {adjective} {thing}",
                    f"{adjective} {dye} {thing}",
                    f"{adjective} {thing} {dye}",
                    f"{adjective} {thing} in {dye}" if dye else f"{adjective} {thing}",
                    f"{dye} {thing} with {noun}",
                    f"{thing} with {dye} {noun}",
                    f"{thing} {adjective} {dye}",
                    f"{thing} with {bare} print" + (f" in {dye}" if dye else ""),
                    f"{adjective} pattern {dye} {thing}",
                    f"{dye} {thing}, {adjective}",
                ]
        elif not pattern:
            forms = [f"{thing} {dye}"] * 2 + ([f"{thing} de color {dye}", f"{thing} en {dye}"] if dye else [])
        else:
            adjective, noun = self.adjective(pattern), self.noun(pattern)
            forms = [
                f"{thing} {adjective} {dye}",
                f"{thing} {dye} {adjective}",
                f"{thing} con {noun} {dye}",
                f"{thing} {dye} con {noun}",
                f"{thing} con estampado {adjective.replace('estampado ', '')} {dye}",
                f"{thing} {adjective}" + (f" en {dye}" if dye else ""),
                f"{thing} {adjective}" + (f" de color {dye}" if dye else ""),
            ]
        return self.said(f"{dice.choice(ARTICLES[self.language])} {dice.choice(forms)}")

    def title(self, category: str, pattern: str, colour: str) -> str:
        """As a shop names its product."""
        thing, dye = self.thing(category), self.dye(colour)
        adjective, noun = self.adjective(pattern), self.noun(pattern)
        having = "with" if self.language == "en" else "con"
        forms = [
            f"{adjective} {thing} {dye}",
            f"{adjective} {thing}, {dye}",
            f"{dye} {adjective} {thing}",
            f"{thing} {having} {noun}, {dye}",
            f"{thing} - {adjective} - {dye}",
        ]
        return self.dice.choice(forms).capitalize()

    def like_this(self, category: str, colour: str = "") -> str:
        """Beside a picture: its pattern on another thing."""
        if not colour and self.dice.random() < DEMO_SHARE:
            return phrases.like_this(self.dice, category, language=self.language)
        return self.thing_like_this(self.thing(category), colour)

    def thing_like_this(self, thing: str, colour: str = "") -> str:
        dice, dye, this = self.dice, self.dye(colour), self.dice.choice(THIS[self.language])
        if self.language == "en":
            bare = f"{dye} {thing}"
            whole = f"{dice.choice(['a', 'a', '', 'the'])} {bare}"
            forms = [f"{whole} with {this}"] * 3 + [
                f"{whole} with this", f"{bare} like this", f"{this} on {whole}", f"put this on {whole}",
                f"this as {whole}", f"{whole} in this pattern", f"make it {whole}",
                f"{bare} with the same print", f"same but {whole}", f"this but as {whole}",
                f"{whole} that looks like this", f"{bare} in this style", f"{bare} matching this",
                f"{whole} like the one in the picture", f"{bare} inspired by {this}", bare,
            ]  # fmt: skip
        else:
            bare = f"{thing} {dye}"
            whole = f"{dice.choice(['un', 'una', ''])} {bare}"
            forms = [f"{whole} con {this}"] * 3 + [
                f"{whole} con esto", f"{this} en {whole}", f"{bare} como esto", f"lo mismo pero en {whole}",
                f"{bare} con este motivo", f"{bare} así", f"{bare} como en la foto", f"{bare} a juego", bare,
                f"esto pero en {whole}", f"{bare} inspirado en {this}", f"{whole} de este estilo",
            ]  # fmt: skip
        return self.said(dice.choice(forms))

    def in_colour(self, colour: str) -> str:
        """Beside a product's picture: the same in another colour."""
        if self.dice.random() < DEMO_SHARE:
            return phrases.in_another_colour(self.dice, colour, language=self.language)
        dye = self.dye(colour)
        if self.language == "en":
            forms = [
                f"the same but in {dye}", f"same in {dye}", f"this in {dye}", f"but {dye}", f"in {dye}", dye,
                f"{dye} version", f"the {dye} one", f"like this but {dye}", f"do you have it in {dye}",
                f"this one in {dye} please", f"change colour to {dye}", f"{dye} instead",
            ]  # fmt: skip
        else:
            forms = [
                f"lo mismo pero en {dye}", f"igual pero {dye}", f"esto en {dye}", f"en {dye}", f"pero {dye}",
                f"en color {dye}", f"versión {dye}", f"lo quiero {dye}", f"el mismo en {dye}", dye,
            ]  # fmt: skip
        return self.dice.choice(forms)

    def with_pattern(self, pattern: str) -> str:
        """Beside a product's picture: the same in another pattern."""
        adjective, noun = self.adjective(pattern), self.noun(pattern)
        if self.language == "en":
            forms = [
                f"the same but with {noun}", f"same with {noun}", f"this with {noun}", f"but {adjective}",
                f"this but {adjective}", f"the same in {adjective}", f"{adjective} version", adjective,
                f"like this with {noun}", f"with {noun} instead", f"{adjective} instead",
            ]  # fmt: skip
        else:
            forms = [
                f"lo mismo pero con {noun}", f"igual pero {adjective}", f"esto con {noun}", f"con {noun}",
                f"pero {adjective}", f"así pero {adjective}", f"lo mismo {adjective}", adjective,
            ]  # fmt: skip
        return self.dice.choice(forms)

    def in_this_colour(self, category: str) -> str:
        """Beside a product's picture: its colour on another thing."""
        thing = self.thing(category)
        if self.language == "en":
            forms = [
                f"{thing} in this colour", f"a {thing} in this color", f"{thing} of this colour",
                f"{thing} with the same colour", f"this colour on a {thing}", f"{thing} in the same shade",
            ]  # fmt: skip
        else:
            forms = [
                f"{thing} de este color", f"{thing} en este color", f"{thing} con el mismo color",
                f"{thing} del mismo color",
            ]  # fmt: skip
        return self.said(self.dice.choice(forms))

    def adjective(self, pattern: str) -> str:
        return self.dice.choice(PATTERN_ADJECTIVES[self.language][pattern])

    def noun(self, pattern: str) -> str:
        return self.dice.choice(PATTERN_NOUNS[self.language][pattern])

    def dye(self, colour: str) -> str:
        return self.dice.choice(COLOUR_NAMES[self.language][colour]) if colour else ""

    def said(self, words: str) -> str:
        """With an opening now and then, and chatter."""
        parts = [words]
        if self.dice.random() < CHATTY_SHARE:
            if self.dice.random() < 0.4:
                parts.insert(0, self.dice.choice(CHATTER_BEFORE[self.language]))
            else:
                parts.append(self.dice.choice(CHATTER_AFTER[self.language]))
        if self.dice.random() < 0.4:
            parts.insert(0, self.dice.choice(OPENINGS[self.language]))
        return " ".join(" ".join(parts).split())
