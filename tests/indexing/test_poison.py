"""An image that kills its worker does not spread: it ends FAILED, and the others are indexed."""

import json
import subprocess
import sys

import pytest
from django.db.models.functions import Now

from shopsearch.backends import get_embedder
from shopsearch.indexing import batch as indexing
from shopsearch.indexing import outbox
from shopsearch.indexing.outbox import MAX_ATTEMPTS
from shopsearch.models import Change, IndexEntry
from tests.shop.pictures import GREEN, RED, product
from tests.shop.store import IMAGES, due_now, entities, entry, replace_file

from .test_outbox_processes import environment

State = IndexEntry.State


class Death(BaseException):
    """A worker that is killed does nothing more; it does not even postpone."""


@pytest.fixture
def worker(settings, monkeypatch):
    """Dies of green pictures. Knows how many images it held each time that it died."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "BATCH_SIZE": 64}
    embedder = type(get_embedder())
    embed = embedder.embed

    class Worker:
        def __init__(self):
            self.held = []

        def work(self):
            """What several of them do, each in the place of one that died, until nothing is due."""
            while outbox.has_due():
                assert len(self.held) < 10 * MAX_ATTEMPTS, "this never ends"
                try:
                    indexing.index_batch()
                except Death:
                    self.held.append(
                        IndexEntry.objects.filter(available_at__gt=Now(), claim__isnull=False).count()
                    )
                    due_now()

    def die_of_green(self, queries):
        if any(query.image.getpixel((0, 0)) == GREEN for query in queries):
            raise Death
        return embed(self, queries)

    monkeypatch.setattr(embedder, "embed", die_of_green)
    return Worker()


@pytest.mark.django_db
def test_the_batch_is_halved_until_the_image_stands_alone(worker):
    product(*[RED] * 20, GREEN, *[RED] * 18)
    worker.work()
    assert worker.held[0] == 39
    assert all(held <= 64 >> deaths for deaths, held in enumerate(worker.held[:7]))
    assert len(worker.held) == MAX_ATTEMPTS
    assert worker.held[-3:] == [1, 1, 1]
    [poison] = IndexEntry.objects.failed()
    assert poison.error.startswith("The worker died each time it indexed this image: 10 attempts")
    assert IndexEntry.objects.filter(state=State.INDEXED).count() == 38
    assert len(entities()) == 38
    assert poison.image_id not in entities()


@pytest.mark.django_db
@pytest.mark.parametrize("size", [3, 3_000])
@pytest.mark.parametrize("poisons", [1, 4])
def test_whatever_the_size_of_a_batch_no_other_image_fails(worker, settings, size, poisons):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH, "BATCH_SIZE": size}
    shoe = product(*[RED, RED, GREEN] * poisons, *[RED] * (40 - 3 * poisons))
    green = [image for number, image in enumerate(shoe.images.order_by("pk")) if number % 3 == 2][:poisons]
    worker.work()
    assert {each.image_id for each in IndexEntry.objects.failed()} == {str(image.pk) for image in green}
    assert len(entities()) == 40 - poisons
    assert len(worker.held) <= poisons * MAX_ATTEMPTS


@pytest.mark.django_db
def test_an_image_that_had_its_errors_before_is_not_blamed_for_the_death_of_its_worker(worker):
    shoe = product(RED, GREEN)
    innocent = shoe.images.order_by("pk").first()
    outbox.fold()
    IndexEntry.objects.filter(pk=entry(innocent).pk).update(attempts=MAX_ATTEMPTS - 1)
    worker.work()
    assert entry(innocent).state == State.INDEXED


@pytest.mark.django_db
def test_an_image_whose_picture_was_replaced_since_is_tried_once_more(worker):
    image = product(GREEN).images.get()
    while len(worker.held) < MAX_ATTEMPTS:
        with pytest.raises(Death):
            indexing.index_batch()
        worker.held.append(1)
        due_now()
    replace_file(image, RED)
    worker.work()
    assert entry(image).state == State.INDEXED


@pytest.mark.django_db
def test_a_shop_that_saves_the_image_again_and_again_has_no_other_image_suffer(worker):
    shoe = product(*[RED] * 10, GREEN)
    green = shoe.images.order_by("pk").last()
    for _ in range(2 * MAX_ATTEMPTS):
        try:
            indexing.index_batch()
        except Death:
            worker.held.append(IndexEntry.objects.filter(claim__isnull=False).count())
        Change.objects.note(IMAGES, [green.pk])
        outbox.fold()
        due_now()
    assert len(entities()) == 10
    assert worker.held[-1] == 1


@pytest.mark.django_db
def test_a_deletion_whose_workers_died_is_still_carried_out(worker):
    image = product(RED).images.get()
    worker.work()
    image.delete()
    outbox.claim(1)
    IndexEntry.objects.update(attempts=MAX_ATTEMPTS + 1)
    due_now()
    worker.work()
    assert not entities()
    assert not IndexEntry.objects.exists()


WORKERS = """
import django; django.setup()
import os
from django.core.management import call_command
from django.db import connection
from django.db.models.functions import Now
call_command("migrate", run_syncdb=True, verbosity=0)
from shopsearch.backends import get_embedder
from shopsearch.indexing import batch, outbox
from shopsearch.models import IndexEntry
from tests.shop.pictures import GREEN, RED, product
product(*[RED] * 20, GREEN, *[RED] * 18)
embedder = type(get_embedder())
embed = embedder.embed
def dies_of_green(self, queries):
    if any(query.image.getpixel((0, 0)) == GREEN for query in queries):
        os._exit(9)
    return embed(self, queries)
embedder.embed = dies_of_green
deaths = 0
while outbox.has_due():
    connection.close()
    if not (child := os.fork()):
        list(batch.index_pending())
        os._exit(0)
    deaths += os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    IndexEntry.objects.unfinished().update(available_at=Now())  # the leases end
print(deaths, *sorted(IndexEntry.objects.values_list("state", flat=True)))
"""


@pytest.mark.services
def test_worker_processes_that_are_killed_by_one_image_index_the_38_others(tmp_path):
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(tmp_path / "shop.sqlite3")}
    environ = {**environment(database), "TEST_SHOPSEARCH": json.dumps({})}
    run = subprocess.run(
        [sys.executable, "-c", WORKERS], env=environ, check=False, capture_output=True, text=True, timeout=300
    )
    assert run.returncode == 0, run.stderr
    deaths, *states = run.stdout.split()
    assert int(deaths) == MAX_ATTEMPTS
    assert states == ["failed"] + ["indexed"] * 38
