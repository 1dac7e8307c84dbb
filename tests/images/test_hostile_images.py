"""shopsearch.images.decode: what it refuses, and that nothing else comes of it."""

import io
import struct
import threading
import warnings
import zlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageFile

from shopsearch.exceptions import ImageError, ImageTooLarge, ImageUnreadable
from shopsearch.images import decode
from shopsearch.images.decoding import MAX_SIDE
from tests.images.test_decoding import RED, near, saved

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")


@pytest.fixture(autouse=True)
def limits(settings):
    """Changes SHOPSEARCH; this shop has old formats too."""

    def change(**changed):
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, **changed}

    change(IMAGE_FORMATS=FORMATS)
    return change


def test_a_file_of_too_many_bytes_is_refused_with_the_limit(limits):
    limits(MAX_IMAGE_BYTES=1024 * 1024)
    with pytest.raises(ImageTooLarge, match="more than 1 MB"):
        decode(bytes(1024 * 1024 + 1))


def test_no_more_is_read_of_a_file_than_the_limit(limits):
    limits(MAX_IMAGE_BYTES=1000)
    endless = io.BytesIO(bytes(50_000))
    with pytest.raises(ImageTooLarge):
        decode(endless)
    assert endless.tell() == 1001


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(limits, monkeypatch):
    limits(MAX_IMAGE_PIXELS=2_000_000)
    monkeypatch.setattr(Image.Image, "load", lambda image: pytest.fail("it was decoded"))
    with pytest.raises(
        ImageTooLarge, match=r"has 2\.2 million pixels; at most 2 million are accepted in PNG files"
    ):
        decode(saved_header_of_a_png(1500, 1500))


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def saved_header_of_a_png(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (2**31 - 1, 2**31 - 1), (70_000, 1)])
def test_a_decompression_bomb_is_too_large(width, height):
    with pytest.raises(ImageTooLarge):
        decode(saved_header_of_a_png(width, height))


def test_the_limit_is_lower_where_a_format_takes_more_memory(limits):
    limits(MAX_IMAGE_PIXELS=10**9)
    for kind, image in [("WEBP", Image.new("RGB", (5000, 3000))), ("TIFF", Image.new("1", (5000, 3100)))]:
        with pytest.raises(ImageTooLarge, match=f"in {kind} files"):
            decode(saved(image, kind))


def test_a_tile_that_outgrows_its_picture_is_too_large():
    strip = zlib.compress(bytes(100))
    tags = {
        256: 10,
        257: 10,
        258: 8,
        259: 8,
        262: 1,
        277: 1,
        322: 60_000,
        323: 60_000,
        324: 8,
        325: len(strip),
    }
    directory = struct.pack("<H", len(tags)) + b"".join(
        struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in tags
    )
    content = b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory + bytes(4)
    with pytest.raises(ImageTooLarge, match="has 3,600 million pixels"):
        decode(content)


