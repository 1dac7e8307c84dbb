"""The outbox: changes that the shop made, and the index state of every image."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from shopsearch.types import Vector


class IndexEntry(models.Model):
    """Outbox and index state of one image of one index: written in the transaction that changes the image.

    A row is due when its state is not at rest and ``available_at`` has come. Claiming a row moves ``available_at`` to
    the end of the lease; a change made meanwhile gives the row a new ``version`` but leaves the lease, so no two
    workers write one image at once. Settling compares the version: see ``shopsearch.indexing.outbox``.
    """

    class State(models.TextChoices):
        PENDING = "pending", _("pending")
        CLAIMED = "claimed", _("claimed")
        INDEXED = "indexed", _("indexed")
        FAILED = "failed", _("failed")
        DELETING = "deleting", _("deleting")

    index = models.CharField(_("index"), max_length=100)
    image_id = models.CharField(_("image"), max_length=255)
    version = models.UUIDField(_("version"), default=uuid.uuid4, editable=False)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.PENDING)
    available_at = models.DateTimeField(_("available at"), db_default=Now())
    claim = models.UUIDField(_("claim"), null=True, editable=False)
    attempts = models.PositiveIntegerField(_("attempts"), default=0)
    error = models.TextField(_("error"), blank=True)
    held = models.JSONField(_("held"), default=dict)
    """What each collection holds of it: ``{str(collection.pk): [image hash, fields hash]}``; null while it is written.

    Only the worker that has the claim changes it.
    """
    changed_at = models.DateTimeField(_("changed at"), db_default=Now())
    indexed_at = models.DateTimeField(_("indexed at"), null=True, blank=True)

    class Meta:
        verbose_name = _("index entry")
        verbose_name_plural = _("index entries")
        permissions = (("reindex", "Can reindex images"),)
        constraints = (models.UniqueConstraint(fields=("index", "image_id"), name="shopsearch_entry_unique"),)
        indexes = (models.Index(fields=("state", "available_at"), name="shopsearch_entry_due"),)

    def __str__(self) -> str:
        return f"{self.index}:{self.image_id} {self.state}"


class Change(models.Model):
    """An image was saved, deleted or touched: written in the transaction that did it, and only ever inserted.

    So a shop's transactions never wait for one another here. Workers fold changes into index entries.
    """

    index = models.CharField(_("index"), max_length=100)
    image_id = models.CharField(_("image"), max_length=255)
    is_deletion = models.BooleanField(_("deletion"), default=False)
    available_at = models.DateTimeField(_("available at"), db_default=Now(), db_index=True)
    """Later than now while ``shopsearch.paused()`` lasts."""
    token = models.UUIDField(null=True, editable=False, db_index=True)
    """Of the pause that holds the change, or of the worker that is folding it."""

    class Meta:
        verbose_name = _("change")
        verbose_name_plural = _("changes")

    def __str__(self) -> str:
        return f"{self.index}:{self.image_id}"


class KeptVector(models.Model):
    """The vector of an image that is in no collection of the space, and its file's hash. Lives beside the entries."""

    index = models.CharField(_("index"), max_length=100)
    image_id = models.CharField(_("image"), max_length=255)
    space = models.CharField(_("space"), max_length=255)
    image_hash = models.CharField(_("image hash"), max_length=64)
    numbers = models.BinaryField(_("numbers"))
    """float32, little-endian."""

    class Meta:
        verbose_name = _("kept vector")
        verbose_name_plural = _("kept vectors")
        constraints = (
            models.UniqueConstraint(fields=("index", "image_id", "space"), name="shopsearch_kept_unique"),
        )

    def __str__(self) -> str:
        return f"{self.index}:{self.image_id} {self.space}"

    @property
    def vector(self) -> Vector:
        import numpy as np

        return np.frombuffer(self.numbers, "<f4").astype(np.float32)
