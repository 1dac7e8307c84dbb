"""Measure which scores of the bundled model are weak: ``python -m training.calibrate`` writes its calibration.json.

On the demo's assortment, as ``manage.py shopsearch_calibrate`` does on a shop's. To be run after each training.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shopsearch.evaluation.calibrator import Scores
    from shopsearch.types import Vectors

SAMPLE = 400


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default="", help="the model's; the bundled one without")
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "demo_project.settings")
    import django

    django.setup()
    calibrate(arguments.folder)


def calibrate(folder: str) -> None:
    """Writes calibration.json into the model's folder and prints what was measured."""
    import numpy as np
    from PIL import Image

    from demo_project.catalog.assortment import Article, articles
    from shopsearch.embedders.visualized_bge.embedder import VisualizedBGE
    from shopsearch.evaluation.calibrator import Sample, lines_of, measure
    from shopsearch.search import calibration
    from shopsearch.types import Query

    sold = sorted(articles(), key=lambda article: article.pattern)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        files = list(pool.map(Article.photograph, sold, chunksize=8))
    pictures = [Image.open(BytesIO(file)).convert("RGB") for file in files]
    embedder = VisualizedBGE(model=folder)
    vectors = embedder.embed([Query(image=picture) for picture in pictures])

    def best(asked: Vectors, without: Sequence[str]) -> Scores:
        scores = np.asarray(asked @ vectors.T, np.float64)
        for row, product in zip(scores, without, strict=True):
            if product:
                row[int(product)] = -1
        return np.asarray(scores.max(axis=1))

    chosen = Random("calibration").sample(range(len(sold)), SAMPLE)
    samples = [
        Sample(product_id=str(place), text=sold[place].title, image=pictures[place]) for place in chosen
    ]
    measured = measure(samples, index="", embedder=embedder, typical=vectors.mean(axis=0), best=best)
    calibration.write([each.calibration for each in measured], Path(embedder.calibration))
    print("\n".join(lines_of(measured)))


if __name__ == "__main__":
    main()
