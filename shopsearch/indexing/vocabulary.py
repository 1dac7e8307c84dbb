"""The vocabulary of an index: follows its products as they are written, and is counted anew by a reindex.

A word is added in the same step that writes a product to the vector store, so no word of a product is ever taken for a
typing error. Counts would need what a product said before, and rows that all workers want at once; they are taken in
one pass over the products instead, by ``shopsearch_reindex`` and the daily reconcile, which also drops words that are
gone. Until then such a word is only one that is not corrected.
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
"""The most frequent words of an index are kept, up to so many."""
ROWS = 1_000


def follow(index: ImageIndex, images: Iterable[Any], *, using: str) -> None:
    """Add the words of the products of these images. Never raises: they are added by the next count as well."""
    if not is_wanted(index):
        return
    try:
        products = {
            product.pk: product for image in images if (product := index.get_product(image)) is not None
        }
        words = {word for product in products.values() for word in _said(index, product)}
        rows = VocabularyWord.objects.of(index, using)
        new = sorted(words - set(rows.filter(word__in=words).values_list("word", flat=True)))
        if new and rows.count() < MAX_WORDS:
            with transaction.atomic(using=using):
                VocabularyWord.objects.using(using).bulk_create(
                    [VocabularyWord(index=index.name, word=word) for word in new], ignore_conflicts=True
                )
    except Exception as error:
        logger.warning("%s: the vocabulary misses words until it is counted anew: %r", index.name, error)


def count_anew(index: ImageIndex) -> int:
    """Count the words of all products that the shop shows. Returns how many words there are.

    Searches go on with the old counts meanwhile, and words that are added meanwhile stay.
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
                counts.update(_said(index, product))
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


def _said(index: ImageIndex, product: Any) -> list[str]:
    """The words of the product's texts; of those that are its name too, twice."""
    return analyzer.written_words(index.words_of(product))
