"""One right answer against several wrong ones: worked cases, brute force, and what must not matter."""

from itertools import combinations, product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.exact import best_of_n
from rewardlab.scoring import (
    Standing,
    accuracy,
    accuracy_at_k,
    accuracy_with_ties,
    best_of_n_accuracy,
    pair_accuracy,
    reciprocal_rank,
    reward_math,
    share_of_the_top,
    standing,
)

RULES = {
    "accuracy": accuracy,
    "accuracy_with_ties": accuracy_with_ties,
    "reciprocal_rank": reciprocal_rank,
    "share_of_the_top": share_of_the_top,
    "accuracy_at_2": lambda place: accuracy_at_k(place, 2),
    "best_of_3": lambda place: best_of_n_accuracy(place, 3),
}
# few values, so that ties are common
scores = arrays(np.int64, (6, 5), elements=st.integers(0, 4))


def same(found, expected):
    """Every rule says the same of both."""
    for name, rule in RULES.items():
        np.testing.assert_allclose(np.asarray(rule(found)), np.asarray(rule(expected)), rtol=1e-12, err_msg=name)


def items(*rows):
    return standing(np.array(rows, dtype=float))


def test_counts():
    below, tied, above = items([2, 1, 2, 3, 2], [0, 0, 0, 0, 0], [9, 1, 2, 3, 4])
    assert (below.tolist(), tied.tolist(), above.tolist()) == ([1, 0, 4], [2, 4, 0], [1, 0, 0])


def test_best_of_four_worked_cases():
    place = items([2, 1, 0, 0], [2, 2, 1, 0], [1, 1, 1, 1], [1, 2, 0, 0])
    assert share_of_the_top(place).tolist() == [1, 0.5, 0.25, 0]


def test_ties_count_against_the_right_answer_in_rank_and_accuracy():
    place = items([3, 1, 1], [2, 2, 1], [1, 1, 1], [0, 1, 1])
    assert accuracy(place).tolist() == [1, 0, 0, 0]
    assert accuracy_with_ties(place).tolist() == [1, 1, 1, 0]
    assert reciprocal_rank(place).tolist() == [1, 1 / 2, 1 / 3, 1 / 3]


def test_a_random_scorer_without_ties():
    """Every rank of the right answer is as likely as any other, so the mean over the ranks is the expectation."""
    ranks = np.arange(10.0)
    place = standing(np.stack([np.concatenate([[r], np.delete(ranks, int(r))]) for r in ranks]))
    assert accuracy(place).mean() == pytest.approx(0.1)
    assert reciprocal_rank(place).mean() == pytest.approx(0.2929, abs=5e-5)
    for n in (1, 2, 7):
        assert best_of_n_accuracy(place, n).mean() == pytest.approx(0.1)
    for k in range(1, 10):
        assert accuracy_at_k(place, k).mean() == pytest.approx(1 / (k + 1))
    four = standing(np.stack([np.concatenate([[r], np.delete(np.arange(4.0), r)]) for r in range(4)]))
    assert share_of_the_top(four).mean() == 0.25


def test_a_constant_scorer():
    place = standing(np.zeros((3, 4)))
    assert share_of_the_top(place).tolist() == [0.25] * 3
    assert accuracy(place).tolist() == [0] * 3
    assert best_of_n_accuracy(place, 5).tolist() == pytest.approx([0.25] * 3)


@given(
    scores,
    arrays(np.float64, (6, 5), elements=st.floats(1e-3, 1e3)),
    arrays(np.float64, (6, 1), elements=st.floats(-1e3, 1e3)),
)
def test_increasing_maps_of_an_item_change_nothing(values, steps, start):
    mapped = np.take_along_axis(start + np.cumsum(steps, axis=1), values, axis=1)  # value v of item i -> table[i, v]
    same(standing(mapped), standing(values))


