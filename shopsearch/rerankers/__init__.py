"""Rerankers: models that look at the query and a few candidates, and say which match best."""

from shopsearch.rerankers.base import Reranker

__all__ = ["Reranker"]
