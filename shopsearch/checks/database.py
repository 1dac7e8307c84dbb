"""The check for too many images, `manage.py check --database default`: W013. It asks the database and the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.core.checks import CheckMessage
from django.core.checks import Warning as CheckWarning
from django.core.exceptions import ImproperlyConfigured
from django.db import DatabaseError

from shopsearch import registry
from shopsearch.backends import get_vector_store
from shopsearch.exceptions import VectorStoreError
from shopsearch.models import IndexEntry
from shopsearch.vector_stores.milvus.store import LITE_ENTITIES, MilvusStore


def check_milvus_lite(
    app_configs: object, databases: Sequence[str] | None = None, **kwargs: object
) -> list[CheckMessage]:
    """Whether an index has outgrown Milvus Lite. The server is only asked if an index has that many images."""
    indexes = [index for index in registry.get_indexes() if databases and _is_large(index.name, databases)]
    if not indexes or not _is_milvus_lite():
        return []
    return [
        CheckWarning(
            f"The index {index.name} has more than {LITE_ENTITIES:,} images in Milvus Lite, which compares each query "
            "with all of them.",
            hint="Start a Milvus standalone, name its address in VECTOR_STORE, and run `manage.py shopsearch_reindex`.",
            obj=index.model,
            id="shopsearch.W013",
        )
        for index in indexes
    ]


def _is_large(index: str, databases: Sequence[str]) -> bool:
    try:
        return any(
            IndexEntry.objects.using(name)
            .filter(index=index, state=IndexEntry.State.INDEXED)[LITE_ENTITIES:]
            .exists()
            for name in databases
        )
    except DatabaseError:  # before the first migrate
        return False


def _is_milvus_lite() -> bool:
    """Whether the store is Milvus Lite; False too if the server does not answer within a second."""
    try:
        store = get_vector_store()
        if not isinstance(store, MilvusStore):
            return False
        asked = replace(store, timeout_seconds=1)
        try:
            return asked.is_lite
        finally:
            asked.close()
    except (ImproperlyConfigured, VectorStoreError):  # E003 says so; `shopsearch_status` does
        return False
