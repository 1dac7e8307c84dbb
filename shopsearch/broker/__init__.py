"""Wake-ups: tell the workers that there is work in the database, without making the shop wait for a broker.

A wake-up is only a hint. It may be lost, repeated or reordered: the workers look for work every SWEEP_SECONDS anyway.
"""

from __future__ import annotations

import atexit
import logging
import os
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from django.core.signals import setting_changed
from django.db import connections, transaction

from shopsearch.broker.base import CALIBRATE_TASK as CALIBRATE_TASK
from shopsearch.broker.base import FIT_TASK as FIT_TASK
from shopsearch.broker.base import RERANK_TASK as RERANK_TASK
from shopsearch.broker.base import TASK as TASK
from shopsearch.broker.base import TASKS as TASKS
from shopsearch.broker.base import WakeUp
from shopsearch.conf import build
from shopsearch.telemetry.outages import Outage
from shopsearch.threads import BackgroundThread

logger = logging.getLogger(__name__)
PAUSE_SECONDS = 15
"""How long to wait after a wake-up that could not be sent before the next attempt."""
GAP_SECONDS = 0.1
"""The least time between two wake-ups of a kind from one process: the saves in between share the second."""
EXIT_SECONDS = 2.0
"""How long an ending process waits for a wake-up that is being sent."""
_instances: dict[int, WakeUp] = {}
"""By process id: a forked child cannot use its parent's connection."""


def get_wake_up() -> WakeUp:
    """What SHOPSEARCH["WAKE_UP"] names: one instance per process. Raises ImproperlyConfigured if it cannot be built."""
    if (found := _instances.get(os.getpid())) is None:
        found = _instances.setdefault(os.getpid(), build("WAKE_UP", WakeUp))
    return found


def forget(*, setting: str = "SHOPSEARCH", **kwargs: object) -> None:
    """Build it anew at the next use. Runs by itself when a test overrides SHOPSEARCH."""
    if setting == "SHOPSEARCH":
        _instances.clear()


setting_changed.connect(forget)


def wake() -> None:
    """Wake the indexing workers soon. Returns at once and never raises; a daemon thread does the sending.

    Where WAKE_UP does the work itself, as Celery does with CELERY_TASK_ALWAYS_EAGER, it is done before this returns,
    and errors are logged.
    """
    _wake(TASK)


def wake_rerankers() -> None:
    """Wake the reranking workers, in the same way."""
    _wake(RERANK_TASK)


def wake_calibrator() -> None:
    """Have an indexing worker calibrate, in the same way."""
    _wake(CALIBRATE_TASK)


def wake_fitter() -> None:
    """Have an indexing worker carry out the fits that were asked for, in the same way."""
    _wake(FIT_TASK)


def has_workers() -> bool:
    """Whether workers can be woken at all; if not, `manage.py check` warns of it."""
    return get_wake_up().has_workers


def _wake(task: str) -> None:
    wake_up = get_wake_up()
    if wake_up.runs_here:
        _inline[task].run()
    elif wake_up.has_workers:
        _senders[task].wake()


def wake_after_commit(using: str, wake_up: Callable[[], None] | None = None) -> None:
    """Wake the workers when this database's transaction commits: once per transaction, never after a rollback."""
    wake_up = wake_up or wake
    if not any(callback[1] is wake_up for callback in transaction.get_connection(using).run_on_commit):
        transaction.on_commit(wake_up, using=using, robust=True)


@atexit.register
def finish() -> None:
    """Wait for wake-ups that are being sent: otherwise a short process, such as a cron job, would end too early."""
    for sender in _senders.values():
        sender.finish()


def send(task: str = TASK) -> bool:
    """Send one wake-up now, from this thread; see ``WakeUp.send``."""
    return get_wake_up().send(task)


def ask() -> None:
    """Raise an exception if no wake-up could be sent now; see ``WakeUp.ask``."""
    get_wake_up().ask()


class _Sender(BackgroundThread):
    """Sends one kind of wake-up. Started by the first wake-up of a process."""

    def __init__(self, task: str) -> None:
        self.task = task
        super().__init__("shopsearch-wakeups")

    def reset(self) -> None:
        self.wanted: queue.Queue[None] = queue.Queue(maxsize=1)
        self.outage = Outage(logger, away="No wake-up could be sent", back="Wake-ups are sent again.")

    def wake(self) -> None:
        with suppress(queue.Full):  # one is already waiting, which is enough
            self.wanted.put_nowait(None)
        self.start()

    def run(self) -> None:
        while True:
            self.wanted.get()
            try:
                get_wake_up().send(self.task)
                self.outage.succeeded()
            except Exception as error:  # the workers' next sweep makes up for it
                self.outage.failed(error)
            connections.close_all()  # of this thread; one that carries wake-ups by the database has opened one
            self.wanted.task_done()
            # In this time a save only leaves word: it wakes no thread that would then take the processor from it.
            time.sleep(PAUSE_SECONDS if self.outage.is_on else GAP_SECONDS)

    def finish(self) -> None:
        """Wait up to EXIT_SECONDS until the wake-up is sent; do not wait for a broker that is known to be away."""
        with self.wanted.all_tasks_done:
            self.wanted.all_tasks_done.wait_for(
                lambda: self.outage.is_on or not self.wanted.unfinished_tasks, EXIT_SECONDS
            )


class _Inline:
    """Runs the task in this thread, and again when it wakes itself, in a loop instead of recursion."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.local = threading.local()

    def run(self) -> None:
        self.local.wanted = True
        if getattr(self.local, "running", False):
            return
        self.local.running = True
        try:
            while self.local.wanted:
                self.local.wanted = False
                get_wake_up().send(self.task)
        except Exception:
            logger.exception("%s failed; its rows stay as they are.", self.task)
        finally:
            self.local.running = False


_senders = {task: _Sender(task) for task in TASKS}
_inline = {task: _Inline(task) for task in TASKS}
