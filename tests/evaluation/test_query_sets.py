"""The judged queries of the documentation's tables, and how photographs are spoilt for them."""

import re

import numpy as np
import pytest
from PIL import Image

from benchmarks import corruptions, quality_tables
from demo_project.catalog import judged
from demo_project.catalog.assortment import articles
from shopsearch.evaluation.query_files import QueryFile


def test_the_demos_queries_are_the_same_each_time_and_are_asked_in_two_languages():
    asked = judged.asked(40)
    assert [(each.id, each.text, each.grades) for each in asked] == [
        (each.id, each.text, each.grades) for each in judged.asked(40)
    ]
    assert len({each.id for each in asked}) == 160
    kinds = {each.kind for each in asked}
    assert kinds == {"words", "words + colour", "photograph", "picture + words"}
    for kind in kinds - {"photograph"}:
        languages = [each.language for each in asked if each.kind == kind]
        assert languages.count("es") == languages.count("en") == 20


def test_each_of_the_demos_queries_is_answered_by_something_that_is_sold():
    sold = {article.slug: article for article in articles()}
    for each in judged.asked(40):
        answers = [sold[slug] for slug in each.grades]
        assert answers
        assert len({(article.category, article.pattern) for article in answers}) == 1
        assert judged.RIGHT in each.grades.values()


def test_a_photograph_is_answered_by_the_very_product():
    photographs = [each for each in judged.asked(40) if each.kind == "photograph"]
    assert all(len(each.grades) == 1 for each in photographs)


def test_the_demos_queries_are_written_as_the_command_reads_them(tmp_path):
    asked = judged.asked(1)
    ids = {article.slug: number for number, article in enumerate(articles(), start=1)}
    assert list(judged.write(asked, tmp_path, ids)) == asked
    read = list(QueryFile(path=tmp_path / judged.QUERIES_FILE))
    assert [query.kind for query in read] == [each.kind for each in asked]
    assert [query.image is not None for query in read] == [False, False, True, True]
    for query, each in zip(read, asked, strict=True):
        assert query.relevant == {str(ids[slug]): grade for slug, grade in each.grades.items()}


@pytest.fixture
def photograph():
    noise = np.random.default_rng(1).integers(0, 255, (60, 40, 3), dtype=np.uint8)
    return Image.fromarray(noise)


@pytest.mark.parametrize("kind", corruptions.CORRUPTIONS)
def test_a_spoilt_picture_is_another_one_and_the_same_each_time(kind, photograph):
    spoilt = corruptions.spoil(photograph, kind, "seed")
    assert spoilt.size == ((28, 42) if kind.startswith("crop") else photograph.size)
    assert spoilt.tobytes() != photograph.tobytes()
    assert spoilt.tobytes() == corruptions.spoil(photograph, kind, "seed").tobytes()


def test_the_tables_of_the_documentation_come_from_the_figures(evaluated, reranker, tmp_path, monkeypatch):
    report = evaluated("--rerank")
    page = tmp_path / "evaluation.md"
    page.write_text("before\n<!-- demo: begin -->\nold\n<!-- demo: end -->\nafter\n")
    monkeypatch.setattr(quality_tables, "PAGE", page)
    quality_tables.write(report)
    text = page.read_text()
    mean = report["groups"][0]["figures"]["search"]["R@1"]["mean"]
    assert re.search(rf"^\| search \| {mean:.3f} \[", text, re.MULTILINE)
    assert text.startswith("before\n<!-- demo: begin -->\n")
    assert text.endswith("<!-- demo: end -->\nafter\n")
    assert "old" not in text


def test_the_documentation_has_the_tables_marks():
    text = quality_tables.PAGE.read_text()
    for name in ("demo", "photographs", "spoilt photographs", "shop fit"):
        assert text.index(f"<!-- {name}: begin -->") < text.index(f"<!-- {name}: end -->")
