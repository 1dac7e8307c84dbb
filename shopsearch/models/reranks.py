"""Reranks: what was asked, and what came of it."""

from __future__ import annotations

import uuid
from typing import Self

from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class RerankQuerySet(models.QuerySet["Rerank"]):
    """Reranks by how far they are; all moments are the database's."""

    def open(self) -> Self:
        """Those that wait or are under way."""
        return self.filter(state__in=Rerank.OPEN)

    def ended(self) -> Self:
        return self.exclude(state__in=Rerank.OPEN)

    def waiting(self) -> Self:
        """Those that a worker may still answer in time, the oldest first."""
        return self.filter(state=Rerank.State.QUEUED, deadline_at__gt=Now()).order_by("created_at")

    def in_time(self) -> Self:
        """Those that are open and whose deadline is still to come."""
        return self.open().filter(deadline_at__gt=Now())

    def overdue(self) -> Self:
        """Those that are open although their deadline has passed."""
        return self.open().filter(deadline_at__lte=Now())


class Rerank(models.Model):
    """The receipt of one rerank: what was asked about which candidates, what the model said, and what came of it.

    It reaches a final state by ``deadline_at`` whatever dies: whoever looks at it after that finds it EXPIRED. The
    shopper's picture is in it only until then.
    """

    class State(models.TextChoices):
        QUEUED = "queued", _("queued")
        RUNNING = "running", _("running")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        EXPIRED = "expired", _("expired")

    OPEN = (State.QUEUED, State.RUNNING)

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    key = models.CharField(_("key"), max_length=64, db_index=True)
    state = models.CharField(_("state"), max_length=10, choices=State.choices, default=State.QUEUED)
    index = models.CharField(_("index"), max_length=100)
    text = models.TextField(_("text"), blank=True)
    picture = models.BinaryField(_("picture"), null=True)
    candidates = models.JSONField(_("candidates"))
    order = models.JSONField(_("order"), default=list)
    caption = models.TextField(_("caption"), blank=True)
    reason = models.TextField(_("reason"), blank=True)
    raw = models.TextField(_("raw answer"), blank=True)
    repairs = models.JSONField(_("repairs"), default=dict)
    model = models.CharField(_("model"), max_length=255)
    prompt_version = models.CharField(_("prompt version"), max_length=20, blank=True)
    language = models.CharField(_("language"), max_length=20, blank=True)
    """Of the page that asked: the caption and the reason are in it, where the reranker knows it."""
    request_id = models.CharField(_("request"), max_length=128, blank=True)
    """Of the page's request that asked first: the worker's log lines carry it."""
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    deadline_at = models.DateTimeField(_("deadline"))

    objects = RerankQuerySet.as_manager()

    class Meta:
        verbose_name = _("rerank")
        verbose_name_plural = _("reranks")
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("state", "created_at"), name="shopsearch_rerank_state"),)

    def __str__(self) -> str:
        return f"{self.text or self.index} {self.state}"

    @property
    def is_final(self) -> bool:
        return self.state not in self.OPEN
