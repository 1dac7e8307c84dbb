"""Fitting: learn from a shop's own titles where its pictures and its words belong together, and prove it.

Titles and pictures of the same products are the pairs that regularised canonical correlation analysis (Hotelling 1936;
ridge as in Vinod 1976) finds two linear maps for, one of images and one of texts, after which both say the same. It is
closed form, and takes seconds on a processor. What it gives is appended to a frozen model's vectors
(``embedders.adapted``).

An adapter is only worth having where it helps with products that it has not seen. So each third of the products in turn
is kept aside, together with all that are called nearly the same, and found by title among the whole shop, with the
adapter of the other two thirds and without.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shopsearch.embedders.adapted import AdaptedEmbedder
from shopsearch.embedders.photos.colours import BY_WORD
from shopsearch.evaluation.intervals import Difference, differences
from shopsearch.registry.analyzer import plain

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder
    from shopsearch.types import Vectors

    Places = npt.NDArray[np.int64]
    Numbers = npt.NDArray[np.float64]

WEIGHT, RIDGES, RANK = 0.3, (1.0, 1.0), 64
"""Of the fitted part; of the ridges of images and of texts, in mean variances; the most directions."""
FOLDS = 3
FEWEST = 40
"""Fewer products prove nothing."""
ALIKE = 0.5
"""Titles that share more of their words than this are of siblings: a product in blue and in red, in two sizes."""
MEASURES = ("R@1", "R@10", "MRR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Titled:
    """Products with their pictures, as a model sees them."""

    titles: Sequence[str]
    texts: Vectors
    """The titles' vectors: shape (products, dimension)."""
    images: Vectors
    """Shape (images, dimension)."""
    owners: Places
    """Each image's product, as a place among the titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How well titles find products that the fit has not seen, and what the adapter changes about it."""

    products: int
    before: Sequence[float]
    """One number for each of MEASURES."""
    after: Sequence[float]
    gained: Sequence[Difference]

    @property
    def is_better(self) -> bool:
        """Whether the titles gain for certain, and no measure loses on average."""
        recall, reciprocal = self.gained[1], self.gained[2]
        return max(recall.low, reciprocal.low) > 0 and min(each.mean for each in self.gained) >= 0


def prove(
    shop: Titled,
    embedder: Embedder,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Proof:
    """What an adapter gains for products that it has not seen; the same for the same shop and seed."""
    folds = _folds(shop.titles, seed)
    before, after = (np.zeros((len(shop.titles), len(MEASURES))) for _ in range(2))
    for fold in range(FOLDS):
        held = folds == fold
        adapted = AdaptedEmbedder(embedder=embedder, numbers=fit(shop, ~held), weight=WEIGHT)
        images, texts = adapted.adapt(shop.images, "image"), adapted.adapt(shop.texts, "text")
        before[held] = _measured(shop, shop.images, shop.texts, np.flatnonzero(held))
        after[held] = _measured(shop, images, texts, np.flatnonzero(held))
        progress(fold + 1, FOLDS)
    return Proof(
        products=len(shop.titles),
        before=before.mean(axis=0).tolist(),
        after=after.mean(axis=0).tolist(),
        gained=differences(after, before),
    )


def fit(shop: Titled, chosen: npt.NDArray[np.bool_] | None = None) -> Vectors:
    """``AdaptedEmbedder.numbers``, from these products alone where some are chosen. Each counts the same."""
    rows = np.flatnonzero(np.ones(len(shop.owners), bool) if chosen is None else chosen[shop.owners])
    owners = shop.owners[rows]
    shares = 1 / np.bincount(owners)[owners]
    shares /= shares.sum()
    sides = [
        _Side.of(vectors.astype(np.float64), shares, ridge)
        for vectors, ridge in zip((shop.images[rows], shop.texts[owners]), RIDGES, strict=True)
    ]
    left, correlations, right = np.linalg.svd(sides[0].whitened.T @ sides[1].whitened)
    rank = min(RANK, len(correlations))
    directions = (left[:, :rank], right[:rank].T)
    return np.stack(
        [
            np.column_stack([side.mean, side.whitening @ each * correlations[:rank]])
            for side, each in zip(sides, directions, strict=True)
        ]
    ).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One of the two that are to agree: images or texts."""

    mean: Numbers
    whitened: Numbers
    """Rows in which no direction varies more than another, as far as the ridge lets them."""
    whitening: Numbers

    @classmethod
    def of(cls, vectors: Numbers, shares: Numbers, ridge: float) -> _Side:
        mean = shares @ vectors
        rows, scales, axes = np.linalg.svd((vectors - mean) * np.sqrt(shares)[:, None], full_matrices=False)
        known = scales > 1e-6 * max(scales[0], 1e-12)
        rows, scales, axes = rows[:, known], scales[known], axes[known]
        damped = np.sqrt(scales**2 + ridge * (scales**2).mean()) if len(scales) else scales
        return cls(mean=mean, whitened=rows * (scales / damped), whitening=axes.T / damped)


def _measured(shop: Titled, images: Vectors, texts: Vectors, held: Places) -> Numbers:
    """One row of MEASURES for each product that is looked for by its title; namesakes are as good."""
    called: defaultdict[str, list[int]] = defaultdict(list)
    for place, title in enumerate(shop.titles):
        called[title.casefold()].append(place)
    measured = np.zeros((len(held), len(MEASURES)))
    for row, place in enumerate(held):
        scores = np.full(len(shop.titles), -np.inf)
        np.maximum.at(scores, shop.owners, images @ texts[place])
        best = scores[called[shop.titles[place].casefold()]].max()
        rank = 1 + int((scores > best).sum())
        measured[row] = rank == 1, rank <= 10, 1 / rank
    return measured


def _folds(titles: Sequence[str], seed: int) -> Places:
    """A number below FOLDS for each title; the same one for siblings."""
    dice = np.random.default_rng(seed)
    families: defaultdict[int, list[int]] = defaultdict(list)
    for place, family in enumerate(_families(titles)):
        families[family].append(place)
    folds, sizes = np.zeros(len(titles), np.int64), [0] * FOLDS
    for family in dice.permutation(sorted(families)):
        smallest = sizes.index(min(sizes))
        folds[families[family]] = smallest
        sizes[smallest] += len(families[family])
    return folds


def _families(titles: Sequence[str]) -> list[int]:
    """For each title the first one of its family: those that are linked by titles of siblings. Colours do not count."""
    words = [frozenset(plain(title).split()) - BY_WORD.keys() for title in titles]
    first = list(range(len(titles)))

    def root(place: int) -> int:
        while first[place] != place:
            first[place] = place = first[first[place]]
        return place

    for one, other in _sharing(words):
        if len(words[one] & words[other]) > ALIKE * len(words[one] | words[other]):
            low, high = sorted((root(one), root(other)))
            first[high] = low
    return [root(place) for place in range(len(titles))]


def _sharing(words: Sequence[frozenset[str]]) -> Iterator[tuple[int, int]]:
    """Pairs that may be siblings: two that share more than half of their words share one of their rarest halves."""
    often = Counter(word for each in words for word in each)
    rare: defaultdict[str, list[int]] = defaultdict(list)
    for place, each in enumerate(words):
        ordered = sorted(each, key=lambda word: (often[word], word))
        for word in ordered[: len(each) // 2 + 1] or [""]:
            for other in rare[word]:
                yield other, place
            rare[word].append(place)
