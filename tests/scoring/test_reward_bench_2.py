"""RewardBench 2: the Ties score against its definition, and the mean of six domains."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.scoring import REWARD_BENCH_2_DOMAINS, TiesScore, reward_bench_2, share_of_the_top, standing, ties_score

REF = {0: ([2], [0.5, -1]), 1: ([1], [1.5]), 2: ([3], [0])}
TIED = {0: ([2, 1.8, 1.5], [0.2, 0]), 1: ([1, 0.9], [0.5]), 2: ([3, 0.5], [0.1])}


def arguments(ref, tied):
    """The score's arguments from {question: (right scores, wrong scores)}."""
    rows = [(f"ref:{q}", *scores) for q, scores in ref.items()] + [(f"tied:{q}", *scores) for q, scores in tied.items()]
    longest = max(len(right) + len(wrong) for _, right, wrong in rows)
    scores = np.array([[*right, *wrong] + [np.nan] * (longest - len(right) - len(wrong)) for _, right, wrong in rows])
    return [name for name, _, _ in rows], scores, np.array([len(right) for _, right, _ in rows]), ~np.isnan(scores)


def by_definition(ref, tied):
    """The definition, one question at a time, with NaN counted as 0."""
    parts = []
    for question in ref:
        (right_ref, wrong_ref), (right, wrong) = ref[question], tied[question]
        spread = np.float64(max(right) - min(right))
        gap_ref, gap = np.float64(min(right_ref) - max(wrong_ref)), np.float64(min(right) - max(wrong))
        with np.errstate(all="ignore"):
            margin = np.nan_to_num(np.tanh(min(gap_ref, gap) / spread - 1), nan=0.0)
        parts.append([gap > 0, gap_ref > 0, gap > spread, min(gap_ref, gap) > spread, margin])
    means = np.mean(parts, axis=0)
    return (*means, means @ [0.3, 0.3, 0.2, 0.2, 0.01])


small = st.integers(-3, 3).map(float)
tied_items = st.tuples(st.lists(small, min_size=2, max_size=3), st.lists(small, min_size=1, max_size=3))
ref_items = st.tuples(st.lists(small, min_size=1, max_size=1), st.lists(small, min_size=1, max_size=3))
questions = st.lists(st.tuples(ref_items, tied_items), min_size=1, max_size=5).map(
    lambda pairs: ({q: ref for q, (ref, _) in enumerate(pairs)}, {q: tied for q, (_, tied) in enumerate(pairs)})
)


def parts(score: TiesScore):
    return (score.accuracy_tied, score.accuracy_ref, score.preferred, score.hard, score.margin, score.score)


def test_worked_example():
    found = ties_score(*arguments(REF, TIED))
    assert parts(found) == pytest.approx((1, 2 / 3, 2 / 3, 1 / 3, -0.2547094, 0.6974529), abs=5e-8)


def test_perfect_without_spread():
    found = ties_score(*arguments({0: ([5], [0])}, {0: ([5, 5, 5], [0, 1])}))
    assert found.score == pytest.approx(1.01)


def test_all_equal_is_worth_nothing():
    assert ties_score(*arguments({0: ([1], [1])}, {0: ([1, 1], [1])})).score == 0


def test_wrong_without_spread_is_the_worst():
    assert ties_score(*arguments({0: ([0], [1])}, {0: ([0, 0], [1])})).score == pytest.approx(-0.01)


@pytest.mark.filterwarnings("error")  # 0 / 0 is no accident here
@given(questions)
def test_by_definition(asked):
    found = ties_score(*arguments(*asked))
    assert parts(found) == pytest.approx(by_definition(*asked), abs=1e-12)
    assert -0.01 - 1e-12 <= found.score <= 1.01 + 1e-12


@given(questions)
def test_torch_agrees_with_numpy(asked):
    names, *arrays_ = arguments(*asked)
    found = ties_score(names, *map(torch.tensor, arrays_))
    assert parts(found) == pytest.approx(parts(ties_score(names, *arrays_)), abs=1e-12)


