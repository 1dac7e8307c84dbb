"""The arithmetic of docs/scaling.md: what n pictures need. `python -m benchmarks.capacity` prints its tables."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from shopsearch.vector_stores.milvus.connection import Server
from shopsearch.vector_stores.milvus.indexes import KINDS, MEMORY_SHARE, choose, vector_bytes

PICTURES = (1_000_000, 100_000_000, 1_000_000_000)
DIMENSIONS = (512, 768, 1024)
RULE_PICTURES = (10_000, 100_000, 1_000_000, 10_000_000, 100_000_000, 1_000_000_000)
RULE_GIB = (16, 64, 256, 1024)

# What Milvus does by its documentation, and by shopsearch's defaults.
INDEXES = tuple(KINDS)
"""Those of the rule; what a vector takes in each is said there."""
SEGMENT_BYTES = 1024**3
ENTITY_BYTES = 160
"""Assumed: an entity's ids and a handful of filter values."""

# Measured here.
ENTRY_BYTES = 500
"""An index entry in PostgreSQL, with what a collection holds of it and their indexes; a test measures it."""
DECODE_SECONDS = 0.007
"""Decoding and resizing a picture of 800 x 600 on one core: 5 to 9 ms."""
ROW_SECONDS = 1 / 2_088
"""Claiming and settling a row in PostgreSQL, in batches of 64."""
UPSERT_SECONDS = 1 / 3_189
"""Writing a vector of 768 numbers to Milvus 2.3 standalone, in batches of 1,000."""
CPU_RATE = {"base": 3.5, "m3": 0.8}
"""Visualized BGE on two cores, pictures a second."""

# Assumed, to be replaced by your own measurements.
FLOPS_PER_PICTURE = {"base": 0.07e12, "m3": 0.31e12}
"""Two operations per parameter and token: 86 and 304 million, about 200 and 260 tokens, in each of two towers."""
PEAK_FLOPS = {"L4": 121e12, "H100": 990e12}
"""Of 16-bit matrix products, by the data sheets."""
UTILIZATION = 0.3
NODE_BYTES = 256 * 1024**3
SEGMENT_SECONDS = 0.001
"""One core searching one segment of 1 GiB by HNSW with ef = 256."""
NODE_CORES = 32
CHANGES_PER_DAY = 0.05


def memory(pictures: int, index: str, dimension: int) -> float:
    """Bytes in the query nodes for one replica: the vector index, and the entities' other fields."""
    return pictures * (vector_bytes(index, dimension)[0] + ENTITY_BYTES)


def local_disk(pictures: int, index: str, dimension: int) -> float:
    return pictures * vector_bytes(index, dimension)[1]


def query_nodes(pictures: int, index: str, dimension: int) -> int:
    return math.ceil(memory(pictures, index, dimension) / (NODE_BYTES * MEMORY_SHARE))


def object_storage(pictures: int, index: str, dimension: int) -> float:
    """The fields as they were written, float32, and the vector index as it was built."""
    return pictures * (4 * dimension + ENTITY_BYTES + sum(vector_bytes(index, dimension)))


def gpu_rate(model: str, card: str) -> float:
    """Pictures a second that the card alone could embed."""
    return PEAK_FLOPS[card] * UTILIZATION / FLOPS_PER_PICTURE[model]


def worker_rate(gpu: float) -> float:
    """Pictures a second of one worker, which decodes, embeds and writes by turns."""
    return 1 / (DECODE_SECONDS + ROW_SECONDS + UPSERT_SECONDS + 1 / gpu)


def workers_to_fill(gpu: float) -> int:
    """How many workers keep one card busy."""
    return math.ceil(gpu / worker_rate(gpu))


def segments(pictures: int, dimension: int) -> int:
    return math.ceil(pictures * 4 * dimension / SEGMENT_BYTES)


def queries_per_second(pictures: int, dimension: int, cores: int) -> float:
    """Every segment is searched by one core for each query, on whichever node it is."""
    return cores / (segments(pictures, dimension) * SEGMENT_SECONDS)


