"""The vocabulary: the words that the products of an index have, by which typing errors are corrected."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from shopsearch.models.indexed import IndexedQuerySet


class VocabularyWord(models.Model):
    """A word as it is written, and how often the products' texts have it.

    A word is here from the moment that a product with it is written to the vector store. How often it is said, and that
    it is gone, is known when the index's words are counted anew: see ``indexing.vocabulary``.
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
