"""A store and two embedders that fail as they are told, for schedules of faults in one process."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from shopsearch.embedders.base import Embedder
from shopsearch.exceptions import EmbedderError, VectorStoreError
from shopsearch.testing import MemoryStore
from tests.faults.stage import Killed

_collections = {}
POISON = (66, 80, 40)
"""The first pixel of a picture that kills whoever embeds it."""


class Weather:
    """What fails now, and the stage whose actors may be interrupted at every call: set by a schedule."""

    def __init__(self):
        self.point = lambda name: None
        self.fair()

    def fair(self):
        self.store_is_away = False
        self.disk_is_full = False
        """The store's: it reads and deletes, and writes nothing."""
        self.failing_call = 0
        """Which call of the store from now on fails, whatever it is; 0 for none."""
        self.embedder_is_away = False
        self.acknowledges = lambda: True
        self.embedded = Counter()


weather = Weather()


@dataclass(kw_only=True, eq=False)
class FaultyStore(MemoryStore):
    """Outlives a change of settings, as a server does.

    May be away or full, fail at one call, or do what it is told and answer with an error.
    """

    def __post_init__(self):
        self._collections = _collections


def _faulty(verb):
    plain = getattr(MemoryStore, verb)

    def call(self, *arguments, **options):
        weather.point(f"before {verb}")
        if weather.store_is_away:
            raise VectorStoreError("The store is away.")
        if weather.disk_is_full and verb in ("ensure_collection", "point_alias", "upsert"):
            raise VectorStoreError("No space left on device.")
        if weather.failing_call:
            weather.failing_call -= 1
            if not weather.failing_call:
                raise VectorStoreError("This call failed.")
        answer = plain(self, *arguments, **options)
        if not weather.acknowledges():
            raise VectorStoreError("The store did it, and its answer was lost.")
        weather.point(f"after {verb}")
        return answer

    return call


for _verb in (
    "ensure_collection",
    "drop_collection",
    "collections",
    "point_alias",
    "upsert",
    "delete",
    "fetch",
    "ids",
    "count",
):
    setattr(FaultyStore, _verb, _faulty(_verb))


@dataclass(kw_only=True, eq=False)
class PixelEmbedder(Embedder):
    """A picture's vector is the colour of its first pixel."""

    space: str = "pixel"
    batch_size: int = 3
    order: tuple[int, ...] = field(default=(0, 1, 2, 3))

    @property
    def dimension(self):
        return 4

    def embed(self, queries):
        weather.point("before embed")
        if weather.embedder_is_away:
            raise EmbedderError("The embedder is away.")
        if any(query.image.getpixel((0, 0)) == POISON for query in queries):
            raise Killed
        vectors = np.array([self.see(query.image.getpixel((0, 0))) for query in queries], np.float32)
        weather.embedded[self.space] += len(queries)
        weather.point("after embed")
        return vectors

    def see(self, pixel):
        vector = np.array([*pixel[:3], 255], np.float32)[list(self.order)]
        return vector / np.linalg.norm(vector)


@dataclass(kw_only=True, eq=False)
class OtherPixelEmbedder(PixelEmbedder):
    """The next model: the same colours in another space."""

    space: str = "otherpixel"
    order: tuple[int, ...] = field(default=(2, 0, 3, 1))
