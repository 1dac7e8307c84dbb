"""The figures of shopsearch_evaluate: search, baselines, the rerank and whatever else is set beside it."""

import json

import pytest
from django.core.management import CommandError

from shopsearch.conf import settings
from shopsearch.evaluation.measures import MEASURES
from shopsearch.evaluation.searchers import LiveSearch, Reranked
from shopsearch.management.commands import shopsearch_evaluate
from shopsearch.models import ProductImage
from shopsearch.registry import index_for
from shopsearch.search import reranking
from shopsearch.search.engine import search
from shopsearch.types import Query
from tests.commands.running import INDEX
from tests.evaluation.conftest import evaluate, of_colour, write
from tests.shop.models import Artwork
from tests.shop.pictures import RED, product
from tests.shop.rerankers import LastFirst
from tests.shop.store import index_everything


def means(report, searcher="search", group="all queries"):
    [told] = [each for each in report["groups"] if each["name"] == group]
    figures = told["figures"][searcher]
    return figures and {measure: figure["mean"] for measure, figure in figures.items()}


def test_search_is_measured_by_all_queries_by_kind_and_by_language(evaluated):
    report = evaluated()
    assert (report["index"], report["space"], report["queries"]) == (INDEX, "colour", 7)
    assert [(each["by"], each["name"], each["queries"]) for each in report["groups"]] == [
        ("all", "all queries", 7),
        ("kind", "text", 4),
        ("kind", "image", 3),
        ("language", "en", 3),
        ("language", "es", 1),
    ]
    assert means(report, group="image") == dict.fromkeys(MEASURES, 1)
    assert means(report, group="en") == dict.fromkeys(MEASURES, 1)
    assert means(report, group="es")["R@1"] == 0
    assert means(report)["R@1"] == pytest.approx(6 / 7, abs=1e-6)
    overall = report["groups"][0]["figures"]["search"]["R@1"]
    assert overall["low"] < overall["mean"] < overall["high"] == 1


def test_baselines_answer_the_same_queries_and_say_where_they_have_nothing_to_go_by(evaluated):
    report = evaluated()
    assert means(report, "colour histogram", "image")["R@1"] == 1
    assert means(report, "colour histogram", "text") is None
    assert means(report, "shared words", "en")["R@1"] == 1
    assert means(report, "shared words", "image") is None
    assert means(report, "picture alone", "image") == means(report, group="image")
    assert means(report, "words alone", "text") == means(report, group="text")
    assert 0 < means(report, "chance")["MRR"] < 1
    # Nothing to go by is nothing found, where others are measured by it.
    assert means(report, "shared words")["R@1"] == pytest.approx(3 / 7, abs=1e-6)


