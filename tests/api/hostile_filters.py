"""Filters as an attacker writes them, the products they are tried on, and an oracle of what each may find."""

import math
import random
from dataclasses import dataclass

from hypothesis import strategies as st

FIELDS = {"category": "string", "price": "number", "in_stock": "boolean", "tags": "strings"}
REFUSED = "refused"

QUOTES = ['"', "'", "\\", '\\"', "\\\\", '""', "`", "´", "\u201d", "\uff02"]
OPERATORS = [" or ", " and ", " not ", " in ", " like ", "==", "!=", "||", "&&", ">", "(", ")", "[", "]", ","]
CONSTANTS = [
    "1==1",
    "true",
    "null",
    "id",
    "f_category",
    "f_price",
    "$meta",
    "%",
    "_",
    "*",
    "0",
    "-1",
    "1e309",
]
PHRASES = [
    '" or 1==1 or "',
    "' or '1'='1",
    '"] or id != "',
    '") or f_price > -1e308 #',
    '", "',
    "/*",
    "--",
    ";",
]
TEMPLATES = ["{x}", "{", "}", "{0}", "%s", "${x}", "{{ x }}", "{% x %}"]
CONTROLS = ["\n", "\r", "\t", "\b", "\x1b", "\x7f", " ", "\u00a0", "\u2028", "\u202e", "\ufeff"]
LETTERS = ["mug", "MUG", "é", "e\u0301", "ﬁ", "İ", "ß", "٣", "🦓", "\U000e0041", "\ufffd", "\uffff"]
NO_TEXT = ["\0", "\ud800", "\udfff"]
FRAGMENTS = [*QUOTES, *OPERATORS, *CONSTANTS, *PHRASES, *TEMPLATES, *CONTROLS, *LETTERS]
PRICES = [-2.5, -0.01, 0.0, 0.1, 1.0, 9.99, 10.0, 19.99, 999_999.99]


@dataclass(frozen=True)
class Row:
    """A product's values; it has one of each, so that a server without missing values can hold it too."""

    category: str
    price: float
    in_stock: bool
    tags: tuple[str, ...]


def rows(fragments=FRAGMENTS):
    """Forty products, the same in every run: hostile names, and names that differ from those by one trick."""
    dice = random.Random("hostile filters")
    names = ["".join(dice.choices(fragments, k=dice.randint(1, 4))) for _ in range(8)]
    twins = [name.replace("\\", "\\\\").replace('"', '\\"') for name in names]
    names += [*twins, *(f"{name} " for name in names), *(name.upper() for name in names), *fragments[-8:]]
    return [
        Row(name, dice.choice(PRICES), dice.random() < 0.5, tuple(dice.sample(names, dice.randint(0, 3))))
        for name in names
    ]


def texts(held):
    """Hostile ones, those that are held, and those with something done to them."""
    known = st.sampled_from(sorted({row.category for row in held}))
    tricks = st.sampled_from(
        [
            lambda text: text + '"',
            lambda text: text.replace('"', '\\"'),
            lambda text: text[:-1] or "x",
            lambda text: f'{text}", "{text}',
            lambda text: f'{text}" or id != "',
            lambda text: text.swapcase(),
            lambda text: text * 2,
        ]
    )
    made = st.lists(st.sampled_from([*FRAGMENTS, *NO_TEXT]), min_size=1, max_size=5).map("".join)
    return st.one_of(
        known, known, st.builds(lambda text, trick: trick(text), known, tricks), made, st.text(min_size=1)
    )


NUMBERS = st.one_of(
    st.sampled_from(PRICES),
    st.sampled_from(PRICES).map(str),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(10**30), 10**30),
    st.sampled_from(
        [10**400, "1e400", "-1e400", "nan", "inf", "-Infinity", "0x10", "1,5", " 1 ", "٣", "1_0"]
    ),
    st.sampled_from(["5e-324", "1e308", "-0.0", "0 or 1==1", True, "9" * 400]),
)
FLAGS = st.sampled_from(
    [True, False, "true", "FALSE", "1", "0", "on", "off", "maybe", "true or true", 1, 0, 2]
)


def filters(held):
    """By key, the values that are asked for: what a client sends."""
    words = texts(held)
    blank = st.just("")
    by_key = {"category": words | blank, "tags": words | blank, "in_stock": FLAGS | blank}
    by_key |= dict.fromkeys(["price", "price__gte", "price__lte"], NUMBERS)
    legal = st.lists(st.sampled_from(sorted(by_key)), min_size=1, max_size=3, unique=True).flatmap(
        lambda keys: st.fixed_dictionaries(
            {key: st.lists(by_key[key], min_size=1, max_size=4) for key in keys}
        )
    )
    tails = st.sampled_from(["__gt", "__in", "__", "__gte", '" or "', " or 1==1", ") or (", "\0", "", "{x}"])
    keys = st.builds(
        "{}{}".format, st.sampled_from([*FIELDS, "f_category", "id", "vector", "$meta", ""]), tails
    )
    strange = st.dictionaries(
        keys.filter(bool) | st.text(min_size=1), st.lists(words, min_size=1, max_size=2)
    )
    mixed = st.builds(lambda one, other: {**one, **other}, legal, strange)
    return st.one_of(legal, legal, legal, mixed)


def expected(asked, held):
    """The numbers of the rows that these filters may find, or REFUSED; as docs/reference-rest.md says it."""
    found = set(range(len(held)))
    for key, given in asked.items():
        field, _, bound = (key, "", "") if key in FIELDS else key.rpartition("__")
        values = [each for each in given if each != ""]
        if (
            field not in FIELDS
            or (not bound and key != field)
            or (bound and (FIELDS[field] != "number" or bound not in ("gte", "lte")))
        ):
            return REFUSED
        if FIELDS[field] == "number":
            values = [_number(each) for each in values]
        elif FIELDS[field] == "boolean":
            values = [_flag(each) for each in values]
        if REFUSED in values or (bound and len(values) > 1):
            return REFUSED
        if not values:
            continue
        for number in list(found):
            held_value = getattr(held[number], field)
            if bound == "gte":
                passes = held_value >= values[-1]
            elif bound == "lte":
                passes = held_value <= values[-1]
            elif field == "tags":
                passes = any(tag in values for tag in held_value)
            else:
                passes = held_value in values
            if not passes:
                found.discard(number)
    return found


def _number(value):
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        return REFUSED
    return number if math.isfinite(number) else REFUSED


def _flag(value):
    named = {
        "true": True,
        "1": True,
        "yes": True,
        "on": True,
        "false": False,
        "0": False,
        "no": False,
        "off": False,
    }
    return named.get(str(value).lower(), REFUSED)
