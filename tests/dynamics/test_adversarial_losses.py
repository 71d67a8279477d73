"""Losses of the adversarial game, against their definitions."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.dynamics.adversarial_losses import (
    advantages_of,
    clipped_policy_loss,
    discriminator_loss,
    generator_rewards,
    verdict_entropy,
)

logits = st.floats(-30, 30)


def test_loss_of_a_discriminator_that_knows_nothing_is_log_4():
    assert float(discriminator_loss(torch.zeros(7), torch.zeros(3))) == pytest.approx(math.log(4), abs=1e-6)


@given(st.lists(logits, min_size=1, max_size=5), st.lists(logits, min_size=1, max_size=5))
def test_loss_is_the_cross_entropy_each_side_averaged(real, generated):
    real, generated = (torch.tensor(x, dtype=torch.float64) for x in (real, generated))
    believed, doubted = torch.sigmoid(real), torch.sigmoid(-generated)
    wanted = -believed.log().mean() - doubted.log().mean()
    assert float(discriminator_loss(real, generated)) == pytest.approx(float(wanted), rel=1e-9)


def test_loss_is_least_at_the_log_ratio_of_densities():
    real, generated = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.1, 0.3, 0.6])

    def loss(at):
        return (real * torch.nn.functional.softplus(-at) + generated * torch.nn.functional.softplus(at)).sum()

    best = (real / generated).log().requires_grad_()
    drawn = [torch.repeat_interleave(best, (density * 10).round().int()) for density in (real, generated)]
    found = discriminator_loss(*drawn)
    assert float(found.detach()) == pytest.approx(float(loss(best.detach())), rel=1e-6)
    found.backward()
    assert best.grad.abs().max() < 1e-6
    assert float(found.detach()) < math.log(4)


@given(logits)
def test_generator_is_paid_minus_log_of_doubt(logit):
    reward = float(generator_rewards(torch.tensor(logit, dtype=torch.float64)))
    assert reward == pytest.approx(math.log1p(math.exp(logit)), rel=1e-9)


@given(st.lists(logits, min_size=1, max_size=5))
def test_entropy_is_that_of_two_outcomes(values):
    values = torch.tensor(values, dtype=torch.float64)
    wanted = torch.distributions.Bernoulli(logits=values).entropy().mean()
    found = float(verdict_entropy(values))
    assert found == pytest.approx(float(wanted), abs=1e-9)
    assert -1e-12 <= found <= math.log(2) + 1e-12


@given(st.integers(1, 5), st.floats(0, 1), st.floats(0, 1), st.integers(0, 100))
def test_advantages_by_brute_force(length, discount, trace, seed):
    rng = np.random.default_rng(seed)
    rewards, values = rng.normal(size=(2, length, 3))
    found = advantages_of(torch.as_tensor(rewards), torch.as_tensor(values), discount=discount, trace=trace)
    padded = np.concatenate([values, np.zeros((1, 3))])
    errors = rewards + discount * padded[1:] - padded[:-1]
    wanted = [sum((discount * trace) ** (k - t) * errors[k] for k in range(t, length)) for t in range(length)]
    np.testing.assert_allclose(found, np.array(wanted), atol=1e-12)


def test_full_trace_is_the_whole_sum_minus_the_value():
    rewards, values = torch.tensor([[1.0], [2.0], [4.0]]), torch.tensor([[0.5], [0.25], [7.0]])
    found = advantages_of(rewards, values, discount=0.5, trace=1.0)
    assert found.flatten().tolist() == pytest.approx([3.0 - 0.5, 4.0 - 0.25, 4.0 - 7.0])


def test_policy_loss_has_the_policy_gradient_at_ratio_1():
    log_ratio = torch.zeros(3, requires_grad=True)
    advantages = torch.tensor([1.0, -2.0, 0.5])
    clipped_policy_loss(log_ratio, advantages, clip=0.2).backward()
    torch.testing.assert_close(log_ratio.grad, -advantages / 3)


def test_ratios_that_pay_stop_at_the_clip_and_those_that_cost_do_not():
    log_ratio = torch.tensor([1.3, 1.3, 0.7, 0.7]).log().requires_grad_()
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    loss = clipped_policy_loss(log_ratio, advantages, clip=0.2)
    assert float(loss.detach()) == pytest.approx(-(1.2 - 1.3 + 0.7 - 0.8) / 4, rel=1e-6)
    loss.backward()
    assert (log_ratio.grad == 0).tolist() == [True, False, False, True]
