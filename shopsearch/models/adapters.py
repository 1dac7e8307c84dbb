"""Adapters: what was fitted to a shop's own titles and a model's vectors, and which one is in use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from shopsearch.models.collections import Collection
from shopsearch.models.indexed import IndexedQuerySet
from shopsearch.registry import ImageIndex

if TYPE_CHECKING:
    from shopsearch.types import Vectors


class AdapterQuerySet(IndexedQuerySet["Adapter"]):
    """Adapters of an index. At most one is chosen: new collections are made with it."""

    def chosen(self) -> Adapter | None:
        return self.filter(is_chosen=True).first()

    def choose(self, index: ImageIndex, space: str) -> None:
        """Use the adapter of this space from now on; none where it is the space of a model alone."""
        rows = self.of(index)
        with transaction.atomic(using=rows.db):
            rows.filter(is_chosen=True).exclude(space=space).update(is_chosen=False)
            rows.filter(space=space).update(is_chosen=True)

    def drop_unneeded(self, index: ImageIndex) -> None:
        """Drop the adapters that are not chosen and that no collection of the index was made with."""
        spaces = list(Collection.objects.of(index).values_list("space", flat=True))
        self.of(index).filter(is_chosen=False).exclude(space__in=spaces).delete()


class Adapter(models.Model):
    """One result of ``shopsearch_fit``. Its numbers never change; ``embedders.adapted`` says what they mean."""

    index = models.CharField(_("index"), max_length=100)
    base_space = models.CharField(_("the model's space"), max_length=255)
    space = models.CharField(_("space"), max_length=255, unique=True)
    dimension = models.PositiveIntegerField(_("the model's dimension"))
    numbers = models.BinaryField(_("numbers"))
    """float32, little-endian, shape (2, dimension, 1 + rank)."""
    weight = models.FloatField(_("weight"))
    figures = models.JSONField(_("figures"), default=dict)
    """By measure, for products that it has not seen: before, after, gained, and the gain's interval, low and high."""
    products = models.PositiveIntegerField(_("products"))
    is_chosen = models.BooleanField(_("in use"), default=False)
    created_at = models.DateTimeField(_("fitted at"), db_default=Now())

    objects = AdapterQuerySet.as_manager()

    class Meta:
        verbose_name = _("adapter")
        verbose_name_plural = _("adapters")
        ordering = ("-pk",)
        constraints = (
            models.UniqueConstraint(
                fields=("index",), condition=models.Q(is_chosen=True), name="shopsearch_adapter_chosen"
            ),
        )

    def __str__(self) -> str:
        return self.space

    @property
    def matrices(self) -> Vectors:
        import numpy as np

        return np.frombuffer(self.numbers, "<f4").astype(np.float32).reshape(2, self.dimension, -1)
