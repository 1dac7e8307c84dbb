"""shopsearch_status, as an operator uses it; and the reference of both commands."""

import json
import socket
from io import StringIO

import pytest
from celery import current_app
from django.core.management import BaseCommand, CommandError, call_command
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from redis import Redis

from shopsearch.backends import get_vector_store
from shopsearch.indexing import outbox, progress, rebuild
from shopsearch.management.commands import shopsearch_reindex, shopsearch_status
from shopsearch.models import Calibration, Change, IndexEntry, ProductImage
from shopsearch.registry import index_for
from shopsearch.testing import MemoryStore
from tests import ROOT
from tests.commands.running import INDEX, away, reindex, row, status, status_json, the_index
from tests.shop.store import live_name

pytestmark = pytest.mark.django_db
REFERENCE = ROOT / "docs/reference-commands.md"


@pytest.fixture
def patient(settings):
    """Half of the images may fail."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "MAX_FAILED_SHARE": 0.5}


def calibrate(name=INDEX):
    Calibration.objects.create(
        index=name, space="colour", kind="text", threshold=0, weight=0, typical=[], pairs=9
    )


def problems(level=None):
    report, code = status_json()
    assert code == (0 if all(each["level"] == "note" for each in report["problems"]) else 1)
    return [each["message"] for each in report["problems"] if level in (None, each["level"])]


def test_all_is_well_when_it_is(red, no_workers):
    reindex("--here")
    assert problems() == [f"{INDEX}: no answer says whether it is a good match."]
    assert "All is well." not in status()[0]
    calibrate()
    assert problems() == []
    assert "All is well." in status()[0]


def test_the_report(patient, red, broken, no_workers):
    with pytest.raises(CommandError):
        reindex("--here")
    calibrate()
    report, code = status_json()
    assert code == 0
    assert report["healthy"] is True
    assert report["problems"] == [
        {
            "index": INDEX,
            "level": "note",
            "message": f"{INDEX}: 1 of 2 images cannot be indexed.",
            "detail": f"Image {broken.pk}: {row(broken).get().error}",
        }
    ]
    index = the_index(report)
    assert index == {
        "name": INDEX,
        "states": {"pending": 0, "claimed": 0, "indexed": 1, "failed": 1, "deleting": 0},
        "oldest_waiting_seconds": None,
        "collection": live_name(index_for(ProductImage)),
        "space": "colour",
        "retrieval": "vectors",
        "building": [],
        "entities": 1,
        "failures": [{"image_id": str(broken.pk), "error": row(broken).get().error}],
    }
    assert report["model"] == {
        "backend": "shopsearch.testing.ColourEmbedder",
        "space": "colour",
        "dimension": 96,
        "error": "",
    }
    assert report["broker"]["name"].startswith("memory://")
    assert report["broker"]["reachable"] is True
    assert report["workers"]["queue"] == "shopsearch-index"


def test_the_table_reads_in_80_columns(patient, red, broken, no_workers):
    with pytest.raises(CommandError):
        reindex("--here")
    text, code = status()
    assert code == 0
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "1 indexed, 1 failed" in text
    assert f"failed     {broken.pk}: " in text
    assert "Search works; there is more to do: see the notes above." in text


def test_many_images_that_fail_are_no_good_health(red, broken, no_workers):
    with pytest.raises(CommandError):
        reindex("--here")
    assert problems("answers") == [f"{INDEX}: 1 of 2 images cannot be indexed."]
    assert "Something is wrong: see above." in status()[0]


def test_images_that_nobody_had_indexed(red, no_workers):
    Change.objects.all().delete()
    assert problems("answers") == [f"{INDEX}: none of the shop's images is indexed."]


def test_a_store_that_holds_less_or_more_than_the_rows_say(red, blue, no_workers):
    reindex("--here")
    calibrate()
    name = live_name(index_for(ProductImage))
    get_vector_store().delete(name, [index_for(ProductImage).entity_id(red.pk)])
    assert problems("answers") == [f"{INDEX}: the store holds 1 of the 2 images that are indexed."]
    call_command("shopsearch_reconcile", "--fix", stdout=StringIO())
    reindex("--here")
    assert problems() == []
    IndexEntry.objects.filter(image_id=red.pk).delete()
    assert problems("work") == [f"{INDEX}: the store holds 2 images, and 1 are indexed."]


def test_rebuilds_that_do_not_go_on(red, no_workers):
    reindex("--here")
    calibrate()
    index = index_for(ProductImage)
    new = rebuild.begin(index)
    assert problems() == []
    long_ago = {"begun_at": "2020-01-01T00:00Z"}
    new.row.update(**long_ago)
    IndexEntry.objects.update(indexed_at="2020-01-01T00:00Z")
    [stuck] = problems("work")
    assert stuck.endswith("and a rebuild is not done.")
    rebuild.pause(index)
    assert problems("note") == [f"{INDEX}: a rebuild is paused."]
    new.row.update(error="The disk is full.")
    assert problems("work") == [f"{INDEX}: a rebuild is paused."]
    assert "The disk is full." in status()[0]


@pytest.mark.services
def test_a_broker_that_refuses_writes(monkeypatch, redis_server):
    monkeypatch.setitem(current_app.conf, "broker_url", redis_server.url)
    with Redis.from_url(redis_server.url) as client:
        assert status_json()[0]["broker"]["error"] == ""
        client.config_set("min-replicas-to-write", 1)  # none is there: it answers, and takes nothing
        report, code = status_json()
        client.config_set("min-replicas-to-write", 0)
    assert code == 1
    assert "NOREPLICAS" in report["broker"]["error"]


@pytest.mark.parametrize("folded", [False, True])
def test_how_long_the_oldest_waits(red, no_workers, folded):
    Change.objects.update(available_at="2020-01-01T00:00Z")
    outbox.fold() if folded else None
    row(red).update(changed_at="2020-01-01T00:00Z")
    report, code = status_json()
    assert code == 1
    assert the_index(report)["oldest_waiting_seconds"] > 100_000_000
    assert "an image has been waiting to be indexed for" in problems("work")[0]
    assert "the oldest waiting for" in status()[0]
    assert " days" in status()[0]


def test_rows_of_an_index_that_is_not_registered_any_more_are_shown(no_workers):
    IndexEntry.objects.create(index="gone_image", image_id="1")
    report, _ = status_json()
    assert the_index(report, "gone_image")["states"]["pending"] == 1
    assert the_index(report, "gone_image")["collection"] is None


def test_a_store_that_is_away_is_said_and_the_exit_code_is_1(red, monkeypatch, no_workers):
    monkeypatch.setattr(MemoryStore, "collections", away)
    report, code = status_json()
    assert code == 1
    assert report["healthy"] is False
    assert report["vector_store"]["reachable"] is False
    assert "vector store" in report["vector_store"]["error"]
    assert the_index(report)["entities"] is None
    text, code = status()
    assert code == 1
    assert "Store        AWAY: The vector store cannot be reached" in text


def test_a_store_that_never_answers_is_given_up(monkeypatch, no_workers):
    import threading

    answered = threading.Event()
    monkeypatch.setattr(MemoryStore, "collections", lambda store: answered.wait(60))
    monkeypatch.setattr(shopsearch_status, "STORE_SECONDS", 0.01)
    report, code = status_json()
    answered.set()
    assert code == 1
    assert "No answer within" in report["vector_store"]["error"]


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_refuses_is_said_without_its_password(monkeypatch, scheme):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))  # bound, but nobody listens
        port = listener.getsockname()[1]
        monkeypatch.setitem(current_app.conf, "broker_url", f"{scheme}://user:secret@127.0.0.1:{port}//")
        text, code = status("--json")
    report = json.loads(text)
    assert code == 1
    assert report["broker"]["reachable"] is False
    assert report["broker"]["error"]
    assert report["workers"]["answering"] is None
    assert "secret" not in text


@pytest.mark.parametrize("scheme", ["redis", "amqp"])
def test_a_broker_that_accepts_and_never_answers_is_given_up(monkeypatch, scheme):
    monkeypatch.setattr(shopsearch_status, "BROKER_SECONDS", 0.5)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        address = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}//"
        monkeypatch.setitem(current_app.conf, "broker_url", address)
        report, code = status_json()
    assert code == 1
    assert report["broker"]["reachable"] is False


def test_no_broker_at_all_is_said(monkeypatch):
    monkeypatch.setitem(current_app.conf, "broker_url", None)
    report, code = status_json()
    assert code == 1
    assert "W001" in report["broker"]["error"]


@override_settings(
    SHOPSEARCH={
        "EMBEDDER": {"BACKEND": "shopsearch.testing.NoSuchEmbedder"},
        "VECTOR_STORE": {"BACKEND": "shopsearch.testing.MemoryStore"},
    }
)
def test_a_model_that_cannot_be_had_is_said(no_workers):
    report, code = status_json()
    assert code == 1
    assert "NoSuchEmbedder" in report["model"]["error"]
    assert the_index(report)["collection"] == "", "what answers is in the database"
    assert "Model        SHOPSEARCH" in status()[0]


def test_a_database_that_is_away_is_said(monkeypatch, no_workers):
    from django.db import OperationalError

    def refuse():
        raise OperationalError("could not connect to server")

    monkeypatch.setattr(progress, "counts", refuse)
    report, code = status_json()
    assert code == 1
    assert report["database"]["error"] == "could not connect to server"
    assert the_index(report)["states"] is None
    assert "rows       unknown" in status()[0]


# The reference


@pytest.mark.parametrize(
    ("command", "module"),
    [("shopsearch_reindex", shopsearch_reindex), ("shopsearch_status", shopsearch_status)],
)
def test_every_option_is_in_the_reference(command, module):
    parser = module.Command().create_parser("manage.py", command)
    inherited = BaseCommand().create_parser("manage.py", command)
    own = {option for action in parser._actions for option in action.option_strings}
    own -= {option for action in inherited._actions for option in action.option_strings}
    section = REFERENCE.read_text().split(f"## {command}\n")[1].split("\n## ")[0]
    assert {option for option in own if option not in section} == set()


def test_every_key_of_the_status_is_in_the_reference(no_workers):
    section = REFERENCE.read_text().split("## shopsearch_status\n")[1].split("\n## ")[0]
    report, _ = status_json()

    def keys(value):
        if isinstance(value, dict):
            yield from value
            for each in value.values():
                yield from keys(each)
        elif isinstance(value, list):
            for each in value:
                yield from keys(each)

    states = set(IndexEntry.State.values)
    assert {key for key in keys(report) if key not in states and f"`{key}`" not in section} == set()


def test_milvus_lite_that_is_not_started_is_said_with_its_command(monkeypatch, no_workers):
    monkeypatch.setattr(MemoryStore, "collections", away)
    monkeypatch.setattr(MemoryStore, "uri", "http://127.0.0.1:19530", raising=False)
    report, code = status_json()
    assert code == 1
    assert "is `manage.py shopsearch_milvus_lite` running?" in report["vector_store"]["error"]


def test_tables_that_are_not_migrated_are_said_with_their_command(no_workers):
    MigrationRecorder.Migration.objects.filter(app="shopsearch").latest("pk").delete()
    report, code = status_json()
    assert code == 1
    assert "run `manage.py migrate`" in report["database"]["error"]
