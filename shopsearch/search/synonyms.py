"""Synonyms: what staff say that shoppers mean, in force in every process within seconds, without an index touched."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from django.db import transaction

from shopsearch.conf import settings
from shopsearch.filters import FALSE, TRUE
from shopsearch.models import Synonym
from shopsearch.registry import analyzer
from shopsearch.search import csv_files
from shopsearch.search.csv_files import Unusable, lines_of
from shopsearch.search.kept import Kept

if TYPE_CHECKING:
    from django.db.models import CharField

KEPT_SECONDS = 3
"""How long a process takes the synonyms that it read for those in the database."""
STARTER = Path(__file__).with_name("starter_synonyms.csv")
COLUMNS = ("language", "words", "meanings", "two_way")


@dataclass(kw_only=True)
class _Rows:
    """The synonyms that were read, and what was made of them for each language."""

    rows: list[Synonym]
    by_language: dict[str, analyzer.Synonyms] = field(default_factory=dict)


def _read(_key: None, before: _Rows | None) -> _Rows:
    rows = list(Synonym.objects.order_by("pk")) if settings.SYNONYMS else []
    if before is not None and [_values(row) for row in rows] == [_values(row) for row in before.rows]:
        return before
    return _Rows(rows=rows)


_kept = Kept(_read, lambda: KEPT_SECONDS)
forget = _kept.forget


def synonyms_of(language: str) -> analyzer.Synonyms | None:
    """Those of searches in this language; None where a shop has none."""
    if not (settings.SYNONYMS or settings.STARTER_SYNONYMS):
        return None
    read = _kept.get(None)
    if language not in read.by_language:
        starter = _starter() if settings.STARTER_SYNONYMS else ()
        every = (*read.rows, *starter)
        rows = [row for row in every if analyzer.known_language(row.language) in ("", language)]
        read.by_language[language] = analyzer.Synonyms(pairs_of(rows), language)
    return read.by_language[language]


def pairs_of(rows: Iterable[Synonym]) -> Iterator[tuple[str, str]]:
    """What is said, and what is found as well."""
    for row in rows:
        meanings = [each.strip() for each in row.meanings.split(",") if each.strip()]
        for meaning in meanings:
            yield row.words, meaning
            if row.is_two_way:
                yield meaning, row.words
                yield from ((meaning, other) for other in meanings if other != meaning)


@cache
def _starter() -> list[Synonym]:
    return rows_of(STARTER.read_bytes())


def _values(row: Synonym) -> tuple[object, ...]:
    return row.language, row.words, row.meanings, row.is_two_way


# CSV


def rows_of(content: bytes) -> list[Synonym]:
    """The synonyms of a CSV file with the COLUMNS, not stored. Raises Unusable."""
    found: dict[tuple[str, str], Synonym] = {}
    for number, line in lines_of(content, COLUMNS, ("words", "meanings")):
        row = _row(line, number)
        found[row.language, row.words] = row
    return list(found.values())


def _row(line: dict[str, str], number: int) -> Synonym:
    language, words, meanings, two_way = (" ".join(line[name].split()) for name in COLUMNS)
    if not (analyzer.plain(words) and analyzer.plain(meanings)):
        raise Unusable(f"Line {number} lacks words or meanings.")
    if (two_way or "no").lower() not in TRUE + FALSE:
        raise Unusable(f"Line {number}: two_way is {two_way!r}; write yes or no.")
    row = Synonym(language=language, words=words, meanings=meanings, is_two_way=two_way.lower() in TRUE)
    for name in ("language", "words", "meanings"):
        longest = cast("CharField[Any, Any]", Synonym._meta.get_field(name)).max_length or 0
        if len(getattr(row, name)) > longest:
            raise Unusable(f"Line {number}: {name} has more than {longest} characters.")
    return row


def save(rows: Iterable[Synonym]) -> None:
    """Store them; one of the same words and language is replaced, others stay."""
    with transaction.atomic(using=Synonym.objects.db):
        for row in rows:
            Synonym.objects.update_or_create(
                language=row.language,
                words=row.words,
                defaults={"meanings": row.meanings, "is_two_way": row.is_two_way},
            )


def csv_of(rows: Iterable[Synonym]) -> str:
    """The file that ``rows_of`` reads."""
    values = ((row.language, row.words, row.meanings, "yes" if row.is_two_way else "no") for row in rows)
    return csv_files.csv_of(COLUMNS, values)
