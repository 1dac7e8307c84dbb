"""Fitting: learn an adapter from the shop's own titles and pictures, and prove that it helps.

The pairs are the pictures of a product with its title, and with all words that the index declares of it. Regularised
canonical correlation analysis (Hotelling 1936; ridge as in Vinod 1976) finds two linear maps, one for images and one
for texts, that make the two sides of a pair as similar as possible. Then ``evaluation.contrast`` changes them a little,
so that the words of a product are less similar to the images of others. All this takes seconds on a processor. What the
maps give is appended to a frozen model's vectors (``embedders.adapted``).

An adapter is only useful if it helps with products that it has not seen. So this is cross-validated: each third of the
products in turn is held out, together with all products with nearly the same title. The held-out products are searched
for by title in the whole shop, with an adapter that was fitted to the other two thirds, and without one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from shopsearch.backends import adapted_of, get_embedder, get_vector_store
from shopsearch.embedders.adapted import AdaptedEmbedder
from shopsearch.embedders.photos.colours import BY_WORD
from shopsearch.evaluation.contrast import contrasted
from shopsearch.evaluation.intervals import PairedDifference, differences
from shopsearch.evaluation.progress import Progress, embedded, unseen
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

WEIGHT, RANK = 0.2, 64
"""The weight of the fitted part; the maximum number of directions."""
RIDGES = (3.0, 10.0)
"""For images and for texts, in mean variances."""
FOLDS, ROUNDS = 3, 5
"""The figures depend on how the products happen to be divided, so the folds are drawn again in each round."""
MIN_PRODUCTS, MAX_PRODUCTS = 40, 2_000
"""Fewer products prove nothing; from more, a sample of this size is drawn."""
MAX_IMAGES = 4
"""How many images of a product are used."""
ALIKE = 0.5
"""Titles that share more than this part of their words belong to siblings: a product in blue and in red, in two sizes.
"""
PROOF_MEASURES = ("R@1", "R@10", "MRR")


@dataclass(frozen=True, slots=True, kw_only=True)
class Titled:
    """Products with their pictures, as a model sees them."""

    titles: Sequence[str]
    texts: Vectors
    """The titles' vectors: shape (products, dimension)."""
    words: Vectors
    """Of all that the index says in words of each product: the same shape."""
    images: Vectors
    """Shape (images, dimension)."""
    owners: Places
    """Each image's product, as a place among the titles."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How well titles find products that the fit has not seen, without and with the adapter."""

    products: int
    before: Sequence[float]
    """One number for each of PROOF_MEASURES."""
    after: Sequence[float]
    gained: Sequence[PairedDifference]
    worst: Sequence[float]
    """What was gained in the round that gained least, for each of PROOF_MEASURES."""

    @property
    def figures(self) -> dict[str, dict[str, float]]:
        """The numbers by measure, for programs and people."""
        numbers = zip(PROOF_MEASURES, self.before, self.after, self.gained, strict=True)
        return {
            name: {"before": before, "after": after, "gained": each.mean, "low": each.low, "high": each.high}
            for name, before, after, each in numbers
        }

    @property
    def is_better(self) -> bool:
        """Whether the gain is certain: the interval of MRR lies above zero, and no measure loses in any round.

        MRR decides because it depends on every rank, while a recall depends on a single cut-off.
        """
        return self.gained[-1].low > 0 and min(self.worst) >= 0

    @property
    def sentence(self) -> str:
        """Why no adapter is made."""
        gained = self.gained[-1]
        if gained.low > 0:
            measure = PROOF_MEASURES[int(np.argmin(self.worst))]
            why = f"in one of {ROUNDS} divisions of the products, {measure} falls by {-min(self.worst):.3f}"
        else:
            interval = f"95 % interval {gained.low:+.3f} to {gained.high:+.3f}"
            why = f"MRR changes by {gained.mean:+z.3f} ({interval}), which may be chance"
        return (
            f"No adapter is made: for titles of {self.products} products that it has not seen, {why}. More products, "
            "or titles that say more of what the pictures show, may help. The live collection stays."
        )

    def lines(self) -> Iterator[str]:
        """A table for people."""
        yield f"{self.products} products, each searched for by its title with an adapter that has not seen it"
        yield f"{'':<6}{'before':>8}{'after':>8}{'gained':>8}  95 % interval"
        for name, each in self.figures.items():
            numbers = f"{each['before']:8.3f}{each['after']:8.3f}{each['gained']:+8.3f}"
            yield f"{name:<6}{numbers}  {each['low']:+.3f} to {each['high']:+.3f}"


