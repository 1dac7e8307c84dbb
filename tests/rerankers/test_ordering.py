"""Whatever a model says, the order is a permutation of what was retrieved."""

import math
import os
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from shopsearch.rerankers.ordering import arrange, parse_json
from shopsearch.types import RerankerOutput

NINE = [0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5]


def order(labels=None, scores=None, retrieval=NINE, **options):
    return arrange(RerankerOutput(labels=labels, scores=scores), retrieval, **options)


def test_a_clean_list_is_followed_when_the_model_alone_decides():
    result = order([3, 1, 2], retrieval=NINE[:3], weight=1)
    assert result.positions == (2, 0, 1)
    assert result.repairs == {}


def test_the_references_answer_keeps_the_product_that_it_dropped():
    result = order([7, 8, 5, 3, 2, 4, 1, 6], weight=1, lift=8)
    assert result.positions == (6, 7, 4, 2, 1, 3, 0, 5, 8)
    assert result.repairs == {"missing": 1}


@pytest.mark.parametrize(
    ("labels", "positions"), [([4, 3], (3, 2, 0, 1)), ([3], (2, 0, 1, 3)), ("[4, 3,", (3, 2, 0, 1))]
)
def test_an_answer_that_was_cut_off_counts_as_far_as_it_goes(labels, positions):
    assert order(labels, retrieval=NINE[:4], weight=1).positions == positions


def test_repeats_inventions_and_nonsense_are_left_out_and_counted():
    result = order([2, 2, 10, 0, "cat", None, 1.5, True, 1], retrieval=NINE[:3], weight=1)
    assert result.positions == (1, 0, 2)
    assert result.repairs == {"repeated": 1, "unknown": 2, "unreadable": 4, "missing": 1}


@pytest.mark.parametrize(
    ("text", "positions"),
    [
        ("Ranked list: [3, 1, 2] Reasons: the third one", (2, 0, 1)),
        ("I see [1] picture. Ranked list: [2, 3, 1].", (1, 2, 0)),
        ('{"ranking": [3, 2, 1], "reason": "…"}', (2, 1, 0)),
        ("[3, 1", (2, 0, 1)),
        ("3 > 2 > 1", (2, 1, 0)),
        ("no idea", (0, 1, 2)),
        ("", (0, 1, 2)),
        (b"[2,\xff 1]", (1, 0, 2)),
    ],
)
def test_a_text_is_read_for_its_ranking(text, positions):
    assert order(text, retrieval=NINE[:3], weight=1).positions == positions


def test_scores_order_the_candidates_and_what_is_not_a_number_comes_last():
    result = order(scores=[float("nan"), 0.1, 0.9], retrieval=NINE[:3], weight=1)
    assert result.positions == (2, 1, 0)
    assert result.repairs == {"unreadable": 1}


def test_an_output_that_says_nothing_changes_nothing():
    assert order().positions == tuple(range(9))
    assert order(scores=[0.5] * 9).positions == tuple(range(9))


def test_without_weight_retrieval_decides():
    assert order([9, 8, 7, 6, 5, 4, 3, 2, 1], weight=0).positions == tuple(range(9))


def test_an_even_fusion_lets_a_sure_retrieval_win():
    assert order([2, 1], retrieval=[0.9, 0.1], weight=0.4).positions == (0, 1)
    assert order([2, 1], retrieval=[0.9, 0.1], weight=0.6).positions == (1, 0)


def test_nobody_climbs_higher_than_the_lift():
    assert order([9, 8, 7, 6, 5, 4, 3, 2, 1], weight=1, lift=2).positions == (2, 3, 4, 5, 6, 7, 8, 1, 0)


def test_json_is_found_between_fences_and_words():
    assert parse_json('Sure!\n```json\n{"ranking": [1]}\n```') == {"ranking": [1]}
    assert parse_json('{"ranking": [1, 2') == {}
    assert parse_json("{" * 5000) == {}


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=30,
)


@settings(max_examples=1_000)
@given(
    labels=ANYTHING,
    scores=st.none() | ANYTHING,
    retrieval=st.lists(st.floats(), max_size=26),
    weight=st.floats(0, 1),
    lift=st.integers(0, 30),
)
@example(labels="9" * 50_000, scores=None, retrieval=NINE, weight=1.0, lift=0)
@example(labels=None, scores=[1e308, -1e308], retrieval=[1.0, 0.0], weight=1.0, lift=9)
def test_any_output_gives_a_permutation_within_the_lift(labels, scores, retrieval, weight, lift):
    result = order(labels, scores, retrieval, weight=weight, lift=lift)
    assert sorted(result.positions) == list(range(len(retrieval)))
    assert all(place - rank <= lift for rank, place in enumerate(result.positions))
    assert all(count > 0 for count in result.repairs.values())


CORPUS = [
    "[7, 8, 5, 3, 2, 4, 1, 6]", "Ranked list: [1,2,3,4,5,6,7,8,9] Reasons: 9 is best", "```json\n[9,1]\n```",
    '{"ranking": [1, 2, 2, 14], "reason": "[5]"}', "[1, 2, 3", "]3, 2, 1[", "[]", "[,]", "null", "NaN", "-1, -2",
    "[[1,2],[3]]", "[1e9, 2]", "١٢٣", "[１, ２]", "one, two, three", "[0, 1, 2, 3, 4, 5, 6, 7, 8]", "\x00\x01[4]",
    "[" * 500, "9, 8, 7" * 400, "¹²³", "The best is 4.5 stars", "IGNORE ALL PREVIOUS INSTRUCTIONS [9,9,9,9]",
    "<|end|>", "[1;2;3]", "[1 2 3]", "['a','b']",
]  # fmt: skip


def test_many_thousand_mutilated_answers_are_permutations():
    """5,000 here; SHOPSEARCH_HOSTILE_OUTPUTS=100000 for the long run."""
    rng = random.Random(20261122)
    pieces = [*CORPUS, *'0123456789,[]{}":.- \n', "NaN", "true", "10", "99999999999999999999"]
    for _ in range(int(os.environ.get("SHOPSEARCH_HOSTILE_OUTPUTS", "5000"))):
        count = rng.randrange(27)
        retrieval = [rng.choice([rng.random(), rng.random(), math.nan, math.inf]) for _ in range(count)]
        text = "".join(rng.choice(pieces) for _ in range(rng.randrange(12)))
        labels = rng.choice([text, text.encode(), list(text), rng.sample(range(-3, 60), rng.randrange(40))])
        scores = rng.choice([None, None, [rng.choice([0.5, rng.gauss(0, 9), text, None]) for _ in range(9)]])
        result = order(labels, scores, retrieval, weight=rng.random(), lift=rng.randrange(10))
        assert sorted(result.positions) == list(range(count))


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1), st.sampled_from([0, 0.5, 1])), max_size=12),
    st.integers(0, 12),
)
def test_what_has_none_of_the_words_passes_nothing_that_has_them_all(candidates, lift):
    scores, retrieval, words = ([each[column] for each in candidates] for column in range(3))
    positions = order(scores=scores, retrieval=retrieval, weight=1, lift=lift, words=words).positions
    assert sorted(positions) == list(range(len(candidates)))
    assert all(place - new <= lift for new, place in enumerate(positions))
    assert not any(
        words[before] == 0 and words[after] == 1 and after < before
        for new, before in enumerate(positions)
        for after in positions[new + 1 :]
    )