def size(number: float) -> str:
    for unit, bytes_ in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if number >= bytes_:
            return (
                f"{number / bytes_:,.1f} {unit}"
                if number < 100 * bytes_
                else f"{number / bytes_:,.0f} {unit}"
            )
    return f"{number:,.0f} B"


def duration(hours: float) -> str:
    return f"{hours * 60:.0f} min" if hours < 1 else f"{hours:.1f} h" if hours < 72 else f"{hours / 24:.0f} d"


def table(header: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def millions(pictures: int) -> str:
    return "1 B" if pictures == 1_000_000_000 else f"{pictures // 1_000_000} M"


def tables() -> dict[str, str]:
    """Every table of docs/scaling.md, by its name there."""
    return {
        "bytes": table(
            ["bytes a vector", *(str(each) for each in DIMENSIONS)],
            ([index, *(_bytes(index, dimension) for dimension in DIMENSIONS)] for index in INDEXES),
        ),
        "memory": table(
            ["768 numbers", *(f"{millions(each)}: memory, disk, nodes" for each in PICTURES)],
            ([index, *(_placed(each, index, 768) for each in PICTURES)] for index in INDEXES),
        ),
        "rule": table(
            ["768 numbers", *(f"{gib:,} GiB" for gib in RULE_GIB)],
            ([f"{count:,}", *(_chosen(count, gib) for gib in RULE_GIB)] for count in RULE_PICTURES),
        ),
        "storage": table(
            ["768 numbers", *map(millions, PICTURES)],
            (
                [f"object storage, {index}", *(size(object_storage(each, index, 768)) for each in PICTURES)]
                for index in ("HNSW", "DISKANN")
            ),
        ),
        "embedding": table(
            [
                "model",
                "on",
                "pictures a second",
                "a worker's",
                "workers to fill it",
                *map(millions, PICTURES),
            ],
            _embedding(),
        ),
        "database": table(
            ["", *map(millions, PICTURES)],
            iter(
                [
                    ["index entries", *(size(each * ENTRY_BYTES) for each in PICTURES)],
                    [
                        "changes a second, 5 % a day",
                        *(f"{each * CHANGES_PER_DAY / 86_400:,.1f}" for each in PICTURES),
                    ],
                ]
            ),
        ),
        "queries": table(
            ["768 numbers, HNSW", *map(millions, PICTURES)],
            iter(
                [
                    ["segments of 1 GiB", *(f"{segments(each, 768):,}" for each in PICTURES)],
                    ["nodes that hold them", *(str(query_nodes(each, "HNSW", 768)) for each in PICTURES)],
                    [
                        "queries a second of these nodes",
                        *(
                            f"{queries_per_second(each, 768, NODE_CORES * query_nodes(each, 'HNSW', 768)):,.0f}"
                            for each in PICTURES
                        ),
                    ],
                ]
            ),
        ),
    }


def _bytes(index: str, dimension: int) -> str:
    memory_bytes, disk = vector_bytes(index, dimension)
    return f"{memory_bytes:,.0f}" + (f" + {disk:,.0f} on disk" if disk else "")


def _chosen(pictures: int, gib: int) -> str:
    return choose(Server(name="v2.6.4"), dimension=768, entities=pictures, memory_bytes=gib * 1024**3).type


def _placed(pictures: int, index: str, dimension: int) -> str:
    disk = local_disk(pictures, index, dimension)
    parts = [size(memory(pictures, index, dimension)), size(disk) if disk else "–"]
    return ", ".join([*parts, str(query_nodes(pictures, index, dimension))])


def _embedding() -> Iterator[Sequence[str]]:
    for model in ("base", "m3"):
        rate = CPU_RATE[model]
        yield [model, "two cores, measured", f"{rate:g}", f"{rate:g}", "1", *_hours(rate)]
        for card in PEAK_FLOPS:
            rate, count = gpu_rate(model, card), workers_to_fill(gpu_rate(model, card))
            yield [model, card, f"{rate:,.0f}", f"{worker_rate(rate):,.0f}", str(count), *_hours(rate)]


def _hours(rate: float) -> list[str]:
    return [duration(pictures / rate / 3_600) for pictures in PICTURES]


if __name__ == "__main__":
    for name, text in tables().items():
        print(f"{name}\n\n{text}\n")
