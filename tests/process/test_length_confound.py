"""How much of a ranking is length: worked numbers, loops over pairs, and rules that know only one thing."""

import math
import re
import warnings
from dataclasses import asdict

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from rewardlab.process.length_confound import LengthConfound, length_confound, pairs_by_length


@st.composite
def pools(draw, least=2):
    """Scores, lengths, labels and mask of a few problems with a few candidates, ties and gaps included."""
    shape = (draw(st.integers(1, 4)), draw(st.integers(least, 6)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    present = rng.random(shape) < draw(st.sampled_from((0.5, 0.8, 1.0)))
    present[:, 0] = True
    scores = np.where(rng.random(shape) < 0.5, rng.integers(0, 3, shape), rng.normal(size=shape))
    return scores, rng.integers(1, 5, shape), rng.random(shape) < 0.4, present


def by_hand(scores, lengths, labels, present, tolerance=0.0):
    """The report from loops over candidates and pairs."""

    def wins(values):
        found = []
        for value, label, there in zip(values, labels, present, strict=True):
            best = [bool(right) for right, v in zip(label[there], value[there], strict=True) if v == max(value[there])]
            found.append(sum(best) / len(best))
        return sum(found) / len(found)

    def correlation(where):
        found = []
        for score, length, there in zip(scores, lengths, where, strict=True):
            if len(set(score[there])) > 1 and len(set(length[there])) > 1:
                found.append(stats.spearmanr(score[there], length[there]).statistic)
        return sum(found) / len(found) if found else math.nan

    won, count = [0.0, 0.0, 0.0], [0, 0, 0]
    for score, length, label, there in zip(scores, lengths, labels, present, strict=True):
        for i in np.flatnonzero(label & there):
            for j in np.flatnonzero(~label & there):
                gap = length[i] - length[j]
                place = 1 if abs(gap) <= tolerance else 0 if gap < 0 else 2
                won[place] += 1.0 if score[i] > score[j] else 0.5 if score[i] == score[j] else 0.0
                count[place] += 1
    share = [w / n if n else math.nan for w, n in zip(won, count, strict=True)]
    return LengthConfound(
        wins(scores),
        wins(-lengths),
        wins(lengths),
        sum(label[there].mean() for label, there in zip(labels, present, strict=True)) / len(labels),
        correlation(present),
        correlation(present & ~labels),
        sum(won) / sum(count) if sum(count) else math.nan,
        *share,
        (share[0] + share[2]) / 2,
        tuple(count),
    )


def values(report):
    return [getattr(report, name) for name in LengthConfound.__slots__ if name != "pairs"]


def test_worked_example():
    # first problem: the right one is shortest and best; second: it is longest, and ties with a wrong one
    scores = np.array([[3.0, 2.0, 1.0], [2.0, 2.0, 1.0]])
    lengths = np.array([[2, 4, 4], [5, 3, 5]])
    report = length_confound(scores, lengths, np.array([[1, 0, 0], [1, 0, 0]]))
    assert asdict(report) == {
        "accuracy": 0.75,  # 1 and one half
        "fewest_steps": 0.5,
        "most_steps": 0.25,  # 0 and one half
        "chance": pytest.approx(1 / 3),
        "correlation": pytest.approx((-math.sqrt(3) / 2 + -0.5) / 2),
        "among_wrong": pytest.approx(-1.0),  # of the second problem: the first one's wrong ones are alike in length
        "pair_accuracy": (2 + 0.5 + 1) / 4,
        "shorter": 1.0,
        "alike": 1.0,
        "longer": 0.5,
        "balanced": 0.75,
        "pairs": (2, 1, 1),
    }


@given(pools(), st.sampled_from((0.0, 1.0, 1.5)))
def test_agrees_with_loops_over_pairs(pool, tolerance):
    found, expected = length_confound(*pool, tolerance=tolerance), by_hand(*pool, tolerance)
    np.testing.assert_allclose(values(found), values(expected), rtol=1e-9, atol=1e-12)
    assert found.pairs == expected.pairs


@given(pools())
def test_shortest_wins_is_a_rule_that_knows_length_alone(pool):
    _, lengths, labels, present = pool
    report = length_confound(-lengths, lengths, labels, present)
    assert report.accuracy == report.fewest_steps
    for value, expected in ((report.correlation, -1), (report.among_wrong, -1), (report.shorter, 1)):
        assert math.isnan(value) or value == pytest.approx(expected)
    for value, expected in ((report.alike, 0.5), (report.longer, 0), (report.balanced, 0.5)):
        assert math.isnan(value) or value == expected


@given(pools())
def test_a_perfect_rule_has_nothing_to_do_with_length(pool):
    _, lengths, labels, present = pool
    report = length_confound(1 * labels, lengths, labels, present)
    assert report.accuracy == np.mean((labels & present).any(axis=-1))
    assert math.isnan(report.among_wrong)  # all wrong ones score the same
    for value in (report.shorter, report.alike, report.longer, report.balanced, report.pair_accuracy):
        assert math.isnan(value) or value == 1


@given(pools(), st.floats(0.1, 10), st.floats(-5, 5))
def test_only_the_order_within_a_problem_counts(pool, factor, shift):
    scores, *rest = pool
    moved = np.round(scores * 8) / 8  # far enough apart that rounding makes no ties
    shifts = shift * np.arange(len(scores))[:, None]
    one, other = length_confound(moved, *rest), length_confound(np.exp(factor * moved / 10) + shifts, *rest)
    np.testing.assert_allclose(values(one), values(other), rtol=1e-9, atol=1e-12)


@given(pools(), st.randoms(use_true_random=False))
def test_the_order_of_the_candidates_does_not_count(pool, random):
    order = random.sample(range(pool[0].shape[1]), pool[0].shape[1])
    one, other = length_confound(*pool), length_confound(*(part[:, order] for part in pool))
    np.testing.assert_allclose(values(one), values(other), rtol=1e-9, atol=1e-12)


@given(pools())
def test_longer_and_shorter_change_places_with_the_sign_of_length(pool):
    scores, lengths, labels, present = pool
    one, other = length_confound(*pool), length_confound(scores, lengths.max() - lengths, labels, present)
    assert (one.pairs[0], one.pairs[1], one.pairs[2]) == (other.pairs[2], other.pairs[1], other.pairs[0])
    np.testing.assert_equal((one.shorter, one.fewest_steps), (other.longer, other.most_steps))
    np.testing.assert_allclose(one.correlation, -other.correlation, atol=1e-12)


@given(pools())
def test_nothing_depends_on_what_stands_where_no_candidate_is(pool):
    scores, lengths, labels, present = pool
    odd = [np.where(present, part, value) for part, value in ((scores, np.nan), (lengths, -np.inf), (labels, 7))]
    np.testing.assert_equal(values(length_confound(*pool)), values(length_confound(*odd, present)))


@given(pools())
def test_counts_of_the_problems_add_up_to_the_report(pool):
    report, (won, pairs) = length_confound(*pool), pairs_by_length(*pool)
    assert pairs.sum(axis=0).tolist() == list(report.pairs)
    for place, value in enumerate((report.shorter, report.alike, report.longer)):
        assert math.isnan(value) or value == pytest.approx(won[:, place].sum() / pairs[:, place].sum())
    labels, present = pool[2:]
    assert (pairs.sum(axis=-1) == (labels & present).sum(-1) * (~labels & present).sum(-1)).all()


def test_infinite_scores_are_the_highest_and_lowest():
    scores = np.array([[np.inf, np.inf, 0.0, -np.inf]])
    report = length_confound(scores, np.array([[1, 2, 3, 4]]), np.array([[1, 0, 0, 0]]))
    finite = length_confound(np.array([[9.0, 9, 0, -9]]), np.array([[1, 2, 3, 4]]), np.array([[1, 0, 0, 0]]))
    np.testing.assert_equal(asdict(report), asdict(finite))
    assert report.accuracy == 0.5


def test_torch_and_whole_numbers():
    rng = np.random.default_rng(0)
    scores, lengths, labels = rng.normal(size=(5, 4)), rng.integers(1, 9, (5, 4)), rng.random((5, 4)) < 0.5
    expected = length_confound(scores, lengths, labels)
    assert length_confound(torch.tensor(scores), torch.tensor(lengths), torch.tensor(labels)) == expected
    assert length_confound(scores, lengths.astype(np.uint8), labels.astype(np.float32)) == expected
    coarse = torch.tensor([[1.0, 1.001]]).bfloat16()  # one number in bfloat16
    assert length_confound(coarse, torch.tensor([[1, 2]]), torch.tensor([[1, 0]])).accuracy == 0.5


def test_what_cannot_be_computed_is_nan_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pairs = length_confound(np.array([[1.0, 0.0]]), np.array([[2, 2]]), np.array([[1, 0]]))
        alone = length_confound(np.array([[1.0]]), np.array([[2]]), np.array([[1]]))
    assert (pairs.alike, pairs.accuracy) == (1, 1)
    assert all(math.isnan(value) for value in (pairs.correlation, pairs.among_wrong, pairs.shorter, pairs.balanced))
    assert (alone.accuracy, alone.chance) == (1, 1)
    assert math.isnan(alone.pair_accuracy)


one = np.ones((2, 2))


@pytest.mark.parametrize(
    ("case", "error", "message"),
    [
        (lambda f: f(one.tolist(), one, one), TypeError, "scores: expected a NumPy array or torch tensor, got list"),
        (lambda f: f(one, one, np.array([["a"]])), TypeError, "labels has dtype <U1, expected real numbers"),
        (lambda f: f(one[0], one, one), ValueError, "scores has shape (2,), expected (problems, candidates)"),
        (lambda f: f(one[:0], one[:0], one[:0]), ValueError, "scores has shape (0, 2), expected (problems, candidat"),
        (lambda f: f(one, one[:1], one), ValueError, "lengths has shape (1, 2), expected that of scores (2, 2)"),
        (lambda f: f(one, one, one[:, :1]), ValueError, "labels has shape (2, 1), expected that of scores (2, 2)"),
        (lambda f: f(one, one, one, one[:1] > 0), ValueError, "present has shape (1, 2), expected that of scores"),
        (lambda f: f(one, one, one, one), TypeError, "present has dtype float64, expected bool"),
        (lambda f: f(one, one, one, np.diag([0, 0]) > 0), ValueError, "present[0] holds no candidate, expected at l"),
        (lambda f: f(np.diag([1, np.nan]), one, one), ValueError, "scores[1, 1] is nan, expected a number"),
        (lambda f: f(one, -one, one), ValueError, "lengths[0, 0] is -1.0, expected a length of at least 0"),
        (lambda f: f(one, one * np.inf, one), ValueError, "lengths[0, 0] is inf, expected a length of at least 0"),
        (lambda f: f(one, one, one / 2), ValueError, "labels[0, 0] is 0.5, expected 0 or 1 (right)"),
        (lambda f: f(one, one, one * np.nan), ValueError, "labels[0, 0] is nan, expected 0 or 1 (right)"),
        (lambda f: f(one, one, one, tolerance=-1.0), ValueError, "tolerance is -1.0, expected a number in [0, inf)"),
    ],
)
@pytest.mark.parametrize("function", [length_confound, pairs_by_length])
def test_bad_input(function, case, error, message, without_type_checks):
    with pytest.raises(error, match=re.escape(message)):
        case(function)


def worked():
    lengths, labels = np.array([[2, 5, 5], [3, 9, 4]]), np.array([[True, False, False], [False, True, False]])
    return length_confound(0.9**lengths, lengths, labels)


def test_a_report_reads_in_a_terminal_and_a_notebook():
    report = worked()
    told = str(report)
    assert told == repr(report) == report.summary()
    for line in (
        "highest score is right           0.500",
        "  fewest steps win instead       0.500",
        "  most steps win instead         0.500",
        "score and length, wrong ones    -1.000",
        "  right one shorter              1.000  (2 pairs)",
        "  of like length                   nan  (no pairs)",
        "  right one longer               0.000  (2 pairs)",
    ):
        assert line in told, (line, told)
    assert max(map(len, told.split("\n"))) <= 100
    assert report._repr_html_().startswith("<pre>") and "0.500" in report._repr_html_()


def test_a_report_is_a_table():
    report = worked()
    table = report.table()
    assert list(table.columns) == ["value", "pairs"]
    assert table.index.tolist() == [name for name in asdict(report) if name != "pairs"]
    for name, value in asdict(report).items():
        if name != "pairs":
            assert table.value[name] == value or math.isnan(value)
    assert table.pairs[["shorter", "alike", "longer"]].tolist() == [2, 0, 2] and table.pairs["pair_accuracy"] == 4


def test_among_wrong_needs_two_wrong_candidates_that_differ():
    """Pairs of one right and one wrong candidate have none, and so have wrong ones alike in score or in length."""
    pairs = length_confound(np.array([[0.9, 0.1]]), np.array([[2, 5]]), np.array([[True, False]]))
    assert math.isnan(pairs.among_wrong) and not math.isnan(pairs.correlation)
    wrong = np.array([[True, False, False]])
    assert math.isnan(length_confound(np.array([[0.9, 0.1, 0.1]]), np.array([[2, 5, 6]]), wrong).among_wrong)
    assert math.isnan(length_confound(np.array([[0.9, 0.1, 0.2]]), np.array([[2, 5, 5]]), wrong).among_wrong)
    assert length_confound(np.array([[0.9, 0.2, 0.1]]), np.array([[2, 5, 6]]), wrong).among_wrong == -1
    assert "nan: no problem has two wrong candidates" in str(pairs) and "(1 pair)" in str(pairs)
