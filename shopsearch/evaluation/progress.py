"""Work on many queries that says how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shopsearch.embedders.base import Embedder
    from shopsearch.types import Query, Vector

Progress = Callable[[int, int], None]
"""Called with how much is done, of how much."""


def unseen(done: int, total: int) -> None:
    """For whoever does not watch."""


@contextmanager
def progress_bar(unit: str) -> Iterator[Progress]:
    """For whoever watches a command: a bar, while inside."""
    from tqdm import tqdm  # workers measure without one

    with tqdm(unit=unit, disable=None, dynamic_ncols=True) as bar:

        def show(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        yield show


def embedded(embedder: Embedder, queries: Sequence[Query], progress: Progress) -> Iterator[Vector]:
    """The queries' vectors, in order, a batch at a time."""
    for start in range(0, len(queries), embedder.batch_size):
        batch = queries[start : start + embedder.batch_size]
        yield from embedder.embed(batch)
        progress(start + len(batch), len(queries))
