"""What every vector store promises of filters; a part of the contract."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from shopsearch.exceptions import FilterError
from shopsearch.filters import And, AnyOf, Range
from shopsearch.types import CollectionSchema, Entity

SCHEMA = CollectionSchema(
    dimension=8, fields={"category": "string", "price": "number", "in_stock": "boolean", "tags": "strings"}
)
HOSTILE = [
    '"',
    "'",
    "\\",
    '\\"',
    '") or 1==1 #',
    '" or id != "',
    "{x}",
    "%",
    "\n\r\t\b\0",
    "null",
    "true",
    "",
    " ",
    "é",
    "🦓",
]

hypothesis = settings(
    max_examples=25,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,  # each example deletes what the one before it wrote
        HealthCheck.differing_executors,  # the same test for each store is what a contract is
        HealthCheck.too_slow,
    ],
)


def key(number):
    return f"{number:032x}"


def unit(*numbers):
    vector = np.zeros(SCHEMA.dimension, np.float32)
    vector[: len(numbers)] = numbers
    return vector / np.linalg.norm(vector)


def entity(number, vector=None, product="", **fields):
    return Entity(
        id=key(number),
        image_id=f"image {number}",
        product_id=product or f"product {number}",
        vector=unit(math.cos(number), math.sin(number)) if vector is None else vector,
        fields=fields,
    )


def numbers_of(hits):
    return [int(hit.id, 16) for hit in hits]


def oracle(condition, fields):
    """Whether an entity with these fields passes, written as the interface's docstrings read."""
    if isinstance(condition, And):
        return all(oracle(each, fields) for each in condition.filters)
    value = fields.get(condition.field)
    if value is None:
        return False
    if isinstance(condition, Range):
        return not (condition.minimum is not None and value < condition.minimum) and not (
            condition.maximum is not None and value > condition.maximum
        )
    held = list(value) if isinstance(value, tuple) else [value]
    return any(each == wanted for each in held for wanted in condition.values)


NUMBERS = st.sampled_from([-2.5, -1e-7, 0.0, -0.0, 0.1, 1.0, 19.99, 1e12, 1e300])
WORDS = st.sampled_from(["mug", "Mug", "mugs", "", '"', "\\", "o'neil"])
VALUES = {
    "category": WORDS,
    "price": NUMBERS,
    "in_stock": st.booleans(),
    "tags": st.lists(WORDS, max_size=3).map(tuple),
}
FIELDS = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})
CONDITIONS = st.one_of(
    st.builds(AnyOf, st.sampled_from(["category", "tags"]), st.lists(WORDS, max_size=3).map(tuple)),
    st.builds(AnyOf, st.just("price"), st.lists(NUMBERS, max_size=3).map(tuple)),
    st.builds(AnyOf, st.just("in_stock"), st.lists(st.booleans(), max_size=2).map(tuple)),
    st.builds(Range, st.just("price"), st.none() | NUMBERS, st.none() | NUMBERS),
)
FILTERS = CONDITIONS | st.lists(CONDITIONS, min_size=1, max_size=3).map(lambda each: And(tuple(each)))


class FilterContract:
    @hypothesis
    @given(st.lists(FIELDS, min_size=1, max_size=6), st.lists(FILTERS, min_size=1, max_size=5))
    def test_exactly_what_passes_the_filter_is_found(self, store, collection, held, filters):
        self.finds_exactly_what_passes(store, collection, held, filters)

    def finds_exactly_what_passes(self, store, collection, held, filters):
        store.delete(collection, [key(number) for number in range(6)])
        store.upsert(collection, [entity(number, **fields) for number, fields in enumerate(held)])
        for each in filters:
            hits = store.search(collection, unit(1), limit=100, filters=each)
            assert set(numbers_of(hits)) == {n for n, fields in enumerate(held) if oracle(each, fields)}

    @hypothesis
    @given(st.lists(st.text(), min_size=2, max_size=8, unique=True))
    @example(HOSTILE)
    @example(
        ["x" * 2_048, "x" * 2_049, "x" * 2_050, "é" * 1_024, "é" * 1_025, "🦓" * 900 + "a", "🦓" * 900 + "b"]
    )
    def test_any_text_is_a_value_and_finds_its_own_entity_alone(self, store, collection, texts):
        ids = [key(number) for number in range(max(len(texts), 16))]
        store.delete(collection, ids)
        store.upsert(
            collection, [entity(n, category=text, tags=(text, "all")) for n, text in enumerate(texts)]
        )
        for number, text in enumerate(texts):
            for field in ("category", "tags"):
                hits = store.search(collection, unit(1), limit=100, filters=AnyOf(field, (text,)))
                assert numbers_of(hits) == [number]

    def test_half_a_surrogate_pair_is_a_value_like_any_other(self, store, collection):
        store.upsert(collection, [entity(1, category="\ud800"), entity(2, category="?")])
        hits = store.search(collection, unit(1), limit=9, filters=AnyOf("category", ("\ud800",)))
        assert numbers_of(hits) == [1]

    def test_a_narrow_filter_finds_its_one_entity_among_many(self, store, collection):
        vectors = np.random.default_rng(3).normal(size=(900, 8)).astype(np.float32)
        store.upsert(collection, [entity(n, vector, category=f"c{n}") for n, vector in enumerate(vectors)])
        for number in range(0, 900, 30):
            hits = store.search(
                collection, -vectors[number], limit=24, filters=AnyOf("category", (f"c{number}",))
            )
            assert numbers_of(hits) == [number]

    @pytest.mark.parametrize(
        "wrong",
        [
            AnyOf("colour", ("red",)),
            AnyOf("id", (key(1),)),
            AnyOf("price", ("1",)),
            AnyOf("price", (True,)),
            AnyOf("price", (math.nan,)),
            AnyOf("category", (1.0,)),
            AnyOf("in_stock", ("true",)),
            Range("category", 1.0, 2.0),
            Range("price", math.inf, None),
            And((AnyOf("category", ("mug",)), AnyOf("colour", ("red",)))),
        ],
        ids=str,
    )
    def test_a_filter_that_does_not_fit_the_schema_is_a_filter_error(self, store, collection, wrong):
        with pytest.raises(FilterError):
            store.search(collection, unit(1), limit=1, filters=wrong)
