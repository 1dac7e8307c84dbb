"""DjangoTasksWakeUp passes the contract, and `manage.py check` says what is wrong with its backend."""

import importlib
import io
import os
import subprocess
import sys
from importlib.util import find_spec

import django
import pytest
from django.core.management import call_command

from shopsearch import broker
from shopsearch.conf import build
from shopsearch.models import Change, IndexEntry, ProductImage
from shopsearch.registry import index_for
from tests import ROOT
from tests.broker.contract import WakeUpContract
from tests.checks.test_checks import messages
from tests.shop.pictures import RED, product

BACKEND = "shopsearch.broker.django_tasks.DjangoTasksWakeUp"
QUEUES = ["default", "shopsearch-index", "shopsearch-rerank"]
has_tasks = pytest.mark.skipif(
    django.VERSION < (6, 0), reason="Django's tasks framework came with Django 6.0"
)


def choose(settings, path, queues=QUEUES, **options):
    settings.TASKS = {"default": {"BACKEND": path, "QUEUES": queues}}
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "WAKE_UP": {"BACKEND": BACKEND, "OPTIONS": options}}


class Kept:
    """What waits in a backend in memory."""

    def __init__(self):
        from tests.broker import kept_tasks

        kept_tasks.RESULTS.clear()
        self.kept = kept_tasks

    def waiting(self):
        return [f"shopsearch.{result.task.name}" for result in self.kept.waiting()]

    def work(self):
        self.kept.work()


@has_tasks
@pytest.mark.django_db
class TestDjangoTasks(WakeUpContract):
    backend = BACKEND

    @pytest.fixture
    def carrier(self, settings):
        settings.TASKS = {"default": {"BACKEND": "tests.broker.kept_tasks.KeptBackend", "QUEUES": QUEUES}}
        return Kept()

    def test_a_result_that_was_cleared_away_makes_room_for_the_next(self, wake_up, carrier):
        wake_up.send(broker.TASK)
        carrier.kept.RESULTS.clear()
        assert wake_up.send(broker.TASK)


@has_tasks
@pytest.mark.django_db(transaction=True)
def test_with_djangos_immediate_backend_everything_is_indexed_when_the_save_returns(settings):
    choose(settings, "django.tasks.backends.immediate.ImmediateBackend")
    product(*[RED] * 3)
    assert set(IndexEntry.objects.values_list("state", flat=True)) == {"indexed"}
    settings.DEBUG = False
    assert "waits for the embedder" in messages("W004")[0].msg


@has_tasks
@pytest.mark.django_db(transaction=True)
def test_with_djangos_immediate_backend_a_save_succeeds_whatever_indexing_raises(
    settings, monkeypatch, caplog
):
    def broken():
        raise ArithmeticError("a mistake in indexing")

    monkeypatch.setattr("shopsearch.indexing.batch.index_batch", broken)
    choose(settings, "django.tasks.backends.immediate.ImmediateBackend")
    product(RED)
    assert "a mistake in indexing" in caplog.text


@has_tasks
def test_W001_a_backend_that_runs_nothing(settings):
    choose(settings, "django.tasks.backends.dummy.DummyBackend")
    assert "DummyBackend" in messages("W001")[0].msg
    assert not broker.has_workers()


@has_tasks
def test_E014_queues_that_the_backend_lacks_or_a_backend_that_tasks_lacks(settings):
    choose(settings, "tests.broker.kept_tasks.KeptBackend", queues=["default", "shopsearch-rerank"])
    assert "lacks the queue shopsearch-index" in messages("E014")[0].msg
    assert str(["default", "shopsearch-rerank", "shopsearch-index"]) in messages("E014")[0].hint
    choose(settings, "tests.broker.kept_tasks.KeptBackend", backend="other")
    assert "TASKS has default" in messages("E014")[0].hint
    choose(settings, "tests.broker.kept_tasks.KeptBackend", queues=[])
    assert messages("E014") == []


@has_tasks
@pytest.mark.django_db
def test_shopsearch_sweep_wakes_the_workers_once_where_something_is_due(settings, monkeypatch):
    choose(settings, "tests.broker.kept_tasks.KeptBackend")
    woken = []
    monkeypatch.setattr(broker, "wake", lambda: woken.append(True))
    call_command("shopsearch_sweep", "--once")
    Change.objects.note(index_for(ProductImage), [1])
    call_command("shopsearch_sweep", "--once", stdout=io.StringIO())
    assert woken == [True]


@pytest.mark.skipif(django.VERSION >= (6, 0), reason="Django has its tasks framework here")
def test_E003_a_django_without_a_tasks_framework(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "WAKE_UP": {"BACKEND": BACKEND}}
    assert "came with 6.0" in messages("E003")[0].msg
    with pytest.raises(ImportError):
        importlib.import_module("shopsearch.tasks.django")


def test_E003_what_is_no_way_to_wake(settings):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "WAKE_UP": {"BACKEND": "shopsearch.testing.ColourEmbedder"}}
    assert "is not a WakeUp" in messages("E003")[0].msg
    with pytest.raises(Exception, match="is not a WakeUp"):
        build("WAKE_UP", broker.WakeUp)


# With workers of django-tasks-db

SAVES_AND_ENDS = """
import django; django.setup()
from django.core.management import call_command
from tests.shop.pictures import RED, product
call_command("migrate", run_syncdb=True, verbosity=0)
for _ in range(3):
    product(RED)
"""
IS_INDEXED = """
import django; django.setup()
from shopsearch.models import IndexEntry
from django_tasks_db.models import DBTaskResult
print(sorted(IndexEntry.objects.values_list("state", flat=True)))
print(sorted(set(DBTaskResult.objects.values_list("status", "queue_name"))))
"""


@has_tasks
@pytest.mark.skipif(not find_spec("django_tasks_db"), reason="django-tasks-db is not installed")
def test_a_worker_of_django_tasks_db_indexes_what_a_process_saved_that_ended_at_once(tmp_path):
    def run(*command):
        environment = {
            "DJANGO_SETTINGS_MODULE": "tests.broker.database_tasks",
            "SHOPSEARCH_TEST_FILE": str(tmp_path / "shop.sqlite3"),
        }
        done = subprocess.run(
            [sys.executable, *command],
            cwd=ROOT,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    run("-c", SAVES_AND_ENDS)
    run("-m", "django", "db_worker", "--batch", "--queue-name", "shopsearch-index", "--no-startup-delay")
    shown = run("-c", IS_INDEXED)
    assert shown.splitlines() == ["['indexed', 'indexed', 'indexed']", "[('SUCCESSFUL', 'shopsearch-index')]"]
