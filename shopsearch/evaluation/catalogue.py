"""The index's pictures one after the other, for searchers that do not use the vector store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

from shopsearch import images
from shopsearch.embedders.base import Embedder
from shopsearch.evaluation.measures import DEPTH
from shopsearch.evaluation.searchers import Searcher
from shopsearch.exceptions import ImageError
from shopsearch.registry import ImageIndex
from shopsearch.types import Query

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Vector

ROWS_AT_ONCE = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A picture of the shop, and the product it shows."""

    product_id: str
    words: str
    """The index's text of the product."""
    picture: Image


def listed(index: ImageIndex) -> Iterator[Listed | None]:
    """Every picture that the index shows, one at a time; None for each that cannot be read."""
    for image in index.get_queryset().order_by("pk").iterator(chunk_size=ROWS_AT_ONCE):
        try:
            with index.open_image(image) as file:
                picture = images.decode(file)
        except (ImageError, OSError, ValueError):
            yield None
            continue
        product = index.product_of(image)
        if product is None:
            yield None
            continue
        yield Listed(product_id=str(product.pk), words=index.text_of(product), picture=picture)


class CatalogueSearcher(Searcher, Protocol):
    """A searcher that has to see the shop's pictures before it is asked."""

    def add(self, item: Listed) -> None:
        """Called with each picture."""


def show(index: ImageIndex, searchers: Sequence[CatalogueSearcher], *, quiet: bool | None = None) -> int:
    """Show the shop's pictures to the searchers; each is read once. Returns how many cannot be read."""
    unreadable = 0
    total = index.get_queryset().count()
    for item in tqdm(listed(index), total=total, desc="Looking at the shop", unit=" pictures", disable=quiet):
        if item is None:
            unreadable += 1
            continue
        for searcher in searchers:
            searcher.add(item)
    return unreadable


@dataclass(kw_only=True)
class Nearest:
    """Exact search over products' vectors in memory; a product is ranked by its nearest vector."""

    products: list[str] = field(default_factory=list)
    rows: list[npt.NDArray[np.float32]] = field(default_factory=list)

    def add(self, product_id: str, vector: npt.NDArray[np.float32]) -> None:
        self.products.append(product_id)
        self.rows.append(vector)

    def find(self, vector: npt.NDArray[np.float32]) -> Sequence[str]:
        if not self.rows:
            return []
        if len(self.rows) > 1:
            self.rows = [np.vstack(self.rows)]
        order = np.argsort(-(np.atleast_2d(self.rows[0]) @ vector), kind="stable")
        found: dict[str, None] = {}
        for place in order:
            found.setdefault(self.products[place])
            if len(found) == DEPTH:
                break
        return list(found)


@dataclass(kw_only=True)
class OtherEmbedder:
    """Another embedder over the same pictures, with exact search: no vector store could do better with it."""

    embedder: Embedder
    name: str
    _nearest: Nearest = field(default_factory=Nearest, init=False)
    _waiting: list[Listed] = field(default_factory=list, init=False)

    def add(self, item: Listed) -> None:
        self._waiting.append(item)
        if len(self._waiting) >= self.embedder.batch_size:
            self._embed_waiting()

    def _embed_waiting(self) -> None:
        waiting, self._waiting = self._waiting, []
        vectors = self.embedder.embed([Query(image=item.picture) for item in waiting])
        for item, vector in zip(waiting, vectors, strict=True):
            self._nearest.add(item.product_id, vector)

    def find(self, query: Query) -> Sequence[str] | None:
        if self._waiting:
            self._embed_waiting()
        vector: Vector = self.embedder.embed([query])[0]
        return self._nearest.find(vector)
