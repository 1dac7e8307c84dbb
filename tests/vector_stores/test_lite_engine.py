"""Our collection against Milvus Lite's own: the same writes, the same answers."""

import inspect
import math

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shopsearch.exceptions import VectorStoreError
from shopsearch.vector_stores.milvus.lite import _import_engine
from tests.vector_stores.contract import key

NAMES = ["id", "vector", "price", "category", "in_stock", "tags", "text", "words"]
READ = ["vector", "price", "category", "in_stock", "tags", "text"]
TEXTS = ["red mug", "blue mug", "red red plate", "zebra", "", "a mug and a plate and a cup"]
FILTERS = [
    None,
    'category in ["mug", "plate"]',
    "price >= 1.0 and price <= 2.0",
    "price is not null",
    "in_stock in [true]",
    'array_contains_any(tags, ["new", "é"])',
    'array_contains_any(tags, ["new"]) and price >= 1.0',
    'not (array_contains_any(tags, ["new"]) or price >= 1.0)',
    f'id in ["{key(1)}", "{key(3)}", "{key(99)}"]',
    'id == ""',
]


@pytest.fixture(scope="module")
def engine():
    return _import_engine()


def schema():
    from milvus_lite import CollectionSchema, DataType, FieldSchema, Function, FunctionType

    fields = [
        FieldSchema(name="id", dtype=DataType.VARCHAR, is_primary=True, max_length=32),
        FieldSchema(name="vector", dtype=DataType.FLOAT_VECTOR, dim=3),
        FieldSchema(name="price", dtype=DataType.DOUBLE, nullable=True),
        FieldSchema(name="category", dtype=DataType.VARCHAR, nullable=True, max_length=99),
        FieldSchema(name="in_stock", dtype=DataType.BOOL, nullable=True),
        FieldSchema(
            name="tags", dtype=DataType.ARRAY, element_type=DataType.VARCHAR, nullable=True, max_capacity=9
        ),
        FieldSchema(name="text", dtype=DataType.VARCHAR, max_length=999, enable_analyzer=True),
        FieldSchema(name="words", dtype=DataType.SPARSE_FLOAT_VECTOR, is_function_output=True),
    ]
    bm25 = Function(
        name="bm25",
        function_type=FunctionType.BM25,
        input_field_names=["text"],
        output_field_names=["words"],
    )
    return CollectionSchema(fields=fields, functions=[bm25])


class Pair:
    """Milvus Lite's collection and ours, written alike."""

    def __init__(self, engine, folder):
        self.folder = folder
        self.classes = {"stock": engine.stock.Collection, "ours": engine.Collection}
        self.open()
        for each in self.both():
            each.create_index("vector", {"index_type": "FLAT", "metric_type": "COSINE"})
            each.create_index("words", {"index_type": "SPARSE_INVERTED_INDEX", "metric_type": "BM25"})
            each.load()

    def open(self):
        self.stock, self.ours = (
            each("pair", str(self.folder / name), schema()) for name, each in self.classes.items()
        )

    def both(self):
        return self.stock, self.ours

    def do(self, verb, *arguments):
        for each in self.both():
            getattr(each, verb)(*arguments)
            each._wait_for_bg()  # until segments have been merged

    def reopen(self):
        for each in self.both():
            each.close()
        self.open()
        for each in self.both():
            each.load()

    def agree(self):
        stock, ours = self.both()
        assert ours.num_entities == stock.num_entities
        keys = [key(number) for number in range(8)]
        assert ours.get(keys, output_fields=READ) == stock.get(keys, output_fields=READ)
        for expr in FILTERS:
            page = {"expr": expr, "output_fields": ["price", "tags"], "order_by_pk": True}
            for limits in ({}, {"limit": 2, "offset": 1}):
                assert ours.query(**page, **limits) == stock.query(**page, **limits)
            for query in ([3.0, -2.0, 0.5], [0.0, 0.0, 0.0]):
                search = {"query_vectors": [query], "expr": expr, "output_fields": READ, "top_k": 9}
                assert shape(ours.search(**search)) == shape(stock.search(**search))
            words = {"anns_field": "words", "expr": expr, "output_fields": ["text"], "top_k": 9}
            for text in ("mug", "red zebra", ""):
                theirs, found = (each.search(query_vectors=[text], **words) for each in self.both())
                if expr is None and len(ours._live()) == 1 and ours.num_entities == len(ours._live()[0][1]):
                    assert shape(found) == shape(theirs)
                else:  # Milvus Lite's scores are of one segment, or of the rows that pass
                    assert {hit["id"]: hit["entity"] for hit in found[0]} == {
                        hit["id"]: hit["entity"] for hit in theirs[0]
                    }


