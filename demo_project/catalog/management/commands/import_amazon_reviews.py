"""``manage.py import_amazon_reviews``: fill the shop from Amazon Reviews 2023, by addresses or from a folder."""

from __future__ import annotations

import sys
import tarfile
import zlib
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from tqdm import tqdm

import shopsearch
from demo_project.catalog.amazon_import import Import, Origin, Report
from demo_project.catalog.amazon_pictures import PictureAddresses, PictureFolder, unpacked
from demo_project.catalog.amazon_records import Line, Record, RecordError, lines, record_of, review_of
from shopsearch.images.download import Downloader

MAX_KINDS = 12
"""Kinds of failure that are told in the terminal; the file has all."""
CATEGORY_OF_PICTURES = "Amazon Reviews 2023"


class Command(BaseCommand):
    help = (
        "Fill the shop with products of Amazon Reviews 2023 and their pictures. Run again, it adds what is missing "
        "and nothing else; killed half-way, it goes on where it was."
    )

    report: Report
    bar: Any

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("meta", nargs="?", metavar="META.jsonl", type=Path,
                            help="the products: meta_<Category>.jsonl, raw or of the builder, gzip or not")  # fmt: skip
        parser.add_argument("reviews", nargs="?", metavar="REVIEWS.jsonl", type=Path,
                            help="shoppers' own pictures are added to those products")  # fmt: skip
        parser.add_argument("--images", metavar="FOLDER", type=Path,
                            help="take the pictures from this folder or .tar.gz archive, fetch nothing")  # fmt: skip
        parser.add_argument("--limit", type=int, metavar="N", help="no more than N products")
        parser.add_argument("--pictures", type=int, default=1, metavar="N",
                            help="no more than N of a product's pictures, the main one first (default: 1)")  # fmt: skip
        parser.add_argument("--review-pictures", type=int, default=3, metavar="N",
                            help="no more than N of shoppers' pictures for a product (default: 3)")  # fmt: skip
        parser.add_argument(
            "--workers", type=int, default=16, metavar="N", help="fetch N at once (default: 16)"
        )
        parser.add_argument("--retries", type=int, default=3, metavar="N",
                            help="try N times more where that may help (default: 3)")  # fmt: skip
        parser.add_argument("--seconds", type=float, default=20.0, metavar="S",
                            help="give an address up after S seconds (default: 20)")  # fmt: skip
        parser.add_argument("--report", metavar="FILE", type=Path, help="where every failure is listed")
        parser.add_argument("--allow-http", action="store_true", help="fetch http addresses too")
        parser.add_argument("--allow-port", type=int, action="append", default=[], metavar="PORT",
                            help="fetch from this port too")  # fmt: skip
        parser.add_argument("--allow-network", action="append", default=[], metavar="NETWORK",
                            help="fetch from this private network too, such as 10.1.0.0/16")  # fmt: skip

    def run_from_argv(self, argv: list[str]) -> None:
        try:
            super().run_from_argv(argv)
        except KeyboardInterrupt:
            self.stderr.write("\nStopped. Run it again, and it goes on where it was.")
            sys.exit(130)

    def handle(self, *, meta: Path | None, reviews: Path | None, images: Path | None, **options: Any) -> None:
        if meta is None and images is None:
            raise CommandError("Name the file of the products, or a folder of pictures by --images.")
        if min(options["workers"], options["pictures"]) < 1 or (options["limit"] or 0) < 0:
            raise CommandError("--workers and --pictures are 1 or more, --limit is 0 or more.")
        settings.DEMO_DIR.mkdir(parents=True, exist_ok=True)
        report = options["report"] or settings.DEMO_DIR / "amazon-reviews-failures.jsonl"
        with ExitStack() as stack:
            try:
                for path in filter(None, (meta, reviews)):
                    path.open("rb").close()
                self.report = Report(file=stack.enter_context(report.open("w", encoding="utf-8")))
            except OSError as error:
                raise CommandError(f"{error.filename} cannot be opened: {error.strerror}") from error
            source = _folder(images, stack) if images else _addresses(**options)
            limit = options["limit"]
            self.bar = stack.enter_context(_bar(limit, meta))
            advance = self.bar.update if limit is not None or meta is None else lambda: None
            run = Import(
                pictures=source,
                report=self.report,
                workers=options["workers"],
                on_product=advance,
                on_picture=self.show,
            )
            # What the shop's workers index is told them at the end, once.
            stack.enter_context(shopsearch.paused())
            try:
                run.products(islice(self.records(meta, source, options["pictures"]), limit))
                if reviews is not None:
                    run.reviews(self.parsed(reviews, review_of), options["review_pictures"])
                run.finish()
            finally:
                if isinstance(source, PictureAddresses):
                    source.stopping.set()
                run.stop()
        self.summarise(report)

    def records(
        self, meta: Path | None, source: PictureAddresses | PictureFolder, most: int
    ) -> Iterator[tuple[Origin, Record]]:
        if isinstance(source, PictureAddresses):
            for origin, record in self.parsed(meta, record_of) if meta else ():
                yield origin, replace(record, pictures=record.pictures[:most])
        elif meta is None:
            yield from _records_of_pictures(source)
        else:
            for origin, record in self.parsed(meta, record_of):
                # What the folder has no picture of is not what was asked for.
                if pictures := source.among(record):
                    yield origin, replace(record, pictures=pictures[:most])

    def parsed(self, path: Path, parse: Callable[[bytes], Any]) -> Iterator[tuple[Origin, Any]]:
        for line in lines(path):
            origin = Origin(file=path.name, line=line.number)
            self.show_position(line)
            if line.error:
                self.report.fail(origin, line.error)
                continue
            try:
                yield origin, parse(line.content)
            except RecordError as error:
                self.report.fail(origin, str(error))

    def show_position(self, line: Line) -> None:
        if self.bar.unit == "B":
            self.bar.update(max(0, min(line.position, self.bar.total) - self.bar.n))

    def show(self) -> None:
        counts = {"pictures": self.report.new_pictures, "failed": self.report.kinds.total()}
        self.bar.set_postfix(counts, refresh=False)
        self.bar.update(0)

    def summarise(self, report: Path) -> None:
        told = self.report
        self.stdout.write(
            f"Imported: {told.products} products, {told.new_products} of them new, {told.new_pictures} pictures added"
        )
        if failures := told.kinds.total():
            self.stdout.write(f"{failures} failures, each with its reason in {report}:")
            for kind, count in told.kinds.most_common(MAX_KINDS):
                self.stdout.write(f"  {count} × {kind}")


