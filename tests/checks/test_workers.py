"""``manage.py check --deploy``: Celery's settings against the worker line that the docs give."""

import re
from pathlib import Path

import pytest
from celery import Celery
from django.core.checks import run_checks
from django.test import override_settings
from kombu import Queue

from shopsearch.checks import workers
from shopsearch.testing import ColourEmbedder
from tests import ROOT
from tests.services.celery import app as the_tests_app

LINE = "celery -A yourproject worker -P solo -c 1 -Q shopsearch-index,shopsearch-rerank"
RIGHT = {"broker_url": "redis://localhost", "worker_prefetch_multiplier": 1}


@pytest.fixture
def found():
    """The messages about a project whose Celery has these settings, by id."""

    def check(**values):
        app = Celery("project", set_as_current=True)
        app.config_from_object({**RIGHT, **values})
        app.finalize()
        messages = run_checks(tags=["shopsearch"], include_deployment_checks=True)
        return {
            message.id.removeprefix("shopsearch."): message
            for message in messages
            if message.id.startswith("shopsearch.W04")
        }

    yield check
    the_tests_app.set_current()


@pytest.fixture
def on_a_card(monkeypatch):
    monkeypatch.setattr(ColourEmbedder, "device", "cuda:0", raising=False)


def test_the_documented_line_and_settings_are_right(found, on_a_card):
    assert found() == {}
    assert found(worker_pool="solo", worker_concurrency=1) == {}


@pytest.fixture
def in_djangos_settings(settings, on_a_card):
    """The messages where Celery reads Django's settings, as it does in most projects."""

    def check(**values):
        for name, value in values.items():
            setattr(settings, name, value)
        app = Celery("project", set_as_current=True)
        app.config_from_object("django.conf:settings", namespace="CELERY")
        return {message.id.removeprefix("shopsearch.") for message in workers.check_workers()}

    yield check
    the_tests_app.set_current()


def test_settings_are_found_in_djangos_too(in_djangos_settings):
    assert in_djangos_settings(CELERY_WORKER_PREFETCH_MULTIPLIER=1) == set()
    assert in_djangos_settings(CELERY_WORKER_POOL="prefork") == {"W040"}
    assert in_djangos_settings(CELERY_WORKER_POOL="solo", CELERY_WORKER_CONCURRENCY=2) == {"W041"}


def test_the_demos_settings_are_right(in_djangos_settings):
    from demo_project import settings as demo

    ours = {name: getattr(demo, name) for name in dir(demo) if name.startswith("CELERY_")}
    assert in_djangos_settings(**ours) == set()


def test_the_line_is_the_one_that_the_docs_give(found, on_a_card):
    assert LINE in found(worker_pool="prefork")["W040"].hint
    documented = re.sub("yourshop", "yourproject", (ROOT / "README.md").read_text())
    assert LINE in documented


@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_W040_a_pool_that_is_not_solo_with_a_card(found, on_a_card, pool):
    assert repr(pool) in found(worker_pool=pool)["W040"].msg


def test_W040_and_W041_are_silent_without_a_card(found):
    assert found(worker_pool="prefork", worker_concurrency=8) == {}


def test_W040_auto_is_a_card_where_there_is_one(found, monkeypatch):
    monkeypatch.setattr(ColourEmbedder, "device", "auto", raising=False)
    monkeypatch.setattr("shopsearch.backends.Path.exists", lambda path: False)
    assert found(worker_pool="prefork") == {}
    monkeypatch.setattr("shopsearch.backends.Path.exists", lambda path: str(path) == "/dev/nvidiactl")
    assert "W040" in found(worker_pool="prefork")


def test_W041_several_at_once_on_a_card(found, on_a_card):
    message = found(worker_concurrency=4)["W041"]
    assert "CELERY_WORKER_CONCURRENCY is 4" in message.msg
    assert LINE in message.hint


@pytest.mark.parametrize(
    "routes",
    [
        {"shopsearch.*": {"queue": "slow"}},
        {"shopsearch.index": "slow"},
        ([("shopsearch.*", {"queue": "slow"})],),
        {"shopsearch.*": {"exchange": "other", "routing_key": "other"}},
        {"*": {"queue": "slow"}},
    ],
)
def test_W042_routes_that_lead_elsewhere(found, routes):
    message = found(task_routes=routes)["W042"]
    assert "shopsearch." in message.msg
    assert "INDEX_QUEUE" in message.hint


def test_W042_is_silent_about_other_routes_and_those_to_our_queues(found):
    assert found(task_routes={"mail.*": {"queue": "slow"}}) == {}
    assert found(task_routes={"shopsearch.index": {"queue": "shopsearch-index"}}) == {}


def test_W043_queues_that_are_not_declared_and_not_made(found):
    mine = [Queue("celery"), Queue("shopsearch-index")]
    message = found(task_queues=mine, task_create_missing_queues=False)["W043"]
    assert "lacks shopsearch-rerank" in message.msg
    assert "Queue('shopsearch-rerank')" in message.hint
    assert found(task_queues=mine) == {}  # Celery makes what is missing
    mine.append(Queue("shopsearch-rerank"))
    assert found(task_queues=mine, task_create_missing_queues=False) == {}


@pytest.mark.parametrize("multiplier", [4, 0])
def test_W044_a_worker_that_takes_more_wake_ups_than_it_answers(found, multiplier):
    message = found(worker_prefetch_multiplier=multiplier)["W044"]
    assert f"is {multiplier}" in message.msg
    assert "--prefetch-multiplier 1" in message.hint


def test_W045_late_acknowledgement_with_a_short_timeout(found):
    short = {"broker_transport_options": {"visibility_timeout": 20}}
    assert "20 seconds" in found(task_acks_late=True, **short)["W045"].msg
    assert found(**short) == {}
    assert found(task_acks_late=True) == {}  # an hour, unless a project says otherwise
    assert found(task_acks_late=True, broker_transport_options={"visibility_timeout": 3600}) == {}


def test_nothing_is_said_where_there_is_no_broker_or_no_settings_to_read(found):
    assert found(broker_url=None, worker_prefetch_multiplier=4) == {}
    with override_settings(SHOPSEARCH=["EMBEDDER"]):
        assert found(worker_prefetch_multiplier=4) == {}
    with override_settings(SHOPSEARCH={"EMBEDDER": {"BACKEND": "no.such.Embedder"}}):
        assert found(worker_pool="prefork") == {}


def test_every_check_of_the_worker_line_has_a_test():
    ids = set(re.findall(r'id="shopsearch\.(W\d{3})"', Path(workers.__file__).read_text()))
    assert ids == {
        found for name in globals() if name.startswith("test_") for found in re.findall(r"W\d{3}", name)
    }
