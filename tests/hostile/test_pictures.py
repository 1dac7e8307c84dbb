"""Hostile pictures through the whole endpoint, in a process of its own: nothing falls over, and nothing piles up.

SHOPSEARCH_TEST_MUTATIONS says how many damaged pictures are sent: 150 unless it is set; with 5,000, before a release,
the odd pictures follow them, and a shop that accepts every format is tried too.
"""

import random
from collections import Counter

import pytest

from tests.hostile.bombs import bombs
from tests.hostile.endpoint import Endpoint
from tests.hostile.pictures import IN_FULL, MUTATIONS, mutated, noise, saved, valid
from tests.images.test_odd_images import FILES, needs_the_files

MEGABYTE = 1024 * 1024
EVERYTHING = ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP", "TIFF", "BLP", "ICO", "JPEG2000"]
"""What a careless shop may accept."""


@pytest.fixture(scope="module", params=["as it comes", "everything"] if IN_FULL else ["as it comes"])
def endpoint(request):
    endpoint = Endpoint(**({"IMAGE_FORMATS": EVERYTHING} if request.param == "everything" else {}))
    for kind in ("JPEG", "PNG"):
        assert endpoint.search(saved(noise(size=(1600, 1200)), kind), rerank="true")[0] == 200
    endpoint.rested = endpoint.memory()
    yield endpoint
    assert endpoint.stop()


def wrong_answers(endpoint, pictures):
    """What was neither answered nor refused with a sentence, by name; and how many there were of each status."""
    wrong, statuses = {}, Counter()
    for name, content in pictures:
        status, answer = endpoint.search(content, rerank="true")
        statuses[status] += 1
        answered = status == 200 and answer["query"]["kind"] == "image"
        refused = status == 400 and answer["code"] in ("image_unreadable", "image_too_large")
        if not (answered or (refused and answer["detail"].endswith("."))):
            wrong[name] = (status, answer)
    grown = (endpoint.memory() - endpoint.rested) / MEGABYTE
    most = (endpoint.memory("VmHWM") - endpoint.rested) / MEGABYTE
    print(f"{dict(statuses)}; grown by {grown:.0f} MB, {most:.0f} MB at most meanwhile")
    assert grown < 200
    assert most < 300
    return wrong


def test_decompression_bombs_are_refused_or_answered(endpoint):
    made = bombs()
    assert len(made) > 20
    assert wrong_answers(endpoint, made.items()) == {}


@needs_the_files
@pytest.mark.skipif(
    not IN_FULL, reason="in full only; tests/images/test_odd_images.py sends them in this process"
)
def test_odd_pictures_are_refused_or_answered(endpoint):
    assert wrong_answers(endpoint, [(path.name, path.read_bytes()) for path in FILES]) == {}


def test_damaged_pictures_are_refused_or_answered(endpoint):
    samples = valid()
    pictures = [(f"mutation {seed}", mutated(random.Random(seed), samples)) for seed in range(MUTATIONS)]
    assert wrong_answers(endpoint, pictures) == {}


def test_what_is_no_bomb_is_answered_all_the_same(endpoint):
    """Otherwise the tests above would hold for a shop that refuses everything."""
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "AVIF"):
        assert endpoint.search(saved(noise(size=(900, 600)), kind))[0] == 200
