"""Row 7: what the queue costs for each picture, against a Celery task for each: `python -m benchmarks.queue_cost`.

Redis as broker, a worker in a thread of this process, so that processor time counts sender and worker. Nothing is
embedded: shopsearch's batches are claimed and settled, the plain tasks do nothing. Needs redis-server.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

from benchmarks.results import Row, interleaved, median, ratio, report
from tests.services.redis import RedisProcess

PICTURES = 512


def measure(quick: bool) -> list[Row]:
    redis = RedisProcess().start()
    try:
        with tempfile.TemporaryDirectory() as folder, _worker(Path(folder), redis.url) as flows:
            taken = interleaved(3 if quick else 12, flows, warm_up=1)
    finally:
        redis.stop()
    of_messages = ratio(taken["a task a picture"], taken["messages alone"])
    with_rows = ratio(taken["a task a picture"], taken["messages and outbox"])
    return [
        Row(
            number="7",
            what="queue cost for each picture against one task for each",
            target="≥ 40 times less",
            measured=f"messages {of_messages} times less; {median(taken['a task a picture']):.2f} and "
            f"{median(taken['messages alone']):.3f} ms; with the outbox's rows claimed and settled "
            f"{median(taken['messages and outbox']):.2f} ms, {with_rows} times less",
            reached=of_messages.value >= 40,
            why="The outbox is what a plain task does not have: no change is lost when broker or worker die.",
            unit="ms of processor time a picture",
            samples=taken,
        )
    ]


@contextmanager
def _worker(folder: Path, url: str) -> Iterator[dict[str, Any]]:
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "TEST_DATABASE": json.dumps(
            {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db"), "OPTIONS": options}
        ),
        "TEST_BROKER_URL": url,
    }
    import django

    django.setup()
    from celery.contrib.testing.worker import start_worker
    from django.core.management import call_command

    from shopsearch import tasks
    from shopsearch.conf import settings
    from shopsearch.indexing import batch, outbox
    from shopsearch.indexing.outbox import Settlement
    from shopsearch.models import Change, IndexEntry, ProductImage
    from tests.services.celery import app
    from tests.shop.models import Product

    call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
    products = Product.objects.bulk_create(Product(title=str(number)) for number in range(PICTURES))
    ProductImage.objects.bulk_create(ProductImage(product=each, image="one.png") for each in products)
    done = {"tasks": 0, "messages": 0}

    @app.task(name="benchmark.noop", ignore_result=True)
    def noop(key: int = 0) -> None:
        done["tasks"] += 1

    def claimed() -> batch.Batch:
        done["messages"] += 1
        entries = outbox.claim(settings.BATCH_SIZE)
        outbox.settle([Settlement(entry=entry, stored={}) for entry in entries])
        return batch.Batch(claimed=len(entries))

    def until(condition: Any) -> None:
        while not condition():
            time.sleep(0.005)

    def sent(count: int) -> float:
        """Milliseconds a picture for so many messages of PICTURES pictures."""
        done["tasks"] = 0
        began = time.process_time()
        for number in range(count):
            noop.apply_async((number,), queue=settings.INDEX_QUEUE)
        until(lambda: done["tasks"] == count)
        return 1_000 * (time.process_time() - began) / PICTURES

    def messages_and_outbox(number: int) -> float:
        done["messages"] = 0
        began = time.process_time()
        ProductImage.objects.all().reindex()
        until(lambda: not (Change.objects.exists() or IndexEntry.objects.unfinished().exists()))
        return 1_000 * (time.process_time() - began) / PICTURES

    with (
        patch.object(tasks.batch, "index_batch", claimed),
        start_worker(app, pool="solo", perform_ping_check=False, queues=[settings.INDEX_QUEUE]),
    ):
        yield {
            "a task a picture": lambda number: sent(PICTURES),
            "messages and outbox": messages_and_outbox,
            # As many as the flow before needed.
            "messages alone": lambda number: sent(max(1, done["messages"])),
        }


if __name__ == "__main__":
    report(measure)
