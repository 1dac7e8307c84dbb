"""The vocabulary: the words of an index's products, used to correct typing errors."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from shopsearch.models.indexed import IndexedQuerySet


class VocabularyWord(models.Model):
    """A word as it is written, and how often it occurs in the products' texts.

    A word is added when a product with it is written to the vector store. Counts are updated, and words that are gone
    are deleted, when the index's words are next counted: see ``indexing.vocabulary``.
    """

    index = models.CharField(_("index"), max_length=100)
    word = models.CharField(_("word"), max_length=40)
    count = models.PositiveIntegerField(_("count"), default=1)

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
