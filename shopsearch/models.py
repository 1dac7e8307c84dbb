"""Product images, the outbox of what the vector store has still to learn about them, and what search is judged by."""

from __future__ import annotations

import datetime
import hashlib
import unicodedata
import uuid
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from shopsearch.calibrations import Calibration as Calibration
from shopsearch.kept_vectors import KeptVector as KeptVector
from shopsearch.querysets import ProductImageQuerySet as ProductImageQuerySet

# ProductImage needs a target before the project has chosen one. With neither setting given, check E001 stops
# `migrate`, so this fallback never reaches a database.
PRODUCT_MODEL = getattr(settings, "SHOPSEARCH_PRODUCT_MODEL", "shopsearch.IndexEntry")


class AbstractProductImage(models.Model):
    """A picture of a product. A subclass adds the foreign key ``product``."""

    image = models.ImageField(_("image"), upload_to="products/%Y/%m/", max_length=255)
    alternative_text = models.CharField(_("alternative text"), max_length=255, blank=True)
    position = models.PositiveIntegerField(_("position"), default=0)
    created_at = models.DateTimeField(_("created at"), auto_now_add=True)

    objects = ProductImageQuerySet.as_manager()

    class Meta:
        abstract = True
        ordering = ("position", "pk")
        verbose_name = _("product image")
        verbose_name_plural = _("product images")

    def __str__(self) -> str:
        return self.alternative_text or self.image.name or ""


class ProductImage(AbstractProductImage):
    """shopsearch's own: a picture of whatever model SHOPSEARCH_PRODUCT_MODEL names."""

    product = models.ForeignKey(
        PRODUCT_MODEL, models.CASCADE, related_name="images", verbose_name=_("product")
    )

    class Meta(AbstractProductImage.Meta):
        swappable = "SHOPSEARCH_PRODUCT_IMAGE_MODEL"


