"""Utilities of a centred reward: the method's numbers, its properties P1 to P5 and P10, and what is refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.special import expit, logsumexp

from rewardlab.transforms import clip_at_reference, concave_utility, log_sigmoid, preference_as_reward, sigmoid
from rewardlab.transforms.saturating import BLOCK, log_sigmoid_of_margin

CENTRED = {
    "log_sigmoid": log_sigmoid,
    "sigmoid": sigmoid,
    "clip_at_reference": clip_at_reference,
    "concave_utility": lambda rewards, reference: concave_utility(rewards, reference, risk_aversion=0.5),
}
each_utility = pytest.mark.parametrize("utility", CENTRED.values(), ids=CENTRED)
rewards = arrays(np.float64, 8, elements=st.floats(-800, 800))
margins = st.floats(-30, 30)
aversions = st.floats(0, 1)


def tilted(base_log_probs, utilities, temperature):
    """The policy that maximises utility under a KL penalty, on a finite set."""
    logits = base_log_probs + utilities / temperature
    return np.exp(logits - logsumexp(logits))


def total_variation(one, other):
    return np.abs(one - other).sum() / 2


def test_log_sigmoid_worked_values():
    np.testing.assert_allclose(
        log_sigmoid(np.array([1.0, 3.0, -1.0, 6.0, -4.0]), 1.0),
        [-0.693147, -0.126928, -2.126928, -0.006715, -5.006715],
        atol=1e-6,
    )


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_log_sigmoid_is_exact_far_from_the_reference(library):
    far = log_sigmoid(library(np.array([-800.0, 800.0, -1e300, 1e300])), 0.0)
    assert far.tolist() == [-800.0, pytest.approx(-math.exp(-800), abs=1e-300), -1e300, 0.0]
    assert float(log_sigmoid(library(np.array([40.0])), 0.0)[0]) == pytest.approx(-math.exp(-40), rel=1e-12)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_large_batch_is_a_small_one_many_times(dtype):
    size = 3 * BLOCK + 17  # computed block by block
    few = np.linspace(-40, 40, 101).astype(dtype)
    many = np.resize(few, 2 * size).reshape(2, size)
    many.flags.writeable = False
    expected = np.resize(log_sigmoid(few, 0.0), 2 * size).reshape(2, size)
    for large, small in ((many, expected), (many.T, expected.T), (many[:, ::2], expected[:, ::2])):
        result = log_sigmoid(large, 0.0)
        np.testing.assert_allclose(result, small, rtol=1e-6 if dtype == "float32" else 1e-13)
        assert result.dtype == many.dtype
        np.testing.assert_array_equal(log_sigmoid_of_margin(large), result)


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@each_utility
def test_finite_at_800_on_both_sides(utility, dtype, library):
    values = utility(library(np.array([-800.0, 800.0], dtype)), 0.0)
    assert np.isfinite(np.asarray(values)).all()
    assert values[0] < values[1]


def test_the_worked_example_of_four_responses():
    rewards, base = np.array([-2.0, 0.0, 1.0, 4.0]), np.full(4, math.log(0.25))
    utilities = log_sigmoid(rewards, 1.0)
    np.testing.assert_allclose(utilities, [-3.048587, -1.313262, -0.693147, -0.048587], atol=1e-6)
    expected = {
        (1.0, "raw"): ([0.002315, 0.017108, 0.046505, 0.934072], 1.096254, 3.778161),
        (1.0, "log_sigmoid"): ([0.026810, 0.152035, 0.282655, 0.538500], 0.312432, 2.383032),
        (0.5, "log_sigmoid"): ([0.001826, 0.058710, 0.202926, 0.736538], 0.659452, 3.145427),
    }
    for (temperature, name), (probs, kl, mean) in expected.items():
        policy = tilted(base, utilities if name == "log_sigmoid" else rewards, temperature)
        np.testing.assert_allclose(policy, probs, atol=1e-6)
        assert (policy * (np.log(policy) - base)).sum() == pytest.approx(kl, abs=1e-6)
        assert policy @ rewards == pytest.approx(mean, abs=2e-6)


def test_bayes_posterior_at_temperature_1():
    rewards, base = np.random.default_rng(0).normal(size=16), np.full(16, -math.log(16))
    posterior = np.exp(base) * expit(rewards - 0.3)
    np.testing.assert_allclose(tilted(base, log_sigmoid(rewards, 0.3), 1.0), posterior / posterior.sum(), atol=1e-15)


SLOPES = {
    "log_sigmoid": (log_sigmoid, lambda z: expit(-z)),
    "sigmoid": (sigmoid, lambda z: expit(z) * expit(-z)),
    "clip_at_reference": (clip_at_reference, lambda z: (z < 0) * 1.0),
    "concave_utility": (CENTRED["concave_utility"], lambda z: np.sqrt(expit(z)) * expit(-z)),
}


@given(margins, st.floats(-5, 5))
@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_gradient(margin, reference):
    margin, step = margin if abs(margin) > 1e-3 else 1.0, 1e-5  # the clip has a kink at 0
    for name, (utility, slope) in SLOPES.items():
        point = torch.tensor([reference + margin], dtype=torch.float64, requires_grad=True)
        utility(point, reference).sum().backward()
        expected = slope(float(point.detach()[0]) - reference)
        assert point.grad.item() == pytest.approx(expected, rel=1e-9, abs=1e-15), name
        up, down = utility(np.array([reference + margin + step, reference + margin - step]), reference)
        assert (up - down) / (2 * step) == pytest.approx(expected, abs=1e-8), name


def test_the_slope_of_log_sigmoid_is_one_half_at_the_reference_and_the_sigmoid_gives_up_on_bad_responses():
    points, step = np.array([0.0, -40.0, 40.0]), 1e-4
    for utility, expected in ((log_sigmoid, [0.5, 1.0, 0.0]), (sigmoid, [0.25, 0.0, 0.0])):
        measured = (utility(points + step, 0.0) - utility(points - step, 0.0)) / (2 * step)
        np.testing.assert_allclose(measured, expected, atol=1e-8)


@given(rewards, st.floats(-800, 800))
def test_invariant_to_a_prompt_constant(r, constant):
    reference = np.sort(r)[5:6]
    for name, utility in CENTRED.items():
        shifted = utility(r + constant, reference + constant)
        np.testing.assert_allclose(shifted, utility(r, reference), atol=1e-9, err_msg=name)


def test_without_a_reference_the_constant_matters():
    r = np.array([-1.0, 2.0])
    assert np.ptp(log_sigmoid(r, 0.0)) > 2 * np.ptp(log_sigmoid(r + 3, 0.0))


@given(rewards, st.floats(-800, 800))
def test_keeps_the_ranking(r, reference):
    for name, utility in CENTRED.items():
        assert (np.diff(utility(np.sort(r), reference)) >= 0).all(), name


@given(arrays(np.float64, 6, elements=st.floats(-30, 6), unique=True))
def test_log_sigmoid_keeps_the_ranking_strictly_where_the_sigmoid_no_longer_can(r):
    r = np.sort(r)
    steps = np.diff(r) > 1e-9
    assert (np.diff(log_sigmoid(r, 0.0))[steps] > 0).all()


def test_an_impossible_reference_gives_the_raw_policy_and_a_trivial_one_the_base_policy():
    rewards, base = 2 * np.random.default_rng(0).normal(size=64), np.full(64, -math.log(64))
    raw = tilted(base, rewards, 0.7)
    to_raw = [total_variation(tilted(base, log_sigmoid(rewards, reference), 0.7), raw) for reference in (5, 10, 20)]
    to_base = [
        total_variation(tilted(base, log_sigmoid(rewards, reference), 0.7), np.exp(base)) for reference in (-5, -20)
    ]
    assert 1 > to_raw[0] > 10 * to_raw[1] > 1000 * to_raw[2] > 0
    assert to_raw[2] < 1e-6
    assert to_base[0] < 0.1 and to_base[1] < 1e-7


@given(rewards, st.floats(-100, 100))
def test_log_sigmoid_lies_below_the_clip_by_at_most_log_2(r, reference):
    gap = clip_at_reference(r, reference) - log_sigmoid(r, reference)
    assert (gap >= 0).all() and (gap <= math.log(2) + 1e-12).all()
    scaled = log_sigmoid(1e6 * r, 1e6 * reference) / 1e6
    np.testing.assert_allclose(scaled, clip_at_reference(r, reference), atol=1e-6)


@given(rewards, st.floats(-800, 800))
def test_clip_and_sigmoid_one_by_one(r, reference):
    np.testing.assert_array_equal(clip_at_reference(r, reference), [min(value - reference, 0.0) for value in r])
    by_hand = [1 / (1 + math.exp(min(-(value - reference), 700))) for value in r]
    np.testing.assert_allclose(sigmoid(r, reference), by_hand, rtol=1e-12, atol=1e-300)


@given(rewards, aversions, st.floats(-5, 5))
def test_concave_utility_by_its_formula_and_at_its_two_ends(r, aversion, reference):
    np.testing.assert_allclose(
        concave_utility(r, reference, risk_aversion=0.0), sigmoid(r, reference) - 1, rtol=1e-12, atol=1e-15
    )
    np.testing.assert_array_equal(concave_utility(r, reference, risk_aversion=1.0), log_sigmoid(r, reference))
    power = 1 - aversion
    if power > 1e-3:
        formula = (np.exp(-power * np.logaddexp(0, reference - r)) - 1) / power
        np.testing.assert_allclose(concave_utility(r, reference, risk_aversion=aversion), formula, atol=1e-12)


@given(rewards, st.tuples(aversions, aversions))
def test_the_more_averse_to_risk_the_lower_the_utility(r, two):
    low, high = (concave_utility(r, 0.0, risk_aversion=aversion) for aversion in sorted(two))
    assert (high <= low + 1e-12 * np.abs(low) + 1e-300).all()
    assert (high <= 0).all()


def test_concave_utility_meets_log_sigmoid_smoothly():
    r = np.array([-3.0, 0.0, 3.0])
    np.testing.assert_allclose(concave_utility(r, 0.0, risk_aversion=1 - 1e-10), log_sigmoid(r, 0.0), rtol=1e-9)


@given(arrays(np.float64, (2, 3), elements=st.floats(-800, 800)), arrays(np.float64, (2, 5), elements=margins))
def test_preference_as_reward_by_loops(r, references):
    expected = [
        [sum(float(expit(value - other)) for other in others) / 5 for value in row]
        for row, others in zip(r, references, strict=True)
    ]
    np.testing.assert_allclose(preference_as_reward(r, references), expected, rtol=1e-12, atol=1e-300)
    np.testing.assert_allclose(preference_as_reward(r, references[:, :1]), sigmoid(r, references[:, :1]), rtol=1e-12)
    shifted = preference_as_reward(r + 7.5, references + 7.5)
    np.testing.assert_allclose(shifted, expected, atol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_the_dtype_of_the_rewards_is_kept_whatever_the_reference_is_of(library, dtype):
    r, reference = library(np.array([[-1.0, 2.0]], dtype)), library(np.array([[0.5]]))
    for utility in CENTRED.values():
        for given_reference in (reference, 0.5, np.float64(0.5)):
            result = utility(r, given_reference)
            assert result.dtype == r.dtype and result.shape == r.shape
        np.testing.assert_allclose(
            np.asarray(utility(r, reference)),
            utility(np.array([[-1.0, 2.0]]), 0.5),
            rtol=3e-3 if "16" in dtype else 1e-6,
        )
    assert preference_as_reward(r, reference).dtype == r.dtype


@each_utility
def test_any_shape_from_a_single_number_to_none_at_all(utility):
    alone = utility(np.array([2.0]), 0.5)[0]
    assert utility(np.array(2.0), 0.5) == alone
    assert utility(torch.tensor(2.0, dtype=torch.float64), 0.5).item() == pytest.approx(alone, rel=1e-12)
    assert utility(np.full((2, 3, 4), 2.0), np.full((3, 1), 0.5)).tolist() == np.full((2, 3, 4), alone).tolist()
    for library in (np.asarray, torch.tensor):
        assert tuple(utility(library(np.zeros((0, 3))), 0.0).shape) == (0, 3)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_integers_are_taken_as_float64(library):
    r = library([-1, 0, 3])
    for utility in CENTRED.values():
        for reference in (1, library([1, 1, 1]), 1.0):
            result = utility(r, reference)
            assert str(result.dtype).endswith("float64")
            np.testing.assert_allclose(np.asarray(result), utility(np.array([-1.0, 0.0, 3.0]), 1.0), rtol=1e-12)
    result = preference_as_reward(r, library([0, 1]))
    np.testing.assert_allclose(
        np.asarray(result), preference_as_reward(np.array([-1.0, 0.0, 3.0]), np.array([0.0, 1.0])), rtol=1e-12
    )


@pytest.mark.usefixtures("without_type_checks")
@each_utility
def test_what_is_refused(utility):
    for library in (np.asarray, torch.tensor):
        for bad, shown in ((math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")):
            with pytest.raises(ValueError, match=rf"rewards - reference\[1\] is {shown}.*mask what is missing"):
                utility(library([0.0, bad]), 0.0)
            with pytest.raises(ValueError, match="expected a finite number"):
                utility(library([0.0, 1.0]), library([bad, 0.0]))
        for reference in (np.zeros(3), np.zeros((3, 2))):
            message = rf"reference of shape \({reference.shape[0]}.*does not broadcast to rewards of shape \(2,\)"
            with pytest.raises(ValueError, match=message):
                utility(library([0.0, 1.0]), library(reference))
    for bad in (np.array(["1.0"]), np.array([1.0 + 1j]), np.array([None, 1.0], dtype=object)):
        with pytest.raises(TypeError, match="expected real numbers"):
            utility(bad, 0.0)
    with pytest.raises(TypeError):
        utility([1.0], 0.0)


@pytest.mark.parametrize("aversion", [-0.1, 1.1, math.nan, math.inf])
def test_risk_aversion_outside_0_to_1(aversion):
    with pytest.raises(ValueError, match="risk_aversion"):
        concave_utility(np.zeros(2), 0.0, risk_aversion=aversion)


@pytest.mark.usefixtures("without_type_checks")
def test_references_that_do_not_go_with_the_rewards():
    for none in (np.zeros(0), np.array(1.0)):
        with pytest.raises(ValueError, match="holds no reference"):
            preference_as_reward(np.zeros(3), none)
    with pytest.raises(ValueError, match=r"shape \(2, 5\) do not go with rewards of shape \(3,\)"):
        preference_as_reward(np.zeros(3), np.zeros((2, 5)))
    with pytest.raises(ValueError, match=r"rewards - reference_rewards\[1, 0\] is nan"):
        preference_as_reward(np.array([0.0, np.nan]), np.zeros(2))
