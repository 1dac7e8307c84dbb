"""Working stand-ins for a shop's own tests: an embedder that truly sees colour, and an exact store in memory.

``SearchTestCase`` and ``stand_ins()`` set them, so that a test needs no model and no server; and "red" finds the red
shoe: ``assert_finds("red", red_shoe)``.
"""

from __future__ import annotations

import hashlib
import re
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from django.core.exceptions import ImproperlyConfigured

from shopsearch.assertions import SETTINGS, SearchTestCase, assert_finds, index_saved, picture, stand_ins
from shopsearch.embedders.base import Embedder
from shopsearch.exceptions import VectorStoreError
from shopsearch.filters import Filter, holds
from shopsearch.types import CollectionSchema, Entity, FilterValue, Hit, Query
from shopsearch.vector_stores.base import VectorStore
from shopsearch.vector_stores.bm25 import bm25
from shopsearch.vector_stores.entities import (
    checked_collection,
    checked_entities,
    checked_filter,
    checked_ids,
    checked_limit,
    checked_vector,
    conditions,
)

if TYPE_CHECKING:
    from PIL.Image import Image

    from shopsearch.types import Vector, Vectors

__all__ = [
    "COLOURS",
    "SETTINGS",
    "ColourEmbedder",
    "MemoryStore",
    "SearchTestCase",
    "assert_finds",
    "index_saved",
    "picture",
    "stand_ins",
]

COLOURS: dict[str, tuple[str, ...]] = {
    "red": ("red", "scarlet", "crimson", "rojo", "roja"),
    "orange": ("orange", "naranja"),
    "yellow": ("yellow", "gold", "golden", "amarillo", "amarilla", "dorado", "dorada"),
    "green": ("green", "verde"),
    "turquoise": ("turquoise", "teal", "cyan", "turquesa"),
    "blue": ("blue", "navy", "azul", "azule"),
    "purple": ("purple", "violet", "morado", "morada", "violeta"),
    "pink": ("pink", "magenta", "rosa", "rosado", "rosada"),
    "brown": ("brown", "marron", "marrone"),
    "black": ("black", "negro", "negra"),
    "grey": ("grey", "gray", "silver", "gris", "grise"),
    "white": ("white", "blanco", "blanca"),
}
"""The colours that ColourEmbedder sees, with the words it knows for each; plurals in -s are understood."""

_NAMES = list(COLOURS)
_COLOUR_OF = {word: _NAMES.index(name) for name, words in COLOURS.items() for word in words}
# Where each hue begins, on a circle of 256: red goes round the end of it.
_HUES = [(0, "red"), (11, "orange"), (32, "yellow"), (48, "green"), (115, "turquoise"), (138, "blue")]
_HUES += [(182, "purple"), (208, "pink"), (243, "red")]
_THUMBNAIL, _WORDS = 4, 35
_DETAIL, _WORD, _BACKGROUND = 0.15, 0.35, 0.05


@dataclass(kw_only=True, eq=False)
class ColourEmbedder(Embedder):
    """Truly sees colour, and a little else: words by their colour names, pictures by how much they have of each.

    Colour words are understood in English and Spanish. A composed query mixes its words and its picture. Other words
    and the picture's coarse texture add a little, so that different things have different vectors. Equal input gives
    equal vectors in every process.
    """

    space: str = "colour"
    """Another name makes another space, as another model would."""
    batch_size: int = 32
    embedded: int = field(default=0, init=False)
    """How many queries have been embedded so far; a test may set it back to 0."""
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    @property
    def dimension(self) -> int:
        return len(COLOURS) + 3 * _THUMBNAIL**2 + _WORDS + 1

    def embed(self, queries: Sequence[Query]) -> Vectors:
        """One vector per query: (n, 96), float32, unit length. Never fails."""
        vectors = np.zeros((len(queries), self.dimension), np.float32)
        for vector, query in zip(vectors, queries, strict=True):
            if query.image is not None:
                vector += _unit(_see(query.image))
            if query.text:
                vector += _unit(_read(query.text))
            if not vector.any():
                vector[-1] = 1  # nothing was said: far from everything
            vector[:] = _unit(vector)
        with self._lock:
            self.embedded += len(queries)
        return vectors


