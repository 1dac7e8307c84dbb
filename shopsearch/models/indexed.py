"""The queryset of rows that belong to an image index, in the database that its images are written to."""

from __future__ import annotations

from typing import Self, TypeVar

from django.db.models import Model, QuerySet

from shopsearch.registry import ImageIndex

Row = TypeVar("Row", bound=Model)


class IndexedQuerySet(QuerySet[Row]):
    """Rows of a model that has the field ``index``."""

    def of(self, index: ImageIndex, using: str = "") -> Self:
        """The rows of this index, in the named database, by default the index's own."""
        return self.using(using or index.database).filter(index=index.name)
