"""Colours: the names a shop uses, and which of them each pattern is painted in."""

from __future__ import annotations

from random import Random

Colour = tuple[float, float, float]
Palette = tuple[Colour, Colour, Colour, Colour]
"""The base, and what the texture's three masks paint over it in turn."""

COLOURS: dict[str, Colour] = {
    "red": (200, 38, 44),
    "orange": (240, 128, 36),
    "yellow": (246, 206, 56),
    "green": (58, 148, 72),
    "teal": (36, 168, 170),
    "blue": (46, 104, 204),
    "navy": (28, 40, 96),
    "purple": (120, 66, 172),
    "pink": (242, 138, 182),
    "brown": (126, 82, 50),
    "beige": (224, 204, 168),
    "grey": (142, 144, 150),
    "black": (38, 38, 42),
    "white": (246, 245, 241),
}
PATTERNS = (
    "solid",
    "stripes",
    "dots",
    "plaid",
    "chevron",
    "checkered",
    "floral",
    "hearts",
    "stars",
    "leopard",
    "zebra",
    "tiger",
    "cow",
    "giraffe",
    "camo",
    "galaxy",
    "marble",
    "brick",
    "leaves",
)
ANIMALS = ("leopard", "zebra", "tiger", "cow", "giraffe")
# The colour that a pattern of nature has by itself, and the others it is sold in; the rest come in any colour.
NATURAL = {
    "leopard": "brown",
    "zebra": "white",
    "tiger": "orange",
    "cow": "white",
    "giraffe": "brown",
    "camo": "green",
    "galaxy": "purple",
    "marble": "white",
    "brick": "red",
    "leaves": "green",
}
UNNATURAL = {
    "leopard": ("white", "pink", "red", "blue", "grey"),
    "zebra": ("pink", "orange", "teal", "yellow"),
    "tiger": ("white", "pink", "teal", "yellow"),
    "cow": ("brown", "pink", "blue"),
    "giraffe": ("pink", "grey", "orange"),
    "camo": ("beige", "grey", "blue", "pink"),
    "galaxy": ("blue", "pink", "teal", "navy"),
    "marble": ("black", "green", "pink", "grey", "blue"),
    "brick": ("grey", "white", "brown", "beige"),
    "leaves": ("white", "pink", "black", "beige", "navy"),
}
PAPER: Colour = (248, 247, 244)
INK: Colour = (30, 28, 28)


def colours_of(pattern: str) -> tuple[str, ...]:
    """The colours a pattern comes in, its natural one first."""
    return (NATURAL[pattern], *UNNATURAL[pattern]) if pattern in NATURAL else tuple(COLOURS)


def mix(first: Colour, second: Colour, share: float) -> Colour:
    """``share`` of the second colour in the first."""
    red, green, blue = (a * (1 - share) + b * share for a, b in zip(first, second, strict=True))
    return red, green, blue


