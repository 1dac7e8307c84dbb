"""Everything that a shop depends on dies while products are saved and deleted; afterwards nothing is amiss.

Real parts: a shop in a process of its own, a Celery worker, Redis, Milvus Lite's server. SHOPSEARCH_OUTAGE_SECONDS
says how long broker and store are away: 3, or 60 to see what an operator would.
"""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time

import pytest

from tests import ROOT
from tests.services.celery import CeleryWorkerProcess
from tests.services.milvus import MilvusLiteProcess
from tests.services.redis import RedisProcess
from tests.services.waiting import wait_until

pytestmark = pytest.mark.services

SHOP = "import django; django.setup(); from tests.services import celery"
"""What a program of the shop begins with: it knows its Celery application, as a project's settings make it."""
OUTAGE_SECONDS = float(os.environ.get("SHOPSEARCH_OUTAGE_SECONDS", "3"))


class Street:
    """A shop with all that it depends on, each in a process of its own."""

    def __init__(self, folder):
        self.gate = folder / "gate"
        self.database = folder / "shop.sqlite3"
        self.redis = RedisProcess()
        self.milvus = MilvusLiteProcess(folder / "milvus" / "data")
        options = {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        }
        shopsearch = {
            "EMBEDDER": {
                "BACKEND": "tests.faults.embedders.GatedColourEmbedder",
                "OPTIONS": {"gate": str(self.gate)},
            },
            "VECTOR_STORE": {
                "BACKEND": "shopsearch.vector_stores.milvus.MilvusStore",
                "OPTIONS": {"uri": self.milvus.uri},
            },
            "BATCH_SIZE": 16,
            "LEASE_SECONDS": 5,
            "SWEEP_SECONDS": 1,
            "MAX_BACKOFF_SECONDS": 2,
        }
        self.environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.services.settings",
            "PYTHONPATH": str(ROOT),
            "TEST_DATABASE": json.dumps(
                {"ENGINE": "django.db.backends.sqlite3", "NAME": str(self.database), "OPTIONS": options}
            ),
            "TEST_MEDIA_ROOT": str(folder / "media"),
            "TEST_BROKER_URL": self.redis.url,
            "TEST_SHOPSEARCH": json.dumps(shopsearch),
        }
        self.worker = CeleryWorkerProcess(self.environment, folder / "worker.log")

    def start(self):
        self.run("-m", "django", "migrate", "--run-syncdb", "--verbosity", "0")
        self.redis.start()
        self.milvus.start()
        self.worker.start()
        return self

    def stop(self):
        for part in (self.worker, self.milvus, self.redis):
            part.stop()

    def run(self, *arguments):
        """The standard output of a Python program of this shop."""
        program = [sys.executable, *arguments]
        return subprocess.run(
            program, cwd=ROOT, env=self.environment, stdout=subprocess.PIPE, text=True, check=True
        ).stdout

    def unsettled(self):
        """How many rows are not at rest, and how many changes are not folded yet."""
        with sqlite3.connect(self.database, timeout=20) as database:
            rows = "SELECT count(*) FROM shopsearch_indexentry WHERE state NOT IN ('indexed', 'failed')"
            changes = "SELECT count(*) FROM shopsearch_change"
            related = "SELECT count(*) FROM shopsearch_relatedchange"
            return sum(database.execute(query).fetchone()[0] for query in (rows, changes, related))

    def status(self):
        """What `shopsearch_status` exits with and says."""
        call = "from django.core.management import call_command; call_command('shopsearch_status')"
        program = [sys.executable, "-c", f"{SHOP}; {call}"]
        done = subprocess.run(
            program, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def rest(self):
        wait_until(lambda: not self.unsettled(), "every row is at rest", seconds=90)

    def keep(self, seed):
        return ShopkeeperProcess(self, seed)


class ShopkeeperProcess:
    """Within ``with``, products are saved and deleted; afterwards ``report`` says how that went."""

    def __init__(self, street, seed):
        self.program = [sys.executable, "-m", "tests.faults.shopkeeper", str(seed)]
        self.street = street

    def __enter__(self):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen(
            self.program, cwd=ROOT, env=self.street.environment, text=True, **pipes
        )
        wait_until(self.street.unsettled, "the shop has opened")
        return self

    def __exit__(self, *error):
        output, _ = self.process.communicate(timeout=60)
        self.report = json.loads(output)


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    if shutil.which("redis-server") is None:
        pytest.skip("redis-server is not installed")
    street = Street(tmp_path_factory.mktemp("street"))
    try:
        yield street.start()
    finally:
        street.gate.unlink(missing_ok=True)
        street.stop()


def kill_the_worker_in_the_middle_of_a_batch(street):
    reached = street.gate.with_suffix(".reached")
    reached.unlink(missing_ok=True)
    street.gate.touch()
    wait_until(reached.exists, "the worker embeds a batch")
    street.worker.kill()
    street.gate.unlink()
    street.worker.start()


def stop_the_broker(street):
    street.redis.stop()
    time.sleep(OUTAGE_SECONDS)
    street.redis.start()


def stop_the_store(street):
    street.milvus.stop()
    time.sleep(OUTAGE_SECONDS)
    street.milvus.start()


def stop_everything_at_once(street):
    kill = [street.redis.stop, street.milvus.kill, street.worker.kill]
    for part in kill:
        part()
    time.sleep(OUTAGE_SECONDS)
    for part in (street.milvus, street.redis, street.worker):
        part.start()


@pytest.mark.parametrize(
    "happens",
    [
        kill_the_worker_in_the_middle_of_a_batch,
        pytest.param(stop_the_broker, marks=pytest.mark.nightly),
        pytest.param(stop_the_store, marks=pytest.mark.nightly),
        stop_everything_at_once,
    ],
)
def test_whatever_dies_every_save_succeeds_and_at_rest_the_collection_is_the_shop(street, happens):
    with street.keep(seed=len(happens.__name__)) as keeper:
        happens(street)
    back = time.monotonic()
    street.rest()
    seconds = round(time.monotonic() - back, 1)
    found = json.loads(street.run("-m", "tests.faults.oracle"))
    report = {**keeper.report, **found, "seconds_to_rest": seconds}
    sys.stdout.write(f"{json.dumps(report)}\n")  # seen with -s
    assert keeper.report["failed"] == []
    assert sum(keeper.report["did"].values()) > 0
    images = found.pop("images")
    assert images > 0
    assert found == {"lost": 0, "ghosts": 0, "stale": [], "failed_rows": [], "rows": images}


def test_a_folder_of_the_store_that_is_deleted_is_told_at_once_and_healed_by_what_beat_sends(street):
    street.run(
        "-c", f"{SHOP}; from tests.shop.pictures import product; [product((9 * n, 0, 0)) for n in range(20)]"
    )
    street.rest()
    street.milvus.stop()
    shutil.rmtree(street.milvus.data_dir)
    street.milvus.start()
    code, said = street.status()
    assert code == 1
    assert "the store holds 0 of the" in said
    street.run(
        "-c",
        f"{SHOP}; from shopsearch.tasks import reconcile; reconcile.apply_async(queue='shopsearch-index')",
    )
    wait_until(lambda: street.status()[0] == 0, "status is well again", seconds=90)
    street.rest()
    found = json.loads(street.run("-m", "tests.faults.oracle"))
    images = found.pop("images")
    assert images > 0
    assert found == {"lost": 0, "ghosts": 0, "stale": [], "failed_rows": [], "rows": images}
