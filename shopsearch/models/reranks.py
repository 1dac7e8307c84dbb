"""Reranks: what was asked, and how it ended."""

from __future__ import annotations

import uuid
from typing import Self

from django.db import models, router
from django.db.models import Value
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _


class RerankQuerySet(models.QuerySet["Rerank"]):
    """Reranks by progress; times are compared by the database's clock.

    Read where they are written: what a worker claims, or a page polls, must not come from a replica that lags.
    """

    @property
    def db(self) -> str:
        return self._db or router.db_for_write(self.model, **self._hints)  # type: ignore[attr-defined]

    def open(self) -> Self:
        """The reranks that wait or run."""
        return self.filter(state__in=Rerank.OPEN)

    def ended(self) -> Self:
        return self.exclude(state__in=Rerank.OPEN)

    def waiting(self) -> Self:
        """The reranks that a worker can still take and answer in time, the oldest first."""
        return self.filter(state=Rerank.State.QUEUED, deadline_at__gt=Now()).order_by("created_at")

    def in_time(self) -> Self:
        """The open reranks whose deadline has not passed."""
        return self.open().filter(deadline_at__gt=Now())

    def overdue(self) -> Self:
        """The open reranks whose deadline has passed."""
        return self.open().filter(deadline_at__lte=Now())


class Rerank(models.Model):
    """The receipt of one rerank: the query, the candidates, what the model said, and the outcome.

    It reaches a final state by ``deadline_at``, even if the worker dies: after that, a reader finds it EXPIRED. It
    keeps the shopper's picture only until then.
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
    reasons = models.JSONField(_("reasons"), default=list, db_default=Value([], models.JSONField()))
    """``search.reasons.Reason`` as JSON."""
    shared = models.JSONField(_("shared"), default=dict, db_default=Value({}, models.JSONField()))
    """By product's key as text ``search.reasons.Shared`` as JSON, where the reranker knows it of each."""
    raw = models.TextField(_("raw answer"), blank=True)
    repairs = models.JSONField(_("repairs"), default=dict)
    model = models.CharField(_("model"), max_length=255)
    prompt_version = models.CharField(_("prompt version"), max_length=20, blank=True)
    language = models.CharField(_("language"), max_length=20, blank=True)
    """The language of the page that asked. The caption and the reason are in it, if the reranker knows it."""
    request_id = models.CharField(_("request"), max_length=128, blank=True)
    """The id of the web request that asked first; the worker's log lines carry it."""
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
