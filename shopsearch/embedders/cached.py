"""A cache of query vectors, so that a repeated query is not embedded again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django.core.cache import cache

from shopsearch.embedders.base import Embedder
from shopsearch.telemetry.outages import Outage

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Query, Vector, Vectors

logger = logging.getLogger(__name__)

PAUSE_SECONDS = 5.0
"""How long the cache is not asked after it failed, so that one that hangs delays one query, not each."""


@dataclass(kw_only=True, eq=False)
class CachedEmbedder(Embedder):
    """Wraps an embedder and keeps its vectors in Django's cache for ``seconds``.

    The keys are digests, so neither words nor pictures can be read from the cache. A cache that is away or broken
    makes queries slower, but fails none.
    """

    embedder: Embedder
    seconds: float

    def __post_init__(self) -> None:
        self._outage = Outage(
            logger,
            away="The cache of queries is away, so every query is embedded",
            back="The cache of queries is back.",
            pause_seconds=PAUSE_SECONDS,
        )
        self.batch_size = self.embedder.batch_size

    @property
    def space(self) -> str:
        return self.embedder.space

    @property
    def dimension(self) -> int:
        return self.embedder.dimension

    def reduced(self, image: Image) -> Image:
        return self.embedder.reduced(image)

    def embed(self, queries: Sequence[Query]) -> Vectors:
        import numpy as np

        queries = [
            query if query.image is None else replace(query, image=self.reduced(query.image))
            for query in queries
        ]
        keys = [f"shopsearch:query:{self.space}:{_digest(query)}" for query in queries]
        vectors = self._read(keys)
        if missing := {key: query for key, query in zip(keys, queries, strict=True) if key not in vectors}:
            fresh = dict(zip(missing, self.embedder.embed(list(missing.values())), strict=True))
            self._write(fresh)
            vectors |= fresh
        return np.array([vectors[key] for key in keys], np.float32).reshape(len(keys), self.dimension)

    def _read(self, keys: list[str]) -> dict[str, Vector]:
        import numpy as np

        if self._outage.is_pausing:
            return {}
        try:
            held = cache.get_many(keys)
        except Exception as error:  # the project's cache may raise anything
            self._outage.failed(error)
            return {}
        vectors = {
            key: np.frombuffer(value, "<f4")
            for key, value in held.items()
            if isinstance(value, bytes) and len(value) == 4 * self.dimension
        }
        return {key: vector for key, vector in vectors.items() if np.isfinite(vector).all()}

    def _write(self, vectors: dict[str, Vector]) -> None:
        if self._outage.is_pausing:
            return
        try:
            cache.set_many(
                {key: vector.astype("<f4").tobytes() for key, vector in vectors.items()}, self.seconds
            )
            self._outage.succeeded()
        except Exception as error:
            self._outage.failed(error)


def _digest(query: Query) -> str:
    text = query.text.encode("utf-8", "surrogatepass")
    width, height = query.image.size if query.image is not None else (0, 0)
    digest = hashlib.sha256(b"%d %d %d\n" % (len(text), width, height) + text)
    if query.image is not None:
        digest.update(query.image.convert("RGB").tobytes())
    return digest.hexdigest()
