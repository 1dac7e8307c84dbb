"""What shopsearch adds to a save: with everything up, with Redis refusing or hanging, and with Milvus down.

    python -m benchmarks.save_latency [--saves 500] [--database postgresql]

Needs redis-server. Each save is one transaction, alternately with and without shopsearch's receivers, so that both see
the same machine. The first ten of each are not counted, because they import and connect.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

from tests.services.celery import CeleryWorkerProcess
from tests.services.milvus import MilvusLiteProcess
from tests.services.postgres import PostgresCluster
from tests.services.redis import RedisProcess

WARM_UP = 10


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--saves", type=int, default=500)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="shopsearch-latency-"))
    redis, milvus = RedisProcess(), MilvusLiteProcess(folder / "milvus" / "data")
    cluster = None
    if options.database == "postgresql":
        cluster = PostgresCluster(sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]).start()
    database = cluster.create_database("latency") if cluster else sqlite(folder)
    os.environ |= environment(folder, database, redis.url, milvus.uri)
    worker = CeleryWorkerProcess(dict(os.environ), folder / "worker.log")
    try:
        shop = Shop()
        print(f"{options.saves} saves of a product image each, {options.database}, milliseconds\n")
        columns = "".join(f"{name:>8}" for name in ("p50", "p95", "max", "CPU p50", "CPU p95"))
        print(f"{'':30}{'without':>40}{'with shopsearch':>40}")
        print(f"{'state':30}{columns}{columns}")
        redis.start()
        milvus.start()
        report("all up, no worker", shop, options.saves)
        worker.start()
        report("all up, a worker indexes", shop, options.saves)
        milvus.stop()
        report("Milvus down, a worker tries", shop, options.saves)
        worker.kill()
        redis.suspend()
        report("Redis accepts and hangs", shop, options.saves)
        redis.stop()
        report("Redis refuses", shop, options.saves)
    finally:
        worker.kill()
        milvus.stop()
        redis.stop()
        if cluster:
            shop.close()
            cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


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


def report(state: str, shop: Shop, saves: int) -> None:
    times: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    for number in range(2 * (saves + WARM_UP)):
        with_shopsearch = bool(number % 2)
        times[with_shopsearch].append(shop.save(with_shopsearch=with_shopsearch))
        time.sleep(0.005)  # after each, or the scheduler would treat the second of a pair worse
    line = f"{state:30}"
    for taken in times.values():
        walls, processors = (sorted(values) for values in zip(*taken[WARM_UP:], strict=True))
        line += f"{at(walls, 0.5):8.2f}{at(walls, 0.95):8.2f}{walls[-1]:8.2f}"
        line += f"{at(processors, 0.5):8.2f}{at(processors, 0.95):8.2f}"
    print(line, flush=True)


def at(values: list[float], share: float) -> float:
    return values[int(len(values) * share)]


if __name__ == "__main__":
    main()
