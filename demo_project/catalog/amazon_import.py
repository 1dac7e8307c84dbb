"""The import itself: reads records, has their pictures fetched beside each other, and writes what came.

Everything that waits is in a window of fixed size, and what is done is asked of the database, so memory does not grow
with the catalogue, and an import that was killed goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Protocol

from django.db import IntegrityError, reset_queries, transaction
from django.db.models import Count, Q
from django.utils.text import slugify

from shopsearch.exceptions import ImageTooLarge, ImageUnavailable, ImageUnreadable
from shopsearch.images import decode, jpeg
from shopsearch.models import ProductImage

from .amazon_records import Record, Review
from .models import Category, PictureSource, Product
from .stocking import write

USUAL_STOCK = 25
RECORDS_AT_ONCE = 50
PICTURE_PIXELS = 1_000
REVIEWS_FROM = 1_000
"""The position of the first picture of a shopper's: after all of the seller's."""


class Pictures(Protocol):
    """Where pictures come from; asked by several threads at once."""

    def fetch(self, address: str) -> bytes:
        """Raises ImageUnavailable or ImageTooLarge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """The line of a file."""

    file: str
    line: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A picture that is not there yet."""

    origin: Origin
    product_id: int
    sku: str
    title: str
    address: str
    position: int


@dataclass(kw_only=True)
class Report:
    """Every failure, as a line of JSON in a file, with its reason; and how many there were of each kind."""

    file: IO[str]
    kinds: Counter[str] = field(default_factory=Counter)
    products: int = 0
    new_products: int = 0
    new_pictures: int = 0

    def fail(self, origin: Origin, reason: str, *, sku: str = "", address: str = "") -> None:
        failure = {
            "file": origin.file,
            "line": origin.line,
            "sku": sku,
            "address": address,
            "reason": reason,
        }
        self.file.write(json.dumps(failure) + "\n")
        self.file.flush()
        # "the connection failed: reset by peer" is one of its kind.
        self.kinds[reason.split(":")[0]] += 1


@dataclass(kw_only=True)
class Import:
    """One run. ``on_product`` and ``on_picture`` are told of each, as soon as it is settled."""

    pictures: Pictures
    report: Report
    workers: int = 16
    on_product: Callable[[], object]
    on_picture: Callable[[], object]

    def __post_init__(self) -> None:
        self.pool = ThreadPoolExecutor(self.workers)
        self.underway: dict[Future[bytes], Wanted] = {}

    def products(self, records: Iterable[tuple[Origin, Record]]) -> None:
        """Add the products that the shop does not have, by SKU, and their pictures, by address."""
        rest = iter(records)
        while batch := list(islice(rest, RECORDS_AT_ONCE)):
            products = _products_of(batch, self.report)
            self._fetch(self._missing(batch, products))
            reset_queries()  # which Django remembers where DEBUG is on
            for _ in batch:
                self.on_product()

    def reviews(self, reviews: Iterable[tuple[Origin, Review]], most: int) -> None:
        """Add shoppers' own pictures to the products that the shop has, at most so many to each."""
        rest = ((origin, review) for origin, review in reviews if review.pictures)
        while batch := list(islice(rest, RECORDS_AT_ONCE)):
            self._fetch(self._missing_of_reviews(batch, most))
            reset_queries()

    def finish(self) -> None:
        """Wait for what is under way."""
        while self.underway:
            self._settle()
        self.pool.shutdown()

    def stop(self) -> None:
        """Begin nothing more, and drop what is under way."""
        self.pool.shutdown(wait=False, cancel_futures=True)

    def _missing(
        self, batch: Sequence[tuple[Origin, Record]], products: dict[str, Product]
    ) -> Iterator[Wanted]:
        known = _known(products.values()) | self._addresses_underway()
        for origin, record in batch:
            if (product := products.get(record.sku)) is None:
                self.report.fail(origin, "another product has its page's address", sku=record.sku)
                continue
            if not record.pictures:
                self.report.fail(origin, "the record has no picture", sku=record.sku)
            for position, address in enumerate(record.pictures):
                if (product.pk, address) not in known:
                    known.add((product.pk, address))
                    yield _wanted(origin, product, address, position)

    def _missing_of_reviews(self, batch: Sequence[tuple[Origin, Review]], most: int) -> Iterator[Wanted]:
        from_reviews = Count("images", filter=Q(images__position__gte=REVIEWS_FROM))
        rows = Product.objects.filter(sku__in={review.sku for _, review in batch}).annotate(own=from_reviews)
        products = {product.sku: product for product in rows}
        known = _known(products.values()) | self._addresses_underway()
        counts = Counter({product.pk: product.own for product in rows})
        counts.update(
            wanted.product_id for wanted in self.underway.values() if wanted.position >= REVIEWS_FROM
        )
        for origin, review in batch:
            if (product := products.get(review.sku)) is None:
                continue
            for address in review.pictures:
                if (product.pk, address) not in known and counts[product.pk] < most:
                    known.add((product.pk, address))
                    yield _wanted(origin, product, address, REVIEWS_FROM + counts[product.pk])
                    counts[product.pk] += 1

    def _addresses_underway(self) -> set[tuple[int, str]]:
        return {(wanted.product_id, wanted.address) for wanted in self.underway.values()}

    def _fetch(self, missing: Iterable[Wanted]) -> None:
        for wanted in missing:
            # As many again wait their turn, so that no worker waits for the disk.
            while len(self.underway) >= 2 * self.workers:
                self._settle()
            self.underway[self.pool.submit(self.pictures.fetch, wanted.address)] = wanted

    def _settle(self) -> None:
        """Write what has come, waiting for at least one."""
        for future in wait(self.underway, return_when=FIRST_COMPLETED).done:
            wanted = self.underway.pop(future)
            try:
                # Decoded here, one after the other: a picture may take 300 MB while it is.
                picture = jpeg(decode(future.result()), PICTURE_PIXELS)
            except ImageUnavailable as error:
                self.report.fail(wanted.origin, error.reason, sku=wanted.sku, address=wanted.address)
            except (ImageTooLarge, ImageUnreadable) as error:
                kind = "too large" if isinstance(error, ImageTooLarge) else "not a picture"
                self.report.fail(wanted.origin, f"{kind}: {error}", sku=wanted.sku, address=wanted.address)
            else:
                self.report.new_pictures += _add_picture(wanted, picture)
            self.on_picture()


