"""From a picture to the numbers that a vision tower reads."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from shopsearch.embedders.preprocessing import EXTREME_RATIO, Preprocessing
from shopsearch.images import decode
from tests.embedders.contract import picture


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (72, 72), (74, 500)], ids=str)
def test_a_picture_is_read_from_the_middle_of_its_longer_edge(size):
    image = picture(5, size)
    width, height = size
    shorter = min(size)
    middle = ((width - shorter) // 2, (height - shorter) // 2)
    square = image.crop((*middle, middle[0] + shorter, middle[1] + shorter))
    read = np.asarray(Preprocessing(size=72).square(image), dtype=float)
    resized = np.asarray(square.resize((72, 72), Image.Resampling.BICUBIC), dtype=float)
    assert read.shape == (72, 72, 3)
    assert np.abs(read - resized).mean() < 4


def test_only_the_middle_of_a_very_long_picture_is_resized_and_gives_the_same_pixels():
    """Just inside and just outside of the limit the two ways agree."""
    noise = np.random.default_rng(7).integers(0, 256, (60, 60 * EXTREME_RATIO + 60, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    read = np.asarray(Preprocessing(size=72).square(image), dtype=float)
    whole = image.resize((int(72 * image.width / 60), 72), Image.Resampling.BICUBIC)
    left = round((whole.width - 72) / 2)
    assert np.abs(read - np.asarray(whole.crop((left, 0, left + 72, 72)), dtype=float)).max() <= 1


def test_a_jpeg_decoded_to_the_useful_side_gives_nearly_the_same_numbers():
    coarse = np.random.default_rng(3).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    content = BytesIO()
    Image.fromarray(coarse).resize((1800, 1200), Image.Resampling.BICUBIC).save(content, "JPEG", quality=88)
    preprocessing = Preprocessing(size=84)
    small = decode(content.getvalue(), side=preprocessing.useful_side)
    assert small.size == (450, 300)
    whole, ours = preprocessing(decode(content.getvalue())), preprocessing(small)
    assert np.abs(whole - ours).mean() < 0.03  # of numbers from -2 to 2
