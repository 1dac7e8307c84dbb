"""What a process keeps of the database for some seconds, so that not every search reads it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Any, Generic, TypeVar

from django.core.signals import setting_changed

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Read(Generic[Value]):
    value: Value
    at: float


class Kept(Generic[Key, Value]):
    """Values that are read at most once in so many seconds for each key; all threads of the process share them."""

    def __init__(self, read: Callable[[Key, Value | None], Value], seconds: Callable[[], float]) -> None:
        """``read`` gets the value that was read before, if any, and may return it again."""
        self._read, self._seconds = read, seconds
        self._lock = Lock()
        self._values: dict[Key, _Read[Value]] = {}
        setting_changed.connect(self.forget)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._after_fork)

    def get(self, key: Key) -> Value:
        """The value; raises what reading raises, and then keeps what there was."""
        known = self._values.get(key)
        if known is not None and self._is_fresh(known):
            return known.value
        # One thread reads. Others go on with what there was, and wait only for the first value.
        if not self._lock.acquire(blocking=known is None) and known is not None:
            return known.value
        try:
            known = self._values.get(key)
            if known is None or not self._is_fresh(known):
                value = self._read(key, known.value if known else None)
                known = self._values[key] = _Read(value, time.monotonic())
            return known.value
        finally:
            self._lock.release()

    def _is_fresh(self, known: _Read[Value]) -> bool:
        return time.monotonic() < known.at + self._seconds()

    def _after_fork(self) -> None:
        self._lock = Lock()  # a thread that is not in the child may hold the parent's

    def forget(self, **kwargs: Any) -> None:
        """Read anew at the next search; happens by itself when SHOPSEARCH is overridden in a test."""
        if kwargs.get("setting", "SHOPSEARCH") == "SHOPSEARCH":
            self._values.clear()
