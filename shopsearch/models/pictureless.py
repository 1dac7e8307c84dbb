"""Products without a picture: what words find them by. They have no vector, so no vector store holds them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from itertools import islice
from typing import Self

from django.db import models
from django.db.models import Case, Q, When
from django.db.models.functions import Length

from shopsearch.models.indexed import IndexedQuerySet
from shopsearch.registry import analyzer

MAX_ASKED = 200
"""The database looks for so many of a text's words; SQLite takes no deeper conditions than 1,000."""


class PicturelessProductQuerySet(IndexedQuerySet["PicturelessProduct"]):
    """Products without a picture, by their terms. Of a text of more than MAX_ASKED words the first ones count."""

    def having(self, terms: analyzer.QueryTerms) -> Self:
        """Those that have the term of a query's name or SKU, then those that have every word, short texts first."""
        has_all, is_called = Q(), Q()
        for word in terms.words[:MAX_ASKED]:
            has_any = Q()
            for each in word:
                has_any |= _with(*each.split())
            has_all &= has_any
        for term in filter(None, (*terms.called, terms.sku, terms.leading)):
            is_called |= _with(term)
        wanted = (has_all | is_called) if terms.words else is_called
        if not wanted:
            return self.none()
        places = [Case(When(is_called, then=0), default=1)] if is_called else []
        return self.filter(wanted).order_by(*places, Length("terms"), "key")

    def saying(self, terms: Iterable[str]) -> Self:
        """Those that have any of these terms."""
        says_any = Q()
        for term in islice(terms, MAX_ASKED):
            says_any |= _with(term)
        return self.filter(says_any) if says_any else self.none()


def _with(*terms: str) -> Q:
    return Q(*(Q(terms__contains=f" {term} ") for term in terms))


class PicturelessProduct(models.Model):
    """A product that words find although it has no picture.

    Workers write these rows. Whether the shop shows the product, and whether it still has no picture, each search asks
    the shop's own tables: a row that is out of date shows nothing that it should not.
    """

    index = models.CharField(max_length=100)
    key = models.CharField(max_length=255)
    """The product's."""
    terms = models.TextField()
    """What a vector store would keep of its words, with a space at either end."""
    version = models.UUIDField(default=uuid.uuid4, editable=False)
    """Of the worker that looked at the product last."""

    objects = PicturelessProductQuerySet.as_manager()

    class Meta:
        default_permissions = ()
        constraints = (
            models.UniqueConstraint(fields=("index", "key"), name="shopsearch_pictureless_unique"),
        )

    def __str__(self) -> str:
        return f"{self.index}:{self.key}"
