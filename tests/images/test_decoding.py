"""shopsearch.images.decode: pictures from anyone."""

import io
import struct

import pytest
from PIL import Image, ImageDraw

from shopsearch import images
from shopsearch.api.access import LARGE_SECONDS
from shopsearch.exceptions import ImageError, ImageUnreadable
from shopsearch.images import decode, jpeg, normalised, sandbox
from shopsearch.images.decoding import MAX_SIDE
from shopsearch.search import examples
from shopsearch.search.examples import Box, Example

RED, BLUE = (200, 20, 20), (20, 20, 200)


def saved(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def near(pixel, wanted, tolerance=6):
    return all(abs(a - b) <= tolerance for a, b in zip(pixel, wanted, strict=True))


@pytest.fixture(autouse=True)
def _a_shop_that_has_old_formats_too(settings):
    formats = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF")
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "IMAGE_FORMATS": formats}


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF", "MPO"])
def test_each_usual_format_is_read(kind):
    decoded = decode(saved(Image.new("RGB", (60, 40), RED), kind))
    assert (decoded.mode, decoded.size) == ("RGB", (60, 40))
    assert near(decoded.getpixel((30, 20)), RED, 8)


def test_a_file_is_read_like_bytes():
    content = saved(Image.new("RGB", (6, 4), RED))
    assert decode(io.BytesIO(content)).tobytes() == decode(content).tobytes()


def sky_over_earth():
    image = Image.new("RGB", (80, 60), RED)
    ImageDraw.Draw(image).rectangle((0, 0, 80, 29), fill=BLUE)
    return image


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_the_camera_turned_is_upright(kind, orientation):
    as_stored = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    image = sky_over_earth()
    exif = Image.Exif()
    exif[0x0112] = orientation
    if orientation in as_stored:
        image = image.transpose(as_stored[orientation])
    decoded = decode(saved(image, kind, exif=exif))
    assert decoded.size == (80, 60)
    assert near(decoded.getpixel((40, 10)), BLUE, 12)
    assert near(decoded.getpixel((40, 50)), RED, 12)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_a_picture_with_broken_notes_about_it_is_read_as_it_lies():
    content = saved(sky_over_earth(), exif=b"Exif\0\0MM\0*\xff\xff\xff\xff not at all")
    assert decode(content).size == (80, 60)


def half_transparent(mode):
    image = Image.new("RGBA", (20, 10), (*RED, 255))
    image.paste((*RED, 0), (0, 0, 10, 10))
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"), [("RGBA", "PNG"), ("RGBA", "WEBP"), ("RGBA", "TIFF"), ("LA", "PNG")]
)
def test_what_is_transparent_is_white(mode, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(saved(half_transparent(mode), kind, **options))
    assert decoded.getpixel((2, 5)) == (255, 255, 255)
    assert near(decoded.getpixel((15, 5)), half_transparent(mode).convert("RGB").getpixel((15, 5)))


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white(kind):
    image = Image.new("P", (20, 10), 1)
    image.putpalette([0, 0, 0, *RED])
    image.paste(0, (0, 0, 10, 10))
    decoded = decode(saved(image, kind, transparency=0))
    assert decoded.getpixel((2, 5)) == (255, 255, 255)
    assert decoded.getpixel((15, 5)) == RED


def test_half_transparent_red_is_pink():
    assert near(decode(saved(Image.new("RGBA", (4, 4), (255, 0, 0, 128)))).getpixel((1, 1)), (255, 127, 127))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "LAB", "YCbCr"])
def test_every_colour_model_becomes_rgb(mode):
    image = Image.new("RGB", (20, 20), "white")
    stored = Image.new("LAB", (20, 20), (255, 128, 128)) if mode == "LAB" else image.convert(mode)
    assert near(decode(saved(stored, "TIFF")).getpixel((10, 10)), (255, 255, 255), 8)


@pytest.mark.parametrize(
    ("mode", "packed", "white"),
    [
        ("I;16", "<H", 65535),
        ("I;16", "<H", 4095),
        ("I", "<i", 65535),
        ("I", "<i", 255),
        ("F", "<f", 1.0),
        ("F", "<f", 255.0),
    ],
)
def test_a_picture_of_more_than_eight_bits_keeps_its_greys(mode, packed, white):
    values = [0, white / 2, white]
    raw = b"".join(struct.pack(packed, value if mode == "F" else int(value)) for value in values)
    decoded = decode(saved(Image.frombytes(mode, (3, 1), raw), "TIFF"))
    assert [decoded.getpixel((x, 0))[0] for x in range(3)] == pytest.approx([0, 127, 255], abs=1)


