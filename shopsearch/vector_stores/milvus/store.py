"""MilvusStore: keeps entities in Milvus Lite behind our server, or in Milvus 2.5 or later of any size."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.core.checks import CheckMessage, Error
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError
from shopsearch.types import CollectionSchema, Entity, Hit
from shopsearch.vector_stores.base import VectorStore
from shopsearch.vector_stores.milvus import indexes, rows
from shopsearch.vector_stores.milvus.connection import CollectionMissing, Connection, import_pymilvus
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
    from shopsearch.types import FilterValue, Vector

_CONSISTENCY_LEVELS = ("Strong", "Session", "Bounded", "Eventually")
_OLDEST = (2, 5)
_PAGE, _BATCH_BYTES = 1_000, 8 * 1024 * 1024
LITE_ENTITIES = 50_000
"""The most entities for a collection in Milvus Lite; for more, use a Milvus server: docs/scaling.md."""
_Item = TypeVar("_Item")


class _Known(NamedTuple):
    """What this process remembers about a collection, so that a search takes one call."""

    schema: CollectionSchema
    index_type: str
    """The vectors' index type; "" while they have no index."""


@dataclass(kw_only=True, eq=False)
class MilvusStore(VectorStore):
    """Keeps entities in the Milvus server at ``uri``.

    A search sees what this process wrote before; ``fetch``, ``ids`` and ``count`` see what any process wrote. A text of
    more than 2,048 bytes is cut and ends in its digest; a list keeps its first 4,096 strings.
    """

    uri: str = "http://127.0.0.1:19530"
    """``http://host:port``, ``https://…``, or ``unix:/path``; never a file."""
    token: str = field(default="", repr=False)
    """``user:password`` or an API key."""
    database: str = ""
    timeout_seconds: float = 10.0
    """The deadline of one call. To create, index, load or drop a collection may take a minute whatever it says."""
    ca_certificate: str = ""
    """Path of the CA certificate that the server's is checked against; "" for those that the system trusts."""
    client_certificate: str = ""
    """Path of our certificate for the server; needs ``client_key`` and ``ca_certificate`` too."""
    client_key: str = ""
    server_name: str = ""
    """The name in the server's certificate, if it is not the host in ``uri``."""

    expected_entities: int = 0
    """How many entities a collection will hold. With ``memory_gib`` it decides the vector index: docs/scaling.md."""
    memory_gib: float = 0.0
    """Memory for one replica of a collection's vectors, in all query nodes or GPUs together; 0: enough."""
    gpu: bool = False
    """Whether the server searches on GPUs."""
    index_type: str = ""
    """The type of vector index; "" for the one that the rule in docs/scaling.md chooses."""
    index_params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters to build the vector index with, by Milvus's names; {} for those of the rule."""
    search_params: Mapping[str, Any] = field(default_factory=dict)
    """Parameters to search it with; {} for those of the rule. ``ef`` and the like are raised to a search's limit."""
    mmap: bool | None = None
    """Whether new collections are memory-mapped from disk instead of loaded; None for the server's default."""
    replicas: int = 1
    resource_groups: Sequence[str] = ()
    """The groups of query nodes that hold the replicas."""
    consistency_level: str = "Session"
    full_text: bool = True
    """Whether new collections can be searched by words; False for a server that cannot."""

    _connection: Connection = field(init=False, repr=False)
    _known: dict[str, _Known] = field(default_factory=dict, init=False, repr=False)
    _ensured: dict[str, CollectionSchema] = field(default_factory=dict, init=False, repr=False)
    """The collections that this process knows to be indexed and loaded, with their schema."""

    def __post_init__(self) -> None:
        tls = {"server_name": self.server_name}
        if self.client_certificate or self.client_key:
            tls["ca_pem_path"] = self.ca_certificate
            tls |= {"client_pem_path": self.client_certificate, "client_key_path": self.client_key}
        else:
            tls["server_pem_path"] = self.ca_certificate
        self._connection = Connection(
            uri=str(self.uri),
            token=self.token,
            database=self.database,
            timeout_seconds=self.timeout_seconds,
            tls={name: value for name, value in tls.items() if value},
        )

    # Collections

    def ensure_collection(self, collection: str, schema: CollectionSchema) -> None:
        held = self._describe(checked_collection(collection))
        if held is None:
            self._ensured.pop(collection, None)
            try:
                self._create(collection, schema)
            except VectorStoreError:
                if self._describe(collection) is None:  # else another process was faster
                    raise
            held = self._describe(collection)
        if held is None or (held.schema.dimension, dict(held.schema.fields)) != (
            schema.dimension,
            dict(schema.fields),
        ):
            raise ImproperlyConfigured(
                f"The collection {collection} exists with another schema, {held and held.schema}: drop it, or use "
                "another name."
            )
        if self._ensured.get(collection) != schema:
            self._ensure_indexes(collection, schema)
            self._load(collection)
            self._ensured[collection] = schema

    def drop_collection(self, collection: str) -> None:
        self._known.pop(collection, None)
        # By its own name, never an alias: Milvus Lite would drop the alias's collection. And an alias has to be dropped
        # too, because Milvus keeps it after its collection is gone.
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
        if not self._has_alias(checked_alias := checked_collection(alias)):
            try:
                self._call("create_alias", collection, alias=checked_alias)
                return
            except VectorStoreError:
                if not self._has_alias(checked_alias):  # else another process was faster
                    raise
        self._call("alter_alias", collection, alias=checked_alias)

    def _has_alias(self, alias: str) -> bool:
        return alias in self._call("list_aliases", collection_name="")["aliases"]

    def collections(self) -> list[str]:
        return sorted(self._call("list_collections"))

    def _create(self, collection: str, schema: CollectionSchema) -> None:
        """Create the collection without its indexes: if they are created with it, pymilvus waits half a second."""
        server = self._connection.server()
        if () < server.version < _OLDEST:
            # An older Milvus would create the collection but refuse entities with a missing value.
            raise ImproperlyConfigured(
                f"The vector store is Milvus {server.name}: shopsearch needs 2.5 or later."
            )
        options = {} if self.mmap is None or server.is_lite else {"properties": {"mmap.enabled": self.mmap}}
        self._call(
            "create_collection",
            collection,
            schema=rows.milvus_schema(schema),
            consistency_level=self.consistency_level,
            **options,
        )

    def _ensure_indexes(self, collection: str, schema: CollectionSchema) -> None:
        server = self._connection.server()
        vector_index = indexes.choose(
            server,
            dimension=schema.dimension,
            entities=self.expected_entities,
            memory_bytes=self.memory_gib * 1024**3,
            gpu=self.gpu,
        )
        if self.index_type:
            vector_index = indexes.KINDS.get(self.index_type, indexes.VectorIndex(type=self.index_type))
        wanted = {"vector": vector_index.type} | indexes.scalar_indexes(schema, server)
        if schema.words:
            wanted[rows.WORDS_VECTOR] = "SPARSE_INVERTED_INDEX"
        for name in wanted.keys() - set(self._call("list_indexes", collection)):
            params = import_pymilvus().MilvusClient.prepare_index_params()
            options: dict[str, Any] = {}
            if name == "vector":
                options = {"metric_type": "COSINE", "params": dict(self.index_params or vector_index.build)}
            elif name == rows.WORDS_VECTOR:
                options = {"metric_type": "BM25"}
            params.add_index(name, index_type=wanted[name], index_name=name, **options)
            try:
                self._call("create_index", collection, index_params=params, sync=False)
            except VectorStoreError:
                if name not in self._call("list_indexes", collection):  # else another process was faster
                    raise
        self._known.pop(collection, None)

    def _load(self, collection: str) -> None:
        options: dict[str, Any] = {}
        if self.replicas > 1:
            options["replica_number"] = self.replicas
        if self.resource_groups:
            options["resource_groups"] = list(self.resource_groups)
        self._call("load_collection", collection, **options)

    # Writing

    def upsert(self, collection: str, entities: Sequence[Entity]) -> None:
        schema = self._existing(collection).schema
        written = [rows.row(*each, schema.words) for each in checked_entities(entities, schema)]
        # Milvus limits a message's bytes, and a vector takes four bytes per number.
        size = max(1, min(_PAGE, _BATCH_BYTES // (4 * schema.dimension)))
        for page in _pages(written, size):
            self._call("upsert", collection, data=page)

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        for page in _pages(checked_ids(ids), _PAGE):
            try:
                self._call("delete", collection, ids=page)
            except CollectionMissing:
                return

    def stored(self, value: FilterValue | None) -> FilterValue | None:
        return rows.stored(value)

    # Reading

    def fetch(self, collection: str, ids: Sequence[str]) -> list[Entity]:
        entities: list[Entity] = []
        for page in _pages(checked_ids(ids), _PAGE):
            known = self._describe_once(collection)
            if known is None:
                return []
            names = rows.field_names(known.schema)
            found = self._read(collection, filter=rows.any_id(page), output_fields=names)
            entities += [rows.entity(each, known.schema) for each in found]
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
            while page := pages.next():
                yield from (row["id"] for row in page)
            pages.close()

    def count(self, collection: str) -> int:
        found = self._read(collection, filter="", output_fields=["count(*)"])
        return int(found[0]["count(*)"]) if found else 0

    def search(
        self, collection: str, vector: Vector, *, limit: int, filters: Filter | None = None
    ) -> list[Hit]:
        known = self._describe_once(collection)
        if known is None:
            return []
        condition = _condition(filters, known.schema)
        found = self._nearest(collection, known, vector, limit=checked_limit(limit), filter=condition)
        hits = [rows.hit(each, float(each["distance"])) for each in found]  # Milvus's name for the cosine
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))

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
        held = self._describe_once(collection)
        if held is None or not (field := held.schema.words):
            return []
        found = self._find(
            collection,
            rows.words(text),
            limit=checked_limit(limit),
            filter=_condition(filters, held.schema),
            output_fields=["image_id", "product_id", rows.PREFIX + field],
            anns_field=rows.WORDS_VECTOR,
            search_params={"metric_type": "BM25"},
        )
        # Milvus Lite's BM25 scores are negative. Ties go by id, so that all servers give the same order.
        found.sort(key=lambda each: (-abs(each["distance"]), each["id"]))
        scores = {hit.id: hit.score for hit in known}
        unknown = {
            each["id"]: each["entity"][rows.PREFIX + field] for each in found if each["id"] not in scores
        }
        wanted = [key for key, own in unknown.items() if score_if is None or score_if(own)]
        scores |= dict.fromkeys(unknown.keys() - set(wanted), -1.0)
        scores |= self._cosines(collection, held, vector, wanted)
        return [rows.hit(each, scores[each["id"]], field) for each in found if each["id"] in scores]

    def _cosines(self, collection: str, known: _Known, vector: Vector, ids: list[str]) -> dict[str, float]:
        """The cosines by id, from a search among only these entities.

        Reading their vectors instead would take four times as long on Milvus Lite, and transfer 3 KB each.
        """
        if not ids:
            return {}
        found = self._nearest(
            collection, known, vector, limit=len(ids), filter=rows.any_id(ids), output_fields=["id"]
        )
        return {each["id"]: float(each["distance"]) for each in found}

    def _nearest(
        self, collection: str, known: _Known, vector: Vector, *, limit: int, **arguments: Any
    ) -> list[Any]:
        params = indexes.search_params(known.index_type, self.search_params, limit)
        return self._find(
            collection,
            checked_vector(vector, known.schema),
            limit=limit,
            anns_field="vector",
            search_params={"metric_type": "COSINE", "params": params},
            # Without a list of fields, Milvus Lite sends the vectors too.
            **({"output_fields": ["image_id", "product_id"]} | arguments),
        )

    def _find(self, collection: str, wanted: Any, **arguments: Any) -> list[Any]:
        try:
            [found] = self._call(
                "search", collection, data=[wanted], consistency_level=self.consistency_level, **arguments
            )
        except CollectionMissing:
            self._known.pop(collection, None)
            return []
        # As plain dictionaries: pymilvus's own are several times slower to read.
        return list(map(dict, found))

    def _read(self, collection: str, **arguments: Any) -> list[dict[str, Any]]:
        try:
            return list(self._call("query", collection, consistency_level="Strong", **arguments))
        except CollectionMissing:
            return []

    # The server

    @property
    def is_lite(self) -> bool:
        """Whether the server is Milvus Lite. Raises VectorStoreError if no server answers."""
        return self._connection.server().is_lite

    def check(self) -> list[CheckMessage]:
        messages = [*self._connection.check()]
        if self.consistency_level not in _CONSISTENCY_LEVELS:
            hint = f"Use one of {', '.join(_CONSISTENCY_LEVELS)}."
            problem = f"Milvus has no consistency level {self.consistency_level!r}."
            messages.append(Error(problem, hint=hint, id="shopsearch.E012"))
        return messages

    def close(self) -> None:
        """Close the connection; the next call connects again."""
        self._connection.close()

    def _call(self, verb: str, collection: str = "", **arguments: Any) -> Any:
        return self._connection.call(verb, collection, **arguments)

    def _existing(self, collection: str) -> _Known:
        known = self._describe_once(collection)
        if known is None:
            raise CollectionMissing(f"There is no collection {collection} in the vector store.")
        return known

    def _describe_once(self, collection: str) -> _Known | None:
        return self._known.get(collection) or self._describe(collection)

    def _describe(self, collection: str) -> _Known | None:
        """The collection as the server has it; None if there is none."""
        self._known.pop(collection, None)
        try:
            schema = rows.collection_schema(self._call("describe_collection", collection))
            index = self._call("describe_index", collection, index_name="vector") or {}
        except CollectionMissing:
            return None
        known = _Known(schema, str(index.get("index_type", "")))
        if known.index_type:
            self._known[collection] = known
        return known


def _condition(filters: Filter | None, schema: CollectionSchema) -> str:
    checked_filter(filters, schema)
    return rows.expression(filters, schema)


def _pages(items: list[_Item], size: int) -> Iterator[list[_Item]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
