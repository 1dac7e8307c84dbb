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
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shopsearch.backends import adapted_of, get_embedder, get_vector_store
from shopsearch.embedders.adapted import AdaptedEmbedder
from shopsearch.embedders.photos.colours import BY_WORD
from shopsearch.evaluation.intervals import PairedDifference, differences
from shopsearch.indexing import rebuild
from shopsearch.indexing.batch import model_space
from shopsearch.indexing.rebuild import Refused
from shopsearch.models import Adapter, Collection
from shopsearch.registry.analyzer import plain
from shopsearch.registry.keys import chunks_of
from shopsearch.types import Query

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder
    from shopsearch.registry import ImageIndex
    from shopsearch.types import Vectors

    Places = npt.NDArray[np.int64]
    Numbers = npt.NDArray[np.float64]

WEIGHT, RIDGE, RANK = 0.2, 3.0, 64
"""Of the fitted part; of the ridge, in mean variances; the most directions."""
FOLDS, ROUNDS = 3, 3
"""Who happens to be kept aside beside whom changes the figures: it is drawn anew in each round."""
FEWEST, MOST = 40, 2_000
"""Fewer products prove nothing; of more, so many are drawn."""
MAX_IMAGES = 4
"""Of a product."""
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
    gained: Sequence[PairedDifference]

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """By measure, for programs and people."""
        numbers = zip(MEASURES, self.before, self.after, self.gained, strict=True)
        return {
            name: {"before": before, "after": after, "gained": each.mean, "low": each.low, "high": each.high}
            for name, before, after, each in numbers
        }

    @property
    def is_better(self) -> bool:
        """Whether titles gain for certain: the interval of MRR lies above zero, and no measure loses on average.

        MRR decides, since it counts every place and a recall counts one.
        """
        return self.gained[-1].low > 0 and min(each.mean for each in self.gained) >= 0

    @property
    def sentence(self) -> str:
        """Why there is no adapter."""
        gained = self.gained[-1]
        return (
            f"No adapter is made: for titles of {self.products} products that it has not seen MRR changes by "
            f"{gained.mean:+.3f}, and by chance alone that may be from {gained.low:+.3f} to {gained.high:+.3f}. More "
            "products, or titles that say more of what pictures show, may change that. What answers now stays."
        )

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield f"{self.products} products, each found by its title, as one that the adapter has not seen"
        yield f"{'':<6}{'before':>8}{'after':>8}{'gained':>8}  95 % interval"
        for name, each in self.figures.items():
            numbers = f"{each['before']:8.3f}{each['after']:8.3f}{each['gained']:+8.3f}"
            yield f"{name:<6}{numbers}  {each['low']:+.3f} to {each['high']:+.3f}"


def prove(
    shop: Titled,
    embedder: Embedder,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Proof:
    """What an adapter gains for products that it has not seen; the same for the same shop and seed."""
    families = _families(shop.titles)
    dice = np.random.default_rng(seed)
    before = _measured(shop, shop.images, shop.texts, np.arange(len(shop.titles)))
    after = np.zeros_like(before)
    for done in range(ROUNDS):
        folds = _folds(families, dice)
        for fold in range(FOLDS):
            held = folds == fold
            adapted = AdaptedEmbedder(embedder=embedder, numbers=fit(shop, ~held), weight=WEIGHT)
            images, texts = adapted.adapt(shop.images, "image"), adapted.adapt(shop.texts, "text")
            after[held] += _measured(shop, images, texts, np.flatnonzero(held)) / ROUNDS
            progress(done * FOLDS + fold + 1, ROUNDS * FOLDS)
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
        _Side.of(vectors.astype(np.float64), shares) for vectors in (shop.images[rows], shop.texts[owners])
    ]
    left, correlations, right = np.linalg.svd(sides[0].whitened.T @ sides[1].whitened, full_matrices=False)
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
    def of(cls, vectors: Numbers, shares: Numbers) -> _Side:
        mean = shares @ vectors
        rows, scales, axes = np.linalg.svd((vectors - mean) * np.sqrt(shares)[:, None], full_matrices=False)
        known = scales > 1e-6 * max(scales[0], 1e-12)
        rows, scales, axes = rows[:, known], scales[known], axes[known]
        damped = np.sqrt(scales**2 + RIDGE * (scales**2).mean()) if len(scales) else scales
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
        namesakes = called[shop.titles[place].casefold()]
        best = scores[namesakes].max()
        scores[namesakes] = -np.inf
        rank = 1 + int((scores >= best).sum())  # of two that score the same, the other one may come first
        measured[row] = rank == 1, rank <= 10, 1 / rank
    return measured


