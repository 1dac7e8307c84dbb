"""Wake-ups by Celery, the default."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from celery import Celery, current_app
from django.conf import settings as django_settings
from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext as _
from kombu import Connection

from shopsearch.broker.base import WakeUp, queue_of
from shopsearch.conf import settings

PROBE_QUEUE = "shopsearch-probe"
CONNECT_SECONDS = 0.5
ANSWER_SECONDS = 1.0
PING_SECONDS = 1.0
JSON = {"json", "application/json"}


@dataclass(frozen=True, kw_only=True)
class CeleryWakeUp(WakeUp):
    """Sends wake-ups to the queues that SHOPSEARCH["INDEX_QUEUE"] and ["RERANK_QUEUE"] name, on the broker of Celery.

    At most one waits in each queue. With CELERY_TASK_ALWAYS_EAGER the work is done by ``send``.
    """

    app: Celery = field(init=False, default_factory=lambda: current_app._get_current_object())  # type: ignore[attr-defined]
    """The project's app, taken from the first thread that asks: in another, Celery's current app may be another."""
    _kept: threading.local = field(init=False, default_factory=threading.local, repr=False, compare=False)
    """Each thread's connection. Making one takes ten times as long as a message, and holds up other threads (GIL)."""

    @property
    def has_workers(self) -> bool:
        """Whether Celery has a broker or works eagerly. Without an address it would try AMQP on this machine."""
        return self.app.conf.broker_write_url is not None or self.runs_here

    @property
    def runs_here(self) -> bool:
        return bool(self.app.conf.task_always_eager)

    @property
    def name(self) -> str:
        if not self.app.conf.broker_write_url:
            return ""
        with connection_of(self.app) as connection:
            return connection.as_uri()

    @property
    def worker_line(self) -> str:
        return f"celery -A {self.app.main or 'yourproject'} worker -P solo -Q {settings.INDEX_QUEUE}"

    def send(self, task: str) -> bool:
        if self.runs_here:
            if task not in self.app.tasks:  # in a web process, which needs none otherwise
                self.app.loader.import_default_modules()
            self.app.tasks[task].apply(throw=True)
            return True
        address, connection = getattr(self._kept, "connection", (None, None))
        if address != self.app.conf.broker_write_url:
            self._let_go()
            connection = None
        try:
            return self._send(task, connection or self._connect())
        except Exception:
            self._let_go()
            if connection is None:
                raise
            return self.send(task)  # try once more: the broker may have restarted since the last message

    def _connect(self) -> Connection:
        connection = connection_of(self.app)
        self._kept.connection = (self.app.conf.broker_write_url, connection)
        return connection

    def _let_go(self) -> None:
        _, connection = self._kept.__dict__.pop("connection", (None, None))
        if connection is not None:
            with suppress(Exception):
                connection.release()

    def _send(self, task: str, connection: Connection) -> bool:
        name = queue_of(task)
        queue = self.app.amqp.queues[name]
        declared = connection.default_channel.queue_declare(  # type: ignore[attr-defined]
            queue=queue.name,
            durable=queue.durable,
            exclusive=queue.exclusive,
            auto_delete=queue.auto_delete,
            arguments=queue.queue_arguments,
        )
        if not declared.message_count:
            # By its name: this process does not import the tasks, which are above this package. So Celery does not know
            # its priority either.
            self.app.send_task(
                task,
                queue=name,
                connection=connection,
                retry=False,
                ignore_result=True,
                priority=self.app.conf.task_default_priority,
            )
        return not declared.message_count

    def ask(self) -> None:
        """Probe the broker, unless Celery works eagerly. Raises ImproperlyConfigured if Celery has no broker."""
        if self.runs_here:
            return
        if not self.has_workers:
            raise ImproperlyConfigured(
                _("Celery has no broker: `manage.py check` says how to set one (W001).")
            )
        with connection_of(self.app) as connection:
            probe(connection)

    def count_workers(self) -> int | None:
        """How many workers of the index queue answer a ping. Memory and SQL brokers cannot ask."""
        with self.app.connection_for_write(connect_timeout=1) as connection:
            inspect = self.app.control.inspect(timeout=PING_SECONDS, connection=connection)
            queues = inspect.active_queues() or {}
        return sum(any(queue["name"] == settings.INDEX_QUEUE for queue in each) for each in queues.values())

    def check(self) -> list[CheckMessage]:
        return list(_check(self.app.conf))


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


def probe(connection: Connection) -> None:
    """Write a message to the broker and take it back: a full broker can be reached and still refuses writes.

    Raises whatever the broker's client raises.
    """
    # Try each address once, as a wake-up does. By default kombu would pause for two seconds between tries.
    connection.ensure_connection(max_retries=max(0, len(connection.alt) - 1), interval_start=0)
    with connection.SimpleBuffer(PROBE_QUEUE) as queue:
        queue.put("")
        queue.clear()


def _check(conf: Any) -> Iterator[CheckMessage]:
    if not conf.broker_write_url:
        yield CheckWarning(
            "Celery has no broker, so no worker hears of a saved image.",
            hint="Make a Celery app that reads the project's settings, import it in the project's __init__.py, "
            "and set CELERY_BROKER_URL = 'redis://…'. Until then, `manage.py shopsearch_reindex --here` indexes.",
            id="shopsearch.W001",
        )
    accepted = {*conf.accept_content, *(conf.result_accept_content or ()), conf.task_serializer}
    if others := sorted(accepted - JSON):
        yield CheckWarning(
            f"Celery takes messages that are not JSON: {', '.join(others)}. Whoever can write to the broker may be "
            "able to run code in the workers.",
            hint="Set CELERY_ACCEPT_CONTENT = ['json'] and CELERY_TASK_SERIALIZER = 'json', the defaults.",
            id="shopsearch.W003",
        )
    if conf.task_always_eager and not django_settings.DEBUG:
        yield CheckWarning(
            "Celery runs tasks where they are sent from, so saving an image waits for the embedder.",
            hint="Remove CELERY_TASK_ALWAYS_EAGER outside of development.",
            id="shopsearch.W004",
        )
