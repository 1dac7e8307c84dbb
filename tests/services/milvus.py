"""A real Milvus Lite server in a process of its own, as a shop runs it."""

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests import ROOT

READY_SECONDS = 90


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def eventually(condition):
    """Wait until the condition holds."""
    deadline = time.monotonic() + READY_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "It did not come about."
        time.sleep(0.02)


class MilvusLiteProcess:
    """``manage.py shopsearch_milvus_lite`` on a port and a directory that stay the same when it is restarted."""

    def __init__(self, data_dir, port=0):
        self.data_dir = Path(data_dir)
        self.port = port or free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        """Afterwards the server answers."""
        self.process = subprocess.Popen(
            [
                *(
                    sys.executable,
                    "-m",
                    "django",
                    "shopsearch_milvus_lite",
                    "--with-parent",
                    str(os.getpid()),
                ),
                *("--data-dir", str(self.data_dir), "--port", str(self.port)),
            ],
            cwd=ROOT,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        readable, _, _ = select.select([self.process.stdout], [], [], READY_SECONDS)
        line = self.process.stdout.readline() if readable else ""
        if not line.startswith("ready"):
            self.kill()
            raise RuntimeError(f"Milvus Lite did not get ready; it said {line!r}, and more on stderr.")
        return self

    def stop(self):
        """Ask it to stop, as Ctrl-C and process managers do. Gives its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self):
        """End it as a power cut of its process would."""
        return self._end(signal.SIGKILL)

    def restart(self):
        self.stop()
        return self.start()

    def suspend(self):
        """It keeps its connections and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def _end(self, number):
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.send_signal(signal.SIGCONT)
        code = self.process.wait(timeout=30)
        self.process.stdout.close()
        self.process = None
        return code


@pytest.fixture(scope="session")
def milvus_lite():
    """The URI of a Milvus Lite server that all tests share; take collections with names of your own."""
    directory = tempfile.mkdtemp(prefix="shopsearch-milvus-")
    server = MilvusLiteProcess(Path(directory) / "data").start()
    yield server.uri
    server.stop()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def milvus_lite_process(tmp_path):
    """A server of this test's own, to stop, kill, suspend and restart."""
    server = MilvusLiteProcess(tmp_path / "milvus" / "data").start()
    yield server
    server.stop()