@given(questions, st.lists(st.tuples(st.sampled_from([0.5, 1, 2, 4]), st.integers(-8, 8)), min_size=5, max_size=5))
def test_increasing_linear_maps_of_a_question_change_nothing(asked, maps):
    def mapped(items):
        return {
            q: tuple([maps[q][0] * value + maps[q][1] for value in values] for values in item)
            for q, item in items.items()
        }

    found = ties_score(*arguments(*map(mapped, asked)))
    assert parts(found) == pytest.approx(parts(ties_score(*arguments(*asked))), abs=1e-12)


def test_other_increasing_maps_do_change_it():
    def cubed(items):
        return {q: tuple([value**3 for value in values] for values in item) for q, item in items.items()}

    assert ties_score(*arguments(cubed(REF), cubed(TIED))).score != pytest.approx(0.6974529, abs=1e-3)


@given(questions)
def test_a_question_with_one_item_is_left_out(asked):
    ref, tied = asked
    more = ties_score(*arguments(ref | {"alone": ([9.0], [0.0])}, tied | {"other": ([0.0, 1.0], [9.0])}))
    assert parts(more) == pytest.approx(parts(ties_score(*arguments(ref, tied))), abs=1e-12)


def test_a_failed_rating_counts_as_it_is():
    assert ties_score(*arguments({0: ([5], [1])}, {0: ([5, -1], [1])})).accuracy_tied == 0


@pytest.mark.parametrize(
    ("ref", "tied", "message"),
    [
        ({0: ([1], [0])}, {1: ([1, 1], [0])}, "no question has both a reference item and a tied item"),
        ({0: ([1], [0])}, {0: ([1], [0])}, "item 'tied:0' has 1 right answers and a wrong one, expected at least 2"),
        ({0: ([1, 1], [])}, {0: ([1, 1], [0])}, "item 'ref:0' has 2 right answers and no wrong one"),
        ({0: ([np.inf], [0])}, {0: ([1, 1], [0])}, "expected finite numbers"),
    ],
)
def test_bad_items(ref, tied, message):
    with pytest.raises(ValueError, match=message):
        ties_score(*arguments(ref, tied))


@pytest.mark.parametrize(
    ("ids", "message"),
    [
        (["ref:0", "ties:0"], r"ids\[1\] is 'ties:0', expected 'ref:<question>' or 'tied:<question>'"),
        (["ref:0", "tied"], r"ids\[1\] is 'tied', expected"),
        (["ref:0", "ref:0"], r"ids\[1\] is 'ref:0', which row 0 is already"),
        (["ref:0"], "ids has 1 entries for 2 rows of scores"),
    ],
)
def test_bad_ids(ids, message):
    with pytest.raises(ValueError, match=message):
        ties_score(ids, np.array([[1.0, 0.0, 0.0]] * 2), np.array([1, 2]))


@given(arrays(np.float64, 5, elements=st.floats(0, 1)))
def test_the_overall_score_weighs_domains_alike(means):
    ties = TiesScore(0, 0, 0, 0, 0, score=0.5)
    items = {domain: np.array([mean, mean]) for domain, mean in zip(REWARD_BENCH_2_DOMAINS, means, strict=False)}
    found = reward_bench_2(items, ties)
    assert found["overall"] == pytest.approx((means.sum() + 0.5) / 6)
    assert list(found) == [*REWARD_BENCH_2_DOMAINS, "overall"]


def test_a_constant_scorer_gets_a_quarter_everywhere_but_in_ties():
    items = {domain: share_of_the_top(standing(np.zeros((3, 4)))) for domain in REWARD_BENCH_2_DOMAINS[:-1]}
    constant = ties_score(*arguments({0: ([1], [1])}, {0: ([1, 1], [1])}))
    assert reward_bench_2(items, constant)["overall"] == pytest.approx(0.25 * 5 / 6)


def test_a_missing_domain_is_named():
    with pytest.raises(ValueError, match=r"item_scores has \['Math'\], expected \['Factuality', 'Focus', 'Math',"):
        reward_bench_2({"Math": np.ones(1)}, TiesScore(0, 0, 0, 0, 0, 0))
    items = {domain: np.ones(int(domain != "Math")) for domain in REWARD_BENCH_2_DOMAINS[:-1]}
    with pytest.raises(ValueError, match=r"item_scores\['Math'\] is empty"):
        reward_bench_2(items, TiesScore(0, 0, 0, 0, 0, 0))
