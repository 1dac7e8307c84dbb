"""Queries that nobody has seen, with what the demo's shop sells for them: for ``shopsearch_evaluate``.

No models here: the processes that draw pictures import this module, and have no Django set up.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image

from demo_project.rendering.palettes import NATURAL, PATTERNS, colours_of
from demo_project.rendering.phrases import description, like_this
from demo_project.rendering.products import SNAPSHOTS, product_picture
from demo_project.rendering.scenes import reference_picture
from demo_project.rendering.vocabulary import Language

from .assortment import KINDS, Article, articles
from .supplies import Picture, opened

QUERIES_FILE = "queries.jsonl"
PICTURES_FOLDER = "pictures"
QUERY_PIXELS = 200
QUERY_VARIANTS = range(40, 48)
"""Textures that neither the model has seen nor the shop prints with."""
RIGHT, OTHER_COLOUR = 2, 1
"""Grades: all that was asked; the thing and the pattern, in another colour than was asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A query of the demo, and the articles that answer it."""

    id: str
    kind: str
    grades: Mapping[str, int]
    """By the article's slug."""
    text: str = ""
    language: str = ""
    draw: Callable[[], Image.Image] | None = None


def asked(count: int) -> list[Asked]:
    """``count`` queries of each of four kinds, English and Spanish; the same every time."""
    return [
        *_words(count, with_colour=False),
        *_words(count, with_colour=True),
        *_photographs(count),
        *_pictures_and_words(count),
    ]


def write(
    queries: Sequence[Asked], folder: Path, product_ids: Mapping[str, int], *, processes: int = 1
) -> Iterator[Asked]:
    """Write the queries and their pictures, one by one; yields each when it is written.

    ``product_ids`` has the shop's products by slug; articles that it does not sell are in no judgement.
    """
    (folder / PICTURES_FOLDER).mkdir(parents=True, exist_ok=True)
    drawn = [
        Picture(name=f"{PICTURES_FOLDER}/{query.id}.jpg", read=partial(_jpeg, query.draw))
        for query in queries
        if query.draw is not None
    ]
    with (
        opened(drawn, processes=processes) as files,
        (folder / QUERIES_FILE).open("w", encoding="utf-8") as lines,
    ):
        for query in queries:
            relevant = {
                str(product_ids[slug]): grade for slug, grade in query.grades.items() if slug in product_ids
            }
            line = {
                "id": query.id,
                "kind": query.kind,
                "language": query.language,
                "text": query.text,
                "relevant": relevant,
            }
            if query.draw is not None:
                line["image"] = f"{PICTURES_FOLDER}/{query.id}.jpg"
                (folder / PICTURES_FOLDER / f"{query.id}.jpg").write_bytes(next(files))
            lines.write(json.dumps(line, ensure_ascii=False) + "\n")
            yield query


def _jpeg(draw: Callable[[], Image.Image]) -> bytes:
    file = BytesIO()
    draw().save(file, "JPEG", quality=88)
    return file.getvalue()


def _answers(category: str, pattern: str, colour: str = "") -> dict[str, int]:
    return {
        article.slug: RIGHT if colour in ("", article.colour) else OTHER_COLOUR
        for article in articles()
        if (article.category, article.pattern) == (category, pattern)
    }


def _languages(count: int) -> Iterator[tuple[int, Language]]:
    """Spanish is every other query."""
    for number in range(count):
        yield number, "es" if number % 2 else "en"


def _words(count: int, *, with_colour: bool) -> Iterator[Asked]:
    kind = "words + colour" if with_colour else "words"
    dice = Random(f"judged {kind}")
    for number, language in _languages(count):
        article = dice.choice(articles())
        colour = article.colour if with_colour else ""
        yield Asked(
            id=f"{'colour' if with_colour else 'words'}-{number}",
            kind=kind,
            text=description(dice, article.category, article.pattern, colour, language=language),
            language=language,
            grades=_answers(article.category, article.pattern, colour),
        )


def _photographs(count: int) -> Iterator[Asked]:
    """Somebody's snapshot of a thing that the shop sells: that very thing is wanted."""
    sold = list(articles())
    Random("judged photographs").shuffle(sold)
    for number in range(count):
        article = sold[number % len(sold)]
        yield Asked(
            id=f"photograph-{number}",
            kind="photograph",
            grades={article.slug: RIGHT},
            draw=partial(_snapshot, article, 1 + number // len(sold)),
        )


def _snapshot(article: Article, view: int) -> Image.Image:
    return product_picture(
        article.category,
        article.pattern,
        article.colour,
        design=article.design,
        view=view,
        size=QUERY_PIXELS,
        style=SNAPSHOTS,
    )


def _pictures_and_words(count: int) -> Iterator[Asked]:
    """A picture of something with a pattern, and words for the thing that shall have it."""
    dice = Random("judged pictures and words")
    for number, language in _languages(count):
        pattern = PATTERNS[1 + number // 2 % (len(PATTERNS) - 1)]  # a plain colour is no theme
        natural = pattern in NATURAL and dice.random() < 0.8
        colour = NATURAL[pattern] if natural else dice.choice(colours_of(pattern))
        category = dice.choice(list(KINDS))
        yield Asked(
            id=f"picture-words-{number}",
            kind="picture + words",
            text=like_this(dice, category, language=language),
            language=language,
            grades=_answers(category, pattern),
            draw=partial(
                reference_picture,
                pattern,
                colour,
                seed=7_000_000 + number,
                size=QUERY_PIXELS,
                variants=QUERY_VARIANTS,
            ),
        )
