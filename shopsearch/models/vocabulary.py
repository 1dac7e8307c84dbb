"""The vocabulary: the words and titles of an index's products, used to correct typing errors and to suggest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from django.db import models
from django.utils.translation import gettext_lazy as _

from shopsearch.models.indexed import IndexedQuerySet

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

    _Text = models.CharField[str, str]
else:
    _Text = models.CharField  # Django's own cannot be subscripted

LAST_CHARACTER = "\U0010ffff"


class VocabularyWord(models.Model):
    """A word as it is written, and how often it occurs in the products' texts.

    A word is added when a product with it is written to the vector store. Counts are updated, and words that are gone
    are deleted, when the index's words are next counted: see ``indexing.vocabulary``.
    """

    index = models.CharField(_("index"), max_length=100)
    word = models.CharField(_("word"), max_length=40)
    count = models.PositiveIntegerField(_("count"), default=1)
    """0 for a part of a SKU, which no text says: it is no typing error, and completes nothing that is typed."""

    objects = IndexedQuerySet["VocabularyWord"].as_manager()

    class Meta:
        verbose_name = _("word of the vocabulary")
        verbose_name_plural = _("vocabulary")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("index", "word"), name="shopsearch_vocabulary_unique"),
        )

    def __str__(self) -> str:
        return self.word


class BytewiseField(_Text):
    """Text that the database compares character by character, so that one range has all texts that begin alike.

    The rules of a language, by which PostgreSQL and MySQL compare as a rule, may pass over spaces.
    """

    def db_parameters(self, connection: BaseDatabaseWrapper) -> dict[str, str | None]:
        collations = {"postgresql": "C", "mysql": "utf8mb4_bin"}
        return {**super().db_parameters(connection), "collation": collations.get(connection.vendor)}


class SuggestionQuerySet(IndexedQuerySet["Suggestion"]):
    """Suggestions by what they are, and by how they begin."""

    def products(self) -> Self:
        return self.filter(filter="")

    def values_of_filters(self) -> Self:
        return self.exclude(filter="")

    def beginning(self, text: str) -> Self:
        """Those with a word from which on they begin so; the text is one that ``analyzer.plain`` returned."""
        return self.filter(start__gte=text, start__lt=text + LAST_CHARACTER)


class Suggestion(models.Model):
    """A title or a filter's value that is offered while a shopper types, once for each of its words."""

    index = models.CharField(_("index"), max_length=100)
    filter = models.CharField(_("filter"), max_length=100, blank=True)
    """The filter's name; "" for a product."""
    key = models.CharField(_("key"), max_length=255)
    """The product's, or the filter's value."""
    label = models.CharField(_("label"), max_length=255, blank=True)
    """What shoppers read for a filter's value."""
    start = BytewiseField(_("start"), max_length=200)
    """As ``analyzer.starts`` writes it."""
    count = models.PositiveIntegerField(_("count"), default=1)
    """How many products have a filter's value."""

    objects = SuggestionQuerySet.as_manager()

    class Meta:
        verbose_name = _("suggestion")
        verbose_name_plural = _("suggestions")
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(
                fields=("index", "filter", "key", "start"), name="shopsearch_suggestion_unique"
            ),
        )
        indexes = (models.Index(fields=("index", "filter", "start"), name="shopsearch_suggestion_start"),)

    def __str__(self) -> str:
        return self.start
