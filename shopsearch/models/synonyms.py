"""Synonyms: words that find what other words say, edited by the shop's staff."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Synonym(models.Model):
    """Words that shoppers say, and what they mean in this shop."""

    words = models.CharField(
        _("words"), max_length=100, help_text=_('What is searched for, such as "shoes".')
    )
    meanings = models.CharField(
        _("meanings"),
        max_length=500,
        help_text=_('What is found as well, separated by commas, such as "sneakers, boots".'),
    )
    is_two_way = models.BooleanField(
        _("two-way"), default=False, help_text=_("Whether each of the meanings finds the words, too.")
    )
    language = models.CharField(
        _("language"),
        max_length=10,
        blank=True,
        help_text=_('Of the searches that it holds for, such as "en"; empty for all.'),
    )

    class Meta:
        verbose_name = _("synonym")
        verbose_name_plural = _("synonyms")
        ordering = ("words",)
        constraints = (
            models.UniqueConstraint(fields=("language", "words"), name="shopsearch_synonym_unique"),
        )

    def __str__(self) -> str:
        return f"{self.words} {'↔' if self.is_two_way else '→'} {self.meanings}"
