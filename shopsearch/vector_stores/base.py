"""The interface of a vector store."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from django.core.checks import CheckMessage

if TYPE_CHECKING:
    from shopsearch.filters import Filter
    from shopsearch.types import CollectionSchema, Entity, FilterValue, Hit, Vector


class VectorStore(ABC):
    """Keeps entities and finds those nearest to a vector. Every verb may be repeated without harm.

    A subclass is a keyword-only dataclass whose fields are its OPTIONS. Constructing it is cheap and opens no socket.
    It connects on first use, once per process, survives a fork and a server that went away, and is safe to use from
    threads. Every verb raises VectorStoreError, within seconds, when the store cannot be reached. A read sees what
    the same process wrote before.

    A collection's name has letters, digits and underscores. ``search``, ``fetch``, ``ids``, ``count`` and ``delete``
    treat a collection that does not exist as an empty one; ``upsert`` raises VectorStoreError.
    """

    full_text: bool = False
    """Whether it can search by words. If not, no schema has a field of words."""

    @abstractmethod
    def ensure_collection(self, collection: str, schema: CollectionSchema) -> None:
        """Afterwards the collection exists with this schema.

        Raises ImproperlyConfigured when it exists with another one: drop it or use another name.
        """

    @abstractmethod
    def drop_collection(self, collection: str) -> None:
        """Afterwards neither the collection nor an alias of it exists."""

    @abstractmethod
    def collections(self) -> list[str]:
        """The names of all collections in the store, without aliases."""

    @abstractmethod
    def point_alias(self, alias: str, collection: str) -> None:
        """Afterwards the alias is another name of this collection, for programs that read the store directly.

        An existing alias moves in one step. Raises VectorStoreError when there is no such collection.
        """

    @abstractmethod
    def upsert(self, collection: str, entities: Sequence[Entity]) -> None:
        """Insert the entities, or replace those with the same id. Their ids must be distinct.

        Raises ValueError for a vector of another dimension or with a number that is not finite.
        """

    @abstractmethod
    def delete(self, collection: str, ids: Sequence[str]) -> None:
        """Afterwards no entity has one of these ids."""

    @abstractmethod
    def fetch(self, collection: str, ids: Sequence[str]) -> list[Entity]:
        """The entities with these ids that exist, with vectors and fields, in no particular order."""

    @abstractmethod
    def ids(self, collection: str) -> Iterator[str]:
        """The id of every entity, each once, streamed."""

    @abstractmethod
    def search(
        self, collection: str, vector: Vector, *, limit: int, filters: Filter | None = None
    ) -> list[Hit]:
        """The nearest entities that pass the filters, best first, at most ``limit`` (up to 16,384)."""

    def search_words(
        self, collection: str, text: str, *, vector: Vector, limit: int, filters: Filter | None = None
    ) -> list[Hit]:
        """The entities that pass the filters and have any word of the text, best first by BM25, at most ``limit``.

        Each hit comes with its words; its score is its cosine with ``vector``. The text is words of letters and
        digits in any case, and nothing in it is an operator. Finds nothing in a collection without a field of words.
        """
        raise NotImplementedError(f"{type(self).__name__} has no full text.")

    @abstractmethod
    def count(self, collection: str) -> int:
        """How many entities there are."""

    def stored(self, value: FilterValue | None) -> FilterValue | None:
        """A field's value as it will be read: a store may cut a very long one."""
        return value

    def check(self) -> list[CheckMessage]:
        """What ``manage.py check`` should say about the options. Opens no connection."""
        return []
