"""An exact vector store in memory, for tests."""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from django.core.exceptions import ImproperlyConfigured

from shopsearch.exceptions import VectorStoreError
from shopsearch.filters import Filter, conditions, holds
from shopsearch.testing.embedders import unit
from shopsearch.types import CollectionSchema, Entity, FilterValue, Hit
from shopsearch.vector_stores.base import VectorStore
from shopsearch.vector_stores.validation import (
    checked_collection,
    checked_entities,
    checked_filter,
    checked_ids,
    checked_limit,
    checked_vector,
)

if TYPE_CHECKING:
    from shopsearch.types import Vector


@dataclass(kw_only=True, eq=False)
class MemoryStore(VectorStore):
    """An exact vector store in this process's memory: it compares the query with every entity."""

    full_text: bool = True
    """False: a store without word search."""
    _collections: dict[str, tuple[CollectionSchema, dict[str, Entity]]] = field(
        default_factory=dict, init=False, repr=False
    )
    aliases: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    """The collection that each alias names."""
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def clear(self) -> None:
        """Drop all collections."""
        with self._lock:
            self._collections.clear()
            self.aliases.clear()

    def ensure_collection(self, collection: str, schema: CollectionSchema) -> None:
        with self._lock:
            held, _ = self._collections.setdefault(checked_collection(collection), (schema, {}))
        if (held.dimension, dict(held.fields)) != (schema.dimension, dict(schema.fields)):
            raise ImproperlyConfigured(f"The collection {collection} exists with another schema: {held}.")

    def drop_collection(self, collection: str) -> None:
        with self._lock:
            self._collections.pop(collection, None)
            self.aliases = {alias: name for alias, name in self.aliases.items() if name != collection}

    def point_alias(self, alias: str, collection: str) -> None:
        with self._lock:
            if checked_collection(collection) not in self._collections:
                raise VectorStoreError(f"There is no collection {collection}.")
            self.aliases[checked_collection(alias)] = collection

    def collections(self) -> list[str]:
        with self._lock:
            return sorted(self._collections)

    def upsert(self, collection: str, entities: Sequence[Entity]) -> None:
        with self._lock:
            if collection not in self._collections:
                raise VectorStoreError(f"There is no collection {collection}.")
            schema, held = self._collections[collection]
            for entity, vector, fields in checked_entities(entities, schema):
                held[entity.id] = replace(entity, vector=vector, fields=fields)

    def delete(self, collection: str, ids: Sequence[str]) -> None:
        with self._lock:
            held = self._held(collection)
            for each in checked_ids(ids):
                held.pop(each, None)

    def fetch(self, collection: str, ids: Sequence[str]) -> list[Entity]:
        with self._lock:
            held = self._held(collection)
            found = [held[each] for each in checked_ids(ids) if each in held]
        return [replace(entity, vector=entity.vector.copy()) for entity in found]

    def ids(self, collection: str) -> Iterator[str]:
        with self._lock:
            return iter(list(self._held(collection)))

    def search(
        self, collection: str, vector: Vector, *, limit: int, filters: Filter | None = None
    ) -> list[Hit]:
        scored = self._scored(collection, vector, limit, filters)
        hits = [_hit(entity, score) for entity, score in scored]
        return sorted(hits, key=lambda hit: (-hit.score, hit.id))[:limit]

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
        scored = self._scored(collection, vector, limit, filters)
        with self._lock:
            schema, held = self._collections.get(self.aliases.get(collection, collection), (None, {}))
            if schema is None or not schema.words:
                return []
            texts = {each.id: str(each.fields[schema.words]) for each in held.values()}
        answers = bm25(text, texts)
        is_known = {hit.id for hit in known}.__contains__
        found = [
            _hit(
                each,
                score if is_known(each.id) or score_if is None or score_if(texts[each.id]) else -1.0,
                texts[each.id],
            )
            for each, score in scored
            if each.id in answers
        ]
        return sorted(found, key=lambda hit: (-answers[hit.id], hit.id))[:limit]

    def _scored(
        self, collection: str, vector: Vector, limit: int, filters: Filter | None
    ) -> list[tuple[Entity, float]]:
        """The entities that pass the filters, with their cosines."""
        checked_limit(limit)
        with self._lock:
            collection = self.aliases.get(collection, collection)
            if collection not in self._collections:
                return []
            schema, held = self._collections[collection]
            wanted = unit(checked_vector(vector, schema))
            checked_filter(filters, schema)
            entities = [
                entity for entity in held.values() if filters is None or _passes(entity.fields, filters)
            ]
        if not entities:
            return []
        scores = np.stack([unit(entity.vector) for entity in entities]) @ wanted
        return [
            (entity, float(score)) for entity, score in zip(entities, np.clip(scores, -1, 1), strict=True)
        ]

    def count(self, collection: str) -> int:
        with self._lock:
            return len(self._held(collection))

    def _held(self, collection: str) -> dict[str, Entity]:
        collection = self.aliases.get(collection, collection)
        return self._collections[collection][1] if collection in self._collections else {}


def _hit(entity: Entity, score: float, words: str = "") -> Hit:
    key = {"id": entity.id, "image_id": entity.image_id, "product_id": entity.product_id}
    return Hit(**key, score=score, words=words)


def _passes(fields: Mapping[str, FilterValue | None], filters: Filter | None) -> bool:
    return all(holds(condition, fields.get(condition.field)) for condition in conditions(filters))


SATURATION, LENGTH = 1.2, 0.75
"""k1 and b, as in Milvus: how soon repetitions of a word stop counting, and how much long texts are penalised."""


def bm25(query: str, texts: Mapping[str, str]) -> dict[str, float]:
    """The scores of the texts that have any of the query's words; higher is better.

    Words are letters and digits; case does not matter. A word that occurs twice in the query counts twice.
    """
    counts = {key: _counted(text) for key, text in texts.items()}
    usual = sum(each.total() for each in counts.values()) / len(counts) if counts else 0.0
    scores: dict[str, float] = {}
    for word, times in _counted(query).items():
        having = {key: each[word] for key, each in counts.items() if word in each}
        rarity = math.log(1 + (len(counts) - len(having) + 0.5) / (len(having) + 0.5))
        for key, said in having.items():
            held_back = SATURATION * (1 - LENGTH + LENGTH * counts[key].total() / usual)
            share = times * rarity * said * (SATURATION + 1) / (said + held_back)
            scores[key] = scores.get(key, 0.0) + share
    return scores


@lru_cache(maxsize=10_000)
def _counted(text: str) -> Counter[str]:
    return Counter(re.findall(r"[^\W_]+", text.casefold()))
