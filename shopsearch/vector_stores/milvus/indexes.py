"""The rule of docs/scaling.md: which index each field of a collection gets, and how much memory it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shopsearch.vector_stores.milvus.rows import PREFIX

if TYPE_CHECKING:
    from shopsearch.types import CollectionSchema
    from shopsearch.vector_stores.milvus.connection import Server

FLAT_BYTES = 64 * 1024**2
"""Vectors of up to this many bytes in all get no index: comparing 20,000 of 768 numbers takes a few milliseconds."""
MEMORY_SHARE = 0.7
"""The share of the memory for vectors. Loading, growing segments and queries need the rest."""
HNSW_LINKS = 32
DISKANN_LINKS = 56
GRAPH_LINKS = 64
_SECTOR_BYTES = 4096
_REFINING = (2, 6)
"""The first Milvus with IVF_RABITQ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorIndex:
    """A type of vector index, with its parameters for building and searching."""

    type: str
    build: Mapping[str, Any] = field(default_factory=dict)
    search: Mapping[str, Any] = field(default_factory=dict)


FLAT = VectorIndex(type="FLAT")
HNSW = VectorIndex(type="HNSW", build={"M": HNSW_LINKS, "efConstruction": 256}, search={"ef": 256})
HNSW_SQ = VectorIndex(type="HNSW_SQ", build={**HNSW.build, "sq_type": "SQ8"}, search={"ef": 256})
IVF_RABITQ = VectorIndex(
    type="IVF_RABITQ",
    build={"nlist": 1024, "refine": True, "refine_type": "SQ8"},
    search={"nprobe": 128, "refine_k": 4},
)
DISKANN = VectorIndex(type="DISKANN", search={"search_list": 256})
GPU_CAGRA = VectorIndex(
    type="GPU_CAGRA",
    build={
        "intermediate_graph_degree": 2 * GRAPH_LINKS,
        "graph_degree": GRAPH_LINKS,
        "cache_dataset_on_device": "true",
    },
    search={"itopk_size": 256, "search_width": 8},
)
KINDS = {each.type: each for each in (FLAT, HNSW, HNSW_SQ, IVF_RABITQ, DISKANN, GPU_CAGRA)}
_AT_LEAST_THE_LIMIT = ("ef", "search_list", "itopk_size")


def vector_bytes(index: str, dimension: int) -> tuple[float, float]:
    """The bytes that a vector takes in a query node's memory, and on its local disk."""
    full = 4 * dimension
    node = full + 4 + 4 * DISKANN_LINKS
    per_sector = _SECTOR_BYTES // node
    sectors = 1 / per_sector if per_sector else math.ceil(node / _SECTOR_BYTES)
    return {
        "FLAT": (full, 0.0),
        "HNSW": (full + 8 * HNSW_LINKS, 0.0),
        "HNSW_SQ": (dimension + 8 * HNSW_LINKS, 0.0),
        "IVF_RABITQ": (dimension / 8 + 8 + dimension + 8, 0.0),
        "DISKANN": (full / 8, sectors * _SECTOR_BYTES),
        "GPU_CAGRA": (full + 4 * GRAPH_LINKS, 0.0),
    }[index]


def choose(
    server: Server, *, dimension: int, entities: int = 0, memory_bytes: float = 0, gpu: bool = False
) -> VectorIndex:
    """The index for this many vectors in this much memory; with ``gpu``, the GPUs' memory.

    0 entities: the number is unknown, so HNSW, which suits few and many. 0 bytes: there is enough memory.
    """

    def fits(index: str) -> bool:
        return not memory_bytes or entities * vector_bytes(index, dimension)[0] <= memory_bytes * MEMORY_SHARE

    if server.is_lite or 0 < entities * 4 * dimension <= FLAT_BYTES:
        return FLAT
    if gpu and fits("GPU_CAGRA"):
        return GPU_CAGRA
    quantized = IVF_RABITQ if server.version >= _REFINING else HNSW_SQ
    return next((each for each in (HNSW, quantized) if fits(each.type)), DISKANN)


def search_params(index_type: str, own: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The parameters of a search for ``limit`` hits; ``own`` has the project's, if any."""
    params = dict(own) or dict(KINDS[index_type].search if index_type in KINDS else {})
    return {
        name: max(value, limit) if name in _AT_LEAST_THE_LIMIT else value for name, value in params.items()
    }


def scalar_indexes(schema: CollectionSchema, server: Server) -> dict[str, str]:
    """The index of each filter, by the field's name in Milvus.

    Empty for Milvus Lite, which cannot index arrays; our server filters without an index. Milvus 2.5 is the first with
    both kinds.
    """
    if server.is_lite or () < server.version < (2, 5):
        return {}
    kinds = {
        name: "BITMAP" if kind == "boolean" or name in schema.few_values else "INVERTED"
        for name, kind in schema.fields.items()
        if kind != "words"
    }
    return {PREFIX + name: kind for name, kind in kinds.items()}
