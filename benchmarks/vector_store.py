"""How long a vector store takes for a search, compared with numpy in memory.

    python -m benchmarks.vector_store [--server lite|standalone|ADDRESS] [--entities 10000] [--searches 100]

``lite`` is Milvus Lite behind our server, in this process, so that processor time counts both sides; ``standalone`` is
Milvus 2.3.5 from PyPI, which has neither full text nor filter indexes. Each round makes every kind of search once, so
that all see the same machine. Vectors have 768 numbers but only 32 degrees of freedom, because a model's vectors are
far from random. numpy multiplies all vectors with the query on one thread and sorts the best.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")  # before numpy is imported

import numpy as np  # noqa: E402
from tqdm import tqdm  # noqa: E402

DIMENSION, FREE = 768, 32
BATCH = 500
LIMIT = 10
SHARES = (0.001, 0.01, 0.5)
THINGS = ["mug", "plate", "lamp", "dress", "shoe", "case", "bag", "shirt", "ring", "chair"]
COLOURS = ["red", "blue", "green", "black", "white"]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--server", default="lite")
    parser.add_argument("--entities", type=int, default=10_000)
    parser.add_argument("--searches", type=int, default=100)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    import django

    django.setup()
    with serving(options.server, options.entities) as store:
        report = measure(store, options.entities, options.searches)
    report = {"server": options.server, "entities": options.entities, **report}
    if options.json:
        options.json.write_text(json.dumps(report, indent=2))
    show(report)


@contextmanager
def serving(server: str, entities: int) -> Iterator[Any]:
    """A store on that server."""
    from shopsearch.vector_stores.milvus.lite import LiteServer
    from shopsearch.vector_stores.milvus.store import MilvusStore
    from tests.services.milvus_standalone import MilvusStandaloneProcess
    from tests.vector_stores.test_milvus_standalone import OldMilvusStore

    if server not in ("lite", "standalone"):
        yield MilvusStore(uri=server, timeout_seconds=60, expected_entities=entities)
        return
    with tempfile.TemporaryDirectory() as folder:
        if server == "lite":
            lite = LiteServer(data_dir=folder, port=0)
            lite.start()
            try:
                yield MilvusStore(uri=lite.uri, timeout_seconds=60)
            finally:
                lite.stop()
            return
        milvus = MilvusStandaloneProcess(folder).start()
        try:
            yield OldMilvusStore(uri=milvus.uri, token=milvus.token, full_text=False, timeout_seconds=60)
        finally:
            milvus.kill()


def vectors_of(count: int) -> Any:
    random = np.random.default_rng(0)
    found = random.normal(size=(count, FREE)) @ random.normal(size=(FREE, DIMENSION))
    found += 0.1 * random.normal(size=found.shape)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32)


def measure(store: Any, count: int, searches: int) -> dict[str, Any]:
    """Milliseconds by kind of search, what was found of the truth, and entities written a second."""
    from shopsearch.filters import AnyOf, Range
    from shopsearch.types import CollectionSchema, Entity, EntityUpdate

    vectors = vectors_of(count + searches)
    vectors, queries = vectors[:count], vectors[count:]
    kinds: dict[str, Any] = {"share": "number", "tags": "strings"} | (
        {"_words": "words"} if store.full_text else {}
    )
    shares = np.random.default_rng(1).permutation(count) / count

    def fields(number: int) -> dict[str, Any]:
        words = f"{COLOURS[number % 5]} {THINGS[number // 5 % 10]} number{number % 997}"
        held = {"share": float(shares[number]), "tags": (f"tag{number % 7}", "all"), "_words": words}
        return {name: held[name] for name in kinds}

    def entity(number: int) -> Entity:
        return Entity(
            id=f"{number:032x}",
            image_id=str(number),
            product_id=str(number // 3),
            vector=vectors[number],
            fields=fields(number),
        )

    name = "benchmark_vector_store"
    store.drop_collection(name)
    store.ensure_collection(name, CollectionSchema(dimension=DIMENSION, fields=kinds))
    began = time.perf_counter()
    for start in tqdm(range(0, count, BATCH), "upsert", unit_scale=BATCH, unit=" entities"):
        store.upsert(name, [entity(number) for number in range(start, min(count, start + BATCH))])
    writes = {"upsert": count / (time.perf_counter() - began)}
    _wait_for_indexes(store, name)

    def numpy_search(query: Any, passing: Any = None) -> Any:
        scores = vectors @ query
        if passing is not None:
            scores[~passing] = -2
        best = np.argpartition(-scores, LIMIT)[:LIMIT]
        return best[np.argsort(-scores[best])]

    def search(**options: Any) -> Callable[[Any], Any]:
        return lambda query: store.search(name, query, **{"limit": LIMIT, **options})

    calls: dict[str, Callable[[Any], Any]] = {
        "numpy": numpy_search,
        "search": search(),
        "search, 100 hits": search(limit=100),
        **{f"filter of {share:.1%}": search(filters=Range("share", maximum=share)) for share in SHARES},
        "filter of a list": search(filters=AnyOf("tags", ("tag3",))),
    }
    if store.full_text:
        text = "red lamp number77"
        calls["words, 100 hits"] = lambda query: store.search_words(name, text, vector=query, limit=100)
    taken, recall = _interleaved(calls, queries), {}
    filters = {f"filter of {each:.1%}": shares <= each for each in SHARES}
    for kind, passing in ({"search": None} | filters).items():
        there = min(LIMIT, count if passing is None else int(passing.sum()))
        found = [
            {int(hit.id, 16) for hit in calls[kind](query)} & set(numpy_search(query, passing)[:there])
            for query in queries
        ]
        recall[kind] = sum(map(len, found)) / (there * len(found))
    changed = min(count, 2_000)
    for verb, write in {
        "upsert again": lambda numbers: store.upsert(name, [entity(number) for number in numbers]),
        "update": lambda numbers: store.update(
            name,
            [
                EntityUpdate(id=f"{number:032x}", product_id=str(number // 3), fields=fields(number))
                for number in numbers
            ],
        ),
    }.items():
        began = time.perf_counter()
        for start in tqdm(range(0, changed, 64), verb, unit_scale=64, unit=" entities"):
            write(range(start, min(changed, start + 64)))
        writes[verb] = changed / (time.perf_counter() - began)
    store.drop_collection(name)
    return {"milliseconds": taken, "recall@10": recall, "entities a second": writes}


def _wait_for_indexes(store: Any, name: str) -> None:
    """Until what was written is in segments with their index, so that searches are those of every day."""
    if store._connection.server().is_lite:
        time.sleep(3)
        return
    store._call("flush", name, timeout=600)
    with tqdm(desc="vector index", unit=" entities") as bar:
        while True:
            state = store._call("describe_index", name, index_name="vector")
            bar.total, bar.n = int(state["total_rows"]), int(state["indexed_rows"])
            bar.refresh()
            if not int(state.get("pending_index_rows", 0)) and bar.n >= bar.total > 0:
                return
            time.sleep(1)


def _interleaved(calls: dict[str, Callable[[Any], Any]], queries: Any) -> dict[str, dict[str, float]]:
    """By kind of search: wall and processor time of this process, in milliseconds."""
    wall: dict[str, list[float]] = {kind: [] for kind in calls}
    processor: dict[str, list[float]] = {kind: [] for kind in calls}
    for call in calls.values():
        call(queries[0])
    for query in tqdm(queries, "rounds of searches"):
        for kind, call in calls.items():
            began, began_processor = time.perf_counter(), time.process_time()
            call(query)
            wall[kind].append(1_000 * (time.perf_counter() - began))
            processor[kind].append(1_000 * (time.process_time() - began_processor))
    return {
        kind: {
            "p50": float(np.percentile(wall[kind], 50)),
            "p95": float(np.percentile(wall[kind], 95)),
            "processor": float(np.mean(processor[kind])),
        }
        for kind in calls
    }


def show(report: dict[str, Any]) -> None:
    taken, recall = report["milliseconds"], report["recall@10"]
    print(f"\n{report['server']}, {report['entities']:,} x {DIMENSION}, milliseconds\n")
    print(
        "| search | p50 | p95 | processor | p50 / numpy's | recall@10 |\n| --- | --- | --- | --- | --- | --- |"
    )
    for kind, times in taken.items():
        found = f"{recall[kind]:.3f}" if kind in recall else ""
        ratio = times["p50"] / taken["numpy"]["p50"]
        print(
            f"| {kind} | {times['p50']:.1f} | {times['p95']:.1f} | {times['processor']:.1f} | {ratio:.1f} | {found} |"
        )
    print()
    for verb, rate in report["entities a second"].items():
        print(f"{verb}: {rate:,.0f} entities a second")


if __name__ == "__main__":
    main()
