"""Calibrating: find which scores mean a weak match, from queries that the shop can answer and queries that it cannot.

A score means nothing by itself: for a good match one model gives 0.3 and another 0.8, words score lower than pictures,
and some queries are near everything. So queries are made from the shop's own products: some as a shopper might ask for
them, and some for things that no such shop sells. At the threshold, only a few of the first would be called weak. Where
the scores of the two lie apart, the threshold is lower: halfway between them.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from django.core.cache import cache
from django.core.exceptions import ImproperlyConfigured
from PIL import ImageEnhance

from shopsearch.backends import embedder_of, get_vector_store
from shopsearch.embedders.base import Embedder
from shopsearch.evaluation.progress import Progress, embedded, unseen
from shopsearch.exceptions import BackendError, ImageError
from shopsearch.images import decode, normalised
from shopsearch.indexing.rebuild import Refused
from shopsearch.models import Collection, IndexEntry
from shopsearch.models.evaluation import Calibration
from shopsearch.registry import ImageIndex, get_indexes
from shopsearch.search import calibration
from shopsearch.search.retrieval import finds_by_words
from shopsearch.types import Query, QueryKind

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from PIL.Image import Image

    from shopsearch.types import Vector, Vectors

    Scores = npt.NDArray[np.float64]

logger = logging.getLogger(__name__)
SAMPLE_SIZE = 200
"""How many images to measure with: each makes six queries, so it takes a minute or less on a processor."""
MIN_IMAGES = 20
"""Fewer say nothing about a share of 2 in 100."""
HITS = 50
"""How many hits are fetched to find the best one of another product, although a product may have many pictures."""
RETRY_SECONDS = 600
"""For this long no other process calibrates the index, and after a failure none tries again."""
SHARE = 0.02
"""The share of the queries that the shop can answer that may be called weak."""
UNSOLD_SHARE = 0.9
"""The share of the queries that the shop cannot answer to call weak, where none that it can answer would be."""
WEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)
BINS, BAR = 20, 32
MAX_PHRASE_WORDS = 4
"""How many words a shopper types at most, if not the whole title."""

FOREIGN_WORDS = tuple(
    """
    airport, anteater, archbishop, asphalt, avalanche, bacteria, bagel, bankruptcy, billiards, cathedral, coal mine,
    crane driver, cucumber, customs officer, dentist, divorce, earthquake, election, excavator, flight ticket, forklift,
    funeral, glacier, haircut, hospital, insurance, invoice, lasagne, lawyer, lighthouse, mortgage, mushroom soup,
    oyster, parliament, passport, penguin, plumber, prison, railway station, rhinoceros, salmon, skyscraper, tax return,
    tooth implant, veterinarian, volcano, waterfall, wedding venue, wind turbine, zoo,
    abogado, aeropuerto, bosque, calabacín, catedral, cirujano, cocodrilo, divorcio, elefante, entierro, estatua,
    factura, fontanero, glaciar, hormiga, hospital, impuestos, iglesia, lenteja, merienda, molino, mudanza, notario,
    ostra, pasaporte, pingüino, préstamo, puerto, rascacielos, rinoceronte, seguro de vida, selva, terremoto, trigo,
    vacuna, volcán, yate de lujo
    """.replace("\n", " ").split(",")
)
"""Things that a shop hardly ever sells. Those with words that the shop itself uses are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A product to make queries from."""

    product_id: str
    text: str
    image: Image
    vector: Vector
    """The image's vector, as the collection has it."""


class _TrialQuery(NamedTuple):
    """A query that a product of the shop answers, or that none does."""

    kind: QueryKind
    belongs: bool
    query: Query | None
    """None where ``vector`` is used instead, because it is known already."""
    vector: Vector | None = None
    without: str = ""
    """The product that is left out of the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What was measured for one kind of query, and the calibration that follows from it."""

    calibration: Calibration
    sold: Scores
    """For queries that the shop can answer: the best score, less the weight times the typical score."""
    unsold: Scores
    """The same for queries that it cannot answer."""
    found_by_words: bool = False
    """Whether the queries that the shop can answer are good matches by their words alone."""

    @property
    def flagged_sold(self) -> float:
        return 0.0 if self.found_by_words else float((self.sold < self.calibration.threshold).mean())

    @property
    def flagged_unsold(self) -> float:
        return float((self.unsold < self.calibration.threshold).mean())


Best = Callable[["Vectors", Sequence[str]], "Scores"]
"""The best score of each query in the collection, without the product of the id given for it ("" leaves out none)."""


