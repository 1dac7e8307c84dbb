"""The demo's own catalogue, the bundled model, and queries that nobody has seen: who asks, finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from demo_project.catalog.assortment import KINDS, Article, articles
from demo_project.rendering.palettes import NATURAL, PATTERNS, colours_of
from demo_project.rendering.phrases import description, like_this
from demo_project.rendering.products import SNAPSHOTS, product_picture
from demo_project.rendering.references import FOLDER, REFERENCES
from demo_project.rendering.scenes import reference_picture
from shopsearch.embedders.visualized_bge import VisualizedBGE
from shopsearch.types import Query

if TYPE_CHECKING:
    from shopsearch.types import Vectors

QUERIES = 300
QUERY_PIXELS = 200
QUERY_VARIANTS = range(40, 48)
"""Textures that neither the model has seen nor the shop prints with."""


@dataclass(frozen=True)
class Asked:
    query: Query
    category: str
    pattern: str


@dataclass(frozen=True)
class Catalogue:
    embedder: VisualizedBGE
    articles: Sequence[Article]
    vectors: Vectors

    def best(self, queries: Sequence[Query], limit: int = 1) -> list[list[Article]]:
        """The nearest articles of each query, nearest first."""
        cosines = self.embedder.embed(queries) @ self.vectors.T
        return [[self.articles[place] for place in row] for row in np.argsort(-cosines, axis=1)[:, :limit]]

    def recall_at_1(self, asked: Sequence[Asked]) -> float:
        """How many of the queries have an article of the right category and pattern first."""
        best = self.best([each.query for each in asked])
        right = [
            found[0].category == each.category and found[0].pattern == each.pattern
            for found, each in zip(best, asked, strict=True)
        ]
        return sum(right) / len(right)


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="module")
def catalogue(pool):
    sold = sorted(articles(), key=lambda article: article.pattern)
    files = pool.map(Article.photograph, sold, chunksize=8)
    embedder = VisualizedBGE()
    pictures = [Query(image=Image.open(BytesIO(file)).convert("RGB")) for file in files]
    return Catalogue(embedder, sold, embedder.embed(pictures))


def _drawn(pool: ProcessPoolExecutor, drawings: Sequence[Callable[[], Image.Image]]) -> list[Image.Image]:
    return list(pool.map(_draw, drawings, chunksize=8))


def _draw(drawing: Callable[[], Image.Image]) -> Image.Image:
    return drawing()


def _language(dice: Random) -> str:
    return dice.choice(["en", "en", "es"])


def test_words_find_the_category_and_pattern_they_name(catalogue):
    dice = Random("words")
    asked = []
    for _ in range(QUERIES):
        category, pattern = dice.choice(list(KINDS)), dice.choice(PATTERNS)
        sold = [a.colour for a in catalogue.articles if (a.category, a.pattern) == (category, pattern)]
        words = description(dice, category, pattern, dice.choice(["", *sold]), language=_language(dice))
        asked.append(Asked(Query(text=words), category, pattern))

    recall = catalogue.recall_at_1(asked)

    assert recall >= 0.85, f"text R@1 is {recall:.3f} over {len(asked)} queries"


def test_another_photograph_of_a_product_finds_its_category_and_pattern(catalogue, pool):
    sold = Random("photographs").sample(catalogue.articles, QUERIES)
    sold.sort(key=lambda article: article.pattern)
    photographs = _drawn(
        pool,
        [
            partial(
                product_picture, a.category, a.pattern, a.colour,
                design=a.design, view=1, size=QUERY_PIXELS, style=SNAPSHOTS,
            )
            for a in sold
        ],
    )  # fmt: skip
    asked = [
        Asked(Query(image=picture), article.category, article.pattern)
        for picture, article in zip(photographs, sold, strict=True)
    ]

    recall = catalogue.recall_at_1(asked)

    assert recall >= 0.85, f"image R@1 is {recall:.3f} over {len(asked)} queries"


def test_a_picture_and_words_find_that_pattern_on_that_thing(catalogue, pool):
    dice = Random("pictures and words")
    wanted = []
    for seed in range(QUERIES):
        pattern = PATTERNS[1 + seed % (len(PATTERNS) - 1)]  # a plain colour is no theme
        natural = pattern in NATURAL and dice.random() < 0.8
        wanted.append((pattern, NATURAL[pattern] if natural else dice.choice(colours_of(pattern)), seed))
    wanted.sort()
    pictures = _drawn(
        pool,
        [
            partial(
                reference_picture, pattern, colour,
                seed=5_000_000 + seed, size=QUERY_PIXELS, variants=QUERY_VARIANTS,
            )
            for pattern, colour, seed in wanted
        ],
    )  # fmt: skip
    asked = []
    for (pattern, _, _), picture in zip(wanted, pictures, strict=True):
        category = dice.choice(list(KINDS))
        words = like_this(dice, category, language=_language(dice))
        asked.append(Asked(Query(text=words, image=picture), category, pattern))

    recall = catalogue.recall_at_1(asked)

    assert recall >= 0.75, f"composed R@1 is {recall:.3f} over {len(asked)} queries"


@pytest.mark.parametrize(
    "words", ["phone case with this image theme", "funda de teléfono con este estampado"]
)
def test_the_leopard_and_a_phone_case_are_a_leopard_phone_case(catalogue, words):
    with Image.open(FOLDER / "leopard.jpg") as leopard:
        query = Query(text=words, image=leopard.convert("RGB"))

    [best] = catalogue.best([query], limit=3)

    found = [(article.category, article.pattern) for article in best]
    assert found == [("phone_case", "leopard")] * 3, [article.title for article in best]


def test_a_red_striped_mug_is_a_red_striped_mug(catalogue):
    [best] = catalogue.best([Query(text="red striped mug")], limit=3)

    found = [(article.category, article.pattern, article.colour) for article in best]
    assert found == [("mug", "stripes", "red")] * 3, [article.title for article in best]


def test_every_picture_of_the_demos_page_brings_its_pattern_to_a_mug(catalogue):
    asked = []
    for reference in REFERENCES:
        with Image.open(reference.path) as picture:
            query = Query(text="a mug with this", image=picture.convert("RGB"))
        asked.append(Asked(query, "mug", reference.pattern))

    best = catalogue.best([each.query for each in asked])

    wrong = [
        (reference.name, found[0].title)
        for reference, found, each in zip(REFERENCES, best, asked, strict=True)
        if (found[0].category, found[0].pattern) != (each.category, each.pattern)
    ]
    assert not wrong