def shape(answers):
    """What was found, in an order that does not depend on rounding."""
    return [
        sorted(
            (round(hit["distance"], 4), hit["id"], repr(sorted(hit["entity"].items(), key=str)))
            for hit in hits
        )
        for hits in answers
    ]


VECTORS = st.sampled_from(
    [[1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [1.0, 1.0, 1.0], [-0.5, 0.1, 0.0], [0.0, 0.0, 0.0]]
)
WHOLE = st.fixed_dictionaries(
    {
        "vector": VECTORS,
        "price": st.sampled_from([None, 0.5, 1.0, 2.5]),
        "category": st.sampled_from([None, "mug", "plate", ""]),
        "in_stock": st.sampled_from([None, True, False]),
        "tags": st.sampled_from([None, [], ["new"], ["old", "é", "new"]]),
        "text": st.sampled_from(TEXTS),
    }
)
NUMBERS = st.integers(0, 7)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("upsert"), st.dictionaries(NUMBERS, WHOLE, min_size=1, max_size=4)),
        st.tuples(st.just("reprice"), st.dictionaries(NUMBERS, st.just({"price": 1.5}), min_size=1)),
        st.tuples(st.just("delete"), st.lists(NUMBERS, min_size=1, max_size=3)),
        st.tuples(st.just("flush"), st.none()),
        st.tuples(st.just("reopen"), st.none()),
    ),
    min_size=1,
    max_size=14,
)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(STEPS)
def test_whatever_was_written_ours_answers_as_milvus_lites_own_does(engine, tmp_path_factory, steps):
    pair = Pair(engine, tmp_path_factory.mktemp("pair"))
    held = set()
    for step, value in steps:
        if step == "upsert":
            pair.do("upsert", [{"id": key(number), **row} for number, row in value.items()])
            held |= value.keys()
        elif step == "reprice":
            pair.do("upsert", [{"id": key(number), **row} for number, row in value.items() if number in held])
        elif step == "delete":
            pair.do("delete", [key(number) for number in value])
            held -= set(value)
        elif step == "flush":
            pair.do("flush")
        else:
            pair.reopen()
        pair.agree()
    for each in pair.both():
        each.close()


@pytest.fixture
def ours(engine, tmp_path):
    collection = Pair(engine, tmp_path).ours
    yield collection
    collection.close()


def row(number, text="", vector=(1.0, 0.0, 0.0)):
    values = {"price": None, "category": None, "in_stock": None, "tags": None}
    return {"id": key(number), "vector": list(vector), "text": text, **values}


def by_words(collection, text, limit=9):
    [hits] = collection.search(query_vectors=[text], anns_field="words", output_fields=[], top_k=limit)
    return [(int(hit["id"], 16), round(hit["distance"], 5)) for hit in hits]


def test_a_rare_word_counts_the_same_in_a_small_new_segment_as_in_a_large_old_one(ours):
    """Milvus Lite puts the only zebra last while it is the only row of its segment."""
    ours.upsert([row(number, "red mug") for number in range(40)])
    ours.flush()
    ours.upsert([row(99, "zebra")])
    apart = by_words(ours, "zebra mug")
    ours.flush()
    ours._wait_for_bg()
    flushed = by_words(ours, "zebra mug")
    ours.upsert([row(number, "red mug") for number in range(40)] + [row(99, "zebra")])
    assert apart[0][0] == 99
    assert apart == flushed == by_words(ours, "zebra mug")


def test_of_equal_hits_the_same_ones_are_found_however_the_rows_lie(ours):
    ours.upsert([row(number, "mug") for number in range(9, 18)])
    ours.flush()
    ours.upsert([row(number, "mug") for number in range(9)])
    assert [number for number, _ in by_words(ours, "mug", limit=5)] == [0, 1, 2, 3, 4]
    [hits] = ours.search(query_vectors=[[1.0, 0.0, 0.0]], output_fields=[], top_k=5)
    assert [int(hit["id"], 16) for hit in hits] == [0, 1, 2, 3, 4]


