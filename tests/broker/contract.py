"""What every implementation of WakeUp passes: subclass WakeUpContract and say how it is built and what it sent."""

import threading

import pytest

from shopsearch import broker, tasks
from shopsearch.broker.base import WakeUp
from shopsearch.conf import build
from shopsearch.models import Change, ProductImage
from shopsearch.registry import index_for


class WakeUpContract:
    backend: str
    options: dict[str, object] = {}

    @pytest.fixture(autouse=True)
    def _chosen(self, settings, carrier):
        settings.SHOPSEARCH = {
            **settings.SHOPSEARCH,
            "WAKE_UP": {"BACKEND": self.backend, "OPTIONS": self.options},
        }

    @pytest.fixture
    def carrier(self):
        """What takes the messages: ``waiting()`` are the tasks that wait, ``work()`` takes and runs them."""
        raise NotImplementedError

    @pytest.fixture
    def wake_up(self, carrier) -> WakeUp:
        return broker.get_wake_up()

    def test_it_is_built_from_the_setting_without_a_connection(self, monkeypatch):
        monkeypatch.setattr("socket.socket.connect", None)
        built = build("WAKE_UP", WakeUp)
        assert built.name
        assert built.worker_line
        assert built.check() == []

    def test_it_has_workers_that_are_not_in_this_process(self, wake_up):
        assert wake_up.has_workers
        assert not wake_up.runs_here

    @pytest.mark.parametrize("task", broker.TASKS)
    def test_what_is_sent_waits_for_a_worker_once_however_often_it_is_sent(self, wake_up, carrier, task):
        assert [wake_up.send(task) for _ in range(3)] == [True, False, False]
        assert carrier.waiting() == [task]

    def test_what_was_taken_makes_room_for_the_next(self, wake_up, carrier):
        wake_up.send(broker.TASK)
        carrier.work()
        assert wake_up.send(broker.TASK)

    def test_one_kind_does_not_keep_another_from_waiting(self, wake_up, carrier):
        assert wake_up.send(broker.TASK)
        assert wake_up.send(broker.RERANK_TASK)
        assert sorted(carrier.waiting()) == sorted([broker.TASK, broker.RERANK_TASK])

    def test_a_worker_does_the_work_that_is_in_the_outbox(self, wake_up, carrier):
        Change.objects.note(index_for(ProductImage), [1])
        wake_up.send(broker.TASK)
        carrier.work()
        assert not Change.objects.exists()

    def test_it_can_be_asked_while_it_works(self, wake_up):
        wake_up.ask()

    def test_waking_sends_from_a_thread_of_its_own_and_a_sweep_wakes_too(self, carrier, monkeypatch):
        sent = threading.Event()
        monkeypatch.setitem(broker._senders, broker.TASK, sender := broker._Sender(broker.TASK))
        monkeypatch.setattr(type(broker.get_wake_up()), "send", lambda self, task: sent.set())
        Change.objects.note(index_for(ProductImage), [1])
        tasks.sweep()
        assert sent.wait(30)
        assert sender._thread is not threading.current_thread()
