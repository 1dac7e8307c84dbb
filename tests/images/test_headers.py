"""shopsearch.images.headers: what stands before a picture's data costs little, whatever it is."""

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from shopsearch.exceptions import ImageUnreadable
from shopsearch.images import decode, headers
from tests.images.floods import BLOCKS, chunk, exif, flooded, riff, saved, segment
from tests.images.test_hostile_images import decoded_or_refused

KINDS = [(kind, name) for kind, blocks in BLOCKS.items() for name in blocks]
WITHOUT_BLOCKS = {("JPEG", name) for name in ("fill", "fill that ends in nothing", "stray bytes", "stuffing")}
"""A regular expression passes over them, so they count for nothing."""


class Watched(io.BytesIO):
    """Counts how often it is read from."""

    reads = 0

    def read(self, *args):
        Watched.reads += 1
        return super().read(*args)


@pytest.fixture
def reads(monkeypatch):
    """How often Pillow's own code reads from a file while it is decoded."""

    def count(content):
        monkeypatch.setattr("shopsearch.images.decoding.BytesIO", Watched)
        Watched.reads = 0
        decode(content)
        return Watched.reads

    return count


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_what_makes_no_pixels_costs_pillow_nothing(kind, name, reads):
    own = reads(saved(kind))
    kept = {("JPEG", "tables"), ("PNG", "empty data")}
    allowed = own + (3_000 if (kind, name) in kept else 5)
    assert reads(flooded(kind, BLOCKS[kind][name], 300)) <= allowed


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_it_changes_no_pixel(kind, name):
    turned = name == "notes" and kind != "JPEG"  # those of the JPEG file are broken
    picture = decode(saved(kind))
    found = decode(flooded(kind, BLOCKS[kind][name], 20))
    assert found.tobytes() == (picture.transpose(Image.Transpose.ROTATE_270) if turned else picture).tobytes()


def limit_to(most, monkeypatch):
    for name in ("MAX_BLOCKS", "MAX_SEGMENTS"):
        monkeypatch.setattr(headers, name, most)


@pytest.mark.parametrize(("kind", "name"), [each for each in KINDS if each not in WITHOUT_BLOCKS])
def test_a_flood_of_blocks_is_refused_before_pillow_sees_it(kind, name, monkeypatch):
    limit_to(200, monkeypatch)
    monkeypatch.setattr(Image, "open", lambda *args, **options: pytest.fail("Pillow saw it"))
    with pytest.raises(ImageUnreadable, match="too many comments or parts"):
        decode(flooded(kind, BLOCKS[kind][name], 201))


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_no_more_is_looked_at_than_the_limit(kind, name, monkeypatch):
    limit_to(200, monkeypatch)
    looked_at = 0
    counted = headers._counted

    def count(blocks, most):
        def each():
            nonlocal looked_at
            for block in blocks:
                looked_at += 1
                yield block

        return counted(each(), most)

    monkeypatch.setattr(headers, "_counted", count)
    content = flooded(kind, BLOCKS[kind][name], 5_000)
    if (kind, name) in WITHOUT_BLOCKS:
        headers.scan(content)
    else:
        with pytest.raises(ImageUnreadable):
            headers.scan(content)
    assert looked_at <= 201


@pytest.mark.parametrize(("kind", "name"), sorted(WITHOUT_BLOCKS))
def test_bytes_between_the_blocks_are_passed_over_in_one_go(kind, name):
    content = flooded(
        kind, BLOCKS[kind][name], 2_000_000
    )  # would take hours if each were looked at from each
    assert len(headers.scan(content).content) == len(headers.scan(saved(kind)).content)
    cut = content[:1_000_000]
    assert headers.scan(cut).content == b"\xff\xd8\xff\xd9"


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_is_read_without_anything_else_of_the_notes(orientation, order):
    huge = [(tag, 7, 4_000_000_000, 8) for tag in range(300, 800)]
    notes = exif(orientation, huge, order)
    assert headers.orientation_of(notes) == headers.orientation_of(b"Exif\0\0" + notes) == orientation
    jpeg, png = saved("JPEG"), saved("PNG")
    assert headers.scan(jpeg[:2] + segment(0xE1, b"Exif\0\0" + notes) + jpeg[2:]).orientation == orientation
    assert headers.scan(png[:33] + chunk(b"eXIf", notes) + png[33:]).orientation == orientation
    assert headers.scan(flooded("WEBP", riff(b"EXIF", notes), 1)).orientation == orientation


@given(st.binary(max_size=200), st.sampled_from([b"", b"Exif\0\0", b"II*\0\x08\0\0\0", b"MM\0*\0\0\0\x08"]))
def test_broken_notes_say_that_a_picture_is_upright_or_turned_and_nothing_else(content, start):
    assert headers.orientation_of(start + content) in range(1, 9)


@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=12)), max_size=5),
    st.integers(0, 60),
)
@settings(max_examples=300)
def test_a_damaged_flood_is_a_picture_or_a_refusal(which, damage, count):
    kind, name = which
    content = bytearray(flooded(kind, BLOCKS[kind][name][:200], count))
    for place, value in damage:
        content[place : place + len(value)] = value
    scanned = headers.scan(bytes(content))
    assert len(scanned.content) <= len(content) + 2
    decoded_or_refused(bytes(content))
