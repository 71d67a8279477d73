"""Tilting, KL matching and conditioning on finite response sets: worked numbers, limits, bounds and optimality."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax, logsumexp

from rewardlab.exact import KLMatch, condition_on_goodness, kl_divergence, match_kl, tilt
from rewardlab.transforms import quantile_reference
from tests.strategies import seeds

UNIFORM = np.log(np.full(4, 0.25))
REWARDS = np.array([-2.0, 0.0, 1.0, 4.0])
GOODNESS = np.array([-3.048587, -1.313262, -0.693147, -0.048587])  # log sigmoid of the rewards less 1


def log_sigmoid(margin):
    return -np.logaddexp(0.0, -margin)


@st.composite
def response_sets(draw, least_prompts=1, never=True):
    """Base log-probabilities and utilities `(prompts, responses)` of odd scales, ties and impossible responses too."""
    rng = np.random.default_rng(draw(seeds))
    shape = draw(st.integers(least_prompts, 4)), draw(st.integers(2, 7))
    base = log_softmax(draw(st.sampled_from([0.0, 1.0, 5.0])) * rng.normal(size=shape), axis=-1)
    if never and draw(st.booleans()):
        cut = rng.random(shape) < 0.3
        cut[:, 0] = False
        base = log_softmax(np.where(cut, -np.inf, base), axis=-1)
    utility = draw(st.sampled_from([1e-3, 1.0, 30.0])) * rng.normal(size=shape)
    if draw(st.booleans()):
        utility = np.round(utility)
    return base, utility


@pytest.mark.parametrize(
    ("utility", "temperature", "policy", "kl", "reward"),
    [
        (REWARDS, 1.0, (0.002315, 0.017108, 0.046505, 0.934072), 1.096254, 3.778161),
        (log_sigmoid(REWARDS - 1), 1.0, (0.026810, 0.152035, 0.282655, 0.538500), 0.312432, 2.383032),
        (REWARDS, 0.5, None, 1.365898, 3.991209),
        (log_sigmoid(REWARDS - 1), 0.5, (0.001826, 0.058710, 0.202926, 0.736538), 0.659452, 3.145427),
    ],
)
def test_worked_numbers(utility, temperature, policy, kl, reward):
    log_probs = tilt(UNIFORM, utility, temperature)
    if policy is not None:
        np.testing.assert_allclose(np.exp(log_probs), policy, atol=1.1e-6)
    assert kl_divergence(log_probs, UNIFORM) == pytest.approx(kl, abs=1.1e-6)
    assert np.exp(log_probs) @ REWARDS == pytest.approx(reward, abs=1.1e-6)
    np.testing.assert_allclose(log_sigmoid(REWARDS - 1), GOODNESS, atol=1.1e-6)


@given(response_sets(), st.floats(0.05, 20))
def test_tilt_is_the_softmax_of_the_base_plus_utility(case, temperature):
    base, utility = case
    found = tilt(base, utility, temperature)
    np.testing.assert_allclose(found, log_softmax(base + utility / temperature, axis=-1), rtol=1e-11, atol=1e-11)
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(base))
    np.testing.assert_allclose(np.exp(found).sum(-1), 1, atol=1e-12)


@given(response_sets(), st.floats(-1e3, 1e3))
def test_a_constant_of_the_prompt_changes_nothing(case, constant):
    base, utility = case
    np.testing.assert_allclose(tilt(base, utility + constant), tilt(base, utility), rtol=1e-10, atol=1e-10)


@given(response_sets(), st.floats(0.01, 100), seeds)
def test_no_policy_gains_more_than_the_tilt_after_its_price(case, temperature, seed):
    """Of each prompt, the tilt maximises E[u] - temperature * KL."""
    base, utility = case
    found, other = tilt(base, utility, temperature), tilt(base, np.random.default_rng(seed).normal(size=base.shape))
    worth = [
        (np.exp(policy) * utility).sum(-1) - temperature * kl_divergence(policy, base) for policy in (found, other)
    ]
    assert (worth[0] >= worth[1] - 1e-10 * (1 + abs(utility).max() + temperature)).all()


def test_large_utilities_stay_finite():
    found = tilt(UNIFORM, np.array([-800.0, 0.0, 0.0, 800.0]))
    np.testing.assert_allclose(found, [-1600, -800, -800, 0], rtol=1e-12, atol=1e-300)
    found = tilt(UNIFORM, np.array([-800.0, 0.0, 0.0, 800.0]), 1e-3)
    assert np.isfinite(found).all()
    with np.errstate(divide="raise", over="raise", invalid="raise"):
        kl = kl_divergence(tilt(UNIFORM, np.array([-1e308, 0.0, 1.0, 1e308]), 1e-300), UNIFORM)
    assert kl == pytest.approx(np.log(4))


def test_the_utility_of_what_is_never_answered_does_not_matter():
    base = np.log(np.array([0.5, 0.5, 1.0])) + np.array([0, 0, -np.inf])
    for utility in (-1e9, 0.0, 1e9):
        np.testing.assert_allclose(tilt(base, np.array([0.0, np.log(3), utility]), 1.0)[:2], np.log([0.25, 0.75]))


def test_the_reference_dials_between_the_raw_reward_and_no_change():
    """P5, with 64 rewards drawn from N(0, 4) at temperature 0.7; the method's numbers are of one draw."""
    rewards = 2 * np.random.default_rng(0).normal(size=(100, 64))
    base = np.full(64, -np.log(64))
    raw = np.exp(tilt(base, rewards, 0.7))
    expected = {5: 0.262, 10: 2.8e-3, 20: 1.3e-7, -5: 0.034, -20: 1.4e-8}
    for reference, variation in expected.items():
        limit = raw if reference > 0 else np.exp(base)
        found = abs(np.exp(tilt(base, log_sigmoid(rewards - reference), 0.7)) - limit).sum(-1) / 2
        assert found.min() < variation < found.max()
        assert found.max() < 50 * found.min()


