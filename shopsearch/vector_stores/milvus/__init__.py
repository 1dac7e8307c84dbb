"""Milvus: a server, a cluster, Zilliz Cloud, or Milvus Lite behind a server of ours."""

from shopsearch.vector_stores.milvus.store import MilvusStore

__all__ = ["MilvusStore"]
