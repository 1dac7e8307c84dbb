"""Milvus: a server, a cluster, Zilliz Cloud, or Milvus Lite behind our own server."""

from shopsearch.vector_stores.milvus.store import MilvusStore

__all__ = ["MilvusStore"]
