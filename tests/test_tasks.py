"""Workers: they sweep the outbox, and a pool that cannot hold the model does not index."""

import threading
from types import SimpleNamespace

import pytest
from celery.concurrency.prefork import TaskPool as Prefork
from celery.concurrency.solo import TaskPool as Solo
from django.db import connection

from shopsearch import broker, tasks
from shopsearch.backends import get_embedder
from shopsearch.models import Change, ProductImage
from shopsearch.registry import index_for
from tests.services.waiting import wait_until


@pytest.fixture
def wakes(monkeypatch):
    sent = []
    monkeypatch.setattr(broker, "wake", lambda: sent.append(True))
    return sent


@pytest.fixture
def sweeper(monkeypatch):
    """A sweeper that counts its sweeps instead of asking the database."""
    sweeper = tasks.Sweeper("test-sweeper")
    sweeps = threading.Semaphore(0)
    sweeper.swept = lambda: sweeps.acquire(timeout=30)
    monkeypatch.setattr(tasks, "sweeper", sweeper)
    monkeypatch.setattr(tasks, "sweep", sweeps.release)
    yield sweeper
    sweeper.stop()


def consumer(pool, *queues):
    """What Celery hands to worker_ready."""
    cancelled = []
    amqp = SimpleNamespace(queues=SimpleNamespace(consume_from=dict.fromkeys(queues)))
    return SimpleNamespace(
        app=SimpleNamespace(amqp=amqp),
        pool=pool.__new__(pool),
        cancelled=cancelled,
        cancel_task_queue=cancelled.append,
    )


@pytest.mark.django_db
def test_a_sweep_wakes_the_workers_only_when_something_is_due(wakes):
    tasks.sweep()
    assert wakes == []
    Change.objects.note(index_for(ProductImage), [1])
    tasks.sweep()
    assert wakes == [True]


@pytest.mark.django_db
def test_a_sweep_survives_a_database_that_is_away(wakes, caplog):
    def away(*args):
        raise RuntimeError("the database is away")

    with connection.execute_wrapper(away):
        tasks.sweep()
    assert "could not be swept: the database is away" in caplog.text


def test_a_sweeper_sweeps_at_once_and_again_as_often_as_the_setting_says(sweeper, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "SWEEP_SECONDS": 0.001}
    sweeper.start()
    assert all(sweeper.swept() for _ in range(3))


def test_a_worker_that_connects_again_sweeps_at_once_with_the_same_thread(sweeper):
    sweeper.start()
    assert sweeper.swept()
    thread = sweeper._thread
    sweeper.start()
    assert sweeper.swept()
    assert sweeper._thread is thread


def test_a_worker_that_shuts_down_stops_sweeping(sweeper):
    sweeper.start()
    tasks.shutting_down()
    wait_until(lambda: not sweeper._thread.is_alive(), "the sweeper has stopped")


def test_a_solo_worker_loads_the_model_before_the_first_picture_comes(sweeper, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    tasks.ready(sender=consumer(Solo, "celery", "shopsearch-index"))
    assert get_embedder().embedded == 1
    assert sweeper.swept()


def test_a_worker_of_other_queues_is_left_alone(sweeper, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    tasks.ready(sender=consumer(Solo, "celery"))
    assert get_embedder().embedded == 0
    assert sweeper._thread is None


def test_the_parent_of_a_forking_pool_never_loads_the_model(sweeper, settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    tasks.ready(sender=consumer(Prefork, "shopsearch-index"))
    assert get_embedder().embedded == 0
    assert sweeper.swept()


def test_a_forking_pool_with_a_gpu_is_refused_with_the_remedy_and_goes_on_with_other_tasks(
    sweeper, settings, monkeypatch, caplog
):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    get_embedder().device = "cuda:0"
    refused = consumer(Prefork, "celery", "shopsearch-index")
    tasks.ready(sender=refused)
    assert refused.cancelled == ["shopsearch-index"]
    assert "-P solo" in caplog.text
    assert sweeper._thread is None
