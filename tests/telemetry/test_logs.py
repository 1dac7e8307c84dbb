"""Logs: one id from the page's request to the worker with the model, and lines that a program can read."""

import asyncio
import io
import json
import logging
import uuid

import pytest
from asgiref.sync import iscoroutinefunction
from celery import current_app
from django.core.files.base import ContentFile
from django.http import HttpResponse
from django.test import AsyncClient, override_settings
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from shopsearch.embedders.remote.messages import read_request, write_request
from shopsearch.middleware import RequestIDMiddleware
from shopsearch.models import ProductImage, Rerank
from shopsearch.search import reranking
from shopsearch.telemetry import logs
from shopsearch.types import Query
from tests.services.event_loop import run_in_a_loop_of_its_own
from tests.services.query_worker import WORKER_EMBEDDER, QueryWorkerProcess
from tests.services.waiting import wait_until
from tests.shop.models import Product

MIDDLEWARE = "shopsearch.middleware.RequestIDMiddleware"
logger = logging.getLogger("tests.logs")


def say(request):
    logger.info("The page is made.")
    return HttpResponse(logs.get_request_id())


async def say_later(request):
    await asyncio.sleep(0)
    logger.info("The page is made.")
    return HttpResponse(logs.get_request_id())


urlpatterns = [path("say/", say), path("later/", say_later)]


