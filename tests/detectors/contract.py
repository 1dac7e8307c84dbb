"""What every detector promises: a backend's test subclasses DetectorContract and gives a ``detector``."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from PIL import Image, ImageDraw

from shopsearch.detectors.base import LEAST_SIDE, WHOLE, distinct


def scene(width=96, height=64):
    """Two things on a table."""
    picture = Image.new("RGB", (width, height), (240, 240, 235))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((width * 0.1, height * 0.2, width * 0.4, height * 0.8), fill=(200, 30, 30))
    draw.ellipse((width * 0.55, height * 0.3, width * 0.9, height * 0.7), fill=(30, 60, 200))
    return picture


class DetectorContract:
    @pytest.fixture
    def detector(self):
        raise NotImplementedError

    def test_what_is_chosen_are_parts_of_the_picture_and_the_surest_comes_first(self, detector):
        found = distinct(detector.detect(scene()), most=detector.most)
        assert found
        for each in found:
            assert min(each.x, each.y) >= 0
            assert max(each.x + each.width, each.y + each.height) <= 1 + 1e-6
            assert min(each.width, each.height) >= LEAST_SIDE
            assert each.width * each.height < WHOLE
        scores = [each.score for each in found]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)

    def test_the_same_picture_gives_the_same_proposals_from_any_thread(self, detector):
        with ThreadPoolExecutor(2) as threads:
            one, other = threads.map(detector.detect, [scene(), scene()])
        assert one == other == detector.detect(scene())

    @pytest.mark.parametrize("size", [(1, 1), (8, 400), (400, 8)])
    def test_pictures_of_any_shape_are_taken(self, detector, size):
        assert isinstance(detector.detect(Image.new("RGB", size, (90, 90, 90))), list)
