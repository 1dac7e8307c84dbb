"""shopsearch_reindex and shopsearch_status, as an operator uses them."""

import json
import socket
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from celery import current_app
from django.core.files.base import ContentFile
from django.core.management import BaseCommand, CommandError, call_command
from django.db import connection
from django.test import override_settings
from django.test.utils import CaptureQueriesContext
from PIL import Image

from shopsearch import indexing, outbox, wakeups
from shopsearch.backends import collection_of, get_embedder, get_vector_store
from shopsearch.exceptions import VectorStoreError
from shopsearch.management.commands import shopsearch_reindex, shopsearch_status
from shopsearch.models import IndexEntry, ProductImage
from shopsearch.registry import index_for
from shopsearch.testing import MemoryStore
from tests.shop.models import Product

pytestmark = pytest.mark.django_db
INDEX = "shopsearch_productimage"
REFERENCE = Path(__file__).parent.parent / "docs/reference-commands.md"


def picture(colour, name="picture.png"):
    content = BytesIO()
    Image.new("RGB", (40, 40), colour).save(content, "PNG")
    return ContentFile(content.getvalue(), name=name)


@pytest.fixture(autouse=True)
def _fresh_store(monkeypatch):
    monkeypatch.setattr(shopsearch_status, "PING_SECONDS", 0.05)  # nobody answers on a broker in memory
    get_vector_store().clear()
    yield
    get_vector_store().clear()


@pytest.fixture
def red():
    return ProductImage.objects.create(product=Product.objects.create(title="mug"), image=picture("red"))


@pytest.fixture
def blue():
    return ProductImage.objects.create(product=Product.objects.create(title="cup"), image=picture("blue"))


@pytest.fixture
def broken():
    product = Product.objects.create(title="shard")
    return ProductImage.objects.create(product=product, image=ContentFile(b"no picture", name="shard.png"))


@pytest.fixture
def workers(monkeypatch):
    """Workers that are woken and do everything at once."""

    def work():
        for _ in indexing.index_pending():
            pass

    monkeypatch.setattr(wakeups, "send", work)
    monkeypatch.setitem(current_app.conf, "broker_url", "memory://")


@pytest.fixture
def no_workers(monkeypatch):
    monkeypatch.setattr(wakeups, "send", lambda: True)
    monkeypatch.setitem(current_app.conf, "broker_url", "memory://")


