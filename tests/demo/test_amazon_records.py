"""Records of Amazon Reviews 2023: both shapes, whatever else a line may hold, and files without end."""

import gzip
import json
import tracemalloc
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demo_project.catalog.amazon_records import RecordError, lines, record_of, review_of
from tests import SHARED

SAMPLES = SHARED / "data" / "amazon_reviews_2023_format"
RAW = {
    "main_category": "Computers",
    "title": "Leather  case",
    "features": ["Genuine leather", "Slim"],
    "description": ["A case.", "For phones."],
    "price": 19.5,
    "images": [
        {"thumb": None, "large": "https://a.example/2.jpg", "variant": "PT01", "hi_res": None},
        {
            "thumb": "https://a.example/1s.jpg",
            "large": None,
            "variant": "MAIN",
            "hi_res": "https://a.example/1.jpg",
        },
        {"thumb": None, "large": "https://a.example/2.jpg", "variant": "PT02", "hi_res": None},
    ],
    "store": "Store",
    "categories": ["Electronics", "Cases"],
    "details": {"Brand": "Kerb", "Best Sellers Rank": {"Cases": 3, "Electronics": 70000}},
    "parent_asin": "B000000001",
}
BUILT = RAW | {
    "price": "19.5",
    "images": {name: [picture[name] for picture in RAW["images"]] for name in RAW["images"][0]},
    "details": json.dumps(RAW["details"]),
}


def parsed(record):
    return record_of(json.dumps(record).encode())


@pytest.mark.parametrize("given", [RAW, BUILT], ids=["raw", "builder"])
def test_both_shapes_give_the_same_product(given):
    record = parsed(given)
    assert (record.sku, record.title, record.slug) == (
        "B000000001",
        "Leather case",
        "leather-case-b000000001",
    )
    assert record.description == "Genuine leather\nSlim\n\nA case.\n\nFor phones."
    assert (record.price, record.store, record.brand) == (Decimal("19.50"), "Store", "Kerb")
    assert (record.category, record.category_path) == ("Electronics", "Electronics › Cases")
    assert record.details == {"Brand": "Kerb", "Best Sellers Rank": "Cases: 3; Electronics: 70000"}
    # The main picture first, each once.
    assert record.pictures == ["https://a.example/1.jpg", "https://a.example/2.jpg"]


def test_real_records_of_both_shapes_give_the_same_products():
    if not SAMPLES.exists():
        pytest.skip("shared/data/amazon_reviews_2023_format is not here")
    raw, built = (
        [record_of(line.content) for line in lines(SAMPLES / name)]
        for name in ("meta_sample.jsonl", "meta_sample_hf_shape.jsonl")
    )
    assert raw == built
    assert len(raw) == 5
    reviews = [review_of(line.content) for line in lines(SAMPLES / "reviews_sample.jsonl")]
    assert [review.pictures for review in reviews if review.pictures] == [
        ["https://images-na.ssl-images-amazon.com/images/I/61602k-EjKL._SL1600_.jpg"]
    ]


def test_what_a_record_lacks_is_taken_from_elsewhere():
    bare = parsed({"parent_asin": "B1"})
    assert (bare.title, bare.category, bare.price, bare.pictures) == ("B1", "Other", None, [])
    assert parsed(RAW | {"title": ""}).title == "Genuine leather"
    assert parsed(RAW | {"categories": []}).category == "Computers"
    assert parsed(RAW | {"details": {}}).brand == "Store"


@pytest.mark.parametrize("price", [None, "None", "", "—", "from 12.99", -1, 1e9, "NaN", "inf", True, [1], {}])
def test_a_price_that_is_none_is_not_known(price):
    assert parsed(RAW | {"price": price}).price is None


@pytest.mark.parametrize("price", ["1,299.00", "$1299", 1299])
def test_a_price_may_be_written_in_several_ways(price):
    assert parsed(RAW | {"price": price}).price == Decimal("1299.00")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b"{}",
        b'{"parent_asin": 1}',
        b'{"parent_asin": "a/b"}',
        b"[" * 9_999,
    ],
)
def test_a_broken_line_is_refused_with_a_reason(line):
    with pytest.raises(RecordError, match="not a record: "):
        record_of(line)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text() | st.just("large"), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(sorted(RAW)), _JSON).map(lambda given: {"parent_asin": "B1"} | given))
def test_whatever_the_fields_hold_a_record_is_refused_or_fit_for_the_database(given):
    line = json.dumps(given).encode()
    try:
        record = record_of(line)
        review_of(line)
    except RecordError:
        return
    assert 0 < len(record.title) <= 500
    assert 0 < len(record.category) <= 100
    assert record.price is None or 0 <= record.price < 10**8
    texts = [
        record.title,
        record.description,
        record.category_path,
        record.store,
        record.brand,
        *record.pictures,
    ]
    for text in (*texts, *record.details, *record.details.values()):
        assert "\0" not in text.encode().decode()


def test_a_file_is_read_line_by_line_zipped_or_not(tmp_path):
    content = b'{"a": 1}\n\n  \n{"b": 2}'
    (tmp_path / "a").write_bytes(content)
    (tmp_path / "b").write_bytes(gzip.compress(content))
    for name in ("a", "b"):
        found = [(line.number, json.loads(line.content)) for line in lines(tmp_path / name)]
        assert found == [(1, {"a": 1}), (4, {"b": 2})]


def test_a_zipped_file_that_breaks_off_says_so_after_what_it_has(tmp_path):
    content = gzip.compress(b"".join(b'{"number": %d}\n' % number for number in range(10_000)))
    (tmp_path / "half.gz").write_bytes(content[: len(content) // 2])
    *whole, last = lines(tmp_path / "half.gz")
    assert [json.loads(line.content)["number"] for line in whole] == list(range(len(whole)))
    assert "cannot be read further" in last.error


def test_memory_does_not_grow_with_the_file_nor_with_a_line_that_has_no_end(tmp_path, monkeypatch):
    monkeypatch.setattr("demo_project.catalog.amazon_records.MAX_LINE_BYTES", 20_000)
    record = json.dumps(RAW | {"description": ["A case."] * 200}).encode() + b"\n"
    path = tmp_path / "large.jsonl"
    path.write_bytes(record * 200 + b"{" * 2_000_000 + b"\n" + record)
    broken = []
    tracemalloc.start()
    try:
        for line in lines(path):
            if line.error:
                broken.append(line.number)
            else:
                record_of(line.content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (broken, line.number) == ([201], 202)
    assert peak < 300_000
