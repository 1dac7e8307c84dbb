"""Row 12: what indexing and searching cost as the shop grows: `python -m benchmarks.growth [--quick]`.

SQLite, Milvus Lite's server in this process, so that processor time counts both; an embedder that makes a vector of 64
numbers from a digest at once, so that no model hides what the rest costs. One collection grows; at each size a batch of
new pictures is indexed and searches are made. What lies between is written in bulk, as indexing would leave it.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.results import Row, median, report

SIZES = (1_000, 3_000, 10_000, 30_000, 100_000)
SIZES_QUICK = (1_000, 3_000, 10_000)
BATCHES, SEARCHES = 6, 30


def measure(quick: bool) -> list[Row]:
    sizes = SIZES_QUICK if quick else SIZES
    with tempfile.TemporaryDirectory() as name:
        indexed, searched = _measured(Path(name), sizes)
    first, last = median(indexed[0]), median(indexed[-1])
    return [
        Row(
            number="12",
            what=f"growth from {sizes[0]:,} to {sizes[-1]:,} images",
            target="indexing cost for each image flat within 10 %; a search's growth drawn",
            measured=f"indexing {first:.2f} to {last:.2f} ms an image ({last / first - 1:+.0%}); search "
            f"{median(searched[0]):.1f} to {median(searched[-1]):.1f} ms",
            reached=last <= 1.1 * first,
            why="Milvus Lite compares with every vector; docs/scaling.md says how far it goes.",
            unit="ms of processor time",
            samples={
                "indexing, an image": [median(each) for each in indexed],
                "search": [median(each) for each in searched],
            },
            x=[float(size) for size in sizes],
            x_label="images",
        )
    ]


def _measured(folder: Path, sizes: tuple[int, ...]) -> tuple[list[list[float]], list[list[float]]]:
    from shopsearch.vector_stores.milvus.lite import LiteServer

    lite = LiteServer(data_dir=folder / "milvus", port=0)
    lite.start()
    options = {"timeout": 20, "transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"}
    store = {"BACKEND": "shopsearch.vector_stores.milvus.MilvusStore", "OPTIONS": {"uri": lite.uri}}
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "TEST_DATABASE": json.dumps(
            {"ENGINE": "django.db.backends.sqlite3", "NAME": str(folder / "db"), "OPTIONS": options}
        ),
        "TEST_MEDIA_ROOT": str(folder / "media"),
        "TEST_SHOPSEARCH": json.dumps(
            {
                "EMBEDDER": {"BACKEND": "benchmarks.growth_embedder.DigestEmbedder"},
                "VECTOR_STORE": store,
                "QUERY_CACHE_SECONDS": 0,
            }
        ),
    }
    try:
        import django

        django.setup()
        from django.core.management import call_command
        from tqdm import tqdm

        from benchmarks import rebuild_roles
        from shopsearch.indexing.batch import index_batch
        from shopsearch.models import ProductImage
        from shopsearch.search.engine import search

        call_command("migrate", run_syncdb=True, verbosity=0, skip_checks=True)
        made, indexed, searched = 0, [], []
        for size in sizes:
            for start in tqdm(range(made, size, rebuild_roles.CHUNK), f"to {size:,}"):
                rebuild_roles.hold(rebuild_roles.shop(range(start, min(start + rebuild_roles.CHUNK, size))))
            made = size
            times: list[float] = []
            for _ in range(BATCHES):
                rows = rebuild_roles.shop(range(made, made + 64))
                made += 64
                ProductImage.objects.filter(pk__in=[each.pk for each in rows]).reindex()
                began = time.process_time()
                batch: Any = index_batch()
                times.append(1_000 * (time.process_time() - began) / batch.embedded)
            indexed.append(times[1:])
            times = []
            for number in range(SEARCHES):
                began = time.process_time()
                search(f"red thing {number}")
                times.append(1_000 * (time.process_time() - began))
            searched.append(times[3:])
        return indexed, searched
    finally:
        lite.stop()


if __name__ == "__main__":
    report(measure)
