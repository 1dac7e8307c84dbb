"""Vector stores: where entities are kept and the nearest found."""

from shopsearch.vector_stores.base import VectorStore

__all__ = ["VectorStore"]
