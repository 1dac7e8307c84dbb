"""The demo's own catalogue under the bundled model, and queries that nobody has seen: drawn once for all tests."""

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
from demo_project.rendering.scenes import reference_picture
from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
from shopsearch.types import Query

if TYPE_CHECKING:
    from shopsearch.types import Vectors

QUERIES = 300
"""Of each kind."""
QUERY_PIXELS = 200
QUERY_VARIANTS = range(40, 48)
"""Textures that neither the model has seen nor the shop prints with."""


@dataclass(frozen=True)
class Asked:
    query: Query
    category: str
    pattern: str
    colour: str = ""
    """"" where the query leaves it open."""


@dataclass(frozen=True)
class Catalogue:
    embedder: VisualizedBGE
    articles: Sequence[Article]
    pictures: Sequence[Image.Image]
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


@pytest.fixture(scope="session")
def pool():
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


@pytest.fixture(scope="session")
def catalogue(pool):
    sold = sorted(articles(), key=lambda article: article.pattern)
    files = pool.map(Article.photograph, sold, chunksize=8)
    embedder = VisualizedBGE()
    pictures = [Image.open(BytesIO(file)).convert("RGB") for file in files]
    vectors = embedder.embed([Query(image=picture) for picture in pictures])
    return Catalogue(embedder, sold, pictures, vectors)


def _drawn(pool: ProcessPoolExecutor, drawings: Sequence[Callable[[], Image.Image]]) -> list[Image.Image]:
    return list(pool.map(_draw, drawings, chunksize=8))


def _draw(drawing: Callable[[], Image.Image]) -> Image.Image:
    return drawing()


def _language(dice: Random) -> str:
    return dice.choice(["en", "en", "es"])


@pytest.fixture(scope="session")
def asked_by_words(catalogue):
    dice = Random("words")
    asked = []
    for _ in range(QUERIES):
        category, pattern = dice.choice(list(KINDS)), dice.choice(PATTERNS)
        sold = [a.colour for a in catalogue.articles if (a.category, a.pattern) == (category, pattern)]
        colour = dice.choice(["", *sold])
        words = description(dice, category, pattern, colour, language=_language(dice))
        asked.append(Asked(Query(text=words), category, pattern, colour))
    return asked


@pytest.fixture(scope="session")
def asked_by_photograph(catalogue, pool):
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
    return [
        Asked(Query(image=picture), article.category, article.pattern, article.colour)
        for picture, article in zip(photographs, sold, strict=True)
    ]


@pytest.fixture(scope="session")
def asked_by_picture_and_words(pool):
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
    return asked
