"""Win rate and best-of-n on finite response sets, against enumeration of all draws and the double sum over pairs."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax

from rewardlab.exact import best_of_n, best_of_n_kl, best_of_n_kl_bound, kl_divergence, tilt, win_rate
from tests.strategies import seeds

UNIFORM = np.log(np.full(4, 0.25))


@st.composite
def ranked_sets(draw, most=5):
    """Base log-probabilities `(responses,)`, some of them -inf, and scores with ties."""
    rng = np.random.default_rng(draw(seeds))
    size = draw(st.integers(1, most))
    base = draw(st.sampled_from([0.0, 1.0, 4.0])) * rng.normal(size=size)
    if draw(st.booleans()):
        base = np.where((rng.random(size) < 0.3) & (np.arange(size) > 0), -np.inf, base)
    scores = rng.normal(size=size) if draw(st.booleans()) else rng.integers(0, 3, size).astype(float)
    return log_softmax(base), scores


def enumerated(base, scores, n):
    """Best-of-n by going through all draws: the winner's probability is shared alike among the samples that tie."""
    probs, found = np.exp(base), np.zeros(len(base))
    for draw in itertools.product(range(len(base)), repeat=n):
        best = [response for response in draw if scores[response] == max(scores[response] for response in draw)]
        for response in best:
            found[response] += probs[list(draw)].prod() / len(best)
    return found


@given(ranked_sets(), st.integers(1, 4))
def test_best_of_n_is_the_enumeration_of_all_draws(case, n):
    base, scores = case
    found = best_of_n(base, scores, n)
    np.testing.assert_allclose(np.exp(found), enumerated(base, scores, n), rtol=1e-10, atol=1e-15)
    np.testing.assert_allclose(np.exp(found).sum(), 1, atol=1e-12)
    assert np.isneginf(found[np.isneginf(base)]).all()


@pytest.mark.parametrize(
    ("n", "policy"),
    [(2, (0.0625, 0.1875, 0.3125, 0.4375)), (4, (0.003906, 0.058594, 0.253906, 0.683594)), (1, (0.25,) * 4)],
)
def test_worked_policies(n, policy):
    np.testing.assert_allclose(np.exp(best_of_n(UNIFORM, np.arange(4.0), n)), policy, atol=6e-7)


def test_worked_kls():
    assert float(best_of_n_kl(UNIFORM, np.arange(4.0), 2)) == pytest.approx(0.173980, abs=6e-7)
    assert float(best_of_n_kl(UNIFORM, np.arange(4.0), 16)) == pytest.approx(1.330075, abs=6e-7)
    assert float(best_of_n_kl(UNIFORM, np.arange(4.0), 10**6)) == pytest.approx(np.log(4), abs=1e-12)
    ties = np.array([0.0, 0.0, 1.0, 1.0])
    exact = np.log(1 / 8) / 16 + 15 / 16 * np.log(15 / 8)  # 0.4593555
    assert float(best_of_n_kl(UNIFORM, ties, 4)) == pytest.approx(exact, abs=1e-14)


@pytest.mark.parametrize(
    ("n", "bound"),
    [
        (1, 0.0),
        (2, 0.193147),
        (4, 0.636294),
        (16, 1.835089),
        (64, 3.174508),
        (1000, 5.908755),
        (12_500, 8.433564),
        (60_000, 10.002117),
    ],
)
def test_worked_bounds_and_their_limit_without_ties(n, bound):
    assert best_of_n_kl_bound(n) == pytest.approx(bound, abs=6e-7)
    many = np.full(1_000_000, -np.log(1e6))
    kl = float(best_of_n_kl(many, np.arange(1e6), n))
    assert kl <= best_of_n_kl_bound(n) + 1e-12
    assert kl == pytest.approx(best_of_n_kl_bound(n), abs=1e-3 * n / 1000)