def test_a_picture_of_numbers_that_are_none_is_refused():
    raw = struct.pack("<3f", float("nan"), float("inf"), 1)
    with pytest.raises(ImageUnreadable, match="not numbers"):
        decode(saved(Image.frombytes("F", (3, 1), raw), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind):
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, BLUE, BLUE)]
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:])
    assert near(decode(content).getpixel((5, 5)), RED)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize(
    "size", [(MAX_SIDE, 30), (MAX_SIDE + 1, 30), (30, 5000), (5000, 3), (6000, 1), (4100, 2500)]
)
def test_a_large_picture_is_reduced_and_keeps_its_shape(kind, size):
    decoded = decode(saved(Image.new("RGB", size, RED), kind))
    assert MAX_SIDE / 2 <= max(decoded.size) <= MAX_SIDE
    scale = max(size) / max(decoded.size)
    assert min(decoded.size) == pytest.approx(min(size) / scale, abs=1)
    assert near(decoded.getpixel((decoded.width // 2, decoded.height // 2)), RED, 8)


def test_reducing_in_bands_leaves_no_seam():
    gradient = Image.linear_gradient("L").resize((3000, 3001)).convert("RGB")
    whole = gradient.reduce(2)
    assert decode(saved(gradient)).tobytes() == whole.tobytes()


def test_a_picture_of_no_more_than_the_largest_side_is_not_touched():
    noise = Image.effect_noise((300, 200), 90).convert("RGB")
    assert decode(saved(noise)).tobytes() == noise.tobytes()


@pytest.mark.parametrize("size", [(16, 16), (449, 30), (2000, 2001), (5, 3000)])
def test_the_copy_of_a_query_is_small_and_making_it_again_changes_nothing(size):
    copy = normalised(decode(saved(Image.new("RGB", size, RED))))
    assert (copy.mode, max(copy.size)) == ("RGB", min(448, max(size)))
    assert normalised(copy).tobytes() == copy.tobytes()


def test_a_shop_may_have_a_larger_copy_made(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "QUERY_IMAGE_SIDE": 1024}
    assert normalised(Image.new("RGB", (3000, 1500))).size == (1024, 512)


def test_a_small_jpeg_has_the_pictures_pixels_and_nothing_beside_them():
    noted = Image.new("RGB", (300, 200), RED)
    noted.info = {"comment": b"at home", "exif": b"Exif\0\0II*\0at home", "icc_profile": b"of my phone"}
    content = jpeg(noted, 100)
    with Image.open(io.BytesIO(content)) as read:
        assert (read.format, read.size) == ("JPEG", (100, 67))
        assert near(read.getpixel((50, 30)), RED)
        assert set(read.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
    assert noted.size == (300, 200), "the picture itself is not made smaller"


@pytest.mark.parametrize("size", [(1200, 900), (900, 1200), (4000, 500), (170, 2000), (169, 300), (60, 60)])
def test_a_jpeg_of_which_little_is_wanted_keeps_at_least_that(size):
    decoded = decode(saved(Image.new("RGB", size, RED), "JPEG"), side=168)
    assert min(168, *size) <= min(decoded.size) <= max(2 * 168, *(each // 8 for each in size))
    assert near(decoded.getpixel((10, 10)), RED, 8)


def seconds_of(size, kind, **options):
    return images.seconds_of(saved(Image.new("L", size), kind, **options))


def test_what_decoding_takes_is_known_before_from_the_header():
    photograph, phone, largest = (1200, 1200), (4000, 3000), (7000, 5000)
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP"):
        assert seconds_of((64, 64), kind) < seconds_of(photograph, kind) < LARGE_SECONDS, kind
    assert seconds_of(phone, "JPEG") < LARGE_SECONDS < seconds_of(largest, "JPEG", progressive=True)
    assert seconds_of(largest, "JPEG") < seconds_of(largest, "JPEG", progressive=True)
    for kind in ("PNG", "GIF"):
        assert seconds_of(largest, kind) > LARGE_SECONDS, kind
    assert images.seconds_of(saved(Image.new("L", (64, 64)), "PNG") + bytes(6_000_000)) > LARGE_SECONDS


def test_a_format_whose_header_may_lie_takes_as_long_as_it_may():
    assert images.seconds_of(saved(Image.new("RGB", (8, 8)), "AVIF")) == sandbox.PROCESSOR_SECONDS


@pytest.mark.parametrize("content", [b"", b"words", saved(Image.new("L", (9_000, 9_000)), "GIF")[:500]])
def test_a_header_that_is_refused_is_refused_before(content):
    with pytest.raises(ImageError):
        images.seconds_of(content)


def test_of_a_large_jpeg_only_what_a_search_looks_at_is_decoded(monkeypatch):
    """All of it, or the part that is meant; no less than QUERY_IMAGE_SIDE of it."""
    sizes = []
    monkeypatch.setattr(examples, "normalised", lambda picture: sizes.append(picture.size) or picture)
    content = saved(Image.new("RGB", (4000, 3000), RED), "JPEG")
    Example(image=content).decoded()
    Example(image=content, box=Box(x=0.5, y=0.5, width=0.5, height=0.4)).decoded()
    assert sizes == [(1000, 750), (1000, 600)]