def test_a_jpeg_of_endless_passes_is_refused():
    content = saved(Image.new("RGB", (64, 64), RED), "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    assert near(decode(content[:-2] + last * 10 + content[-2:]).getpixel((3, 3)), RED, 8)
    with pytest.raises(ImageUnreadable, match="too many passes"):
        decode(content[:-2] + last * 100 + content[-2:])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_a_truncated_file_is_refused(kind):
    content = saved(Image.effect_noise((200, 200), 80).convert("RGB"), kind)
    with pytest.raises(ImageUnreadable, match=r"save it as (a new )?JPEG|use a JPEG") as refusal:
        decode(content[: len(content) // 2])
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize("lacking", [1, 2, 10, 1000])
@pytest.mark.parametrize(
    ("mode", "options"), [("RGB", {}), ("RGB", {"progressive": True}), ("L", {}), ("CMYK", {})]
)
def test_a_jpeg_that_lacks_its_last_bytes_is_read_as_a_browser_shows_it(lacking, mode, options):
    whole = saved(Image.effect_noise((600, 400), 80).convert(mode), "JPEG", **options)
    picture, cut = decode(whole), decode(whole[:-lacking])
    top = (0, 0, 600, 400 - 400 // 16)
    difference = ImageChops.difference(picture.crop(top), cut.crop(top))
    assert cut.size == picture.size
    assert "progressive" in options or difference.getbbox() is None


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_jpeg_that_lacks_rows_is_refused(mode, kept):
    whole = saved(Image.effect_noise((600, 400), 80).convert(mode), "JPEG")
    with pytest.raises(ImageUnreadable, match="broken or incomplete"):
        decode(whole[: int(len(whole) * kept)])


@pytest.mark.parametrize(
    "content", [b"not a picture", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"%PDF-1.7", b"\0" * 500]
)
def test_what_is_not_a_picture_is_refused_with_the_formats_that_are_read(content):
    with pytest.raises(ImageUnreadable, match="use a JPEG, PNG, WebP or GIF file"):
        decode(content)


def test_an_empty_file_is_called_empty():
    with pytest.raises(ImageUnreadable, match="empty"):
        decode(b"")


@pytest.mark.parametrize(("brand", "name"), [(b"heic", "HEIC"), (b"mif1", "HEIC"), (b"avif", "AVIF")])
def test_a_format_of_phones_that_is_not_read_is_named(brand, name, limits):
    limits(IMAGE_FORMATS=("JPEG", "PNG"))
    with pytest.raises(ImageUnreadable, match=f"{name} pictures are not accepted here; save it as JPEG"):
        decode(b"\0\0\0\x18ftyp" + brand + b"\0\0\0\0" + bytes(200))


def test_a_format_that_pillow_lacks_does_not_matter(limits):
    limits(IMAGE_FORMATS=("NO_SUCH_FORMAT", "MPO", "PNG"))
    assert decode(saved(Image.new("RGB", (4, 4)))).size == (4, 4)


@pytest.mark.parametrize("kind", ["PPM", "ICO", "PCX", "TGA", "EPS", "PDF", "JPEG2000"])
def test_no_other_decoder_sees_the_bytes(kind, monkeypatch):
    content = saved(Image.new("RGB", (32, 32), RED), kind)
    Image.init()
    for name, (_, accept) in list(Image.OPEN.items()):
        if name not in FORMATS:
            monkeypatch.setitem(Image.OPEN, name, (lambda *args: pytest.fail("it ran"), accept))
    with pytest.raises(ImageUnreadable):
        decode(content)


@pytest.mark.parametrize(
    "trouble", [MemoryError(), struct.error("x"), RecursionError(), KeyError("x"), SystemError()]
)
def test_whatever_pillow_raises_is_an_unreadable_picture(trouble, monkeypatch):
    def fail(image):
        raise trouble

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", fail, raising=False)
    with pytest.raises(ImageUnreadable) as refusal:
        decode(saved(Image.new("RGB", (4, 4))))
    assert refusal.value.__cause__ is trouble


def test_what_reading_the_file_raises_is_not_the_pictures_fault():
    class Away(io.BytesIO):
        def read(self, *args):
            raise OSError("the storage is away")

    with pytest.raises(OSError, match="storage"):
        decode(Away())


def test_pillows_own_settings_and_warnings_are_left_as_they_are(recwarn):
    before = (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    content = saved(Image.new("RGB", (50, 50), RED), "JPEG")
    found = []
    threads = [threading.Thread(target=lambda: found.append(decode(content).size)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [(50, 50)] * 8
    assert before == (Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, list(warnings.filters))
    assert not recwarn.list


def decoded_or_refused(content):
    try:
        decoded = decode(content)
    except ImageError:
        return
    assert decoded.mode == "RGB"
    assert 0 < min(decoded.size) <= max(decoded.size) <= MAX_SIDE


MAGIC = [
    b"\xff\xd8\xff",
    b"\x89PNG\r\n\x1a\n",
    b"GIF89a",
    b"RIFF\x40\0\0\0WEBPVP8 ",
    b"BM",
    b"",
]
VALID = [
    saved(Image.effect_noise((40, 30), 80).convert(mode), kind, **options)
    for kind, mode, options in [
        ("JPEG", "RGB", {}),
        ("JPEG", "CMYK", {"progressive": True}),
        ("PNG", "RGBA", {}),
        ("PNG", "P", {}),
        ("GIF", "P", {}),
        ("WEBP", "RGB", {}),
        ("BMP", "RGB", {}),
    ]
]
"""Of the formats that are decoded in this process; tests/hostile/ damages the others too."""


@given(st.sampled_from(MAGIC), st.binary(max_size=400))
@settings(max_examples=150)
def test_random_bytes_are_a_picture_or_a_refusal(magic, content):
    decoded_or_refused(magic + content)


@given(st.sampled_from(VALID), st.data())
@settings(max_examples=250, suppress_health_check=[HealthCheck.large_base_example, HealthCheck.too_slow])
def test_a_damaged_file_is_a_picture_or_a_refusal(content, data):
    damaged = bytearray(content)
    early = st.integers(0, min(200, len(content) - 1))  # headers are where harm is done
    for position, value in data.draw(st.lists(st.tuples(early, st.integers(0, 255)), min_size=1, max_size=6)):
        damaged[position] = value
    decoded_or_refused(bytes(damaged[: data.draw(st.integers(1, len(damaged)))]))