@given(ranked_sets(most=12), st.sampled_from([1, 2, 3, 10, 100, 12_500, 60_000, 10**9]))
def test_the_bound_is_a_bound_and_so_is_the_best_score(case, n):
    base, scores = case
    found, kl = best_of_n(base, scores, n), float(best_of_n_kl(base, scores, n))
    np.testing.assert_allclose(np.exp(found).sum(), 1, atol=1e-9)
    assert kl <= best_of_n_kl_bound(n) + 1e-9
    top = scores == scores[~np.isneginf(base)].max()
    assert kl <= -np.log(np.exp(base[top]).sum()) + 1e-9
    assert not np.isnan(found).any()


@given(ranked_sets(), st.integers(2, 50))
def test_ties_keep_the_proportions_of_the_base(case, n):
    base, scores = case
    given = ~np.isneginf(base)
    base, scores = base[given], scores[given]
    moved = best_of_n(base, scores, n) - base
    for score in np.unique(scores):
        group = moved[scores == score]
        assert len(group) == 0 or np.ptp(group) <= 1e-9 * (1 + abs(group).max())


def test_many_draws_are_precise():
    """60,000 draws in exact rational arithmetic: the digits of F that n multiplies must not be lost."""
    size, n = 50, 60_000
    base = log_softmax(np.where(np.arange(size) < 25, 0.0, -8 - 0.3 * np.arange(size)))  # the best are rare
    probs = [Fraction(float(part)) for part in np.exp(base)]
    below, expected = Fraction(0), []
    for part in probs:
        upper = (below + part) / sum(probs)
        least = n * np.log1p(-float(1 - upper))  # log F^n, of which the lower responses have all but a share
        expected.append(least + np.log(-np.expm1(n * np.log1p(-float(part / (below + part))))) if below else least)
        below += part
    found, likely = best_of_n(base, np.arange(50.0), n), np.array(expected) > -300
    assert likely.sum() > 10
    np.testing.assert_allclose(found[likely], np.array(expected)[likely], rtol=1e-9, atol=1e-9)


def test_responses_too_rare_for_a_float():
    base = log_softmax(np.array([0.0, 0.0, -900.0]))
    np.testing.assert_allclose(best_of_n(base, np.array([0.0, 1, 2]), 64)[2], -900 - np.log(2) + np.log(64), rtol=1e-12)
    worst = best_of_n(base, np.array([1.0, 2, 0]), 64)
    assert np.isneginf(worst[2])
    np.testing.assert_allclose(np.exp(worst).sum(), 1)


def by_pairs(policy, base, rewards):
    """Win rate as the double sum over pairs."""
    beats = (rewards[:, None] > rewards) + 0.5 * (rewards[:, None] == rewards)
    return policy @ beats @ base


@given(ranked_sets(most=20), seeds)
def test_win_rate_is_the_double_sum(case, seed):
    base, rewards = case
    policy = tilt(base, np.random.default_rng(seed).normal(size=len(base)))
    found = win_rate(policy, base, rewards)
    assert float(found) == pytest.approx(by_pairs(np.exp(policy), np.exp(base), rewards), abs=1e-13)
    assert float(win_rate(base, base, rewards)) == pytest.approx(0.5, abs=1e-13)


def test_win_rate_of_a_uniform_base_is_the_mean_rank():
    policy = np.array([0.1, 0.2, 0.3, 0.4])
    assert float(win_rate(np.log(policy), UNIFORM, np.array([5.0, -1.0, 7.0, 2.0]))) == pytest.approx(
        policy @ ((np.array([3, 1, 4, 2]) - 0.5) / 4)
    )


def test_best_of_n_beats_one_sample_as_often_as_counting_says():
    """Without ties the best of n beats one more draw with probability n / (n + 1), of a continuum."""
    many = np.full(100_000, -np.log(1e5))
    scores = np.random.default_rng(0).permutation(100_000).astype(float)
    for n in (1, 2, 9):
        assert float(win_rate(best_of_n(many, scores, n), many, scores)) == pytest.approx(n / (n + 1), abs=1e-4)


