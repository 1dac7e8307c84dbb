"""TRUST_MODIFIED_TIME: a file is not read again while its storage says that it is as it was."""

import os
import time
from datetime import datetime
from pathlib import Path

import pytest
from django.db.models import QuerySet

from shopsearch.backends import get_embedder
from shopsearch.indexing import batch, outbox, rebuild
from shopsearch.indexing.outbox import Settlement
from shopsearch.indexing.reconcile import outstanding, reconcile
from shopsearch.models import Change, Collection, Hashes, IndexEntry, ProductImage, StoredImage
from shopsearch.registry import ImageIndex
from tests.indexing.rebuilds import work
from tests.shop.pictures import BLUE, RED, picture, product
from tests.shop.store import IMAGES, entities, entry, index_everything, looks, replace_file

pytestmark = pytest.mark.django_db
HOUR = 3_600


@pytest.fixture(autouse=True)
def trusting(settings):
    settings.SHOPSEARCH = settings.SHOPSEARCH | {"TRUST_MODIFIED_TIME": True}


@pytest.fixture
def read(monkeypatch):
    """The names of the files that were read."""
    names = []
    plain = ImageIndex.open_image
    monkeypatch.setattr(
        ImageIndex, "open_image", lambda self, image: names.append(image.image.name) or plain(self, image)
    )
    return names


def indexed(colour=RED, *, age=HOUR):
    """An image whose file was modified so many seconds ago."""
    image = product(colour).images.get()
    modify(image, age=age)
    index_everything()
    return image


def modify(image, *, age):
    then = time.time() - age
    os.utime(image.image.path, (then, then))


def replace(image, colour, *, age):
    """Another picture in the file of the same name."""
    Path(image.image.path).write_bytes(picture(colour).read())
    modify(image, age=age)


def look_again():
    Change.objects.note_all(IMAGES)
    return index_everything()


def test_a_file_that_is_as_it_was_is_not_read_again(read):
    indexed()
    assert [each.unchanged for each in look_again()] == [1]
    assert len(read) == 1


def test_without_the_option_the_content_is_read_each_time(read, settings):
    settings.SHOPSEARCH = settings.SHOPSEARCH | {"TRUST_MODIFIED_TIME": False}
    indexed()
    look_again()
    assert len(read) == 2
    assert not StoredImage.objects.exclude(file_version="").exists()


def test_another_file_of_the_same_name_is_read_and_indexed():
    image = indexed(RED)
    replace(image, BLUE, age=HOUR / 2)
    look_again()
    assert looks(image, BLUE)


def test_a_file_that_was_merely_touched_is_read_once_more_and_not_embedded(read):
    image = indexed()
    modify(image, age=HOUR / 2)
    for _ in range(3):
        assert [each.unchanged for each in look_again()] == [1]
    assert (len(read), get_embedder().embedded) == (2, 1)


def test_a_file_that_is_replaced_within_a_tick_of_the_storages_clock_is_read_again():
    image = indexed(RED, age=0)
    same = Path(image.image.path).stat()
    replace(image, BLUE, age=0)
    os.utime(image.image.path, ns=(same.st_atime_ns, same.st_mtime_ns))
    assert Path(image.image.path).stat().st_size == same.st_size
    look_again()
    assert looks(image, BLUE)


def test_what_is_trusted_is_name_size_and_time_and_reconciling_reads_the_content_all_the_same():
    image = indexed(RED)
    same = Path(image.image.path).stat()
    replace(image, BLUE, age=0)
    os.utime(image.image.path, ns=(same.st_atime_ns, same.st_mtime_ns))
    look_again()
    assert looks(image, RED)
    found = [each for portion in reconcile(IMAGES, fix=True) for each in portion.differences]
    assert [each.reason for each in found] == ["it has another picture now"]
    index_everything()
    assert looks(image, BLUE)


def test_reconciling_mends_it_too_where_a_collection_is_kept_for_a_rollback():
    image = indexed(RED)
    rebuild.begin(IMAGES)
    work()
    assert Collection.objects.filter(state=Collection.State.RETIRED).exists()
    same = Path(image.image.path).stat()
    replace(image, BLUE, age=0)
    os.utime(image.image.path, ns=(same.st_atime_ns, same.st_mtime_ns))
    list(reconcile(IMAGES, fix=True))
    index_everything()
    assert looks(image, BLUE)


def test_a_worker_of_the_former_code_leaves_nothing_that_is_trusted(monkeypatch):
    """While a new version is deployed, it records hashes beside the versions of earlier files."""
    image = indexed(RED)
    former = image.image.name
    record = QuerySet.bulk_create

    def record_as_before(self, rows, *, update_fields=(), **options):
        known = [each for each in update_fields if each != "file_version"]
        return record(self, rows, **options, **({"update_fields": known} if known else {}))

    with monkeypatch.context() as patched:
        patched.setattr(QuerySet, "bulk_create", record_as_before)
        replace_file(image, BLUE)
        index_everything()
    assert looks(image, BLUE)
    image.image = former
    image.save()
    index_everything()
    assert looks(image, RED)


