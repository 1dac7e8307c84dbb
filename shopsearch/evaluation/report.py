"""An evaluation as a table for a terminal and as JSON for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from shopsearch.evaluation.intervals import Figure, PairedDifference
from shopsearch.evaluation.measures import MEASURES
from shopsearch.evaluation.run import Evaluation, Group

NAME_WIDTH = 18
COLUMN_WIDTH = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Minimum:
    """The value that a measure of the live search must reach."""

    measure: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """The figures of a group of queries."""

    group: Group
    figures: Mapping[str, Sequence[Figure] | None]
    """By searcher, one per measure."""
    differences: Mapping[str, Sequence[PairedDifference]]
    """By contender, one per measure: how much better it is than the live search."""

    @property
    def name(self) -> str:
        return self.group.name

    @property
    def count(self) -> int:
        return len(self.group.places)


@dataclass(kw_only=True)
class Report:
    """Everything to report about an evaluation of at least one query."""

    evaluation: Evaluation
    about: Mapping[str, Any]
    """What was measured: index, space, query file and so on, as JSON values."""
    contenders: Sequence[str] = ()
    """The searchers that are compared with the live search, by a paired test."""
    minimums: Sequence[Minimum] = ()
    notes: Sequence[str] = ()
    """Sentences that a reader of the figures should know."""
    groups: list[GroupReport] = field(init=False)

    def __post_init__(self) -> None:
        self.groups = [
            GroupReport(
                group=group,
                figures=self.evaluation.figures(group),
                differences={name: self.evaluation.differences(group, name) for name in self.contenders},
            )
            for group in self.evaluation.groups
        ]

    @property
    def overall(self) -> GroupReport:
        return self.groups[0]

    @property
    def search(self) -> Sequence[Figure]:
        """The live search's figures over all queries, one per measure."""
        return self.overall.figures[self.evaluation.names[0]] or ()

    @property
    def missed(self) -> list[str]:
        """A sentence for each minimum that the live search does not reach."""
        means = dict(zip(MEASURES, self.search, strict=True))
        return [
            f"{minimum.measure} is {means[minimum.measure].mean:.4f}, under {minimum.value:g}."
            for minimum in self.minimums
            if means[minimum.measure].mean < minimum.value
        ]

    def as_json(self) -> dict[str, Any]:
        """Figures by group, searcher and measure; see docs/reference-commands.md."""
        return {
            **self.about,
            "queries": len(self.evaluation),
            "left_out": self.evaluation.left_out,
            "notes": list(self.notes),
            "missed": self.missed,
            "groups": [
                {
                    "by": row.group.by,
                    "name": row.name,
                    "queries": row.count,
                    "figures": {
                        name: None if values is None else _by_measure(values)
                        for name, values in row.figures.items()
                    },
                    "differences": {name: _by_measure(each) for name, each in row.differences.items()},
                }
                for row in self.groups
            ],
        }

    def lines(self) -> Iterator[str]:
        """The table for a terminal, at most 80 columns wide."""
        search = self.evaluation.names[0]
        yield _heading(f"{self.overall.count:,} queries")
        for name, values in self.overall.figures.items():
            yield _row(name, values)
        if self.groups[1:]:
            yield ""
            yield _heading(search)
            for row in self.groups[1:]:
                yield _row(row.name, row.figures[search])
        for name in self.contenders:
            yield ""
            yield _heading(f"{name}, better by")
            for row in self.groups:
                yield _gains(row.name, row.differences[name])
        yield ""
        yield "Beside each figure its 95 % interval, by bootstrap."
        if self.contenders:
            yield "* p < 0.05, ** p < 0.01, by paired randomisation."
        for note in self.notes:
            yield from textwrap.wrap(note, 80)


def _by_measure(values: Sequence[Figure]) -> dict[str, dict[str, float]]:
    return {
        measure: {key: round(value, 8) for key, value in asdict(figure).items()}
        for measure, figure in zip(MEASURES, values, strict=True)
    }


def _line(name: str, columns: Iterable[str]) -> str:
    return f"{name[:NAME_WIDTH]:{NAME_WIDTH}}" + "".join(f"{each:>{COLUMN_WIDTH}}" for each in columns)


def _heading(title: str) -> str:
    return f"{title}\n{_line('', MEASURES)}" if len(title) > NAME_WIDTH else _line(title, MEASURES)


def _row(name: str, values: Sequence[Figure] | None) -> str:
    if values is None:
        return _line(name, "–" * len(MEASURES))
    return _line(name, (f"{short(each.mean)} {short(each.low)}–{short(each.high)}" for each in values))


def _gains(name: str, values: Sequence[PairedDifference]) -> str:
    return _line(name, (f"{each.mean:+.3f}{stars(each.p_value):2}" for each in values))


def short(value: float) -> str:
    """Three characters: ".93", "1.0"."""
    return "1.0" if value >= 0.995 else f"{value:.2f}"[1:]


def stars(p_value: float) -> str:
    return "**" if p_value < 0.01 else "*" if p_value < 0.05 else ""
