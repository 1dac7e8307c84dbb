"""`manage.py demo`: the whole shop on this machine, in one command."""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import sys
import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from django.conf import settings
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from tqdm import tqdm

from demo_project.addresses import LOCK_NAME, forget_addresses, use_addresses, write_addresses
from demo_project.supervisor import Processes, ServiceDied
from demo_project.web import HOST
from shopsearch.indexing import progress, vocabulary
from shopsearch.models import Suggestion
from shopsearch.registry import get_indexes

AT_REST = ("indexed", "failed")
PAGE_SECONDS = 90
SEARCH_SECONDS = 60
LAST_PORT = 65_535


class Command(BaseCommand):
    help = "Migrate, seed, start the servers, index, and serve the demo shop until Ctrl-C."
    requires_system_checks = []  # `migrate` runs them

    stopping = False
    services: Any = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=8000, help="the web server's port (default: 8000)")
        parser.add_argument("--images", metavar="FOLDER", help="sell what this folder's products.jsonl says")
        parser.add_argument("--products", type=int, metavar="N", help="seed no more than N products")
        mode = parser.add_mutually_exclusive_group()
        mode.add_argument("--processes", dest="mode", action="store_const", const="processes",
                          help="Redis, store, worker and web as child processes")  # fmt: skip
        mode.add_argument("--one-process", dest="mode", action="store_const", const="one-process",
                          help="everything in this process")  # fmt: skip

    def handle(self, **options: Any) -> None:
        port, mode = options["port"], options["mode"]
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signal_number, self.interrupt)
        # Threads of torch that wait would otherwise spin, and starve the demo's other parts.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        demo_dir: Path = settings.DEMO_DIR
        (demo_dir / "log").mkdir(parents=True, exist_ok=True)
        _require_free_port(port)
        with _only_demo_of(demo_dir):
            try:
                self.start_servers(demo_dir, port, mode or _best_mode())
                if is_early := self.services.starts_early and not _pending_migrations():
                    self.services.start_web()
                else:
                    call_command("migrate", verbosity=0)
                self.fill(options)
                if not is_early:
                    self.services.start_web()
                if has_work := bool(_waiting_and_total()[0]):
                    self.services.start_worker()
                if self.index() or not Suggestion.objects.exists():
                    self.count_words()
                self.wait_for_answers(port)
                if not has_work:
                    # Last, as it loads a model of its own, which would hold up the first search.
                    self.services.start_worker()
                self.serve(port, options)
            except ServiceDied as error:
                raise CommandError(str(error)) from error
            except KeyboardInterrupt:
                pass
            finally:
                self.stop(demo_dir)

    def fill(self, options: dict[str, Any]) -> None:
        call_command("seed", images=options["images"], limit=options["products"])

    def serve(self, port: int, options: dict[str, Any]) -> None:
        self.stdout.write(f"shopsearch demo ready: http://{HOST}:{port}/")
        self.stdout.flush()
        self.watch()

    def start_servers(self, demo_dir: Path, port: int, mode: str) -> None:
        milvus_port = free_port()
        if mode == "processes":
            self.services = Processes(demo_dir=demo_dir, port=port, milvus_port=milvus_port)
        else:
            from demo_project.one_process import OneProcess

            self.services = OneProcess(demo_dir=demo_dir, port=port, milvus_port=milvus_port)
        use_addresses(demo_dir, self.services.addresses)
        write_addresses(demo_dir, self.services.addresses)
        self.stdout.write(f"Starting: {self.services.description}")
        self.services.start_servers()

    def index(self) -> bool:
        """Wait until the worker has nothing left to do, and show how far it is. Returns whether there was anything."""
        waiting, total = _waiting_and_total()
        if not waiting:
            self.stdout.write(f"Indexed: {total} pictures, nothing to do")
            return False
        with tqdm(
            desc="Indexing",
            unit=" pictures",
            total=total,
            initial=total - waiting,
            file=sys.stdout,
            mininterval=0.2 if sys.stdout.isatty() else 5,
            smoothing=0.1,
        ) as bar:
            while waiting:
                time.sleep(0.2)
                self.services.check()
                waiting, total = _waiting_and_total()
                bar.total = total
                bar.update(total - waiting - bar.n)
        if failed := _states()["failed"]:
            self.stdout.write(
                f"{failed} pictures could not be indexed: manage.py shopsearch_status says why."
            )
        return True

    def count_words(self) -> None:
        """As a shop's reindex does: until then every word counts the same, and "pho" is suggested before "phone"."""
        for index in get_indexes():
            vocabulary.recount(index)

    def wait_for_answers(self, port: int) -> None:
        """Until the page is up, and until the model is, within reason: better that we wait for it than a visitor."""
        if trouble := self.trouble_with(f"http://{HOST}:{port}/", seconds=PAGE_SECONDS):
            raise ServiceDied(
                f"The page does not answer: {trouble}. The logs are in {settings.DEMO_DIR / 'log'}."
            )
        if trouble := self.trouble_with(
            f"http://{HOST}:{port}/api/search/?q=mug&limit=1", seconds=SEARCH_SECONDS
        ):
            self.stdout.write(f"The first search may take a while: the model is still loading ({trouble}).")

    def trouble_with(self, url: str, *, seconds: float) -> str:
        """ "" as soon as the address answers; else, after so long, why it does not."""
        deadline = time.monotonic() + seconds
        while trouble := _trouble_with(url, timeout=max(1, deadline - time.monotonic())):
            self.services.check()
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return trouble

    def watch(self) -> None:
        while True:
            time.sleep(0.5)
            self.services.check()

    def interrupt(self, signal_number: int, frame: FrameType | None) -> None:
        """Stop in order; at the second time, at once."""
        if self.stopping:
            if self.services:
                self.services.kill()
            os._exit(130)
        self.stopping = True
        raise KeyboardInterrupt

    def stop(self, demo_dir: Path) -> None:
        self.stopping = True
        if self.services:
            self.stdout.write("")
            self.services.stop(self.stdout.write)
            forget_addresses(demo_dir)


def _best_mode() -> str:
    return "processes" if os.environ.get("REDIS_URL") or shutil.which("redis-server") else "one-process"


def _pending_migrations() -> bool:
    """Whether the database lacks any: at the second start it does not, and the parts need not wait for it."""
    executor = MigrationExecutor(connection)
    return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))


def _require_free_port(port: int) -> None:
    if not 1 <= port <= LAST_PORT:
        raise CommandError(f"There is no port {port}. Choose one from 1 to {LAST_PORT}: make demo PORT=8000")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            raise CommandError(
                f"Port {port} is taken. Choose another one: make demo PORT={port + 1}"
            ) from error


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _only_demo_of(demo_dir: Path) -> Iterator[None]:
    """Two demos over one database and one store would spoil each other; over two folders they may run at once."""
    with (demo_dir / LOCK_NAME).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CommandError(
                f"The demo of {demo_dir} is running already. Stop it, or name another folder by SHOPSEARCH_DEMO_DIR."
            ) from error
        yield


def _states() -> Counter[str]:
    states: Counter[str] = Counter()
    for counts in progress.counts().values():
        states.update(counts)
    return states


def _waiting_and_total() -> tuple[int, int]:
    states = _states()
    return states.total() - sum(states[state] for state in AT_REST), states.total()


def _trouble_with(url: str, *, timeout: float) -> str:
    try:
        with urlopen(url, timeout=timeout):  # noqa: S310 -- our own address
            return ""
    except HTTPError as error:
        return f"{error.code} {error.reason}"
    except TimeoutError:
        return "no answer yet"
    except OSError as error:
        return str(error)
