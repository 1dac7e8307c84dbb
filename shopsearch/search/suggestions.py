"""Suggestions while a shopper types: products, categories and whole queries, from the shop's database alone.

No model runs and no vector store is asked. A product is found by the beginning of any word of its title or names; what
is suggested is what the shop shows at this moment.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from django.utils.text import capfirst
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from shopsearch.conf import settings
from shopsearch.exceptions import EmptyQuery
from shopsearch.models import EvaluationQuery, Suggestion
from shopsearch.registry import ImageIndex, analyzer
from shopsearch.search.engine import check_text, index_named
from shopsearch.search.kept import Kept
from shopsearch.search.spelling import Spelling, spelling_of

SHORTEST = 2
"""Characters from which on anything is suggested."""
MAX_PRODUCTS, MAX_CATEGORIES, MAX_COMPLETIONS, MAX_POPULAR = 4, 3, 4, 2
MAX_TYPED_WORDS = 8
MAX_ROWS = 200
"""Of the titles that match, so many are ranked."""
TRIED_COMPLETIONS = 3
"""Of the words that begin as the typed one, titles with the most frequent ones are looked for first."""
MIN_TIMES_ASKED = 5
"""A query is popular from here on: what only a few shoppers asked is theirs."""
POPULAR_KEPT, POPULAR_SECONDS = 1_000, 60
"""So many popular queries are held, and for how long a process takes them for those in the database."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """A filter's value whose label has a word that begins as what is typed."""

    filter: str
    value: str
    label: str
    count: int
    """How many products had it when they were counted last."""

    @property
    def filter_label(self) -> str:
        return capfirst(_(self.filter.replace("_", " ")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A whole query that begins as what is typed."""

    text: str
    is_popular: bool = False
    """Whether shoppers who allow it have asked for it often; else it is a word of the shop's products."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestions:
    """What a shopper may mean, the most likely first."""

    index: ImageIndex
    text: str
    """What is typed."""
    completions: tuple[Completion, ...] = ()
    categories: tuple[Category, ...] = ()
    images: tuple[Any, ...] = ()
    """One image of each product."""


def suggest(text: str, *, index: str = "", language: str = "") -> Suggestions:
    """What a shopper who has typed this may mean: nothing below SHORTEST characters.

    ``index`` is the shop's own unless given, ``language`` the active one. Raises EmptyQuery and QueryError for what the
    caller can correct.
    """
    found_in = index_named(index)
    check_text(text)
    if not text.strip():
        raise EmptyQuery
    typed = analyzer.plain(text).split()[:MAX_TYPED_WORDS]
    if len(" ".join(typed)) < SHORTEST:
        return Suggestions(index=found_in, text=text)
    spelling = spelling_of(found_in, found_in.query_language(language or get_language() or ""))
    titles = _titles(found_in, typed, spelling)
    images = _images(found_in, [title.key for title in titles])
    shown = {str(found_in.get_product(image).pk) for image in images}
    return Suggestions(
        index=found_in,
        text=text,
        completions=_completions(
            found_in, text, typed, spelling, [each for each in titles if each.key in shown]
        ),
        categories=_categories(found_in, typed),
        images=images,
    )


# Products


@dataclass(frozen=True, slots=True, kw_only=True)
class _Title:
    """A title or name that begins as what is typed from one of its words on."""

    key: str
    """Of its product."""
    start: str

    @property
    def words(self) -> list[str]:
        return self.start.replace("|", " ").split()

    def completed(self, typed: Sequence[str]) -> tuple[str, ...]:
        """The words of the title that begin as the typed ones; one that is whole stays."""
        words = self.words
        return tuple(
            each if each in words else next(word for word in words if word.startswith(each)) for each in typed
        )

    def rank(self, typed: Sequence[str], likely: Sequence[str]) -> tuple[Any, ...]:
        """The whole title first, then whole words, frequent words, words at the title's beginning, short titles."""
        words, phrase = self.words, " ".join(typed)
        place = next(
            (place for place, word in enumerate((typed[-1], *likely)) if word in words), len(likely) + 1
        )
        return (
            self.start != phrase,
            place,
            not self.start.startswith(phrase),
            "|" in self.start,
            len(self.start),
            self.start,
        )


def _titles(index: ImageIndex, typed: Sequence[str], spelling: Spelling) -> list[_Title]:
    """Titles that have for each typed word one that begins so, best first, each product once."""
    rows = Suggestion.objects.of(index).products()
    likely: list[str] = []
    if len(typed) == 1:
        likely = [analyzer.plain(word) for word in spelling.completions(typed[0], TRIED_COMPLETIONS)]
        ranges = [rows.beginning(each) for each in dict.fromkeys([typed[0], *likely])]
    else:
        rarest = min(dict.fromkeys(typed), key=lambda word: (spelling.frequency(word), -len(word)))
        found = rows.beginning(rarest)
        for word in dict.fromkeys(typed):
            if word != rarest:
                found = found.filter(start__contains=f" {word}")
        ranges = [found]
    titles = [
        _Title(key=key, start=start)
        for found in ranges
        for key, start in found.order_by("start").values_list("key", "start")[: MAX_ROWS // len(ranges)]
    ]
    titles.sort(key=lambda title: title.rank(typed, likely))
    return list({title.key: title for title in reversed(titles)}.values())[::-1]


def _images(index: ImageIndex, keys: Sequence[str]) -> tuple[Any, ...]:
    """The first image of each of the first products that the shop shows."""
    found: dict[str, Any] = {}
    for start in range(0, len(keys), 4 * MAX_PRODUCTS):
        asked = keys[start : start + 4 * MAX_PRODUCTS]
        by_key: dict[str, Any] = {}
        for image in index.images_of(asked):
            product = index.product_of(image)
            if product is not None and getattr(image, index.image_field):
                by_key.setdefault(str(product.pk), image)
        found |= {key: by_key[key] for key in asked if key in by_key}
        if len(found) >= MAX_PRODUCTS:
            break
    return tuple(found.values())[:MAX_PRODUCTS]


# Categories


def _categories(index: ImageIndex, typed: Sequence[str]) -> tuple[Category, ...]:
    names = [name for name, kind in index.filter_types.items() if kind in ("string", "strings")]
    if not names:
        return ()
    rows = Suggestion.objects.of(index).filter(filter__in=names).beginning(" ".join(typed))
    found = rows.order_by("-count", "start").values_list("filter", "key", "label", "count")
    each = dict.fromkeys(found[: 3 * MAX_CATEGORIES])  # one that has two such words is there twice
    return tuple(
        Category(filter=name, value=key, label=label, count=count) for name, key, label, count in each
    )[:MAX_CATEGORIES]


# Completions


def _completions(
    index: ImageIndex, text: str, typed: Sequence[str], spelling: Spelling, titles: Sequence[_Title]
) -> tuple[Completion, ...]:
    """Popular queries, then what is typed completed: one word by the shop's words, several by these titles."""
    if len(typed) == 1:
        completed = spelling.completions(typed[0], MAX_COMPLETIONS + 1)
    else:
        meant = Counter(title.completed(typed) for title in titles)
        for words in [each for each in meant if any(map(spelling.is_code, each))]:
            del meant[words]
        completed = [
            " ".join([*text.split()[:-1], spelling.written(words[-1])])
            if words[:-1] == tuple(typed[:-1])
            else " ".join(map(spelling.written, words))
            for words, _ in meant.most_common(MAX_COMPLETIONS + 1)
        ]
    found: dict[str, Completion] = {}
    for each in _popular(index, spelling.language, " ".join(typed)):
        found.setdefault(analyzer.plain(each), Completion(text=each, is_popular=True))
        if len(found) == MAX_POPULAR:
            break
    for each in completed:
        found.setdefault(analyzer.plain(each), Completion(text=each))
    found.pop(" ".join(typed), None)
    return tuple(found.values())[:MAX_COMPLETIONS]


def _read(index: str, _before: object) -> list[tuple[str, str, str]]:
    """The popular queries: each as it is compared, as it is written, and its language."""
    rows = EvaluationQuery.objects.by_shoppers().popular(index, MIN_TIMES_ASKED)
    return [
        (f" {analyzer.plain(text)}", text, analyzer.known_language(spoken))
        for text, spoken in rows.values_list("text", "language")[:POPULAR_KEPT]
    ]


_asked = Kept(_read, lambda: POPULAR_SECONDS)
forget = _asked.forget


def _popular(index: ImageIndex, language: str, typed: str) -> Iterator[str]:
    """The queries that shoppers who allow it asked most, and that a word begins so of."""
    if not settings.COLLECT_QUERIES:
        return
    for plain, text, spoken in _asked.get(index.name):
        if f" {typed}" in plain and spoken in ("", language):
            yield text
