"""What words add to vectors: the demo's judged queries with and without them, and 500 exact SKUs and titles.

    python -m benchmarks.hybrid_search [--queries 300] [--exact 500] [--keep] [--write-docs]

The shop is in .var/quality-demo, as for benchmarks.search_quality, and is recreated unless --keep is given. Its
entities are on a Milvus Lite server of their own, so that Milvus's full text is measured. --write-docs puts the table
into docs/evaluation.md.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from io import StringIO
from random import Random
from typing import TYPE_CHECKING, Any
from unittest import mock

from benchmarks import quality_tables, search_quality

if TYPE_CHECKING:
    from shopsearch.evaluation.query_files import JudgedQuery
    from shopsearch.evaluation.run import Evaluation
    from shopsearch.types import Query

FOLDER = search_quality.ROOT / ".var" / "quality-demo"
ALONE = "vectors alone"
MEASURED = ("R@1", "nDCG@9")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queries", type=int, default=300, help="of each kind")
    parser.add_argument("--exact", type=int, default=500, help="exact SKUs and titles together")
    parser.add_argument("--keep", action="store_true", help="go on with the shop of the last time")
    parser.add_argument("--write-docs", action="store_true", help="put the table into docs/evaluation.md")
    options = parser.parse_args()
    if not options.keep:
        shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True, exist_ok=True)
    search_quality.set_up(FOLDER)

    from shopsearch.vector_stores.milvus.lite import LiteServer

    server = LiteServer(data_dir=FOLDER / "milvus", port=0)
    server.start()
    try:
        lines = list(_measured(options, server.uri))
    finally:
        server.stop()
    print("\n".join(lines))
    if options.write_docs:
        quality_tables.put("hybrid", lines)


def _measured(options: argparse.Namespace, uri: str) -> Iterator[str]:
    from django.conf import settings
    from tqdm import tqdm

    milvus = {"BACKEND": "shopsearch.vector_stores.milvus.MilvusStore", "OPTIONS": {"uri": uri}}
    settings.SHOPSEARCH |= {"VECTOR_STORE": milvus}
    search_quality.stock()

    from shopsearch.backends import get_embedder
    from shopsearch.evaluation.query_files import QueryFile
    from shopsearch.evaluation.run import Evaluation
    from shopsearch.evaluation.searchers import LiveSearch
    from shopsearch.models import Calibration
    from shopsearch.registry import get_index

    Calibration.objects.all().delete()  # of an earlier run: weak matches would be missing in the table
    index = get_index()
    judged = [
        of_its_language(query)
        for query in QueryFile(path=search_quality.write_queries(FOLDER, options.queries))
    ]
    queries = [*judged, *of_brands(options.queries), *_exact(options.exact)]
    live = LiveSearch(index=index)
    evaluation = Evaluation(searchers=[live, VectorsAlone(live=LiveSearch(index=index))])
    for _ in evaluation.run(tqdm(queries, desc="Searching", unit=" queries")):
        pass
    yield f"Measured {date.today()}, {len(evaluation):,} queries, space `{get_embedder().space}`, Milvus Lite."
    yield ""
    yield from _table(evaluation)
    yield ""
    yield from verdicts()


@dataclass(kw_only=True)
class VectorsAlone:
    """The same search with words switched off."""

    live: Any
    name: str = ALONE

    def find(self, query: Query) -> Sequence[str] | None:
        from shopsearch.conf import settings

        with mock.patch.dict(settings._cache, WORDS_WEIGHT=0.0, COMPOSED_WORDS_WEIGHT=0.0):
            found: Sequence[str] = self.live.find(query)
            return found


NOISE = ("cheap {}", "nice {} gift", "{} please", "{} for my brother", "new {}", "{} sale online")
"""What shoppers say and no product does."""


def verdicts(count: int = 200, first: int = 9) -> Iterator[str]:
    """Queries that name a brand: how many are called weak, and how the better order changes the first results.

    Then how many things that are not sold are called weak, for the same calibration.
    """
    import numpy as np
    from django.core.management import call_command
    from tqdm import tqdm

    from demo_project.rendering.absences import ABSENT_THINGS
    from shopsearch.evaluation.intervals import differences
    from shopsearch.search import reranking
    from shopsearch.search.engine import search

    call_command("shopsearch_calibrate", stdout=StringIO())
    yield (
        f"| queries that name a brand | number | called weak | P@{first} | P@{first} after the rerank | difference |"
    )
    yield "|---|---|---|---|---|---|"
    for kind, queries in _naming_brands(count).items():
        weak, precision = 0, []
        for text, right in tqdm(queries.items(), desc=kind, unit=" queries"):
            answer = search(text)
            weak += answer.match == "weak"
            before = [result.product.pk for result in answer.results]
            order = reranking.order_of(answer.index, answer)
            positions = order.positions if order else range(len(before))
            after = [before[place] for place in positions] + before[len(positions) :]
            precision.append([_precision(found, right, first) for found in (before, after)])
        values = np.array(precision)
        [gained] = differences(values[:, 1:], values[:, :1])
        cells = [len(queries), weak, *(f"{each:.3f}" for each in values.mean(axis=0))]
        change = f"{gained.mean:+.3f} [{gained.low:+.3f}, {gained.high:+.3f}]"
        yield f"| {kind} | {' | '.join(map(str, cells))} | {change} |"
    absent = ABSENT_THINGS["en"]
    weak = sum(search(text).match == "weak" for text in absent)
    yield ""
    yield f"Of {len(absent)} things that are not sold, {weak} are called weak."


def _precision(found: Sequence[Any], right: set[Any], first: int) -> float:
    return sum(key in right for key in found[:first]) / min(first, len(right))


def _naming_brands(count: int) -> dict[str, dict[str, set[Any]]]:
    """By kind the queries, each with the products that it means: all brands, and so many of each other kind."""
    from demo_project.catalog.models import Product

    kinds: dict[str, dict[str, set[Any]]] = {"brand": {}, "brand + thing": {}, "brand + colour + thing": {}}
    for product in Product.objects.filter(published=True).exclude(brand=""):
        brand, thing = product.brand, product.title.split(",")[0].split()[-1]
        texts = (brand, f"{brand} {thing}", f"{brand} {product.colour} {thing}")
        for text, queries in zip(texts, kinds.values(), strict=True):
            queries.setdefault(text, set()).add(product.pk)
    kinds["brand + thing, other words"] = {
        noise.format(text): right for text, right in kinds["brand + thing"].items() for noise in NOISE
    }
    dice = Random("brands")
    return {
        kind: dict(dice.sample(sorted(queries.items(), key=lambda each: each[0]), min(count, len(queries))))
        for kind, queries in kinds.items()
    }


def of_its_language(query: JudgedQuery) -> JudgedQuery:
    """Told apart by kind and language together."""
    return replace(query, kind=f"{query.kind}, {query.language}" if query.language else query.kind)


def of_brands(count: int) -> Iterator[JudgedQuery]:
    """A brand and a thing: no picture shows the brand."""
    from demo_project.catalog.models import Product
    from shopsearch.evaluation.query_files import JudgedQuery

    rows: dict[tuple[str, str], dict[str, int]] = {}
    for product in Product.objects.select_related("category").exclude(brand=""):
        thing = product.title.split(",")[0].split()[-1]
        rows.setdefault((product.brand, thing), {})[str(product.pk)] = 1
    asked = sorted(rows)
    for number, (brand, thing) in enumerate(Random("brands").sample(asked, min(count, len(asked)))):
        yield JudgedQuery(
            id=f"brand-{number}",
            text=f"{brand} {thing}",
            kind="brand + thing, en",
            relevant=rows[brand, thing],
        )


def _exact(count: int) -> Iterator[JudgedQuery]:
    """SKUs and full titles in turn, as people write them."""
    from demo_project.catalog.models import Product
    from shopsearch.evaluation.query_files import JudgedQuery

    dice = Random("exact")
    products = list(Product.objects.order_by("pk"))
    dice.shuffle(products)
    for number in range(count):
        product = products[number % len(products)]
        field = ("sku", "title")[number % 2]
        value = getattr(product, field)
        alike = {str(each.pk): 1 for each in products if getattr(each, field) == value}
        kind = "exact SKU" if field == "sku" else "exact title"
        yield JudgedQuery(id=f"exact-{number}", text=as_written(value, dice), kind=kind, relevant=alike)


def as_written(text: str, dice: Random) -> str:
    accented = text.translate(str.maketrans("aeiou", "áéíóú"))
    spaced = text.replace(" ", "  ").replace("-", " ")
    return dice.choice([text, text.lower(), text.upper(), accented, spaced, text.replace(",", "")])


def _table(evaluation: Evaluation) -> Iterator[str]:
    yield (
        "| queries | number | "
        + " | ".join(f"{each}: {ALONE} | {each}: hybrid" for each in MEASURED)
        + " | p, R@1 |"
    )
    yield "|---|---|" + "---|---|" * len(MEASURED) + "---|"
    from shopsearch.evaluation.measures import MEASURES

    for group in evaluation.groups:
        if group.by == "language":
            continue
        figures = evaluation.figures(group)
        cells = []
        for measure in MEASURED:
            place = MEASURES.index(measure)
            for name in (ALONE, "search"):
                one = (figures[name] or [])[place]
                cells.append(f"{one.mean:.3f}")
        chance = evaluation.differences(group, ALONE)[MEASURES.index("R@1")].p_value
        told = "< 0.001" if chance < 0.001 else f"{chance:.3f}"
        yield f"| {group.name} | {len(group.places)} | {' | '.join(cells)} | {told} |"


if __name__ == "__main__":
    main()
