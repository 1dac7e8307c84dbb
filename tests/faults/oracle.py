"""A program that compares the collection with the shop, entity by entity, and prints the differences as JSON.

What ought to be there is computed from the database and the files alone: nothing of the outbox is believed.
"""

import json
import sys

import django

django.setup()

import numpy as np  # noqa: E402

from shopsearch import images  # noqa: E402
from shopsearch.backends import get_vector_store  # noqa: E402
from shopsearch.models import IndexEntry, ProductImage  # noqa: E402
from shopsearch.registry import index_for  # noqa: E402
from shopsearch.testing import ColourEmbedder  # noqa: E402
from shopsearch.types import Query  # noqa: E402
from tests.shop.store import live_name  # noqa: E402


def differences():
    index, store, embedder = index_for(ProductImage), get_vector_store(), ColourEmbedder()
    collection = live_name(index)
    stored = {entity.id: entity for entity in store.fetch(collection, list(store.ids(collection)))}
    shown = {
        index.entity_id(image.pk): image for image in ProductImage.objects.filter(product__published=True)
    }
    stale = []
    for key in stored.keys() & shown.keys():
        entity, image = stored[key], shown[key]
        with image.image.open() as file:
            [vector] = embedder.embed([Query(image=images.decode(file.read()))])
        fields = {
            "category": None,
            "price": float(image.product.price),
            "in_stock": True,
            "tags": tuple(image.product.tags),
        }
        same = (entity.product_id, dict(entity.fields)) == (str(image.product_id), fields)
        if not (same and np.allclose(entity.vector, vector, atol=1e-5)):
            stale.append(image.pk)
    return {
        "images": len(shown),
        "lost": len(shown.keys() - stored.keys()),
        "ghosts": len(stored.keys() - shown.keys()),
        "stale": stale,
        "failed_rows": list(IndexEntry.objects.filter(state="failed").values_list("error", flat=True)),
        "rows": IndexEntry.objects.count(),
    }


if __name__ == "__main__":
    json.dump(differences(), sys.stdout)
