"""The processes of benchmarks/rebuild.py."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from django.conf import settings
from django.core.files.base import ContentFile
from django.core.management import call_command
from PIL import Image

from shopsearch.indexing import progress
from shopsearch.models import Collection

CHUNK = 500


def fill(folder: str, images: str) -> None:
    """A shop of so many products with a picture each, indexed."""
    call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
    for start in range(0, int(images), CHUNK):
        _hold(shop(range(start, min(start + CHUNK, int(images)))))


def shop(numbers: range) -> list[Any]:
    """The images of a product for each of these numbers, which no signal tells of."""
    from shopsearch.models import ProductImage
    from tests.shop.models import Product

    media = Path(settings.MEDIA_ROOT) / "blocks"
    media.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (media / f"{number}.png").write_bytes(blocks(number))
    products = Product.objects.bulk_create([Product(title=str(number)) for number in numbers])
    ProductImage.objects.bulk_create(
        [ProductImage(product=product, image=f"blocks/{product.title}.png") for product in products]
    )
    return list(ProductImage.objects.filter(product__in=products))


def _hold(rows: list[Any]) -> None:
    """Have the store and the outbox hold these images as indexing would, but many at once: `compare` looks at all."""
    from django.db import router

    from shopsearch import images
    from shopsearch.backends import get_embedder, get_vector_store
    from shopsearch.indexing import collections
    from shopsearch.indexing.batch import take_snapshot
    from shopsearch.models import Change, Collection, IndexEntry, StoredImage
    from shopsearch.registry import index_for
    from shopsearch.types import Entity, Query

    index = index_for(type(rows[0]))
    using = router.db_for_write(index.model)
    live = Collection.objects.of(index, using).live().first() or collections.begin_live(index, using)
    taken = [take_snapshot(index, row) for row in rows]
    vectors = get_embedder().embed([Query(image=images.decode(each.content)) for each in taken])
    entities = [
        Entity(
            id=index.entity_id(row.pk),
            image_id=str(row.pk),
            product_id=each.product_id,
            vector=vector,
            fields=each.fields,
        )
        for row, each, vector in zip(rows, taken, vectors, strict=True)
    ]
    get_vector_store().upsert(live.name, entities)
    entries = IndexEntry.objects.bulk_create(
        IndexEntry(index=index.name, image_id=str(row.pk), state=IndexEntry.State.INDEXED) for row in rows
    )
    StoredImage.objects.bulk_create(
        StoredImage(
            entry=entry,
            collection=live,
            generation=live.generation,
            image_hash=each.image_hash,
            fields_hash=each.fields_hash,
        )
        for entry, each in zip(entries, taken, strict=True)
    )
    Change.objects.all().delete()


def rebuild(folder: str) -> None:
    call_command("shopsearch_reindex", rebuild=True, here=True, verbosity=0, stdout=sys.stderr)


def ask(folder: str, volatile: str, rate: str, number: str) -> None:
    """Search by the picture of a product that is there all the time: it has to be the first result."""
    from shopsearch.search.engine import search
    from tests.shop.models import Product

    titles = list(
        Product.objects.filter(pk__gt=int(volatile), title__regex=r"^\d+$").values_list("title", flat=True)
    )
    dice = Random(f"ask {number}")
    counts = {"searches": 0, "failed searches": 0, "searches that missed": 0}
    seconds = []

    def once() -> None:
        title = dice.choice(titles)
        counts["searches"] += 1
        began = time.monotonic()
        try:
            results = search(image=Image.open(io.BytesIO(blocks(int(title)))).convert("RGB"), limit=5).results
        except Exception as error:
            counts["failed searches"] += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
        else:
            counts["searches that missed"] += title not in {each.product.title for each in results}
        seconds.append(time.monotonic() - began)

    _at_rate(float(rate), Path(folder) / "stop", once)
    counts["searches of more than a second"] = sum(each > 1 for each in seconds)
    (Path(folder) / f"ask-{number}.json").write_text(json.dumps(counts))


def write(folder: str, volatile: str, rate: str) -> None:
    """Make products, change their prices and pictures, and delete them."""
    from shopsearch.models import ProductImage
    from tests.shop.models import Product

    dice, counts = Random("write"), {"writes": 0, "failed writes": 0}

    def once() -> None:
        number = counts["writes"] = counts["writes"] + 1
        product = Product.objects.filter(pk=dice.randint(1, int(volatile))).first()
        what = dice.choice(("new", "price", "picture", "delete" if number % 3 == 0 else "price"))
        try:
            if what == "new" or product is None:
                made = Product.objects.create(title=f"new {number}")
                picture = ContentFile(blocks(10_000_000 + number), f"new-{number}.png")
                ProductImage.objects.create(product=made, image=picture)
            elif what == "delete":
                product.delete()
            elif what == "price":
                product.price = number
                product.save()
            elif image := product.images.first():
                image.image.save(f"other-{number}.png", ContentFile(blocks(20_000_000 + number)))
        except Exception as error:
            counts["failed writes"] += 1
            print(f"{type(error).__name__}: {error}", file=sys.stderr)

    _at_rate(float(rate), Path(folder) / "stop", once)
    (Path(folder) / "write.json").write_text(json.dumps(counts))


def compare(folder: str) -> None:
    """Once everything is at rest, the live collection against the shop, entity by entity."""
    from shopsearch import images
    from shopsearch.backends import get_vector_store
    from shopsearch.indexing import batch
    from shopsearch.models import ProductImage
    from shopsearch.registry import index_for
    from shopsearch.registry.keys import keys_of
    from shopsearch.types import Query
    from tests.indexing.rebuilds import MirrorEmbedder

    index, store, embedder = index_for(ProductImage), get_vector_store(), MirrorEmbedder()
    while progress.waiting([index]):
        batch.index_batch()
    live = Collection.objects.of(index).live().first()
    if live is None or live.space != embedder.space:
        raise RuntimeError("The new collection does not answer.")
    lost = stale = shown = 0
    for keys in keys_of(ProductImage.objects.all()):
        rows = list(ProductImage.objects.filter(pk__in=keys).select_related("product"))
        held = {
            each.image_id: each for each in store.fetch(live.name, [index.entity_id(row.pk) for row in rows])
        }
        decoded = [images.decode(Path(row.image.path).read_bytes()) for row in rows]
        vectors = embedder.embed([Query(image=picture) for picture in decoded])
        for row, vector in zip(rows, vectors, strict=True):
            entity = held.get(str(row.pk))
            shown += 1
            lost += entity is None
            if entity is not None:
                price = float(row.product.price)
                stale += entity.fields["price"] != price or not np.allclose(entity.vector, vector, atol=1e-5)
    counts = {"lost": lost, "stale": stale, "ghosts": store.count(live.name) - shown + lost}
    print(json.dumps({"entities": shown} | counts))


def blocks(number: int) -> bytes:
    """A picture of 64 random blocks, as a PNG file: no two are alike."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
    content = io.BytesIO()
    Image.fromarray(pixels).resize((32, 32), Image.Resampling.NEAREST).save(content, "PNG")
    return content.getvalue()


def _at_rate(rate: float, stop: Path, once: Callable[[], Any]) -> None:
    """So many times a second, however long each takes, until the file is there."""
    following = time.monotonic()
    while not stop.exists():
        once()
        following += 1 / rate
        time.sleep(max(0.0, following - time.monotonic()))
