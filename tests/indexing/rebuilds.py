"""Rebuilds as the workers do them, and a second model to rebuild for."""

import time
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path

from shopsearch.backends import get_vector_store
from shopsearch.indexing import batch as indexing
from shopsearch.indexing import rebuild
from shopsearch.models import Collection
from shopsearch.search.engine import search
from shopsearch.testing import ColourEmbedder, MemoryStore
from tests.shop.store import IMAGES

COLOUR = {"BACKEND": "shopsearch.testing.ColourEmbedder"}
MIRROR = {"BACKEND": "tests.indexing.rebuilds.MirrorEmbedder"}
GREYS = 12


@dataclass(kw_only=True, eq=False)
class MirrorEmbedder(ColourEmbedder):
    """Sees what ColourEmbedder sees and says it the other way round: a query of the other space finds nothing."""

    space: str = "mirror"

    def embed(self, queries):
        return super().embed(queries)[:, ::-1].copy()


@dataclass(kw_only=True, eq=False)
class LoggedEmbedder(MirrorEmbedder):
    """Writes a line into a file for each picture that it has embedded, and takes its time."""

    log: str
    batch_size: int = 4
    seconds: float = 0.02

    def embed(self, queries):
        time.sleep(self.seconds * len(queries))
        vectors = super().embed(queries)
        digests = [md5(query.image.tobytes()).hexdigest() for query in queries if query.image]
        with Path(self.log).open("a") as file:
            file.write("".join(f"{digest}\n" for digest in digests))
        return vectors


_kept = {}


@dataclass(kw_only=True, eq=False)
class KeptStore(MemoryStore):
    """Outlives a change of settings, as a server does."""

    def __post_init__(self):
        self._collections = _kept


def use(settings, embedder=MIRROR, former=None, **others):
    """From now on the settings say so."""
    settings.SHOPSEARCH = {
        **settings.SHOPSEARCH,
        "EMBEDDER": embedder,
        "FORMER_EMBEDDER": former,
        "VECTOR_STORE": {"BACKEND": "tests.indexing.rebuilds.KeptStore"},
        **others,
    }


def work():
    """What workers do until nothing is left to do."""
    while True:
        batches = list(indexing.index_pending())
        if not rebuild.advance() and not any(batch.claimed for batch in batches):
            return


def live():
    return Collection.objects.of(IMAGES).live().first()


def states():
    """Of all collections, the oldest first."""
    return list(Collection.objects.filter(index=IMAGES.name).order_by("pk").values_list("state", flat=True))


def found(words="red", **filters):
    """The titles of the first results."""
    return [result.product.title for result in search(words, filters=filters, limit=3).results]


def step():
    """One batch, as a worker does it."""
    rebuild.advance()
    indexing.index_batch()
    rebuild.advance()


def in_live():
    """What the live collection holds, by image."""
    store, collection = get_vector_store(), live().name
    return {entity.image_id: entity for entity in store.fetch(collection, list(store.ids(collection)))}