def measure(
    samples: Sequence[Sample],
    *,
    index: str,
    embedder: Embedder,
    typical: Vector,
    best: Best,
    finds_by_words: bool = False,
    share: float = SHARE,
    progress: Progress = unseen,
) -> list[Measured]:
    """One calibration for each kind of query; the same for the same samples. ``typical`` is the images' mean vector.

    Where the index finds by words, a product that has a query's words is never a weak match, whatever its score: see
    ``QueryTerms.mostly_in``. The threshold then only matters for the other queries. Most of these ask for things that
    are not sold, so the threshold may be as high as the median score of what is sold.

    For queries by picture alone, a query that the shop cannot answer is a sample's own picture, with its product left
    out. Raises whatever the embedder and the vector store raise.
    """
    import numpy as np

    made = list(_queries(samples))
    asked = embedded(embedder, [each.query for each in made if each.query is not None], progress)
    vectors = np.stack([next(asked) if each.vector is None else each.vector for each in made])
    scores = best(vectors, [each.without for each in made])
    usual = vectors @ np.asarray(typical, np.float32)
    measured = []
    kinds: tuple[QueryKind, ...] = ("text", "image", "composed")
    for kind in kinds:
        chosen = {
            belongs: np.array([each[:2] == (kind, belongs) for each in made]) for belongs in (True, False)
        }
        options = [
            _at_weight(weight, left[chosen[True]], left[chosen[False]], share)
            for weight in WEIGHTS
            for left in [scores - weight * usual]
        ]
        weight, threshold, sold, unsold = max(options, key=lambda each: (each[3] < each[1]).mean())
        threshold = _between(threshold, float(np.quantile(unsold, 1 - share)))
        found_by_words = kind == "text" and finds_by_words
        if found_by_words:
            strict = min(float(np.median(sold)), float(np.quantile(unsold, UNSOLD_SHARE)))
            threshold = max(threshold, strict)
        made_of = Calibration(
            index=index,
            space=embedder.space,
            kind=kind,
            threshold=threshold,
            weight=weight,
            typical=[float(number) for number in typical],
            pairs=len(sold),
        )
        measured.append(
            Measured(calibration=made_of, sold=sold, unsold=unsold, found_by_words=found_by_words)
        )
    return measured


def measure_index(
    index: ImageIndex, size: int = SAMPLE_SIZE, *, share: float = SHARE, progress: Progress = unseen
) -> list[Measured]:
    """Measure the index as it is now, with up to ``size`` images.

    Raises Refused where too few images are indexed, and BackendError while a backend is away.
    """
    import numpy as np

    collection = Collection.objects.of(index).live().first()
    embedder = embedder_of(collection.space) if collection else None
    if collection is None or embedder is None:
        raise Refused(f"{index.name} is not indexed with this model: run manage.py shopsearch_reindex.")
    store, name = get_vector_store(), collection.name
    keys = list(index.get_queryset().order_by("pk").values_list("pk", flat=True))
    chosen = Random("calibration").sample(keys, min(size, len(keys)))  # noqa: S311
    entities = store.fetch(name, [index.entity_id(key) for key in chosen])
    if len(entities) < MIN_IMAGES:
        raise Refused(
            f"{len(entities)} images of {index.name} are indexed; a calibration needs at least {MIN_IMAGES}."
        )

    def best(vectors: Vectors, without: Sequence[str]) -> Scores:
        return np.array([_best(vector, own) for vector, own in zip(vectors, without, strict=True)])

    def _best(vector: Vector, own: str) -> float:
        hits = store.search(name, vector, limit=HITS if own else 1)
        return next((hit.score for hit in hits if hit.product_id != own), -1.0)

    return measure(
        list(_samples(index, {entity.image_id: entity.vector for entity in entities})),
        index=index.name,
        embedder=embedder,
        typical=np.mean([entity.vector for entity in entities], axis=0),
        best=best,
        finds_by_words=finds_by_words(index, collection),
        share=share,
        progress=progress,
    )


def _samples(index: ImageIndex, vectors: Mapping[str, Vector]) -> Iterator[Sample]:
    for image in index.get_queryset().filter(pk__in=list(vectors)).order_by("pk"):
        product = index.product_of(image)
        if product is None:
            continue
        try:
            with index.open_image(image) as file:
                picture = decode(file)
        except (OSError, ValueError, ImageError):
            continue  # shopsearch_reindex reports pictures that cannot be read
        yield Sample(
            product_id=str(product.pk),
            text=index.title_of(product),
            image=picture,
            vector=vectors[str(image.pk)],
        )


def uncalibrated() -> Iterator[ImageIndex]:
    """The indexes that are completely indexed but not calibrated yet, so that no match can be called good or weak."""
    for index in get_indexes():
        live = Collection.objects.of(index).live().first()
        if (
            live is not None
            and not calibration.is_known(index.name, live.space)
            and not IndexEntry.objects.of(index).unfinished().exists()
            and live.stored.count() >= MIN_IMAGES
        ):
            yield index


