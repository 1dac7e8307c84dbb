"""Decodes a picture in this process, within the limits of the settings and with only the decoders for its header."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO

from PIL import ExifTags, Image, UnidentifiedImageError

from shopsearch.conf import settings
from shopsearch.exceptions import ImageError, ImageTooLarge, ImageUnreadable
from shopsearch.exceptions import gettext_noop as _
from shopsearch.images.headers import Scanned, scan

MAX_SIDE = 2048
"""The longest side of what ``decode`` returns; no embedder looks at more."""

_MAX_FILE_SIDE = 65_535
_MEMORY_BYTES = 240_000_000
_BYTES_PER_PIXEL = {"AVIF": 16, "TIFF": 16, "WEBP": 17}
"""What decoding takes at worst, measured; for other formats, Pillow's own 4. JPEG: see _cost."""

BOUNDED = frozenset({"JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP"})
"""The header of these formats bounds the memory and time of their decoders. Every other format is decoded in a process
of its own."""
_FIRST = {"MPO": "JPEG"}

PREFIX = 16
"""How many bytes Pillow needs to tell which decoders may read a file."""

INCOMPLETE = _("The picture is broken or incomplete; save it as a new JPEG and try again.")

SECONDS_PER_BYTE = 20e-9
SECONDS_PER_PIXEL = {"JPEG": 0.7e-9, "GIF": 6e-9, "BMP": 6e-9, "PNG": 15e-9, "WEBP": 33e-9}
"""About the processor time of decoding; a JPEG's for each pass over the picture, and one more."""
PASSES = 10
"""Of a usual progressive JPEG in colour."""

_BAND_PIXELS = 1_000_000
_JPEG_SCAN = b"\xff\xda"
_MAX_SCANS = 50

_REFUSED_BRANDS = {b"avif": "AVIF", b"avis": "AVIF"} | dict.fromkeys(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"), "HEIC"
)

_TILE_WIDTH, _TILE_LENGTH = 322, 323

_TRANSPOSITIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_here(content: bytes, formats: list[str], side: int = 0, share: float = 1.0) -> Image.Image:
    """What ``decode`` returns and raises; in this process, with only the decoders of these formats."""
    with _opened(content, formats) as (image, scanned):
        _check_size(image, _passes(image, content), share)
        if image.format == "JPEG":
            divisor = max(max(image.size) / MAX_SIDE, min(image.size) / side if side else 1)
            # libjpeg then decodes at a half, a quarter or an eighth and never makes the other pixels.
            image.draft(None, (_scaled(image.width, divisor), _scaled(image.height, divisor)))
        image.load()
        if scanned.is_cut and _lacks_rows(image):
            raise ImageUnreadable(INCOMPLETE)
        orientation = scanned.orientation or _orientation(image)
        result = _turned(_reduced(image), orientation)
        result.info = {}
        return result


def seconds_of(content: bytes, formats: list[str], share: float, length: int = 0) -> float:
    """What ``images.seconds_of`` returns and raises, for BOUNDED formats."""
    with _opened(content, formats) as (image, _scanned):
        passes = _passes(image, content)
        _check_size(image, passes, share)
        each = SECONDS_PER_PIXEL.get(image.format or "", max(SECONDS_PER_PIXEL.values()))
        if image.format == "JPEG":
            is_rest_to_come = length > len(content) and "progressive" in image.info
            each *= 1 + max(passes, PASSES if is_rest_to_come else 0)
        return SECONDS_PER_BYTE * max(len(content), length) + each * image.width * image.height


@contextmanager
def _opened(content: bytes, formats: list[str]) -> Iterator[tuple[Image.Image, Scanned]]:
    """The file, of which only the header is read yet; what Pillow raises inside comes out as an ImageError."""
    try:
        scanned = scan(content)
        # Only these decoders see the bytes. An MPO is a JPEG file with further pictures after the first.
        image = Image.open(BytesIO(scanned.content), formats=[_FIRST.get(name, name) for name in formats])
        with image:
            yield image, scanned
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(
            _("The picture has more than %(most)s million pixels; use a smaller one."),
            most=_millions(settings.MAX_IMAGE_PIXELS),
        ) from error
    except Exception as error:  # Pillow raises anything on a broken file, even MemoryError and struct.error
        raise _unreadable(content, error) from error


def formats_of(prefix: bytes) -> list[str]:
    """The accepted formats that the file may have, judging by its first bytes."""
    Image.init()
    # A format that this Pillow lacks is not an error.
    return [name for name in settings.IMAGE_FORMATS if name in Image.OPEN and _may_be(name, prefix)]


def _may_be(name: str, prefix: bytes) -> bool:
    accept = Image.OPEN[name][1]
    try:
        # A string instead of a boolean means that this Pillow was built without the decoder.
        return accept is None or (accept(prefix) not in (False, None) and not isinstance(accept(prefix), str))
    except Exception:  # some read past the end of a short prefix
        return False


