"""The vocabulary of an index: words are added as products are indexed, and a reindex counts all of them again.

A word is added in the same step that writes a product to the vector store, so no word of a product is ever taken for a
typing error; the title by which it is suggested is replaced in that step, too. Counts cannot be kept up to date there:
that would need the product's earlier words, and all workers would write to the same rows. Instead
``shopsearch_reindex`` and the daily reconcile count in one pass over the products, and drop words, titles and values
that are gone. Until then, such a word is merely not corrected; a product that the shop hides is never suggested.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import Any

from django.db import InterfaceError, OperationalError, transaction

from shopsearch.conf import settings
from shopsearch.models import Suggestion, VocabularyWord
from shopsearch.registry import ImageIndex, analyzer
from shopsearch.registry.keys import chunks_of, is_storable, keys_of
from shopsearch.registry.relations import blank_images, with_related
from shopsearch.types import FilterValues

logger = logging.getLogger(__name__)
MAX_WORDS = 100_000
"""How many words of an index are kept: the most frequent ones."""
MAX_VALUES = 5_000
"""The same of the filters' values that are suggested."""
MAX_CHARACTERS = 255
"""A longer value is no name of a category."""
ROWS = 1_000

Value = tuple[str, str]
"""A filter's name, and a value of it."""


def is_wanted(index: ImageIndex) -> bool:
    """Whether typing errors are corrected in searches of this index, or anything is suggested."""
    return has_words(index) or settings.SUGGESTIONS


def has_words(index: ImageIndex) -> bool:
    """Whether the words of this index are kept."""
    return bool(index.words_field) and (settings.CORRECT_TYPING or settings.SUGGESTIONS)


def add(index: ImageIndex, images: Iterable[tuple[Any, FilterValues | None]], *, using: str) -> None:
    """Add the words, titles and values of the products of these images, each with its filter values if they were read.

    Never raises: if it fails, the next count adds them.
    """
    if not is_wanted(index):
        return
    try:
        read: dict[str, _Product] = {}
        for image, values in images:
            if product := _read(index, image, values, read):
                read[product.key] = product
        if has_words(index):
            counts: Counter[str] = Counter()
            for each in read.values():
                counts.update(each.words)
            _add_words(index, counts, using)
        if settings.SUGGESTIONS:
            _replace(index, {key: each.starts for key, each in read.items()}, using)
            labels = {value: label for each in read.values() for value, label in each.values.items()}
            _add_values(index, labels, using)
    except Exception as error:
        logger.warning("%s: words are missing in the vocabulary until the next count: %r", index.name, error)


def recount(index: ImageIndex) -> int:
    """Count the words of all products that the shop shows. Returns how many words there are.

    During the count, searches use the old counts. Words that are added during the count stay.
    """
    using = index.database
    words, suggestions = VocabularyWord.objects.of(index), Suggestion.objects.of(index)
    if not has_words(index):
        words.delete()
    if not settings.SUGGESTIONS:
        suggestions.delete()
    if not is_wanted(index):
        return 0
    words_before = dict(words.values_list("word", "count"))
    keys_before = set(suggestions.products().values_list("key", flat=True))
    word_counts: Counter[str] = Counter()
    value_counts: Counter[Value] = Counter()
    labels: dict[Value, str] = {}
    seen: set[str] = set()
    for images in _images_of_all(index, using):
        starts: dict[str, list[str]] = {}
        with index.in_its_language():
            for image in images():
                each = _read(index, image, None, seen)
                if each is None:
                    continue
                seen.add(each.key)
                word_counts.update(each.words)
                if settings.SUGGESTIONS:
                    starts[each.key] = each.starts
                    labels |= each.values
                    value_counts.update(each.values.keys())
        _replace(index, starts, using)
    for gone in chunks_of(sorted(keys_before - seen)):
        suggestions.products().filter(key__in=gone).delete()
    _count_values(index, dict(value_counts.most_common(MAX_VALUES)), labels)
    return _count_words(index, dict(word_counts.most_common(MAX_WORDS)), words_before)


def _images_of_all(index: ImageIndex, using: str) -> Iterator[Callable[[], Iterable[Any]]]:
    """Reads the images of all products that the shop shows, in chunks; blank ones of those that have no picture."""
    images = index.get_queryset().using(using)
    for keys in keys_of(images):
        yield partial(with_related, index, images.filter(pk__in=keys).order_by("pk"))
    if index.finds_pictureless:
        products = index.pictureless_products().using(using)
        for keys in keys_of(products):
            yield partial(blank_images, index, products.filter(pk__in=keys))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Product:
    """What is read of a product."""

    key: str
    words: Counter[str]
    """How often it says each."""
    starts: list[str]
    values: dict[Value, str]
    """Each with what shoppers read for it."""


def _read(
    index: ImageIndex, image: Any, values: FilterValues | None, seen: Collection[str]
) -> _Product | None:
    """The image's product; None without one, for those of ``seen``, and where the shop's own code raises."""
    try:
        product = index.get_product(image)
        if product is None or (key := str(product.pk)) in seen:
            return None
        return _Product(
            key=key,
            words=_words_of(index, product) if has_words(index) else Counter(),
            starts=_starts(index, product) if settings.SUGGESTIONS else [],
            values=dict(_values(index, image, values)) if settings.SUGGESTIONS else {},
        )
    except (OperationalError, InterfaceError):  # the database is away, and not for this product alone
        raise
    except Exception as error:
        logger.warning("%s: image %s adds no words to the vocabulary: %r", index.name, image.pk, error)
        return None


