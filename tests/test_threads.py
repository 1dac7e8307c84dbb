"""shopsearch.threads: deadlines for calls that have none, and threads that a forked child starts anew."""

import os
import threading
from concurrent.futures import Future

import pytest

from shopsearch.threads import BackgroundThread, Watched, within


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
