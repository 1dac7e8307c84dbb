"""A worker's hold on its images: as long as it embeds them, however slow the model is."""

from types import SimpleNamespace

import pytest
from django.db.models.functions import Now

from shopsearch import images
from shopsearch.backends import get_embedder
from shopsearch.indexing import batch as indexing
from shopsearch.models import IndexEntry
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import index_everything

pytestmark = pytest.mark.django_db


@pytest.fixture
def embedder(settings, monkeypatch):
    """Embeds one picture at a time."""
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    monkeypatch.setattr(get_embedder(), "batch_size", 1)
    return get_embedder()


def test_what_waits_to_be_embedded_stays_with_its_worker_however_long_the_pictures_before_it_took(
    embedder, monkeypatch
):
    for colour in (RED, GREEN, BLUE):
        product(colour)
    embed, ours = embedder.embed, []

    def slow(queries):
        ours.append(IndexEntry.objects.filter(state="claimed", available_at__gt=Now()).count())
        vectors = embed(queries)
        IndexEntry.objects.filter(state="claimed").update(available_at=Now())  # so long it took
        return vectors

    monkeypatch.setattr(embedder, "embed", slow)
    assert indexing.index_batch().embedded == 3
    assert ours == [3, 3, 3]


def test_a_worker_that_lost_its_images_to_a_quicker_one_does_not_embed_them_again(embedder, monkeypatch):
    for colour in (RED, GREEN, BLUE):
        product(colour)
    embed, times = embedder.embed, []

    def overtaken(queries):
        times.append(len(queries))
        if len(times) == 1:
            IndexEntry.objects.update(available_at=Now())
            index_everything()  # another worker, start to end
        return embed(queries)

    monkeypatch.setattr(embedder, "embed", overtaken)
    batch = indexing.index_batch()
    assert (batch.embedded, batch.postponed) == (0, 3)
    assert len(times) == 1 + 3, "the first picture twice, the others only by the quicker worker"


@pytest.mark.parametrize(("module", "step"), [(indexing, "take_snapshot"), (images, "decode")])
def test_the_leases_are_renewed_while_pictures_are_read_and_decoded_however_long_each_takes(
    settings, monkeypatch, module, step
):
    settings.SHOPSEARCH = {**settings.SHOPSEARCH}
    for colour in (RED, GREEN, BLUE):
        product(colour)
    work, ours, seconds = getattr(module, step), [], [0]

    def slow(*arguments, **options):
        ours.append(IndexEntry.objects.filter(state="claimed", available_at__gt=Now()).count())
        seconds[0] += 30
        IndexEntry.objects.filter(state="claimed").update(available_at=Now())  # so long it took
        return work(*arguments, **options)

    monkeypatch.setattr(indexing, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
    monkeypatch.setattr(module, step, slow)
    assert indexing.index_batch().embedded == 3
    assert ours == [3, 3, 3]
