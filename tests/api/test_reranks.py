"""GET /api/reranks/<uuid>/: what a page polls, and the stream of events under ASGI."""

import json
import time
import uuid
from urllib.parse import urlsplit

import pytest
from asgiref.sync import sync_to_async
from django.test import AsyncClient

from shopsearch.api import access
from shopsearch.api import reranks as api_reranks
from shopsearch.models import Rerank
from shopsearch.search import reranking
from tests.services.event_loop import run_in_a_loop_of_its_own
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db


@pytest.fixture
def address(client, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "THROTTLE_RATE": None}
    for title, colour in (("red mug", RED), ("blue mug", BLUE), ("green mug", GREEN)):
        product(colour, title=title)
    index_everything()
    return client.get("/api/search/", {"q": "red", "rerank": "true"}).json()["rerank"]["url"]


def test_an_open_rerank_says_when_to_ask_again(client, address):
    response = client.get(address)
    assert response.status_code == 200
    assert response["Retry-After"] == "1"
    assert response.json() == {
        "id": address.split("/")[-2],
        "state": "queued",
        "order": [],
        "caption": "",
        "reason": "",
        "reasons": [],
        "shared": {},
        "repairs": {},
    }


def test_a_finished_rerank_has_the_order_and_nothing_more_to_wait_for(client, address):
    reranking.answer_next()
    response = client.get(address)
    answer = response.json()
    assert answer["state"] == "done"
    assert sorted(answer["order"]) == sorted(each["product"] for each in Rerank.objects.get().candidates)
    assert answer["reason"]
    assert "Retry-After" not in response


def test_an_unchanged_rerank_is_not_sent_twice(client, address):
    tag = client.get(address)["ETag"]
    unchanged = client.get(address, headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    reranking.answer_next()
    assert client.get(address, headers={"If-None-Match": tag}).status_code == 200


def test_a_rerank_that_does_not_exist_is_404_with_a_sentence(client):
    response = client.get(f"/api/reranks/{uuid.uuid4()}/")
    assert response.status_code == 404
    assert "search again" in response.json()["detail"]


def test_a_rerank_that_failed_tells_the_shopper_nothing_alarming(client, address):
    Rerank.objects.update(state="failed", error="RuntimeError: secret")
    answer = client.get(address).json()
    assert answer["state"] == "failed"
    assert "secret" not in json.dumps(answer)


def test_polling_takes_one_query_of_the_database(client, address, django_assert_num_queries):
    with django_assert_num_queries(1):
        client.get(address)


@pytest.mark.django_db(transaction=True)
def test_events_are_not_served_unless_the_project_says_so(address):
    async def listen():
        return await AsyncClient().get(f"{urlsplit(address).path}events/")

    assert run_in_a_loop_of_its_own(listen).status_code == 404


@pytest.mark.django_db(transaction=True)
def test_under_asgi_the_events_end_with_the_final_state(address, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "RERANK_EVENTS": True}

    async def listen():
        response = await AsyncClient().get(f"{urlsplit(address).path}events/")
        assert response["Content-Type"] == "text/event-stream"
        told = []
        async for event in response.streaming_content:
            told.append(json.loads(event.decode().split("data: ")[1]))
            if len(told) == 1:
                await sync_to_async(reranking.answer_next)()
        return told

    told = run_in_a_loop_of_its_own(listen)
    assert [event["state"] for event in told] == ["queued", "done"]
    assert len(told[-1]["order"]) == 3


@pytest.mark.django_db(transaction=True)
def test_a_visitor_has_a_fair_share_of_the_streams_and_gets_another_when_one_is_closed(address, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "RERANK_EVENTS": True}
    path = f"{urlsplit(address).path}events/"

    async def listen():
        share = api_reranks.MAX_STREAMS // access.FAIR_SHARE
        streams = [await AsyncClient().get(path) for _ in range(share)]
        refused, other = (
            await AsyncClient().get(path),
            await AsyncClient().get(path, headers={"X-Forwarded-For": "192.0.2.9"}),
        )
        await sync_to_async(streams[0].close)()
        again = await AsyncClient().get(path)
        for each in (*streams, other, again):
            await sync_to_async(each.close)()
        return [each.status_code for each in (*streams, refused, other, again)]

    *streams, refused, other, again = run_in_a_loop_of_its_own(listen)
    assert set(streams) == {200}
    assert (refused, other, again) == (503, 200, 200)
    assert not api_reranks._open


@pytest.mark.django_db(transaction=True)
def test_a_process_has_so_many_streams_and_no_more_and_forgets_those_that_nobody_closed(
    address, settings, monkeypatch
):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "RERANK_EVENTS": True}
    now = time.monotonic()
    strangers = {object(): (str(number), now + 60) for number in range(api_reranks.MAX_STREAMS)}
    monkeypatch.setattr(api_reranks, "_open", strangers)

    async def listen():
        return await AsyncClient().get(f"{urlsplit(address).path}events/")

    refused = run_in_a_loop_of_its_own(listen)
    assert refused.status_code == 503
    assert refused["Retry-After"]
    strangers.update((each, ("", now - 1)) for each in strangers)
    assert run_in_a_loop_of_its_own(listen).status_code == 200