@given(scores, st.permutations(range(4)))
def test_the_order_of_the_wrong_answers_does_not_matter(values, order):
    shuffled = np.concatenate([values[:, :1], values[:, 1:][:, order]], axis=1)
    same(standing(shuffled), standing(values))


@given(scores, arrays(np.bool_, (6, 5)), st.sampled_from([np.nan, -1e9, 2.0, 1e9]))
def test_absent_candidates_are_as_if_they_were_not_there(values, present, filler):
    present[:, :3] = True  # the right answer and two wrong ones
    alone = [standing(row[there].astype(float)) for row, there in zip(values, present, strict=True)]
    expected = Standing(*(np.array(counts) for counts in zip(*alone, strict=True)))
    same(standing(np.where(present, values, filler), present), expected)


@given(scores, st.sampled_from([np.int64, np.float32]))
def test_torch_agrees_with_numpy(values, dtype):
    found = standing(torch.tensor(values.astype(dtype)))
    assert all(isinstance(counts, torch.Tensor) for counts in found)
    assert isinstance(best_of_n_accuracy(found, 3), torch.Tensor)
    same(found, standing(values))


@given(arrays(np.int64, (3, 2, 4), elements=st.integers(0, 3)))
def test_scorers_can_be_stacked_in_front(values):
    place = standing(values)
    for rule in (accuracy, reciprocal_rank, lambda place: best_of_n_accuracy(place, 4)):
        np.testing.assert_array_equal(rule(place)[1], rule(standing(values[1])))


@given(scores)
def test_inequalities(values):
    place = standing(values)
    assert (accuracy(place) <= share_of_the_top(place)).all()
    assert (share_of_the_top(place) <= accuracy_with_ties(place)).all()
    assert (accuracy(place) <= reciprocal_rank(place)).all()
    at_k = np.stack([accuracy_at_k(place, k) for k in range(1, 5)])
    assert (np.diff(at_k, axis=0) <= 0).all()
    np.testing.assert_array_equal(at_k[-1], accuracy(place))


@given(scores)
def test_at_1_it_is_pairwise_accuracy(values):
    pairs = pair_accuracy(np.repeat(values[:, 0], 4), values[:, 1:].reshape(-1))
    assert accuracy_at_k(standing(values), 1).mean() == pytest.approx(pairs.mean())


@given(scores, st.integers(1, 4))
def test_accuracy_at_k_is_the_share_of_all_subsets(values, k):
    expected = [np.mean([row[0] > max(wrong) for wrong in combinations(row[1:].tolist(), k)]) for row in values]
    np.testing.assert_allclose(accuracy_at_k(standing(values), k), expected, rtol=1e-12)


@given(arrays(np.int64, (3, 4), elements=st.integers(0, 3)), st.integers(1, 4))
def test_best_of_n_is_the_mean_over_all_draws(values, n):
    for row, found in zip(values, best_of_n_accuracy(standing(values), n), strict=True):
        picked = []
        for draw in product(range(4), repeat=n):
            best = [index for index in draw if row[index] == max(row[list(draw)])]
            picked.append(best.count(0) / len(best))
        assert found == pytest.approx(np.mean(picked))


@given(scores, st.integers(1, 300))
def test_best_of_n_is_the_policy_of_the_response_sets(values, n):
    policy = np.exp(best_of_n(np.full(values.shape, -np.log(5)), values.astype(float), n))
    np.testing.assert_allclose(best_of_n_accuracy(standing(values), n), policy[:, 0], rtol=1e-9, atol=1e-12)


@given(scores)
def test_best_of_n_goes_from_chance_to_the_share_of_the_top(values):
    place = standing(values)
    np.testing.assert_allclose(best_of_n_accuracy(place, 1), 0.2, rtol=1e-12)
    np.testing.assert_allclose(best_of_n_accuracy(place, 2000), share_of_the_top(place), atol=1e-12)


def test_thousands_of_wrong_answers():
    place = standing(np.concatenate([[[0.5]], np.linspace(0, 1, 5001)[None]], axis=1))  # 2500 below, 1 level
    assert accuracy_at_k(place, 2501)[0] == 0
    assert accuracy_at_k(place, 10)[0] == pytest.approx(2**-10, rel=2e-2)


