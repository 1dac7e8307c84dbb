"""shopsearch.threads: deadlines for calls that have none, and threads that a forked child starts anew."""

import os
import threading

import pytest

from shopsearch.threads import BackgroundThread, within


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
