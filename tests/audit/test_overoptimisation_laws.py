"""The two laws: peaks, zeros, rounds, and a least-squares fit against SciPy's."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from rewardlab.audit import FORMS, OveroptimisationLaw, fit_law

DISTANCE = np.linspace(0.0, 3.0, 9)
forms = st.sampled_from(FORMS)
positive = st.floats(0.05, 3)
laws = st.builds(OveroptimisationLaw, forms, positive, positive)


def test_worked_peaks():
    best_of_n = OveroptimisationLaw("best_of_n", 1.0, 0.1)
    assert [float(best_of_n.peak_distance), float(best_of_n.peak_gold)] == pytest.approx([5, 2.5])
    assert float(best_of_n.zero_distance) == pytest.approx(10)
    learning = OveroptimisationLaw("reinforcement_learning", 1.0, 0.3)
    found = [learning.peak_distance, learning.peak_gold, learning.zero_distance]
    assert [float(value) for value in found] == pytest.approx([10.312, 3.094, 28.032], abs=5e-4)


def test_worked_rounds():
    law = OveroptimisationLaw("reinforcement_learning", 1.0, 0.3)
    assert float(law.iterated(4).predict(np.array(8.0))) == pytest.approx(6.336447, abs=1e-6)
    assert 4 * float(law.predict(np.array(2.0))) == pytest.approx(6.336447, abs=1e-6)


@given(laws, st.integers(1, 9), st.floats(0, 20))
def test_equal_rounds_add_up(law, rounds, distance):
    in_rounds = rounds * law.predict(np.array(distance / rounds))
    np.testing.assert_allclose(law.iterated(rounds).predict(np.array(distance)), in_rounds, rtol=1e-9, atol=1e-9)


@given(laws)
def test_the_peak_is_where_a_numerical_search_finds_it(law):
    peak = float(law.peak_distance)
    highest = optimize.minimize_scalar(
        lambda d: -float(law.predict(np.array(d))),
        bounds=(0, 3 * peak),
        method="bounded",
        options={"xatol": 1e-9 * peak},
    )
    assert highest.x == pytest.approx(peak, rel=1e-4)
    assert -highest.fun == pytest.approx(float(law.peak_gold), rel=1e-9)
    assert float(law.predict(law.zero_distance)) == pytest.approx(
        0, abs=1e-9 * float(law.peak_gold * law.zero_distance)
    )


@given(laws)
def test_nothing_is_gained_at_distance_0(law):
    assert float(law.predict(np.array(0.0))) == 0


@pytest.mark.parametrize("form", FORMS)
def test_without_a_cost_gold_never_falls(form):
    for beta in (0.0, -0.2):
        law = OveroptimisationLaw(form, 1.0, beta)
        assert math.isinf(law.peak_distance) and math.isinf(law.peak_gold) and math.isinf(law.zero_distance)
    assert math.isinf(OveroptimisationLaw("reinforcement_learning", 1.0, 1e-4).peak_distance)  # beyond any number
    never_rises = OveroptimisationLaw(form, -1.0, 0.0)
    assert float(never_rises.peak_distance) == float(never_rises.peak_gold) == float(never_rises.zero_distance) == 0
    assert float(OveroptimisationLaw("best_of_n", -1.0, 0.5).peak_distance) == 0


@given(forms, st.floats(-3, 3), st.floats(-3, 3))
def test_a_fit_finds_the_law_that_made_the_points(form, alpha, beta):
    fit = fit_law(form, DISTANCE, OveroptimisationLaw(form, alpha, beta).predict(DISTANCE))
    assert [float(fit.law.alpha), float(fit.law.beta)] == pytest.approx([alpha, beta], abs=1e-9)
    assert max(float(fit.alpha_error), float(fit.beta_error)) < 1e-9


@given(forms, st.integers(0, 2**32 - 1))
def test_a_fit_agrees_with_scipy(form, seed):
    gold = np.random.default_rng(seed).normal(size=len(DISTANCE))
    fit = fit_law(form, DISTANCE, gold)

    def curve(distance, alpha, beta):
        cost = distance if form == "best_of_n" else np.log(np.maximum(distance, 1e-300))
        return distance * (alpha - beta * cost)

    def slopes(distance, alpha, beta):  # differences instead would cost SciPy's errors their fifth digit
        return np.stack([curve(distance, 1, 0), curve(distance, 0, 1)], axis=-1)

    best, covariance = optimize.curve_fit(curve, DISTANCE, gold, jac=slopes)
    np.testing.assert_allclose([fit.law.alpha, fit.law.beta], best, atol=1e-6)
    np.testing.assert_allclose([fit.alpha_error, fit.beta_error], np.sqrt(np.diag(covariance)), rtol=1e-5)
    left = np.sum((gold - curve(DISTANCE, *best)) ** 2)
    assert float(fit.r_squared) == pytest.approx(1 - left / np.sum((gold - gold.mean()) ** 2), abs=1e-8)


def test_standard_errors_cover():
    """Intervals of two-sided 90% hold the truth in 90% of the fits, for independent normal errors."""
    law = OveroptimisationLaw("best_of_n", 1.5, 0.3)
    gold = law.predict(DISTANCE) + 0.2 * np.random.default_rng(0).normal(size=(4000, len(DISTANCE)))
    fit = fit_law("best_of_n", DISTANCE, gold)
    reach = stats.t(len(DISTANCE) - 2).ppf(0.95)
    for found, error, true in ((fit.law.alpha, fit.alpha_error, 1.5), (fit.law.beta, fit.beta_error, 0.3)):
        assert np.mean(np.abs(found - true) <= reach * error) == pytest.approx(0.9, abs=0.02)


def test_a_batch_is_each_curve_alone_and_predicts_each():
    gold = np.random.default_rng(0).normal(size=(3, 2, len(DISTANCE)))
    together = fit_law("best_of_n", DISTANCE, gold)
    predicted = together.law.predict(DISTANCE[:4])
    assert predicted.shape == (3, 2, 4)
    for place in np.ndindex(3, 2):
        alone = fit_law("best_of_n", DISTANCE, gold[place])
        assert float(together.law.beta[place]) == pytest.approx(float(alone.law.beta))
        assert float(together.r_squared[place]) == pytest.approx(float(alone.r_squared))
        np.testing.assert_allclose(predicted[place], alone.law.predict(DISTANCE[:4]))


def test_two_points_leave_no_errors_and_a_flat_curve_no_variance_to_explain():
    fit = fit_law("best_of_n", np.array([1.0, 2.0]), np.array([1.0, 1.0]))
    assert [float(fit.law.alpha), float(fit.law.beta)] == pytest.approx([1.5, 0.5])
    assert np.isnan([fit.alpha_error, fit.beta_error, fit.r_squared]).all()


def test_torch_agrees_with_numpy():
    gold = np.random.default_rng(0).normal(size=(3, len(DISTANCE)))
    for form in FORMS:
        here, there = fit_law(form, DISTANCE, gold), fit_law(form, torch.tensor(DISTANCE), torch.tensor(gold))
        assert isinstance(there.law.peak_distance, torch.Tensor)
        for of in (
            lambda fit: fit.law.alpha,
            lambda fit: fit.beta_error,
            lambda fit: fit.r_squared,
            lambda fit: fit.law.peak_gold,
            lambda fit: fit.law.zero_distance,
        ):
            np.testing.assert_allclose(of(there).numpy(), of(here), rtol=1e-9)
        predicted = there.law.predict(torch.tensor(DISTANCE)).numpy()
        np.testing.assert_allclose(predicted, here.law.predict(DISTANCE), atol=1e-12)


ONE = np.ones(3)
BAD = {
    "form": (lambda: OveroptimisationLaw("rl", 1.0, 1.0), ValueError, "form is 'rl', expected one of 'best_of_n'"),
    "fit of a form": (lambda: fit_law("bon", DISTANCE, DISTANCE), ValueError, "form is 'bon'"),
    "negative": (lambda: fit_law("best_of_n", -DISTANCE, DISTANCE), ValueError, "entry -3, expected sqrt"),
    "negative, predicted": (
        lambda: OveroptimisationLaw("best_of_n", 1.0, 1.0).predict(-ONE),
        ValueError,
        "entry -1, expected sqrt",
    ),
    "one distance": (lambda: fit_law("best_of_n", ONE, ONE), ValueError, "two different distances above 0"),
    "one above 0": (lambda: fit_law("best_of_n", np.array([0.0, 1]), ONE[:2]), ValueError, "two different distances"),
    "none": (lambda: fit_law("best_of_n", ONE[:0], ONE[:0]), ValueError, r"shape \(0,\), expected"),
    "other points": (lambda: fit_law("best_of_n", DISTANCE, ONE), ValueError, "do not broadcast"),
    "nan": (lambda: fit_law("best_of_n", DISTANCE, np.nan * DISTANCE), ValueError, r"gold\[0\] is nan"),
    "two libraries": (lambda: fit_law("best_of_n", DISTANCE, torch.tensor(DISTANCE)), TypeError, "use one library"),
    "torch distance": (
        lambda: OveroptimisationLaw("best_of_n", ONE, ONE).predict(torch.ones(3)),
        TypeError,
        "use one library",
    ),
    "no rounds": (lambda: OveroptimisationLaw("best_of_n", 1.0, 1.0).iterated(0), ValueError, "rounds is 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_says_where(case, without_type_checks):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call()
