"""Milvus in each of its sizes: Milvus Lite's server, standalone, a cluster, Zilliz Cloud. Milvus 2.5 or later."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError
from shopsearch.types import CollectionSchema, Entity, Hit
from shopsearch.vector_stores.base import VectorStore
from shopsearch.vector_stores.milvus.connection import CollectionMissing, Connection
from shopsearch.vector_stores.milvus.expressions import PREFIX, expression, literal
from shopsearch.vector_stores.milvus.rows import (
    WORDS_VECTOR,
    check_version,
    collection_schema,
    cosine,
    entity,
    hit,
    indexes,
    milvus_schema,
    row,
    row_names,
)
from shopsearch.vector_stores.validation import (
    checked_collection,
    checked_entities,
    checked_filter,
    checked_ids,
    checked_limit,
    checked_vector,
)

if TYPE_CHECKING:
    from shopsearch.filters import Filter
    from shopsearch.types import Vector

_CONSISTENCY_LEVELS = ("Strong", "Session", "Bounded", "Eventually")
_PAGE, _BATCH_BYTES = 1_000, 8 * 1024 * 1024


@dataclass(kw_only=True, eq=False)
class MilvusStore(VectorStore):
    """Keeps entities in Milvus, whichever of its servers answers at ``uri``.

    A search sees what this process wrote before; ``fetch``, ``ids`` and ``count`` see what any process wrote.
    A text longer than 2,048 bytes is kept cut, ending in its digest; of more than 4,096 strings the first are kept.
    """

    uri: str = "http://127.0.0.1:19530"
    """``http://host:port``, ``https://…`` for Zilliz Cloud, or ``unix:/path``; never a file."""
    token: str = field(default="", repr=False)
    """``user:password`` or an API key."""
    database: str = ""
    timeout_seconds: float = 10.0
    """The longest that one call may take."""
    index_type: str = ""
    """The vector index. "" is HNSW, and FLAT on Milvus Lite, whose HNSW loses entities behind a narrow filter."""
    index_params: Mapping[str, Any] = field(default_factory=dict)
    """What the vector index is built with, by Milvus's names; HNSW has M=32 and efConstruction=256 without it."""
    search_params: Mapping[str, Any] = field(default_factory=lambda: {"ef": 256})
    """What it is searched with; ``ef`` is raised to the limit where it is less."""
    consistency_level: str = "Session"
    full_text: bool = True
    """Whether collections are made to be searched by words too; False for a server that cannot."""
    _connection: Connection = field(init=False, repr=False)
    _schemas: dict[str, CollectionSchema] = field(default_factory=dict, init=False, repr=False)
    """As last described by the server, so that a search is one call."""

    def __post_init__(self) -> None:
        self._connection = Connection(
            uri=str(self.uri),
            token=self.token,
            database=self.database,
            timeout_seconds=self.timeout_seconds,
        )

    def ensure_collection(self, collection: str, schema: CollectionSchema) -> None:
        held = self._describe(checked_collection(collection))
        if held is None:
            try:
                self._create(collection, schema)
            except VectorStoreError:
                if self._describe(collection) is None:  # otherwise another process was faster
                    raise
            held = self._describe(collection)
        if held is None or (held.dimension, dict(held.fields)) != (schema.dimension, dict(schema.fields)):
            raise ImproperlyConfigured(
                f"The collection {collection} exists with another schema, {held}: drop it, or use another name."
            )
        self._ensure_indexes(collection, {"vector", WORDS_VECTOR} if schema.words else {"vector"})
        self._call("load_collection", collection)

    def drop_collection(self, collection: str) -> None:
        self._schemas.pop(collection, None)
        # By its own name only: Milvus Lite drops an alias's collection, and Milvus keeps the alias of one that is gone.
        if collection not in self.collections():
            return
        try:
            for alias in self._call("list_aliases", collection)["aliases"]:
                self._call("drop_alias", alias=alias)
            self._call("drop_collection", collection)
        except CollectionMissing:
            return

    def point_alias(self, alias: str, collection: str) -> None:
        if checked_collection(collection) not in self.collections():
            raise CollectionMissing(f"There is no collection {collection} in the vector store.")
        try:
            self._call("alter_alias", collection, alias=checked_collection(alias))
        except VectorStoreError:  # there is no such alias yet
            self._call("create_alias", collection, alias=alias)

    def collections(self) -> list[str]:
        return sorted(self._call("list_collections"))

    def upsert(self, collection: str, entities: Sequence[Entity]) -> None:
        schema = self._schema(collection)
        if schema is None:
            raise CollectionMissing(f"There is no collection {collection} in the vector store.")
        rows = [row(*each, schema.words) for each in checked_entities(entities, schema)]
        # Milvus takes messages up to a limit in bytes, and a vector has four for each number.
        size = max(1, min(_PAGE, _BATCH_BYTES // (4 * schema.dimension)))
        for start in range(0, len(rows), size):
            self._call("upsert", collection, data=rows[start : start + size])

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        for page in _pages(checked_ids(ids)):
            try:
                self._call("delete", collection, ids=page)
            except CollectionMissing:
                return

    def fetch(self, collection: str, ids: Sequence[str]) -> list[Entity]:
        entities: list[Entity] = []
        for page in _pages(checked_ids(ids)):
            schema = self._schema(collection)
            if schema is None:
                return []
            condition = f"id in [{', '.join(map(literal, page))}]"
            rows = self._read(collection, filter=condition, output_fields=row_names(schema))
            entities += [entity(found, schema) for found in rows]
        return entities

    def ids(self, collection: str) -> Iterator[str]:
        try:
            pages = self._call(
                "query_iterator",
                collection,
                batch_size=_PAGE,
                output_fields=["id"],
                consistency_level="Strong",
            )
        except CollectionMissing:
            return
        with self._connection.failures():
            while rows := pages.next():
                yield from (row["id"] for row in rows)
            pages.close()

    def search(
        self, collection: str, vector: Vector, *, limit: int, filters: Filter | None = None
    ) -> list[Hit]:
        schema = self._schema(collection)
        if schema is None:
            return []
        params = dict(self.search_params)
        if "ef" in params:
            params["ef"] = max(params["ef"], limit)
        search_params = {"metric_type": "COSINE", "params": params}
        wanted = checked_vector(vector, schema)
        found = self._find(collection, wanted, limit=limit, filters=filters, search_params=search_params)
        hits = [hit(each, float(each["distance"])) for each in found]  # Milvus's name for the cosine
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))

    def search_words(
        self, collection: str, text: str, *, vector: Vector, limit: int, filters: Filter | None = None
    ) -> list[Hit]:
        schema = self._schema(collection)
        if schema is None or not schema.words:
            return []
        wanted = checked_vector(vector, schema)
        found = self._find(
            collection,
            text,
            limit=limit,
            filters=filters,
            more_fields=("vector", PREFIX + schema.words),
            anns_field=WORDS_VECTOR,
            search_params={"metric_type": "BM25"},
        )
        # Milvus Lite writes BM25's scores below zero. What answers alike comes in one order, whoever is asked.
        found.sort(key=lambda each: (-abs(each["distance"]), each["id"]))
        return [hit(each, cosine(each["entity"]["vector"], wanted), schema.words) for each in found]

    def _find(
        self,
        collection: str,
        wanted: Any,
        *,
        limit: int,
        filters: Filter | None,
        more_fields: Sequence[str] = (),
        **arguments: Any,
    ) -> list[Any]:
        schema = self._schema(collection)
        if schema is None:
            return []
        checked_filter(filters, schema)
        try:
            [found] = self._call(
                "search",
                collection,
                data=[wanted],
                limit=checked_limit(limit),
                filter=expression(filters, schema),
                # Named, because without a list Milvus Lite sends each vector too.
                output_fields=["image_id", "product_id", *more_fields],
                consistency_level=self.consistency_level,
                **arguments,
            )
        except CollectionMissing:
            self._schemas.pop(collection, None)
            return []
        return list(found)

    def count(self, collection: str) -> int:
        rows = self._read(collection, filter="", output_fields=["count(*)"])
        return int(rows[0]["count(*)"]) if rows else 0

    def check(self) -> list[CheckMessage]:
        messages = [*self._connection.check()]
        if self.consistency_level not in _CONSISTENCY_LEVELS:
            hint = f"Use one of {', '.join(_CONSISTENCY_LEVELS)}."
            problem = f"Milvus has no consistency level {self.consistency_level!r}."
            messages.append(Error(problem, hint=hint, id="shopsearch.E012"))
        return messages

    def close(self) -> None:
        """Hang up; the next call connects again."""
        self._connection.close()

    def _call(self, verb: str, collection: str = "", **arguments: Any) -> Any:
        return self._connection.call(verb, collection, **arguments)

    def _read(self, collection: str, **arguments: Any) -> list[dict[str, Any]]:
        try:
            return list(self._call("query", collection, consistency_level="Strong", **arguments))
        except CollectionMissing:
            return []

    def _create(self, collection: str, schema: CollectionSchema) -> None:
        """The collection, without its index: given both, pymilvus waits half a second for it."""
        check_version(str(self._call("get_server_version")))
        self._call(
            "create_collection",
            collection,
            schema=milvus_schema(schema),
            consistency_level=self.consistency_level,
        )

    def _ensure_indexes(self, collection: str, names: Set[str]) -> None:
        lacking = names - set(self._call("list_indexes", collection))
        if not lacking:
            return
        version = str(self._call("get_server_version"))
        made = indexes(lacking, version, vector_index=self.index_type, params=self.index_params)
        try:
            self._call("create_index", collection, index_params=made, sync=False)
        except VectorStoreError:
            if names - set(self._call("list_indexes", collection)):  # otherwise another process was faster
                raise

    def _schema(self, collection: str) -> CollectionSchema | None:
        return self._schemas.get(collection) or self._describe(collection)

    def _describe(self, collection: str) -> CollectionSchema | None:
        """The schema as the server has it; None where there is no such collection."""
        self._schemas.pop(collection, None)
        try:
            described = self._call("describe_collection", collection)
        except CollectionMissing:
            return None
        schema = collection_schema(described)
        self._schemas[collection] = schema
        return schema


def _pages(ids: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(ids), _PAGE):
        yield ids[start : start + _PAGE]
