"""A rebuild between processes that are killed and processes that come together, on SQLite and on PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest

from tests import ROOT
from tests.indexing.rebuilds import COLOUR
from tests.services.waiting import wait_until

pytestmark = pytest.mark.services

IMAGES, AT_ONCE = 60, 4
FILL = f"""
import django; django.setup()
from django.core.management import call_command
from tests.shop.pictures import product
call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
for number in range({IMAGES}):
    product((4 * number, 255 - 4 * number, 90), title=str(number))
call_command("shopsearch_reindex", here=True, verbosity=0)
"""
REBUILD = """
import django; django.setup()
from django.core.management import call_command
call_command("shopsearch_reindex", rebuild=True, here=True, verbosity=0)
"""
WORK = """
import time
import django; django.setup()
from shopsearch.indexing import batch, rebuild
from shopsearch.models import Collection
while Collection.objects.filter(state=Collection.State.BUILDING).exists():
    rebuild.advance()
    if not batch.index_batch().claimed:
        time.sleep(0.05)
"""
REPORT = """
import json
import django; django.setup()
from shopsearch.backends import get_vector_store
from shopsearch.search import search
from tests.indexing.rebuilds import live, states
print(json.dumps({
    "states": states(), "space": live().space, "entities": get_vector_store().count(live().name),
    "at_rest": live().stored.filter(entry__state="indexed").count(),
    "found": len(search("red", limit=100).results),
}))
"""


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.nightly)])
def database_of_many(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").create_database("rebuilds")
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "db"), "OPTIONS": options}


def test_a_rebuild_that_was_killed_is_finished_by_two_others_and_embeds_nothing_twice(
    database_of_many, milvus_lite, tmp_path
):
    log = tmp_path / "embedded"
    log.touch()
    shopsearch = {
        "EMBEDDER": COLOUR,
        "VECTOR_STORE": {
            "BACKEND": "shopsearch.vector_stores.milvus.MilvusStore",
            "OPTIONS": {"uri": milvus_lite},
        },
        "COLLECTION_PREFIX": f"killed_{database_of_many['ENGINE'].rpartition('.')[2]}",
        "BATCH_SIZE": 8,
        "LEASE_SECONDS": 10,
    }
    environ = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "PYTHONPATH": str(ROOT),
        "TEST_DATABASE": json.dumps(database_of_many),
        "TEST_MEDIA_ROOT": str(tmp_path / "media"),
        "TEST_SHOPSEARCH": json.dumps(shopsearch),
    }
    subprocess.run([sys.executable, "-c", FILL], env=environ, check=True, cwd=ROOT)
    other = {
        "BACKEND": "tests.indexing.rebuilds.LoggedEmbedder",
        "OPTIONS": {"log": str(log), "batch_size": AT_ONCE},
    }
    environ["TEST_SHOPSEARCH"] = json.dumps(shopsearch | {"EMBEDDER": other, "FORMER_EMBEDDER": COLOUR})

    def start(program):
        return subprocess.Popen([sys.executable, "-c", program], env=environ, cwd=ROOT)

    def embedded():
        return log.read_text().split()

    killed = start(REBUILD)
    wait_until(lambda: len(embedded()) >= IMAGES // 3, "a third is embedded", seconds=240)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(embedded()) < IMAGES
    others = [start(REBUILD), start(WORK)]
    assert [each.wait(timeout=300) for each in others] == [0, 0]

    run = subprocess.run(
        [sys.executable, "-c", REPORT], env=environ, check=True, capture_output=True, cwd=ROOT
    )
    assert json.loads(run.stdout) == {
        "states": ["retired", "live"],
        "space": "mirror",
        "entities": IMAGES,
        "at_rest": IMAGES,
        "found": IMAGES,
    }
    times = Counter(embedded())
    assert len(times) >= IMAGES
    in_hand = sum(times.values()) - len(times)
    assert in_hand <= AT_ONCE + 2, "only what was in the killed process's hands, and the two queries"
