"""Adapters: what was fitted to a shop's own titles and a model's vectors, which one is in use, how a fit went."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

from django.db import models, transaction
from django.db.models.functions import Now
from django.utils import timezone
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


class FitQuerySet(IndexedQuerySet["Fit"]):
    """The last fit of each index. Every change of a row is one query."""

    def waiting(self) -> Self:
        return self.filter(state=Fit.State.WAITING)

    def ask(self, index: ImageIndex) -> bool:
        """Note that a fit is wanted. False if one is wanted or under way already."""
        row, is_new = self.using(index.database).get_or_create(index=index.name)
        if is_new or row.is_under_way:
            return is_new
        seen = self.of(index).filter(state=row.state)
        wanted = {"state": Fit.State.WAITING, "done": 0, "total": 0, "message": ""}
        return bool(seen.update(changed_at=Now(), **wanted))

    def claim(self, index: ImageIndex) -> bool:
        """Whether a fit was wanted; it is this process's then."""
        return bool(self.of(index).waiting().update(state=Fit.State.RUNNING, changed_at=Now()))

    def note(self, index: ImageIndex, done: int, total: int) -> None:
        """Record how far the fit has got, whoever wanted it."""
        progress = {"state": Fit.State.RUNNING, "done": done, "total": total, "changed_at": Now()}
        self.using(index.database).update_or_create(index=index.name, defaults=progress)

    def end(self, index: ImageIndex, state: Fit.State, **outcome: Any) -> None:
        """Record what came of the fit."""
        empty = {"done": 0, "total": 0, "message": "", "products": 0, "figures": {}}
        row = {**empty, **outcome, "state": state, "changed_at": Now()}
        self.using(index.database).update_or_create(index=index.name, defaults=row)


class Fit(models.Model):
    """The last fit of an index: wanted, under way, or what came of it."""

    class State(models.TextChoices):
        WAITING = "waiting", _("waits for a worker")
        RUNNING = "running", _("under way")
        BETTER = "better", _("an adapter was made")
        DECLINED = "declined", _("no adapter was made")
        FAILED = "failed", _("failed")

    STOPPED_AFTER = timedelta(minutes=10)
    """A fit that has made no progress for so long was stopped with its worker."""

    index = models.CharField(_("index"), max_length=100, unique=True)
    state = models.CharField(_("state"), max_length=20, choices=State.choices, default=State.WAITING)
    done = models.PositiveIntegerField(_("steps done"), default=0)
    total = models.PositiveIntegerField(_("steps"), default=0)
    products = models.PositiveIntegerField(_("products"), default=0)
    figures = models.JSONField(_("figures"), default=dict)
    """As those of an Adapter; empty until the fit is done."""
    message = models.TextField(_("reason"), default="", blank=True)
    """Why no adapter was made."""
    changed_at = models.DateTimeField(_("changed at"), db_default=Now())

    objects = FitQuerySet.as_manager()

    class Meta:
        verbose_name = _("fit")
        verbose_name_plural = _("fits")

    def __str__(self) -> str:
        return f"{self.index}: {self.state}"

    @property
    def is_under_way(self) -> bool:
        """Whether it waits, or a worker is at it."""
        if self.state == self.State.RUNNING:
            return timezone.now() - self.changed_at < self.STOPPED_AFTER
        return self.state == self.State.WAITING