def prove(shop: Titled, embedder: Embedder, *, seed: int = 0, progress: Progress = unseen) -> Proof:
    """What an adapter gains for products that it has not seen. The same shop and seed give the same result."""
    families = _families(shop.titles)
    dice = np.random.default_rng(seed)
    before = _measured(shop, shop.images, shop.texts, np.arange(len(shop.titles)))
    rounds = []
    for done in range(ROUNDS):
        folds, after = _folds(families, dice), before.copy()
        for fold in range(FOLDS):
            held = folds == fold
            if held.all():  # one family: there is nothing to fit to
                continue
            adapted = AdaptedEmbedder(embedder=embedder, numbers=fit(shop, ~held), weight=WEIGHT)
            images, texts = adapted.adapt(shop.images, "image"), adapted.adapt(shop.texts, "text")
            after[held] = _measured(shop, images, texts, np.flatnonzero(held))
            progress(done * FOLDS + fold + 1, ROUNDS * FOLDS)
        rounds.append(after)
    mean = np.mean(rounds, axis=0)
    return Proof(
        products=len(shop.titles),
        before=before.mean(axis=0).tolist(),
        after=mean.mean(axis=0).tolist(),
        gained=differences(mean, before),
        worst=np.min([(after - before).mean(axis=0) for after in rounds], axis=0).tolist(),
    )


def fit(shop: Titled, chosen: npt.NDArray[np.bool_] | None = None) -> Vectors:
    """``AdaptedEmbedder.numbers``, fitted to the chosen products, or to all. Every product has the same weight."""
    kept = np.ones(len(shop.titles), bool) if chosen is None else chosen
    rows = np.flatnonzero(kept[shop.owners])
    owners = shop.owners[rows]
    shares = 1 / np.bincount(owners)[owners]
    shares /= shares.sum()
    images, texts, words = (
        each.astype(np.float64) for each in (shop.images[rows], shop.texts[kept], shop.words[kept])
    )
    both = np.concatenate([texts, words])
    sides = _Side.of(images, shares, RIDGES[0]), _Side.of(both, np.full(len(both), 1 / len(both)), RIDGES[1])
    numbers = np.cumsum(kept) - 1  # of the chosen products
    said = ((texts + words) / 2 - sides[1].mean)[numbers[owners]]
    together = ((images - sides[0].mean) * shares[:, None]).T @ said
    left, correlations, right = np.linalg.svd(
        sides[0].whitening.T @ together @ sides[1].whitening, full_matrices=False
    )
    rank = min(RANK, len(correlations))
    means = sides[0].mean, sides[1].mean
    maps = contrasted(
        (
            sides[0].whitening @ left[:, :rank] * correlations[:rank],
            sides[1].whitening @ right[:rank].T * correlations[:rank],
        ),
        means,
        images=images,
        owners=numbers[owners],
        texts=(texts, words),
        weight=WEIGHT,
    )
    return np.stack(
        [np.column_stack([mean, linear]) for mean, linear in zip(means, maps, strict=True)]
    ).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Side:
    """One of the two sides that the analysis aligns: images or texts."""

    mean: Numbers
    whitening: Numbers
    """After it, all directions vary equally, except for the ridge."""

    @classmethod
    def of(cls, vectors: Numbers, shares: Numbers, ridge: float) -> _Side:
        mean = shares @ vectors
        _, scales, axes = np.linalg.svd((vectors - mean) * np.sqrt(shares)[:, None], full_matrices=False)
        known = scales > 1e-6 * max(scales[0], 1e-12)
        scales, axes = scales[known], axes[known]
        damped = np.sqrt(scales**2 + ridge * (scales**2).mean()) if len(scales) else scales
        return cls(mean=mean, whitening=axes.T / damped)


