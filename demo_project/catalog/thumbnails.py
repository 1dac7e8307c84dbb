"""Thumbnails: the shop's pictures as cards show them, made when they are first asked for."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponseBase
from django.urls import get_script_prefix, reverse
from django.views.decorators.http import condition, require_safe
from PIL import Image, UnidentifiedImageError

from shopsearch.models import ProductImage

SIDE = 400
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
    path = f"{FOLDER}/{pk}-{name}-{SIDE}.webp"
    try:
        if not default_storage.exists(path):
            default_storage.save(path, ContentFile(_webp(image)))
        response = FileResponse(default_storage.open(path), content_type="image/webp")
    except (OSError, UnidentifiedImageError) as error:
        raise Http404 from error
    response["Cache-Control"] = f"public, max-age={YEAR}, immutable"
    return response


def _webp(image: Any) -> bytes:
    with image.image.open() as file, Image.open(file) as opened:
        picture = opened.convert("RGB")
    picture.thumbnail((SIDE, SIDE))
    content = BytesIO()
    picture.save(content, "WEBP", quality=QUALITY)
    return content.getvalue()
