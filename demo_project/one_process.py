"""The demo's parts as threads of one process: for a machine with nothing but Python."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from celery import signals
from celery.worker import WorkController, state

from demo_project import web
from demo_project.addresses import Addresses
from demo_project.celery import app
from demo_project.supervisor import ServiceDied
from shopsearch.vector_stores.milvus.lite import LiteServer

STOP_SECONDS = 15


class Worker(WorkController):
    """A Celery worker that leaves the process's signals alone."""

    def on_consumer_ready(self, consumer: Any) -> None:
        signals.worker_ready.send(sender=consumer)


class OneProcess:
    """Milvus Lite, the worker and the web server in this process, over Celery's broker in memory."""

    description = "Milvus Lite, the worker and the web server, in one process"
    starts_early = False
    """Seeding may fork, which a process must not do once it has threads."""

    def __init__(self, *, demo_dir: Path, port: int, milvus_port: int) -> None:
        self.port = port
        self.log = demo_dir / "log" / "demo.log"
        self.milvus = LiteServer(data_dir=demo_dir / "milvus", port=milvus_port)
        self.addresses = Addresses(milvus_uri=self.milvus.uri)
        self.threads: list[threading.Thread] = []
        self.stoppers: list[tuple[str, Callable[[], None]]] = []

    def start_servers(self) -> None:
        """Nothing yet: see ``starts_early``."""

    def start_web(self) -> None:
        from shopsearch.conf import settings

        server = web.make_server(self.port)
        self.worker = Worker(
            app=app,
            pool_cls="solo",
            concurrency=1,
            queues=[settings.INDEX_QUEUE, settings.RERANK_QUEUE],
            loglevel="INFO",
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
        )
        # Now: making a worker sets up Django once more, its logging included.
        self._log_to_file()
        self.milvus.start()
        self.stoppers.append(("Milvus Lite", self.milvus.stop))
        self._start("The web server", lambda: server.serve_forever(poll_interval=0.1), server.shutdown)
        web.warm_up()

    def start_worker(self) -> None:
        self._start("The worker", self.worker.start, self._stop_worker)

    def check(self) -> None:
        """Raises ServiceDied when one of the threads ended."""
        for thread in self.threads:
            if not thread.is_alive():
                raise ServiceDied(f"{thread.name} ended by itself; {self.log} says why.")

    def stop(self, say: Callable[[str], None]) -> None:
        for name, stop in reversed(self.stoppers):
            say(f"Stopping: {name.removeprefix('The ')}")
            stop()

    def kill(self) -> None:
        """Threads end with their process."""

    def _start(self, name: str, run: Callable[[], None], stop: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=name, daemon=True)
        thread.start()
        self.threads.append(thread)

        def stop_and_wait() -> None:
            stop()
            thread.join(STOP_SECONDS)

        self.stoppers.append((name, stop_and_wait))

    def _log_to_file(self) -> None:
        """The terminal is for the launcher's own words."""
        stream = self.log.open("w", buffering=1, encoding="utf-8")
        for handler in logging.getLogger().handlers:
            if isinstance(handler, logging.StreamHandler):
                handler.setStream(stream)

    def _stop_worker(self) -> None:
        signals.worker_shutting_down.send(sender=app, sig="SIGTERM", how="Warm", exitcode=0)
        # The exit code; the worker's loop looks at it between two tasks.
        state.should_stop = 0  # type: ignore[assignment]