def _passes(image: Image.Image, content: bytes) -> int:
    """How many passes over the picture a JPEG file has at most; 1 for other formats."""
    return content.count(_JPEG_SCAN) if image.format == "JPEG" else 1


def _check_size(image: Image.Image, passes: int, share: float) -> None:
    """Refuse a picture whose header says that decoding takes too much memory or time."""
    width, height = image.size
    if not 0 < min(width, height) <= max(width, height) <= _MAX_FILE_SIDE:
        raise ImageTooLarge(
            _("A side may have 1 to %(most)s pixels; this picture has %(size)s. Use a smaller one."),
            most=_MAX_FILE_SIDE,
            size=f"{width} × {height}",
        )
    if passes > _MAX_SCANS:
        raise ImageUnreadable(_("The picture is coded in too many passes; save it as an ordinary JPEG."))
    tags = getattr(image, "tag_v2", {})
    # A TIFF's tile may be larger than its picture.
    pixels = max(width * height, int(tags.get(_TILE_WIDTH, 0)) * int(tags.get(_TILE_LENGTH, 0)))
    limit = min(int(settings.MAX_IMAGE_PIXELS * share), _MEMORY_BYTES // _cost(image))
    if pixels > limit:
        raise ImageTooLarge(
            _(
                "The picture has %(pixels)s million pixels; at most %(most)s million are accepted in %(format)s "
                "files. Use a smaller one."
            ),
            pixels=_millions(pixels),
            most=_millions(limit),
            format=image.format,
        )


def _cost(image: Image.Image) -> int:
    """The bytes per pixel that decoding takes at worst."""
    if image.format == "JPEG":
        # For a JPEG of several passes, libjpeg keeps all coefficients in memory.
        return 2 * len(image.getbands())
    return _BYTES_PER_PIXEL.get(image.format or "", 4)


def _lacks_rows(image: Image.Image) -> bool:
    """Whether the last sixteenth of a JPEG is mid-grey, which is how libjpeg fills in missing data."""
    rows = max(1, image.height // 16)
    bands = image.crop((0, image.height - rows, image.width, image.height)).split()
    return all(band.getextrema() in ((127, 127), (128, 128)) for band in bands)


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # broken metadata is no reason to refuse a picture
        return 1


def _turned(image: Image.Image, orientation: int) -> Image.Image:
    transposition = _TRANSPOSITIONS.get(orientation)
    return image if transposition is None else image.transpose(transposition)


def _reduced(image: Image.Image) -> Image.Image:
    """The picture as RGB, at most MAX_SIDE long; made in bands, to avoid a second copy of full size."""
    factor = math.ceil(max(image.size) / MAX_SIDE)
    white = _white_of(image)
    if factor == 1:
        return _rgb(image, white)
    result = Image.new("RGB", (math.ceil(image.width / factor), math.ceil(image.height / factor)))
    rows = max(1, _BAND_PIXELS // image.width // factor) * factor
    for top in range(0, image.height, rows):
        band = image.crop((0, top, image.width, min(top + rows, image.height)))
        result.paste(_rgb(band, white).reduce(factor), (0, top // factor))
    return result


def _white_of(image: Image.Image) -> float:
    """The value taken for white in a mode of more than eight bits, which does not define it; 0 in other modes."""
    if not image.mode.startswith(("I", "F")):
        return 0
    highest = float(image.getextrema()[1])  # type: ignore[arg-type]
    if not math.isfinite(highest):
        raise ImageUnreadable(
            _("The picture has values that are not numbers; save it as JPEG and try again.")
        )
    usual = (1, 255, 4095, 65535) if image.mode == "F" else (255, 4095, 65535)
    return next((white for white in usual if highest <= white), highest)


def _rgb(image: Image.Image, white: float) -> Image.Image:
    if white:
        wide = image if image.mode == "F" else image.convert("I").convert("F")
        return wide.point(lambda value: value * (255 / white)).convert("L").convert("RGB")
    if not image.has_transparency_data:
        return image.convert("RGB")
    transparent = image.convert("RGBA")
    result = Image.new("RGB", image.size, "white")
    result.paste(transparent, mask=transparent.getchannel("A"))
    return result


def _unreadable(content: bytes, error: Exception) -> ImageUnreadable:
    brand = _REFUSED_BRANDS.get(content[8:12]) if content[4:8] == b"ftyp" else None
    if brand and brand not in settings.IMAGE_FORMATS and isinstance(error, UnidentifiedImageError):
        return ImageUnreadable(
            _("%(format)s pictures are not accepted here; save it as JPEG and try again."), format=brand
        )
    if isinstance(error, UnidentifiedImageError):
        return ImageUnreadable("" if content else _("The file is empty; choose a picture."))
    return ImageUnreadable(INCOMPLETE)


def _scaled(side: int, divisor: float) -> int:
    return max(1, int(side / max(1.0, divisor)))


def megabytes(count: int) -> str:
    return f"{count / 1024 / 1024:.3g} MB"


def _millions(count: int) -> str:
    return f"{count / 1_000_000:,.1f}".removesuffix(".0")