def _folds(families: Sequence[int], dice: np.random.Generator) -> Places:
    """A number below FOLDS for each product; the same one for a family."""
    members: defaultdict[int, list[int]] = defaultdict(list)
    for place, family in enumerate(families):
        members[family].append(place)
    folds, sizes = np.zeros(len(families), np.int64), [0] * FOLDS
    for family in dice.permutation(sorted(members)):
        smallest = sizes.index(min(sizes))
        folds[members[family]] = smallest
        sizes[smallest] += len(members[family])
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
        for word in ordered[: len(each) // 2 + 1]:
            for other in rare[word]:
                yield other, place
            rare[word].append(place)


# A shop's index.


def titled(
    index: ImageIndex,
    embedder: Embedder,
    collection: Collection,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Titled:
    """The index's products, with the vectors that the collection holds: no picture is embedded, only titles are."""
    images = index.get_queryset().annotate(_product=index.product_key).order_by("pk")
    products: defaultdict[object, list[object]] = defaultdict(list)
    for image, product in images.values_list("pk", "_product"):
        products[product].append(image)
    drawn = Random(seed).sample(sorted(products, key=str), min(MOST, len(products)))  # noqa: S311
    adapter, places = adapted_of(collection.space), {}
    titles: list[str] = []
    vectors, owners = [], []
    for keys in chunks_of(key for product in drawn for key in products[product][:MAX_IMAGES]):
        ids = [index.entity_id(key) for key in keys]
        held = {each.id: each.vector for each in get_vector_store().fetch(collection.name, ids)}
        for image in index.get_queryset().filter(pk__in=keys).order_by("pk"):
            product, vector = index.get_product(image), held.get(index.entity_id(image.pk))
            if vector is None or not (title := index.get_title(product).strip()):
                continue
            if product.pk not in places:
                places[product.pk] = len(titles)
                titles.append(title)
            vectors.append(adapter.restore(vector) if adapter else vector)
            owners.append(places[product.pk])
    texts = [np.zeros((0, embedder.dimension), np.float32)]
    for start in range(0, len(titles), embedder.batch_size):
        chunk = titles[start : start + embedder.batch_size]
        texts.append(embedder.embed([Query(text=title) for title in chunk]))
        progress(start + len(chunk), len(titles))
    return Titled(
        titles=titles,
        texts=np.concatenate(texts),
        images=np.array(vectors, np.float32).reshape(len(vectors), embedder.dimension),
        owners=np.array(owners, np.int64),
    )


def prove_index(
    index: ImageIndex,
    *,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[Titled, Proof]:
    """The index's products, and what an adapter over EMBEDDER gains beside EMBEDDER alone.

    Raises Refused where there is nothing to fit to, or a rebuild is under way, and what a backend raises.
    """
    embedder, live = get_embedder(), Collection.objects.of(index).live().first()
    if live is None or model_space(live.space) != embedder.space:
        raise Refused(f"{index.name} is not indexed with this model: run manage.py shopsearch_reindex.")
    if Collection.objects.of(index).unfinished().exists():
        raise Refused(f"{index.name}: a rebuild is under way. Fit when it is done.")
    rounds = ROUNDS * FOLDS
    shop = titled(
        index, embedder, live, seed=seed, progress=lambda done, total: progress(done, total + rounds)
    )
    if len(shop.titles) < FEWEST:
        raise Refused(
            f"{len(shop.titles)} products of {index.name} are indexed and have a title; a fit takes {FEWEST} at least."
        )
    count = len(shop.titles)
    return shop, prove(
        shop, embedder, seed=seed, progress=lambda done, total: progress(count + done, count + total)
    )


def go_live(index: ImageIndex, shop: Titled, proof: Proof) -> Collection:
    """Fit to all the products, keep the adapter, and begin to fill a collection with it: the workers go on.

    Raises Refused where a rebuild was begun meanwhile, and what the vector store raises; no adapter is in use then that
    was not before.
    """
    adapted = AdaptedEmbedder(embedder=get_embedder(), numbers=fit(shop), weight=WEIGHT)
    adapters = Adapter.objects.of(index)
    before = adapters.chosen()
    adapters.update_or_create(
        space=adapted.space,
        defaults={
            "index": index.name,
            "base_space": adapted.embedder.space,
            "dimension": adapted.embedder.dimension,
            "numbers": adapted.numbers.astype("<f4").tobytes(),
            "weight": adapted.weight,
            "products": proof.products,
            "figures": proof.figures,
        },
    )
    adapters.choose(index, adapted.space)
    try:
        return rebuild.begin(index)
    except Exception:
        adapters.choose(index, before.space if before else "")
        raise
