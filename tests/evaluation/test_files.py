"""Judged queries as files: JSON Lines, and TREC's topics and qrels."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopsearch.evaluation import JudgedQuery
from shopsearch.evaluation.query_files import QueryFile, QueryFileError, read_qrels
from tests.shop.pictures import RED, picture


@pytest.fixture
def write(tmp_path):
    def write(content, name="queries.jsonl"):
        path = tmp_path / name
        lines = content if isinstance(content, str) else "\n".join(json.dumps(line) for line in content)
        path.write_text(lines, encoding="utf-8")
        return path

    return write


def read(path, qrels=None):
    return list(QueryFile(path=path, qrels=qrels))


def test_a_line_is_a_query_by_words_by_a_picture_or_by_both(write, tmp_path):
    (tmp_path / "red.png").write_bytes(content := picture(RED).read())
    path = write(
        [
            {"id": "a", "text": " red mug ", "language": "en", "relevant": {"7": 2}},
            {"id": 2, "image": "red.png", "relevant": {"7": 1, "8": 0}},
            {"id": "c", "text": "a mug with this", "image": "red.png", "kind": "theme", "relevant": {}},
        ]
    )

    assert read(path) == [
        JudgedQuery(id="a", text="red mug", language="en", kind="text", relevant={"7": 2}),
        JudgedQuery(id="2", image=content, kind="image", relevant={"7": 1, "8": 0}),
        JudgedQuery(id="c", text="a mug with this", image=content, kind="theme", relevant={}),
    ]
    assert len(QueryFile(path=path)) == 3


def test_topics_and_qrels_are_what_trec_has(write):
    topics = write("101\tred mug\n\n102\tblue plate\n", "topics.tsv")
    qrels = write("101 0 7 2\n101 0 8 0\n102 0 9 -1\n103\t0\t9\t1\n", "qrels.txt")

    first, second = read(topics, read_qrels(qrels))

    assert first == JudgedQuery(id="101", text="red mug", relevant={"7": 2, "8": 0})
    assert second == JudgedQuery(id="102", text="blue plate", relevant={"9": 0})
    assert (first.is_judged, second.is_judged) == (True, False)


def test_qrels_take_the_place_of_judgements_in_the_lines(write):
    path = write([{"id": "a", "text": "mug", "relevant": {"1": 1}}])
    assert read(path, {"a": {"2": 3}})[0].relevant == {"2": 3}
    assert read(path, {})[0].relevant == {}


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("mug", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ('{"text": "mug", "relevant": {}}', '"id" is not a name without spaces'),
        ('{"id": "a b", "text": "mug", "relevant": {}}', '"id" is not a name without spaces'),
        ('{"id": "a", "relevant": {}}', 'neither "text" nor "image"'),
        ('{"id": "a", "text": 7, "relevant": {}}', '"text" is not a text'),
        ('{"id": "a", "text": "\\u0000", "relevant": {}}', '"text" is not a text'),
        ('{"id": "a", "text": "mug"}', '"relevant" is not an object'),
        ('{"id": "a", "text": "mug", "relevant": {"1": 1.5}}', "a grade is a whole number"),
        ('{"id": "a", "text": "mug", "relevant": {"1": true}}', "a grade is a whole number"),
        ('{"id": "a", "image": "gone.jpg", "relevant": {}}', "'gone.jpg' cannot be read"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(write, line, fault):
    good = json.dumps({"id": "good", "text": "mug", "relevant": {}})
    with pytest.raises(QueryFileError) as told:
        read(write(f"{good}\n\n{line}\n"))
    assert str(told.value).startswith("queries.jsonl, line 3: ")
    assert fault in str(told.value)


def test_an_id_that_comes_twice_is_refused(write):
    line = {"id": "a", "text": "mug", "relevant": {}}
    with pytest.raises(QueryFileError, match="line 2: it has the same id as line 1"):
        read(write([line, line]))


def test_topics_without_judgements_say_how_to_give_them(write):
    with pytest.raises(QueryFileError, match="--qrels"):
        read(write("1\tmug\n", "topics.tsv"))


@pytest.mark.parametrize("line", ["1 0 7", "1 0 7 good", "1 0 7 1 more", "1 0 7 1001"])
def test_qrels_that_are_none_are_refused_with_their_line(write, line):
    with pytest.raises(QueryFileError, match=r"qrels.txt, line 2"):
        read_qrels(write(f"1 0 6 1\n{line}\n", "qrels.txt"))


def test_a_file_that_is_not_there_or_not_utf_8_is_said(tmp_path):
    with pytest.raises(QueryFileError, match="cannot be read"):
        read(tmp_path / "none.jsonl")
    (tmp_path / "latin.jsonl").write_bytes(b'{"id": "a", "text": "caf\xe9", "relevant": {}}')
    with pytest.raises(QueryFileError, match="cannot be read"):
        read(tmp_path / "latin.jsonl")


def test_only_the_queries_that_were_asked_for_are_read(write):
    path = write('{"id": "a", "text": "mug", "relevant": {}}\nnot a query\n')
    assert next(iter(QueryFile(path=path))).id == "a"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(["id", "text", "image", "language", "kind", "relevant"])


@given(line=st.dictionaries(fields, values) | values)
def test_any_json_is_a_query_or_a_sentence_about_it(line, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "queries.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    told = ""
    try:
        [query] = read(path)
    except QueryFileError as error:
        told = str(error)
    assert told.startswith("queries.jsonl, line 1: ") or query.text or query.image is not None
