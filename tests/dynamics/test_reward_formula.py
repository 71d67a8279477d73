import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.dynamics.reward_formula import (
    dynamics_reward_of_logit,
    mean_probability_reward,
    optimal_discriminator,
    rescale_logits,
)

LIBRARIES = pytest.mark.parametrize("convert", [np.asarray, torch.tensor], ids=["numpy", "torch"])
logits_of = arrays(np.float64, st.tuples(st.integers(1, 6), st.integers(1, 4)), elements=st.floats(-60, 60))


def test_reward_of_one_logit_is_softplus():
    logits = np.array([-30.0, -1.0, 0.0, 2.0, 12.0])
    expected = -np.log1p(-1 / (1 + np.exp(-logits)))
    assert dynamics_reward_of_logit(logits) == pytest.approx(expected, rel=1e-9)


@LIBRARIES
def test_reward_of_one_logit_is_stable_at_ten_thousand(convert):
    rewards = dynamics_reward_of_logit(convert(np.array([1e4, -1e4, -30.0])))
    assert np.asarray(rewards) == pytest.approx([1e4, 0, 9.357622968839299e-14], rel=1e-12)


def test_gradient_of_the_reward_is_the_probability():
    logits = torch.tensor([-40.0, -2.0, 0.0, 3.0, 40.0], dtype=torch.float64, requires_grad=True)
    dynamics_reward_of_logit(logits).sum().backward()
    assert torch.allclose(logits.grad, torch.sigmoid(logits.detach()), rtol=1e-12)


@LIBRARIES
def test_worked_rescale(convert):
    low, high = convert(np.array([-2.0, -1.0])), convert(np.array([3.0, 1.0]))
    logits = convert(np.array([0.5, 4.0]))
    rescaled = rescale_logits(logits, low, high)
    assert np.asarray(rescaled) == pytest.approx([0, 1], abs=1e-6)
    assert 1 / (1 + np.exp(-np.asarray(rescaled))) == pytest.approx([0.5, 0.731059], abs=1e-6)
    reward = mean_probability_reward(logits, low, high)
    assert float(reward) == pytest.approx(0.955888, abs=1e-6)
    assert isinstance(reward, torch.Tensor) == isinstance(logits, torch.Tensor)


def test_stored_rescale_takes_its_width_from_the_largest_end():
    logits, low, high = np.array([0.5, 4.0, -9.0]), np.array([-2.0, -1.0, -4.0]), np.array([3.0, 1.0, 0.0])
    assert rescale_logits(logits, low, high, rescale="stored") == pytest.approx([0, 4, -4])
    assert rescale_logits(logits, low, high + 5, rescale="stored")[1] == pytest.approx(16 * 5 / 7 - 8)
    assert rescale_logits(logits, rescale="none") is logits


def test_mean_probability_that_the_threshold_stands_for():
    mean = 1 - math.exp(-0.6)
    assert mean == pytest.approx(0.451188, abs=1e-6)
    logit = math.log(mean / (1 - mean))
    assert logit == pytest.approx(-0.195870, abs=1e-6)
    assert mean_probability_reward(np.array([logit]), rescale="none") == pytest.approx(0.6)
    uneven = np.log(np.array([0.9, 2 * mean - 0.9]) / (1 - np.array([0.9, 2 * mean - 0.9])))
    assert mean_probability_reward(uneven, rescale="none") == pytest.approx(0.6)


@LIBRARIES
def test_range_of_official_rewards(convert):
    logits = convert(np.array([[-1e6, -1.0, 0.0, 1.0, 1e6]] * 3))
    ends = convert(np.ones(3))
    assert np.asarray(mean_probability_reward(logits, -ends, ends)) == pytest.approx(
        [0.31326169, 0.31326169, 0.69314718, 1.31326169, 1.31326169]
    )


@LIBRARIES
def test_saturated_probabilities_are_not_rounded_away(convert):
    sure = convert(np.array([1e4, 1e4]))
    assert float(mean_probability_reward(sure, rescale="none")) == pytest.approx(1e4)
    assert float(mean_probability_reward(sure, rescale="none", epsilon=1e-9)) == pytest.approx(20.7233, abs=1e-4)
    mixed = convert(np.array([40.0, 42.0]))
    expected = -math.log((math.exp(-40) + math.exp(-42)) / 2)
    assert float(mean_probability_reward(mixed, rescale="none")) == pytest.approx(expected, rel=1e-12)
    hopeless = convert(np.array([-1e4, -1e4]))
    assert float(mean_probability_reward(hopeless, rescale="none")) == 0


def test_jensen_on_the_worked_pair():
    logits = np.log(np.array([0.9, 0.1]) / np.array([0.1, 0.9]))
    together = mean_probability_reward(logits, rescale="none")
    assert together == pytest.approx(0.69315, abs=1e-5)
    assert dynamics_reward_of_logit(logits).mean() == pytest.approx(1.20397, abs=1e-5)


@given(logits_of)
def test_at_most_the_mean_of_the_rewards_and_at_least_the_smallest(logits):
    own = dynamics_reward_of_logit(logits)
    together = mean_probability_reward(logits, rescale="none")
    slack = 1e-9 * (1 + own.max())
    assert (together <= own.mean(axis=0) + slack).all()
    assert (together >= own.min(axis=0) - slack).all()


