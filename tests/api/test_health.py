"""Health: live asks nobody; ready tells which part is away, in time whatever hangs, and no secrets."""

import io
import json
import os
import threading
from types import SimpleNamespace
from urllib.parse import urlsplit

import jsonschema
import pytest
from celery import current_app
from django.core.management import call_command
from django.urls import reverse

from shopsearch import conf
from shopsearch.api import health
from shopsearch.backends import get_vector_store
from shopsearch.exceptions import EmbedderError, VectorStoreError
from shopsearch.testing import ColourEmbedder, MemoryStore
from tests.shop.pictures import product
from tests.shop.store import IMAGES, index_everything, live_name

LIVE, READY = "/api/health/live/", "/api/health/ready/"
MILVUS = "shopsearch.vector_stores.milvus.MilvusStore"
PARTS = ["database", "vector_store", "embedder", "broker", "indexes"]


@pytest.fixture(autouse=True)
def _asked_anew(settings, monkeypatch):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    for probe in health.PROBES.values():
        monkeypatch.setattr(probe, "_logged", "")  # of an outage in an earlier test
    health.forget()
    yield
    health.forget()


@pytest.fixture
def ready(client):
    """What is answered, asked anew: the status, and the reasons of the parts that are away."""

    def ask(query=""):
        health.forget()
        response = client.get(READY + query)
        answer = response.json()
        assert answer["ready"] is (response.status_code == 200)
        return response.status_code, {
            name: part["reason"] for name, part in answer["parts"].items() if not part["ready"]
        }

    return ask


@pytest.fixture
def milvus(settings, milvus_lite_process):
    options = {"uri": milvus_lite_process.uri, "timeout_seconds": 60}
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH, "VECTOR_STORE": {"BACKEND": MILVUS, "OPTIONS": options}, "HEALTH_SECONDS": 30
    }  # fmt: skip
    yield milvus_lite_process
    milvus_lite_process.resume()


@pytest.fixture
def broker(monkeypatch, redis_server):
    monkeypatch.setitem(current_app.conf, "broker_url", redis_server.url)
    yield redis_server
    if redis_server.process is not None:
        redis_server.resume()


@pytest.fixture
def waits_at_most(monkeypatch):
    """Sets HEALTH_SECONDS, and leaves the backends their open connections, which overriding SHOPSEARCH would not."""

    def wait(seconds):
        monkeypatch.setitem(conf.settings._cache, "HEALTH_SECONDS", seconds)

    return wait


def test_the_addresses_are_those_that_the_docs_give():
    assert reverse("shopsearch:api-health") == "/api/health/"
    assert reverse("shopsearch:api-health-live") == LIVE
    assert reverse("shopsearch:api-health-ready") == READY


def test_live_answers_without_asking_anybody(client, monkeypatch):
    # Without the database fixture a query is an error; a probe is one too.
    monkeypatch.setattr(health, "ask", None)
    response = client.get(LIVE)
    assert (response.status_code, response.json()) == (200, {"live": True})
    assert response["Cache-Control"] == "no-store"
    assert client.head(LIVE).status_code == 200


@pytest.mark.django_db
def test_ready_when_every_part_is_there(client):
    response = client.get(READY)
    assert response.status_code == 200
    answer = response.json()
    assert answer["ready"] is True
    assert list(answer["parts"]) == PARTS
    assert all(part["reason"] == "" and part["seconds"] >= 0 for part in answer["parts"].values())
    assert client.get("/api/health/").json()["ready"] is True


@pytest.mark.django_db
def test_whatever_a_probe_accepts_it_gets_json(client):
    for accepted in ("text/html", "application/health+json", "text/plain; q=0"):
        assert client.get(READY, headers={"Accept": accepted}).status_code == 200


@pytest.mark.django_db
@pytest.mark.services
def test_a_vector_store_that_is_down_is_said_and_noticed_when_it_is_back(milvus, ready):
    assert ready() == (200, {})
    milvus.stop()
    status, away = ready()
    assert (status, list(away)) == (503, ["vector_store"])
    assert "vector store cannot be reached" in away["vector_store"]
    milvus.start()
    while ready()[0] != 200:  # its client waits a moment between two tries
        pass


