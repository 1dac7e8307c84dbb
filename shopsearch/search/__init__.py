"""Answer a query: by words, by picture, by both, or by a product of the shop."""

from shopsearch.search.engine import search, similar

__all__ = ["search", "similar"]
