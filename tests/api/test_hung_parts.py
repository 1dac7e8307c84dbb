"""Each part that a shop stands on hangs, in turn: it takes connections and answers nothing. Every request ends in time.

The deadlines are those of docs/operations.md, made short by the settings; a test waits no longer than its part's, and
SLACK_SECONDS for a machine that has other things to do.
"""

import logging
import shutil
import signal
import socket
from contextlib import contextmanager

import pytest
from celery import current_app
from django.core.cache import cache, caches
from django.core.files.uploadedfile import SimpleUploadedFile

from shopsearch import broker as wakeups
from shopsearch.api import access, health
from shopsearch.models import Change, Rerank
from shopsearch.search import reranking
from tests.services.query_worker import WORKER_EMBEDDER, QueryWorkerProcess
from tests.services.waiting import wait_until
from tests.shop.pictures import BLUE, GREEN, RED, picture, product
from tests.shop.store import index_everything

pytestmark = [
    pytest.mark.services,
    pytest.mark.django_db,
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="redis-server is not installed"),
]
SHORT_SECONDS, HEALTH_SECONDS = 0.3, 3.0
SLACK_SECONDS = 8
API, PAGE = "/api/search/", "/search/"
MILVUS = "shopsearch.vector_stores.milvus.MilvusStore"
ADMIN = [f"/admin/shopsearch/{name}/" for name in ("indexentry", "rerank", "collection")]


