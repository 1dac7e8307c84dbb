"""The renderer: deterministic, the same look at every size, different where it should be."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image, ImageFilter
from PIL.Image import Resampling

from demo_project.catalog.assortment import KINDS, articles
from demo_project.rendering.noise import band_noise
from demo_project.rendering.palettes import PATTERNS, colours_of
from demo_project.rendering.products import SHAPES, SNAPSHOTS, STUDIO, product_picture
from demo_project.rendering.references import REFERENCES
from demo_project.rendering.scenes import reference_picture, scenes_of
from demo_project.rendering.textures import TEXTURES, texture


def difference(first: Image.Image, second: Image.Image) -> float:
    """Mean difference of the pixels, 0 to 255, once both are blurred and 80 pixels wide."""
    small = [
        np.asarray(
            picture.filter(ImageFilter.GaussianBlur(picture.width / 160)).resize((80, 80), Resampling.BOX)
        )
        for picture in (first, second)
    ]
    return float(np.abs(small[0].astype(int) - small[1]).mean())


def test_every_category_of_the_shop_has_a_shape_and_every_pattern_a_texture():
    assert set(KINDS) == set(SHAPES)
    assert set(TEXTURES) == set(PATTERNS)


@pytest.mark.parametrize("category", SHAPES)
def test_a_product_looks_the_same_at_every_size(category):
    pattern, colour = "stripes", "teal"

    small, large = (
        product_picture(category, pattern, colour, design=3, size=size, style=STUDIO) for size in (160, 480)
    )

    assert (small.size, large.size) == ((160, 160), (480, 480))
    assert difference(small, large) < 4


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_looks_the_same_at_every_size(pattern):
    colour = colours_of(pattern)[0]

    small, large = (
        reference_picture(pattern, colour, seed=3, scene="full", size=size) for size in (160, 480)
    )

    assert difference(small, large) < 4


def test_the_same_seeds_draw_the_same_picture():
    first, second = (product_picture("vase", "leopard", "brown", design=5, size=160) for _ in range(2))

    assert first.tobytes() == second.tobytes()


def test_a_second_view_is_another_photograph_of_the_same_product():
    first, second, other = (
        product_picture("mug", "floral", "red", design=design, view=view, size=160)
        for design, view in ((1, 0), (1, 1), (2, 0))
    )

    assert difference(first, second) > 2
    assert difference(first, other) > 2


def test_a_shops_photographs_keep_the_product_within_the_frame():
    def cut_off(picture: Image.Image) -> bool:
        """Something black reaches the edge."""
        brightness = np.asarray(picture).max(2)
        edges = [brightness[0], brightness[-1], brightness[:, 0], brightness[:, -1]]
        return bool(np.concatenate(edges).min() < 60)

    shop, anybody = (
        [product_picture("phone_case", "solid", "black", design=n, size=160, style=style) for n in range(25)]
        for style in (STUDIO, SNAPSHOTS)
    )

    assert not any(map(cut_off, shop))
    assert any(map(cut_off, anybody))


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_texture_tiles_without_a_seam(pattern):
    doubled = np.asarray(texture(pattern, 32, 256), int)
    tile = doubled[:256, :256]

    steps = np.abs(np.diff(tile, axis=0)).mean((1, 2))
    at_the_seam = np.abs(tile[0] - tile[-1]).mean()

    assert (doubled[256:, 256:] == tile).all()
    assert at_the_seam <= steps.max() + 1


def test_noise_is_the_same_at_every_size():
    small, large = (band_noise(np.random.default_rng(1), 1, 20, size=size) for size in (256, 512))

    np.testing.assert_allclose(large[::2, ::2], small, atol=0.05)
    assert abs(small.mean()) < 0.01
    assert abs(small.std() - 1) < 0.01


@pytest.mark.parametrize("pattern", PATTERNS)
def test_every_scene_of_a_pattern_can_be_drawn(pattern):
    for colour in colours_of(pattern):
        for scene in dict.fromkeys(scenes_of(pattern, colour)):
            picture = reference_picture(pattern, colour, seed=1, scene=scene, size=64)
            assert (picture.mode, picture.size) == ("RGB", (64, 64))


def test_the_assortment_has_every_kind_of_thing_in_every_pattern_in_three_colours():
    colours: dict[tuple[str, str], set[str]] = {}
    for article in articles():
        colours.setdefault((article.category, article.pattern), set()).add(article.colour)

    assert len(colours) == len(KINDS) * len(PATTERNS) >= 14 * len(PATTERNS)
    assert {len(found) for found in colours.values()} == {3}
    assert sum((a.category, a.pattern, a.colour) == ("mug", "stripes", "red") for a in articles()) == 3
    assert (
        sum((a.category, a.pattern, a.colour) == ("phone_case", "leopard", "brown") for a in articles()) == 3
    )


def test_titles_and_addresses_are_the_articles_own_and_prices_are_prices():
    sold = articles()

    assert len({article.title for article in sold}) == len({article.slug for article in sold}) == len(sold)
    assert all(5 < article.price < 120 and article.price.as_tuple().exponent == -2 for article in sold)
    assert 20 < sum(article.stock == 0 for article in sold) < 150


def test_an_article_is_photographed_the_same_every_time():
    article = articles()[0]

    photograph = article.photograph()

    assert photograph == article.photograph()
    assert Image.open(BytesIO(photograph)).size == (400, 400)
    assert len(photograph) < 60_000


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.name)
def test_a_reference_picture_is_committed_light_and_described(reference):
    picture = Image.open(reference.path)

    assert (picture.format, picture.size) == ("JPEG", (640, 640))
    assert reference.path.stat().st_size < 80_000
    assert reference.alternative_text