class IndexEntry(models.Model):
    """Outbox and index state of one image of one index: written in the transaction that changes the image.

    A row is due when its state is not at rest and ``available_at`` has come. Claiming a row moves ``available_at`` to
    the end of the lease; a change made meanwhile gives the row a new ``version`` but leaves the lease, so no two
    workers write one image at once. Settling compares the version: see ``shopsearch.outbox``.
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


class Collection(models.Model):
    """One of the vector store's collections of an index: which one answers, and which one is being filled beside it.

    Searches read the LIVE one; changes are written to it and to the one that is BUILDING or PAUSED; a RETIRED one is
    kept for a rollback.
    """

    class State(models.TextChoices):
        BUILDING = "building", _("building")
        PAUSED = "paused", _("paused")
        LIVE = "live", _("live")
        RETIRED = "retired", _("retired")

    index = models.CharField(_("index"), max_length=100)
    name = models.CharField(_("name"), max_length=255, unique=True)
    space = models.CharField(_("space"), max_length=255)
    dimension = models.PositiveIntegerField(_("dimension"))
    fields = models.JSONField(_("fields"), default=dict)
    """The declared filters it was made for: name -> kind."""
    state = models.CharField(_("state"), max_length=10, choices=State.choices)
    total = models.PositiveIntegerField(_("total"), default=0)
    """How many images there were to do when its filling began."""
    cursor = models.BigIntegerField(_("cursor"), default=0)
    """The entries up to this key have been given to the workers, to be written to it too."""
    ceiling = models.BigIntegerField(_("ceiling"), default=0)
    """Whoever takes an entry above this key knows of the collection."""
    formerly = models.BigIntegerField(_("formerly"), null=True, editable=False)
    """Its key before a rollback took it up again: what entries hold under that one is still known of it."""
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    begun_at = models.DateTimeField(_("begun at"), db_default=Now())
    """When its filling began, or went on after a pause."""
    begun_with = models.PositiveIntegerField(_("begun with"), default=0)
    """How many images it had then."""
    live_at = models.DateTimeField(_("live at"), null=True, blank=True)

    class Meta:
        verbose_name = _("collection")
        verbose_name_plural = _("collections")
        ordering = ("index", "-pk")
        constraints = (
            models.UniqueConstraint(
                fields=("index",), condition=models.Q(state="live"), name="shopsearch_collection_live"
            ),
            models.UniqueConstraint(
                fields=("index",),
                condition=models.Q(state__in=("building", "paused")),
                name="shopsearch_collection_building",
            ),
        )

    def __str__(self) -> str:
        return f"{self.name} {self.state}"

    @property
    def keys(self) -> tuple[str, ...]:
        """Under which entries tell what it holds of them, the present one first."""
        return tuple(str(key) for key in (self.pk, self.formerly) if key is not None)


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
    request_id = models.CharField(_("request"), max_length=128, blank=True)
    """Of the page's request that asked first: the worker's log lines carry it."""
    error = models.TextField(_("error"), blank=True)
    created_at = models.DateTimeField(_("created at"), db_default=Now())
    started_at = models.DateTimeField(_("started at"), null=True)
    finished_at = models.DateTimeField(_("finished at"), null=True)
    deadline_at = models.DateTimeField(_("deadline"))

    class Meta:
        verbose_name = _("rerank")
        verbose_name_plural = _("reranks")
        ordering = ("-created_at",)
        indexes = (models.Index(fields=("state", "created_at"), name="shopsearch_rerank_state"),)

    def __str__(self) -> str:
        return f"{self.text or self.index} {self.state}"

    @property
    def is_final(self) -> bool:
        return self.state not in (self.State.QUEUED, self.State.RUNNING)


class EvaluationQuery(models.Model):
    """A query that search is judged by. Of shoppers' there are words, a count and days: nothing that says who asked."""

    class Source(models.TextChoices):
        STAFF = "staff", _("staff")
        SHOPPER = "shopper", _("shoppers")

    key = models.CharField(_("key"), max_length=64, unique=True, editable=False)
    index = models.CharField(_("index"), max_length=100)
    text = models.CharField(_("text"), max_length=1000, blank=True)
    picture = models.BinaryField(_("picture"), null=True)
    language = models.CharField(_("language"), max_length=20, blank=True)
    source = models.CharField(_("source"), max_length=10, choices=Source.choices, default=Source.STAFF)
    times_asked = models.PositiveIntegerField(_("times asked"), default=0)
    asked_on = models.DateField(_("asked on"), null=True, blank=True)
    created_on = models.DateField(_("created on"), default=datetime.date.today)

    class Meta:
        verbose_name = _("query")
        verbose_name_plural = _("queries")
        ordering = ("-times_asked", "pk")
        permissions = (("judge", "Can judge results"),)
        indexes = (models.Index(fields=("source", "asked_on"), name="shopsearch_query_asked"),)

    def __str__(self) -> str:
        return self.text or str(_("(a picture alone)"))

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.key = self.key_of(self.index, self.text, self.picture)
        super().save(*args, **kwargs)

    @staticmethod
    def normalised(text: str) -> str:
        """Words that differ by case, width or spaces only are asked as one query."""
        return " ".join(unicodedata.normalize("NFKC", text).lower().split())

    @classmethod
    def key_of(cls, index: str, text: str, picture: bytes | memoryview | None = None) -> str:
        pictured = hashlib.sha256(picture).hexdigest() if picture else ""
        return hashlib.sha256("\0".join((index, cls.normalised(text), pictured)).encode()).hexdigest()


class Judgement(models.Model):
    """How well a product answers a query, as a person says."""

    class Grade(models.IntegerChoices):
        NOT_RELEVANT = 0, _("not relevant")
        RELATED = 1, _("related")
        GOOD = 2, _("good")
        EXACT = 3, _("exactly what was asked")

    query = models.ForeignKey(EvaluationQuery, models.CASCADE, related_name="judgements")
    product_id = models.CharField(_("product"), max_length=255)
    grade = models.PositiveSmallIntegerField(_("grade"), choices=Grade.choices)
    judged_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="+", verbose_name=_("judged by")
    )
    judged_at = models.DateTimeField(_("judged at"), db_default=Now())

    class Meta:
        verbose_name = _("judgement")
        verbose_name_plural = _("judgements")
        constraints = (
            models.UniqueConstraint(fields=("query", "product_id"), name="shopsearch_judgement_unique"),
        )

    def __str__(self) -> str:
        return f"{self.query_id}:{self.product_id} {self.grade}"