@pytest.fixture
def written():
    """The lines of JSON that are logged meanwhile."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(logs.RequestIDFilter())
    handler.setFormatter(logs.JSONFormatter())
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture
def with_ids(settings):
    settings.MIDDLEWARE = [MIDDLEWARE, *settings.MIDDLEWARE]


@pytest.fixture
def our_pages(settings, with_ids):
    settings.ROOT_URLCONF = __name__


def test_a_request_gets_an_id_that_its_answer_and_its_lines_carry(client, our_pages, written):
    first, second = client.get("/say/"), client.get("/say/")
    assert uuid.UUID(first["X-Request-ID"])
    assert first.content.decode() == first["X-Request-ID"] != second["X-Request-ID"]
    assert [line["request_id"] for line in written()] == [first["X-Request-ID"], second["X-Request-ID"]]
    assert logs.get_request_id() == ""


@pytest.mark.parametrize(
    "given", ["abc-123", "3f0c6f4e9d", "1-67891233-abcdef012345678912345678", "a:b_c.d", "x" * 128]
)
def test_the_id_that_a_proxy_gave_is_kept(client, our_pages, given):
    assert client.get("/say/", headers={"X-Request-ID": given})["X-Request-ID"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 129, "a b", "a,b", "<script>", 'a"b', "-", "ä", "a\x00b", "${jndi:x}"]
)
def test_an_id_that_is_none_is_replaced(client, our_pages, given):
    answered = client.get("/say/", headers={"X-Request-ID": given})["X-Request-ID"]
    assert uuid.UUID(answered)


@given(st.text() | st.none() | st.integers() | st.lists(st.text()))
def test_whatever_is_sane_is_plain_ascii_and_short(given):
    sane = logs.sane_request_id(given)
    assert sane in ("", given)
    assert len(sane) <= 128
    assert sane.isascii()
    assert sane.isprintable()
    assert not set(sane) & set(" \"'<>{}\\,;")


def test_the_id_ends_with_a_request_that_fails(client, our_pages, written, settings):
    client.raise_request_exception = False
    response = client.get("/nothing/")
    assert response.status_code == 404
    assert logs.get_request_id() == ""
    (line,) = [line for line in written() if line["logger"] == "django.request"]
    assert line["request_id"] == response["X-Request-ID"]


@override_settings(ROOT_URLCONF=__name__, MIDDLEWARE=[MIDDLEWARE])
def test_requests_that_are_answered_at_once_under_asgi_keep_their_ids_apart(written):
    async def ask_all():
        asked = [AsyncClient().get("/later/", headers={"X-Request-ID": f"request-{n}"}) for n in range(9)]
        return await asyncio.gather(*asked)

    answers = run_in_a_loop_of_its_own(ask_all)
    assert [answer.content.decode() for answer in answers] == [f"request-{n}" for n in range(9)]
    assert sorted(line["request_id"] for line in written()) == [f"request-{n}" for n in range(9)]
    assert iscoroutinefunction(RequestIDMiddleware(say_later))
    assert not iscoroutinefunction(RequestIDMiddleware(say))


def test_a_line_has_what_a_program_needs_and_stays_one_line(written):
    try:
        raise ValueError("two\nlines")
    except ValueError:
        logger.exception("It broke:\n%s", "badly", extra={"image": 57, "picture": Image.new("RGB", (1, 1))})
    (line,) = written()
    assert (line["level"], line["logger"], line["message"]) == ("ERROR", "tests.logs", "It broke:\nbadly")
    assert (line["request_id"], line["image"]) == ("-", 57)
    assert line["error"].endswith("ValueError: two\nlines")
    assert line["time"].endswith("+00:00")
    assert "PIL" in line["picture"]


class Unspeakable:
    def __str__(self):
        raise RuntimeError


@given(
    st.text(),
    st.dictionaries(
        st.text(min_size=1, max_size=3),
        st.floats()
        | st.binary()
        | st.builds(Unspeakable)
        | st.dictionaries(st.tuples(st.integers()) | st.text(max_size=3), st.builds(Unspeakable)),
        max_size=3,
    ),
)
def test_whatever_is_logged_becomes_a_line_of_json(message, extra):
    record = logging.makeLogRecord({**extra, "msg": message, "args": (), "name": "x", "created": 0.0})
    record.exc_info = record.stack_info = None
    line = logs.JSONFormatter().format(record)
    assert "\n" not in line
    assert json.loads(line)["message"] == message


def test_a_formatter_of_the_projects_own_may_name_the_id():
    record = logging.makeLogRecord({"msg": "x"})
    with logs.request_id("abc"):
        assert logs.RequestIDFilter().filter(record)
    assert logging.Formatter("%(request_id)s %(message)s").format(record) == "abc x"


def test_the_message_to_the_query_worker_carries_the_id():
    with logs.request_id("abc-123"):
        content = write_request("colour", [Query(text="red")])
    assert read_request(content, "colour").request_id == "abc-123"
    assert read_request(write_request("colour", [Query(text="red")]), "colour").request_id == ""


@pytest.mark.parametrize("given", [7, None, "a b", ["x"], {"x": 1}, "x" * 129, "two\nlines"])
def test_an_id_in_a_message_is_looked_at_as_if_from_a_stranger(given):
    content = json.dumps({"space": "colour", "queries": [{"text": "red"}], "request_id": given}).encode()
    assert read_request(content, "colour").request_id == ""


@pytest.mark.services
def test_the_query_workers_line_carries_the_id_of_the_pages_request(
    client, db, with_ids, settings, redis_server, tmp_path
):
    worker = QueryWorkerProcess(tmp_path / "worker.log", redis_server.url)
    worker.environment["TEST_LOGGING"] = "json"
    options = {"url": redis_server.url}
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "QUERY_EMBEDDER": {"BACKEND": WORKER_EMBEDDER, "OPTIONS": options},
    }
    worker.start()
    try:
        response = client.get(f"/api/search/?q={uuid.uuid4().hex}", headers={"X-Request-ID": "from-the-page"})
        assert response.status_code == 200
        wait_until(lambda: "from-the-page" in worker.log.read_text(), "the worker logs the id")
    finally:
        worker.stop()
    lines = [json.loads(line) for line in worker.log.read_text().splitlines() if line.startswith("{")]
    (line,) = [line for line in lines if line["request_id"] == "from-the-page"]
    assert line["logger"] == "shopsearch.embedders.remote.worker"
    assert line["message"].startswith("Embedded in ")


def test_the_rerank_workers_lines_carry_the_id_of_the_pages_request(
    client, db, with_ids, written, monkeypatch
):
    content = io.BytesIO()
    Image.new("RGB", (32, 32), (220, 30, 30)).save(content, "PNG")
    for number in range(3):
        product = Product.objects.create(title=f"red mug {number}")
        ProductImage.objects.create(product=product, image=ContentFile(content.getvalue(), "mug.png"))
    from shopsearch.indexing import batch

    list(batch.index_pending())
    monkeypatch.setattr("shopsearch.broker.wake_rerankers", lambda: None)
    monkeypatch.setitem(current_app.conf, "broker_url", "memory://")
    response = client.get("/api/search/?q=red&rerank=true", headers={"X-Request-ID": "from-the-page"})
    assert response.json()["rerank"]["state"] == "queued"
    assert Rerank.objects.get().request_id == "from-the-page"
    before = len(written())
    assert reranking.answer_next()
    lines = [line for line in written()[before:] if line["logger"] == "shopsearch.search.reranking"]
    assert [line["request_id"] for line in lines] == ["from-the-page"]
    assert lines[0]["message"] == f"Rerank {Rerank.objects.get().pk} is done."
    assert logs.get_request_id() == ""
