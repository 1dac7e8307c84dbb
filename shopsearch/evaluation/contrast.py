"""Contrast: change an adapter's maps until a product's words are nearer to its own images than to other products'.

Canonical correlation makes the two sides of each pair similar, and does not look at the other pairs. Here, each step
draws some products, with one image and one text of each, and asks which image belongs to each text: cross-entropy, with
the other images as wrong answers (https://arxiv.org/abs/2103.00020). The score is that of a search, the model's cosine
plus the fitted one, so the maps learn what the model does not know. A shop has few products, so the maps are held near
to where they begin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    Places = npt.NDArray[np.int64]
    Numbers = npt.NDArray[np.float64]

STEPS, PRODUCTS = 50, 256
"""How often products are drawn, and at most how many."""
RATE = 0.1
"""The length of the first step; the maps begin with length 1. The steps become shorter, the last one is nearly 0."""
TEMPERATURE = 0.05
"""The lower, the more those wrong images count that are nearest to the text."""
HOLD = 3.0
"""How strongly the maps are pulled back to where they began."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """An image and a text of each of some products, as the model sees them; those in the same row belong together."""

    images: Numbers
    texts: Numbers


def contrasted(
    maps: tuple[Numbers, Numbers],
    means: tuple[Numbers, Numbers],
    *,
    images: Numbers,
    owners: Places,
    texts: tuple[Numbers, Numbers],
    weight: float,
) -> tuple[Numbers, Numbers]:
    """The maps for images and for texts, changed. ``owners`` are the images' products, as rows of both of ``texts``.

    The same products always give the same maps.
    """
    dice = np.random.default_rng(0)
    begun = _scaled(maps[0]), _scaled(maps[1])
    found = begun
    for step in range(STEPS):
        uphill = gradients(found, means, _drawn(images, owners, texts, dice), weight)
        length = RATE * (1 - step / STEPS)
        found = (
            _stepped(found[0], uphill[0], begun[0], length),
            _stepped(found[1], uphill[1], begun[1], length),
        )
    return found


def _stepped(linear: Numbers, uphill: Numbers, begun: Numbers, length: float) -> Numbers:
    """One map after one step."""
    return linear - length * _scaled(uphill + 2 * HOLD * (linear - begun))


def gradients(
    maps: tuple[Numbers, Numbers], means: tuple[Numbers, Numbers], pairs: Pairs, weight: float
) -> tuple[Numbers, Numbers]:
    """Those of the mean cross-entropy, for both maps."""
    images, texts = pairs.images - means[0], pairs.texts - means[1]
    seen, said = _Directions.of(images @ maps[0]), _Directions.of(texts @ maps[1])
    scores = (pairs.texts @ pairs.images.T + weight * said.rows @ seen.rows.T) / TEMPERATURE
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    excess = (shares - np.eye(len(scores))) * (weight / TEMPERATURE / len(scores))
    return images.T @ seen.before(excess.T @ said.rows), texts.T @ said.before(excess @ seen.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Directions:
    """Rows at unit length, and how long they were."""

    rows: Numbers
    lengths: Numbers

    @classmethod
    def of(cls, rows: Numbers) -> _Directions:
        lengths = np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
        return cls(rows=rows / lengths, lengths=lengths)

    def before(self, gradient: Numbers) -> Numbers:
        """The gradient at the rows as they were, from the gradient at unit length."""
        along = (self.rows * gradient).sum(axis=1, keepdims=True)
        return np.asarray((gradient - self.rows * along) / self.lengths)


def _drawn(
    images: Numbers, owners: Places, texts: tuple[Numbers, Numbers], dice: np.random.Generator
) -> Pairs:
    """An image of each product, and one of its two texts; of many products, only some."""
    order = dice.permutation(len(images))
    products, first = np.unique(owners[order], return_index=True)
    some = dice.permutation(len(products))[:PRODUCTS]
    chosen = products[some]
    other = dice.random((len(some), 1)) < 0.5
    return Pairs(images=images[order[first[some]]], texts=np.where(other, texts[1][chosen], texts[0][chosen]))


def _scaled(numbers: Numbers) -> Numbers:
    """At length 1; zeros stay zeros."""
    return np.asarray(numbers / (np.linalg.norm(numbers) or 1))