def reindex(*arguments):
    out = StringIO()
    call_command("shopsearch_reindex", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def states():
    return dict(IndexEntry.objects.values_list("image_id", "state"))


def entities():
    return get_vector_store().count(collection_of(index_for(ProductImage)))


# shopsearch_reindex


def test_reindexing_marks_everything_and_watches_the_workers_do_it(red, blue, workers):
    IndexEntry.objects.all().delete()  # as if they had come by bulk_create
    assert "Done: 2 images" in reindex()
    assert states() == {str(red.pk): "indexed", str(blue.pk): "indexed"}
    assert entities() == 2


def test_here_does_the_work_without_workers(red, blue, no_workers):
    assert "Done: 2 images" in reindex("--here")
    assert entities() == 2


def test_reindexing_again_embeds_nothing(red, blue, no_workers):
    reindex("--here")
    embedded = get_embedder().embedded
    reindex("--here")
    assert get_embedder().embedded == embedded


def test_reindexing_forgets_images_that_are_gone(red, blue, no_workers):
    reindex("--here")
    ProductImage.objects.filter(pk=red.pk)._raw_delete("default")  # no signal
    reindex("--here")
    assert states() == {str(blue.pk): "indexed"}
    assert entities() == 1


def test_one_index_can_be_named(red, no_workers):
    assert INDEX not in reindex("--index", "shop_artwork", "--here")
    assert states() == {str(red.pk): "indexed"}  # --here takes what is due, whichever index it is of


def test_an_index_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(CommandError, match="shop_artwork, shop_posterimage, shopsearch_productimage"):
        reindex("--index", "shop_mugs")


def test_failed_images_end_the_command_with_their_number_and_reasons(red, broken, no_workers):
    with pytest.raises(CommandError) as caught:
        reindex("--here")
    assert caught.value.returncode == 1
    assert "1 image cannot be indexed" in str(caught.value)
    assert f"{INDEX} {broken.pk}: " in str(caught.value)
    assert states() == {str(red.pk): "indexed", str(broken.pk): "failed"}


def test_only_what_failed_is_tried_again(red, broken, no_workers):
    with pytest.raises(CommandError):
        reindex("--here")
    broken.image.storage.delete(broken.image.name)
    broken.image.storage.save(broken.image.name, picture("green"))
    assert "Done: 1 image" in reindex("--failed", "--here")
    assert entities() == 2


def row(image):
    return IndexEntry.objects.filter(image_id=image.pk)


def replace_file(image, colour):
    image.image.storage.delete(image.image.name)
    image.image.storage.save(image.image.name, picture(colour))


CHANGES = {
    "1 new": lambda image: row(image).delete(),
    "1 unfinished": lambda image: row(image).update(state="failed"),
    "1 in another collection": lambda image: row(image).update(collection="old"),
    "1 with another picture": lambda image: replace_file(image, "green"),
    "1 with other fields": lambda image: Product.objects.filter(pk=image.product_id).update(price=5),
    "1 gone": lambda image: Product.objects.filter(pk=image.product_id).update(published=False),
}


@pytest.mark.parametrize("reason", CHANGES)
def test_only_what_differs_is_looked_at(red, blue, no_workers, reason):
    reindex("--here")
    assert f"{INDEX}: 0 images would be looked at\n" in reindex("--changed-only", "--dry-run")
    CHANGES[reason](red)
    before = row(blue).get().version
    assert f"{INDEX}: 1 image would be looked at: {reason}\n" in reindex("--changed-only", "--dry-run")
    assert f"{INDEX}: 1 image to look at\n" in reindex("--changed-only", "--here")
    assert f"{INDEX}: 0 images would be looked at\n" in reindex("--changed-only", "--dry-run")
    assert row(blue).get().version == before


def test_a_file_that_cannot_be_read_is_a_difference(red, no_workers):
    reindex("--here")
    red.image.storage.delete(red.image.name)
    with pytest.raises(CommandError, match="missing"):
        reindex("--changed-only", "--here")


def test_a_dry_run_counts_and_writes_nothing(red, blue, no_workers):
    reindex("--here")
    ProductImage.objects.filter(pk=red.pk)._raw_delete("default")
    before = list(IndexEntry.objects.order_by("pk").values())
    assert f"{INDEX}: 1 image would be looked at, and 1 that are gone forgotten" in reindex("--dry-run")
    assert "0 images that failed would be tried again" in reindex("--dry-run", "--failed")
    assert list(IndexEntry.objects.order_by("pk").values()) == before


def test_without_waiting_the_work_is_left_to_the_workers(red, no_workers):
    assert "workers go on by themselves" in reindex("--no-wait")
    assert states() == {str(red.pk): "pending"}


def test_a_broker_that_is_away_is_said_and_the_work_is_kept(red, monkeypatch, no_workers):
    def refuse():
        raise ConnectionRefusedError("refused")

    monkeypatch.setattr(wakeups, "send", refuse)
    assert "The broker is away (refused)" in reindex("--no-wait")
    assert states() == {str(red.pk): "pending"}


def test_when_nothing_moves_one_is_told_once_how_to_start_a_worker_and_control_c_is_clean(
    red, monkeypatch, no_workers
):
    polls = iter(range(5))

    def interrupted_after_a_while(seconds):
        if next(polls) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(shopsearch_reindex, "STALL_SECONDS", 0)
    monkeypatch.setattr(shopsearch_reindex.time, "sleep", interrupted_after_a_while)
    out = StringIO()
    with pytest.raises(SystemExit) as exit_code:
        call_command("shopsearch_reindex", stdout=out, stderr=out)
    assert exit_code.value.code == 130
    assert out.getvalue().count("Nothing has moved") == 1
    assert "worker -P solo -Q shopsearch-index" in out.getvalue()
    assert "Stopped watching. 1 image go on in the workers." in out.getvalue()
    assert states() == {str(red.pk): "pending"}


def test_a_store_that_is_away_leaves_the_images_waiting_and_says_why(red, monkeypatch, no_workers):
    monkeypatch.setattr(MemoryStore, "upsert", away)
    with pytest.raises(CommandError, match=r"1 image could not be done now and are tried again: .*store"):
        reindex("--here")
    assert states() == {str(red.pk): "pending"}


def away(*arguments, **options):
    raise VectorStoreError


def test_looking_for_differences_takes_as_many_queries_for_many_images_as_for_few(no_workers):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            reindex("--changed-only", "--dry-run", "--index", INDEX)
        return len(captured)

    product = Product.objects.create(title="mug")
    for colour in ("red", "blue"):
        ProductImage.objects.create(product=product, image=picture(colour))
    reindex("--here")
    few = queries()
    for colour in ("green", "white", "black"):
        ProductImage.objects.create(product=product, image=picture(colour))
    reindex("--here")
    assert queries() == few


# shopsearch_status


def status(*arguments):
    """What it prints, and its exit code."""
    out = StringIO()
    try:
        call_command("shopsearch_status", *arguments, stdout=out)
    except SystemExit as end:
        return out.getvalue(), end.code
    return out.getvalue(), 0


def status_json():
    text, code = status("--json")
    return json.loads(text), code


def the_index(report, name=INDEX):
    return next(index for index in report["indexes"] if index["name"] == name)


def test_all_is_well(red, broken, no_workers):
    with pytest.raises(CommandError):
        reindex("--here")
    report, code = status_json()
    assert code == 0
    assert report["healthy"] is True
    index = the_index(report)
    assert index == {
        "name": INDEX,
        "states": {"pending": 0, "claimed": 0, "indexed": 1, "failed": 1, "deleting": 0},
        "oldest_waiting_seconds": None,
        "collection": collection_of(index_for(ProductImage)),
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


def test_the_table_reads_in_80_columns(red, broken, no_workers):
    with pytest.raises(CommandError):
        reindex("--here")
    text, code = status()
    assert code == 0
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "1 indexed, 1 failed" in text
    assert f"failed     {broken.pk}: " in text
    assert "All is well." in text


def test_how_long_the_oldest_waits(red, no_workers):
    row(red).update(changed_at="2020-01-01T00:00Z")
    report, code = status_json()
    assert code == 0
    assert the_index(report)["oldest_waiting_seconds"] > 100_000_000
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
    assert the_index(report)["collection"] is None
    assert "Model        SHOPSEARCH" in status()[0]


def test_a_database_that_is_away_is_said(monkeypatch, no_workers):
    from django.db import OperationalError

    def refuse():
        raise OperationalError("could not connect to server")

    monkeypatch.setattr(outbox, "counts", refuse)
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
