"""manage.py shopsearch_calibrate: measure the score below which a match is weak."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError

from shopsearch.evaluation.calibrator import SAMPLE_SIZE, SHARE, lines_of, measure_index
from shopsearch.evaluation.progress import progress_bar
from shopsearch.management.command import ShopsearchCommand
from shopsearch.registry import ImageIndex, get_index
from shopsearch.search import calibration

if TYPE_CHECKING:
    from shopsearch.evaluation.calibrator import Measured


class Command(ShopsearchCommand):
    help = (
        "Measure with the shop's own products which scores mean a weak match, so that a search for something the shop "
        "does not sell says so. A worker does it after the first indexing and for each new model; run it again when "
        "the assortment has changed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--index", default="", help="The index, such as catalog_productimage.")
        parser.add_argument(
            "--sample", type=int, default=SAMPLE_SIZE, help=f"How many images to measure with; {SAMPLE_SIZE}."
        )
        parser.add_argument(
            "--share",
            type=float,
            default=SHARE,
            help="The share of searches for things the shop sells that may be called weak; 0.02.",
        )
        parser.add_argument(
            "--json", action="store_true", help="Print one JSON object, for programs to read."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if not 0 < options["share"] < 1:
            raise CommandError("--share is a number between 0 and 1, such as 0.02.")
        index = get_index(options["index"])
        with progress_bar("query") as show:
            measured = measure_index(index, options["sample"], share=options["share"], progress=show)
        calibration.save([each.calibration for each in measured])
        if options["json"]:
            self.stdout.write(json.dumps(_described(index, measured), indent=2))
        else:
            self.stdout.write("\n".join(lines_of(measured)))


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
