"""Queries with judgements, read from a file one by one: JSON Lines, or TREC's topics and qrels."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shopsearch.conf import settings

HIGHEST_GRADE = 1_000
"""More than anybody needs; limited because trec_eval counts in a table with a place for each grade."""


class QueryFileError(ValueError):
    """The file of queries or judgements cannot be read; the message names the line and what is wrong with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedQuery:
    """A query with its judgements."""

    id: str
    text: str = ""
    image: bytes | None = None
    """The content of the picture's file."""
    language: str = ""
    kind: str = ""
    """What the figures are grouped by, besides the language: text, image or composed unless another name is given."""
    relevant: Mapping[str, int]
    """Grades by ``str(product.pk)``; higher is better. A product with grade 0, or without one, is not relevant."""

    def __post_init__(self) -> None:
        if not self.kind:
            shape = "text" if self.image is None else "composed" if self.text else "image"
            object.__setattr__(self, "kind", shape)

    @property
    def is_judged(self) -> bool:
        """Whether any product is relevant; otherwise nothing can be measured."""
        return any(grade > 0 for grade in self.relevant.values())


Grades = Mapping[str, Mapping[str, int]]
"""By query, by product."""


@dataclass(kw_only=True)
class QueryFile:
    """The queries of a file, in order; can be iterated repeatedly, with one query in memory at a time.

    A ``.tsv`` file has TREC's topics: an id and the words, with a tab between. Any other file is JSON Lines, with
    ``id``, ``text``, ``image`` (a path relative to the file's folder), ``language``, ``kind`` and ``relevant`` (grades
    by product). A query needs text, image, or both. ``qrels`` replaces ``relevant``.

    Iterating raises QueryFileError.
    """

    path: Path
    qrels: Grades | None = None
    _count: int = field(default=-1, init=False)

    def __len__(self) -> int:
        if self._count < 0:
            self._count = sum(1 for _ in _lines(self.path))
        return self._count

    def __iter__(self) -> Iterator[JudgedQuery]:
        parse = self._from_topic if self.path.suffix.lower() == ".tsv" else self._from_json
        seen: dict[str, int] = {}
        for number, line in _lines(self.path):
            try:
                query = parse(line)
                if query.id in seen:
                    raise QueryFileError(f"it has the same id as line {seen[query.id]}")
            except QueryFileError as error:
                raise QueryFileError(f"{self.path.name}, line {number}: {error}.") from error.__cause__
            seen[query.id] = number
            yield query

    def _from_topic(self, line: str) -> JudgedQuery:
        query_id, _, text = line.partition("\t")
        if not text.strip():
            raise QueryFileError("it is not an id and words with a tab between")
        return JudgedQuery(
            id=_id(query_id.strip()), text=text.strip(), relevant=self._grades(query_id.strip())
        )

    def _from_json(self, line: str) -> JudgedQuery:
        query = _object(line)
        query_id = _id(query.get("id"))
        text, image = _text(query, "text"), self._picture(_text(query, "image"))
        if not text and image is None:
            raise QueryFileError('it has neither "text" nor "image"')
        relevant = self._grades(query_id) if self.qrels is not None else _relevant(query.get("relevant"))
        language, kind = _text(query, "language"), _text(query, "kind")
        return JudgedQuery(
            id=query_id, text=text, image=image, language=language, kind=kind, relevant=relevant
        )

    def _grades(self, query_id: str) -> Mapping[str, int]:
        if self.qrels is None:
            raise QueryFileError("topics do not say what is relevant; give the judgements with --qrels")
        return self.qrels.get(query_id, {})

    def _picture(self, path: str) -> bytes | None:
        if not path:
            return None
        try:
            with (self.path.parent / path).open("rb") as file:
                return file.read(settings.MAX_IMAGE_BYTES + 1)
        except (OSError, ValueError) as error:
            raise QueryFileError(f"the picture {path!r} cannot be read") from error


def read_qrels(path: Path) -> Grades:
    """The judgements of a TREC qrels file: query, anything, product, grade on each line. Raises QueryFileError."""
    grades: dict[str, dict[str, int]] = {}
    for number, line in _lines(path):
        fields = line.split()
        try:
            query_id, _, product_id, grade = fields
            # Some test collections mark spam with a grade below 0.
            grades.setdefault(query_id, {})[product_id] = _grade(max(0, int(grade)))
        except (ValueError, QueryFileError) as error:
            raise QueryFileError(
                f"{path.name}, line {number}: it is not a query, a 0, a product and its grade."
            ) from error
    return grades


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines that are not blank, with their numbers."""
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, line.rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise QueryFileError(f"{path} cannot be read: {error}.") from error


def _object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise QueryFileError("not a JSON object") from error
    if not isinstance(value, dict):
        raise QueryFileError("not a JSON object")
    return value


def _id(value: object) -> str:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not text or text.split() != [text]:
        raise QueryFileError('"id" is not a name without spaces')
    return text


def _text(query: Mapping[str, Any], name: str) -> str:
    value = query.get(name)
    if value is None:
        return ""
    if not isinstance(value, str) or "\0" in value or value != value.encode(errors="ignore").decode():
        raise QueryFileError(f'"{name}" is not a text')
    return value.strip()


def _relevant(value: object) -> dict[str, int]:
    if not isinstance(value, dict):
        raise QueryFileError('"relevant" is not an object of grades by product')
    return {product: _grade(grade) for product, grade in value.items()}


def _grade(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= HIGHEST_GRADE:
        raise QueryFileError(f"a grade is a whole number from 0 to {HIGHEST_GRADE}")
    return value
