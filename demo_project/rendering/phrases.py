"""What shoppers type: phrases that name exactly what they are asked to, English and Spanish."""

from __future__ import annotations

from random import Random

from .vocabulary import CATEGORY_NAMES, COLOUR_NAMES, PATTERN_ADJECTIVES, PATTERN_NOUNS, Language

_OPENINGS: dict[Language, list[str]] = {
    "en": ["", "", "", "", "", "show me ", "i want ", "looking for ", "find me ", "i need ", "buy "],
    "es": ["", "", "", "", "quiero ", "busco ", "necesito ", "muéstrame ", "enséñame ", "comprar "],
}
_THIS: dict[Language, list[str]] = {
    "en": [
        "this",
        "that",
        "this pattern",
        "this print",
        "this design",
        "the same pattern",
        "the pattern in the picture",
        "this look",
    ],
    "es": [
        "esto",
        "este estampado",
        "este dibujo",
        "este diseño",
        "el mismo estampado",
        "este patrón",
        "eso",
    ],
}


def description(
    dice: Random, category: str, pattern: str, colour: str = "", *, language: Language = "en"
) -> str:
    """Words alone: "looking for a red mug with stripes"."""
    thing = dice.choice(CATEGORY_NAMES[language][category])
    adjective = dice.choice(PATTERN_ADJECTIVES[language][pattern])
    noun = dice.choice(PATTERN_NOUNS[language][pattern])
    dye = dice.choice(COLOUR_NAMES[language][colour]) if colour else ""
    if language == "en":
        forms = [
            f"{dye} {adjective} {thing}",
            f"{adjective} {dye} {thing}",
            f"{adjective} {thing} in {dye}" if dye else f"{adjective} {thing}",
            f"{dye} {thing} with {noun}",
            f"{thing} with {dye} {noun}",
            f"{dye} {thing}, {adjective}",
        ]
        article = dice.choice(["", "", "a ", "the "])
    else:
        forms = [
            f"{thing} {adjective} {dye}",
            f"{thing} {dye} {adjective}",
            f"{thing} con {noun} {dye}",
            f"{thing} {dye} con {noun}",
        ]
        article = dice.choice(["", "", "un ", "una "])
    return _sentence(dice.choice(_OPENINGS[language]), article + dice.choice(forms))


def like_this(dice: Random, category: str, *, language: Language = "en") -> str:
    """Words that go with a picture: "a phone case with this pattern"."""
    thing = dice.choice(CATEGORY_NAMES[language][category])
    this = dice.choice(_THIS[language])
    if language == "en":
        thing = dice.choice(["a ", "a ", "", "the "]) + thing
        forms = [
            f"{thing} with {this}",
            f"{thing} with {this}",
            f"{this} on {thing}",
            f"put this on {thing}",
            f"{thing} in this pattern",
            f"{thing} like this",
            f"make it {thing}",
            f"same but {thing}",
            f"{thing} that looks like this",
            f"{thing} in this style",
            f"{thing}",
        ]
    else:
        thing = dice.choice(["una ", "un ", ""]) + thing
        forms = [
            f"{thing} con {this}",
            f"{thing} con {this}",
            f"{this} en {thing}",
            f"{thing} como esto",
            f"lo mismo pero en {thing}",
            f"{thing} con este motivo",
            f"{thing}",
        ]
    return _sentence(dice.choice(_OPENINGS[language]), dice.choice(forms))


def in_another_colour(dice: Random, colour: str, *, language: Language = "en") -> str:
    """Words that go with a product's picture: "the same but in blue"."""
    dye = dice.choice(COLOUR_NAMES[language][colour])
    if language == "en":
        forms = [f"the same but in {dye}", f"this in {dye}", f"{dye} version", f"like this but {dye}"]
    else:
        forms = [f"lo mismo pero en {dye}", f"igual pero {dye}", f"esto en {dye}", f"en color {dye}"]
    return dice.choice(forms)


def _sentence(opening: str, words: str) -> str:
    return " ".join((opening + words).split())