@given(response_sets(never=False), st.floats(-5, 5))
def test_conditioning_is_bayes_rule(case, reference):
    """P6: tilting by log p(good) at temperature 1 is the posterior."""
    base, rewards = case
    good = 1 / (1 + np.exp(-(rewards - reference)))
    joint = np.exp(base) * good
    posterior = joint / joint.sum(-1, keepdims=True)
    utility = log_sigmoid(rewards - reference)
    np.testing.assert_allclose(np.exp(tilt(base, utility)), posterior, atol=1e-14)
    np.testing.assert_allclose(np.exp(condition_on_goodness(base, utility)), posterior, atol=1e-14)
    twice = joint * good
    np.testing.assert_allclose(
        np.exp(condition_on_goodness(base, utility, 0.5)), twice / twice.sum(-1, keepdims=True), atol=1e-13
    )


def test_what_is_never_good_is_never_answered():
    found = np.exp(condition_on_goodness(UNIFORM, np.array([-np.inf, np.log(0.1), np.log(0.3), -np.inf])))
    np.testing.assert_allclose(found, [0, 0.25, 0.75, 0], atol=1e-15)
    np.testing.assert_allclose(condition_on_goodness(UNIFORM, np.full(4, -800.0)), UNIFORM)


@given(response_sets(), st.floats(0.05, 5), st.floats(-3, 3))
def test_kl_of_the_log_sigmoid_tilt_is_bounded(case, temperature, reference):
    """P7: KL <= log 2 / temperature - log of the base probability of at least the reference."""
    base, rewards = case
    reference = rewards[..., :1] + reference
    enough = logsumexp(np.where(rewards >= reference, base, -np.inf), axis=-1)
    kl = kl_divergence(tilt(base, log_sigmoid(rewards - reference), temperature), base)
    assert (kl <= np.log(2) / temperature - enough + 1e-9).all()


@given(response_sets(), st.floats(0.05, 5), st.sampled_from([0.0, 0.5, 0.85, 0.99]))
def test_a_quantile_as_reference_bounds_the_kl_whatever_the_rewards(case, temperature, level):
    """P7 with the base policy's own quantile: KL <= log 2 / temperature - log(1 - level)."""
    base, rewards = case
    reference = quantile_reference(rewards, level, log_probs=base)
    kl = kl_divergence(tilt(base, log_sigmoid(rewards - reference), temperature), base)
    assert (kl <= np.log(2) / temperature - np.log(1 - level) + 1e-9).all()


def test_raw_rewards_have_no_such_bound():
    base, rewards = np.full(64, -np.log(64)), 1e3 * np.arange(64.0)
    assert kl_divergence(tilt(base, rewards), base) > np.log(2) - np.log(0.15) + 1  # all the way: log 64


