"""Pictures as strangers send them: of every format, damaged, and with notes of where they were taken."""

import io
import os
import random
import struct
import zlib

from PIL import Image, PngImagePlugin

MUTATIONS = int(os.environ.get("SHOPSEARCH_TEST_MUTATIONS", "150"))
IN_FULL = MUTATIONS >= 5_000

NOTE = b"TAKEN-AT-HOME"
LATITUDE = 48_123_457
"""Of a GPS tag, as a numerator: bytes that no pixels spell by accident."""
PLACES = (NOTE, struct.pack("<I", LATITUDE), struct.pack(">I", LATITUDE))
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:exif="http://ns.adobe.com/exif/1.0/" exif:GPSLatitude="'
    + NOTE
    + b'"/></rdf:RDF>'
    b"</x:xmpmeta>"
)


def exif():
    notes = Image.Exif()
    notes[0x010E] = NOTE.decode()
    notes[0x0112] = 6
    notes.get_ifd(0x8825).update({1: "N", 2: (LATITUDE / 1_000_000, 7.0, 29.0)})
    gps = notes.get_ifd(0x8825)
    gps[29] = NOTE.decode()
    return notes.tobytes() + struct.pack("<I", LATITUDE)


def noise(mode="RGB", size=(48, 32), seed=7):
    dice = random.Random(f"{mode} {size} {seed}")
    small = Image.frombytes("RGB", (6, 4), dice.randbytes(72))
    return small.resize(size, Image.Resampling.BICUBIC).convert(mode)


def saved(image, kind, **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def noted(size=(640, 480)):
    """By name: a picture of each format that can carry notes, with as many as it can."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", NOTE.decode())
    text.add_itxt("Location", NOTE.decode(), zip=False)
    picture, notes = noise(size=size), {"exif": exif(), "icc_profile": b"\0" * 128 + NOTE}
    return {
        "JPEG": saved(picture, "JPEG", comment=NOTE, xmp=XMP, **notes),
        "PNG": saved(picture, "PNG", pnginfo=text, **notes),
        "WEBP": saved(picture, "WEBP", xmp=XMP, **notes),
        "AVIF": saved(picture, "AVIF", xmp=XMP, speed=10, **notes),
        "GIF": saved(picture.convert("P"), "GIF", comment=NOTE),
        "TIFF": saved(picture, "TIFF", tiffinfo={270: NOTE.decode(), 700: XMP}, exif=exif()),
        "MPO": saved(noise(size=size, seed=9), "MPO", save_all=True, append_images=[picture], exif=exif()),
    }


def valid():
    """Small sound files of every format and of most ways to write it."""
    rgb, frames = noise(), [noise(seed=seed) for seed in (8, 9)]
    notes = {"exif": exif()}
    return [
        *noted((48, 32)).values(),
        saved(rgb, "JPEG", progressive=True, **notes),
        saved(noise("CMYK"), "JPEG"),
        saved(noise("L"), "JPEG", restart_marker_blocks=1),
        saved(noise("RGBA"), "PNG"),
        saved(noise("P"), "PNG", transparency=3),
        saved(noise("I;16"), "PNG"),
        saved(noise("1"), "PNG"),
        saved(rgb, "PNG", save_all=True, append_images=frames),
        saved(noise("RGBA"), "WEBP", lossless=True),
        saved(rgb, "WEBP", save_all=True, append_images=frames),
        saved(noise("P"), "GIF", save_all=True, append_images=[each.convert("P") for each in frames]),
        saved(noise("P"), "GIF", interlace=0, transparency=2),
        saved(noise("RGBA"), "AVIF", speed=10, subsampling="4:4:4"),
        saved(rgb, "AVIF", speed=10, save_all=True, append_images=frames),
        saved(rgb, "BMP"),
        saved(noise("P"), "BMP"),
        *(
            saved(rgb, "TIFF", compression=each)
            for each in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits", None)
        ),
        saved(noise("1"), "TIFF", compression="group4"),
        saved(rgb, "JPEG2000"),
        saved(rgb, "ICO", sizes=[(16, 16)]),
        saved(noise("P"), "PCX"),
        saved(rgb, "PPM"),
        saved(rgb, "TGA"),
    ]


_EXTREMES = [b"\0\0", b"\xff\xff", b"\x7f\xff", b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
_EXTREMES += [b"\0\0\xff\xff", b"\xff\xff\0\0", b"\0\x01\0\0\0\0\0\0", b"\x80\0\0\0"]


def mutated(dice, samples):
    """One of the samples, damaged; the same for the same dice."""
    content = bytearray(dice.choice(samples))
    for _ in range(dice.randint(1, 4)):
        # Headers are where harm is done.
        place = dice.randrange(min(len(content), dice.choice([64, 512, len(content)])) or 1)
        span = dice.randint(1, 64)
        match dice.choice(
            ["byte", "byte", "extreme", "extreme", "cut", "drop", "repeat", "random", "splice"]
        ):
            case "byte":
                content[place : place + 1] = dice.randbytes(1)
            case "extreme":
                extreme = dice.choice(_EXTREMES)
                content[place : place + len(extreme)] = extreme
            case "cut" if dice.random() < 0.3:
                del content[place:]
            case "drop":
                del content[place : place + span]
            case "repeat":
                content[place:place] = content[place : place + span] * dice.randint(1, 9)
            case "random":
                content[place : place + span] = dice.randbytes(span)
            case "splice" if dice.random() < 0.3:
                content[place:] = dice.choice(samples)[place:]
        if not content:
            break
    return _with_true_checksums(bytes(content)) if dice.random() < 0.8 else bytes(content)


def _with_true_checksums(content):
    """A damaged PNG, whose decoder would otherwise look no further than the first wrong checksum."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return content
    mended, place = bytearray(content), 8
    while place + 12 <= len(mended):
        end = place + 8 + int.from_bytes(mended[place : place + 4], "big")
        if end + 4 > len(mended):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(mended[place + 4 : end]))
        place = end + 4
    return bytes(mended)
