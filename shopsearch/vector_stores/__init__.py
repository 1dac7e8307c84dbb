"""Vector stores: keep entities and find the nearest."""

from shopsearch.vector_stores.base import VectorStore

__all__ = ["VectorStore"]