@given(logits_of, st.integers(0, 5), st.floats(0, 20), st.sampled_from(["official", "stored", "none"]), st.data())
def test_nondecreasing_in_every_logit(logits, place, rise, rescale, data):
    ends = st.lists(st.floats(-5, 5), min_size=len(logits), max_size=len(logits))
    low = np.array(data.draw(ends))
    high = low + np.array(data.draw(st.lists(st.floats(0.01, 9), min_size=len(logits), max_size=len(logits))))
    raised = logits.copy()
    raised[place % len(logits)] += rise
    before, after = (mean_probability_reward(part, low, high, rescale=rescale) for part in (logits, raised))
    assert (after >= before - 1e-12 * (1 + np.abs(before))).all()


@given(logits_of, st.floats(0.01, 1), st.floats(0, 0.1))
def test_against_the_formula_as_published(logits, clip, epsilon):
    kept = np.clip(logits, -12, 12)  # where the published form still has digits
    probability = np.minimum(1 / (1 + np.exp(-kept)), clip)
    expected = -np.log(1 - probability.mean(axis=0) + epsilon)
    reward = mean_probability_reward(kept, rescale="none", probability_clip=clip, epsilon=epsilon)
    assert reward == pytest.approx(expected, rel=1e-6, abs=1e-9)


@given(logits_of)
def test_both_libraries_and_any_order_of_snapshots_agree(logits):
    low, high = -np.ones(len(logits)), np.arange(1.0, len(logits) + 1)
    for rescale in ("official", "stored", "none"):
        reward = mean_probability_reward(logits, low, high, rescale=rescale)
        ours = mean_probability_reward(*map(torch.tensor, (logits, low, high)), rescale=rescale)
        backwards = mean_probability_reward(logits[::-1], low[::-1], high[::-1], rescale=rescale)
        assert np.asarray(ours) == pytest.approx(reward, rel=1e-9)
        assert backwards == pytest.approx(reward, rel=1e-9)


def test_float32_stays_float32():
    logits, ends = torch.randn(3, 5), torch.ones(3)
    assert mean_probability_reward(logits, -ends, ends).dtype == torch.float32
    assert rescale_logits(logits.numpy(), -ends.numpy(), ends.numpy()).dtype == np.float32


def test_worked_optimal_discriminator():
    places = np.arange(4.0)
    real = np.exp(-(places**2) / 2)
    generated = np.exp(-(places**2) / 8) / 2
    best = optimal_discriminator(real, generated)
    assert best == pytest.approx([0.666667, 0.578873, 0.308562, 0.064053], abs=1e-6)
    np.testing.assert_array_equal(optimal_discriminator(torch.tensor(real), torch.tensor(generated)).numpy(), best)
    rewards = dynamics_reward_of_logit(np.log(best / (1 - best)))
    assert rewards == pytest.approx([1.098612, 0.864820, 0.368981, 0.066196], abs=1e-6)
    assert rewards == pytest.approx(np.log1p(real / generated))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: dynamics_reward_of_logit(np.array([0.0, np.nan])), ValueError, r"logits\[1\] is nan"),
        (lambda: dynamics_reward_of_logit(np.array([1, 2])), TypeError, "logits has dtype int64, expected floats"),
        (lambda: dynamics_reward_of_logit([0.0]), TypeError, "logits: expected a NumPy array or torch tensor"),
        (lambda: mean_probability_reward(np.zeros((2, 3))), ValueError, "low is None, expected one number a snapshot"),
        (lambda: rescale_logits(np.zeros(2), np.zeros(3), np.ones(3)), ValueError, r"low has shape \(3,\), expected"),
        (lambda: rescale_logits(np.zeros(2), np.zeros(2), np.array([1.0, 0.0])), ValueError, r"high\[1\] is 0 and low"),
        (lambda: rescale_logits(np.zeros(2), np.zeros(2), np.array([1.0, np.inf])), ValueError, r"high\[1\] is inf"),
        (lambda: rescale_logits(np.array(1.0), np.zeros(1), np.ones(1)), ValueError, r"expected \(K, \.\.\.\)"),
        (lambda: rescale_logits(np.zeros(2), np.zeros(2), np.ones(2), rescale="x"), ValueError, "rescale is 'x'"),
        (lambda: mean_probability_reward(np.zeros(2), rescale="none", probability_clip=0), ValueError, "clip is 0"),
        (lambda: mean_probability_reward(np.zeros(2), rescale="none", epsilon=-1e-9), ValueError, "epsilon is -1e-09"),
        (lambda: optimal_discriminator(np.zeros(2), np.array([0.0, 1.0])), ValueError, "both 0 at a place"),
        (lambda: optimal_discriminator(np.array([-1.0]), np.ones(1)), ValueError, "real is -1.0 at its least"),
        (lambda: optimal_discriminator(np.ones(2), np.ones(3)), ValueError, "expected the same"),
    ],
)
def test_bad_input(without_type_checks, call, error, message):
    with pytest.raises(error, match=message):
        call()