def calibrate_new() -> None:
    """Calibrate what ``uncalibrated`` finds, in one process at a time. After a failure it is tried again later."""
    for index in uncalibrated():
        if cache.add(f"shopsearch:calibrating:{index.name}", 1, RETRY_SECONDS):
            try:
                calibration.save([each.calibration for each in measure_index(index)])
                logger.info("%s is calibrated: answers now say whether they are good matches.", index.name)
            except (Refused, BackendError, ImproperlyConfigured) as error:
                logger.warning("%s is not calibrated: %s", index.name, error)
            else:
                cache.delete(f"shopsearch:calibrating:{index.name}")


def _at_weight(
    weight: float, sold: Scores, unsold: Scores, share: float
) -> tuple[float, float, Scores, Scores]:
    import numpy as np

    threshold = _between(float(np.quantile(sold, share)), float(np.quantile(unsold, 1 - share)))
    return weight, threshold, sold, unsold


def _between(sold: float, unsold: float) -> float:
    """Halfway between the two, where hardly any scores are: shoppers' words are shorter and odder than titles."""
    return min(sold, (sold + unsold) / 2)


def _queries(samples: Sequence[Sample]) -> Iterator[_TrialQuery]:
    dice = Random("calibration")  # noqa: S311
    own = {word for sample in samples for word in _words(sample.text)}
    nouns = [noun for each in FOREIGN_WORDS if own.isdisjoint(_words(noun := " ".join(each.split())))]
    for sample in samples:
        seen = normalised(_as_new_photograph(sample.image, dice))
        if words := _words(sample.text):
            phrase = " ".join(_phrase(words, dice))
            yield _TrialQuery("text", True, Query(text=dice.choice([sample.text, phrase])))
            yield _TrialQuery("composed", True, Query(text=phrase, image=seen))
            absent = [dice.choice(nouns)]
            shared = dice.choice([[], _phrase(words, dice)[: MAX_PHRASE_WORDS - 1]])
            asked = " ".join(dice.choice([shared + absent, absent + shared]))
            yield _TrialQuery("text", False, Query(text=asked))
            yield _TrialQuery("composed", False, Query(text=asked, image=seen))
        yield _TrialQuery("image", True, Query(image=seen))
        yield _TrialQuery("image", False, None, sample.vector, without=sample.product_id)


def _words(text: str) -> list[str]:
    return re.findall(r"[\w'’-]+", text.casefold())


def _phrase(words: Sequence[str], dice: Random) -> list[str]:
    """A few consecutive words of the text."""
    length = dice.randint(1, min(MAX_PHRASE_WORDS, len(words)))
    start = dice.randint(0, len(words) - length)
    return list(words[start : start + length])


def _as_new_photograph(image: Image, dice: Random) -> Image:
    """The image as if photographed again: nearer, off centre, in another light."""
    width, height = image.size
    seen = dice.uniform(0.6, 0.95)
    left, top = dice.uniform(0, 1 - seen) * width, dice.uniform(0, 1 - seen) * height
    box = (
        int(left),
        int(top),
        max(int(left + seen * width), int(left) + 1),
        max(int(top + seen * height), int(top) + 1),
    )
    return ImageEnhance.Brightness(image.crop(box)).enhance(dice.uniform(0.7, 1.3))


def lines_of(measured: Sequence[Measured]) -> Iterator[str]:
    """The measurements as text for people, at most 80 columns wide."""
    for each in measured:
        calibration = each.calibration
        yield (
            f"{calibration.kind:<9} weak below {calibration.threshold:.3f}"
            + (f" + {calibration.weight:g} x the typical score" if calibration.weight else "")
            + f": {calibration.pairs} pairs"
        )
        shares = f"{each.flagged_sold:.1%} of what is sold, {each.flagged_unsold:.1%} of what is not"
        yield f"          flagged: {shares}"
        yield from _histogram(each)
        yield ""


def _histogram(measured: Measured) -> Iterator[str]:
    """Both distributions side by side, one line for each of BINS parts of their range."""
    import numpy as np

    both = np.concatenate([measured.sold, measured.unsold])
    edges = np.linspace(both.min(), both.max(), BINS + 1)
    sold, unsold = (np.histogram(each, edges)[0] / len(each) for each in (measured.sold, measured.unsold))
    longest = max(sold.max(), unsold.max())
    yield f"{'sold':>44}  {'not sold'}"
    for low, left, right in zip(edges, sold, unsold, strict=False):
        mark = "-" if low < measured.calibration.threshold <= low + (edges[1] - edges[0]) else " "
        bars = (round(BAR * share / longest) * "#" for share in (left, right))
        yield f"{low:9.3f} {mark} {next(bars):>{BAR}}  {next(bars)}".rstrip()