def test_the_hour_of_a_project_without_time_zones_is_compared_with_its_own(read, settings):
    settings.USE_TZ = False
    indexed()
    look_again()
    assert len(read) == 1


class Refused(Exception):
    """As a bucket's client has an error of its own for what is missing and for what it may not say."""


def refuse(name):
    raise Refused("403: no HEAD for you")


@pytest.mark.parametrize(
    "said",
    [refuse, lambda name: datetime(2026, 1, 1), lambda name: None],
    ids=["refuses", "a time without a zone", "nothing"],
)
def test_a_storage_that_cannot_say_the_time_is_read_each_time(said, read, monkeypatch):
    image = product(RED).images.get()
    monkeypatch.setattr(image.image.storage, "get_modified_time", said)
    index_everything()
    assert [each.unchanged for each in look_again()] == [1]
    assert len(read) == 2
    assert looks(image, RED)


def test_a_missing_file_is_said_to_be_missing_whatever_the_storage_raises_for_its_time(monkeypatch):
    image = indexed()
    monkeypatch.setattr(image.image.storage, "get_modified_time", refuse)
    Path(image.image.path).unlink()
    look_again()
    assert "is missing" in entry(image).error


def test_reconciling_and_the_status_ask_for_no_version(monkeypatch):
    """They read each file anyway, and in a bucket each question is a request."""
    indexed()
    monkeypatch.setattr(ImageIndex, "get_file_version", refuse)
    assert not [each for portion in reconcile(IMAGES) for each in portion.differences]
    assert not list(outstanding(IMAGES))


def test_a_storage_that_knows_no_times_is_read_each_time(read, monkeypatch):
    def unknown(name):
        raise NotImplementedError

    monkeypatch.setattr(ProductImage().image.storage, "get_modified_time", unknown)
    indexed()
    look_again()
    assert len(read) == 2


def test_an_index_may_know_something_better_than_the_time(read, monkeypatch):
    tags = ["one"]
    monkeypatch.setattr(ImageIndex, "get_file_version", lambda self, image: tags[-1])
    image = indexed(RED, age=0)
    look_again()
    assert len(read) == 1
    replace(image, BLUE, age=0)
    tags.append("other")
    look_again()
    assert looks(image, BLUE)


def test_all_else_is_compared_though_the_file_is_not_read(read):
    image = indexed()
    image.product.price = 7
    image.product.save()
    assert [each.updated for each in index_everything()] == [1]
    assert [each.fields["price"] for each in entities().values()] == [7]
    assert len(read) == 1


@pytest.mark.parametrize("first", ["the one that is indexed", "the new one"])
def test_a_new_image_beside_one_with_the_same_picture_is_indexed_in_whatever_order(first, monkeypatch):
    known = indexed(RED)
    new = product(RED).images.get()
    modify(new, age=HOUR)
    Change.objects.note_all(IMAGES)
    claim = outbox.claim
    monkeypatch.setattr(
        outbox,
        "claim",
        lambda limit: sorted(
            claim(limit), key=lambda each: int(each.image_id), reverse=first == "the new one"
        ),
    )
    index_everything()
    assert looks(known, RED)
    assert looks(new, RED)


def test_a_file_that_is_gone_is_said_to_be_missing():
    image = indexed()
    Path(image.image.path).unlink()
    look_again()
    assert "is missing" in entry(image).error


def test_a_picture_that_a_model_has_not_seen_yet_is_read():
    stored = batch.Stored(
        hashes=Hashes("a", "f"), file_version="v", is_current=True, space="one", vector=None, fields={}
    )
    one, other = Collection(pk=1, space="one"), Collection(pk=2, space="other")
    live, building = (
        batch.Destination(collection=each, has_model=True, declared=frozenset()) for each in (one, other)
    )
    assert batch._known_files({one: stored}, [live]) == {"v": "a"}
    assert batch._known_files({one: stored}, [live, building]) == {}


def test_a_collection_that_keeps_an_older_picture_does_not_get_the_new_files_version():
    image = indexed()
    live = Collection.objects.get()
    older = Collection.objects.create(
        index=IMAGES.name, name="older", space="s", dimension=1, state=Collection.State.BUILDING
    )
    Change.objects.note_all(IMAGES)
    [claimed] = outbox.claim(1)
    new, old = Hashes("new", "f"), Hashes("old", "f")
    outbox.settle([Settlement(entry=claimed, stored={live: new, older: old}, file_versions={"new": "v"})])
    versions = dict(StoredImage.objects.filter(entry=entry(image)).values_list("collection", "file_version"))
    assert versions == {live.pk: "v", older.pk: ""}
    assert IndexEntry.objects.get().state == IndexEntry.State.INDEXED
