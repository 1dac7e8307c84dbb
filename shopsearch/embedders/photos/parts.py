"""The parts of the starter's vector, and how much each counts."""

from __future__ import annotations

from dataclasses import dataclass

SIZE = 260
"""Pixels of the square that the network sees: what it was trained with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some numbers of the vector, and how much they count."""

    name: str
    size: int
    picture: float
    """In a picture's vector, whether it is stored or asked with."""
    text: float
    """In a text's."""
    changed: float
    """In the picture's share of a pair. What the words may change is 0."""
    changing: float
    """In the words' share of a pair."""


PARTS = (
    # Finds the same thing in another picture. A text fills it with the classes and kinds that it asks for.
    Part(name="sight", size=384, picture=1, text=0.6, changed=1, changing=0.3),
    # What the network's classes mean, in the text tower's space: for words that nothing was learnt about.
    Part(name="meaning", size=384, picture=0.5, text=1, changed=0.5, changing=0.5),
    # What shops sell although ImageNet has no class for it, above all clothes.
    Part(name="kinds", size=14, picture=0.7, text=1, changed=0.7, changing=0.5),
    # A picture seldom shows just one, so they count little until a word asks for one.
    Part(name="patterns", size=19, picture=0.3, text=1, changed=0, changing=1),
    # Colours by name: what "the same in red" is about.
    Part(name="colours", size=14, picture=0.15, text=0.3, changed=0, changing=2),
    # Colours as they are: tells two variants apart that are called alike.
    Part(name="shades", size=180, picture=0.15, text=0, changed=0, changing=0),
)
DIMENSION = sum(part.size for part in PARTS)


def scaled(size: tuple[int, int], factor: float) -> tuple[int, int]:
    width, height = size
    return max(1, round(width * factor)), max(1, round(height * factor))