def _measured(shop: Titled, images: Vectors, texts: Vectors, held: Places) -> Numbers:
    """A row of PROOF_MEASURES for each product in ``held``, searched for by its title. Namesakes count as found."""
    called: defaultdict[str, list[int]] = defaultdict(list)
    for place, title in enumerate(shop.titles):
        called[title.casefold()].append(place)
    measured = np.zeros((len(held), len(PROOF_MEASURES)))
    for row, place in enumerate(held):
        scores = np.full(len(shop.titles), -np.inf)
        np.maximum.at(scores, shop.owners, images @ texts[place])
        namesakes = called[shop.titles[place].casefold()]
        best = scores[namesakes].max()
        scores[namesakes] = -np.inf
        rank = 1 + int((scores >= best).sum())  # with equal scores, the other product may come first
        measured[row] = rank == 1, rank <= 10, 1 / rank
    return measured


def _folds(families: Sequence[int], dice: np.random.Generator) -> Places:
    """A fold for each product, from 0 to FOLDS - 1; the same for all products of a family."""
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
    """For each title, the first title of its family: all that are linked as siblings. Colour words are ignored."""
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
    """Pairs that may be siblings: if two titles share more than half of their words, their rarer halves share one."""
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
    progress: Progress = unseen,
) -> Titled:
    """The index's products, with the vectors that the collection holds. Only texts are embedded, no pictures."""
    images = index.get_queryset().annotate(_product=index.product_key).order_by("pk")
    products: defaultdict[object, list[object]] = defaultdict(list)
    for image, product in images.values_list("pk", "_product"):
        products[product].append(image)
    drawn = Random(seed).sample(sorted(products, key=str), min(MAX_PRODUCTS, len(products)))  # noqa: S311
    adapter, places = adapted_of(collection.space), {}
    titles: list[str] = []
    words: list[str] = []
    vectors, owners = [], []
    for keys in chunks_of(key for product in drawn for key in products[product][:MAX_IMAGES]):
        ids = [index.entity_id(key) for key in keys]
        held = {each.id: each.vector for each in get_vector_store().fetch(collection.name, ids)}
        for image in index.get_queryset().filter(pk__in=keys).order_by("pk"):
            product, vector = index.product_of(image), held.get(index.entity_id(image.pk))
            if product is None or vector is None or not (title := index.title_of(product).strip()):
                continue
            if product.pk not in places:
                places[product.pk] = len(titles)
                titles.append(title)
                words.append(" ".join(index.words_of(product)[0]) or title)
            vectors.append(adapter.restore(vector) if adapter else vector)
            owners.append(places[product.pk])
    unlike = sorted({*titles, *words})
    vectors_of_texts = embedded(embedder, [Query(text=text) for text in unlike], progress)
    known = dict(zip(unlike, vectors_of_texts, strict=True))
    texts, everything = (
        np.array([known[text] for text in each], np.float32).reshape(len(titles), embedder.dimension)
        for each in (titles, words)
    )
    return Titled(
        titles=titles,
        texts=texts,
        words=everything,
        images=np.array(vectors, np.float32).reshape(len(vectors), embedder.dimension),
        owners=np.array(owners, np.int64),
    )


def prove_index(index: ImageIndex, *, seed: int = 0, progress: Progress = unseen) -> tuple[Titled, Proof]:
    """The index's products, and what an adapter over EMBEDDER gains compared with EMBEDDER alone.

    Raises Refused where there are too few products or a rebuild is under way, and whatever a backend raises.
    """
    embedder, live = get_embedder(), Collection.objects.of(index).live().first()
    if live is None or model_space(live.space) != embedder.space:
        raise Refused(f"{index.name} is not indexed with this model: run manage.py shopsearch_reindex.")
    if Collection.objects.of(index).unfinished().exists():
        raise Refused(f"{index.name}: a rebuild is under way. Fit when it is done.")
    rounds, texts = ROUNDS * FOLDS, 0

    def embedding(done: int, total: int) -> None:
        nonlocal texts
        texts = total
        progress(done, total + rounds)

    shop = titled(index, embedder, live, seed=seed, progress=embedding)
    if len(shop.titles) < MIN_PRODUCTS:
        raise Refused(
            f"{len(shop.titles)} products of {index.name} are indexed and have a title; a fit needs at least "
            f"{MIN_PRODUCTS}."
        )
    return shop, prove(
        shop, embedder, seed=seed, progress=lambda done, total: progress(texts + done, texts + total)
    )


def go_live(index: ImageIndex, shop: Titled, proof: Proof) -> Collection:
    """Fit to all the products, save the adapter, and begin a rebuild that uses it; the workers fill the collection.

    Raises Refused where another rebuild has begun, and whatever the vector store raises. The adapter that was in use
    before then stays in use.
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
