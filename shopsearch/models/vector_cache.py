"""The vector cache: vectors of hidden and failed images, so that none is embedded twice."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.utils.translation import gettext_lazy as _

from shopsearch.models.adapters import Adapter
from shopsearch.models.collections import Collection
from shopsearch.models.indexed import IndexedQuerySet
from shopsearch.registry import ImageIndex
from shopsearch.registry.keys import keys_of

if TYPE_CHECKING:
    from shopsearch.types import Vector


class CachedVectorQuerySet(IndexedQuerySet["CachedVector"]):
    """Cached vectors, and how to drop those that are no longer needed."""

    def drop_unneeded(self, index: ImageIndex) -> None:
        """Drop vectors of spaces that no collection of the index has, and of images that are gone.

        Memory use does not grow with the catalogue.
        """
        rows = self.of(index)
        spaces = set(Collection.objects.of(index).values_list("space", flat=True))
        # In a space with an adapter, the vector of the model alone is cached.
        spaces |= set(Adapter.objects.of(index).filter(space__in=spaces).values_list("base_space", flat=True))
        for pks in keys_of(rows.exclude(space__in=spaces)):
            rows.filter(pk__in=pks).delete()
        for pks in keys_of(rows):
            image_ids = set(rows.filter(pk__in=pks).values_list("image_id", flat=True))
            rows.filter(image_id__in=image_ids - index.existing(image_ids, using=rows.db)).delete()


class CachedVector(models.Model):
    """The vector of an image that is in no collection of the space, with the hash of its file.

    Hidden and FAILED images leave every collection. Their vectors stay here until a collection has the image again, or
    the image is deleted. A cached vector is only used for the same file and space, so it is never stale, even if a
    worker dies. Losing one costs one embedding.
    """

    index = models.CharField(_("index"), max_length=100)
    image_id = models.CharField(_("image"), max_length=255)
    space = models.CharField(_("space"), max_length=255)
    image_hash = models.CharField(_("image hash"), max_length=64)
    numbers = models.BinaryField(_("numbers"))
    """float32, little-endian."""

    objects = CachedVectorQuerySet.as_manager()

    class Meta:
        verbose_name = _("cached vector")
        verbose_name_plural = _("cached vectors")
        constraints = (
            models.UniqueConstraint(fields=("index", "image_id", "space"), name="shopsearch_kept_unique"),
        )

    def __str__(self) -> str:
        return f"{self.index}:{self.image_id} {self.space}"

    @property
    def vector(self) -> Vector:
        import numpy as np

        return np.frombuffer(self.numbers, "<f4").astype(np.float32)
