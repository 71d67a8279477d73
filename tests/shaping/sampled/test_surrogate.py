import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.features import RawFeatures
from rewardlab.shaping.sampled.policies import GaussianPolicy, SoftmaxPolicy
from rewardlab.shaping.sampled.surrogate import BY_PRODUCT, reward_to_go, surrogate


@st.composite
def batches(draw):
    generator = np.random.default_rng(draw(st.integers(0, 2**16)))
    episodes, steps, wide = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.booleans())
    lengths = generator.integers(1, steps + 1, episodes)
    lengths[0] = steps
    mask = torch.from_numpy(np.arange(steps) < lengths[:, None])
    x = torch.from_numpy(generator.normal(size=(episodes, steps, 3)))
    indices = torch.from_numpy(generator.integers(0, 4, (episodes, steps)))
    actions = torch.from_numpy(generator.normal(size=(episodes, steps, 2))) if wide else indices
    primary = torch.from_numpy(generator.normal(size=(episodes, steps)))  # not 0 in the padding: must not matter
    policy = GaussianPolicy(RawFeatures(3), 2, 0.5, rng=1) if wide else SoftmaxPolicy(RawFeatures(3), 4, rng=1)
    return policy, Batch(x, actions, primary, primary[..., None], mask, float(steps + 3))


def by_loops(policy, batch, rewards, discount, entropy_weight):
    """Section by section as the algorithm is written down: one log-probability, one sum at a time."""
    total, entropies, count = 0.0, 0.0, 0
    for x, actions, row, mask in zip(batch.x, batch.actions, rewards, batch.mask, strict=True):
        steps = int(mask.sum())
        for t in range(steps):
            log_prob, entropy = by_hand(policy, x[t], actions[t])
            total += log_prob * sum(discount ** (j - t) * float(row[j]) for j in range(t, steps))
            entropies, count = entropies + entropy, count + 1
    return total / len(rewards) / batch.divisor + entropy_weight * entropies / count


def by_hand(policy, x, action):
    out = [float(value) for value in policy.net(x)]
    if isinstance(policy, SoftmaxPolicy):
        p = [math.exp(value) / sum(map(math.exp, out)) for value in out]
        return math.log(p[int(action)]), -sum(value * math.log(value) for value in p)
    width = policy.standard_deviation
    log_prob = sum(
        -((float(a) - m) ** 2) / (2 * width**2) - math.log(width * math.sqrt(2 * math.pi))
        for a, m in zip(action, out, strict=True)
    )
    return log_prob, math.log(width * math.sqrt(2 * math.pi * math.e))


@given(batches(), st.sampled_from([0.0, 0.3, 0.99, 1.0]), st.sampled_from([0.0, 0.25]))
def test_surrogate_is_the_sum_by_loops(drawn, discount, entropy_weight):
    policy, batch = drawn
    found = surrogate(policy, None, batch, batch.primary, discount, entropy_weight=entropy_weight)
    assert float(found) == pytest.approx(by_loops(policy, batch, batch.primary, discount, entropy_weight), abs=1e-10)
    other = {name: parameter + 0.1 for name, parameter in policy.named_parameters()}
    moved = surrogate(policy, other, batch, batch.primary, discount, entropy_weight=entropy_weight)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter += 0.1
    assert float(moved) == pytest.approx(by_loops(policy, batch, batch.primary, discount, entropy_weight), abs=1e-10)


@settings(max_examples=20)
@given(batches(), st.sampled_from([0.0, 0.25]))
def test_gradients_in_parameters_rewards_and_discount_are_finite_differences(drawn, entropy_weight):
    policy, batch = drawn
    names = [name for name, _ in policy.named_parameters()]

    def value(discount, rewards, *parameters):
        own = dict(zip(names, parameters, strict=True))
        return surrogate(policy, own, batch, rewards, discount, entropy_weight=entropy_weight)

    discount = torch.tensor(0.9, dtype=torch.float64, requires_grad=True)
    given = [
        batch.primary.clone().requires_grad_(),
        *(p.detach().clone().requires_grad_() for p in policy.parameters()),
    ]
    assert torch.autograd.gradcheck(value, (discount, *given))
    assert torch.autograd.gradgradcheck(value, (discount, *given))


@given(batches(), st.booleans())
def test_closed_gradients_are_those_of_the_surrogate(drawn, with_entropy):
    policy, batch = drawn
    weight = 0.25 if with_entropy else 0.0
    value = surrogate(policy, None, batch, batch.primary, 0.9, entropy_weight=weight)
    expected = torch.autograd.grad(value, list(policy.parameters()))
    returns = reward_to_go(torch.where(batch.mask, batch.primary, 0), 0.9)
    weights = torch.where(batch.mask, returns, 0) / len(returns) / batch.divisor
    entropies = weight * batch.mask.double() / batch.mask.sum() if with_entropy else None
    for ours, theirs in zip(policy.gradient(batch.x, batch.actions, weights, entropies), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, BY_PRODUCT, BY_PRODUCT + 1, 301])
@pytest.mark.parametrize("discount", [0.0, 0.7, 1.0])
def test_reward_to_go_by_product_and_by_doubling(steps, discount):
    rewards = torch.from_numpy(np.random.default_rng(0).normal(size=(2, steps))).requires_grad_()
    rate = torch.tensor(discount, dtype=torch.float64, requires_grad=True)
    found = reward_to_go(rewards, rate)
    later, expected = torch.zeros(2, dtype=torch.float64), []
    for t in reversed(range(steps)):
        later = rewards[:, t] + rate * later
        expected.append(later)
    expected = torch.stack(expected[::-1], 1)
    torch.testing.assert_close(found, expected, atol=1e-10, rtol=1e-10)
    weights = torch.from_numpy(np.random.default_rng(1).normal(size=(2, steps)))
    ours = torch.autograd.grad((found * weights).sum(), (rewards, rate))
    theirs = torch.autograd.grad((expected * weights).sum(), (rewards, rate), materialize_grads=True)
    for mine, plain in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, plain, atol=1e-8, rtol=1e-8)


def test_rewards_of_another_shape():
    policy, batch = SoftmaxPolicy(RawFeatures(3), 2), torch.zeros(2, 3)
    whole = Batch.of(torch.zeros(2, 3, 3, dtype=torch.float64), batch.long(), batch, batch[..., None])
    with pytest.raises(ValueError, match=r"rewards has shape \(2, 2\), expected .* \(2, 3\)"):
        surrogate(policy, None, whole, torch.zeros(2, 2), 0.9)


def test_a_batch_of_no_mask_has_steps_only():
    values = torch.zeros(2, 3, dtype=torch.float64)
    batch = Batch.of(torch.zeros(2, 3, 1), values.long(), values, values[..., None])
    assert batch.mask.all() and batch.divisor == 3
