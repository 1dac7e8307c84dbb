"""shopsearch.threads: deadlines for calls that have none, threads that a forked child starts anew, loading once."""

import os
import threading
from concurrent.futures import Future

import pytest

from shopsearch.threads import BackgroundThread, Watched, loaded_once, start, within


def test_a_call_that_ends_in_time_returns_its_answer():
    assert within(10, lambda: 42) == 42


def test_a_call_that_fails_raises_what_it_raised():
    with pytest.raises(ZeroDivisionError):
        within(10, lambda: 1 / 0)


def test_a_call_that_takes_too_long_is_left_behind():
    released = threading.Event()
    with pytest.raises(TimeoutError):
        within(0.01, released.wait)
    released.set()


def test_watched_calls_begin_only_while_few_that_were_late_go_on_and_a_forked_child_has_none_of_them():
    watched, go_on = Watched(0.01, name="test"), threading.Event()
    assert watched.call(lambda: 42, most_late=1) == 42
    for _ in range(2):
        with pytest.raises(TimeoutError, match="No answer"):
            watched.call(lambda: go_on.wait(30), most_late=2)
    with pytest.raises(TimeoutError, match="Earlier calls"):
        watched.call(lambda: pytest.fail("it was begun"), most_late=2)
    child = os.fork()
    if not child:
        watched.seconds = 30
        os._exit(0 if watched.call(lambda: 42, most_late=1) == 42 else 1)
    assert os.waitpid(child, 0)[1] == 0
    late = [each for _pid, each in watched._late]
    go_on.set()
    for each in late:
        each.result(timeout=30)
    watched.seconds = 30
    assert watched.call(lambda: 42, most_late=1) == 42


def test_a_watched_call_that_is_late_while_another_begins_is_not_forgotten():
    watched, late = Watched(30, name="test"), (os.getpid(), Future())

    class Ended(Future):
        def done(self):
            watched._late.add(late)  # in another thread
            return True

    watched._late.add((os.getpid(), Ended()))
    assert watched.call(lambda: 42, most_late=2) == 42
    assert watched._late == {late}


class Counter(BackgroundThread):
    def reset(self):
        self.asked, self.done = threading.Event(), threading.Event()
        self.runs = 0

    def run(self):
        self.runs += 1
        self.done.set()
        self.asked.wait(60)


def test_a_background_thread_is_started_once():
    counter = Counter("test-counter")
    assert not counter.is_running
    for _ in range(3):
        counter.start()
    assert counter.done.wait(10)
    assert counter.runs == 1
    counter.asked.set()


def test_a_background_thread_starts_anew_in_a_forked_child_though_its_lock_was_held():
    counter = Counter("test-counter")
    counter.start()
    assert counter.done.wait(10)
    with counter._lock:
        child = os.fork()
        if not child:
            counter.start()
            started = counter.done.wait(10) and counter.runs == 1
            os._exit(0 if started else 1)
    assert os.waitpid(child, 0)[1] == 0
    counter.asked.set()


class Model:
    def __init__(self, load):
        self.load = load

    @loaded_once
    def loaded(self):
        return self.load()


def test_a_model_is_loaded_once_and_while_it_is_no_other_one_is():
    began, go_on, loads = threading.Event(), threading.Event(), []

    def load():
        loads.append("slow")
        began.set()
        go_on.wait(30)
        return "slow"

    slow, other = Model(load), Model(lambda: loads.append("other"))
    answers = [start(lambda: slow.loaded)]
    assert began.wait(30)
    answers += [start(lambda: slow.loaded), start(lambda: other.loaded)]
    child = os.fork()
    if not child:
        os._exit(0 if within(30, lambda: Model(lambda: 42).loaded) == 42 else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert loads == ["slow"]
    go_on.set()
    assert [each.result(timeout=30) for each in answers] == ["slow", "slow", None]
    assert sorted(loads) == ["other", "slow"]


def test_a_model_that_could_not_be_loaded_is_loaded_at_its_next_use():
    answers = [lambda: 1 / 0, lambda: 42]
    model = Model(lambda: answers.pop(0)())
    with pytest.raises(ZeroDivisionError):
        _ = model.loaded
    assert model.loaded == model.loaded == 42
