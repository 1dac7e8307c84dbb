"""A setting's dotted path -> the one instance in this process."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import Any, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed
from django.utils.module_loading import import_string

from shopsearch.conf import settings
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.cached import CachedEmbedder
from shopsearch.embedders.remote import WorkerEmbedder
from shopsearch.registry import ImageIndex
from shopsearch.rerankers.base import Reranker
from shopsearch.types import CollectionSchema
from shopsearch.vector_stores.base import VectorStore

Backend = TypeVar("Backend", Embedder, VectorStore, Reranker)

_lock = threading.Lock()
_instances: dict[tuple[int, str], Any] = {}
"""By process id: a model or a connection that was made before a fork is of no use after it."""


def build(setting: str, base: type[Backend]) -> Backend:
    """A new instance as the setting says. Raises ImproperlyConfigured with what is wrong about it."""
    spec = getattr(settings, setting)
    try:
        backend_class = import_string(spec["BACKEND"])
        instance = backend_class(**spec.get("OPTIONS", {}))
    except (ImportError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(f"SHOPSEARCH[{setting!r}] cannot be built: {error}") from error
    if not isinstance(instance, base):
        raise ImproperlyConfigured(f"SHOPSEARCH[{setting!r}]: {spec['BACKEND']} is not a {base.__name__}.")
    return instance


def _the(setting: str, base: type[Backend]) -> Backend:
    key = (os.getpid(), setting)
    with _lock:
        if key not in _instances:
            _instances[key] = build(setting, base)
        return cast(Backend, _instances[key])


def get_embedder() -> Embedder:
    """This process's embedder."""
    return _the("EMBEDDER", Embedder)


def get_query_embedder() -> Embedder:
    """What embeds shoppers' queries here: QUERY_EMBEDDER, or EMBEDDER itself, behind the cache of queries.

    Raises ImproperlyConfigured where its vectors could not be compared with EMBEDDER's.
    """
    embedder = get_embedder()
    if settings.QUERY_EMBEDDER is not None:
        own, embedder = embedder, _the("QUERY_EMBEDDER", Embedder)
        if isinstance(embedder, WorkerEmbedder):
            embedder.bind(own)
        if embedder.space != own.space:
            raise ImproperlyConfigured(
                f"SHOPSEARCH['QUERY_EMBEDDER'] embeds in the space {embedder.space}, EMBEDDER in {own.space}."
            )
    if not settings.QUERY_CACHE_SECONDS:
        return embedder
    cached = CachedEmbedder(embedder=embedder, seconds=settings.QUERY_CACHE_SECONDS)
    return cast(Embedder, _instances.setdefault((os.getpid(), "QUERY_CACHE"), cached))


def get_vector_store() -> VectorStore:
    """This process's vector store."""
    return _the("VECTOR_STORE", VectorStore)


def get_reranker() -> Reranker | None:
    """This process's reranker; None where the project has none."""
    if settings.RERANKER is None:
        return None
    reranker = _the("RERANKER", Reranker)
    reranker.bind(get_embedder())
    return reranker


def schema_of(index: ImageIndex) -> CollectionSchema:
    """What the index's collection holds under the present settings."""
    return CollectionSchema(dimension=get_embedder().dimension, fields=index.filter_types)


def collection_of(index: ImageIndex) -> str:
    """The collection that serves this index under the present settings.

    Its name has the vector space in it, so vectors of two models never meet, and a digest of the declared filters, so
    a changed declaration fills a fresh collection.
    """
    fields = ",".join(f"{name}:{kind}" for name, kind in sorted(index.filter_types.items()))
    digest = hashlib.sha256(fields.encode()).hexdigest()[:8]
    return f"{settings.COLLECTION_PREFIX}_{index.name}_{get_embedder().space}_{digest}"


def forget(**kwargs: Any) -> None:
    """Build every backend anew at its next use; happens by itself when SHOPSEARCH is overridden in a test."""
    if kwargs.get("setting", "SHOPSEARCH") == "SHOPSEARCH":
        with _lock:
            _instances.clear()


setting_changed.connect(forget)
