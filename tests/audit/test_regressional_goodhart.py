"""Closed forms of regressional Goodhart against worked numbers and against simulation."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rewardlab.audit import expected_gold, expected_maximum, gaussian_best_of_n


def test_worked_maxima():
    expected = [0, 1 / math.sqrt(math.pi), 1.029375, 1.765991, 2.343733, 2.826863, 3.248240]
    np.testing.assert_allclose(expected_maximum([1, 2, 4, 16, 64, 256, 1024]), expected, atol=1e-6)


@pytest.mark.parametrize("n", [3, 4096, 60_000, 10**9])
def test_maxima_agree_with_adaptive_quadrature(n):
    def density(x):
        return x * n * math.exp(stats.norm.logpdf(x) + (n - 1) * stats.norm.logcdf(x))

    middle = stats.norm.isf(1 / (n + 1))
    found = sum(integrate.quad(density, *ends, epsabs=1e-13)[0] for ends in ((-9, middle), (middle, 12)))
    assert float(expected_maximum(n)) == pytest.approx(found, abs=1e-9)


def test_published_predictions():
    """Noise of one model, of five fine-tuned from one, and of five pretrained apart, with parts of .7 and .5."""
    noise = (0.74, 0.54, 0.148)
    found = [float(gaussian_best_of_n(64, noise_variance=each)) for each in noise]
    assert found == pytest.approx([1.777, 1.889, 2.187], abs=5e-4)


def test_noise_makes_optimisation_useless_and_never_harmful():
    for noise in (0.0, 1.0, 100.0):
        assert (np.diff(gaussian_best_of_n([1, 2, 16, 4096, 10**6], noise_variance=noise)) > 0).all()
    np.testing.assert_array_equal(gaussian_best_of_n([2, 64], noise_variance=0), expected_maximum([2, 64]))


@given(st.floats(0.1, 10), st.floats(0, 10), st.floats(0.1, 10))
def test_gold_earned_is_in_the_unit_of_gold(gold_variance, noise_variance, unit):
    found = gaussian_best_of_n([2, 64], noise_variance=noise_variance, gold_variance=gold_variance)
    shrunk = gold_variance / math.sqrt(gold_variance + noise_variance)
    np.testing.assert_allclose(found, np.multiply(expected_maximum([2, 64]), shrunk), rtol=1e-12)
    in_unit = gaussian_best_of_n(
        [2, 64], noise_variance=unit**2 * noise_variance, gold_variance=unit**2 * gold_variance
    )
    np.testing.assert_allclose(in_unit, unit * found, rtol=1e-12)


def test_selected_gold_is_the_shrunk_proxy():
    rng = np.random.default_rng(0)
    gold = 2 + 1.5 * rng.normal(size=1_000_000)
    proxy = gold + 0.8 * rng.normal(size=gold.size)
    near = np.abs(proxy - 4.5) < 0.05
    found = expected_gold(np.array([4.5]), gold_mean=2, gold_variance=1.5**2, noise_variance=0.8**2)
    assert gold[near].mean() == pytest.approx(float(found[0]), abs=4 * gold[near].std() / math.sqrt(near.sum()))


def test_torch_stays_torch():
    found = expected_gold(torch.tensor([3.0]), gold_variance=1, noise_variance=0.5)
    assert isinstance(found, torch.Tensor) and float(found) == 2


BAD = {
    "n": (lambda: expected_maximum([4, 0]), ValueError, "n is 0"),
    "half": (lambda: expected_maximum(1.5), TypeError, "n is 1.5"),
    "noise": (lambda: gaussian_best_of_n(4, noise_variance=-1), ValueError, "noise_variance is -1"),
    "gold": (lambda: gaussian_best_of_n(4, noise_variance=1, gold_variance=0), ValueError, "gold_variance is 0"),
    "nan": (lambda: expected_gold(np.array([np.nan]), gold_variance=1, noise_variance=1), ValueError, r"proxy\[0\]"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error(case, without_type_checks):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