@given(response_sets(), st.floats(1e-3, 3))
def test_matched_kl_is_the_target_or_out_of_reach(case, target):
    base, utility = case
    match = match_kl(base, utility, target)
    best = np.where(np.isneginf(base), -np.inf, utility)
    ties = best == best.max(-1, keepdims=True)
    limit = -logsumexp(np.where(ties, base, -np.inf), axis=-1).mean()
    assert float(match.limit) == pytest.approx(limit, rel=1e-12, abs=1e-12)
    assert bool(match.reachable) == (target < match.limit)
    if match.reachable:
        assert float(match.kl) == pytest.approx(target, rel=1e-9)
        np.testing.assert_allclose(match.log_probs, tilt(base, utility, float(match.temperature)), atol=1e-9, rtol=1e-9)
        assert kl_divergence(match.log_probs, base).mean() == pytest.approx(target, rel=1e-9)
        hotter, colder = (
            kl_divergence(tilt(base, utility, factor * float(match.temperature)), base).mean() for factor in (2, 0.5)
        )
        assert hotter < target < colder
    else:
        assert np.isnan(match.temperature)
        assert np.isnan(match.kl)
        assert np.isnan(match.log_probs).all()


@given(response_sets(least_prompts=2, never=False), st.floats(0.05, 0.95), seeds)
def test_the_matched_tilt_gains_most_of_all_policies_as_near(case, share, seed):
    """P8: of all policies whose mean KL over prompts is no larger, the tilt at one temperature has the highest E[u]."""
    base, utility = case
    limit = match_kl(base, utility, 1e-3).limit
    match = match_kl(base, utility, max(share * float(limit), 1e-3))
    if not match.reachable:
        return
    rng = np.random.default_rng(seed)
    ours = (np.exp(match.log_probs) * utility).sum(-1).mean()
    for spread in (0.03, 0.3, 3.0):
        # a tilt at a temperature of each prompt's own, with errors in the utility: near rivals as well as far ones
        own = float(match.temperature) * np.exp(spread * rng.normal(size=base.shape[0]))
        other = np.exp(tilt(base, utility + spread * utility.std() * rng.normal(size=base.shape), own))
        with np.errstate(divide="ignore"):
            kl = kl_divergence(np.log(other), base).mean()
        if kl > match.kl:  # KL is convex: mixing with the base brings it below the budget
            other = np.exp(base) + (other - np.exp(base)) * (float(match.kl) / kl)
        with np.errstate(divide="ignore"):
            assert kl_divergence(np.log(other), base).mean() <= match.kl * (1 + 1e-9)
        assert (other * utility).sum(-1).mean() <= ours + 1e-9 * (1 + abs(utility).max())


def test_one_temperature_for_all_prompts_and_one_a_set():
    rng = np.random.default_rng(0)
    base = log_softmax(rng.normal(size=(3, 5, 8)), axis=-1)
    utility = rng.normal(size=(3, 5, 8))
    together = match_kl(base, utility, np.array([[0.3], [0.6]]))
    assert together.temperature.shape == together.kl.shape == together.limit.shape == (2, 3)
    for i, target in enumerate((0.3, 0.6)):
        for j in range(3):
            alone = match_kl(base[j], utility[j], target)
            assert float(alone.temperature) == pytest.approx(together.temperature[i, j], rel=1e-10)
            np.testing.assert_allclose(together.log_probs[i, j], alone.log_probs, atol=1e-10)
    by_prompt = kl_divergence(together.log_probs, base)
    assert np.ptp(by_prompt, axis=-1).min() > 0.01  # prompts with more to gain move further


def test_reachable_and_unreachable_sets_of_one_batch():
    utility = np.stack([REWARDS, np.array([0.0, 0.0, 1.0, 1.0])])[:, None]
    match = match_kl(UNIFORM[None], utility, 1.0)
    np.testing.assert_array_equal(match.reachable, [True, False])
    np.testing.assert_allclose(match.limit, [np.log(4), np.log(2)])
    assert np.isfinite(match.log_probs[0]).all()
    assert np.isnan(match.log_probs[1]).all()
    np.testing.assert_array_equal(np.isnan(match.temperature), [False, True])