def test_a_row_that_is_in_a_segment_and_in_the_log_of_a_crash_is_found_once(engine, tmp_path):
    pair = Pair(engine, tmp_path)
    ours = pair.ours
    ours.upsert([row(1, "mug"), row(2, "mug")])
    log = {path: path.read_bytes() for path in (tmp_path / "ours" / "wal").iterdir()}
    ours.flush()
    ours.close()
    for path, data in log.items():  # as if the crash had come before the log was deleted
        path.write_bytes(data)
    ours = engine.Collection("pair", str(tmp_path / "ours"), schema())
    ours.load()
    assert [number for number, _ in by_words(ours, "mug")] == [1, 2]
    assert len(ours.search(query_vectors=[[1.0, 0, 0]], output_fields=[])[0]) == ours.num_entities == 2
    assert len(ours.query(output_fields=["price"])) == 2
    ours.close()


def test_a_search_reads_nothing_again_until_something_is_written(ours):
    ours.upsert([row(1)])
    view = ours._live()
    assert ours._live() is view
    ours.upsert([row(2)])
    assert ours._live() is not view


def test_whole_rows_are_written_without_reading_those_that_they_replace(ours, monkeypatch):
    read = []
    monkeypatch.setattr(type(ours), "_get_raw", lambda self, pk: read.append(pk))
    ours.upsert([row(1)])
    assert read == []
    ours.upsert([{**row(1), "price": 2.0}])
    assert read == []


def test_an_exact_search_keeps_no_second_copy_of_the_vectors(ours, tmp_path):
    ours.upsert([row(1)])
    ours.flush()
    ours._wait_for_bg()
    assert list(tmp_path.glob("ours/**/*.parquet"))
    assert not list(tmp_path.glob("ours/**/*.idx"))


@pytest.mark.parametrize(
    "special",
    [
        {"offset": 1},
        {"group_by_field": "category"},
        {"radius": 0.5},
        {"partition_names": ["_default"]},
        {"metric_type": "L2"},
        {"output_fields": None},
    ],
)
def test_what_is_not_ordinary_is_left_to_milvus_lite(ours, monkeypatch, engine, special):
    ours.upsert([row(number) for number in range(3)])
    asked, search = [], engine.stock.Collection.search
    monkeypatch.setattr(
        engine.stock.Collection, "search", lambda self, *a, **k: asked.append(1) or search(self, *a, **k)
    )
    ours.search(query_vectors=[[1.0, 0.0, 0.0]], **{"output_fields": ["price"], **special})
    assert asked


def test_each_method_takes_what_milvus_lites_own_takes(engine):
    """A new version of Milvus Lite that calls one of them in another way is found here."""
    changed = [
        name
        for name, own in vars(engine.Collection).items()
        if inspect.isfunction(own) and hasattr(engine.stock.Collection, name)
    ]
    assert len(changed) >= 9
    for name in changed:
        own = inspect.signature(getattr(engine.Collection, name)).parameters
        stock = inspect.signature(getattr(engine.stock.Collection, name)).parameters
        named = [each for each in own.values() if each.kind is not inspect.Parameter.VAR_KEYWORD]
        assert [each.name for each in named] == list(stock)[: len(named)], name
        assert len(named) == len(stock) or len(named) < len(own), name
    ordinary = inspect.signature(engine.stock.Collection.search).parameters
    assert all(ordinary[name].default == value for name, value in engine._ORDINARY.items())


@pytest.mark.parametrize("column", [[], ["mug"], ["", "taza \N{HOT BEVERAGE}", "a\0b"], ["mug", None]])
def test_texts_are_sent_as_milvus_lite_sends_them(engine, column):
    from milvus_lite.schema.types import DataType, FieldSchema

    field = FieldSchema(name="title", dtype=DataType.VARCHAR, max_length=99)
    assert engine._build_field_data("title", field, column) == engine._build_any_field_data(
        "title", field, column
    )


def test_another_version_of_milvus_lite_is_refused_with_the_line_that_mends_it(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(engine, "version", lambda name: "3.3.0")
    with pytest.raises(
        VectorStoreError, match=r'3\.3\.0 is installed: run pip install "milvus-lite==3\.2\.\*"'
    ):
        engine.open_database(str(tmp_path))


def test_scores_are_bm25s_of_the_rows_that_are_live(ours):
    ours.upsert([row(1, "zebra"), row(2, "red mug"), row(3, "red mug"), row(4, "zebra"), row(5, "zebra")])
    ours.delete([key(4)])
    ours.upsert([row(5, "blue mug")])
    rarity = math.log(1 + (4 - 1 + 0.5) / (1 + 0.5))  # one of four has it
    share = 2.5 / (1 + 1.5 * (0.25 + 0.75 * 1 / (7 / 4)))  # once, in a text of 1 word where 7/4 is usual
    assert by_words(ours, "zebra") == [(1, pytest.approx(-rarity * share, abs=1e-4))]
