"""A database of an earlier release is taken along: nothing is embedded again, and nothing is written to the store."""

import hashlib
import json

import pytest
from django.core.cache import cache
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from shopsearch.backends import get_embedder, get_former_embedder
from shopsearch.indexing import rebuild
from shopsearch.models import CachedVector, Change, Collection, IndexEntry, ProductImage, StoredImage
from shopsearch.search import search
from tests import ROOT
from tests.indexing.rebuilds import COLOUR, MIRROR, KeptStore, use, work
from tests.shop.pictures import BLUE, GREEN, RED, product
from tests.shop.store import IMAGES, hash_of, stored

pytestmark = pytest.mark.django_db(transaction=True)
BEFORE = "0007_kept_vectors"
AFTER = max(path.stem for path in (ROOT / "shopsearch/migrations").glob("0*.py"))


def migrate(name):
    executor = MigrationExecutor(connection)
    executor.migrate([("shopsearch", name)])
    return executor.loader.project_state([("shopsearch", name)]).apps


@pytest.fixture
def schema():
    yield migrate
    migrate(AFTER)


@pytest.fixture
def shop(settings):
    """Three products that are indexed, and one whose image is hidden: its vector is in the cache."""
    use(settings, COLOUR)
    for colour, title in ((RED, "red"), (GREEN, "green"), (BLUE, "blue"), (BLUE, "hidden")):
        product(colour, title=title, price=5)
    work()
    hidden = ProductImage.objects.get(product__title="hidden")
    hidden.product.published = False
    hidden.product.save()
    work()
    assert CachedVector.objects.count() == 1


@pytest.fixture
def upserts(shop, monkeypatch):
    """Every entity that is written from now on."""
    written, upsert = [], KeptStore.upsert

    def noted(self, collection, entities):
        written.extend(entities)
        upsert(self, collection, entities)

    monkeypatch.setattr(KeptStore, "upsert", noted)
    return written


def hashes_as_before(image):
    """As the release before computed them."""
    fields = IMAGES.get_field_values(image)
    said = json.dumps([str(image.product.pk), fields], sort_keys=True)
    return [hash_of(image), hashlib.sha256(said.encode()).hexdigest()]


def write_as_before(apps, held_of):
    """The entries as the release before wrote them: with what is known of the store as JSON."""
    entries = apps.get_model("shopsearch", "IndexEntry").objects
    for image in ProductImage.objects.exclude(product__title="hidden").select_related("product"):
        assert entries.filter(image_id=image.pk).update(held=held_of(image)) == 1


def key_of_live():
    return str(Collection.objects.of(IMAGES).live().get().pk)


def test_after_the_migration_search_answers_and_nothing_is_embedded_or_written(schema, upserts):
    cache.clear()  # another test may have searched for the same
    embedded, live = get_embedder().embedded, key_of_live()
    write_as_before(schema(BEFORE), lambda image: {live: hashes_as_before(image), "99": ["a", "f"]})
    schema(AFTER)
    assert StoredImage.objects.count() == 3
    assert search("red", limit=1).results[0].product.title == "red"
    Change.objects.note_all(IMAGES)
    work()
    assert (get_embedder().embedded - embedded, upserts) == (1, []), "the query, and no picture"
    shown = ProductImage.objects.get(product__title="hidden").product
    shown.published = True
    shown.save()
    work()
    assert (get_embedder().embedded - embedded, len(upserts)) == (1, 1), "its vector was cached"


def test_what_was_being_written_is_still_not_known(schema, upserts):
    live = key_of_live()
    write_as_before(schema(BEFORE), lambda image: {live: None})
    schema(AFTER)
    assert list(stored(ProductImage.objects.first()).values()) == [None]
    Change.objects.note_all(IMAGES)
    work()
    assert len(upserts) == 3


def test_a_rollback_that_is_under_way_goes_on_with_what_the_collection_holds(settings, schema, upserts):
    """The collection had a new key, and most entries told of it under its former one."""
    former = key_of_live()
    use(settings, MIRROR, COLOUR)
    rebuild.begin(IMAGES)
    work()
    use(settings, COLOUR, MIRROR)
    live, looked_at = key_of_live(), ProductImage.objects.get(product__title="red")
    embedded = get_embedder().embedded, get_former_embedder().embedded

    def held(image):
        hashes = hashes_as_before(image)
        return {live: hashes, former if image == looked_at else "77": hashes}

    apps = schema(BEFORE)
    write_as_before(apps, held)
    rows = apps.get_model("shopsearch", "Collection").objects.filter(pk=former)
    rows.update(formerly=77, state="building", total=3, ceiling=10**6)
    schema(AFTER)
    upserts.clear()
    collection = Collection.objects.get(pk=former)
    assert [row.entry.image_id for row in collection.stored] == [str(looked_at.pk)]
    assert StoredImage.objects.known().count() == 6
    work()
    assert (key_of_live(), collection.stored.count()) == (former, 3)
    assert (get_embedder().embedded, get_former_embedder().embedded) == embedded
    assert upserts == []


def test_the_migration_can_be_taken_back(settings, schema, shop):
    known = {image.pk: stored(image) for image in ProductImage.objects.exclude(product__title="hidden")}
    apps = schema(BEFORE)
    live = Collection.objects.defer("generation").get()
    held = dict(apps.get_model("shopsearch", "IndexEntry").objects.values_list("image_id", "held"))
    assert held == {str(key): {str(live.pk): list(hashes[live.pk])} for key, hashes in known.items()}
    schema(AFTER)
    assert {
        image.pk: stored(image) for image in ProductImage.objects.exclude(product__title="hidden")
    } == known
    assert IndexEntry.objects.count() == 3
