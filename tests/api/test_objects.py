"""The parts of a picture over HTTP, and on the search page."""

import math
import threading
from dataclasses import replace

import pytest
from django.core.cache import cache
from django.core.checks import run_checks
from django.urls import reverse
from django.utils import translation

from shopsearch.api import access, objects
from shopsearch.search.examples import Box
from shopsearch.threads import Watched
from shopsearch.types import Proposal
from tests.shop.detectors import MugAndLamp
from tests.shop.pictures import RED, picture, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db
ADDRESS = "/api/objects/"


@pytest.fixture(autouse=True)
def shop(settings, monkeypatch):
    cache.clear()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "DETECTOR": {"BACKEND": "tests.shop.detectors.MugAndLamp"}}
    monkeypatch.setattr(MugAndLamp, "is_away", False)


def asked(client, **fields):
    return client.post(ADDRESS, {"image": picture(RED, size=(900, 600)), **fields})


def test_a_pictures_objects_are_boxes_that_a_search_takes(client):
    response = asked(client)
    assert response.status_code == 200
    assert response.json() == {
        "objects": [
            {"box": "0.1,0.25,0.2,0.5", "score": 0.9, "label": "mug"},
            {"box": "0.55,0.25,0.45,0.5", "score": 0.6, "label": "lamp"},
        ]
    }
    assert response["Cache-Control"] == "no-store"
    assert max(MugAndLamp.seen) <= 448, "only a small copy is looked at"
    product(RED)
    index_everything()
    box = response.json()["objects"][0]["box"]
    assert client.post("/api/search/", {"image": picture(RED, size=(64, 64)), "box": box}).status_code == 200


def test_it_is_guarded_as_a_search_by_picture_is(client, settings):
    assert (
        client.post(ADDRESS, {}).json()["detail"] == "Send the picture as the file image of a multipart form."
    )
    assert client.post(ADDRESS, {"image": "words"}).status_code == 400
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": {"search": "100/day", "image": "1/day"}}
    assert [asked(client).status_code for _again in range(2)] == [200, 429]
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_IMAGE_BYTES": 10, "THROTTLE_RATE": None}
    assert asked(client).status_code == 400


def test_a_detector_that_is_away_says_so_without_its_own_words(client, monkeypatch):
    monkeypatch.setattr(MugAndLamp, "is_away", True)
    response = asked(client)
    assert (response.status_code, response.json()["code"]) == (503, "detector_unavailable")
    assert "gpu-7" not in response.content.decode()


def test_whatever_a_detector_proposes_the_answer_is_boxes_that_a_search_takes(client, monkeypatch):
    good = Proposal(x=0.1, y=0.2, width=0.3, height=0.4, score=0.5, label="<b>mug</b>")
    odd = (
        {"x": math.nan},
        {"width": math.inf, "height": -math.inf},
        {"score": math.nan},
        {"x": -5, "y": -5},
        {"width": 1e-9},
        {"x": 0, "y": 0, "width": 7, "height": 7},
    )
    found = [replace(good, **each) for each in odd] + [good] * 50
    found += [replace(good, x=number / 10, width=0.1, score=0.1) for number in range(10) for _ in range(9)]
    monkeypatch.setattr(MugAndLamp, "detect", lambda self, picture: found)
    boxes = [each["box"] for each in asked(client).json()["objects"]]
    assert boxes[0] == "0.1,0.2,0.3,0.4"
    assert len(boxes) == len(set(boxes)) == 11
    for each in boxes:
        Box.of(each.split(","))


def test_a_detector_proposes_no_more_than_it_says(client, monkeypatch):
    monkeypatch.setattr(MugAndLamp, "most", 1)
    assert [each["label"] for each in asked(client).json()["objects"]] == ["mug"]


def test_a_detector_that_hangs_gives_its_place_back_and_is_left_alone_until_it_ends(client, monkeypatch):
    """MAX_IMAGE_SEARCHES is 1: a second call would hold a second thread, and so on for ever."""
    monkeypatch.setattr(objects, "_watched", Watched(0.05, name="test-detect"))
    go_on, calls = threading.Event(), []

    def hanging(self, picture):
        calls.append(picture)
        go_on.wait(30)
        return []

    with monkeypatch.context() as hung:
        hung.setattr(MugAndLamp, "detect", hanging)
        for _again in range(3):
            response = asked(client)
            assert (response.status_code, response.json()["code"]) == (503, "detector_unavailable")
            assert int(response["Retry-After"]) > 0
    assert len(calls) == 1
    assert not sum(access._places._taken.values())
    [(_pid, late)] = objects._watched._late
    go_on.set()
    late.result(timeout=30)
    assert asked(client).status_code == 200


@pytest.mark.parametrize(
    "changed",
    [{"DETECTOR": None}, {"QUERY_EMBEDDER": {"BACKEND": "shopsearch.embedders.remote.WorkerEmbedder"}}],
    ids=["no detector", "a process without models"],
)
def test_without_a_detector_there_is_none_and_the_page_does_not_offer_it(client, settings, changed, request):
    product(RED)
    index_everything()
    page = client.post(
        "/search/?picture=1", {"image": picture(RED)}, headers={"X-Shopsearch-Fragment": "results"}
    )
    assert f'data-shopsearch-objects="{reverse("shopsearch:api-objects")}"' in page.content.decode()
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, **changed}
    with translation.override("es"):
        refused = client.post(ADDRESS)
    assert (refused.status_code, refused.json()["detail"][:12]) == (404, "Esta tienda ")
    idle = [each for each in run_checks() if each.id == "shopsearch.W017"]
    assert bool(idle) == ("QUERY_EMBEDDER" in changed)