def rounded(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (int(part) for part in colour)
    return red, green, blue


def dyed(dice: Random, colour: Colour, spread: float = 10) -> Colour:
    """The colour as it comes out of this product's dye: a little off."""
    shift = dice.uniform(-spread, spread)
    red, green, blue = (
        min(255.0, max(0.0, part + shift + dice.uniform(-spread, spread) * 0.6)) for part in colour
    )
    return red, green, blue


def palette(dice: Random, pattern: str, colour: str) -> Palette:
    """The four colours of a pattern sold as ``colour``."""
    main = dyed(dice, COLOURS[colour])
    neutral = _neutral(dice, colour)
    if pattern in _PRINTS:
        return _print(dice, pattern, colour, main, neutral)
    if pattern in ANIMALS:
        return _fur(dice, pattern, colour, main)
    return _material(dice, pattern, colour, main)


_PRINTS = ("solid", "stripes", "dots", "chevron", "checkered", "hearts", "stars", "plaid", "floral")


def _named(dice: Random, name: str) -> Colour:
    return dyed(dice, COLOURS[name])


def _neutral(dice: Random, colour: str) -> Colour:
    """What a print has beside its colour."""
    if colour == "black":
        _named(dice, "white")  # the bundled model's renderer drew here, and its sequence is kept
        return dice.choice([_named(dice, "white"), _named(dice, "white"), _named(dice, "grey")])
    if colour in ("white", "beige", "yellow") and dice.random() < 0.6:
        return _named(dice, "black")
    return _named(dice, "grey" if colour == "white" else "white")


def _print(dice: Random, pattern: str, colour: str, main: Colour, neutral: Colour) -> Palette:
    dark = mix(main, (10, 10, 14), 0.5)
    if pattern == "solid":
        return main, mix(main, dark, 0.25), main, main
    if pattern == "plaid":
        deep = colour in ("black", "navy")
        bands = mix(main, (255, 255, 255), 0.45) if deep else dark
        lines = dice.choice([PAPER, _named(dice, "yellow"), PAPER])
        return main, bands, lines, _named(dice, "red" if deep else "black")
    if pattern == "floral":
        petals = [
            name for name in ("pink", "white", "yellow", "red", "purple", "orange", "blue") if name != colour
        ]
        petal = dice.choice(petals)
        leaf = mix(main, (0, 0, 0), 0.4) if colour == "green" else _named(dice, "green")
        flower = _named(dice, petal)
        return main, leaf, flower, _named(dice, "brown" if petal == "yellow" else "yellow")
    banded = pattern in ("stripes", "chevron", "checkered")
    may_swap = banded or (dice.random() < 0.4 and colour != "white")
    if may_swap and dice.random() < 0.5 and colour != "white":
        return neutral, main, main, main
    return main, neutral, neutral, neutral


def _fur(dice: Random, pattern: str, colour: str, main: Colour) -> Palette:
    dark = mix(main, (10, 10, 14), 0.5)
    if pattern == "leopard":
        if colour == "brown":
            return (
                dyed(dice, (216, 170, 108)),
                dyed(dice, (176, 118, 60)),
                dyed(dice, (52, 32, 22)),
                INK,
            )
        if colour == "white":
            return (
                dyed(dice, (236, 232, 224)),
                dyed(dice, (196, 186, 172)),
                dyed(dice, (58, 54, 54)),
                INK,
            )
        return mix(main, PAPER, 0.15), mix(main, INK, 0.28), dyed(dice, (36, 26, 28)), INK
    if pattern == "zebra":
        return PAPER if colour == "white" else main, dyed(dice, (30, 28, 30), 6), INK, INK
    if pattern == "tiger":
        coats = {"orange": (232.0, 136.0, 46.0), "white": (240.0, 236.0, 228.0)}
        coat = dyed(dice, coats[colour]) if colour in coats else main
        return coat, mix(main, PAPER, 0.75), dyed(dice, (34, 24, 20), 6), INK
    if pattern == "cow":
        coat = dyed(dice, (247, 245, 240), 5)
        return coat, dyed(dice, (34, 30, 30), 6) if colour == "white" else main, INK, INK
    lines = dyed(dice, (240, 222, 182)) if colour == "brown" else mix(main, PAPER, 0.78)
    return lines, dyed(dice, (168, 98, 44)) if colour == "brown" else main, dark, dark


def _material(dice: Random, pattern: str, colour: str, main: Colour) -> Palette:
    dark = mix(main, (10, 10, 14), 0.5)
    if pattern == "camo":
        if colour == "green":
            return (
                dyed(dice, (118, 126, 78)),
                dyed(dice, (74, 90, 50)),
                dyed(dice, (108, 84, 54)),
                dyed(dice, (40, 42, 32)),
            )
        return (
            mix(main, PAPER, 0.25),
            mix(main, INK, 0.22),
            mix(main, (120, 100, 80), 0.45),
            mix(main, INK, 0.62),
        )
    if pattern == "galaxy":
        clouds: dict[str, Colour] = {
            "purple": (60, 90, 220),
            "blue": (120, 60, 200),
            "pink": (110, 60, 190),
            "teal": (40, 80, 190),
            "navy": (70, 70, 150),
        }
        return (16, 12, 38), main, dyed(dice, mix(clouds[colour], PAPER, 0.2)), (255, 253, 245)
    if pattern == "marble":
        if colour == "black":
            return dyed(dice, (34, 34, 38)), (206, 196, 170), (70, 70, 76), PAPER
        return mix(main, PAPER, 0.25), mix(main, (84, 84, 92), 0.75), mix(main, (120, 120, 126), 0.5), PAPER
    if pattern == "brick":
        pale = colour in ("white", "grey", "beige")
        mortar = mix(main, (110, 108, 104), 0.55) if pale else dyed(dice, (206, 200, 190))
        return mortar, dyed(dice, (178, 74, 54)) if colour == "red" else main, dark, dark
    if colour == "green":  # leaves
        deep = (dyed(dice, (24, 64, 44)), _named(dice, "green"), dyed(dice, (120, 180, 96)), PAPER)
        pale_leaves = (
            dyed(dice, (214, 228, 196)),
            dyed(dice, (64, 140, 74)),
            dyed(dice, (34, 96, 56)),
            PAPER,
        )
        return dice.choice([deep, pale_leaves])
    return main, dyed(dice, (52, 128, 70)), dyed(dice, (96, 166, 92)), PAPER
