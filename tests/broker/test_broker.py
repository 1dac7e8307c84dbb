"""Wake-ups: they reach the workers when they can, and cost the shop nothing when they cannot."""

import os
import socket
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
import redis
from celery import current_app

from shopsearch import broker as wakeups
from shopsearch import tasks
from shopsearch.api import health
from shopsearch.broker import celery
from shopsearch.models import Change, IndexEntry
from tests import ROOT
from tests.services.milvus import free_port
from tests.services.waiting import wait_until
from tests.shop.pictures import RED, product
from tests.shop.store import index_everything

QUEUE = "shopsearch-index"


@pytest.fixture
def broker(monkeypatch):
    """Gives the Celery application another broker."""
    app = current_app._get_current_object()
    before = app.conf.broker_url

    def choose(url):
        monkeypatch.delenv("CELERY_BROKER_URL", raising=False)
        app.conf.broker_url = url

    yield choose
    app.conf.broker_url = before


@pytest.fixture
def sender(monkeypatch):
    """A sender of this test's own, as in a new process."""
    sender = wakeups._Sender(wakeups.TASK)
    monkeypatch.setitem(wakeups._senders, wakeups.TASK, sender)
    return sender


@pytest.mark.services
def test_a_wake_up_waits_in_the_queue_once_however_often_it_is_sent(broker, redis_server):
    broker(redis_server.url)
    assert [wakeups.send() for _ in range(3)] == [True, False, False]
    assert redis.Redis(port=redis_server.port).llen(QUEUE) == 1


@pytest.mark.services
def test_a_wake_up_that_was_taken_makes_room_for_the_next(broker, redis_server):
    broker(redis_server.url)
    wakeups.send()
    redis.Redis(port=redis_server.port).delete(QUEUE)
    assert wakeups.send()


@pytest.mark.services
def test_waking_sends_from_a_thread_of_its_own(broker, redis_server, sender):
    broker(redis_server.url)
    wakeups.wake()
    client = redis.Redis(port=redis_server.port)
    assert wait_until(lambda: client.llen(QUEUE), "a wake-up is in the queue") == 1
    assert sender._thread.daemon
    assert sender._thread is not threading.current_thread()


@pytest.mark.services
def test_a_broker_that_was_restarted_hears_of_the_next_save(broker, redis_server, sender):
    broker(redis_server.url)
    client = redis.Redis(port=redis_server.port)
    for _ in range(2):
        wakeups.wake()
        wait_until(lambda: client.llen(QUEUE), "a wake-up is in the queue")
        redis_server.stop()
        redis_server.start()


@pytest.mark.services
def test_a_broker_with_a_password_hears_of_a_save(broker, redis_with_password, sender):
    broker(redis_with_password.url)
    wakeups.wake()
    client = redis_with_password.client()
    assert wait_until(lambda: client.llen(QUEUE), "a wake-up is in the queue") == 1
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=redis_with_password.port).llen(QUEUE)


@pytest.mark.services
def test_of_a_broker_of_several_addresses_the_one_that_answers_hears_of_it(broker, redis_server, sender):
    away = f"redis://127.0.0.1:{free_port()}/0"
    broker(f"{away};{away};{redis_server.url}")
    wakeups.wake()
    assert wait_until(lambda: redis_server.client().llen(QUEUE), "a wake-up is in the queue") == 1
    health.forget()
    found = health.ask(["broker"])["broker"]
    health.forget()
    assert found.is_ready


@pytest.mark.services
def test_a_password_that_the_broker_refuses_is_told_in_the_log_without_being_shown(
    broker, redis_with_password, sender, caplog
):
    broker(f"redis://:a-wrong-secret@127.0.0.1:{redis_with_password.port}/0")
    wakeups.wake()
    wait_until(lambda: "No wake-up could be sent" in caplog.text, "the failure is logged")
    assert "invalid username-password pair" in caplog.text
    assert "a-wrong-secret" not in caplog.text


def test_a_broker_that_refuses_is_tried_once_and_then_left_in_peace(broker, sender, monkeypatch, caplog):
    broker(f"redis://127.0.0.1:{free_port()}/0")
    tried = []
    connection = celery.connection_of
    monkeypatch.setattr(celery, "connection_of", lambda app: tried.append(True) or connection(app))
    wakeups.wake()
    wait_until(lambda: "No wake-up could be sent" in caplog.text, "the failure is logged")
    for _ in range(100):
        wakeups.wake()
    assert len(tried) == 1
    assert caplog.text.count("No wake-up could be sent") == 1


