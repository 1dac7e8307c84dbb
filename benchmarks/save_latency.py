"""Row 8: what shopsearch adds to a save, with everything up, with Redis refusing, hanging, and with Milvus down.

    python -m benchmarks.save_latency [--quick] [--postgresql]

Needs redis-server. Each save is one transaction, alternately with and without shopsearch's receivers, so that both see
the same machine. The first ten of each are not counted, because they import and connect.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.results import Row, median, report
from tests.services.celery import CeleryWorkerProcess
from tests.services.milvus import MilvusLiteProcess
from tests.services.postgres import PostgresCluster
from tests.services.redis import RedisProcess

WARM_UP = 10
Times = dict[str, list[tuple[float, float]]]
"""Without and with shopsearch: wall and processor milliseconds of each save."""


def measure(quick: bool) -> list[Row]:
    found = measured(100 if quick else 500)
    added = {
        state: median([wall for wall, _ in times["with"]]) - median([wall for wall, _ in times["without"]])
        for state, times in found.items()
    }
    worst = max(added, key=added.__getitem__)
    samples = {}
    for state, times in found.items():
        samples[f"{state}: without"] = [wall for wall, _ in times["without"]]
        samples[f"{state}: with"] = [wall for wall, _ in times["with"]]
    return [
        Row(
            number="8",
            what="a save with shopsearch against one without: median",
            target="≤ +1.0 ms, broker up, down, hanging",
            measured="; ".join(f"{state} +{value:.2f} ms" for state, value in added.items()),
            reached=added[worst] <= 1.0,
            figures={
                "added processor time, ms": {
                    state: round(
                        median([mine for _, mine in times["with"]])
                        - median([mine for _, mine in times["without"]]),
                        3,
                    )
                    for state, times in found.items()
                }
            },
            unit="ms",
            samples=samples,
        )
    ]


def measured(saves: int) -> dict[str, Times]:
    folder = Path(tempfile.mkdtemp(prefix="shopsearch-latency-"))
    redis, milvus = RedisProcess(), MilvusLiteProcess(folder / "milvus" / "data")
    cluster = None
    if "--postgresql" in sys.argv:
        cluster = PostgresCluster(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]).start()
    database = cluster.create_database("latency") if cluster else sqlite(folder)
    os.environ |= environment(folder, database, redis.url, milvus.uri)
    worker = CeleryWorkerProcess(dict(os.environ), folder / "worker.log")
    found: dict[str, Times] = {}
    try:
        shop = Shop()
        redis.start()
        milvus.start()
        found["all up"] = saved(shop, saves)
        worker.start()
        found["a worker indexes"] = saved(shop, saves)
        milvus.stop()
        found["Milvus down"] = saved(shop, saves)
        worker.kill()
        redis.suspend()
        found["Redis hangs"] = saved(shop, saves)
        redis.stop()
        found["Redis refuses"] = saved(shop, saves)
    finally:
        worker.kill()
        milvus.stop()
        redis.stop()
        if cluster:
            shop.close()
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return found


def sqlite(folder: Path) -> dict[str, object]:
    options = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "shop.sqlite3"), "OPTIONS": options}


def environment(folder: Path, database: object, broker: str, milvus: str) -> dict[str, str]:
    store = {"BACKEND": "shopsearch.vector_stores.milvus.MilvusStore", "OPTIONS": {"uri": milvus}}
    return {
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "TEST_DATABASE": json.dumps(database),
        "TEST_MEDIA_ROOT": str(folder / "media"),
        "TEST_BROKER_URL": broker,
        "TEST_SHOPSEARCH": json.dumps({"VECTOR_STORE": store}),
    }


class Shop:
    """Saves with and without shopsearch."""

    def __init__(self) -> None:
        import django

        django.setup()
        from django.core.management import call_command

        from shopsearch.indexing import saves
        from shopsearch.models import ProductImage
        from tests.shop.pictures import RED, product

        call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
        self.followers = saves._followers(ProductImage)
        self.known = dict(self.followers.after)
        self.image = product(RED).images.get()

    def save(self, *, with_shopsearch: bool) -> tuple[float, float]:
        """The milliseconds it took, and those of them that this thread had the processor."""
        self.followers.after = self.known if with_shopsearch else {}
        begun, begun_processor = time.perf_counter(), time.thread_time()
        self.image.save()
        return (time.perf_counter() - begun) * 1_000, (time.thread_time() - begun_processor) * 1_000

    def close(self) -> None:
        from django.db import connections

        connections.close_all()


def saved(shop: Shop, saves: int) -> Times:
    times: Times = {"without": [], "with": []}
    for number in range(2 * (saves + WARM_UP)):
        with_shopsearch = bool(number % 2)
        taken = shop.save(with_shopsearch=with_shopsearch)
        times["with" if with_shopsearch else "without"].append(taken)
        time.sleep(0.005)  # after each, or the scheduler would treat the second of a pair worse
    return {name: taken[WARM_UP:] for name, taken in times.items()}


if __name__ == "__main__":
    report(measure)