@pytest.mark.parametrize("scale", [1e-200, 1e-12, 1.0, 1e12, 1e200])
def test_matching_does_not_depend_on_the_unit_of_the_utility(scale):
    for target in (1e-6, 0.1, 1.0, 1.3862):
        match, unit = (match_kl(UNIFORM[None], part * REWARDS[None], target) for part in (scale, 1.0))
        assert match.reachable
        assert float(match.temperature) == pytest.approx(scale * float(unit.temperature), rel=1e-6)
        assert float(match.kl) == pytest.approx(target, rel=1e-9)


def test_a_constant_utility_reaches_nothing():
    match = match_kl(UNIFORM[None], np.ones((1, 4)), 0.1)
    assert not match.reachable
    assert match.limit == 0


def test_nearly_tied_utilities():
    """Two best responses a hair apart: the first log 2 of KL comes at temperature 1, the rest far below."""
    utility = np.array([[0.0, 0.0, 1.0, 1.0 + 1e-9]])
    high, low = (float(match_kl(UNIFORM[None], utility, target).temperature) for target in (0.6, 1.0))
    assert 0.1 < high < 1
    assert 1e-10 < low < 1e-8


def test_kl_of_what_the_base_never_does_is_infinite():
    base = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25]])
    policy = np.array([[0.5, 0.25, 0.25], [0.5, 0.5, 0.0]])
    with np.errstate(divide="ignore"):
        np.testing.assert_allclose(kl_divergence(np.log(policy), np.log(base)), [np.inf, 0.5 * np.log(2)])
        np.testing.assert_array_equal(kl_divergence(np.log(base), np.log(base)), 0)


def test_a_reward_the_base_expects_to_be_rare():
    """Log-probabilities far below the smallest float: what matters is their difference."""
    base = log_softmax(np.array([0.0, -2000.0]))
    found = tilt(base, np.array([0.0, 2000.0 + np.log(3)]))
    np.testing.assert_allclose(np.exp(found), [0.25, 0.75])
    match = match_kl(base[None], np.array([[0.0, 1.0]]), 100.0)
    assert float(match.kl) == pytest.approx(100)
    assert float(match.limit) == pytest.approx(2000)


@pytest.mark.parametrize("function", [tilt, condition_on_goodness, kl_divergence, match_kl])
def test_torch_agrees_and_no_argument_is_changed(function):
    rng = np.random.default_rng(0)
    base = log_softmax(np.where(rng.random((2, 3, 6)) < 0.2, -np.inf, rng.normal(size=(2, 3, 6))), axis=-1)
    other = log_softmax(np.where(np.isneginf(base), -np.inf, rng.normal(size=(2, 3, 6))), axis=-1)
    held = {
        tilt: (base, rng.normal(size=(2, 3, 6)), rng.random((2, 3)) + 0.5),
        condition_on_goodness: (base, -rng.random((2, 3, 6)), rng.random((2, 3)) + 0.5),
        kl_divergence: (other, base),
        match_kl: (base, rng.normal(size=(2, 3, 6)), np.array([0.1, 100.0])),
    }[function]
    copies, tensors = [part.copy() for part in held], [torch.tensor(part) for part in held]
    for part in held:
        part.flags.writeable = False
    ours, theirs = function(*held), function(*tensors)
    for part, tensor, copy in zip(held, tensors, copies, strict=True):
        np.testing.assert_array_equal(part, copy)
        np.testing.assert_array_equal(tensor.numpy(), copy)
    parts = (vars(ours), vars(theirs)) if isinstance(ours, KLMatch) else ({"": ours}, {"": theirs})
    for name in parts[0]:
        assert torch.is_tensor(parts[1][name])
        np.testing.assert_allclose(parts[1][name].numpy(), parts[0][name], rtol=1e-10, atol=1e-12)


def test_float32_is_computed_in_float64():
    base, utility = UNIFORM.astype(np.float32), REWARDS.astype(np.float32)
    assert tilt(base, utility).dtype == np.float64
    np.testing.assert_allclose(tilt(base, utility), tilt(UNIFORM, REWARDS), rtol=1e-12)