@contextmanager
def within(seconds):
    """Fails what lasts longer than this."""

    def too_late(number, frame):
        raise AssertionError(f"It has not ended within {seconds} and {SLACK_SECONDS} seconds.")

    before = signal.signal(signal.SIGALRM, too_late)
    signal.setitimer(signal.ITIMER_REAL, seconds + SLACK_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def _fresh_parts(monkeypatch):
    cache.clear()
    health.forget()
    monkeypatch.setattr(access, "_counter", access._Counter())
    for task in wakeups.TASKS:
        monkeypatch.setitem(wakeups._senders, task, wakeups._Sender(task))
    yield
    health.forget()


@pytest.fixture
def shop(settings):
    """Three products that are indexed; later changes of the settings keep the database alone."""

    def open_with(**changed):
        settings.SHOPSEARCH = {
            **settings.SHOPSEARCH,
            "QUERY_CACHE_SECONDS": 0,
            "HEALTH_SECONDS": HEALTH_SECONDS,
            **changed,
        }

    open_with()
    for colour in (RED, GREEN, BLUE):
        product(colour)
    index_everything()
    return open_with


@pytest.fixture
def hung_port():
    """Of a listener that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)
        yield listener.getsockname()[1]


@pytest.fixture
def broker():
    app = current_app._get_current_object()
    before = app.conf.broker_url

    def choose(url):
        app.conf.broker_url = url

    yield choose
    app.conf.broker_url = before


@pytest.fixture
def searches(client, django_capture_on_commit_callbacks):
    """Every kind of search: by words, by picture, with a rerank, and on the page. What the wake-ups do, they do."""

    def each():
        upload = SimpleUploadedFile("query.png", picture(RED).read(), "image/png")
        kinds = [
            lambda: client.get(API, {"q": "red"}),
            lambda: client.post(API, {"image": upload}),
            lambda: client.get(API, {"q": "green", "rerank": "true"}),
            lambda: client.get(PAGE, {"q": "blue"}, headers={"X-Shopsearch-Fragment": "results"}),
        ]
        for kind in kinds:
            with django_capture_on_commit_callbacks(execute=True):
                yield kind

    return each


def unready(client):
    parts = client.get("/api/health/ready/?exclude=database").json()["parts"]
    return {name for name, part in parts.items() if not part["ready"]}


@pytest.fixture
def save(django_capture_on_commit_callbacks):
    """A shop's save, and the wake-up that follows its commit; the outbox has it."""

    def save():
        before = Change.objects.count()
        with django_capture_on_commit_callbacks(execute=True):
            product(GREEN)
        assert Change.objects.count() > before

    return save


def is_away(response, code):
    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    return "json" not in response["Content-Type"] or response.json()["code"] == code


def test_a_query_worker_that_hangs(shop, searches, save, client, redis_server, tmp_path):
    options = {"url": redis_server.url, "timeout_seconds": SHORT_SECONDS}
    worker = QueryWorkerProcess(tmp_path / "log", redis_server.url, **options).start()
    try:
        shop(QUERY_EMBEDDER={"BACKEND": WORKER_EMBEDDER, "OPTIONS": options})
        worker.suspend()
        for search in searches():
            with within(SHORT_SECONDS):
                assert is_away(search(), "embedder_unavailable")
        with within(HEALTH_SECONDS):
            assert unready(client) == {"embedder"}
        with within(0):
            save()
    finally:
        worker.resume()
        worker.kill()


def test_a_redis_that_hangs_where_it_is_the_queue_of_queries(shop, searches, client, redis_server):
    options = {"url": redis_server.url, "timeout_seconds": SHORT_SECONDS}
    shop(QUERY_EMBEDDER={"BACKEND": WORKER_EMBEDDER, "OPTIONS": options})
    redis_server.suspend()
    for search in searches():
        with within(SHORT_SECONDS):
            assert is_away(search(), "embedder_unavailable")
    with within(HEALTH_SECONDS):
        assert unready(client) == {"embedder"}


def test_a_broker_that_hangs_keeps_nobody_waiting(shop, searches, save, client, broker, redis_server):
    broker(redis_server.url)
    redis_server.suspend()
    for search in searches():
        with within(0):
            assert search().status_code == 200
    [asked] = Rerank.objects.filter(text="green")
    with within(0):
        assert client.get(f"/api/reranks/{asked.pk}/").json()["state"] == "queued"
        save()
    with within(HEALTH_SECONDS):
        assert unready(client) == {"broker"}


def test_a_cache_that_hangs_costs_one_search_its_timeouts_and_the_next_ones_nothing(
    shop, searches, settings, redis_server, caplog
):
    settings.CACHES = {
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": redis_server.url,
            "OPTIONS": {"socket_connect_timeout": SHORT_SECONDS, "socket_timeout": SHORT_SECONDS},
        }
    }
    shop(QUERY_CACHE_SECONDS=60, THROTTLE_RATE="1/day")
    assert caches["default"].get("nothing") is None
    redis_server.suspend()
    for search in searches():
        with within(2 * SHORT_SECONDS):
            assert search().status_code == 200  # and nobody is throttled
    said = [record.name for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(said) == ["shopsearch.api.access", "shopsearch.embedders.cached"]


def test_a_vector_store_that_hangs(shop, searches, save, client, admin_client, hung_port):
    shop(
        VECTOR_STORE={
            "BACKEND": MILVUS,
            "OPTIONS": {"uri": f"http://127.0.0.1:{hung_port}", "timeout_seconds": SHORT_SECONDS},
        }
    )
    for search in searches():
        with within(SHORT_SECONDS):
            assert is_away(search(), "vector_store_unavailable")
    with within(0):
        save()
    for address in ADMIN:
        with within(SHORT_SECONDS):
            assert admin_client.get(address).status_code == 200
    with within(HEALTH_SECONDS):
        assert unready(client) == {"vector_store"}


def test_a_reranker_that_hangs_leaves_the_first_order_by_the_deadline_of_the_rerank(
    shop, searches, client, hung_port, monkeypatch
):
    """Its client gives up by itself; and were it never to, the receipt has expired by its deadline."""
    options = {
        "url": f"http://127.0.0.1:{hung_port}/v1",
        "model": "any",
        "timeout_seconds": 1.0,
        "retries": 0,
    }
    shop(RERANKER={"BACKEND": "shopsearch.rerankers.server.ServerReranker", "OPTIONS": options})
    for colour in (RED, GREEN, BLUE):
        product(colour)
    index_everything()
    for search in searches():
        with within(0):
            assert search().status_code == 200
    rerank = Rerank.objects.get(text="green")
    assert rerank.state == "queued"
    while reranking.has_queued():
        with within(SHORT_SECONDS):
            reranking.answer_next()
    assert client.get(f"/api/reranks/{rerank.pk}/").json()["state"] == "failed"


def test_a_worker_that_hangs_with_a_rerank_in_hand_leaves_it_expired(shop, searches, client, settings):
    shop(RERANK_DEADLINE_SECONDS=SHORT_SECONDS)
    for colour in (RED, GREEN):
        product(colour)
    index_everything()
    answer = client.get(API, {"q": "red", "rerank": "true"}).json()["rerank"]
    assert reranking._claim().pk is not None  # and then it does nothing more
    with within(SHORT_SECONDS):
        wait_until(lambda: client.get(answer["url"]).json()["state"] == "expired", "it has expired")