def test_infinite_scores_are_compared():
    inf = np.inf
    assert accuracy(items([inf, 1, -inf], [inf, inf, 0], [-inf, 0, 1])).tolist() == [1, 0, 0]


@given(scores)
def test_the_three_numbers_of_reward_math(values):
    place, found = standing(values), reward_math(values)
    assert found.accuracy == pytest.approx(accuracy(place).mean())
    assert found.accuracy_with_ties == pytest.approx(accuracy_with_ties(place).mean())
    assert found.mean_reciprocal_rank == pytest.approx(reciprocal_rank(place).mean())


good = np.zeros((2, 3))


@pytest.mark.parametrize(
    ("case", "kind", "message"),
    [
        (lambda: standing([[1, 0]]), TypeError, "scores: expected a NumPy array or torch tensor, got list"),
        (lambda: standing(np.array([["a", "b"]])), TypeError, "scores has dtype <U1, expected real numbers"),
        (lambda: standing(np.array([[0, 1], [2, np.nan]])), ValueError, "scores[1, 1] is nan, expected a number"),
        (lambda: standing(np.zeros((2, 1))), ValueError, "scores has shape (2, 1), expected (*items, candidates)"),
        (lambda: standing(good, np.ones((2, 2), bool)), ValueError, "present has shape (2, 2), expected that of"),
        (lambda: standing(good, good), TypeError, "present has dtype float64, expected bool"),
        (lambda: standing(good, np.array([[1, 1, 1], [0, 1, 1]]) == 1), ValueError, "present[1] lacks the right"),
        (lambda: standing(good, np.array([[1, 1, 1], [1, 0, 0]]) == 1), ValueError, "present[1] lacks the right"),
        (lambda: accuracy_at_k(standing(good), 3), ValueError, "k is 3, but item 0 has only 2 wrong answers"),
        (lambda: accuracy_at_k(standing(good), 0), ValueError, "k is 0, expected a whole number in [1, inf)"),
        (lambda: best_of_n_accuracy(standing(good), 0), ValueError, "n is 0, expected a whole number in [1, inf)"),
        (lambda: best_of_n_accuracy(standing(good), 1.5), TypeError, "n is 1.5, expected a whole number"),
        (lambda: pair_accuracy(np.zeros(2), np.zeros(3)), ValueError, "rejected has shape (3,), expected that of"),
        (lambda: pair_accuracy(np.zeros(2), np.array([0, np.nan])), ValueError, "is nan, expected a number"),
        (lambda: reward_math(np.zeros((0, 10))), ValueError, "scores has no problem"),
    ],
)
def test_bad_input(case, kind, message, without_type_checks):
    with pytest.raises(kind) as raised:
        case()
    assert message in str(raised.value)


@pytest.mark.usefixtures("without_type_checks")
def test_arguments_of_the_wrong_kind_are_refused_with_what_to_pass():
    scores = np.array([[2.0, 1.0], [0.0, 1.0]])
    for rule in (best_of_n_accuracy, accuracy_at_k):
        with pytest.raises(TypeError, match=r"place: expected what standing\(scores\) gives, got ndarray"):
            rule(scores, 1)
    for rule in (accuracy, accuracy_with_ties, reciprocal_rank, share_of_the_top):
        with pytest.raises(TypeError, match=r"place: expected what standing\(scores\) gives, got ndarray"):
            rule(scores)
    with pytest.raises(TypeError, match="scores: expected a NumPy array or torch tensor, got list"):
        reward_math(scores.tolist())
    with pytest.raises(ValueError, match=r"scores has shape \(2,\), expected \(problems, candidates\)"):
        reward_math(scores[0])
    with pytest.raises(TypeError, match=r"got SimpleNamespace; pass its \.scores"):
        reward_math(SimpleNamespace(scores=scores))
