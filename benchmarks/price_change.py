"""Row 10: how long a price change of many products takes until a filter finds all, and how many embeddings it costs.

    python -m benchmarks.price_change [--quick]

A shop on SQLite, Milvus Lite's server and one worker, each in a process of its own; each product has one picture.
Measured with `.save()` in one transaction, and with `.update()` and `.reindex()`. Needs redis-server.
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

from benchmarks.results import Row, report
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
    from shopsearch import broker
    from shopsearch.backends import get_vector_store
    from shopsearch.evaluation import calibrator
    from shopsearch.filters import Range
    from shopsearch.indexing import progress
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
    # The only worker calibrates now, or it does so after its next sweep, while prices change.
    broker.wake_calibrator()
    while any(calibrator.uncalibrated()):
        time.sleep(0.1)
    store, collection = get_vector_store(), Collection.objects.of(index).live().get().name

    def found(price: float) -> int:
        """How many entities a filter by this price finds, of as many as one search may give."""
        vector = store.fetch(collection, [index.entity_id(ProductImage.objects.first().pk)])[0].vector
        filters = Range("price", price, price)
        return len(store.search(collection, vector, limit=min(products, 16_384), filters=filters))

    def timed(price: int, change: Any) -> dict[str, float]:
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

    figures = {
        "products": products,
        "first_indexing_seconds": round(first, 1),
        "save": timed(2, save),
        "update and reindex": timed(3, update),
    }
    json.dump(figures, sys.stdout)


def measure(quick: bool) -> list[Row]:
    products = 1_000 if quick else 10_000
    found = measured(products)
    ways = {name: found[name] for name in ("save", "update and reindex")}
    slowest = max(each["searchable_after_seconds"] for each in ways.values())
    embeddings = sum(each["embedded"] for each in ways.values())
    told = "; ".join(f"by {name}: {each['searchable_after_seconds']} s" for name, each in ways.items())
    return [
        Row(
            number="10",
            what=f"price change of {products:,} products, until the filter finds them",
            target="≤ 15 s for 10,000, 0 embeddings",
            measured=f"{told}; {embeddings:.0f} embeddings",
            reached=slowest <= 15 * products / 10_000 and not embeddings,
            why="Wall time of shop, worker and store: other work on the machine counts against it.",
            figures=found,
            unit="s",
            samples={f"by {name}": [each["searchable_after_seconds"]] for name, each in ways.items()},
        )
    ]


def measured(products: int) -> dict[str, Any]:
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
        told = subprocess.run(
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
    shutil.rmtree(folder)
    return dict(json.loads(told.stdout))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--shop"]:
        shop(int(sys.argv[2]), Path(sys.argv[3]))
    else:
        report(measure)
