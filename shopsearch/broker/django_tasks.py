"""Wake-ups by Django's own tasks framework, which came with Django 6.0."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import django
from django.conf import settings as django_settings
from django.core.checks import CheckMessage, Error
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from shopsearch.broker.base import WakeUp, queue_of
from shopsearch.conf import settings

DUMMY = "django.tasks.backends.dummy.DummyBackend"
IMMEDIATE = "django.tasks.backends.immediate.ImmediateBackend"


@dataclass(frozen=True, kw_only=True)
class DjangoTasksWakeUp(WakeUp):
    """Sends wake-ups by a backend of the TASKS setting, to the queues INDEX_QUEUE and RERANK_QUEUE.

    Where the backend tells what became of a task, at most one of each kind waits for each process that sends them;
    where it does not, any number may wait, and each costs a worker a query. A worker of this kind does not sweep by
    itself: run `manage.py shopsearch_sweep` beside it. Raises ImproperlyConfigured below Django 6.0.
    """

    backend: str = "default"
    """The key in TASKS."""
    _waiting: dict[str, Any] = field(init=False, default_factory=dict, repr=False, compare=False)
    """The result of each task's latest wake-up."""
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock, repr=False, compare=False)

    def __post_init__(self) -> None:
        if django.VERSION < (6, 0):
            raise ImproperlyConfigured(
                f"Django {django.get_version()} has no tasks framework; it came with 6.0. Leave WAKE_UP to Celery."
            )

    @property
    def has_workers(self) -> bool:
        return self._path != DUMMY

    @property
    def runs_here(self) -> bool:
        """Whether the backend is Django's ImmediateBackend, its default."""
        return self._path == IMMEDIATE

    @property
    def name(self) -> str:
        return f"TASKS[{self.backend!r}], {self._path}"

    @property
    def worker_line(self) -> str:
        return (
            f"the worker of {self.name}, on the queues {settings.INDEX_QUEUE} and {settings.RERANK_QUEUE}, and "
            "`manage.py shopsearch_sweep`"
        )

    @property
    def _path(self) -> str:
        from django.tasks import task_backends

        return str(task_backends.settings.get(self.backend, {}).get("BACKEND", ""))

    def send(self, task: str) -> bool:
        with self._lock:
            if self._still_waits(task):
                return False
            verb = task.removeprefix("shopsearch.")
            # By its path: the tasks are above this package, and a worker finds them by the same one.
            found = import_string(f"shopsearch.tasks.django.{verb}").using(
                backend=self.backend, queue_name=queue_of(task)
            )
            sent = self._waiting[task] = found.enqueue()
        if self.runs_here and sent.errors:
            raise RuntimeError(sent.errors[-1].traceback)
        return True

    def _still_waits(self, task: str) -> bool:
        from django.tasks import TaskResultStatus, task_backends
        from django.tasks.exceptions import TaskResultDoesNotExist

        sent = self._waiting.get(task)
        if sent is None or not task_backends[self.backend].supports_get_result:
            return False
        try:
            sent.refresh()
        except TaskResultDoesNotExist:  # done, and cleared away
            return False
        return bool(sent.status == TaskResultStatus.READY)

    def check(self) -> list[CheckMessage]:
        from django.tasks import task_backends

        if not self._path:
            return [
                Error(
                    f"SHOPSEARCH['WAKE_UP'] names the backend {self.backend!r}, which TASKS does not have.",
                    hint=f"TASKS has {', '.join(sorted(task_backends.settings))}.",
                    id="shopsearch.E014",
                )
            ]
        found: list[CheckMessage] = []
        queues = task_backends[self.backend].queues
        if queues and (missing := sorted({settings.INDEX_QUEUE, settings.RERANK_QUEUE} - queues)):
            found.append(
                Error(
                    f"TASKS[{self.backend!r}] lacks the queue {' and '.join(missing)}: no worker can be woken.",
                    hint=f'Add "QUEUES": {[*sorted(queues), *missing]} to it, and have its workers read them.',
                    id="shopsearch.E014",
                )
            )
        if not self.has_workers:
            found.append(
                CheckWarning(
                    f"TASKS[{self.backend!r}] is Django's DummyBackend, so no worker hears of a saved image.",
                    hint="Name a backend that has workers, such as django_tasks_db's DatabaseBackend. Until then, "
                    "`manage.py shopsearch_reindex --here` indexes.",
                    id="shopsearch.W001",
                )
            )
        if self.runs_here and not django_settings.DEBUG:
            found.append(
                CheckWarning(
                    f"TASKS[{self.backend!r}] runs tasks where they are enqueued, so saving an image waits for the "
                    "embedder.",
                    hint="Name a backend that has workers, such as django_tasks_db's DatabaseBackend.",
                    id="shopsearch.W004",
                )
            )
        return found
