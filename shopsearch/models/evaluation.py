"""Evaluation: queries, people's judgements of their results, and measured calibrations."""

from __future__ import annotations

import datetime
import hashlib
import unicodedata
from typing import TYPE_CHECKING, Any, Self

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

if TYPE_CHECKING:
    from shopsearch.types import Vector


class EvaluationQueryQuerySet(models.QuerySet["EvaluationQuery"]):
    """Queries by source, and by whether they have judgements."""

    def by_shoppers(self) -> Self:
        return self.filter(source=EvaluationQuery.Source.SHOPPER)

    def popular(self, index: str, times: int) -> Self:
        """Those by words that were asked so often or more, and as a rule answered well; the most asked first."""
        asked = self.filter(index=index, times_asked__gte=times, times_weak__lt=models.F("times_asked") / 2)
        return asked.exclude(text="").order_by("-times_asked", "pk")

    def judged(self) -> Self:
        return self.filter(models.Exists(Judgement.objects.filter(query=models.OuterRef("pk"))))

    def unjudged(self) -> Self:
        return self.filter(judgements=None)


class EvaluationQuery(models.Model):
    """A query for evaluation. A shopper's query is stored with counts and dates, but with nothing about the shopper."""

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
    times_weak = models.PositiveIntegerField(_("without a good match"), default=0)
    """How many times the best result was a weak match."""
    asked_on = models.DateField(_("asked on"), null=True, blank=True)
    created_on = models.DateField(_("created on"), default=datetime.date.today)

    objects = EvaluationQueryQuerySet.as_manager()

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
        """The text without differences of case, width and spaces: texts that differ only by these are one query."""
        return " ".join(unicodedata.normalize("NFKC", text).lower().split())

    @classmethod
    def key_of(cls, index: str, text: str, picture: bytes | memoryview | None = None) -> str:
        pictured = hashlib.sha256(picture).hexdigest() if picture else ""
        return hashlib.sha256("\0".join((index, cls.normalised(text), pictured)).encode()).hexdigest()


class SearchDay(models.Model):
    """How many searches of an index were collected on a day: searches by words of consenting shoppers."""

    index = models.CharField(_("index"), max_length=100)
    day = models.DateField(_("day"))
    searches = models.PositiveIntegerField(_("searches"), default=0)

    class Meta:
        verbose_name = _("searches of a day")
        verbose_name_plural = _("searches by day")
        default_permissions = ()
        constraints = (models.UniqueConstraint(fields=("index", "day"), name="shopsearch_day_unique"),)

    def __str__(self) -> str:
        return f"{self.index} {self.day}: {self.searches}"


class Judgement(models.Model):
    """A person's grade for how well a product answers a query."""

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


class Calibration(models.Model):
    """What ``shopsearch_calibrate`` measured for one kind of query, index and space."""

    index = models.CharField(_("index"), max_length=100)
    space = models.CharField(_("space"), max_length=255)
    kind = models.CharField(_("kind"), max_length=10)
    threshold = models.FloatField(_("threshold"))
    weight = models.FloatField(_("weight"))
    typical = models.JSONField(_("typical vector"))
    """The mean of the image vectors: its cosine with a query is the query's typical score."""
    pairs = models.PositiveIntegerField(_("pairs"))
    created_at = models.DateTimeField(_("created at"), db_default=Now())

    class Meta:
        verbose_name = _("calibration")
        verbose_name_plural = _("calibrations")
        constraints = (
            models.UniqueConstraint(fields=("index", "space", "kind"), name="shopsearch_calibration_unique"),
        )

    def __str__(self) -> str:
        return f"{self.index} {self.kind} {self.threshold:.3f}"

    def weak_below(self, vector: Vector) -> float:
        """The score below which a result of this query is a weak match."""
        import numpy as np

        return self.threshold + self.weight * float(np.dot(vector, np.asarray(self.typical, np.float32)))
