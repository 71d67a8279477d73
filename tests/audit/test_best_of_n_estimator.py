"""The best-of-n estimator against every subset, its weights against exact binomials, and how it treats ties."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.audit import best_of_n_gold, best_of_n_weights

few_values = arrays(np.float64, st.integers(1, 7), elements=st.sampled_from([-1.0, 0.0, 0.5, 2.0]))


def over_every_subset(proxy, gold, n):
    """Average over all n-subsets of the gold of the best; where several are best, their average."""
    total, count = 0.0, 0
    for subset in itertools.combinations(range(len(proxy)), n):
        best = max(proxy[i] for i in subset)
        tied = [gold[i] for i in subset if proxy[i] == best]
        total, count = total + sum(tied) / len(tied), count + 1
    return total / count


@given(few_values, st.integers(0, 2**32 - 1))
def test_equals_the_average_over_every_subset_with_ties(proxy, seed):
    gold = np.random.default_rng(seed).normal(size=len(proxy))
    every = range(1, len(proxy) + 1)
    expected = [over_every_subset(proxy, gold, n) for n in every]
    np.testing.assert_allclose(best_of_n_gold(proxy, gold, list(every)), expected, atol=1e-12)


def test_worked_weights():
    np.testing.assert_allclose(best_of_n_weights(5, 2), [0, 0.1, 0.2, 0.3, 0.4], atol=1e-15)


@given(st.integers(1, 60), st.data())
def test_weights_are_the_binomial_ratio(samples, data):
    n = data.draw(st.integers(1, samples))
    exact = [float(Fraction(math.comb(i - 1, n - 1), math.comb(samples, n))) for i in range(1, samples + 1)]
    np.testing.assert_allclose(best_of_n_weights(samples, n), exact, rtol=1e-12, atol=1e-300)


@pytest.mark.parametrize(("samples", "n"), [(12_600, 12_500), (12_600, 600), (12_600, 1), (4_096, 4_096), (1, 1)])
def test_weights_sum_to_1_at_the_published_size(samples, n):
    weights = best_of_n_weights(samples, n)
    assert weights.sum() == pytest.approx(1, abs=1e-13)
    assert (np.diff(weights) >= -1e-15).all()


def test_a_weight_at_the_published_size_against_exact_integers():
    exact = float(Fraction(math.comb(12_549, 12_499), math.comb(12_600, 12_500)))
    assert best_of_n_weights(12_600, 12_500)[12_549] == pytest.approx(exact, rel=1e-11)


@given(arrays(np.float64, (3, 6), elements=st.floats(-100, 100), unique=True), st.integers(0, 2**32 - 1))
def test_one_is_the_mean_and_all_is_the_gold_of_the_highest_proxy(proxy, seed):
    gold = np.random.default_rng(seed).normal(size=(3, 6))
    found = best_of_n_gold(proxy, gold, [1, 6])
    np.testing.assert_allclose(found[:, 0], gold.mean(axis=-1), atol=1e-12)
    np.testing.assert_array_equal(found[:, 1], gold[np.arange(3), proxy.argmax(axis=-1)])


@given(arrays(np.float64, 6, elements=st.floats(-100, 100)))
def test_the_proxy_of_the_best_never_falls_with_n(proxy):
    curve = best_of_n_gold(proxy, proxy, [1, 2, 3, 4, 5, 6])
    assert (np.diff(curve) >= -1e-10).all()
    assert curve[-1] == pytest.approx(proxy.max(), rel=1e-14)


@given(few_values, st.integers(0, 2**32 - 1))
def test_only_the_order_of_the_proxy_and_not_that_of_the_samples_matters(proxy, seed):
    rng = np.random.default_rng(seed)
    gold, shuffle, every = rng.normal(size=len(proxy)), rng.permutation(len(proxy)), range(1, len(proxy) + 1)
    expected = best_of_n_gold(proxy, gold, list(every))
    np.testing.assert_allclose(best_of_n_gold(np.exp(proxy) - 3, gold, list(every)), expected, atol=1e-12)
    np.testing.assert_allclose(best_of_n_gold(proxy[shuffle], gold[shuffle], list(every)), expected, atol=1e-12)


def test_a_constant_proxy_earns_the_mean():
    gold = np.random.default_rng(0).normal(size=50)
    np.testing.assert_allclose(best_of_n_gold(np.zeros(50), gold, [1, 7, 50]), gold.mean(), atol=1e-14)


def test_batches_are_each_prompt_alone_and_gold_broadcasts_over_members():
    rng = np.random.default_rng(0)
    proxy, gold = rng.integers(0, 8, (4, 3, 20)), rng.normal(size=(3, 20))
    together = best_of_n_gold(proxy, gold, [1, 5, 20])
    assert together.shape == (4, 3, 3)
    for member, prompt in np.ndindex(4, 3):
        alone = best_of_n_gold(proxy[member, prompt], gold[prompt], [1, 5, 20])
        np.testing.assert_allclose(together[member, prompt], alone, atol=1e-14)
    np.testing.assert_allclose(best_of_n_gold(proxy, gold, 5), together[..., 1], atol=1e-14)
    np.testing.assert_allclose(best_of_n_gold(proxy[0, 0], rng.normal(size=(6, 20)), 2).shape, (6,))


def test_unbiased_when_a_small_draw_stands_for_a_large_population():
    """The average over draws of 20 is the best of 4 of the whole population of 400."""
    rng = np.random.default_rng(0)
    proxy = rng.normal(size=400)
    gold = proxy + rng.normal(size=400)
    drawn = np.array([rng.choice(400, 20, replace=False) for _ in range(4000)])
    estimates = best_of_n_gold(proxy[drawn], gold[drawn], 4)
    error = estimates.std() / math.sqrt(len(estimates))
    assert estimates.mean() == pytest.approx(float(best_of_n_gold(proxy, gold, 4)), abs=4 * error)


def test_torch_agrees_with_numpy():
    rng = np.random.default_rng(0)
    for proxy in (rng.normal(size=(3, 40)), rng.integers(0, 9, (3, 40)).astype(np.float32)):
        gold = rng.normal(size=(3, 40)).astype(proxy.dtype)
        found = best_of_n_gold(torch.tensor(proxy), torch.tensor(gold), [1, 4, 40])
        assert isinstance(found, torch.Tensor) and found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), best_of_n_gold(proxy, gold, [1, 4, 40]), rtol=1e-12)


ZEROS = np.zeros(3)
BAD = {
    "n too large": (
        lambda: best_of_n_gold(ZEROS, ZEROS, 4),
        ValueError,
        r"n is 4, expected a whole number in \[1, 3\]",
    ),
    "n of 0": (lambda: best_of_n_gold(ZEROS, ZEROS, [1, 0]), ValueError, "n is 0"),
    "half an n": (lambda: best_of_n_gold(ZEROS, ZEROS, 1.5), TypeError, "n is 1.5, expected a whole number"),
    "nan proxy": (lambda: best_of_n_gold(np.array([0, np.nan]), np.zeros(2), 1), ValueError, r"proxy\[1\] is nan"),
    "inf gold": (lambda: best_of_n_gold(np.zeros(2), np.array([np.inf, 0]), 1), ValueError, r"gold\[0\] is inf"),
    "fewer gold": (lambda: best_of_n_gold(ZEROS, np.zeros(2), 1), ValueError, "the same number of samples"),
    "prompts": (lambda: best_of_n_gold(np.zeros((2, 3)), np.zeros((4, 3)), 1), ValueError, "do not broadcast"),
    "no samples": (lambda: best_of_n_gold(np.zeros((2, 0)), np.zeros((2, 0)), 1), ValueError, "samples is 0"),
    "a list": (lambda: best_of_n_gold([1.0], [1.0], 1), TypeError, "proxy: expected a NumPy array"),
    "two libraries": (lambda: best_of_n_gold(ZEROS, torch.zeros(3), 1), TypeError, "use one library"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_says_where(case, without_type_checks):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
