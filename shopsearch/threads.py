"""Run a call in a thread of its own, so that whoever needs its answer can stop waiting for it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

Answer = TypeVar("Answer")


def start(call: Callable[[], Answer], *, name: str = "shopsearch-call") -> Future[Answer]:
    """What ``call`` will return or raise. Its thread is a daemon: a process that ends does not wait for it."""
    future: Future[Answer] = Future()

    def run() -> None:
        try:
            future.set_result(call())
        except BaseException as error:  # raised again by future.result()
            future.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return future


def within(seconds: float, call: Callable[[], Answer], *, name: str = "shopsearch-call") -> Answer:
    """What ``call`` returns or raises; TimeoutError after ``seconds``, when its thread is left behind."""
    return start(call, name=name).result(max(0.0, seconds))
