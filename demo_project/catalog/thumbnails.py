"""Thumbnails: small copies of the shop's pictures, made when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase
from django.urls import get_script_prefix, reverse
from django.views.decorators.http import condition, require_safe
from PIL import Image, UnidentifiedImageError

from shopsearch.models import ProductImage

SIDE = 400
EXAMPLE_SIDE = 240
QUALITY = 72
FOLDER = "thumbnails"
YEAR = 365 * 24 * 60 * 60


def thumbnail_url(image: Any) -> str:
    """Another address for another file, so that browsers may keep it for good."""
    return _thumbnail_url(image.pk, image.image.name, get_script_prefix())


@lru_cache(maxsize=10_000)
def _thumbnail_url(pk: int, name: str, prefix: str) -> str:
    """Kept, because a page of results has two dozen, and ``reverse`` takes as long for each as the rest of a card."""
    return reverse("catalog:thumbnail", args=[pk, PurePosixPath(name).stem])


def _etag(request: HttpRequest, pk: int, name: str) -> str:
    return f'"{pk}-{name}-{SIDE}-{QUALITY}"'


@require_safe
@condition(etag_func=_etag)
def thumbnail(request: HttpRequest, pk: int, name: str) -> HttpResponseBase:
    """The picture as WebP, ``SIDE`` pixels at most. 404 for one that there is not, or whose file is missing."""
    image = ProductImage.objects.filter(pk=pk).first()
    if image is None or PurePosixPath(image.image.name).stem != name:
        raise Http404
    return _answer(f"{FOLDER}/{pk}-{name}-{SIDE}.webp", image.image.open, SIDE)


@require_safe
def example(request: HttpRequest, name: str, size: int) -> HttpResponseBase:
    """A picture to search with, as the home page shows it. 404 for one that there is not, or of another size."""
    path = example_pictures().get(name)
    if path is None or path.stat().st_size != size:
        raise Http404
    return _answer(f"{FOLDER}/{name}-{size}-{EXAMPLE_SIDE}.webp", lambda: path.open("rb"), EXAMPLE_SIDE)


def example_url(name: str) -> str:
    """By the file's size too, so that another file has another address."""
    return reverse("catalog:example", args=[name, example_pictures()[name].stat().st_size])


def example_pictures() -> dict[str, Path]:
    """The reference pictures to search with, by name."""
    [(_, folder)] = settings.STATICFILES_DIRS
    return {file.stem: file for file in sorted(folder.glob("*.jpg"))}


def _answer(path: str, original: Callable[[], IO[bytes]], side: int) -> HttpResponseBase:
    try:
        if not default_storage.exists(path):
            default_storage.save(path, ContentFile(_webp(original, side)))
        response = FileResponse(default_storage.open(path), content_type="image/webp")
    except (OSError, UnidentifiedImageError) as error:
        raise Http404 from error
    response["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    return response


def _webp(original: Callable[[], IO[bytes]], side: int) -> bytes:
    with original() as file, Image.open(file) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((side, side))
    content = BytesIO()
    picture.save(content, "WEBP", quality=QUALITY)
    return content.getvalue()