@pytest.mark.django_db
@pytest.mark.services
def test_a_vector_store_that_hangs_does_not_hang_the_probe(milvus, ready, waits_at_most):
    assert ready() == (200, {})
    milvus.suspend()
    waits_at_most(0.3)  # its client would wait for 60 seconds
    status, away = ready()  # on a busy machine other parts are late too
    assert status == 503
    assert away["vector_store"].endswith("It gives no answer within 0.3 seconds.")


@pytest.mark.django_db
@pytest.mark.services
def test_a_broker_that_is_down_or_hangs_is_said_in_time(broker, ready, waits_at_most):
    assert ready() == (200, {})
    waits_at_most(0.3)
    broker.suspend()
    status, away = ready()  # on a busy machine other parts are late too
    assert status == 503
    assert "0.3 seconds" in away["broker"]
    broker.resume()
    waits_at_most(30)
    broker.stop()
    status, away = ready()
    assert (status, list(away)) == (503, ["broker"])
    assert "new pictures and reranks wait" in away["broker"]


@pytest.mark.django_db
@pytest.mark.services
def test_a_query_worker_that_is_not_there_is_said_although_the_query_is_cached(broker, ready, settings):
    worker = {
        "BACKEND": "shopsearch.embedders.remote.WorkerEmbedder",
        "OPTIONS": {"url": broker.url, "timeout_seconds": 0.2},
    }
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "QUERY_EMBEDDER": worker}
    for _ in range(2):
        status, away = ready()
        assert (status, list(away)) == (503, ["embedder"])
    assert "no query worker runs" in away["embedder"]


@pytest.mark.django_db
def test_a_database_that_is_not_migrated_is_said(ready, monkeypatch):
    from shopsearch.models import IndexEntry

    monkeypatch.setattr(IndexEntry._meta, "db_table", "not_there")
    status, away = ready()
    assert (status, list(away)) == (503, ["database"])
    assert "manage.py migrate" in away["database"]


@pytest.mark.django_db
def test_no_broker_and_no_embedder_are_said_to_be_settings(ready, settings, monkeypatch):
    monkeypatch.setitem(current_app.conf, "broker_url", None)
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "EMBEDDER": {"BACKEND": "shopsearch.testing.Nothing"}}
    status, away = ready()
    assert (status, set(away)) == (503, {"embedder", "broker"})
    assert all("manage.py check" in reason for reason in away.values())


@pytest.mark.django_db
def test_a_part_may_be_left_out(ready, monkeypatch):
    monkeypatch.setitem(current_app.conf, "broker_url", None)
    assert ready()[0] == 503
    assert ready("?exclude=broker") == (200, {})
    assert ready("?exclude=broker&exclude=embedder") == (200, {})
    assert ready("?exclude=database")[0] == 503


@pytest.mark.django_db
def test_the_answer_names_no_host_and_no_error_but_the_log_does(client, monkeypatch, caplog):
    def away(*args, **kwargs):
        raise VectorStoreError("http://user:hunter2@milvus.internal:19530 refused")

    monkeypatch.setattr(MemoryStore, "collections", away)
    monkeypatch.setitem(current_app.conf, "broker_url", "redis://:hunter2@127.0.0.1:1/0")
    for _ in range(3):
        health.forget()
        body = client.get(READY).content.decode()
        assert "hunter2" not in body
        assert "127.0.0.1" not in body
        assert "milvus.internal" not in body
        assert "Traceback" not in body
    told = [record for record in caplog.records if "vector store cannot be reached" in record.getMessage()]
    assert [str(record.exc_info[1]) for record in told] == [
        "http://user:hunter2@milvus.internal:19530 refused"  # once per outage
    ]


@pytest.mark.django_db
def test_the_log_says_which_part_is_back(client, monkeypatch, caplog):
    with monkeypatch.context() as patch:
        patch.setattr(MemoryStore, "collections", lambda store: 1 / 0)
        client.get(READY)
    health.forget()
    caplog.clear()
    client.get(READY)
    assert [record.getMessage() for record in caplog.records if record.name == "shopsearch.api.health"] == [
        "vector_store answers again."
    ]


