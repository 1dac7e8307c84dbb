"""What Milvus's servers of different sizes and ages can do, told from their versions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from shopsearch.vector_stores.connection import import_pymilvus
from shopsearch.vector_stores.rows import WORDS_VECTOR

_OLDEST = (2, 5)
_HNSW = {"M": 32, "efConstruction": 256}


def check_version(version: str) -> None:
    """An older server would make the collection all the same, and refuse each entity without a value."""
    numbers = re.match(r"v?(\d+)\.(\d+)", version)  # Milvus Lite and Zilliz Cloud begin with their names
    if numbers and tuple(map(int, numbers.groups())) < _OLDEST:
        raise ImproperlyConfigured(f"The vector store is Milvus {version}: shopsearch needs 2.5 or later.")


def indexes(names: Iterable[str], version: str, *, vector_index: str, params: Mapping[str, Any]) -> Any:
    """The indexes of these fields, as pymilvus wants them made; ``vector_index`` "" is what serves best there."""
    made = import_pymilvus().MilvusClient.prepare_index_params()
    for name in names:
        if name == WORDS_VECTOR:
            made.add_index(name, index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
        else:
            kind = vector_index or ("FLAT" if version.startswith("milvus_lite") else "HNSW")
            chosen = dict(params) or (_HNSW if kind == "HNSW" else {})
            made.add_index(name, index_type=kind, metric_type="COSINE", params=chosen)
    return made