def test_a_burst_of_saves_sends_one_wake_up_at_once_and_one_after_the_gap(sender, monkeypatch):
    over, sent = threading.Event(), []
    monkeypatch.setattr(wakeups, "time", SimpleNamespace(sleep=lambda seconds: over.wait(10)))
    wake_up = SimpleNamespace(runs_here=False, has_workers=True, send=sent.append)
    monkeypatch.setattr(wakeups, "get_wake_up", lambda: wake_up)
    wakeups.wake()
    wait_until(lambda: sent, "the first is sent")
    for _ in range(100):
        wakeups.wake()
    assert len(sent) == 1
    over.set()
    wait_until(lambda: len(sent) == 2, "the second is sent")
    sender.finish()
    assert len(sent) == 2


def test_a_broker_that_accepts_and_stays_silent_is_given_up(broker):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        broker(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
        with pytest.raises(Exception, match=r"(?i)timeout|timed out"):
            wakeups.send()


@pytest.mark.services
def test_the_projects_own_broker_settings_stay_as_they_are(broker, redis_server):
    broker(redis_server.url)
    options = current_app.conf.broker_transport_options
    before = dict(options)
    wakeups.send()
    assert current_app.conf.broker_transport_options == before
    assert current_app.connection_for_write().transport_options == before


def test_without_a_broker_nothing_is_sent(broker, sender):
    broker(None)
    wakeups.wake()
    assert not sender.is_running


# A process that ends

SAVES = """
import sys, django; django.setup()
from django.db import transaction
from shopsearch import broker
with transaction.atomic():
    broker.wake_after_commit("default")
"""


def run_to_its_end(url):
    return subprocess.run(
        [sys.executable, "-c", SAVES],
        cwd=ROOT,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "CELERY_BROKER_URL": url},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.services
def test_a_process_that_saves_and_ends_at_once_wakes_the_workers(redis_server):
    run = run_to_its_end(redis_server.url)
    assert run.returncode == 0, run.stderr
    assert redis_server.client().llen(QUEUE) == 1


@pytest.mark.services
def test_a_process_that_saves_and_ends_is_not_kept_by_a_broker_that_stays_silent():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        run = run_to_its_end(f"redis://127.0.0.1:{silent.getsockname()[1]}/0")
    assert run.returncode == 0, run.stderr


def test_a_process_that_ends_does_not_wait_for_a_broker_that_is_known_to_be_away(sender):
    sender.is_away = True
    sender.wanted.put_nowait(None)
    sender.finish()  # returns, though nobody sends what is wanted


# Without workers


@pytest.fixture
def _eagerly():
    app = current_app._get_current_object()
    app.conf.task_always_eager = True
    yield
    app.conf.task_always_eager = False


@pytest.fixture
def _small_batches(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "BATCH_SIZE": 2}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_eagerly", "_small_batches")
def test_an_eager_celery_has_everything_indexed_when_the_save_returns():
    product(*[RED] * 5)
    assert set(IndexEntry.objects.values_list("state", flat=True)) == {"indexed"}


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("_eagerly")
def test_with_an_eager_celery_a_save_succeeds_whatever_indexing_raises(monkeypatch, caplog):
    def broken():
        raise RuntimeError("a mistake in indexing")

    monkeypatch.setattr(tasks.batch, "index_batch", broken)
    product(RED)
    assert "a mistake in indexing" in caplog.text
    assert Change.objects.count() == 1


# The task


@pytest.fixture
def wakes(monkeypatch):
    sent = []
    monkeypatch.setattr(wakeups, "wake", lambda: sent.append(True))
    return sent


@pytest.mark.django_db
@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize(("images", "expected"), [(2, 0), (3, 2)])
def test_a_task_does_one_batch_and_asks_for_the_next_where_there_is_more(wakes, images, expected):
    product(*[RED] * images)
    wakes.clear()
    tasks.index()
    assert IndexEntry.objects.filter(state="indexed").count() == 2
    assert len(wakes) == expected
    index_everything()
