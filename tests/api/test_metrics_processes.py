"""Metrics of processes: several together, a worker's own port, and none at all without prometheus-client."""

import json
import os
import socket
import subprocess
import sys
from urllib.request import urlopen

import pytest

from shopsearch.telemetry import metrics
from tests import ROOT
from tests.api.prometheus import value_in
from tests.services.milvus import free_port
from tests.services.waiting import wait_until


def run(program, **environment):
    """In a process of its own, with the tests' settings."""
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.services.settings",
            "PYTHONPATH": str(ROOT),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def test_processes_that_share_a_folder_are_counted_together(tmp_path):
    """As prometheus-client has it, for web servers with several processes behind one port."""
    environment = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    program = "import django; django.setup(); from shopsearch.telemetry import metrics; "
    run(program + "metrics.count_indexed({'embedded': 2})", **environment)
    run(program + "metrics.count_indexed({'embedded': 3})", **environment)
    read = (
        "from prometheus_client import generate_latest; print(generate_latest(metrics.registry()).decode())"
    )
    text = run(program + read, **environment)
    assert value_in(text, "shopsearch_indexed_images_total", outcome="embedded") == 5


def test_without_prometheus_client_everything_works_and_the_endpoint_says_how_to_get_it():
    program = """
import sys; sys.modules["prometheus_client"] = None
import django; django.setup()
from django.core.management import call_command
from django.test import Client
from shopsearch import search, tasks
from shopsearch.telemetry import metrics
call_command("migrate", verbosity=0)
assert not metrics.is_available()
assert search.search("red").results == ()
tasks.index()
metrics.count_reranks("done", repairs={"unseen": 1})
metrics.serve()
answer = Client().get("/api/metrics/", headers={"Authorization": "Bearer 0123456789abcdef"})
print(answer.status_code, answer.json()["detail"])
"""
    settings = json.dumps({"METRICS_TOKEN": "0123456789abcdef", "METRICS_PORT": 1})
    assert run(program, TEST_SHOPSEARCH=settings).endswith(
        "501 prometheus_client is not installed: pip install 'shopsearch[metrics]'\n"
    )


@pytest.mark.services
def test_a_worker_answers_prometheus_at_its_port(redis_server, celery_worker_process, tmp_path):
    port = free_port()
    worker = celery_worker_process(
        {
            "TEST_BROKER_URL": redis_server.url,
            "TEST_DATABASE": json.dumps(
                {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "shop.sqlite3")}
            ),
            "TEST_SHOPSEARCH": json.dumps({"METRICS_PORT": port}),
        }
    )

    def answer():
        assert worker.process.poll() is None
        try:
            with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
                return response.read().decode()
        except OSError:
            return ""

    text = wait_until(answer, f"the worker answers; its log is {worker.log}")
    assert "shopsearch_indexed_images_total" in text
    assert worker.stop() == 0


def test_a_port_that_is_taken_leaves_the_worker_at_work(settings, caplog):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        settings.SHOPSEARCH = {**settings.SHOPSEARCH, "METRICS_PORT": taken.getsockname()[1]}
        metrics.serve()
    assert "which another worker may have" in caplog.text
