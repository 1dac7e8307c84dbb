"""Whatever dies, a rerank ends by its deadline, and the shopper's picture with it.

Real parts: a Celery worker process that is killed in the middle of a rerank, and Redis.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests import ROOT
from tests.services.celery import CeleryWorkerProcess
from tests.services.waiting import wait_until

pytestmark = pytest.mark.services


class Shop:
    def __init__(self, folder, broker):
        self.gate = folder / "gate"
        reranker = {"BACKEND": "tests.faults.rerankers.GatedReranker", "OPTIONS": {"gate": str(self.gate)}}
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.services.settings",
            "PYTHONPATH": str(ROOT),
            "TEST_DATABASE": json.dumps(
                {
                    "ENGINE": "django.db.backends.sqlite3",
                    "NAME": str(folder / "shop.sqlite3"),
                    "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
                }
            ),
            "TEST_MEDIA_ROOT": str(folder / "media"),
            "TEST_BROKER_URL": broker,
            "TEST_SHOPSEARCH": json.dumps(
                {"RERANKER": reranker, "RERANK_DEADLINE_SECONDS": 300, "SWEEP_SECONDS": 1}
            ),
        }
        self.worker = CeleryWorkerProcess(self.environment, folder / "worker.log", queue="shopsearch-rerank")
        self.run("-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")

    def run(self, *arguments):
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment,
            check=True,
            stdout=subprocess.PIPE,
            text=True,
        ).stdout

    def ask(self):
        return json.loads(self.run("-m", "tests.faults.shopper", "ask"))["id"]

    def look(self, rerank_id):
        return json.loads(self.run("-m", "tests.faults.shopper", "look", rerank_id))

    def wait_out(self, rerank_id):
        self.run("-m", "tests.faults.shopper", "wait_out", rerank_id)

    def ends(self, rerank_id):
        def final():
            seen = self.look(rerank_id)
            return seen if seen["state"] not in ("queued", "running") else None

        return wait_until(final, "the rerank is in a final state")


@pytest.fixture
def shop(tmp_path, redis_server):
    shop = Shop(tmp_path, redis_server.url)
    yield shop
    shop.gate.touch()
    shop.worker.kill()


def test_a_worker_killed_in_the_middle_leaves_an_expired_rerank_and_the_next_one_is_answered(shop):
    shop.worker.start()
    rerank = shop.ask()
    wait_until(Path(f"{shop.gate}.begun").exists, "the reranker has begun")
    assert shop.look(rerank) == {"state": "running", "order": 0, "picture": True}
    shop.worker.kill()
    shop.wait_out(rerank)
    assert shop.look(rerank) == {"state": "expired", "order": 0, "picture": False}

    shop.gate.touch()
    shop.worker.start()
    assert shop.ends(shop.ask()) == {"state": "done", "order": 2, "picture": False}


def test_without_any_worker_a_rerank_expires(shop):
    rerank = shop.ask()
    assert shop.look(rerank)["state"] == "queued"
    shop.wait_out(rerank)
    assert shop.look(rerank) == {"state": "expired", "order": 0, "picture": False}
