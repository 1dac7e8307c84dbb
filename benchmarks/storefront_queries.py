"""Judged queries from real photographs, spoilt as by a shopper's camera, for the shop that sells what they show."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from random import Random

from PIL import Image, ImageEnhance

QUERIES_FILE = "queries.jsonl"
KEPT = 0.7
"""Of each side, by a crop."""
DEGREES = 15
JPEG_QUALITY = 40
DARKER, BRIGHTER = 0.6, 1.4


def crop(picture: Image.Image, dice: Random) -> Image.Image:
    """A part of it, anywhere."""
    width, height = round(picture.width * KEPT), round(picture.height * KEPT)
    left, top = dice.randint(0, picture.width - width), dice.randint(0, picture.height - height)
    return picture.crop((left, top, left + width, top + height))


def turn(degrees: float) -> Callable[[Image.Image, Random], Image.Image]:
    """The corners that come into sight are white."""
    return lambda picture, _: picture.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white")


def light(factor: float) -> Callable[[Image.Image, Random], Image.Image]:
    return lambda picture, _: ImageEnhance.Brightness(picture).enhance(factor)


CORRUPTIONS: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    "unspoilt": lambda picture, _: picture,
    f"crop to {KEPT:.0%}": crop,
    f"turned +{DEGREES}°": turn(DEGREES),
    f"turned -{DEGREES}°": turn(-DEGREES),
    f"JPEG q{JPEG_QUALITY}": lambda picture, _: picture,
    f"light ×{DARKER}": light(DARKER),
    f"light ×{BRIGHTER}": light(BRIGHTER),
}


def write(folder: Path) -> Iterator[int]:
    """A query for each of the shop's pictures and each corruption; yields how many were written.

    Relevant is every product that has this very file. Needs Django set up.
    """
    from shopsearch import images
    from shopsearch.models import ProductImage

    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    rows = list(ProductImage.objects.order_by("pk"))
    products: defaultdict[str, set[str]] = defaultdict(set)
    for row in rows:
        products[_digest(row.image.read())].add(str(row.product_id))
    with (folder / QUERIES_FILE).open("w", encoding="utf-8") as lines:
        for row in rows:
            row.image.seek(0)
            content = row.image.read()
            picture = images.decode(content)
            for number, (kind, spoil) in enumerate(CORRUPTIONS.items()):
                path = f"pictures/{row.pk}-{number}.jpg"
                spoilt = spoil(picture, Random(f"{row.pk} {kind}"))
                quality = JPEG_QUALITY if kind.startswith("JPEG") else 95
                (folder / path).write_bytes(_jpeg(spoilt, quality))
                query = {
                    "id": f"{row.pk}-{number}",
                    "kind": kind,
                    "image": path,
                    "relevant": dict.fromkeys(sorted(products[_digest(content)]), 1),
                }
                lines.write(json.dumps(query, ensure_ascii=False) + "\n")
            row.image.close()
            yield len(CORRUPTIONS)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _jpeg(picture: Image.Image, quality: int) -> bytes:
    file = BytesIO()
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()
