from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shopsearch.exceptions import FilterError
from shopsearch.filters import MAX_CHARACTERS, MAX_CONDITIONS, MAX_VALUES, And, AnyOf, Range, parse

DECLARED = {
    "category": "string",
    "price": "number",
    "in_stock": "boolean",
    "tags": "strings",
    "a__b": "string",
}

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.decimals()
    | st.text()
    | st.binary()
    | st.sampled_from(["true", "no", "1e400", "-inf", "nan", "1_0", "\ud800", '") or 1==1 #'])
)
VALUES = SCALARS | st.lists(SCALARS) | st.tuples(SCALARS) | st.dictionaries(st.text(), SCALARS)
KEYS = st.text() | st.builds(
    "{}{}".format, st.sampled_from([*DECLARED, ""]), st.sampled_from(["", "__gte", "__lte", "__", "__in"])
)


@given(st.dictionaries(KEYS, VALUES))
@example({"category": 10**5000})
@example({"price": 10**5000})
@example({"price__gte": [[]]})
def test_whatever_is_asked_is_a_filter_or_none_or_a_filter_error(conditions):
    try:
        found = parse(conditions, DECLARED)
    except FilterError:
        return
    for condition in found.filters if isinstance(found, And) else [found]:
        if condition is not None:
            assert condition.field in DECLARED
            wanted = {"string": str, "strings": str, "number": float, "boolean": bool}[
                DECLARED[condition.field]
            ]
            values = (
                condition.values
                if isinstance(condition, AnyOf)
                else [each for each in (condition.minimum, condition.maximum) if each is not None]
            )
            assert values
            assert all(type(value) is wanted for value in values)


@given(st.text(min_size=1))
def test_a_text_value_is_kept_to_the_letter(value):
    assert parse({"category": value}, DECLARED) == AnyOf("category", (value,))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_means_the_same_as_a_value_and_as_text(value):
    assert (
        parse({"price": value}, DECLARED)
        == parse({"price": str(value)}, DECLARED)
        == AnyOf("price", (value,))
    )


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({}, None),
        ({"category": "", "price__gte": None, "tags": []}, None),
        ({"category": "mug"}, AnyOf("category", ("mug",))),
        ({"category": ["mug", "", "plate"]}, AnyOf("category", ("mug", "plate"))),
        ({"price__gte": 5, "price__lte": "20"}, Range("price", 5.0, 20.0)),
        ({"price__lte": Decimal("9.99")}, Range("price", None, 9.99)),
        ({"in_stock": "on"}, AnyOf("in_stock", (True,))),
        ({"in_stock": False}, AnyOf("in_stock", (False,))),
        ({"tags": ("new", "sale")}, AnyOf("tags", ("new", "sale"))),
        ({"a__b": "x"}, AnyOf("a__b", ("x",))),
        (
            {"category": "mug", "price": 3, "price__gte": 1},
            And((AnyOf("category", ("mug",)), AnyOf("price", (3.0,)), Range("price", 1.0, None))),
        ),
    ],
)
def test_conditions_mean_this_filter(conditions, expected):
    assert parse(conditions, DECLARED) == expected


@pytest.mark.parametrize(
    ("conditions", "sentence"),
    [
        ({"colour": "red"}, "There is no filter 'colour'. The filters of this shop: a__b, category,"),
        ({"colour__gte": 1}, "There is no filter 'colour__gte'."),
        ({"category": "mug", "category__": "plate"}, "There is no filter 'category__'."),
        ({"price": "cheap"}, "The filter 'price' takes a number, not 'cheap'."),
        ({"price__gte": "nan"}, "The filter 'price' takes a number, not 'nan'."),
        ({"price__gte": [1, 2]}, "The filter 'price__gte' takes one number, not 2."),
        ({"price": True}, "The filter 'price' takes a number, not 'True'."),
        ({"in_stock": "maybe"}, "The filter 'in_stock' takes true or false, not 'maybe'."),
        ({"category__gte": "a"}, "__gte and __lte bound numbers, and 'category' is string."),
        ({"price__in": 5}, "'price__in' is not a filter"),
        ({"category": ["x"] * (MAX_VALUES + 1)}, "takes up to 1,000 values, not 1,001."),
        (
            {"category": "x" * (MAX_CHARACTERS + 1)},
            "up to 100,000 characters together; ask for fewer values.",
        ),
        ({"a__b": "x" * MAX_CHARACTERS, "tags": ["", "x"]}, "up to 100,000 characters together"),
        ({f"x{n}": 1 for n in range(MAX_CONDITIONS + 1)}, "A search takes up to 100 filters, not 101."),
    ],
)
def test_a_wrong_condition_is_answered_with_what_would_be_right(conditions, sentence):
    with pytest.raises(FilterError) as caught:
        parse(conditions, DECLARED)
    assert sentence in str(caught.value)


@given(st.text(min_size=1_000))
def test_an_error_does_not_repeat_an_endless_value(value):
    with pytest.raises(FilterError) as caught:
        parse({"price": "x" + value}, DECLARED)
    assert len(str(caught.value)) < 1_000
