"""CeleryWakeUp passes the contract."""

import pytest
from celery import current_app

from shopsearch.broker import CALIBRATE_TASK, RERANK_TASK, TASKS, get_wake_up
from tests.broker.contract import WakeUpContract


class Memory:
    """Kombu's broker in memory, empty."""

    def __init__(self, app):
        self.app = app
        for queue in ("shopsearch-index", "shopsearch-rerank"):
            with app.connection_for_write() as connection:
                connection.SimpleQueue(queue).clear()

    def _take(self, *, again):
        taken = []
        with self.app.connection_for_write() as connection:
            for name in ("shopsearch-index", "shopsearch-rerank"):
                queue = connection.SimpleQueue(name)
                while queue.qsize():
                    message = queue.get_nowait()
                    taken.append(message.headers["task"])
                    (message.requeue if again else message.ack)()
                    if again:
                        break
        return taken

    def waiting(self):
        return self._take(again=True)

    def work(self):
        for task in self._take(again=False):
            self.app.tasks[task].apply(throw=True)


@pytest.mark.django_db
class TestCelery(WakeUpContract):
    backend = "shopsearch.broker.celery.CeleryWakeUp"

    @pytest.fixture
    def carrier(self, monkeypatch):
        monkeypatch.setitem(current_app.conf, "broker_url", "memory://")
        return Memory(current_app._get_current_object())


def test_calibrating_waits_in_the_queue_of_indexing(monkeypatch):
    """Whoever indexes also calibrates, so a wake-up of either kind is enough for both."""
    monkeypatch.setitem(current_app.conf, "broker_url", "memory://")
    Memory(current_app._get_current_object())
    assert [get_wake_up().send(task) for task in (CALIBRATE_TASK, RERANK_TASK, TASKS[0])] == [
        True,
        True,
        False,
    ]


def test_a_wake_up_has_the_priority_that_the_project_gives_its_tasks(monkeypatch):
    app = current_app._get_current_object()
    monkeypatch.setitem(app.conf, "broker_url", "memory://")
    monkeypatch.setitem(app.conf, "task_default_priority", 7)
    Memory(app)
    get_wake_up().send(TASKS[0])
    with app.connection_for_write() as connection:
        message = connection.SimpleQueue("shopsearch-index").get_nowait()
        message.ack()
    assert message.properties["priority"] == 7
