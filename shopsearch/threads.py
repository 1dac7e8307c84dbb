"""Threads: calls with a deadline, work in the background, and models that are loaded once."""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any, Generic, TypeVar, cast
from weakref import WeakSet

Answer = TypeVar("Answer")


def start(call: Callable[[], Answer], *, name: str = "shopsearch-call") -> Future[Answer]:
    """A future of ``call``, which runs in a daemon thread: a process that ends does not wait for it."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised again by future.result()
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def within(seconds: float, call: Callable[[], Answer], *, name: str = "shopsearch-call") -> Answer:
    """What ``call`` returns or raises. Raises TimeoutError after ``seconds``; the call's thread goes on unwatched."""
    future = start(call, name=name)
    if not wait([future], timeout=max(0.0, seconds)).done:
        raise TimeoutError(f"No answer within {seconds:g} seconds.")
    return future.result()


class Watched:
    """Calls with a deadline, none of which begins while too many that missed it go on: each holds a thread."""

    def __init__(self, seconds: float, *, name: str) -> None:
        self.seconds = seconds
        self.name = name
        self._late: set[tuple[int, Future[object]]] = set()

    def call(self, call: Callable[[], Answer], *, most_late: int) -> Answer:
        """What ``call`` returns or raises. Raises TimeoutError after ``seconds``, or at once after ``most_late``."""
        own = os.getpid()  # a forked child has none of its parent's threads
        # Taken out one by one: what another thread adds meanwhile stays.
        self._late.difference_update([(pid, it) for pid, it in tuple(self._late) if pid != own or it.done()])
        if len(self._late) >= most_late:
            raise TimeoutError("Earlier calls have not ended yet.")
        future = start(call, name=self.name)
        if not wait([future], timeout=self.seconds).done:
            self._late.add((own, cast("Future[object]", future)))
            raise TimeoutError(f"No answer within {self.seconds:g} seconds.")
        return future.result()


class loaded_once(Generic[Answer]):  # noqa: N801  # used as property is
    """An attribute that is loaded at its first use. In a process one is loaded at a time.

    The modules of transformers, and those of torch, import one another: two threads that are the first to import them
    may see half of one, and fail.
    """

    def __init__(self, load: Callable[[Any], Answer]) -> None:
        self.load = load

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: object, owner: type) -> Answer:
        # Python comes here only until the instance has an attribute of this name.
        with _loading:
            if self.name not in instance.__dict__:
                instance.__dict__[self.name] = self.load(instance)
            return cast("Answer", instance.__dict__[self.name])


class BackgroundThread(ABC):
    """A daemon thread that starts when it is first needed, and again in a forked child."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self.reset()
        _background.add(self)

    def start(self) -> None:
        """Start the thread unless it is running."""
        if not self.is_running:
            with self._lock:
                if not self.is_running:
                    self._thread = threading.Thread(target=self.run, name=self.name, daemon=True)
                    self._thread.start()

    @property
    def is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @abstractmethod
    def run(self) -> None:
        """The thread's work."""

    @abstractmethod
    def reset(self) -> None:
        """Set the attributes that the thread uses. Called by ``__init__``, and in a forked child.

        A forked child lacks the thread, its locks may be held for ever, and its connections are its parent's.
        """

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        self._thread = None
        self.reset()


_loading = threading.RLock()
_background: WeakSet[BackgroundThread] = WeakSet()


def _after_fork() -> None:
    global _loading
    _loading = threading.RLock()
    for each in list(_background):
        each._after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
