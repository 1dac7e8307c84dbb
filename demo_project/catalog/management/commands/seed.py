"""``manage.py seed``: fill the shop, with drawn products or with a folder of real ones."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

from demo_project.catalog import stocking, supplies


class Command(BaseCommand):
    help = (
        "Fill the shop with products and their pictures. Run again, it adds what is missing and nothing else; "
        "stopped half-way, it goes on where it was."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--images",
            metavar="FOLDER",
            help="load the products of FOLDER/products.jsonl and their pictures, instead of drawing some",
        )
        parser.add_argument("--limit", type=int, metavar="N", help="no more than N products")

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            self.stderr.write("\nStopped. Run it again, and it goes on where it was.")
            sys.exit(130)

    def handle(self, *, images: str | None = None, limit: int | None = None, **options: Any) -> None:
        if limit is not None and limit < 0:
            raise CommandError("--limit is a number of products: 0 or more.")
        try:
            supplied = supplies.from_folder(Path(images), limit) if images else supplies.rendered(limit)
        except supplies.SupplyError as error:
            raise CommandError(str(error)) from error
        added = stocking.add_products(supplied)
        missing = stocking.missing_pictures(supplied)
        if missing:
            processes = 1 if images else stocking.available_processors()
            with tqdm(
                desc="Loading" if images else "Drawing",
                unit=" pictures",
                total=len(missing),
                file=sys.stdout,
                mininterval=0.2 if sys.stdout.isatty() else 5,
            ) as bar:
                for written in stocking.add_pictures(missing, processes=processes):
                    bar.update(written)
        self.stdout.write(
            f"Seeded: {len(supplied)} products"
            + (
                f", {added} of them new, {len(missing)} pictures added"
                if added or missing
                else ", nothing to do"
            )
        )
