"""The backends that the settings name: one instance of each per process."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

from django.core.exceptions import ImproperlyConfigured
from django.core.signals import setting_changed

from shopsearch.conf import build, settings
from shopsearch.detectors.base import Detector
from shopsearch.embedders import remote
from shopsearch.embedders.adapted import FITTED, AdaptedEmbedder
from shopsearch.embedders.base import Embedder
from shopsearch.embedders.cached import CachedEmbedder
from shopsearch.exceptions import EmbedderError
from shopsearch.models import Adapter
from shopsearch.registry import ImageIndex, databases
from shopsearch.rerankers.base import Reranker
from shopsearch.types import CollectionSchema
from shopsearch.vector_stores.base import VectorStore

Backend = TypeVar("Backend", Embedder, VectorStore, Reranker, Detector)
_lock = threading.Lock()
_instances: dict[tuple[int, str], Any] = {}
"""Keyed by process id too: after a fork, a child cannot use its parent's model or connection."""


def _the(setting: str, base: type[Backend], use: str = "") -> Backend:
    key = (os.getpid(), f"{setting} {use}")
    with _lock:
        if key not in _instances:
            _instances[key] = build(setting, base)
        return cast(Backend, _instances[key])


def get_embedder() -> Embedder:
    """This process's embedder."""
    return _the("EMBEDDER", Embedder)


def get_former_embedder() -> Embedder | None:
    """FORMER_EMBEDDER, which made the live collections before EMBEDDER changed; None if it is not set."""
    return None if settings.FORMER_EMBEDDER is None else _the("FORMER_EMBEDDER", Embedder)


def embedder_of(space: str) -> Embedder | None:
    """What embeds in this space: EMBEDDER, FORMER_EMBEDDER, or one of them with an adapter; None if nothing does."""
    for get in (get_embedder, get_former_embedder):
        if (embedder := get()) is not None and embedder.space == space:
            return embedder
    return adapted_of(space)


def adapted_of(space: str) -> AdaptedEmbedder | None:
    """The model with the adapter of this space; None where the space has no adapter, or its model is not named."""
    if FITTED not in space:
        return None
    key = (os.getpid(), f"ADAPTER {space}")
    if key not in _instances:
        rows = (Adapter.objects.using(using).filter(space=space).first() for using in databases())
        row = next(filter(None, rows), None)
        if row is None or (embedder := embedder_of(row.base_space)) is None:
            return None
        adapted = AdaptedEmbedder(embedder=embedder, numbers=row.matrices, weight=row.weight)
        if adapted.space != space:  # the row has been changed, or this is an older or newer shopsearch
            return None
        _instances[key] = adapted
    return cast(AdaptedEmbedder, _instances[key])


def embedder_for(index: ImageIndex) -> Embedder:
    """What the index's next collection is made with: EMBEDDER, with the adapter that is in use for it."""
    chosen = Adapter.objects.of(index).chosen()
    if chosen is not None and chosen.base_space == get_embedder().space:
        return adapted_of(chosen.space) or get_embedder()
    return get_embedder()


def get_query_embedder(space: str = "") -> Embedder:
    """The cached embedder of shoppers' queries for this space; for EMBEDDER's space if none is given.

    It is QUERY_EMBEDDER if that is set, else the space's own model; an adapter is put around either. Raises
    EmbedderError if no model in the settings has this space, ImproperlyConfigured if QUERY_EMBEDDER and EMBEDDER have
    different spaces.
    """
    own = get_embedder() if not space else embedder_of(space)
    if own is None:
        raise EmbedderError(
            f"The collection that answers was made by a model that the settings do not name any more (space {space}). "
            "Name it in SHOPSEARCH['FORMER_EMBEDDER'] until `manage.py shopsearch_reindex --rebuild` is done."
        )
    if isinstance(own, AdaptedEmbedder):
        return replace(own, embedder=get_query_embedder(own.embedder.space))
    embedder = own
    if settings.QUERY_EMBEDDER is not None:
        is_former = own is not get_embedder()
        asked = _the("QUERY_EMBEDDER", Embedder, use="former" if is_former else "")
        if isinstance(asked, remote.WorkerEmbedder):
            asked.bind(own)
        if asked.space == own.space:
            embedder = asked
        elif not is_former:
            raise ImproperlyConfigured(
                f"SHOPSEARCH['QUERY_EMBEDDER'] embeds in the space {asked.space}, EMBEDDER in {own.space}."
            )
    if not settings.QUERY_CACHE_SECONDS:
        return embedder
    cached = CachedEmbedder(embedder=embedder, seconds=settings.QUERY_CACHE_SECONDS)
    return cast(Embedder, _instances.setdefault((os.getpid(), f"QUERY_CACHE {own.space}"), cached))


def get_vector_store() -> VectorStore:
    """This process's vector store."""
    return _the("VECTOR_STORE", VectorStore)


def get_reranker() -> Reranker | None:
    """This process's reranker; None if RERANKER is None."""
    if settings.RERANKER is None:
        return None
    reranker = _the("RERANKER", Reranker)
    reranker.bind(get_embedder())
    return reranker


def get_detector() -> Detector | None:
    """This process's detector; None if DETECTOR is None, and in a process that leaves the models to query workers."""
    if settings.DETECTOR is None or has_remote_models():
        return None
    return _the("DETECTOR", Detector)


def has_remote_models() -> bool:
    """Whether queries are embedded by query workers, so that this process need not hold a model."""
    return settings.QUERY_EMBEDDER is not None and isinstance(
        _the("QUERY_EMBEDDER", Embedder), remote.WorkerEmbedder
    )


def schema_of(index: ImageIndex) -> CollectionSchema:
    """The schema of a collection that is created for the index with the present settings, without an adapter."""
    has_words = get_vector_store().full_text
    return CollectionSchema(
        dimension=get_embedder().dimension,
        fields={name: kind for name, kind in index.field_types.items() if kind != "words" or has_words},
        few_values=frozenset(name for name, field in index.filter_fields.items() if field.few_values),
    )


def forget(**kwargs: Any) -> None:
    """Drop all instances, so that the next use builds new ones. Runs by itself when a test overrides SHOPSEARCH."""
    if kwargs.get("setting", "SHOPSEARCH") == "SHOPSEARCH":
        with _lock:
            _instances.clear()


setting_changed.connect(forget)


def wants_gpu() -> bool:
    """Whether the models will run on a GPU. Does not ask torch: a process that has initialised CUDA cannot fork."""
    devices = {str(getattr(backend, "device", "")) for backend in (get_embedder(), get_reranker())}
    chosen = any(device.startswith("cuda") for device in devices)
    return chosen or ("auto" in devices and Path("/dev/nvidiactl").exists())
