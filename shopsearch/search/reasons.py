"""Reasons as controls: what the first product shares with the search, and how to keep it, drop it or change it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from django.utils.translation import get_language
from django.utils.translation import gettext as _

from shopsearch.conf import settings
from shopsearch.registry import ImageIndex, analyzer
from shopsearch.registry.index import follow
from shopsearch.rerankers.facts import words_of
from shopsearch.search import retrieval
from shopsearch.types import Fact, FactKind, Query

MOST_OTHERS = 2
"""How many other values of a filter are offered."""
ORDER = ("looks", "colour", "filter", "words")
"""The clearest reason first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """A change to the search. It says nothing of what else was searched for: whoever asks knows that."""

    action: Literal["keep", "drop", "change"]
    label: str
    """In the active language."""
    add: str = ""
    """Words to add to the search's."""
    remove: str = ""
    """Words to take out of it before."""
    filters: Mapping[str, str] = field(default_factory=dict)
    """Values to set, each instead of what the filter has."""
    swatch: str = ""
    """The colour of a filter's value, as CSS writes it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """What the first product shares with the search."""

    kind: FactKind | Literal["filter"]
    value: str
    label: str
    """The value as shoppers read it, in the active language."""
    controls: Sequence[Control] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What a product shares with the search, such as "leopard" or "phone case"."""

    kind: FactKind
    value: str
    label: str
    """The value as shoppers read it, in the active language."""


def shared_of(facts: Sequence[Fact]) -> list[Shared]:
    """What a product shares with the search, the clearest first, for its own card."""
    found = [Shared(kind=fact.kind, value=fact.value, label=_label(fact)) for fact in facts]
    return sorted(found, key=lambda shared: ORDER.index(shared.kind))


def _label(fact: Fact) -> str:
    return _(fact.value) if fact.kind == "colour" else fact.value


def reasons_of(index: ImageIndex, query: Query, facts: Sequence[Fact], rows: Sequence[Any]) -> list[Reason]:
    """Why the first one is the first, the clearest reason first.

    ``facts`` are the first one's, ``rows`` the images of the leading products, in order. A word can be dropped only if
    word search knows it of the product; a value of a filter is offered only if a leading product has it.
    """
    found = [_reason(index, query, fact, rows[0]) for fact in facts]
    found += _of_filters(index, rows)
    return sorted(found, key=lambda reason: ORDER.index(reason.kind))


def _reason(index: ImageIndex, query: Query, fact: Fact, row: Any) -> Reason:
    if fact.kind == "looks":
        controls = _of_look(index, fact.value, row)
        return Reason(kind="looks", value=fact.value, label=fact.value, controls=[*controls])
    if fact.kind == "words":
        controls = _of_words(index, fact.value, query)
        return Reason(kind="words", value=fact.value, label=fact.value, controls=[*controls])
    return Reason(kind="colour", value=fact.value, label=_label(fact))


def _of_look(index: ImageIndex, word: str, row: Any) -> Iterator[Control]:
    yield Control(action="keep", label=_("with “%(word)s”") % {"word": word}, add=word)
    if _understands_operators(index):
        stems = analyzer.stems(word, index.query_language(get_language() or ""))
        if stems and set(stems) <= set(index.known_terms_of(index.get_product(row)).split()):
            yield Control(action="drop", label=_("without “%(word)s”") % {"word": word}, add=f"-{word}")


def _of_words(index: ImageIndex, words: str, query: Query) -> Iterator[Control]:
    """Of words that were typed: without them, where a picture says the rest, or else word for word."""
    if query.image is not None:
        yield Control(action="drop", label=_("without “%(word)s”") % {"word": words}, remove=words)
        return
    is_phrase = " " in words and f" {words} " in f" {' '.join(words_of(query.text))} "
    if is_phrase and _understands_operators(index):
        label = _("“%(words)s” word for word") % {"words": words}
        yield Control(action="keep", label=label, remove=words, add=f'"{words}"')


def _understands_operators(index: ImageIndex) -> bool:
    collection = retrieval.live(index) if settings.OPERATORS else None
    return collection is not None and retrieval.finds_by_words(index, collection)


def _of_filters(index: ImageIndex, rows: Sequence[Any]) -> Iterator[Reason]:
    """Of each filter that has swatches the first one's value, and those of others that follow it."""
    for name, declared in index.filter_fields.items():
        if not declared.swatches or declared.kind != "string":
            continue
        labels: dict[str, str] = {}
        for row in rows:
            if value := index.known_filter_values(row).get(name):
                label = follow(index.get_product(row), declared.label) if declared.label else None
                labels.setdefault(str(value), str(label or value))
            if not labels:
                break  # the first one has none
        if len(labels) < 2:
            continue  # there is nothing to choose
        controls = [
            Control(
                action="change" if number else "keep",
                label=label,
                filters={name: value},
                swatch=declared.swatches.get(value, ""),
            )
            for number, (value, label) in enumerate(labels.items())
            if number <= MOST_OTHERS
        ]
        first = controls[0]
        yield Reason(kind="filter", value=first.filters[name], label=first.label, controls=controls)
