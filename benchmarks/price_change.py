"""How long a price change of many products takes until a filter finds all of them, and how many embeddings it costs.

    python -m benchmarks.price_change [PRODUCTS]

A shop on SQLite, Milvus Lite's server and one worker, each in a process of its own; each product has one picture.
Measured with `.save()` in one transaction, and with `.update()` and `.reindex()`. The target for 10,000 products on two
cores is 60 seconds without any embedding. Needs redis-server.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shopsearch.indexing import progress
from shopsearch.testing import ColourEmbedder
from tests.services.celery import CeleryWorkerProcess
from tests.services.milvus import MilvusLiteProcess
from tests.services.redis import RedisProcess

ROOT = Path(__file__).parents[1]


@dataclass(kw_only=True, eq=False)
class CountedEmbedder(ColourEmbedder):
    """Writes to a file how many queries it was given."""

    log: str

    def embed(self, queries: Any) -> Any:
        with Path(self.log).open("a") as log:
            log.write(f"{len(queries)}\n")
        return super().embed(queries)


def embedded(log: Path) -> int:
    return sum(map(int, log.read_text().split()))


def shop(products: int, log: Path) -> None:
    """The shop's process: fills the index, changes the prices, and waits until the filter finds each."""
    import django

    django.setup()
    from django.core.files.base import ContentFile
    from django.db import transaction

    import tests.services.celery  # noqa: F401  # the project's Celery application
    from shopsearch.backends import get_vector_store
    from shopsearch.filters import Range
    from shopsearch.models import Collection, ProductImage
    from shopsearch.registry import get_index
    from tests.shop.models import Product
    from tests.shop.pictures import picture

    index = get_index()
    name = ProductImage().image.storage.save("products/one.png", ContentFile(picture().read()))
    Product.objects.bulk_create([Product(title=f"thing {number}", price=1) for number in range(products)])
    ProductImage.objects.bulk_create(
        [ProductImage(product=each, image=name) for each in Product.objects.all()]
    )
    begun = time.perf_counter()
    ProductImage.objects.all().reindex()
    while progress.waiting([index]):
        time.sleep(0.1)
    first = time.perf_counter() - begun
    store, collection = get_vector_store(), Collection.objects.of(index).live().get().name

    def found(price: float) -> int:
        """How many entities a filter by this price finds, of as many as one search may give."""
        vector = store.fetch(collection, [index.entity_id(ProductImage.objects.first().pk)])[0].vector
        filters = Range("price", price, price)
        return len(store.search(collection, vector, limit=min(products, 16_384), filters=filters))

    def measure(price: int, change: Any) -> dict[str, float]:
        before = embedded(log)
        begun = time.perf_counter()
        change(price)
        changed = time.perf_counter()
        while progress.waiting([index]) or found(price) < min(products, 16_384):
            time.sleep(0.25)
        done = time.perf_counter()
        return {
            "change_seconds": round(changed - begun, 1),
            "searchable_after_seconds": round(done - begun, 1),
            "embedded": embedded(log) - before,
        }

    @transaction.atomic
    def save(price: int) -> None:
        for each in Product.objects.iterator():
            each.price = price
            each.save()

    @transaction.atomic
    def update(price: int) -> None:
        Product.objects.update(price=price)
        ProductImage.objects.all().reindex()

    report = {
        "products": products,
        "first_indexing_seconds": round(first, 1),
        "save": measure(2, save),
        "update and reindex": measure(3, update),
    }
    json.dump(report, sys.stdout)


def main() -> None:
    products = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    folder = Path(tempfile.mkdtemp(prefix="shopsearch-benchmark-"))
    log = folder / "embedded"
    redis, milvus = RedisProcess(), MilvusLiteProcess(folder / "milvus" / "data")
    sqlite = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    store = {"BACKEND": "shopsearch.vector_stores.milvus.MilvusStore", "OPTIONS": {"uri": milvus.uri}}
    embedder = {"BACKEND": "benchmarks.price_change.CountedEmbedder", "OPTIONS": {"log": str(log)}}
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "PYTHONPATH": str(ROOT),
        "TEST_DATABASE": json.dumps(
            {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "shop.sqlite3"), "OPTIONS": sqlite}
        ),
        "TEST_MEDIA_ROOT": str(folder / "media"),
        "TEST_BROKER_URL": redis.url,
        "TEST_SHOPSEARCH": json.dumps({"EMBEDDER": embedder, "VECTOR_STORE": store}),
    }
    worker = CeleryWorkerProcess(environment, folder / "worker.log")
    run = [sys.executable, "-m"]
    migrate = [*run, "django", "migrate", "--run-syncdb", "--verbosity", "0"]
    subprocess.run(migrate, cwd=ROOT, env=environment, check=True)
    try:
        for part in (redis, milvus, worker):
            part.start()
        measured = subprocess.run(
            [*run, "benchmarks.price_change", "--shop", str(products), str(log)],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        for part in (worker, milvus, redis):
            part.stop()
    print(json.dumps(json.loads(measured.stdout), indent=2))
    shutil.rmtree(folder)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--shop"]:
        shop(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        main()
