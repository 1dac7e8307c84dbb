"""Rerankers: models that look at the query and at few candidates, and say which match best."""

from shopsearch.rerankers.base import Reranker

__all__ = ["Reranker"]