def test_a_composed_query_is_asked_whole_by_its_picture_and_by_its_words(shop, queries, tmp_path):
    line = {"id": "c", "text": "blue", "image": "red.png", "relevant": of_colour(shop, "blue")}
    write(tmp_path / "composed.jsonl", [line])
    evaluate(tmp_path / "composed.jsonl", "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert means(report, "words alone")["R@1"] == 1
    assert means(report, "picture alone")["R@1"] == 0


def test_the_run_file_measured_by_trec_eval_has_the_reports_figures(evaluated, queries, tmp_path):
    pytrec_eval = pytest.importorskip("pytrec_eval")
    report = evaluated("--run", tmp_path / "run.txt")
    lines = [json.loads(line) for line in queries.read_text().splitlines()]
    with (tmp_path / "run.txt").open() as file:
        run = pytrec_eval.parse_run(file)
    asked = {"success.1,5,10", "recip_rank", "ndcg_cut.9"}
    evaluator = pytrec_eval.RelevanceEvaluator({line["id"]: line["relevant"] for line in lines}, asked)
    theirs = evaluator.evaluate(run).values()
    names = ("success_1", "success_5", "success_10", "recip_rank", "ndcg_cut_9")
    for measure, name in zip(MEASURES, names, strict=True):
        mean = sum(each[name] for each in theirs) / len(lines)
        assert means(report)[measure] == pytest.approx(mean, abs=1e-6)


@pytest.mark.parametrize("page_size", [10, 100])
def test_however_small_the_pages_are_search_is_looked_at_as_far(shop, page_size, monkeypatch, tmp_path):
    for _ in range(15):
        product(RED)
    index_everything()
    monkeypatch.setitem(settings._cache, "MAX_PAGE_SIZE", page_size)
    # Both other colours: which of the two comes first depends on the keys that the database gave.
    not_red = of_colour(shop, "blue") | of_colour(shop, "green")
    write(tmp_path / "red.jsonl", [{"id": "red", "text": "red", "relevant": not_red}])
    evaluate(tmp_path / "red.jsonl", "--no-baselines", "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    # Behind the 18 that are red.
    assert means(report)["MRR"] == pytest.approx(1 / 19, abs=1e-6)


# Contenders


def test_the_rerank_is_measured_beside_the_search_with_what_it_gains(evaluated, reranker):
    report = evaluated("--rerank")
    assert means(report, "search + rerank", "en")["nDCG@9"] < means(report, group="en")["nDCG@9"]
    told = report["groups"][0]["differences"]["search + rerank"]["nDCG@9"]
    both = means(report, "search + rerank")["nDCG@9"], means(report)["nDCG@9"]
    assert told["mean"] == pytest.approx(both[0] - both[1], abs=1e-5)
    assert told["low"] <= told["mean"] <= told["high"]
    assert 0 < told["p_value"] <= 1


def test_the_reranked_order_is_the_one_that_a_worker_records(shop, reranker):
    index = index_for(ProductImage)
    recorded = reranking.request(index, search("red"))
    assert reranking.answer_next()

    found = Reranked(live=LiveSearch(index=index)).find(Query(text="red"))

    order = [str(each) for each in reranking.current(recorded.pk).order]
    assert order != [str(result.product.pk) for result in search("red").results]
    assert found[: len(order)] == order
    assert sorted(found) == sorted(shop.values())


def test_a_reranker_that_is_away_leaves_the_order_and_is_told(evaluated, reranker, monkeypatch):
    monkeypatch.setattr(LastFirst, "is_broken", True)
    report = evaluated("--rerank")
    assert means(report, "search + rerank") == means(report)
    assert any("7 queries kept retrieval's order" in note for note in report["notes"])


def test_without_a_reranker_there_is_none_to_measure(queries, monkeypatch):
    monkeypatch.setattr(shopsearch_evaluate, "get_reranker", lambda: None)
    with pytest.raises(CommandError, match="RERANKER"):
        evaluate(queries, "--rerank")


def test_another_embedder_is_set_beside_the_live_one_over_the_same_pictures(evaluated):
    report = evaluated(
        "--compare", "shopsearch.testing.ColourEmbedder", "--compare-options", '{"batch_size": 2}'
    )
    # What is equally near comes in another order, but only where that changes nothing.
    for group in ("en", "image"):
        assert means(report, "ColourEmbedder", group) == means(report, group=group)
    [told] = [each for each in report["groups"] if each["name"] == "image"]
    assert all(
        each["mean"] == 0 and each["p_value"] == 1 for each in told["differences"]["ColourEmbedder"].values()
    )


def test_another_index_must_show_the_same_products(queries):
    other = f"{Artwork._meta.app_label}_{Artwork._meta.model_name}"
    with pytest.raises(CommandError, match="other products"):
        evaluate(queries, "--compare", other)


def test_an_index_beside_itself_makes_no_difference(evaluated):
    report = evaluated("--compare", INDEX)
    assert means(report, INDEX) == means(report)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--compare", "no.such.Embedder"], "cannot be built"),
        (["--compare", "shopsearch.testing.ColourEmbedder", "--compare-options", '{"colour": 1}'], "colour"),
        (["--compare", "shopsearch.testing.MemoryStore"], "neither an index nor an embedder"),
        (["--compare-options", "[]"], "not a JSON object"),
        (["--fail-under", "ndcg@10=0.8"], "not a measure"),
        (["--fail-under", "ndcg@9"], "not a measure"),
        (["--index", "no_index"], "no_index"),
        (["--html", "/no/such/folder/report.html"], "there is no folder"),
    ],
)
def test_a_mistake_in_the_arguments_is_said_before_anything_is_searched(queries, arguments, message):
    with pytest.raises(CommandError, match=message):
        evaluate(queries, *arguments)
