"""The collage, pixel by pixel: the defects of the reference's must not come back."""

import pytest
from PIL import Image

from shopsearch.rerankers.collage import collage

GREEN, ORANGE = (0, 160, 0), (255, 140, 0)


def plain(colour=GREEN, size=(50, 50)):
    return Image.new("RGB", size, colour)


def near(pixel, colour):
    return all(abs(ours - theirs) <= 40 for ours, theirs in zip(pixel, colour, strict=True))


def test_nine_candidates_and_a_query_make_1200_by_900():
    assert collage([plain()] * 9, plain()).size == (1200, 900)


@pytest.mark.parametrize(
    ("count", "size"), [(1, (300, 300)), (2, (600, 300)), (4, (600, 600)), (5, (900, 600)), (10, (1200, 900))]
)
def test_the_grid_is_sized_from_the_number_of_candidates(count, size):
    assert collage([plain()] * count).size == size


def test_the_query_stands_at_the_bottom_left_with_a_blue_border():
    picture = collage([plain()] * 9, plain(ORANGE))
    assert picture.getpixel((5, 605)) == (0, 0, 255)
    assert near(picture.getpixel((150, 750)), ORANGE)
    assert picture.getpixel((150, 300)) == (255, 255, 255)


def test_a_picture_keeps_its_proportions():
    picture = collage([plain(size=(100, 25))])
    assert near(picture.getpixel((150, 150)), GREEN)
    assert picture.getpixel((150, 90)) == (255, 255, 255)
    green = [y for y in range(300) if near(picture.getpixel((150, y)), GREEN)]
    assert 72 <= len(green) <= 76


def test_every_candidate_has_its_own_red_number_on_white():
    picture = collage([plain()] * 9, plain())
    badges = []
    for place in range(9):
        x, y = 300 + place % 3 * 300 + 2, place // 3 * 300 + 2
        badge = picture.crop((x, y, x + 48, y + 48))
        assert badge.getpixel((1, 1)) == (255, 255, 255)
        assert any(near(pixel, (255, 0, 0)) for _, pixel in badge.getcolors(4096))
        badges.append(badge.tobytes())
    assert len(set(badges)) == 9


def test_it_draws_the_same_picture_every_time():
    assert collage([plain()] * 3, plain()).tobytes() == collage([plain()] * 3, plain()).tobytes()


def test_palette_and_grey_pictures_are_taken():
    assert collage([plain().convert("P"), plain().convert("L")]).mode == "RGB"


def test_without_candidates_there_is_no_collage():
    with pytest.raises(ValueError, match="at least one"):
        collage([])
