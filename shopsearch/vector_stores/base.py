"""The interface of a vector store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from django.core.checks import CheckMessage

if TYPE_CHECKING:
    from shopsearch.filters import Filter
    from shopsearch.types import CollectionSchema, Entity, FilterValue, Hit, Vector


class VectorStore(ABC):
    """Keeps entities and finds those nearest to a vector. Every method may be repeated without harm.

    A subclass is a keyword-only dataclass whose fields are its OPTIONS. Constructing it is cheap and opens no socket.
    It connects on first use, once per process, survives a fork and a restart of the server, and is thread-safe. Every
    method raises VectorStoreError, within seconds, if the store cannot be reached. A read sees what the same process
    wrote before.

    A collection's name has letters, digits and underscores. ``search``, ``fetch``, ``ids``, ``count`` and ``delete``
    treat a collection that does not exist as an empty one; ``upsert`` raises VectorStoreError.
    """

    full_text: bool = False
    """Whether it can search by words. If not, no schema has a words field."""

    @abstractmethod
    def ensure_collection(self, collection: str, schema: CollectionSchema) -> None:
        """Create the collection with this schema unless it exists.

        Raises ImproperlyConfigured if it exists with another schema: drop it or use another name.
        """

    @abstractmethod
    def drop_collection(self, collection: str) -> None:
        """Drop the collection and its aliases, if they exist."""

    @abstractmethod
    def collections(self) -> list[str]:
        """The names of all collections in the store, without aliases."""

    @abstractmethod
    def point_alias(self, alias: str, collection: str) -> None:
        """Make the alias another name of this collection, for programs that read the store directly.

        An existing alias moves in one step. Raises VectorStoreError if there is no such collection.
        """

    @abstractmethod
    def upsert(self, collection: str, entities: Sequence[Entity]) -> None:
        """Insert the entities, or replace those with the same id. Their ids must be distinct.

        Raises ValueError for a vector of another dimension or with a value that is not finite.
        """

    @abstractmethod
    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Delete the entities with these ids, if they exist."""

    @abstractmethod
    def fetch(self, collection: str, ids: Sequence[str]) -> list[Entity]:
        """The entities with these ids that exist, with vectors and fields, in no particular order."""

    @abstractmethod
    def ids(self, collection: str) -> Iterator[str]:
        """The ids of all entities, each once, streamed."""

    @abstractmethod
    def search(
        self, collection: str, vector: Vector, *, limit: int, filters: Filter | None = None
    ) -> list[Hit]:
        """The nearest entities that pass the filters, best first, at most ``limit`` (up to 16,384)."""

    def search_words(
        self,
        collection: str,
        text: str,
        *,
        vector: Vector,
        limit: int,
        filters: Filter | None = None,
        known: Iterable[Hit] = (),
        score_if: Callable[[str], bool] | None = None,
    ) -> list[Hit]:
        """The entities that pass the filters and have any word of the text, best first by BM25, at most ``limit``.

        Each hit comes with its words; its score is its cosine with ``vector``. The text is split into words of letters
        and digits, case does not matter, and nothing in it is an operator. Finds nothing in a collection without a
        words field. ``known`` are hits that were found with the same vector: their scores need not be found out again.
        With ``score_if`` the same holds for hits whose words it refuses: they may have -1, the least there is.
        """
        raise NotImplementedError(f"{type(self).__name__} has no full text.")

    @abstractmethod
    def count(self, collection: str) -> int:
        """How many entities there are."""

    def stored(self, value: FilterValue | None) -> FilterValue | None:
        """A field's value as it will be read back: a store may cut a very long one."""
        return value

    def check(self) -> list[CheckMessage]:
        """What ``manage.py check`` should say about the options. Opens no connection."""
        return []