# Words


def _words_of(index: ImageIndex, product: Any) -> Counter[str]:
    """How often the product's texts have each word; once more where its names do. Parts of a SKU count 0 times."""
    texts, names = index.words_of(product)
    counts = Counter(analyzer.written_words(texts))
    said = {*counts, *analyzer.written_words(index.names_of(product)[:1])}
    for word in analyzer.written_words(names):
        counts[word] += word in said
    return counts


def _add_words(index: ImageIndex, counts: Mapping[str, int], using: str) -> None:
    rows = VocabularyWord.objects.of(index, using)
    known = dict(rows.filter(word__in=counts).values_list("word", "count"))
    new = [VocabularyWord(index=index.name, word=word, count=min(1, counts[word])) for word in sorted(counts)]
    new = [each for each in new if each.word not in known]
    if new and rows.count() < MAX_WORDS:
        with transaction.atomic(using=using):
            VocabularyWord.objects.using(using).bulk_create(new, ignore_conflicts=True)
    if said := [word for word, count in known.items() if not count and counts[word]]:
        rows.filter(word__in=said, count=0).update(count=1)


def _count_words(index: ImageIndex, counts: Mapping[str, int], before: Mapping[str, int]) -> int:
    rows = VocabularyWord.objects.of(index)
    for gone in chunks_of(sorted(before.keys() - counts.keys())):
        rows.filter(word__in=gone).delete()
    for changed in chunks_of(sorted(word for word in counts if before.get(word) != counts[word])):
        VocabularyWord.objects.using(index.database).bulk_create(
            [VocabularyWord(index=index.name, word=word, count=counts[word]) for word in changed],
            update_conflicts=True,
            update_fields=["count"],
            unique_fields=["index", "word"],
        )
    return len(counts)


# Suggestions


def _starts(index: ImageIndex, product: Any) -> list[str]:
    """What a shopper may begin to type for the product."""
    return list(dict.fromkeys(start for name in index.names_of(product) for start in analyzer.starts(name)))


def _values(index: ImageIndex, image: Any, values: FilterValues | None) -> Iterable[tuple[Value, str]]:
    """The values of the product's filters, each with what shoppers read for it."""
    for name, value, label in index.labelled_values_of(image, values):
        if len(value) <= MAX_CHARACTERS and is_storable(value) and is_storable(label):
            yield (name, value), (label or value)[:MAX_CHARACTERS]


def _replace(index: ImageIndex, starts: Mapping[str, list[str]], using: str) -> None:
    """These products are suggested by these texts, and by no others."""
    rows = Suggestion.objects.of(index, using).products()
    found = rows.filter(key__in=starts).values_list("key", "start", "pk") if starts else ()
    known = {(key, start): pk for key, start, pk in found}
    wanted = {(key, start) for key, each in starts.items() for start in each}
    for gone in chunks_of([pk for pair, pk in known.items() if pair not in wanted]):
        rows.filter(pk__in=gone).delete()
    new = [Suggestion(index=index.name, key=key, start=start) for key, start in sorted(wanted - known.keys())]
    if new:
        Suggestion.objects.using(using).bulk_create(new, ignore_conflicts=True, batch_size=ROWS)


def _add_values(index: ImageIndex, labels: Mapping[Value, str], using: str) -> None:
    rows = Suggestion.objects.of(index, using).values_of_filters()
    known = set(rows.filter(key__in={value for _, value in labels}).values_list("filter", "key"))
    new = {value: label for value, label in labels.items() if value not in known}
    if new and rows.count() < MAX_VALUES:
        Suggestion.objects.using(using).bulk_create(
            _rows_of(index, dict.fromkeys(new, 1), new), ignore_conflicts=True, batch_size=ROWS
        )


def _count_values(index: ImageIndex, counts: Mapping[Value, int], labels: Mapping[Value, str]) -> None:
    """These are the values that are suggested; a few thousand at most, so that all are compared."""
    rows = Suggestion.objects.of(index).values_of_filters()
    said = attrgetter("filter", "key", "start", "label", "count")
    known = {said(each): each.pk for each in rows.iterator(ROWS)}
    wanted = {said(each): each for each in _rows_of(index, counts, labels)}
    with transaction.atomic(using=index.database):
        for gone in chunks_of([pk for row, pk in known.items() if row not in wanted]):
            rows.filter(pk__in=gone).delete()
        # A worker may have added some since they were read, as values of one product.
        Suggestion.objects.using(index.database).bulk_create(
            [each for row, each in wanted.items() if row not in known],
            update_conflicts=True,
            update_fields=["label", "count"],
            unique_fields=["index", "filter", "key", "start"],
            batch_size=ROWS,
        )


def _rows_of(index: ImageIndex, counts: Mapping[Value, int], labels: Mapping[Value, str]) -> list[Suggestion]:
    """In the order of their unique key: workers that insert the same rows then wait for each other in turn."""
    return [
        Suggestion(index=index.name, filter=name, key=key, label=labels[name, key], start=start, count=count)
        for (name, key), count in sorted(counts.items())
        for start in sorted(analyzer.starts(labels[name, key]))
    ]
