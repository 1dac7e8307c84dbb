"""Stocking the shop: rows and pictures of what is supplied, but only what is not there yet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.utils.text import slugify

import shopsearch
from shopsearch.models import ProductImage

from .models import Category, Product
from .supplies import Picture, Supply, opened

PICTURES_AT_ONCE = 32
"""Pictures written in one transaction: the most that has to be made again after an interruption."""
PICTURES_PER_PROCESS = 16
"""A process of its own pays from so many pictures."""

Missing = tuple[Supply, int, Picture]
"""A picture that is not there, with its product and its position."""


def missing_pictures(supplies: Sequence[Supply]) -> list[Missing]:
    """The pictures whose row or file is not there, those of one pattern together."""
    rows = set(ProductImage.objects.values_list("image", flat=True))
    return [
        (supply, position, picture)
        for supply in sorted(supplies, key=lambda supply: supply.pattern)
        for position, picture in enumerate(supply.pictures)
        if picture.name not in rows or not default_storage.exists(picture.name)
    ]


@transaction.atomic
def add_products(supplies: Sequence[Supply]) -> int:
    """Add the products that the shop does not have, by slug; those it has stay as they are."""
    known = set(Product.objects.values_list("slug", flat=True))
    missing = [supply for supply in supplies if supply.slug not in known]
    categories = {slugify(supply.category): supply.category for supply in reversed(missing)}
    Category.objects.bulk_create(
        [Category(slug=slug, name=name) for slug, name in categories.items()], ignore_conflicts=True
    )
    keys = dict(Category.objects.values_list("slug", "pk"))
    Product.objects.bulk_create(
        Product(
            slug=supply.slug,
            sku=supply.sku,
            title=supply.title,
            category_id=keys[slugify(supply.category)],
            description=supply.description,
            price=supply.price,
            stock=supply.stock,
            colour=supply.colour,
            pattern=supply.pattern,
            brand=supply.brand,
        )
        for supply in missing
    )
    return len(missing)


def add_pictures(missing: Sequence[Missing], *, processes: int = 1) -> Iterator[int]:
    """Make or read the pictures and write them; yields how many were written, batch after batch.

    What was yielded is in the shop for good, and in the outbox: an interruption costs one batch.
    """
    processes = min(processes, len(missing) // PICTURES_PER_PROCESS)
    with opened([picture for _, _, picture in missing], processes=processes) as files:
        for start in range(0, len(missing), PICTURES_AT_ONCE):
            batch = missing[start : start + PICTURES_AT_ONCE]
            for _, _, picture in batch:
                write(picture.name, next(files))
            _add_rows(batch)
            yield len(batch)


def available_processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@transaction.atomic
def _add_rows(batch: Sequence[Missing]) -> None:
    names = [picture.name for _, _, picture in batch]
    known = set(ProductImage.objects.filter(image__in=names).values_list("image", flat=True))
    slugs = {supply.slug for supply, _, _ in batch}
    products = dict(Product.objects.filter(slug__in=slugs).values_list("slug", "pk"))
    ProductImage.objects.bulk_create(
        ProductImage(
            product_id=products[supply.slug],
            image=picture.name,
            alternative_text=supply.title,
            position=position,
        )
        for supply, position, picture in batch
        if picture.name not in known
    )
    # bulk_create sends no signals.
    shopsearch.reindex(ProductImage.objects.filter(image__in=names))


def write(name: str, content: bytes) -> None:
    # Left behind by an interruption, or else the storage would choose another name.
    if default_storage.exists(name):
        default_storage.delete(name)
    default_storage.save(name, ContentFile(content))
