"""Searching by a picture's address: ``image_url`` of the REST API."""

import threading

import pytest
from django.core.cache import cache

from shopsearch.exceptions import ImageUnavailable
from shopsearch.images import download, http
from shopsearch.images.download import Downloader
from shopsearch.indexing import batch
from tests.services.picture_server import picture_server
from tests.shop.pictures import RED, picture, product

URL = "/api/search/"


@pytest.fixture
def shop(db, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None, "FETCH_IMAGE_URLS": True}
    cache.clear()
    product(RED, title="red mug")
    list(batch.index_pending())


@pytest.mark.usefixtures("shop")
def test_a_picture_may_be_searched_with_by_its_address(client, monkeypatch):
    product(RED, title="red plate")
    list(batch.index_pending())
    with picture_server() as server:
        local = Downloader(schemes=("http",), ports=(server.port,), networks=("127.0.0.1/32",))
        monkeypatch.setattr(download, "Downloader", lambda seconds: local)
        asked = {"image_url": f"{server.address}/good/a.jpg", "q": "red", "limit": 1}
        for answer in (client.post(URL, asked), client.post(URL, asked, content_type="application/json")):
            assert answer.status_code == 200, answer.content
            assert answer.json()["query"] == {"kind": "composed", "text": "red", "filters": {}}
            # As a picture is, it is to be sent again.
            assert answer.json()["next"] == f"http://testserver{URL}?q=red&limit=1&offset=1"


@pytest.mark.usefixtures("shop")
def test_what_cannot_be_fetched_is_answered_with_400_without_the_reason(client, caplog):
    caplog.set_level("INFO", "shopsearch.images.download")
    answer = client.post(URL, {"image_url": "https://127.0.0.1/a.jpg"})
    assert answer.status_code == 400
    assert answer.json() == {"code": "image_unavailable", "detail": str(ImageUnavailable())}
    assert "not on the public internet: 127.0.0.1" in caplog.text


@pytest.mark.usefixtures("shop")
def test_slow_servers_hold_no_more_than_a_few_of_the_shops_threads(client, monkeypatch):
    monkeypatch.setattr(download, "_fetches", threading.BoundedSemaphore(1))
    answers = []

    def fetch(self, address):
        """Meanwhile another shopper asks, who is turned away at once."""
        answers.append(client.post(URL, {"image_url": "https://pictures.example/b.jpg"}))
        raise ImageUnavailable

    monkeypatch.setattr(Downloader, "fetch", fetch)
    first = client.post(URL, {"image_url": "https://pictures.example/a.jpg"})
    assert (first.status_code, [each.status_code for each in answers]) == (400, [503])
    assert answers[0].json()["code"] == "busy"
    assert answers[0]["Retry-After"]
    client.post(URL, {"image_url": "https://pictures.example/a.jpg"})  # the place is free again
    assert len(answers) == 2


@pytest.mark.usefixtures("shop")
def test_a_picture_and_an_address_are_too_much(client):
    answer = client.post(URL, {"image_url": "https://pictures.example/a.jpg", "image": picture()})
    assert (answer.status_code, answer.json()["detail"]) == (
        400,
        "Send a picture or its address, not both.",
    )


@pytest.mark.usefixtures("shop")
def test_an_address_is_not_taken_by_get(client, monkeypatch):
    monkeypatch.setattr(download, "fetched", lambda address: pytest.fail("it was fetched"))
    assert client.get(URL, {"image_url": "https://pictures.example/a.jpg"}).status_code == 400


@pytest.mark.usefixtures("shop")
def test_no_address_is_fetched_unless_the_shop_says_so(client, settings, monkeypatch):
    settings.SHOPSEARCH = {
        name: value for name, value in settings.SHOPSEARCH.items() if name != "FETCH_IMAGE_URLS"
    }
    monkeypatch.setattr(http, "_look_up", lambda *_: pytest.fail("it was looked up"))
    answer = client.post(URL, {"image_url": "https://pictures.example/a.jpg"})
    assert answer.status_code == 400
    assert (
        answer.json()["detail"]
        == "Pictures are not fetched by their address here; send the picture as a file."
    )
