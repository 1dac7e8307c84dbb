"""Products as they arrive, before they are rows: from the assortment, or from a folder of pictures.

No models here: the processes that draw pictures import this module, and have no Django set up.
"""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any

from django.utils.text import slugify

from .assortment import Article, articles

PRODUCTS_FILE = "products.jsonl"
USUAL_STOCK = 25


class SupplyError(Exception):
    """The folder cannot be loaded; the message says which line, and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    name: str
    """Where it goes in the shop's media."""
    read: Callable[[], bytes]
    """Makes or reads the file; can be sent to another process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    slug: str
    sku: str
    title: str
    category: str
    description: str
    price: Decimal
    stock: int
    pictures: Sequence[Picture]
    colour: str = ""
    pattern: str = ""
    brand: str = ""


@contextmanager
def opened(pictures: Sequence[Picture], *, processes: int = 1) -> Iterator[Iterator[bytes]]:
    """The pictures' files, in order, made by so many processes; leaving the block stops what is not made yet."""
    if processes < 2:
        yield (picture.read() for picture in pictures)
        return
    # Spawned, not forked: whoever calls may have threads and connections.
    pool = ProcessPoolExecutor(processes, get_context("spawn"))
    # Ctrl-C is the parent's, from the moment that they are born: their mask is this thread's.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        files = pool.map(_read, pictures, chunksize=4)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    try:
        yield files
    finally:
        pool.shutdown(cancel_futures=True)


def _read(picture: Picture) -> bytes:
    return picture.read()


def rendered(limit: int | None = None) -> list[Supply]:
    """The assortment, each product with one picture that is still to be drawn."""
    return [_supplied(article) for article in articles()[:limit]]


def _supplied(article: Article) -> Supply:
    return Supply(
        slug=article.slug,
        sku=article.sku,
        title=article.title,
        category=article.kind.name,
        description=article.description,
        price=article.price,
        stock=article.stock,
        pictures=(Picture(name=f"products/{article.slug}.jpg", read=article.photograph),),
        colour=article.colour,
        pattern=article.pattern,
        brand=article.brand,
    )


def from_folder(folder: Path, limit: int | None = None) -> list[Supply]:
    """The products that the folder's products.jsonl lists, one JSON object a line.

    Each has ``id``, ``name``, ``price``, ``categories`` ("A/B": the first part is the shop's category) and its
    pictures, ``image`` and ``images``, as paths from the folder; ``description``, ``brand`` and ``sku`` (the ``id``
    unless given) are optional.

    Raises SupplyError, before anything is loaded, when a line or a picture is not as it should be.
    """
    file = folder / PRODUCTS_FILE
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except FileNotFoundError:
        raise SupplyError(
            f"There is no {PRODUCTS_FILE} in {folder}; it lists the products to load."
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SupplyError(f"{file} cannot be read: {error}.") from error
    return list(_parsed(lines, folder.resolve()))[:limit]


def _parsed(lines: Sequence[str], folder: Path) -> Iterator[Supply]:
    seen: dict[str, int] = {}
    skus: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            supply = _parse(line, folder)
            if supply.slug in seen:
                raise SupplyError(f"its id is that of line {seen[supply.slug]}")
            if supply.sku in skus:
                raise SupplyError(f"its sku is that of line {skus[supply.sku]}")
        except SupplyError as error:
            raise SupplyError(f"{PRODUCTS_FILE}, line {number}: {error}.") from error.__cause__
        seen[supply.slug] = skus[supply.sku] = number
        yield supply


def _parse(line: str, folder: Path) -> Supply:
    try:
        product = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise SupplyError("not a JSON object") from error
    if not isinstance(product, dict):
        raise SupplyError("not a JSON object")
    slug = slugify(re.sub(r"\W+", "-", _text(product, "id")))[:200]
    if not slug:
        raise SupplyError('"id" needs letters or digits')
    categories = product.get("categories") or ["Other"]
    if not isinstance(categories, list) or not isinstance(categories[0], str):
        raise SupplyError('"categories" is not a list of names')
    category = categories[0].split("/")[0].strip()[:100]
    return Supply(
        slug=slug,
        sku=(_text(product, "sku", required=False) or _text(product, "id"))[:64],
        title=_text(product, "name")[:200],
        category=category if slugify(category) else "Other",
        description=_text(product, "description", required=False),
        price=_price(product.get("price")),
        stock=USUAL_STOCK,
        pictures=_pictures(product, slug, folder),
        brand=_text(product, "brand", required=False)[:100],
    )


def _text(product: dict[str, Any], name: str, *, required: bool = True) -> str:
    value = product.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value.strip()):
        raise SupplyError(f'"{name}" is not a text')
    if "\0" in value or value != value.encode(errors="ignore").decode():
        raise SupplyError(f'"{name}" has characters that no text has')
    return value.strip()


def _price(value: object) -> Decimal:
    try:
        price = (
            Decimal(str(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None
        )
        if price is not None and 0 <= price < 10**8:
            return price.quantize(Decimal("0.01"))
    except InvalidOperation:
        pass
    raise SupplyError('"price" is not a number from 0 to 100 million')


def _pictures(product: dict[str, Any], slug: str, folder: Path) -> tuple[Picture, ...]:
    listed = product.get("images") or [product.get("image")]
    if not isinstance(listed, list) or not all(isinstance(path, str) and path for path in listed):
        raise SupplyError('it has no pictures: "images" is a list of paths from the folder')
    pictures = []
    for number, path in enumerate(dict.fromkeys(listed), start=1):
        try:
            file = (folder / path).resolve()
            if not file.is_relative_to(folder):
                raise SupplyError(f"the picture {path!r} lies outside the folder")
            if not file.is_file():
                raise SupplyError(f"there is no picture {path!r}")
        except (OSError, ValueError, RuntimeError) as error:
            raise SupplyError(f"{path!r} is not a path") from error
        suffix = PurePosixPath(path).suffix.lower()[:10]
        pictures.append(Picture(name=f"products/{slug}-{number}{suffix}", read=file.read_bytes))
    return tuple(pictures)
