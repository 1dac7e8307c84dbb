"""Several pictures in one search over REST: each an example with its weight, all together within the limits of one."""

import pytest
from django.core.cache import cache

from shopsearch.search import examples
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db
PURPLE = (130, 40, 130)


@pytest.fixture(autouse=True)
def shop(settings):
    cache.clear()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    for title, colour in {"red": RED, "blue": BLUE, "green": GREEN}.items():
        product(colour, title=title)
    index_everything()


def asked(client, *colours, size=(16, 16), **fields):
    return client.post("/api/search/", {"image": [picture(each, size=size) for each in colours], **fields})


def titles(response):
    assert response.status_code == 200, response.content
    return [each["product"]["title"] for each in response.json()["results"]]


def test_each_picture_is_an_example_with_its_weight(client):
    assert titles(asked(client, RED, BLUE))[2] == "green"
    assert titles(asked(client, RED, BLUE, image_weights="0.2,1"))[0] == "blue"
    assert titles(asked(client, RED, BLUE, image_weights="1,-1"))[::2] == ["red", "blue"]
    assert titles(asked(client, RED, BLUE, q="", image_weights="-1,1"))[::2] == ["blue", "red"]
    assert asked(client, RED, BLUE).json()["rerank"] is None
    assert titles(asked(client, RED, box="0,0,0.5,0.5"))[0] == "red"


@pytest.mark.parametrize(
    ("count", "fields", "sentence"),
    [
        (6, {}, "Use at most 5 examples"),
        (4, {"like": ["1", "2"]}, "Use at most 5 examples"),
        (2, {"image_weights": "1"}, "one number for each picture"),
        (2, {"image_weights": "1,0"}, "a number from -1 to 1"),
        (2, {"image_weights": "1,nan"}, "a number from -1 to 1"),
        (2, {"image_weights": "1,much"}, "such as 1,-0.5"),
        (2, {"image_weights": "-1,-1"}, "Say what you look for as well"),
        (0, {"image_weights": "1"}, "one number for each picture"),
        (0, {"image": "words"}, "Send the picture as a file"),
    ],
)
def test_what_cannot_be_is_refused_with_a_sentence(client, monkeypatch, count, fields, sentence):
    if count > 2:
        monkeypatch.setattr(examples, "decode", lambda *args, **kwargs: pytest.fail("it is refused before"))
    response = client.post("/api/search/", {"image": [picture() for _each in range(count)], **fields})
    assert response.status_code == 400
    assert sentence in response.json()["detail"]


def test_together_they_are_no_larger_than_one_may_be(client, settings):
    limits = {"MAX_IMAGE_PIXELS": 60 * 60, "MAX_IMAGE_BYTES": 100_000}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, **limits}
    index_everything()
    assert asked(client, RED, size=(60, 60)).status_code == 200
    assert asked(client, RED, BLUE, size=(40, 40)).status_code == 200
    response = asked(client, RED, BLUE, size=(60, 60))
    assert (response.status_code, response.json()["code"]) == (400, "image_too_large")
    heavy = len(picture(RED).read())
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_IMAGE_BYTES": heavy + 5}
    assert asked(client, RED, BLUE).json()["code"] == "image_too_large"


def test_each_counts_for_the_throttle(client, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": {"search": "100/day", "image": "3/day"}}
    index_everything()
    assert [asked(client, RED, BLUE).status_code for _again in range(2)] == [200, 429]
