import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.intrinsic.bradley_terry import (
    bradley_terry_gradient,
    bradley_terry_loss,
    preference_probability,
    preference_target,
)

REWARDS = st.floats(-30, 30)
TARGETS = st.sampled_from([0.0, 0.5, 1.0])


def arrays(*numbers, kind=np.array):
    return tuple(kind([number]) for number in numbers)


def test_worked_numbers():
    first, second = np.full(3, 0.3), np.full(3, 1.1)
    target = np.array([1.0, 0.0, 0.5])
    np.testing.assert_allclose(preference_probability(first, second), 0.689974, atol=5e-7)
    np.testing.assert_allclose(bradley_terry_loss(first, second, target), [0.371101, 1.171101, 0.771101], atol=5e-7)
    np.testing.assert_allclose(
        bradley_terry_gradient(first, second, target), [-0.310026, 0.689974, 0.189974], atol=5e-7
    )


@given(REWARDS, REWARDS, TARGETS)
def test_is_the_cross_entropy_of_the_preference(one, two, target):
    first, second, wanted = arrays(one, two, target)
    better = math.exp(two) / (math.exp(one) + math.exp(two))
    worse = math.exp(one) / (math.exp(one) + math.exp(two))
    assert preference_probability(first, second)[0] == pytest.approx(better, rel=1e-9)
    expected = -(target * math.log(better) if target else 0) - ((1 - target) * math.log(worse) if target < 1 else 0)
    assert bradley_terry_loss(first, second, wanted)[0] == pytest.approx(expected, abs=1e-9)


@given(REWARDS, REWARDS, TARGETS, st.floats(-20, 20))
def test_a_shift_and_an_exchange_change_nothing(one, two, target, shift):
    first, second, wanted = arrays(one, two, target)
    loss = bradley_terry_loss(first, second, wanted)
    np.testing.assert_allclose(bradley_terry_loss(first + shift, second + shift, wanted), loss, atol=1e-9)
    np.testing.assert_allclose(bradley_terry_loss(second, first, 1 - wanted), loss, atol=1e-9)
    assert loss[0] >= 0
    assert bradley_terry_loss(first, second, np.array([0.5]))[0] >= math.log(2) - 1e-12


@given(REWARDS, REWARDS, TARGETS)
def test_gradient_is_that_of_autograd_and_numpy_agrees_with_torch(one, two, target):
    first, second, wanted = arrays(one, two, target, kind=lambda one: torch.tensor(one, dtype=torch.float64))
    second.requires_grad_()
    first.requires_grad_()
    loss = bradley_terry_loss(first, second, wanted)
    loss.sum().backward()
    gradient = bradley_terry_gradient(first.detach(), second.detach(), wanted)
    torch.testing.assert_close(second.grad, gradient)
    torch.testing.assert_close(first.grad, -gradient)
    of_numpy = bradley_terry_loss(*arrays(one, two, target))
    np.testing.assert_allclose(loss.detach().numpy(), of_numpy, rtol=1e-12, atol=1e-12)


def test_extreme_rewards_stay_finite():
    first, second = np.array([-1e4, 1e4]), np.array([1e4, -1e4])
    assert preference_probability(first, second).tolist() == [1, 0]
    assert bradley_terry_loss(first, second, np.array([1.0, 1.0])).tolist() == [0, 2e4]
    assert bradley_terry_loss(np.zeros(1), np.zeros(1), np.array([0.5]))[0] == pytest.approx(math.log(2))


def test_answers_become_targets():
    assert [preference_target(label) for label in (0, 1, 2, 3)] == [0, 1, 0.5, 0.5]
    for label in (-1, 4):
        with pytest.raises(ValueError, match=f"label is {label}, expected 0"):
            preference_target(label)