@pytest.mark.parametrize("function", [win_rate, best_of_n, best_of_n_kl])
def test_torch_batches_and_loops_agree_and_no_argument_is_changed(function):
    rng = np.random.default_rng(0)
    base = log_softmax(np.where(rng.random((2, 3, 6)) < 0.2, -np.inf, rng.normal(size=(2, 3, 6))), axis=-1)
    scores = rng.integers(0, 4, (2, 3, 6)).astype(float)
    policy = tilt(base, rng.normal(size=base.shape))
    held = (policy, base, scores) if function is win_rate else (base, scores)
    rest = () if function is win_rate else (7,)
    copies, tensors = [part.copy() for part in held], [torch.tensor(part) for part in held]
    for part in held:
        part.flags.writeable = False
    ours, theirs = function(*held, *rest), function(*tensors, *rest)
    assert torch.is_tensor(theirs)
    np.testing.assert_allclose(theirs.numpy(), ours, rtol=1e-12, atol=1e-12)
    for index in np.ndindex(2, 3):
        np.testing.assert_allclose(function(*(part[index] for part in held), *rest), ours[index], rtol=1e-12)
    for part, tensor, copy in zip(held, tensors, copies, strict=True):
        np.testing.assert_array_equal(part, copy)
        np.testing.assert_array_equal(tensor.numpy(), copy)


def test_one_base_for_many_scores():
    scores = np.random.default_rng(0).normal(size=(5, 4))
    found = best_of_n(UNIFORM, scores, 3)
    assert found.shape == (5, 4)
    np.testing.assert_allclose(kl_divergence(found, UNIFORM), best_of_n_kl(UNIFORM, scores, 3))
    assert win_rate(found, UNIFORM, scores).shape == (5,)


BAD_INPUTS = {
    "n is 0": (lambda: best_of_n(UNIFORM, np.arange(4.0), 0), ValueError, "n is 0, expected a whole number in"),
    "n is half": (lambda: best_of_n_kl(UNIFORM, np.arange(4.0), 1.5), TypeError, "n is 1.5, expected a whole number"),
    "bound of 0": (lambda: best_of_n_kl_bound(0), ValueError, "n is 0, expected a whole number in"),
    "nan score": (
        lambda: best_of_n(UNIFORM, np.array([0, np.nan, 0, 0]), 2),
        ValueError,
        r"scores\[1\] is nan, expected a finite number",
    ),
    "inf reward": (
        lambda: win_rate(UNIFORM, UNIFORM, np.array([0, np.inf, 0, 0])),
        ValueError,
        r"rewards\[1\] is inf, expected a finite number",
    ),
    "policy of other size": (
        lambda: win_rate(np.log([0.5, 0.5]), UNIFORM, np.arange(4.0)),
        ValueError,
        r"log_probs has shape \(2,\), expected \(\*prompts, 4\)",
    ),
    "policy does not sum to 1": (
        lambda: win_rate(UNIFORM + 0.1, UNIFORM, np.arange(4.0)),
        ValueError,
        r"log_probs: probabilities sum to 1.105\d*, expected 1",
    ),
    "other library": (
        lambda: best_of_n(UNIFORM, torch.arange(4.0), 2),
        TypeError,
        "scores is a Tensor but base_log_probs is a ndarray; use one library",
    ),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_says_what_was_expected(case):
    call, kind, message = BAD_INPUTS[case]
    with pytest.raises(kind, match=message):
        call()


def test_bound_of_several_n_at_once():
    several = best_of_n_kl_bound([1, 2, 64])
    np.testing.assert_array_equal(several, [best_of_n_kl_bound(n) for n in (1, 2, 64)])
    with pytest.raises(ValueError, match="n is 0"):
        best_of_n_kl_bound([2, 0])
