"""Decodes pictures that may come from anyone, within limits, to upright RGB pixels; and writes small JPEGs."""

from __future__ import annotations

from io import BytesIO
from typing import BinaryIO

from PIL import Image

from shopsearch.conf import settings
from shopsearch.exceptions import ImageTooLarge
from shopsearch.exceptions import gettext_noop as _
from shopsearch.images import decoding, sandbox
from shopsearch.images.decoding import MAX_SIDE


def decode(data: bytes | BinaryIO, *, side: int = 0, share: float = 1.0) -> Image.Image:
    """The picture's first frame: upright, RGB, transparency on white.

    It has no metadata: no place, camera, profile or comment. A picture with more than ``MAX_SIDE`` pixels on its long
    side is reduced by a whole factor. With ``side``, a JPEG's shorter edge may be reduced to that many pixels, which is
    several times as fast. SHOPSEARCH["MAX_IMAGE_BYTES"], ["MAX_IMAGE_PIXELS"] and ["IMAGE_FORMATS"] limit what is read
    and decoded, and decoding takes 300 MB at most. ``share`` is what this picture may have of the limits of pixels and
    of time, where one search has several.

    Raises ImageTooLarge, ImageUnreadable for any other fault of the picture, and what reading ``data`` raises.
    """
    content = read(data)
    formats, is_bounded = _formats_of(content)
    if not is_bounded:
        return sandbox.decode(content, formats, share)
    return decoding.decode_here(content, formats, side, share)


def seconds_of(content: bytes, *, share: float = 1.0, length: int = 0) -> float:
    """About how much processor time ``decode`` takes for this file, judging by its header.

    ``length`` is the file's in bytes, where ``content`` is only its beginning. The limit for a format whose header does
    not tell. Raises what ``decode`` raises for a header that it refuses.
    """
    formats, is_bounded = _formats_of(content)
    return decoding.seconds_of(content, formats, share, length) if is_bounded else sandbox.PROCESSOR_SECONDS


def read(data: bytes | BinaryIO) -> bytes:
    """The file's bytes. Raises ImageTooLarge for more than SHOPSEARCH["MAX_IMAGE_BYTES"]."""
    limit = settings.MAX_IMAGE_BYTES
    content = data if isinstance(data, bytes) else data.read(limit + 1)
    if len(content) > limit:
        raise ImageTooLarge(
            _("The picture has more than %(most)s; use a smaller one."), most=decoding.megabytes(limit)
        )
    return content


def normalised(picture: Image.Image) -> Image.Image:
    """The copy of a query's picture that all later steps see, keep or send on.

    RGB, at most SHOPSEARCH["QUERY_IMAGE_SIDE"] on its long side, no metadata. Doing it again changes nothing.
    """
    result = picture.convert("RGB")
    result.thumbnail((settings.QUERY_IMAGE_SIDE, settings.QUERY_IMAGE_SIDE))
    result.info = {}
    return result


def jpeg(picture: Image.Image, side: int = MAX_SIDE, *, quality: int = 88) -> bytes:
    """The picture as a JPEG file of at most ``side`` pixels on its long side, without metadata."""
    small = picture.convert("RGB")
    small.thumbnail((side, side))
    small.info = {}
    content = BytesIO()
    small.save(content, "JPEG", quality=quality)
    return content.getvalue()


def _formats_of(content: bytes) -> tuple[list[str], bool]:
    """The decoders that may see the file, and whether it may be decoded in this process."""
    formats = decoding.formats_of(content[: decoding.PREFIX])
    if formats and decoding.BOUNDED.isdisjoint(formats):
        return formats, False
    return [name for name in formats if name in decoding.BOUNDED], True
