"""``manage.py judged_queries``: queries with judgements for the demo's shop."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from demo_project.catalog import judged, stocking
from demo_project.catalog.models import Product

QUERIES = 300


class Command(BaseCommand):
    help = (
        "Write judged queries for the drawn shop: by words, by words and a colour, by a photograph, by a picture and "
        "words; in English and Spanish. Then: manage.py shopsearch_evaluate FOLDER/queries.jsonl"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("folder", type=Path, nargs="?", default=settings.DEMO_DIR / "judged")
        parser.add_argument(
            "--queries", type=int, default=QUERIES, metavar="N", help=f"of each kind (default: {QUERIES})"
        )

    def handle(self, *, folder: Path, queries: int, **options: Any) -> None:
        product_ids = dict(Product.objects.values_list("slug", "pk"))
        asked = judged.asked(queries)
        if not any(slug in product_ids for query in asked for slug in query.grades):
            raise CommandError("The shop sells nothing that these queries ask for. First: manage.py seed")
        written = judged.write(asked, folder, product_ids, processes=stocking.available_processors())
        for _ in tqdm(written, desc="Drawing", unit=" queries", total=len(asked), file=sys.stdout):
            pass
        self.stdout.write(f"Written: {len(asked)} queries in {folder / judged.QUERIES_FILE}")
