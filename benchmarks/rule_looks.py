"""How well a rule by looks tells its own theme's pictures from others: drawn by the demo, seen by the bundled model.

    python -m benchmarks.rule_looks [--pictures 1 4 8] [--asked 20]

A theme is a pattern of the demo, such as leopard. Its rule has some pictures of it; the line is set as staff set it in
the preview, by pictures of all themes as the store has them (where mistakes are fewest); then yet other
pictures are asked with. "scenes" are photographs of the pattern (an animal, a cloth, a wall), "products" are things of
the shop that are printed with it. Every set has textures, seeds and views of its own.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np

LINE_PICTURES = 15
"""Of each theme, to set the line by."""
STRICTNESS = 5
"""The aims are 5 % missed and 1 % of others."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pictures", type=int, nargs="+", default=[1, 4, 8], help="of a rule")
    parser.add_argument("--asked", type=int, default=20, help="pictures of each theme")
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
    import django

    django.setup()
    for kind in ("scenes", "products"):
        rule, line, asked = (
            {theme: embedded(kind, theme, count, name) for theme in themes()}
            for name, count in (
                ("rule", max(options.pictures)),
                ("line", LINE_PICTURES),
                ("asked", options.asked),
            )
        )
        for count in options.pictures:
            own, others, worst = measured({theme: each[:count] for theme, each in rule.items()}, line, asked)
            print(
                f"{kind}, {count:>2} pictures: fires for {own:.1%} of its own, {others:.2%} of others; {worst}"
            )


def themes() -> tuple[str, ...]:
    from demo_project.rendering.palettes import PATTERNS

    return PATTERNS


def embedded(kind: str, theme: str, count: int, name: str) -> Any:
    from shopsearch.embedders.visualized_bge import VisualizedBGE
    from shopsearch.indexing.rule_pictures import look_of
    from shopsearch.types import Query

    global _model
    _model = _model or VisualizedBGE(device="cpu")
    drawn = pictures(kind, theme, count, name)
    if name == "line":  # these are the shop's
        return _model.embed([Query(image=picture) for picture in drawn])
    return np.stack([look_of(picture, _model) for picture in drawn])


_model: Any = None


def pictures(kind: str, theme: str, count: int, name: str) -> Iterator[Any]:
    from demo_project.rendering.palettes import colours_of
    from demo_project.rendering.products import SHAPES, STUDIO, product_picture
    from demo_project.rendering.scenes import reference_picture

    dice = Random(f"{kind} {theme} {name}")
    variants = {"rule": range(32, 36), "line": range(36, 40), "asked": range(40, 48)}[name]
    shapes, colours = sorted(SHAPES), colours_of(theme)
    for place in range(count):
        seed, colour = dice.randrange(10**6), colours[place % len(colours)]
        if kind == "scenes":
            yield reference_picture(theme, colour, seed=seed, size=224, variants=variants)
        else:
            shape = shapes[place % len(shapes)]
            yield product_picture(
                shape, theme, colour, design=seed, size=224, variants=variants, style=STUDIO
            )


def measured(rule: dict[str, Any], line: dict[str, Any], asked: dict[str, Any]) -> tuple[float, float, str]:
    own_shares, other_shares = {}, {}
    for theme, looks in rule.items():
        threshold = line_between(*scores(looks, line, theme))
        own, others = scores(looks, asked, theme)
        own_shares[theme] = float((own >= threshold).mean())
        other_shares[theme] = float((others >= threshold).mean())
    worst = sorted(own_shares, key=own_shares.__getitem__)[:3]
    told = ", ".join(f"{theme} {own_shares[theme]:.0%}/{other_shares[theme]:.1%}" for theme in worst)
    good = sum(share >= 0.95 and other_shares[theme] <= 0.01 for theme, share in own_shares.items())
    return (
        float(np.mean(list(own_shares.values()))),
        float(np.mean(list(other_shares.values()))),
        f"both aims for {good} of {len(rule)} themes, worst {told}",
    )


def scores(looks: Any, pictures: dict[str, Any], theme: str) -> tuple[Any, Any]:
    """The likeness of the theme's own pictures, and that of all others."""
    look = looks.mean(axis=0) / np.linalg.norm(looks.mean(axis=0))
    others = np.concatenate([each for name, each in pictures.items() if name != theme])
    return pictures[theme] @ look, others @ look


def line_between(own: Any, others: Any) -> float:
    """Where mistakes are fewest: the share of its own that it misses, and STRICTNESS times that of others."""
    candidates = np.sort(np.concatenate([own, others]))
    middles = (candidates[1:] + candidates[:-1]) / 2
    mistakes = [(own < each).mean() + STRICTNESS * (others >= each).mean() for each in middles]
    return float(middles[int(np.argmin(mistakes))])


if __name__ == "__main__":
    main()
