"""Amazon Reviews 2023 as it is published: products and reviews, a line each, in the raw files' shape or the builder's.

The builder is Hugging Face's: it writes prices as text, details as JSON in a text, and pictures as lists side by side.
Nothing in a record is believed to be of the type it should be.
"""

from __future__ import annotations

import gzip
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from django.utils.text import slugify

MAX_LINE_BYTES = 8 * 1024 * 1024
MAX_ADDRESS = 1_000
MAX_DETAILS = 40

_SKU = re.compile(r"[A-Za-z0-9._-]{1,64}")
_NOT_TEXT = re.compile("[\0\ud800-\udfff]")
_SPACE = re.compile(r"\s+")


class RecordError(Exception):
    """The line is not a record; the message says what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    number: int
    content: bytes
    position: int
    """How much of the file has been read, in its own bytes: for a progress bar."""
    error: str = ""
    """Why there is no content, and where it breaks off no further line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    sku: str
    """Its ``parent_asin``: what variants of one product share."""
    title: str
    description: str = ""
    price: Decimal | None = None
    category: str = "Other"
    category_path: str = ""
    store: str = ""
    brand: str = ""
    details: Mapping[str, str]
    pictures: Sequence[str]
    """Their addresses, the main one first."""

    @property
    def slug(self) -> str:
        return f"{slugify(self.title)[:120]}-{slugify(self.sku)}".strip("-")


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    sku: str
    pictures: Sequence[str]


def lines(path: Path) -> Iterator[Line]:
    """The file's lines but blank ones, gzip or not, one at a time. Raises OSError when it cannot be opened."""
    with path.open("rb") as raw:
        zipped = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = gzip.open(raw) if zipped else raw  # noqa: SIM115 -- raw is closed, and the other holds nothing
        number = 0
        while True:
            number += 1
            try:
                content = file.readline(MAX_LINE_BYTES + 1)
                if not content:
                    return
                is_too_long = len(content) > MAX_LINE_BYTES
                while len(content) > MAX_LINE_BYTES and not content.endswith(b"\n"):
                    content = file.readline(MAX_LINE_BYTES + 1)
            except (EOFError, OSError, zlib.error) as error:
                yield Line(
                    number=number,
                    content=b"",
                    position=raw.tell(),
                    error=f"the file cannot be read further: {error}",
                )
                return
            if is_too_long:
                error_text = f"not a record: the line has more than {MAX_LINE_BYTES // 1024**2} MB"
                yield Line(number=number, content=b"", position=raw.tell(), error=error_text)
            elif content.strip():
                yield Line(number=number, content=content, position=raw.tell())


def record_of(line: bytes) -> Record:
    """A product's record. Raises RecordError for what is not one."""
    given = _object(line)
    categories = [text for each in _list(given.get("categories")) if (text := _text(each))]
    main = _text(given.get("main_category"))
    category = next((each for each in (*categories[:1], main) if slugify(each)), "Other")
    features = [text for each in _list(given.get("features")) if (text := _text(each))]
    paragraphs = [text for each in _list(given.get("description")) if (text := _text(each))]
    details = _details(given.get("details"))
    store = _text(given.get("store"))
    sku = _sku(given)
    named = (_text(given.get("title")), *features[:1], *paragraphs[:1], *categories[-1:], sku)
    return Record(
        sku=sku,
        title=next(name for name in named if name)[:500],
        description="\n\n".join(["\n".join(features), *paragraphs] if features else paragraphs)[:20_000],
        price=_price(given.get("price")),
        category=category[:100],
        category_path=" › ".join(categories)[:500],
        store=store[:200],
        brand=(details.get("Brand") or store)[:100],
        details=details,
        pictures=_pictures(given.get("images")),
    )


def review_of(line: bytes) -> Review:
    """A review's product and its shopper's own pictures. Raises RecordError for what is not one."""
    given = _object(line)
    names = ("large_image_url", "medium_image_url", "small_image_url")
    pictures = [_first_address(each, names) for each in _rows(given.get("images"))]
    return Review(sku=_sku(given), pictures=_distinct(pictures))


def _object(line: bytes) -> dict[str, Any]:
    try:
        given = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise RecordError("not a record: the line is no JSON") from error
    if not isinstance(given, dict):
        raise RecordError("not a record: the line is no JSON object")
    return given


def _sku(given: Mapping[str, Any]) -> str:
    sku = given.get("parent_asin")
    if not isinstance(sku, str) or not _SKU.fullmatch(sku):
        raise RecordError('not a record: "parent_asin" is missing, or no product has one like it')
    return sku


def _text(value: object) -> str:
    return _SPACE.sub(" ", _NOT_TEXT.sub("", value)).strip() if isinstance(value, str) else ""


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _price(value: object) -> Decimal | None:
    """None where the record has none, as most have; the builder writes "None"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        price = Decimal(str(value).strip().removeprefix("$").replace(",", "")[:40])
        return price.quantize(Decimal("0.01")) if 0 <= price < 10**8 else None
    except InvalidOperation:
        return None


def _details(value: object) -> dict[str, str]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {}
    if not isinstance(value, dict):
        return {}
    details: dict[str, str] = {}
    for name, fact in value.items():
        if isinstance(fact, dict):  # ranks, by category
            fact = "; ".join(f"{key}: {each}" for key, each in fact.items() if isinstance(each, str | int))
        text = _text(fact) or (str(fact) if isinstance(fact, int | float) else "")
        if _text(name) and text and len(details) < MAX_DETAILS:
            details[_text(name)[:100]] = text[:500]
    return details


def _pictures(value: object) -> list[str]:
    rows = _rows(value)
    rows.sort(key=lambda row: row.get("variant") != "MAIN")
    # "large" is some 500 pixels wide, which is more than an embedder looks at.
    return _distinct([_first_address(row, ("large", "hi_res", "thumb")) for row in rows])


def _rows(value: object) -> list[dict[str, Any]]:
    """A list of objects, from one or from an object of lists."""
    if isinstance(value, dict):
        columns = {name: column for name, column in value.items() if isinstance(column, list)}
        length = max(map(len, columns.values()), default=0)
        return [
            {name: column[row] for name, column in columns.items() if row < len(column)}
            for row in range(length)
        ]
    return [row for row in _list(value) if isinstance(row, dict)]


def _first_address(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((text for name in names if (text := _text(row.get(name))) and len(text) <= MAX_ADDRESS), "")


def _distinct(addresses: Sequence[str]) -> list[str]:
    return [address for address in dict.fromkeys(addresses) if address]
