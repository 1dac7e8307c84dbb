"""manage.py shopsearch_calibrate: measure below which score an answer is a weak match."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from shopsearch.backends import embedder_of, get_vector_store
from shopsearch.evaluation.calibrator import SHARE, Sample, lines_of, measure
from shopsearch.exceptions import BackendError, ImageError
from shopsearch.images import decode
from shopsearch.models import Collection
from shopsearch.registry import ImageIndex, get_index
from shopsearch.search import calibration

if TYPE_CHECKING:
    from shopsearch.evaluation.calibrator import Measured, Scores
    from shopsearch.types import Vector, Vectors

FEWEST = 20
"""Fewer products say nothing about a share of 2 in 100."""
HITS = 50
"""To find the best of another product, however many pictures a product has."""


class Command(BaseCommand):
    help = (
        "Measure on the shop's own products which scores are weak, so that a search for what it does not sell says so. "
        "Once after the first indexing, and again when the model or the assortment changes much."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--index", default="", help="This index, such as catalog_productimage.")
        parser.add_argument("--sample", type=int, default=500, help="How many images to measure with; 500.")
        parser.add_argument(
            "--share",
            type=float,
            default=SHARE,
            help="How many of the searches for what is sold may be called weak; 0.02.",
        )
        parser.add_argument(
            "--json", action="store_true", help="Print one JSON object, for programs to read."
        )
        parser.add_argument(
            "--write",
            type=Path,
            metavar="FOLDER",
            help="Write calibration.json into a model's folder instead of the database.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 < options["share"] < 1:
            raise CommandError("--share is a part of 1, such as 0.02.")
        try:
            index = get_index(options["index"])
            with tqdm(unit="query", disable=None, dynamic_ncols=True) as bar:

                def show(done: int, total: int) -> None:
                    bar.total = total
                    bar.update(done - bar.n)

                measured = measure_index(index, options["sample"], options["share"], show)
        except (BackendError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        found = [each.calibration for each in measured]
        if options["write"] is None:
            calibration.save(found)
        else:
            calibration.write(found, options["write"] / "calibration.json")
        if options["json"]:
            self.stdout.write(json.dumps(_described(index, measured), indent=2))
        else:
            self.stdout.write("\n".join(lines_of(measured)))


def measure_index(index: ImageIndex, size: int, share: float, progress: Any) -> list[Measured]:
    """Raises CommandError where there is too little to measure with, BackendError while a backend is away."""
    import numpy as np

    collection = Collection.objects.of(index).live().first()
    embedder = embedder_of(collection.space) if collection else None
    if collection is None or embedder is None:
        raise CommandError(f"{index.name} is not indexed with this model: run manage.py shopsearch_reindex.")
    store, name = get_vector_store(), collection.name
    keys = list(index.get_queryset().order_by("pk").values_list("pk", flat=True))
    chosen = Random("calibration").sample(keys, min(size, len(keys)))  # noqa: S311
    entities = store.fetch(name, [index.entity_id(key) for key in chosen])
    if len(entities) < FEWEST:
        raise CommandError(
            f"{len(entities)} images of {index.name} are indexed; a calibration takes {FEWEST} at least."
        )

    def best(vectors: Vectors, without: Sequence[str]) -> Scores:
        return np.array([_best(vector, own) for vector, own in zip(vectors, without, strict=True)])

    def _best(vector: Vector, own: str) -> float:
        hits = store.search(name, vector, limit=HITS if own else 1)
        return next((hit.score for hit in hits if hit.product_id != own), -1.0)

    return measure(
        list(_samples(index, [entity.image_id for entity in entities])),
        index=index.name,
        embedder=embedder,
        typical=np.mean([entity.vector for entity in entities], axis=0),
        best=best,
        share=share,
        progress=progress,
    )


def _samples(index: ImageIndex, image_ids: Sequence[str]) -> Iterator[Sample]:
    for image in index.get_queryset().filter(pk__in=image_ids).order_by("pk"):
        product = index.get_product(image)
        try:
            with index.open_image(image) as file:
                picture = decode(file)
        except (OSError, ValueError, ImageError):
            continue  # what cannot be read any more is for shopsearch_reindex to say
        yield Sample(product_id=str(product.pk), text=index.get_title(product), image=picture)


def _described(index: ImageIndex, measured: Sequence[Measured]) -> dict[str, Any]:
    return {
        "index": index.name,
        "space": measured[0].calibration.space,
        "kinds": {
            each.calibration.kind: {
                "threshold": round(each.calibration.threshold, 4),
                "weight": each.calibration.weight,
                "pairs": each.calibration.pairs,
                "flagged_of_what_is_sold": round(each.flagged_sold, 4),
                "flagged_of_what_is_not": round(each.flagged_unsold, 4),
            }
            for each in measured
        },
    }
