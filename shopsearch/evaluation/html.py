"""The report as an HTML page: bars with intervals, and the worst queries with their pictures, in one file."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Literal

from django.template.loader import render_to_string

from shopsearch import images
from shopsearch.evaluation.intervals import Figure, PairedDifference
from shopsearch.evaluation.measures import DEPTH, MEASURES
from shopsearch.evaluation.report import GroupReport, Report
from shopsearch.evaluation.run import MeasuredAnswer
from shopsearch.exceptions import ImageError
from shopsearch.registry import ImageIndex

FIRST_SHOWN = 5
RIGHT_SHOWN = 3
THUMBNAIL_SIDE = 176


@dataclass(frozen=True, slots=True, kw_only=True)
class FigureBar:
    """A figure drawn as a bar; its CSS values are percentages of the full width."""

    name: str
    figure: Figure | None
    role: Literal["search", "contender", ""] = ""

    @property
    def style(self) -> str:
        if self.figure is None:
            return ""
        return (
            f"--mean: {100 * self.figure.mean:.2f}; --low: {100 * self.figure.low:.2f}; "
            f"--high: {100 * self.figure.high:.2f}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    title: str
    bars: Sequence[FigureBar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """A difference as a row of the page's table shows it."""

    before: Figure
    after: Figure
    difference: PairedDifference

    @property
    def verdict(self) -> str:
        if self.difference.p_value >= 0.05:
            return "unclear"
        return "better" if self.difference.mean > 0 else "worse"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownProduct:
    """A product on the page."""

    title: str
    picture: str
    """A data URI; "" where there is none."""
    grade: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstQuery:
    """One of the worst queries: what search ranked first, and what would have been right."""

    answer: MeasuredAnswer
    picture: str
    first: Sequence[ShownProduct]
    right: Sequence[ShownProduct]
    found_at: int | None
    """The rank of the first relevant product."""

    @property
    def value(self) -> float:
        return self.answer.values[-1]

    @property
    def more_right(self) -> int:
        relevant = sum(1 for grade in self.answer.query.relevant.values() if grade > 0)
        return relevant - len(self.right)


def page(report: Report, index: ImageIndex) -> str:
    """The report as one self-contained HTML file: no script, no style sheet, no picture from elsewhere."""
    search = report.evaluation.names[0]
    main = [len(MEASURES) - 1, 0]
    context = {
        "report": report,
        "about": report.about,
        "measured_at": report.about["measured_at"][:16].replace("T", " "),
        "measures": MEASURES,
        "depth": DEPTH,
        "headline": list(zip(MEASURES, report.search, strict=True)),
        "charts": [_by_searcher(report, place) for place in main],
        "group_charts": [_by_group(report.groups[1:], place, search) for place in main]
        if report.groups[1:]
        else [],
        "tables": [_table(row, search) for row in report.groups],
        "gains": [(name, [_gains(row, name, search) for row in report.groups]) for name in report.contenders],
        "failures": [
            (kind, [_worst_query(answer, index) for answer in answers])
            for kind, answers in report.evaluation.worst.items()
        ],
    }
    return render_to_string("shopsearch/evaluation/report.html", context)


def _by_searcher(report: Report, place: int) -> Chart:
    bars = [
        FigureBar(
            name=name,
            figure=None if values is None else values[place],
            role="search"
            if name == report.evaluation.names[0]
            else "contender"
            if name in report.contenders
            else "",
        )
        for name, values in report.overall.figures.items()
    ]
    return Chart(title=MEASURES[place], bars=bars)


def _by_group(groups: Iterable[GroupReport], place: int, search: str) -> Chart:
    bars = []
    for row in groups:
        values = row.figures[search]
        figure = None if values is None else values[place]
        bars.append(FigureBar(name=row.name, figure=figure, role="search" if row.group.by == "kind" else ""))
    return Chart(title=MEASURES[place], bars=bars)


def _table(row: GroupReport, search: str) -> Mapping[str, Any]:
    return {
        "name": row.name,
        "by": row.group.by,
        "count": row.count,
        "rows": [
            {"name": name, "figures": values, "is_search": name == search}
            for name, values in row.figures.items()
        ],
    }


def _gains(row: GroupReport, name: str, search: str) -> tuple[str, Sequence[Gain]]:
    before, after = row.figures[search] or (), row.figures[name] or ()
    gains = [
        Gain(before=old, after=new, difference=each)
        for old, new, each in zip(before, after, row.differences[name], strict=True)
    ]
    return row.name, gains


def _worst_query(answer: MeasuredAnswer, index: ImageIndex) -> WorstQuery:
    grades, found = answer.query.relevant, list(answer.products or ())
    right = sorted((each for each, grade in grades.items() if grade > 0), key=lambda each: -grades[each])
    first, right = found[:FIRST_SHOWN], right[:RIGHT_SHOWN]
    shown = _shown(index, {*first, *right}, grades)
    return WorstQuery(
        answer=answer,
        picture=_thumbnail(answer.query.image) if answer.query.image else "",
        first=[shown[each] for each in first],
        right=[shown[each] for each in right],
        found_at=next((rank for rank, each in enumerate(found, start=1) if grades.get(each, 0) > 0), None),
    )


def _shown(
    index: ImageIndex, product_ids: Iterable[str], grades: Mapping[str, int]
) -> dict[str, ShownProduct]:
    """Each product by id, with one of its pictures if the index shows one."""
    titles = {each: f"{each}: not in the shop" for each in product_ids}
    pictures: dict[str, str] = {}
    # In reverse order, so that a product's first picture is written last and stays.
    for image in index.images_of(titles).order_by("-pk"):
        if (product := index.product_of(image)) is not None:
            titles[str(product.pk)] = index.title_of(product)
            pictures[str(product.pk)] = _picture_of(index, image)
    if index.finds_pictureless:
        titles |= {str(each.pk): index.title_of(each) for each in index.pictureless_products(titles)}
    return {
        each: ShownProduct(title=title, picture=pictures.get(each, ""), grade=grades.get(each, 0))
        for each, title in titles.items()
    }


def _picture_of(index: ImageIndex, image: Any) -> str:
    try:
        with index.open_image(image) as file:
            return _thumbnail(file)
    except OSError:
        return ""


def _thumbnail(content: bytes | BinaryIO) -> str:
    """A small JPEG as a data URI; "" where the file is not a picture."""
    try:
        small = images.jpeg(images.decode(content), THUMBNAIL_SIDE, quality=78)
    except ImageError:
        return ""
    return f"data:image/jpeg;base64,{base64.b64encode(small).decode()}"
