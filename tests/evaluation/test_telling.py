"""What shopsearch_evaluate tells: its table, its page, its exit code, and what it cannot measure."""

import json
import sys
from html.parser import HTMLParser

import pytest
from django.core.management import BaseCommand, CommandError

from shopsearch.evaluation import run
from shopsearch.evaluation.query_files import QueryFile
from shopsearch.exceptions import VectorStoreError
from shopsearch.management.commands import shopsearch_evaluate
from shopsearch.testing import MemoryStore
from tests import ROOT
from tests.commands.running import away
from tests.evaluation.conftest import evaluate, of_colour, write
from tests.shop.pictures import RED, product

REFERENCE = ROOT / "docs/reference-commands.md"


def test_the_table_reads_in_80_columns(queries, reranker):
    text, code = evaluate(queries, "--rerank")
    assert code == 0
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "7 queries" in text
    assert "search + rerank, better by" in text


@pytest.mark.parametrize(("least", "expected"), [("0.5", 0), ("0.99", 1)])
def test_search_that_is_worse_than_it_has_to_be_ends_with_1(queries, least, expected):
    text, code = evaluate(queries, "--fail-under", f"ndcg@9={least}", "--fail-under", "mrr=0.1")
    assert code == expected
    assert ("nDCG@9 is 0." in text and ", under 0.99" in text) == bool(expected)
    assert "MRR is" not in text


class Page(HTMLParser):
    """What an HTML file needs from elsewhere, and its pictures."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.sources = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href", "srcset")]


def test_the_page_shows_the_worst_queries_and_needs_nothing_from_elsewhere(queries, shop, tmp_path):
    evaluate(queries, "--html", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    assert not {"script", "link", "iframe"} & set(page.tags)
    assert "“roja”" in text
    assert "“red”" not in text  # nothing is wrong with it
    assert "red mug" in text
    assert "blue mug" in text


def test_words_of_strangers_are_words_on_the_page(shop, tmp_path):
    line = {"id": "x", "text": "<script>alert(1)</script>", "kind": "<b>", "relevant": {"<i>": 1}}
    evaluate(write(tmp_path / "q.jsonl", [line]), "--html", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "&lt;script&gt;alert(1)" in text
    assert not {"script", "b>", "i>"} & set(Page(text).tags)
    assert "&lt;i&gt;: not in the shop" in text


# What cannot be measured


def test_queries_that_nothing_answers_are_left_out_and_told(shop, tmp_path):
    path = write(
        tmp_path / "q.jsonl",
        [
            {"id": "a", "text": "red", "relevant": of_colour(shop, "red")},
            {"id": "b", "text": "unicorn", "relevant": {}},
        ],
    )
    evaluate(path, "--json", tmp_path / "report.json")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["queries"], report["left_out"]) == (1, 1)
    assert any("left out" in note for note in report["notes"])


def test_without_any_relevant_product_there_is_nothing_to_measure(shop, tmp_path):
    path = write(tmp_path / "q.jsonl", [{"id": "b", "text": "unicorn", "relevant": {}}])
    with pytest.raises(CommandError, match="nothing to measure"):
        evaluate(path)


def test_a_picture_that_is_none_is_named_by_its_query(shop, tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    path = write(tmp_path / "q.jsonl", [{"id": "odd", "image": "broken.jpg", "relevant": {"1": 1}}])
    with pytest.raises(CommandError, match="odd"):
        evaluate(path)


def test_before_anything_is_indexed_it_says_what_to_do(db, tmp_path):
    path = write(tmp_path / "q.jsonl", [{"id": "a", "text": "red", "relevant": {"1": 1}}])
    with pytest.raises(CommandError, match="shopsearch_reindex"):
        evaluate(path)


def test_pictures_that_are_not_indexed_are_told(evaluated):
    product(RED)
    assert any("1 pictures are not indexed" in note for note in evaluated()["notes"])


def test_a_store_that_is_away_is_said(queries, monkeypatch):
    monkeypatch.setattr(MemoryStore, "search", away)
    with pytest.raises(CommandError, match=str(VectorStoreError())):
        evaluate(queries)


def test_without_ir_measures_it_says_what_to_install(queries, monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_measures", None)
    with pytest.raises(CommandError, match="pip install"):
        evaluate(queries)


def test_memory_holds_some_queries_at_a_time_however_many_there_are(shop, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "MEASURED_AT_ONCE", 4)
    path = write(
        tmp_path / "q.jsonl",
        [{"id": str(n), "text": "red", "relevant": of_colour(shop, "red")} for n in range(20)],
    )
    ahead = []
    measured = run.Evaluation(searchers=[])
    read = 0

    def counted():
        nonlocal read
        for query in QueryFile(path=path):
            read += 1
            yield query

    class Nothing:
        name = "nothing"

        def find(self, query):
            return []

    measured.searchers = [Nothing()]
    for told, _ in enumerate(measured.run(counted()), start=1):
        ahead.append(read - told)
    assert len(ahead) == 20
    assert max(ahead) < 4


def test_every_option_is_in_the_reference():
    parser = shopsearch_evaluate.Command().create_parser("manage.py", "shopsearch_evaluate")
    inherited = BaseCommand().create_parser("manage.py", "shopsearch_evaluate")
    own = {option for action in parser._actions for option in action.option_strings}
    own -= {option for action in inherited._actions for option in action.option_strings}
    section = REFERENCE.read_text().split("## shopsearch_evaluate\n")[1].split("\n## ")[0]
    assert {option for option in own if option not in section} == set()
