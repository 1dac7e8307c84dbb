"""A real query worker in a process of its own."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests import ROOT
from tests.services.waiting import wait_until

WORKER_EMBEDDER = "shopsearch.embedders.remote.WorkerEmbedder"


class QueryWorkerProcess:
    """``manage.py shopsearch_query_worker`` with the settings of tests.services.settings and these backends."""

    def __init__(self, log, broker_url, *, embedder=None, **options):
        shopsearch = {"QUERY_EMBEDDER": {"BACKEND": WORKER_EMBEDDER, "OPTIONS": options}}
        if embedder is not None:
            shopsearch["EMBEDDER"] = embedder
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.services.settings",
            "PYTHONPATH": str(ROOT),
            "TEST_BROKER_URL": broker_url,
            "TEST_SHOPSEARCH": json.dumps(shopsearch),
        }
        self.log = Path(log)
        self.process = None

    def start(self):
        """Afterwards it answers."""
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _PROGRAM], cwd=ROOT, env=self.environment, stdout=log, stderr=log
            )
        try:
            wait_until(self.is_ready, f"the query worker is ready; its log is {self.log}")
        except BaseException:
            self.kill()
            raise
        return self

    def is_ready(self):
        assert self.process.poll() is None, self.log.read_text()
        return b"ready" in self.log.read_bytes()

    def suspend(self):
        """It has its connection and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        """Ask it to finish what it does and end. Gives its exit code."""
        return self._end(signal.SIGTERM)

    def kill(self):
        return self._end(signal.SIGKILL)

    def _end(self, number):
        if self.process is None:
            return None
        self.process.send_signal(number)
        code = self.process.wait(timeout=30)
        self.process = None
        return code


_PROGRAM = """
import tests.services.celery  # the project's Celery application knows the broker
from django.core.management import execute_from_command_line
execute_from_command_line(["manage.py", "shopsearch_query_worker", "--skip-checks"])
"""
