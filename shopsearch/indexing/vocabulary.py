"""The vocabulary of an index: words are added as products are indexed, and a reindex counts all of them again.

A word is added in the same step that writes a product to the vector store, so no word of a product is ever taken for a
typing error. Counts cannot be kept up to date in that step: that would need the product's earlier words, and all
workers would write to the same rows. Instead ``shopsearch_reindex`` and the daily reconcile count in one pass over the
products, and drop words that are gone. Until then, such a word is merely not corrected.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable
from typing import Any

from django.db import transaction

from shopsearch.conf import settings
from shopsearch.models import VocabularyWord
from shopsearch.registry import ImageIndex, analyzer
from shopsearch.registry.relations import with_related

logger = logging.getLogger(__name__)
MAX_WORDS = 100_000
"""How many words of an index are kept: the most frequent ones."""
ROWS = 1_000


def add_words(index: ImageIndex, images: Iterable[Any], *, using: str) -> None:
    """Add the words of the products of these images. Never raises: if it fails, the next count adds them."""
    if not is_wanted(index):
        return
    try:
        products = {
            product.pk: product for image in images if (product := index.get_product(image)) is not None
        }
        words = {word for product in products.values() for word in _words_of(index, product)}
        rows = VocabularyWord.objects.of(index, using)
        new = sorted(words - set(rows.filter(word__in=words).values_list("word", flat=True)))
        if new and rows.count() < MAX_WORDS:
            with transaction.atomic(using=using):
                VocabularyWord.objects.using(using).bulk_create(
                    [VocabularyWord(index=index.name, word=word) for word in new], ignore_conflicts=True
                )
    except Exception as error:
        logger.warning("%s: words are missing in the vocabulary until the next count: %r", index.name, error)


def recount(index: ImageIndex) -> int:
    """Count the words of all products that the shop shows. Returns how many words there are.

    During the count, searches use the old counts. Words that are added during the count stay.
    """
    rows = VocabularyWord.objects.of(index)
    if not is_wanted(index):
        rows.delete()
        return 0
    before = dict(rows.values_list("word", "count"))
    counts: Counter[str] = Counter()
    seen: set[object] = set()
    images = with_related(index, index.get_queryset().using(index.database))
    with index.in_its_language():
        for image in images.order_by("pk").iterator(chunk_size=ROWS):
            product = index.get_product(image)
            if product is not None and product.pk not in seen:
                seen.add(product.pk)
                counts.update(_words_of(index, product))
    wanted = dict(counts.most_common(MAX_WORDS))
    gone = [word for word in before if word not in wanted]
    changed = {word: count for word, count in wanted.items() if before.get(word, 0) != count}
    for start in range(0, len(gone), ROWS):
        rows.filter(word__in=gone[start : start + ROWS]).delete()
    words = sorted(changed)
    for start in range(0, len(words), ROWS):
        VocabularyWord.objects.using(index.database).bulk_create(
            [
                VocabularyWord(index=index.name, word=word, count=changed[word])
                for word in words[start : start + ROWS]
            ],
            update_conflicts=True,
            update_fields=["count"],
            unique_fields=["index", "word"],
        )
    return len(wanted)


def is_wanted(index: ImageIndex) -> bool:
    """Whether typing errors are corrected in searches of this index."""
    return bool(index.words_field) and settings.CORRECT_TYPING


def _words_of(index: ImageIndex, product: Any) -> list[str]:
    """The words of the product's texts. Words of its name are in the list twice."""
    return analyzer.written_words(index.words_of(product))
