"""manage.py shopsearch_evaluate: measure how well search answers judged queries, compared with baselines."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO, cast

from django.core.management.base import CommandError
from django.utils.module_loading import import_string
from tqdm import tqdm

from shopsearch import conf
from shopsearch.backends import get_reranker
from shopsearch.embedders.base import Embedder
from shopsearch.evaluation.baselines import Chance, ColourHistogram, SharedWords
from shopsearch.evaluation.catalogue import CatalogueSearcher, OtherEmbedder, show
from shopsearch.evaluation.html import page
from shopsearch.evaluation.judgements import judged_queries
from shopsearch.evaluation.measures import MEASURES, named, run_lines
from shopsearch.evaluation.query_files import JudgedQuery, QueryFile, QueryFileError, read_qrels
from shopsearch.evaluation.report import Minimum, Report
from shopsearch.evaluation.run import Evaluation, MeasuredAnswer
from shopsearch.evaluation.searchers import LiveSearch, PictureAlone, Reranked, Searcher, WordsAlone
from shopsearch.indexing import progress
from shopsearch.management.command import ShopsearchCommand
from shopsearch.models import Collection, IndexEntry
from shopsearch.registry import ImageIndex, find_index, get_index


class Command(ShopsearchCommand):
    help = (
        "Measure search with judged queries: R@1, R@5, R@10, MRR and nDCG@9, by kind and language, with intervals, "
        "beside baselines. Exit code 1 when --fail-under is missed."
    )
    expected = (*ShopsearchCommand.expected, QueryFileError)

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "queries",
            nargs="?",
            type=Path,
            help="JSON Lines with judgements, or TREC topics (.tsv) with --qrels; by default the shop's own "
            "judgements in the database.",
        )
        parser.add_argument("--qrels", type=Path, metavar="FILE", help="The judgements, in TREC's format.")
        parser.add_argument("--index", default="", help="The index, such as catalog_productimage.")
        parser.add_argument(
            "--rerank", action="store_true", help="Measure the reranked order too, and what it gains."
        )
        parser.add_argument(
            "--compare",
            metavar="NAME",
            help="Also measure another index of the same products, or another embedder, given by its dotted path.",
        )
        parser.add_argument(
            "--compare-options", type=_options, default={}, metavar="JSON", help="That embedder's OPTIONS."
        )
        parser.add_argument("--no-baselines", action="store_true", help="Do not read the shop's pictures.")
        parser.add_argument(
            "--fail-under",
            type=_minimum,
            action="append",
            default=[],
            metavar="MEASURE=LEAST",
            help="Exit with 1 if search is worse than this, as in ndcg@9=0.8; may be repeated.",
        )
        parser.add_argument("--json", type=Path, metavar="FILE", help="Write every figure, for programs.")
        parser.add_argument("--run", type=Path, metavar="FILE", help="Write the results as a TREC run.")
        parser.add_argument("--html", type=Path, metavar="FILE", help="Write a page with the worst queries.")

    def handle(self, *args: Any, **options: Any) -> None:
        if sentence := conf.missing_packages("ir_measures"):
            raise CommandError(sentence)
        for name in ("json", "run", "html"):
            if (path := options[name]) and not path.resolve().parent.is_dir():
                raise CommandError(f"--{name}: there is no folder {path.resolve().parent}.")
        index = get_index(options["index"])
        report = self.evaluate(index, options)
        self.stdout.write("\n".join(report.lines()))
        if options["json"]:
            options["json"].write_text(json.dumps(report.as_json(), indent=2) + "\n", encoding="utf-8")
        if options["html"]:
            options["html"].write_text(page(report, index), encoding="utf-8")
            self.stdout.write(f"The worst queries are shown in {options['html']}.")
        for sentence in report.missed:
            self.stderr.write(self.style.ERROR(sentence))
        if report.missed:
            sys.exit(1)

    def evaluate(self, index: ImageIndex, options: dict[str, Any]) -> Report:
        collection = Collection.objects.of(index).live().first()
        if collection is None:
            raise CommandError(f"Nothing of {index.name} is indexed. First: manage.py shopsearch_reindex")
        notes = list(_notes_on(index))
        queries, source = _queries(index, options)
        live = LiveSearch(index=index)
        contenders: list[Searcher] = []
        if options["rerank"]:
            if get_reranker() is None:
                raise CommandError('--rerank: SHOPSEARCH["RERANKER"] is None, so there is none to measure.')
            contenders.append(Reranked(live=live))
        if options["compare"]:
            contenders.append(_contender(index, options["compare"], options["compare_options"]))
        baselines: list[Searcher] = []
        if not options["no_baselines"]:
            baselines = [PictureAlone(live=live), WordsAlone(live=live)]
            baselines += [ColourHistogram(), SharedWords(), Chance()]
        quiet = options["verbosity"] == 0 or None
        # Reranked comes right after the live search, so that it uses the same results without another search.
        searchers = [live, *contenders, *baselines]
        _show_catalogue(index, searchers, notes, quiet=quiet)
        evaluation = Evaluation(searchers=searchers)
        with ExitStack() as stack:
            run = stack.enter_context(options["run"].open("w", encoding="utf-8")) if options["run"] else None
            total = len(queries) if isinstance(queries, QueryFile) else None
            shown = tqdm(queries, total=total, desc="Searching", unit=" queries", disable=quiet)
            for answers in evaluation.run(shown):
                if run is not None:
                    _write(run, answers[0])
        if not len(evaluation):
            raise CommandError("No query has a relevant product, so there is nothing to measure.")
        return Report(
            evaluation=evaluation,
            about={
                "index": index.name,
                "space": collection.space,
                "source": source,
                "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
            },
            contenders=[contender.name for contender in contenders],
            minimums=options["fail_under"],
            notes=[*notes, *_notes_after(evaluation, contenders)],
        )


def _options(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a JSON object") from error
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"{text!r} is not a JSON object")
    return value


def _minimum(text: str) -> Minimum:
    measure, _, value = text.partition("=")
    try:
        return Minimum(measure=named(measure), value=float(value))
    except ValueError as error:
        raise ArgumentTypeError(
            f"{text!r} is not a measure ({', '.join(MEASURES)}) and a number, as in ndcg@9=0.8"
        ) from error


def _queries(index: ImageIndex, options: dict[str, Any]) -> tuple[Iterable[JudgedQuery], str]:
    """The judged queries, and the name of their source."""
    path, qrels = options["queries"], options["qrels"]
    if path is not None:
        return QueryFile(path=path, qrels=read_qrels(qrels) if qrels else None), path.name
    if qrels is not None:
        raise CommandError("--qrels needs the file of the queries too.")
    return judged_queries(index), "the shop's own judgements"


def _contender(index: ImageIndex, name: str, options: dict[str, Any]) -> Searcher:
    if other := find_index(name):
        if other.product_model._meta.concrete_model is not index.product_model._meta.concrete_model:
            raise CommandError(
                f"--compare: {name} shows other products, for which there are no judgements here."
            )
        return LiveSearch(index=other, name=name)
    try:
        embedder = import_string(name)(**options)
    except (ImportError, TypeError) as error:
        raise CommandError(f"--compare: {name} is not an index, and cannot be built: {error}") from error
    if not isinstance(embedder, Embedder):
        raise CommandError(f"--compare: {name} is neither an index nor an embedder.")
    return OtherEmbedder(embedder=embedder, name=name.rpartition(".")[2])


def _show_catalogue(
    index: ImageIndex, searchers: list[Searcher], notes: list[str], *, quiet: bool | None
) -> None:
    """Show the shop's pictures to the searchers that need them. Each picture is read once."""
    looking = [cast(CatalogueSearcher, each) for each in searchers if hasattr(each, "add")]
    if looking and (unreadable := show(index, looking, quiet=quiet)):
        notes.append(f"{unreadable:,} pictures cannot be read; the baselines are without them.")


def _notes_on(index: ImageIndex) -> Iterator[str]:
    """Notes on what makes search look worse than its model is."""
    states = progress.counts().get(index.name, {})
    if waiting := sum(states.values()) - states.get(IndexEntry.State.INDEXED, 0):
        yield f"{waiting:,} pictures are not indexed: manage.py shopsearch_status says why."


def _notes_after(evaluation: Evaluation, contenders: list[Searcher]) -> Iterator[str]:
    if evaluation.left_out:
        yield f"{evaluation.left_out:,} queries without any relevant product were left out."
    for contender in contenders:
        if failed := getattr(contender, "failed", 0):
            yield f"{failed:,} queries kept retrieval's order: the reranker could not answer."


def _write(run: TextIO, answer: MeasuredAnswer) -> None:
    try:
        run.write(run_lines(answer.query, answer.products or (), "shopsearch"))
    except ValueError as error:
        raise CommandError(f"--run: {error}") from error
