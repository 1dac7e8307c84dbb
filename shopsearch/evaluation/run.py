"""Run judged queries through every searcher: the values of each query, and figures by kind and by language."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Literal

import numpy as np

from shopsearch import images
from shopsearch.evaluation.intervals import Figure, Numbers, PairedDifference, differences, figures
from shopsearch.evaluation.measures import MEASURES, Values, measured
from shopsearch.evaluation.query_files import JudgedQuery, QueryFileError
from shopsearch.evaluation.searchers import Searcher
from shopsearch.exceptions import QueryError
from shopsearch.types import Query

MEASURED_AT_ONCE = 100
"""How many queries' results are held in memory before they are measured."""
WORST_OF_A_KIND = 6
_NOTHING = (np.nan,) * len(MEASURES)


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAnswer:
    """A searcher's answer to a query, with its values."""

    query: JudgedQuery
    products: Sequence[str] | None
    """Best first; None where the searcher cannot use this kind of query."""
    values: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Queries that are reported together."""

    by: Literal["all", "kind", "language"]
    name: str
    places: Sequence[int]
    """The positions of its queries in the evaluation."""


@dataclass(kw_only=True)
class Evaluation:
    """The values of every query by every searcher. Only numbers are kept of a query, except for the worst few."""

    searchers: Sequence[Searcher]
    """The live search is the first."""
    kinds: list[str] = field(default_factory=list)
    languages: list[str] = field(default_factory=list)
    left_out: int = 0
    """How many queries had no relevant product, so that nothing could be measured."""
    _rows: list[Numbers] = field(default_factory=list, init=False)
    _worst: dict[str, list[tuple[float, int, MeasuredAnswer]]] = field(default_factory=dict, init=False)

    @property
    def names(self) -> list[str]:
        return [searcher.name for searcher in self.searchers]

    def run(self, queries: Iterable[JudgedQuery]) -> Iterator[list[MeasuredAnswer]]:
        """Ask every searcher each query; yields the answers to each query, one per searcher.

        Raises whatever reading the queries raises, QueryFileError for a query that search refuses, and BackendError.
        """
        queries = iter(queries)
        while batch := list(islice(queries, MEASURED_AT_ONCE)):
            judged = [query for query in batch if query.is_judged]
            self.left_out += len(batch) - len(judged)
            for answers in _answered(judged, self.searchers):
                self._add(answers)
                yield answers

    def _add(self, answers: Sequence[MeasuredAnswer]) -> None:
        rows = [answer.values if answer.products is not None else _NOTHING for answer in answers]
        self._rows.append(np.array(rows))
        self.kinds.append(answers[0].query.kind)
        self.languages.append(answers[0].query.language)
        self._keep_if_bad(answers[0])

    def _keep_if_bad(self, answer: MeasuredAnswer) -> None:
        value = answer.values[-1]
        if value == 1:
            return
        kept = self._worst.setdefault(answer.query.kind, [])
        # The heap drops the best of the worst first; among equals, the latest.
        heapq.heappush(kept, (-value, -len(self._rows), answer))
        if len(kept) > WORST_OF_A_KIND:
            heapq.heappop(kept)

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def _values(self) -> Numbers:
        """Shape (queries, searchers, measures); NaN where a searcher cannot use that kind of query."""
        return np.stack(self._rows)

    @property
    def worst(self) -> Mapping[str, Sequence[MeasuredAnswer]]:
        """By kind of query: the live search's answers with the lowest values of the last measure, lowest first."""
        return {
            kind: [answer for *_, answer in sorted(kept, key=lambda each: (-each[0], -each[1]))]
            for kind, kept in self._worst.items()
        }

    @cached_property
    def groups(self) -> list[Group]:
        """First all queries; then by kind and by language, where there are several."""
        found = [Group(by="all", name="all queries", places=range(len(self)))]
        for by, names in (("kind", self.kinds), ("language", self.languages)):
            known = [name for name in dict.fromkeys(names) if name]
            if len(known) > 1:
                found += [
                    Group(by=by, name=each, places=[p for p, name in enumerate(names) if name == each])  # type: ignore[arg-type]
                    for each in known
                ]
        return found

    def figures(self, group: Group) -> dict[str, list[Figure] | None]:
        """By searcher, one figure per measure; None where it could answer no query of the group.

        A query that a searcher could not answer counts as 0.
        """
        chosen = self._values[list(group.places)]
        measured = figures(np.nan_to_num(chosen).reshape(len(chosen), -1))
        return {
            name: None
            if np.isnan(chosen[:, place]).all()
            else measured[place * len(MEASURES) : (place + 1) * len(MEASURES)]
            for place, name in enumerate(self.names)
        }

    def differences(self, group: Group, name: str) -> list[PairedDifference]:
        """How much better this searcher is than the live search, one difference per measure."""
        chosen = np.nan_to_num(self._values[list(group.places)])
        return differences(chosen[:, self.names.index(name)], chosen[:, 0])


def _answered(batch: Sequence[JudgedQuery], searchers: Sequence[Searcher]) -> Iterator[list[MeasuredAnswer]]:
    found: list[list[Sequence[str] | None]] = [[] for _ in searchers]
    for judged in batch:
        try:
            image = None if judged.image is None else images.normalised(images.decode(judged.image))
            query = Query(text=judged.text, image=image)
            for products, searcher in zip(found, searchers, strict=True):
                products.append(searcher.find(query))
        except QueryError as error:
            raise QueryFileError(f"The query {judged.id} cannot be asked: {error}") from error
    values = [
        measured([(judged, each or ()) for judged, each in zip(batch, products, strict=True)])
        for products in found
    ]
    for place, judged in enumerate(batch):
        yield [
            MeasuredAnswer(query=judged, products=products[place], values=value[place])
            for products, value in zip(found, values, strict=True)
        ]
