"""What typing errors cost: titles of a shop, clean and with an error each, and how many right queries are rewritten.

    python -m benchmarks.typing_errors demo|storefront [--queries 2000] [--keep]

An error is a letter too many, too few, another, or two that changed places, in a word of four letters or more; all are
drawn with a seed. The first product of a query for a title is right where it has that title. The shop is that of
benchmarks.search_quality. Exact names, and names that are near to one, are measured too.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterable
from pathlib import Path
from random import Random
from string import ascii_lowercase, digits
from typing import Any

from benchmarks import search_quality

ROOT = search_quality.ROOT
SHORTEST = 4


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shop", choices=("demo", "storefront"))
    parser.add_argument("--images", type=Path, default=ROOT.parent / "shared" / "data" / "storefront")
    parser.add_argument("--queries", type=int, default=2_000)
    parser.add_argument("--keep", action="store_true", help="go on with the shop of the last time")
    options = parser.parse_args()
    folder = ROOT / ".var" / f"quality-{options.shop}"
    if not options.keep:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    search_quality.set_up(folder)
    search_quality.stock(options.images if options.shop == "storefront" else None)

    from demo_project.catalog.models import Product

    products = list(Product.objects.filter(images__isnull=False).distinct().order_by("pk"))
    titles = sorted({each.title for each in products})
    dice = Random("typing")
    asked = [dice.choice(titles) for _ in range(options.queries)]
    clean = _right(asked, asked)
    typed = [with_error(title, dice) for title in asked]
    wrong = _right(typed, asked)
    uncorrected = _right(typed, asked, correct=False)
    print(f"{options.shop}: {len(titles):,} titles, {len(asked):,} queries, R@1")
    print(
        f"  clean {clean:.4f}, with an error {wrong:.4f} ({wrong / clean:.1%}), not corrected {uncorrected:.4f}"
    )
    rewritten = sum(bool(_search(title).corrected) for title in asked)
    print(f"  rewritten of {len(asked):,} right queries: {rewritten}")
    _exact(products, dice)


def _exact(products: list[Any], dice: Random) -> None:
    named = [getattr(each, dice.choice(["sku", "title"])) for each in dice.choices(products, k=1_000)]
    names = {each.sku for each in products} | {each.title for each in products}
    written = [name if dice.random() < 0.5 else without_signs(name) for name in named]
    first = sum(
        name in (found[0].product.sku, found[0].product.title)
        for name, text in zip(named, written, strict=True)
        if (found := _search(text).results)
    )
    near = [text for name in dice.choices(named, k=400) if (text := near_name(name, dice)) not in names][:200]
    print(f"  exact SKUs and titles first: {first} of {len(named)}")
    print(f"  near names taken for exact ones: {sum(_search(text).is_named for text in near)} of {len(near)}")


def _search(text: str, **options: Any) -> Any:
    from shopsearch.search import search

    return search(text, limit=1, **options)


def _right(texts: Iterable[str], titles: Iterable[str], **options: Any) -> float:
    answers = [(_search(text, **options).results, title) for text, title in zip(texts, titles, strict=True)]
    return sum(bool(found) and found[0].product.title == title for found, title in answers) / len(answers)


def with_error(text: str, dice: Random) -> str:
    """The text with one typing error."""
    from shopsearch.registry.analyzer import WORD

    words = [match for match in WORD.finditer(text) if len(match.group()) >= SHORTEST]
    if not words:
        return text
    match = dice.choice(words)
    word, place = match.group(), dice.randrange(len(match.group()) - 1)
    letter, rest = dice.choice(ascii_lowercase), word[place + 1 :]
    word = word[:place] + dice.choice(
        [letter + word[place:], rest, letter + rest, rest[0] + word[place] + rest[1:]]
    )
    return text[: match.start()] + word + text[match.end() :]


def without_signs(name: str) -> str:
    return "".join(each if each.isalnum() else "" if " " not in name else " " for each in name)


def near_name(name: str, dice: Random) -> str:
    """The name with another digit or sign, or one more at its end."""
    places = [place for place, each in enumerate(name) if each in digits]
    if not places:
        return name + dice.choice([" 2", "+", "#", " 1/2"])
    place = dice.choice(places)
    return name[:place] + dice.choice([each for each in digits if each != name[place]]) + name[place + 1 :]


if __name__ == "__main__":
    main()