@pytest.mark.django_db
def test_many_who_ask_at_once_have_a_part_asked_once(client, monkeypatch, waits_at_most):
    asked, go_on = [], threading.Event()

    def slow(self, queries):
        asked.append(queries)
        go_on.wait(30)
        raise EmbedderError

    monkeypatch.setattr(ColourEmbedder, "embed", slow)
    waits_at_most(0.05)
    for _ in range(5):
        assert client.get(READY).status_code == 503
    waits_at_most(30)
    go_on.set()
    assert client.get(READY).json()["parts"]["embedder"]["seconds"] is not None
    client.get(READY)
    assert len(asked) == 1


@pytest.mark.django_db
def test_probes_leave_no_connection_to_the_database_behind(client, monkeypatch):
    closed = set()
    monkeypatch.setattr(health.connections, "close_all", lambda: closed.add(threading.current_thread()))
    client.get(READY)
    asked = {probe.ask().thread for probe in health.PROBES.values()}
    assert len(asked) == len(PARTS)
    assert asked <= closed  # threads of earlier tests may end meanwhile too


@pytest.mark.django_db
def test_real_answers_are_as_the_schema_promises(client, monkeypatch):
    written = io.StringIO()
    call_command("spectacular", "--validate", "--fail-on-warn", "--format", "openapi-json", stdout=written)
    schema = json.loads(written.getvalue())

    def keeps_its_promise(path, status):
        answers = schema["paths"][urlsplit(path).path]["get"]["responses"]
        promise = answers[str(status)]["content"]["application/json"]["schema"]
        # OpenAPI 3.0 says of a number that it may be null; JSON Schema would not understand.
        components = json.loads(
            json.dumps(schema["components"]).replace(
                '"number", "format": "double", "nullable": true', '"number"'
            )
        )
        health.forget()
        response = client.get(path)
        assert response.status_code == status
        jsonschema.Draft202012Validator({**promise, "components": components}).validate(response.json())

    keeps_its_promise(LIVE, 200)
    keeps_its_promise(READY, 200)
    monkeypatch.setitem(current_app.conf, "broker_url", None)
    keeps_its_promise(READY, 503)
    (parameter,) = schema["paths"][READY]["get"]["parameters"]
    assert (parameter["name"], parameter["schema"]["items"]["enum"]) == ("exclude", sorted(PARTS))


@pytest.fixture
def shop(transactional_db, settings):
    """Two images that are indexed."""
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "VECTOR_STORE": {"BACKEND": "shopsearch.testing.MemoryStore"},
    }
    images = [product("red").images.get(), product("green").images.get()]
    index_everything()
    return images


def test_a_store_that_has_lost_images_is_not_ready_and_other_problems_are_warnings(shop, client, ready):
    assert ready() == (200, {})
    warnings = client.get(READY).json()["parts"]["indexes"]["warnings"]
    assert warnings == [f"{IMAGES.name}: no answer says whether it is a good match."]
    get_vector_store().delete(live_name(), [IMAGES.entity_id(shop[0].pk)])
    status, away = ready()
    assert (status, list(away)) == (503, ["indexes"])
    assert "the store holds 1 of the 2 images" in away["indexes"]
    assert ready("?exclude=indexes") == (200, {})


def test_the_indexes_are_counted_once_a_minute_and_the_answer_says_how_old_it_is(shop, client, monkeypatch):
    counted = []
    count = MemoryStore.count
    monkeypatch.setattr(
        MemoryStore, "count", lambda store, collection: counted.append(collection) or count(store, collection)
    )
    now = [1_000.0]
    monkeypatch.setattr(health, "time", SimpleNamespace(monotonic=lambda: now[0]))
    for seconds, age, times in ((0, 0, 1), (59, 59, 1), (61, 0, 2)):
        now[0] = 1_000.0 + seconds
        assert client.get(READY).json()["parts"]["indexes"]["age_seconds"] == age
        assert len(counted) == times


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.django_db
def test_a_process_that_was_forked_asks_for_itself(client):
    """As a web server does that forks its workers after the first request."""
    assert client.get(READY).status_code == 200
    child = os.fork()
    if child == 0:
        health.forget()
        asked = health.PROBES["vector_store"].ask()
        asked.thread.join(30)
        os._exit(0 if asked.error is None and asked.answered_at else 1)
    assert os.waitpid(child, 0)[1] == 0
