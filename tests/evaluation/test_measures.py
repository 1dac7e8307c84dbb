"""The five measures, counted as trec_eval counts them, and how far their means can be trusted."""

import math

import numpy as np
import pytest

from shopsearch.evaluation import JudgedQuery
from shopsearch.evaluation.intervals import differences, figures
from shopsearch.evaluation.measures import DEPTH, MEASURES, measured, named, run_lines, scores_of

pytrec_eval = pytest.importorskip("pytrec_eval", reason="ir-measures is not installed")

THEIRS = ("success_1", "success_5", "success_10", "recip_rank", "ndcg_cut_9")
"""What trec_eval calls MEASURES."""


def judged(query_id="q", **relevant):
    return JudgedQuery(id=query_id, text="mug", relevant={name.strip("_"): g for name, g in relevant.items()})


def by_trec_eval(qrels, run):
    """trec_eval's own C code, per query."""
    asked = {"success.1,5,10", "recip_rank", "ndcg_cut.9"}
    found = pytrec_eval.RelevanceEvaluator(qrels, asked).evaluate(run)
    return {query_id: [values[name] for name in THEIRS] for query_id, values in found.items()}


def test_by_hand():
    query = judged(a=2, b=1, c=1, d=0)
    [values] = measured([(query, ["x", "b", "d", "a"])])
    gained = 1 / math.log2(3) + 2 / math.log2(5)
    best = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert values == pytest.approx((0, 1, 1, 1 / 2, gained / best))


@pytest.mark.parametrize(
    ("rank", "expected"), [(1, (1, 1, 1)), (5, (0, 1, 1)), (10, (0, 0, 1)), (11, (0, 0, 0))]
)
def test_recall_is_whether_one_of_the_first_is_right(rank, expected):
    order = [f"x{place}" for place in range(20)]
    order[rank - 1] = "a"
    [values] = measured([(judged(a=1, b=1, c=1), order)])
    assert values[:3] == expected
    assert values[3] == pytest.approx(1 / rank)


def test_a_query_that_nothing_was_found_for_is_0_and_the_others_are_measured():
    found = measured([(judged("p", a=1), []), (judged("q", a=1), ["a"]), (judged("r", a=1), ["x"])])
    assert found == [(0, 0, 0, 0, 0), (1, 1, 1, 1, 1), (0, 0, 0, 0, 0)]


def test_the_values_are_trec_evals_on_the_same_run_file_to_a_millionth(tmp_path):
    dice = np.random.default_rng(3)
    orders = []
    for number in range(200):
        products = [str(each) for each in dice.permutation(150)]
        relevant = {each: int(dice.integers(0, 4)) for each in dice.choice(products, 12, replace=False)}
        found = products[: int(dice.integers(1, DEPTH + 1))]
        orders.append((JudgedQuery(id=f"q{number}", text="mug", relevant=relevant), found))
    file = tmp_path / "run.txt"
    file.write_text("".join(run_lines(query, found, "shopsearch") for query, found in orders))

    with file.open() as lines:
        run = pytrec_eval.parse_run(lines)
    theirs = by_trec_eval({query.id: dict(query.relevant) for query, _ in orders}, run)

    for (query, _), values in zip(orders, measured(orders), strict=True):
        assert values == pytest.approx(theirs[query.id], abs=1e-6)


def test_the_scores_of_a_run_file_fall_with_the_rank_as_single_floats_too():
    scores = np.array(list(scores_of([str(place) for place in range(1_000)]).values()), np.float32)
    assert (np.diff(scores) < 0).all()
    lines = run_lines(judged(), [str(place) for place in range(1_000)], "name").splitlines()
    written = np.array([float(line.split()[4]) for line in lines], np.float32)
    assert (np.diff(written) < 0).all()
    assert lines[0] == "q Q0 0 1 1.00000000 name"


def test_a_product_id_with_a_space_cannot_stand_in_a_run_file():
    with pytest.raises(ValueError, match="has spaces"):
        run_lines(judged(), ["a b"], "name")


@pytest.mark.parametrize("name", ["ndcg@9", " nDCG@9", "NDCG@9 "])
def test_a_measure_is_known_in_any_case(name):
    assert named(name) == "nDCG@9"


def test_an_unknown_measure_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match="R@1, R@5, R@10, MRR, nDCG@9"):
        named("ndcg@10")


# How far a mean can be trusted


def test_an_interval_holds_its_mean_and_is_the_same_each_time():
    values = np.random.default_rng(1).random((300, len(MEASURES)))
    told = figures(values)
    assert told == figures(values)
    for place, figure in enumerate(told):
        assert figure.mean == pytest.approx(values[:, place].mean())
        assert figure.low < figure.mean < figure.high
        # The textbook's interval of a mean.
        half = 1.96 * values[:, place].std() / math.sqrt(300)
        assert figure.high - figure.low == pytest.approx(2 * half, rel=0.1)


def test_what_never_varies_has_no_width():
    [figure] = figures(np.ones((50, 1)))
    assert (figure.low, figure.mean, figure.high) == (1, 1, 1)


def test_intervals_hold_the_truth_about_95_times_in_100():
    dice = np.random.default_rng(11)
    drawn = (dice.random((100, 200)) < 0.7).astype(float)  # 100 samples of 200 queries
    held = sum(figure.low <= 0.7 <= figure.high for figure in figures(drawn.T))
    assert held >= 88


def test_the_paired_test_finds_a_small_gain_in_most_queries_and_none_in_noise():
    dice = np.random.default_rng(2)
    before = dice.random((200, 1))
    [gained] = differences(before + 0.01 + 0.02 * dice.standard_normal((200, 1)), before)
    assert gained.mean == pytest.approx(0.01, abs=0.005)
    assert gained.p_value < 0.001
    [noise] = differences(before + 0.02 * dice.permutation(np.repeat([-1, 1], 100))[:, None], before)
    assert noise.p_value > 0.9


def test_the_p_value_is_the_exact_one_where_it_can_be_counted():
    # Five queries better by as much, none worse: of 32 ways to flip them, 2 are as extreme.
    [told] = differences(np.full((5, 1), 0.5), np.zeros((5, 1)))
    assert told.p_value == pytest.approx(2 / 32, abs=0.01)
    [same] = differences(np.full((5, 1), 0.5), np.full((5, 1), 0.5))
    assert same.p_value == 1
