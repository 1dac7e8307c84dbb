"""What every way of waking the workers can do."""

from __future__ import annotations

from abc import ABC, abstractmethod

from django.core.checks import CheckMessage

from shopsearch.conf import settings

TASK = "shopsearch.index"
RERANK_TASK = "shopsearch.rerank"
CALIBRATE_TASK = "shopsearch.calibrate"
FIT_TASK = "shopsearch.fit_asked"
TASKS = (TASK, RERANK_TASK, CALIBRATE_TASK, FIT_TASK)


def queue_of(task: str) -> str:
    """The queue whose workers do this task."""
    return settings.RERANK_QUEUE if task == RERANK_TASK else settings.INDEX_QUEUE


class WakeUp(ABC):
    """Sends wake-ups: messages that say no more than which task has work.

    A wake-up may be lost, repeated or reordered: the outbox in the database holds the work, and a sweep makes up for
    one that was lost. Implementations are keyword-only dataclasses whose fields are their OPTIONS. There is one
    instance per process, used by several threads.
    """

    @abstractmethod
    def send(self, task: str) -> bool:
        """Send a wake-up for this task, unless it is known that one still waits. Returns whether it was sent.

        ``task`` is one of ``shopsearch.broker.TASKS``. Takes about two seconds at most. Raises whatever the client of
        the message queue raises.
        """

    @property
    def has_workers(self) -> bool:
        """Whether workers can be woken at all. While there are none, nothing is sent and no rerank is offered."""
        return True

    @property
    def runs_here(self) -> bool:
        """Whether ``send`` does the task's work itself, in the calling thread, as in development and in tests."""
        return False

    @property
    def name(self) -> str:
        """Where wake-ups go, for people; without a password."""
        return type(self).__name__

    @property
    def worker_line(self) -> str:
        """The command that starts a worker."""
        return ""

    def ask(self) -> None:  # noqa: B027, not every message queue can be asked
        """Raise an exception, within about two seconds, if no wake-up could be sent now."""

    def count_workers(self) -> int | None:
        """How many workers answer at once. None where they cannot be asked. Raises what ``ask`` raises."""
        return None

    def check(self) -> list[CheckMessage]:
        """What `manage.py check` should say of the options. Opens no connection."""
        return []
