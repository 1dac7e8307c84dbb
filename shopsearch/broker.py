"""Wake-ups: tell the workers that there is work in the database, without making the shop wait for a broker.

A wake-up is only a hint. It may be lost, repeated or reordered: the workers look for work every SWEEP_SECONDS anyway.
"""

from __future__ import annotations

import atexit
import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress

from celery import Celery, current_app
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils.translation import gettext as _
from kombu import Connection

from shopsearch.conf import settings
from shopsearch.telemetry.outages import Outage
from shopsearch.threads import BackgroundThread

logger = logging.getLogger(__name__)
TASK = "shopsearch.index"
RERANK_TASK = "shopsearch.rerank"
CALIBRATE_TASK = "shopsearch.calibrate"
PROBE_QUEUE = "shopsearch-probe"
RETRY_SECONDS = 15
"""How long to wait after a wake-up that could not be sent before the next attempt."""
CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
EXIT_SECONDS = 2.0
"""How long an ending process waits for a wake-up that is being sent."""


def wake() -> None:
    """Wake the indexing workers soon. Returns at once and never raises; a daemon thread does the sending.

    With CELERY_TASK_ALWAYS_EAGER there are no workers: the work is done before this returns, and errors are logged.
    """
    _wake(_inline, _sender)


def wake_rerankers() -> None:
    """Wake the reranking workers, in the same way."""
    _wake(_rerank_inline, _rerank_sender)


def wake_calibrator() -> None:
    """Have an indexing worker calibrate, in the same way."""
    _wake(_calibrate_inline, _calibrate_sender)


def has_workers() -> bool:
    """Whether Celery has a broker or works eagerly, so that workers can be woken at all.

    Without a broker's address Celery would try an AMQP server on this machine; `manage.py check` warns of it.
    """
    return bool(current_app.conf.task_always_eager or current_app.conf.broker_write_url is not None)


def _wake(inline: _Inline, sender: _Sender) -> None:
    if current_app.conf.task_always_eager:
        inline.run()
    elif has_workers():
        sender.wake()


def wake_after_commit(using: str, wake_up: Callable[[], None] | None = None) -> None:
    """Wake the workers when this database's transaction commits: once per transaction, never after a rollback."""
    wake_up = wake_up or wake
    if not any(callback[1] is wake_up for callback in transaction.get_connection(using).run_on_commit):
        transaction.on_commit(wake_up, using=using, robust=True)


@atexit.register
def finish() -> None:
    """Wait for wake-ups that are being sent: otherwise a short process, such as a cron job, would end too early."""
    for sender in (_sender, _rerank_sender, _calibrate_sender):
        sender.finish()


def send(task: str = TASK) -> bool:
    """Send one wake-up now, unless one is already waiting in the queue. Returns whether it was sent.

    Takes at most about two seconds, whatever the broker does. Raises whatever the broker's client raises.
    """
    with connection_of(current_app) as connection:
        return _send(task, current_app, connection)


def _send(task: str, app: Celery, connection: Connection) -> bool:
    name = settings.RERANK_QUEUE if task == RERANK_TASK else settings.INDEX_QUEUE
    queue = app.amqp.queues[name]
    declared = connection.default_channel.queue_declare(  # type: ignore[attr-defined]
        queue=queue.name,
        durable=queue.durable,
        exclusive=queue.exclusive,
        auto_delete=queue.auto_delete,
        arguments=queue.queue_arguments,
    )
    if not declared.message_count:
        app.tasks[task].apply_async(  # type: ignore[call-arg]
            queue=name, connection=connection, retry=False, ignore_result=True
        )
    return not declared.message_count