def _folder(path: Path, stack: ExitStack) -> PictureFolder:
    try:
        folder = stack.enter_context(unpacked(path, settings.DEMO_DIR))
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise CommandError(f"{path} is neither a folder nor an archive that can be read: {error}") from error
    # The reference's archive has the products' pictures in a folder of their own, below its query's.
    source = PictureFolder(folder / "images" if (folder / "images").is_dir() else folder)
    if not source.files:
        raise CommandError(f"There are no pictures in {path}.")
    return source


def _addresses(
    *,
    allow_http: bool,
    allow_port: list[int],
    allow_network: list[str],
    seconds: float,
    retries: int,
    **_: Any,
) -> PictureAddresses:
    downloader = Downloader(
        schemes=("https", "http") if allow_http else ("https",),
        ports=tuple(allow_port),
        networks=tuple(allow_network),
        seconds=seconds,
    )
    return PictureAddresses(downloader=downloader, retries=retries)


def _records_of_pictures(source: PictureFolder) -> Iterator[tuple[Origin, Record]]:
    """A product for each picture: the reference threw its texts away."""
    for number, name in enumerate(source.files, start=1):
        sku = PurePosixPath(name).stem
        record = Record(
            sku=sku[:64],
            title=f"Product {sku}"[:500],
            category=CATEGORY_OF_PICTURES,
            details={},
            pictures=[name],
        )
        yield Origin(file=name, line=number), record


def _bar(limit: int | None, meta: Path | None) -> Any:
    """Over products where their number is known, else over the file."""
    by_size = limit is None and meta is not None
    return tqdm(
        desc="Importing",
        total=meta.stat().st_size if by_size and meta else limit,
        unit="B" if by_size else " products",
        unit_scale=by_size,
        file=sys.stdout,
        mininterval=0.2 if sys.stdout.isatty() else 5,
    )
