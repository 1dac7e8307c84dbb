"""What the store and the outbox hold of the shop's product images."""

import hashlib

import pytest
from django.db.models.functions import Now
from PIL import Image

from shopsearch.backends import get_embedder, get_vector_store
from shopsearch.indexing import batch
from shopsearch.models import Collection, IndexEntry, ProductImage, StoredImage
from shopsearch.registry import index_for
from shopsearch.types import Query

from .pictures import picture

IMAGES = index_for(ProductImage)


def index_everything():
    return list(batch.index_pending())


def entry(image):
    return IndexEntry.objects.get(index=IMAGES.name, image_id=str(image.pk))


def live_name(index=IMAGES):
    """The live collection's name; "" before anything was indexed."""
    live = Collection.objects.of(index).live().first()
    return live.name if live else ""


def entities(index=IMAGES):
    """By image."""
    store, collection = get_vector_store(), live_name(index)
    return {entity.image_id: entity for entity in store.fetch(collection, list(store.ids(collection)))}


def looks(image, colour):
    """Whether the store holds the vector of this colour for the image."""
    [expected] = get_embedder().embed([Query(image=Image.new("RGB", (16, 16), colour))])
    return entities()[str(image.pk)].vector.tolist() == pytest.approx(expected.tolist())


def stored(image):
    """What the outbox says the collections hold of it: hashes by collection, and None while that is not known."""
    rows = StoredImage.objects.filter(entry=entry(image))
    return {row.collection_id: row.hashes if row.image_hash else None for row in rows}


def hash_in_store(image):
    """Of the file that the live collection is said to hold."""
    return stored(image)[Collection.objects.of(IMAGES).live().get().pk].image


def hash_of(image):
    with image.image.open() as file:
        return hashlib.sha256(file.read()).hexdigest()


def replace_file(image, colour):
    image.image.save("other.png", picture(colour))


def due_now():
    """Every wait, for a lease or between attempts, is over."""
    IndexEntry.objects.exclude(state__in=(IndexEntry.State.INDEXED, IndexEntry.State.FAILED)).update(
        available_at=Now()
    )
