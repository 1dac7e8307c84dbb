"""The queryset of product images."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet


class ProductImageQuerySet(QuerySet[Any]):
    """Product images, to be reindexed after what sends no signals. A manager of your own may be made from it."""

    def reindex(self) -> int:
        """Have these images looked at again, as ``shopsearch.reindex()`` does. Returns how many."""
        from shopsearch import reindex

        return reindex(self)
