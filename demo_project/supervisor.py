"""The demo's parts as processes of their own: started, watched, and stopped in order."""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from demo_project.addresses import Addresses
from demo_project.web import HOST

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
STOP_SECONDS = 15
TAIL_LINES = 15
PR_SET_PDEATHSIG = 1


class ServiceDied(Exception):
    """A part of the demo ended by itself."""


@dataclass(kw_only=True)
class Child:
    """A process in a session of its own, so that Ctrl-C reaches the launcher alone and the order is the launcher's."""

    name: str
    command: list[str]
    log: Path
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, environment: dict[str, str]) -> None:
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(  # noqa: S603 -- our own commands, no shell
                self.command,
                cwd=MANAGE.parent,
                env=os.environ | environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_the_launcher,
            )

    def check(self) -> None:
        """Raises ServiceDied, with the end of its log, when it no longer runs."""
        if (status := self.process.poll()) is not None:
            tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:])
            raise ServiceDied(
                f"{self.name} ended by itself (status {status}). The end of {self.log}:\n\n{tail}"
            )

    def stop(self) -> None:
        """Afterwards it runs no more: asked first, then killed with whatever it started."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                self.process.wait()

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)


def _die_with_the_launcher() -> None:
    # A shell's `make demo &` leaves SIGINT ignored, and children inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        # Even kill -9 of the launcher then leaves nothing behind.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Processes:
    """Redis, Milvus Lite, the workers and the web server as children of this process."""

    description = "a process each for Redis, Milvus Lite, the worker, the query worker and the web server"
    starts_early = True
    """Whether the parts may run while the shop is seeded."""

    def __init__(self, *, demo_dir: Path, port: int, milvus_port: int) -> None:
        self.demo_dir = demo_dir
        self.port = port
        self.milvus_port = milvus_port
        self.children: list[Child] = []
        # The path of a Unix socket has room for about a hundred characters: too few for some home folders.
        self.socket_dir = (
            None if os.environ.get("REDIS_URL") else Path(tempfile.mkdtemp(prefix="shopsearch-demo-"))
        )
        self.addresses = Addresses(
            broker_url=f"redis+socket://{self.socket}" if self.socket else os.environ["REDIS_URL"],
            # Django's cache reads pickles, so it is in no Redis that others write to, unless somebody says so.
            cache_url=os.environ.get("DEMO_CACHE_URL") or (f"unix://{self.socket}" if self.socket else ""),
            milvus_uri=f"http://127.0.0.1:{milvus_port}",
            query_worker=True,
        )

    @property
    def socket(self) -> Path | None:
        return self.socket_dir / "redis.sock" if self.socket_dir else None

    def start_servers(self) -> None:
        if self.socket:
            redis = [
                "redis-server",
                "--port",
                "0",
                "--unixsocket",
                str(self.socket),
                "--save",
                "",
                "--appendonly",
                "no",
            ]
            self._start("Redis", [*redis, "--dir", str(self.demo_dir)])
        # Then what takes longest: it loads the model.
        self._start("The query worker", [*_python(MANAGE), "shopsearch_query_worker", "--skip-checks"])
        milvus = [
            "shopsearch_milvus_lite",
            "--data-dir",
            str(self.demo_dir / "milvus"),
            "--host",
            "127.0.0.1",
        ]
        self._start("Milvus Lite", [*_python(MANAGE), *milvus, "--port", str(self.milvus_port)])

    def start_web(self) -> None:
        gunicorn = ["-m", "gunicorn", "--config", "python:demo_project.web", "--bind", f"{HOST}:{self.port}"]
        self._start("The web server", _python(*gunicorn))

    def start_worker(self) -> None:
        from shopsearch.conf import settings

        queues = f"{settings.INDEX_QUEUE},{settings.RERANK_QUEUE}"
        worker = ["worker", "-P", "solo", "-c", "1", "-Q", queues, "-n", f"demo-{self.port}@%h"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", "INFO"]
        celery = [*_python("-m", "celery"), "-A", "demo_project", *worker, *quiet]
        # Indexing lets searches go first.
        self._start("The worker", ["nice", "-n", "5", *celery])

    def check(self) -> None:
        """Raises ServiceDied when one of the children has."""
        for child in self.children:
            child.check()

    def stop(self, say: Callable[[str], None]) -> None:
        """The last that was started first: nothing loses what it still needs."""
        for child in reversed(self.children):
            say(f"Stopping: {child.name.removeprefix('The ')}")
            child.stop()
        self._clear()

    def kill(self) -> None:
        for child in self.children:
            child.kill()
        self._clear()

    def _start(self, name: str, command: list[str]) -> None:
        log = self.demo_dir / "log" / f"{name.removeprefix('The ').lower().replace(' ', '_')}.log"
        child = Child(name=name, command=command, log=log)
        child.start(self.addresses.as_environment())
        self.children.append(child)

    def _clear(self) -> None:
        if self.socket_dir:
            shutil.rmtree(self.socket_dir, ignore_errors=True)


def _python(*arguments: str | Path) -> list[str]:
    return [sys.executable, *map(str, arguments)]
