"""The outbox between processes, on SQLite and on a real PostgreSQL."""

import json
import os
import signal
import subprocess
import sys
import uuid

import pytest

from tests import ROOT

pytestmark = pytest.mark.services

CLAIM_ALL = """
import django; django.setup()
from shopsearch.indexing import outbox
while outbox.has_due():
    print(*(entry.pk for entry in outbox.claim(32)), flush=True)
"""


KILLED = """
import django; django.setup()
import os, signal
from shopsearch.indexing import outbox
write = outbox._write
outbox._write = lambda *arguments: (write(*arguments), os.kill(os.getpid(), signal.SIGKILL))
outbox.fold()
"""
COUNT = """
import django; django.setup()
from shopsearch.indexing import outbox
from shopsearch.models import Change, IndexEntry
print(Change.objects.count(), IndexEntry.objects.count(), outbox.fold(), IndexEntry.objects.count())
"""


def environment(database):
    settings = {"DJANGO_SETTINGS_MODULE": "tests.services.settings", "TEST_DATABASE": json.dumps(database)}
    return {**os.environ, **settings, "PYTHONPATH": str(ROOT)}


@pytest.fixture(params=["sqlite", "postgresql"])
def database_of_many(request, tmp_path):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres").create_database(f"shop_{uuid.uuid4().hex}")
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path / "shop.sqlite3"),
        "OPTIONS": options,
    }


@pytest.fixture
def shop(database_of_many):
    """An environment whose database has noted 2,000 images, and that 100 of them are gone."""
    fill = "import django; django.setup(); from django.core.management import call_command as call;"
    fill += "call('migrate', run_syncdb=True, verbosity=0);"
    fill += (
        "from shopsearch import registry; from shopsearch.models import Change; index = registry.get_index();"
    )
    fill += (
        "Change.objects.note(index, range(2_000)); Change.objects.note(index, range(100), is_deletion=True)"
    )
    environ = environment(database_of_many)
    subprocess.run([sys.executable, "-c", fill], env=environ, check=True)
    return environ


def test_four_processes_never_claim_a_row_twice_and_leave_none(shop):
    workers = [
        subprocess.Popen([sys.executable, "-c", CLAIM_ALL], env=shop, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    taken = [worker.communicate(timeout=120)[0].split() for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0, 0]
    every = [pk for pks in taken for pk in pks]
    assert len(every) == len(set(every)) == 2_000


def test_a_worker_killed_between_the_rows_and_the_changes_it_folds_loses_nothing(shop):
    killed = subprocess.run([sys.executable, "-c", KILLED], env=shop, check=False)
    assert killed.returncode == -signal.SIGKILL
    counted = subprocess.run(
        [sys.executable, "-c", COUNT], env=shop, check=True, stdout=subprocess.PIPE, text=True
    )
    assert counted.stdout.split() == ["2100", "0", "1000", "1000"]


def test_the_outbox_does_on_postgresql_what_it_does_on_sqlite(postgres):
    arguments = [
        "-m",
        "pytest",
        "tests/indexing/test_outbox.py",
        "tests/indexing/test_changes.py",
        "tests/indexing/test_changes_together.py",
        "tests/indexing/test_pauses.py",
        "-q",
        "--ds",
        "tests.services.settings",
    ]
    run = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=environment(postgres.create_database("outbox")),
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout
