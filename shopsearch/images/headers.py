"""Reads a file's blocks before Pillow does: counts them, and removes the metadata.

Pillow reads the blocks before a picture's data in Python, one by one, and joins or unpacks some of them: a file of
10 MB could keep it busy for two minutes or take 400 MB. Here each block takes the same few steps, a file of more than
MAX_BLOCKS, or a JPEG of more than MAX_SEGMENTS, is refused, and comments, profiles and Exif data never reach Pillow.
Only the orientation is kept.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from shopsearch.exceptions import ImageUnreadable, gettext_noop

MAX_BLOCKS = 10_000
"""The most blocks before the picture's data, or in a whole PNG or WebP file. A usual PNG of 10 MB has 1,300."""

MAX_SEGMENTS = 1_000
"""The most segments of a JPEG before its first scan. A camera writes some dozens of up to 64 kB; a file of more is
refused in milliseconds, so a flood of such files costs little."""

MAX_ENTRIES = 1_000
"""Of a TIFF directory; a file of a microscope or a satellite has some dozens."""

Block = tuple[bytes, int, int]
"""A block's kind, and where it begins and ends, its header included."""

_EXIF = b"Exif\0\0"
_ORIENTATION = 0x0112
_FRAME = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_JPEG_PIXELS = {*_FRAME, 0xC4, 0xCC, 0xDB, 0xDD, 0xE0, 0xEE}
"""Frame, Huffman tables, arithmetic conditioning, quantization, restart interval, JFIF, Adobe's colour transform."""
_JPEG_END = b"\xff\xd9"
_PNG_PIXELS = {b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"}
_PNG = b"\x89PNG\r\n\x1a\n"
_TIFF = {
    b"II*\0": ("<", "I", "H", "HHI"),
    b"MM\0*": (">", "I", "H", "HHI"),
    b"II+\0": ("<", "Q", "Q", "HHQ"),
    b"MM\0+": (">", "Q", "Q", "HHQ"),
}
"""By how a file begins: its byte order, and the types of an offset, a count of entries, and an entry's first fields."""
_TIFF_BYTES = (
    dict.fromkeys((1, 2, 6, 7), 1)
    | dict.fromkeys((3, 8), 2)
    | dict.fromkeys((4, 9, 11, 13), 4)
    | dict.fromkeys((5, 10, 12, 16, 17, 18), 8)
)
"""Of one value, by an entry's type."""
_MARKER = re.compile(rb"(?:[^\xff]++|\xff++\x00)*+\xff++([^\xff\x00])", re.DOTALL)
"""The next marker, after stray and fill bytes. Possessive, so that a file of only such bytes takes linear time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    content: bytes
    """The file that the decoder gets."""
    orientation: int | None = None
    """Exif's number, 1 to 8; None if the scan does not know the format."""
    is_cut: bool = False
    """Whether a JPEG file lacks its last bytes; ``content`` then has an end marker, because libjpeg wants one."""


def scan(content: bytes) -> Scanned:
    """The file without its metadata if it is a JPEG, PNG, GIF or WebP file; any other as it is.

    Takes time in proportion to the file's size. Raises ImageUnreadable for more than MAX_BLOCKS blocks or MAX_SEGMENTS
    segments, and for a TIFF file whose first directory has more than MAX_ENTRIES, or entries with more data than the
    file.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg(content)
    if content.startswith(_PNG):
        return _png(content)
    if content.startswith((b"GIF87a", b"GIF89a")):
        return _gif(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp(content)
    if content[:4] in _TIFF:
        _check_tiff(content)
    return Scanned(content=content)


def check_beginning(content: bytes) -> None:
    """Raises ImageUnreadable where ``scan`` refuses every file that begins like this, whatever follows."""
    if content[:4] not in _TIFF:  # its entries may point to what follows
        scan(content)


def orientation_of(exif: bytes) -> int:
    """The orientation in Exif data; 1 if there is none or they are broken. Reads nothing else of them."""
    exif = exif.removeprefix(_EXIF)
    order = {b"II": "<", b"MM": ">"}.get(exif[:2], "")
    try:
        (start,) = struct.unpack_from(order + "I", exif, 4)
        (entries,) = struct.unpack_from(order + "H", exif, start)
        for place in range(start + 2, start + 2 + 12 * min(entries, MAX_BLOCKS), 12):
            tag, kind, _, value = struct.unpack_from(order + "HHIH", exif, place)
            if tag == _ORIENTATION:
                return value if kind == 3 and 1 <= value <= 8 else 1
    except struct.error:  # the data end too early
        pass
    return 1


def _counted(blocks: Iterator[Block], most: int) -> Iterator[Block]:
    yield from islice(blocks, most)
    if next(blocks, None) is not None:
        raise ImageUnreadable(
            gettext_noop("The picture has too many comments or parts; save it as a new JPEG and try again.")
        )


def _jpeg(content: bytes) -> Scanned:
    kept, exif, scan_at = [content[:2]], b"", len(content)
    for kind, start, end in _counted(_jpeg_segments(content), MAX_SEGMENTS):
        if kind == b"\xda":
            scan_at = start
        elif kind[0] in _JPEG_PIXELS:
            kept.append(content[start:end])
        elif kind == b"\xe1" and not exif and content.startswith(_EXIF, start + 4):
            exif = content[start + 4 : end]
    is_cut = content.rfind(_JPEG_END, scan_at) < 0  # from behind: a sound file has it there
    kept += [content[scan_at:], _JPEG_END if is_cut else b""]
    return Scanned(content=b"".join(kept), orientation=orientation_of(exif), is_cut=is_cut)


def _jpeg_segments(content: bytes) -> Iterator[Block]:
    """The segments up to the first scan; skips fill bytes, stray bytes and restart markers between them."""
    place = 2
    while marker := _MARKER.match(content, place):
        kind = marker[1]
        start, place = marker.end() - 2, marker.end()
        if kind[0] in range(0xD0, 0xD9) or kind == b"\x01":  # without a length
            end = place
        elif kind == b"\xd9" or place + 2 > len(content):
            return
        else:
            end = place = place + int.from_bytes(content[place : place + 2])
        yield kind, start, end
        if kind == b"\xda":
            return


def _png(content: bytes) -> Scanned:
    kept, exif = [_PNG], b""
    for kind, start, end in _counted(_png_chunks(content), MAX_BLOCKS):
        if kind in _PNG_PIXELS:
            kept.append(content[start:end])
        elif kind == b"eXIf" and not exif:
            exif = content[start + 8 : end - 4]
    return Scanned(content=b"".join(kept), orientation=orientation_of(exif))


def _png_chunks(content: bytes) -> Iterator[Block]:
    place = len(_PNG)
    while place + 8 <= len(content):
        start, kind = place, content[place + 4 : place + 8]
        place += 12 + int.from_bytes(content[place : place + 4])
        yield kind, start, place
        if kind == b"IEND":
            return


def _gif(content: bytes) -> Scanned:
    """The file without the blocks before the first frame, except the one that names its transparent colour."""
    flags = content[10] if len(content) > 10 else 0
    start = 13 + (3 << (flags & 7) + 1 if flags & 0x80 else 0)
    control, frame_at = b"", len(content)
    for kind, begin, end in _counted(_gif_blocks(content, start), MAX_BLOCKS):
        if kind == b",":
            frame_at = begin
        elif kind == b"\xf9":
            control = content[begin:end]
    return Scanned(content=content[:start] + control + content[frame_at:], orientation=1)


def _gif_blocks(content: bytes, place: int) -> Iterator[Block]:
    """The blocks up to the first frame. Each part of an extension is a block; the first part's kind is its label."""
    while place < len(content):
        start, kind = place, content[place : place + 1]
        if kind == b";":
            return
        if kind != b"!":
            yield kind, start, place + 1
            if kind == b",":
                return
            place += 1
            continue
        kind = content[place + 1 : place + 2]
        place += 2
        while place < len(content) and (size := content[place]):
            place += 1 + size
            yield b"", start, place
        place += 1
        yield kind, start, place


def _webp(content: bytes) -> Scanned:
    """The file as it is, because libwebp reads its blocks itself."""
    exif = b""
    for kind, start, end in _counted(_webp_chunks(content), MAX_BLOCKS):
        if kind == b"EXIF" and not exif:
            exif = content[start + 8 : end]
    return Scanned(content=content, orientation=orientation_of(exif))


def _webp_chunks(content: bytes) -> Iterator[Block]:
    place = 12
    while place + 8 <= len(content):
        start, size = place, int.from_bytes(content[place + 4 : place + 8], "little")
        place += 8 + size + size % 2
        yield content[start : start + 4], start, place


def _check_tiff(content: bytes) -> None:
    """Pillow reads the data of every entry, and copies them; what is broken is left to Pillow to say."""
    order, offset, count, entry = _TIFF[content[:4]]
    try:
        (start,) = struct.unpack_from(order + offset, content, 4 if offset == "I" else 8)
        (entries,) = struct.unpack_from(order + count, content, start)
        place, step = start + struct.calcsize(order + count), 12 if offset == "I" else 20
        data = 0
        for number in range(min(entries, MAX_ENTRIES)):
            _, kind, values = struct.unpack_from(order + entry, content, place + number * step)
            data += _TIFF_BYTES.get(kind, 0) * values
    except struct.error:  # it ends too early
        return
    if entries > MAX_ENTRIES or data > len(content):
        raise ImageUnreadable(
            gettext_noop(
                "The picture's notes are longer than the picture; save it anew as JPEG and try again."
            )
        )
