"""How much latency a query worker adds: the bundled model in this process against the same model in a worker.

    python -m benchmarks.query_latency [--queries 300]

Needs redis-server. Every query is embedded both ways, one after the other, so that both see the same machine; the query
cache is off. The first twenty of each are not counted. Pictures come from `shopsearch.images.decode`; the time to
reduce them counts.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tests.services.query_worker import WORKER_EMBEDDER, QueryWorkerProcess
from tests.services.redis import RedisProcess

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder
    from shopsearch.types import Query

BUNDLED = {"BACKEND": "shopsearch.embedders.visualized_bge.VisualizedBGE", "OPTIONS": {}}
WARM_UP = 20
WORDS = ("a red mug with polka dots", "phone case", "cojín de lunares", "the same but in blue", "gift")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=300)
    count = parser.parse_args().queries
    folder = Path(tempfile.mkdtemp(prefix="shopsearch-query-latency-"))
    redis = RedisProcess()
    worker = QueryWorkerProcess(folder / "worker.log", redis.url, embedder=BUNDLED)
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "tests.services.settings",
        "TEST_BROKER_URL": redis.url,
        "TEST_SHOPSEARCH": json.dumps(
            {
                "EMBEDDER": BUNDLED,
                "QUERY_EMBEDDER": {"BACKEND": WORKER_EMBEDDER, "OPTIONS": {"url": redis.url}},
                "QUERY_CACHE_SECONDS": 0,
            }
        ),
    }
    try:
        redis.start()
        worker.start()
        measure(count)
    finally:
        worker.kill()
        redis.stop()
        shutil.rmtree(folder, ignore_errors=True)


def measure(count: int) -> None:
    import django

    django.setup()
    from shopsearch.backends import get_embedder, get_query_embedder
    from shopsearch.types import Query

    inline, worker = get_embedder(), get_query_embedder()
    small, large = picture((640, 480)), picture((2048, 1536))
    print(f"{count} queries of each kind, the bundled model, milliseconds\n")
    print(f"{'':26}{'inline':>16}{'worker':>16}{'added':>16}")
    print(f"{'kind':26}" + 3 * f"{'p50':>8}{'p95':>8}")
    report("words", [Query(text=f"{WORDS[n % 5]} {n}") for n in range(count)], inline, worker)
    report("picture, 640 x 480", [Query(image=small)] * count, inline, worker)
    report("picture, 2048 x 1536", [Query(image=large)] * count, inline, worker)
    report("both, 640 x 480", [Query(text=WORDS[n % 5], image=small) for n in range(count)], inline, worker)


def picture(size: tuple[int, int]):  # type: ignore[no-untyped-def]
    import numpy as np
    from PIL import Image

    coarse = np.random.default_rng(7).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize(size)


def report(kind: str, queries: list[Query], inline: Embedder, worker: Embedder) -> None:
    taken: dict[str, list[float]] = {"inline": [], "worker": []}
    for query in [*queries[:WARM_UP], *queries]:
        for name, embedder in (("inline", inline), ("worker", worker)):
            begun = time.perf_counter()
            embedder.embed([query])
            taken[name].append((time.perf_counter() - begun) * 1_000)
    here, there = (sorted(times[WARM_UP:]) for times in taken.values())
    line = f"{kind:26}"
    for times in (here, there):
        line += f"{at(times, 0.5):8.2f}{at(times, 0.95):8.2f}"
    print(f"{line}{at(there, 0.5) - at(here, 0.5):8.2f}{at(there, 0.95) - at(here, 0.95):8.2f}", flush=True)


def at(values: list[float], share: float) -> float:
    return values[int(len(values) * share)]


if __name__ == "__main__":
    main()
