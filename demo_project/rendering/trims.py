"""Trims: the colours of a product's parts that its print does not cover."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from .palettes import COLOURS, INK, PAPER, Colour, dyed, mix


@dataclass(frozen=True, kw_only=True)
class Trim:
    main: Colour
    light: Colour
    lace: Colour
    accent: Colour

    @classmethod
    def drawn(cls, dice: Random, main: Colour) -> Trim:
        """What goes with this main colour."""
        lights = [*[COLOURS["white"]] * 4, COLOURS["black"], COLOURS["beige"]]
        accents = [
            mix(main, INK, 0.45),
            mix(main, PAPER, 0.5),
            COLOURS["black"],
            COLOURS["white"],
            main,
        ]
        return cls(
            main=dyed(dice, main),
            light=dyed(dice, dice.choice(lights), 6),
            lace=dice.choice([PAPER, PAPER, INK]),
            accent=dyed(dice, dice.choice(accents)),
        )