def _unit(vector: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _read(text: str) -> npt.NDArray[np.float32]:
    """Colour words count fully, each other word a little."""
    colours, words = np.zeros(len(COLOURS), np.float32), np.zeros(_WORDS, np.float32)
    plain = "".join(
        each for each in unicodedata.normalize("NFKD", text.casefold()) if not unicodedata.combining(each)
    )
    for word in re.findall(r"\w+", plain):
        colour = _COLOUR_OF.get(word, _COLOUR_OF.get(word.removesuffix("s")))
        if colour is None:
            digest = hashlib.sha256(word.encode("utf-8", "replace")).digest()
            words[digest[0] % _WORDS] += 1 if digest[1] % 2 else -1
        else:
            colours[colour] += 1
    return np.concatenate([_unit(colours), np.zeros(3 * _THUMBNAIL**2), _WORD * _unit(words), [0]]).astype(
        np.float32
    )


def _see(image: Image) -> npt.NDArray[np.float32]:
    """How much the picture has of each colour, where what differs from its border counts most; and a thumbnail."""
    small = image.convert("RGB").resize((32, 32))
    pixels = np.asarray(small, np.float32) / 255
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    weights = _BACKGROUND + np.linalg.norm(pixels - np.median(border, axis=0), axis=2)
    hue, saturation, brightness = np.asarray(small.convert("HSV"), np.int16).reshape(-1, 3).T
    starts = np.array([start for start, _ in _HUES])
    hues = np.array([_NAMES.index(name) for _, name in _HUES])
    colours = hues[np.searchsorted(starts, hue, side="right") - 1]
    warm = (hue < 32) | (hue >= 243)
    colours[warm & (brightness < 160) & (hue >= 5) & (hue < 32)] = _NAMES.index("brown")
    colours[warm & (brightness > 200) & (saturation < 120) & ((hue < 11) | (hue >= 243))] = _NAMES.index(
        "pink"
    )
    colours[saturation < 40] = _NAMES.index("grey")
    colours[(saturation < 40) & (brightness > 200)] = _NAMES.index("white")
    colours[brightness < 50] = _NAMES.index("black")
    amounts = np.bincount(colours, weights=weights.ravel(), minlength=len(COLOURS)).astype(np.float32)
    thumbnail = np.asarray(small.resize((_THUMBNAIL, _THUMBNAIL)), np.float32).ravel() / 255 - 0.5
    return np.concatenate([_unit(amounts), _DETAIL * thumbnail, np.zeros(_WORDS + 1)]).astype(np.float32)


@dataclass(kw_only=True, eq=False)
class MemoryStore(VectorStore):
    """An exact vector store in this process's memory: it compares with every entity and forgets with the process."""

    full_text: bool = True
    """False: a store that finds by vectors alone."""
    _collections: dict[str, tuple[CollectionSchema, dict[str, Entity]]] = field(
        default_factory=dict, init=False, repr=False
    )
    aliases: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    """The collection that each alias names."""
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    def clear(self) -> None:
        """Afterwards there is no collection."""
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
        self, collection: str, text: str, *, vector: Vector, limit: int, filters: Filter | None = None
    ) -> list[Hit]:
        scored = self._scored(collection, vector, limit, filters)
        with self._lock:
            schema, held = self._collections.get(self.aliases.get(collection, collection), (None, {}))
            if schema is None or not schema.words:
                return []
            texts = {each.id: str(each.fields[schema.words]) for each in held.values()}
        answers = bm25(text, texts)
        found = [_hit(each, score, texts[each.id]) for each, score in scored if each.id in answers]
        return sorted(found, key=lambda hit: (-answers[hit.id], hit.id))[:limit]

    def _scored(
        self, collection: str, vector: Vector, limit: int, filters: Filter | None
    ) -> list[tuple[Entity, float]]:
        """The entities that pass the filters, each with its cosine."""
        checked_limit(limit)
        with self._lock:
            collection = self.aliases.get(collection, collection)
            if collection not in self._collections:
                return []
            schema, held = self._collections[collection]
            wanted = _unit(checked_vector(vector, schema))
            checked_filter(filters, schema)
            entities = [
                entity for entity in held.values() if filters is None or _passes(entity.fields, filters)
            ]
        if not entities:
            return []
        scores = np.stack([_unit(entity.vector) for entity in entities]) @ wanted
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