def _products_of(batch: Sequence[tuple[Origin, Record]], report: Report) -> dict[str, Product]:
    """The records' products by SKU, those added that the shop did not have; the others stay as they are."""
    of_batch = Product.objects.filter(sku__in={record.sku for _, record in batch})
    there = set(of_batch.values_list("sku", flat=True))
    # The first of each where a file has one twice.
    missing = {record.sku: record for _, record in reversed(batch) if record.sku not in there}
    with transaction.atomic():
        names = {slugify(record.category): record.category for record in missing.values()}
        Category.objects.bulk_create(
            [Category(slug=slug, name=name) for slug, name in names.items()], ignore_conflicts=True
        )
        categories = dict(Category.objects.filter(slug__in=names).values_list("slug", "pk"))
        Product.objects.bulk_create(
            (
                Product(
                    sku=record.sku,
                    slug=record.slug,
                    title=record.title,
                    description=record.description,
                    price=record.price,
                    category_id=categories[slugify(record.category)],
                    category_path=record.category_path,
                    store=record.store,
                    brand=record.brand,
                    details=dict(record.details),
                    stock=USUAL_STOCK,
                )
                for record in reversed(missing.values())
            ),
            ignore_conflicts=True,
        )
    products = {product.sku: product for product in of_batch.only("sku", "title")}
    report.products += len(products)
    report.new_products += len(products.keys() - there)
    return products


def _known(products: Iterable[Product]) -> set[tuple[int, str]]:
    sources = PictureSource.objects.filter(product__in=list(products))
    return set(sources.values_list("product_id", "address"))


def _wanted(origin: Origin, product: Product, address: str, position: int) -> Wanted:
    return Wanted(
        origin=origin,
        product_id=product.pk,
        sku=product.sku,
        title=product.title,
        address=address,
        position=position,
    )


def _add_picture(wanted: Wanted, content: bytes) -> bool:
    """Whether it was added: another import may have been faster."""
    name = hashlib.sha256(f"{wanted.sku} {wanted.address}".encode()).hexdigest()[:32]
    name = f"amazon/{name[:2]}/{name}.jpg"
    write(name, content)
    try:
        with transaction.atomic():
            image = ProductImage.objects.create(
                product_id=wanted.product_id,
                image=name,
                alternative_text=wanted.title[:255],
                position=wanted.position,
            )
            PictureSource.objects.create(product_id=wanted.product_id, image=image, address=wanted.address)
    except IntegrityError:
        return False
    return True
