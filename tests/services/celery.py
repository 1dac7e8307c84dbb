"""The tests' Celery application, and a real worker in a process of its own."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from celery import Celery

from tests import ROOT

app = Celery("tests")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.set_default()  # for every thread


class CeleryWorkerProcess:
    """``celery worker`` for a queue of shopsearch, with the settings of tests.services.settings."""

    def __init__(self, environment, log, pool="solo", queue="shopsearch-index"):
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.services.settings",
            "PYTHONPATH": str(ROOT),
            **environment,
        }
        self.log = Path(log)
        self.pool = pool
        self.queue = queue
        self.process = None

    def start(self):
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "celery", "-A", "tests.services.celery", "worker"),
                    *("--pool", self.pool, "--concurrency", "1", "--queues", self.queue),
                    *("--loglevel", "INFO", "--without-gossip", "--without-mingle"),
                ],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        return self

    def stop(self):
        """Ask it to finish what it does and end. Gives its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self):
        """End it, and the children of its pool, in the middle of whatever it does."""
        return self._end(signal.SIGKILL)

    def _end(self, number):
        if self.process is None:
            return None
        if self.process.poll() is None:
            os.killpg(self.process.pid, number)
        try:
            code = self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            code = self.process.wait()
        self.process = None
        return code


@pytest.fixture
def celery_worker_process(tmp_path):
    """Makes workers, ``celery_worker_process(environment, pool=...)``, and ends those that are left."""
    workers = []

    def start(environment, pool="solo"):
        workers.append(
            CeleryWorkerProcess(environment, tmp_path / f"worker-{len(workers)}.log", pool).start()
        )
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
