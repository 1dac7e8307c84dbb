"""The embedder of benchmarks/growth.py: a vector at once, from a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shopsearch.embedders.base import Embedder
from shopsearch.types import Query


@dataclass(kw_only=True, eq=False)
class DigestEmbedder(Embedder):
    """Equal queries have equal vectors, and no others near ones."""

    space = "digest_64"
    dimension = 64

    def embed(self, queries: Sequence[Query]) -> Any:
        found = [_numbers(query) for query in queries]
        return np.array(found, np.float32).reshape(len(queries), self.dimension)


def _numbers(query: Query) -> Any:
    content = query.text.encode() + (query.image.tobytes() if query.image else b"")
    seed = int.from_bytes(hashlib.sha256(content).digest()[:8], "big")
    numbers = np.random.default_rng(seed).normal(size=64)
    return numbers / np.linalg.norm(numbers)
