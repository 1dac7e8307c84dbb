"""Files whose blocks are many, long or packed, in each accepted format: what a stranger sends to keep us busy."""

import io
import struct
import zlib
from functools import cache

from PIL import Image


@cache
def saved(kind, size=(64, 64), **options):
    content = io.BytesIO()
    Image.effect_noise(size, 80).convert("RGB").save(content, kind, **options)
    return content.getvalue()


def segment(marker, content=b""):
    return bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content


def chunk(kind, content=b""):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def riff(kind, content=b""):
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def exif(orientation, entries=(), order="<"):
    """An Exif block of one directory: the entries, and then the orientation."""
    entries = [*entries, (0x0112, 3, 1, orientation)]
    mark = {"<": b"II*\0", ">": b"MM\0*"}[order]
    directory = struct.pack(order + "H", len(entries))
    for tag, kind, count, value in entries:
        short = kind == 3 and count == 1
        directory += struct.pack(order + ("HHIHxx" if short else "HHII"), tag, kind, count, value)
    return mark + struct.pack(order + "I", 8) + directory + bytes(4)


PACKED = zlib.compress(bytes(1_000_000))
"""A thousand bytes that unpack to a million."""
_COLOUR_PROFILE = b"\x0bICCRGBG1012"

BLOCKS = {
    "JPEG": {
        "notes": segment(0xE1, b"Exif\0\0" + b"x" * 9),
        "comments": segment(0xFE),
        "profiles": segment(0xE2, b"ICC_PROFILE\0\1\1"),
        "further pictures": segment(0xE2, b"MPF\0x"),
        "resources": segment(0xED, b"Photoshop 3.0\0"),
        "tables": segment(0xDB),
        "restarts": b"\xff\xd0",
        "fill": b"\xff",
        "fill that ends in nothing": (b"", b"\xff", b"\0"),
        "stray bytes": (b"\xff\0", b"\0", b""),
        "stuffing": b"\xff\0",
        "long notes": segment(0xE1, b"Exif\0\0" + b"x" * 1_000),
    },
    "PNG": {
        "texts": chunk(b"tEXt", b"a\0"),
        "packed texts": chunk(b"zTXt", b"a\0\0" + PACKED),
        "packed profiles": chunk(b"iCCP", b"a\0\0" + PACKED),
        "notes": chunk(b"eXIf", exif(6)),
        "unknown": chunk(b"xxXx"),
        "empty data": chunk(b"IDAT"),
        "frames": chunk(b"fcTL", bytes(26)),
    },
    "GIF": {
        "comments": b"\x21\xfe\x01x\0",
        "controls": b"\x21\xf9\x04\0\0\0\0\0",
        "applications": b"\x21\xff\x01x\0",
        "junk": b"\0",
        "one long comment": (b"\x21\xfe", b"\x01x", b"\0"),
        "one long profile": (b"\x21\xff" + _COLOUR_PROFILE, b"\xff" + b"x" * 255, b"\0"),
    },
    "WEBP": {"unknown": riff(b"XXXX"), "notes": riff(b"EXIF", exif(6)), "texts": riff(b"XMP ")},
}


def flooded(kind, block, count):
    """A file of this format that has so many of these blocks before its picture."""
    content = saved(kind)
    first, each, last = block if isinstance(block, tuple) else (b"", block, b"")
    flood = first + each * count + last
    if kind == "WEBP":
        body = riff(b"VP8X", bytes([0x0C, 0, 0, 0, 63, 0, 0, 63, 0, 0])) + flood + content[12:]
        return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body
    place = {"JPEG": 2, "PNG": 33, "GIF": _first_frame(content) if kind == "GIF" else 0}[kind]
    return content[:place] + flood + content[place:]


def _first_frame(content):
    return 13 + (3 << (content[10] & 7) + 1 if content[10] & 0x80 else 0)
