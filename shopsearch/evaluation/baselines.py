"""Baselines that search has to beat, on the same queries and products: chance, colours and words."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shopsearch.evaluation.catalogue import Listed, Nearest
from shopsearch.evaluation.measures import DEPTH
from shopsearch.registry.analyzer import plain
from shopsearch.types import Query

if TYPE_CHECKING:
    from PIL.Image import Image

_SIDE = 64
_BINS = 8


@dataclass(kw_only=True)
class Chance:
    """Random products in random order; the same in each run."""

    name: str = "chance"
    _products: dict[str, None] = field(default_factory=dict, init=False)
    _dice: np.random.Generator = field(default_factory=lambda: np.random.default_rng(5), init=False)

    def add(self, item: Listed) -> None:
        self._products.setdefault(item.product_id)

    def find(self, query: Query) -> Sequence[str] | None:
        known = list(self._products)
        places = self._dice.choice(len(known), min(DEPTH, len(known)), replace=False)
        return [known[place] for place in places]


@dataclass(kw_only=True)
class ColourHistogram:
    """Compares how much of each of 512 colours two pictures have: 8 steps each of red, green and blue."""

    name: str = "colour histogram"
    _nearest: Nearest = field(default_factory=Nearest, init=False)

    def add(self, item: Listed) -> None:
        self._nearest.add(item.product_id, _histogram(item.picture))

    def find(self, query: Query) -> Sequence[str] | None:
        return None if query.image is None else self._nearest.find(_histogram(query.image))


def _histogram(picture: Image) -> npt.NDArray[np.float32]:
    """The square roots of the shares, a vector of unit length, so that the cosine is Bhattacharyya's coefficient."""
    pixels = np.asarray(picture.resize((_SIDE, _SIDE)), np.int64).reshape(-1, 3) * _BINS // 256
    counts = np.bincount(pixels @ np.array([_BINS * _BINS, _BINS, 1]), minlength=_BINS**3)
    shares: npt.NDArray[np.float64] = counts / counts.sum()
    return np.sqrt(shares).astype(np.float32)


@dataclass(kw_only=True)
class SharedWords:
    """Ranks by the words that the query shares with the index's text of a product; rare words count more (TF-IDF)."""

    name: str = "shared words"
    _lengths: dict[str, int] = field(default_factory=dict, init=False)
    _products_of: dict[str, list[str]] = field(default_factory=dict, init=False)

    def add(self, item: Listed) -> None:
        if item.product_id in self._lengths:
            return
        words = set(plain(item.words).split())
        self._lengths[item.product_id] = len(words)
        for word in words:
            self._products_of.setdefault(word, []).append(item.product_id)

    def find(self, query: Query) -> Sequence[str] | None:
        if not query.text:
            return None
        shared: defaultdict[str, float] = defaultdict(float)
        for word in sorted(set(plain(query.text).split())):
            having = self._products_of.get(word, [])
            for product_id in having:
                shared[product_id] += math.log(1 + len(self._lengths) / len(having))
        ranked = sorted(shared, key=lambda each: -shared[each] / math.sqrt(self._lengths[each]))
        return ranked[:DEPTH]