def connection_of(app: Celery) -> Connection:
    """A connection to the application's broker that gives up within about two seconds.

    It is shopsearch's own connection, so that the project's broker settings, made for its own tasks, stay as they are.
    """
    connection = app.connection_for_write(connect_timeout=CONNECT_SECONDS)
    # A broker may have several addresses; try each once.
    retries = max(0, len(connection.alt) - 1)
    options = {**(connection.transport_options or {}), "max_retries": retries, "interval_start": 0}
    if connection.transport.driver_type == "redis":
        options |= {
            "socket_timeout": ANSWER_SECONDS,
            "socket_connect_timeout": CONNECT_SECONDS,
            "retry_on_timeout": False,
        }
    connection.transport_options = options
    return connection


def ask() -> None:
    """Probe the broker, unless Celery works eagerly. Raises ImproperlyConfigured if Celery has no broker.

    Raises whatever ``probe`` raises.
    """
    if current_app.conf.task_always_eager:
        return
    if not has_workers():
        raise ImproperlyConfigured(_("Celery has no broker: `manage.py check` says how to set one (W001)."))
    with connection_of(current_app) as connection:
        probe(connection)


def probe(connection: Connection) -> None:
    """Write a message to the broker and take it back: a full broker can be reached and still refuses writes.

    Raises whatever the broker's client raises.
    """
    # Try each address once, as a wake-up does. By default kombu would pause for two seconds between tries.
    connection.ensure_connection(max_retries=max(0, len(connection.alt) - 1), interval_start=0)
    with connection.SimpleBuffer(PROBE_QUEUE) as queue:
        queue.put("")
        queue.clear()


class _Sender(BackgroundThread):
    """Sends one kind of wake-up. Started by the first wake-up of a process."""

    def __init__(self, task: str = TASK) -> None:
        self.task = task
        super().__init__("shopsearch-wakeups")

    def reset(self) -> None:
        self.wanted: queue.Queue[None] = queue.Queue(maxsize=1)
        self.outage = Outage(logger, away="No wake-up could be sent", back="Wake-ups are sent again.")
        self.app: Celery = current_app
        """The project's app, taken from the waking thread: in a new thread, Celery's current app may be another."""
        self.connection: Connection | None = None
        """Kept open: making one takes ten times as long as a message, and holds up the shop's threads (GIL)."""

    def wake(self) -> None:
        self.app = current_app._get_current_object()  # type: ignore[attr-defined]
        with suppress(queue.Full):  # one is already waiting, which is enough
            self.wanted.put_nowait(None)
        self.start()

    def run(self) -> None:
        while True:
            self.wanted.get()
            try:
                self.send()
                self.outage.succeeded()
            except Exception as error:  # the workers' next sweep makes up for it
                self.outage.failed(error)
            self.wanted.task_done()
            if self.outage.is_on:
                threading.Event().wait(RETRY_SECONDS)

    def finish(self) -> None:
        """Wait up to EXIT_SECONDS until the wake-up is sent; do not wait for a broker that is known to be away."""
        with self.wanted.all_tasks_done:
            self.wanted.all_tasks_done.wait_for(
                lambda: self.outage.is_on or not self.wanted.unfinished_tasks, EXIT_SECONDS
            )

    def send(self) -> None:
        fresh = self.connection is None
        try:
            self.connection = self.connection or connection_of(self.app)
            _send(self.task, self.app, self.connection)
        except Exception:
            if self.connection is not None:
                self.connection.release()
            self.connection = None
            if fresh:
                raise
            self.send()  # try once more: the broker may have restarted since the last message


class _Inline:
    """Runs the task in this thread. If the task wakes itself, runs it again, in a loop instead of by recursion."""

    def __init__(self, task: str = TASK) -> None:
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
                current_app.tasks[self.task].apply(throw=True)
        except Exception:
            logger.exception("%s failed; its rows stay as they are.", self.task)
        finally:
            self.local.running = False


_sender, _rerank_sender, _calibrate_sender = _Sender(), _Sender(RERANK_TASK), _Sender(CALIBRATE_TASK)
_inline, _rerank_inline, _calibrate_inline = _Inline(), _Inline(RERANK_TASK), _Inline(CALIBRATE_TASK)