TWO = np.log(np.full((2, 4), 0.25))
BAD_INPUTS = {
    "base does not sum to 1": (
        lambda: tilt(np.log(np.array([[0.5, 0.5], [0.5, 0.4]])), np.zeros((2, 2))),
        ValueError,
        r"base_log_probs\[1\]: probabilities sum to 0.9, expected 1 within 1e-06",
    ),
    "probabilities for log-probabilities": (
        lambda: tilt(np.full(4, 0.25), REWARDS),
        ValueError,
        r"base_log_probs: probabilities sum to 5.136\d*, expected 1",
    ),
    "base is nan": (
        lambda: tilt(np.array([0.0, np.nan]), np.zeros(2)),
        ValueError,
        r"base_log_probs\[1\] is nan, expected a log-probability \(-inf for 0\)",
    ),
    "base is inf": (lambda: tilt(np.array([0.0, np.inf]), np.zeros(2)), ValueError, r"base_log_probs\[1\] is inf"),
    "all of base is -inf": (lambda: tilt(np.full(2, -np.inf), np.zeros(2)), ValueError, "probabilities sum to 0,"),
    "no responses": (lambda: tilt(np.zeros((2, 0)), np.zeros((2, 0))), ValueError, r"has shape \(2, 0\), expected"),
    "a list": (lambda: tilt([0.0], np.zeros(1)), TypeError, "base_log_probs: expected a NumPy array or torch tensor"),
    "utility is nan": (
        lambda: tilt(TWO, np.array([[0, 0, 0, 0], [0, np.nan, 0, 0]])),
        ValueError,
        r"utility\[1, 1\] is nan, expected a finite number; mask what is missing instead",
    ),
    "utility is inf": (lambda: match_kl(TWO, np.full((2, 4), -np.inf), 1.0), ValueError, r"utility\[0, 0\] is -inf"),
    "responses differ": (
        lambda: tilt(TWO, np.zeros((2, 3))),
        ValueError,
        r"utility has shape \(2, 3\), expected \(\*prompts, 4\) as base_log_probs has 4 responses",
    ),
    "prompts differ": (
        lambda: tilt(TWO, np.zeros((3, 4))),
        ValueError,
        r"do not broadcast against one another: base_log_probs \(2,\), utility \(3,\)",
    ),
    "libraries differ": (
        lambda: tilt(TWO, torch.zeros(2, 4)),
        TypeError,
        "utility is a Tensor but base_log_probs is a ndarray; use one library",
    ),
    "temperature 0": (lambda: tilt(TWO, TWO, 0), ValueError, r"temperature is 0.0, expected a number in \(0, inf\)"),
    "one temperature nan": (
        lambda: tilt(TWO, TWO, np.array([1.0, np.nan])),
        ValueError,
        r"temperature\[1\] is nan, expected a number in \(0, inf\)",
    ),
    "temperature is text": (lambda: tilt(TWO, TWO, "1"), TypeError, "temperature: expected a NumPy array"),
    "temperatures for other prompts": (
        lambda: tilt(TWO, TWO, np.ones(3)),
        ValueError,
        r"utility \(2,\), temperature \(3,\)",
    ),
    "target 0": (lambda: match_kl(TWO, TWO, 0.0), ValueError, r"target is 0.0, expected a number in \[1e-12, inf\)"),
    "one target negative": (
        lambda: match_kl(TWO, TWO, np.array([1.0, -1.0])),
        ValueError,
        r"target\[1\] is -1.0, expected a number in \[1e-12, inf\)",
    ),
    "targets for other sets": (
        lambda: match_kl(TWO[None], np.zeros((3, 2, 4)), np.ones(2)),
        ValueError,
        r"utility \(3,\), target \(2,\)",
    ),
    "no prompts axis": (
        lambda: match_kl(UNIFORM, REWARDS, 1.0),
        ValueError,
        r"utility has shape \(4,\), expected \(\*batch, prompts, responses\)",
    ),
    "goodness above 0": (
        lambda: condition_on_goodness(TWO, np.array([[0.0, 0, 0, 0], [0, 0, 0.3, 0]])),
        ValueError,
        r"good_log_probs\[1, 2\] is above 0, expected a log-probability",
    ),
    "nothing good": (
        lambda: condition_on_goodness(TWO, np.array([[0.0] * 4, [-np.inf] * 4])),
        ValueError,
        r"good_log_probs\[1\] leaves no response that is both given and good",
    ),
    "policy does not sum to 1": (lambda: kl_divergence(TWO - 1, TWO), ValueError, r"log_probs\[0\]: probabilities sum"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
@pytest.mark.usefixtures("without_type_checks")
def test_bad_input_says_what_was_expected(case):
    call, kind, message = BAD_INPUTS[case]
    with pytest.raises(kind, match=message):
        call()
