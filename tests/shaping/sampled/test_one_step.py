"""Hyper-gradients through an update or several, against finite differences, exact unrolling and each other."""

import numpy as np
import pytest
import torch
from torch.func import functional_call

from rewardlab.exact.mdp import FiniteMDP
from rewardlab.shaping.bilevel import policy_parameters
from rewardlab.shaping.bilevel.unrolled import unrolled_hypergradient
from rewardlab.shaping.sampled.curvature_products import flat_parameters, named_parameters, surrogate_product
from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.features import OneHot
from rewardlab.shaping.sampled.one_step import (
    carried_sensitivity,
    explicit_mapping_return,
    importance_weighted_gradient,
    importance_weighted_return,
    inner_gradient,
    inner_update,
    meta_gradient_return,
    mixed_derivative,
)
from rewardlab.shaping.sampled.policies import SoftmaxPolicy
from tests.shaping.sampled.layered_world import layered_world, listed, policy_of

DOUBLE = torch.float64
REWARD, ADVICE = np.random.default_rng(11).normal(size=(2, 5, 2))
BATCH = listed(layered_world(early_end=True), REWARD, ADVICE).batch
RATE = 0.7


def number(value):
    return torch.tensor(value, dtype=DOUBLE, requires_grad=True)


def blended(weight, batch=BATCH):
    return batch.primary + weight * batch.auxiliary[..., 0]


def slope(function, at, width=1e-5):
    """Central difference of a function of a number."""
    with torch.no_grad():
        high, low = (float(function(torch.tensor(at + side, dtype=DOUBLE))) for side in (width, -width))
    return (high - low) / (2 * width)


def to_go(rewards, discount):
    """Sums of rewards from each step on, the slow way."""
    found = np.zeros(rewards.shape)
    for step in reversed(range(rewards.shape[1])):
        found[:, step] = rewards[:, step] + (discount * found[:, step + 1] if step + 1 < rewards.shape[1] else 0)
    return found


def test_the_importance_weighted_return_is_what_it_says():
    policy = policy_of()
    found = importance_weighted_return(policy, BATCH, blended(0.4), 0.9, learning_rate=RATE, outer_discount=0.8)
    gradient = inner_gradient(policy, BATCH, blended(0.4), 0.9)
    moved = named_parameters(policy, flat_parameters(policy) + RATE * gradient)
    with torch.no_grad():
        after = functional_call(policy, moved, (BATCH.x, BATCH.actions))[0].exp()
        ratio = after / policy.log_prob(BATCH.x, BATCH.actions).exp()
    expected = (ratio.numpy() * to_go(BATCH.primary.numpy(), 0.8) * BATCH.mask.numpy()).sum() / len(BATCH.mask) / 3
    assert float(found) == pytest.approx(expected)


@pytest.mark.parametrize("entropy_weight", [0.0, 0.2])
def test_derivatives_by_a_scalar_weight_and_the_discount(entropy_weight):
    policy = policy_of()
    settings = {"learning_rate": RATE, "entropy_weight": entropy_weight}

    def by_weight(weight):
        return importance_weighted_return(policy, BATCH, blended(weight), 0.9, **settings)

    def by_discount(discount):
        return importance_weighted_return(policy, BATCH, blended(0.4), discount, **settings)

    for function, at in ((by_weight, 0.4), (by_discount, 0.9)):
        place = number(at)
        (found,) = torch.autograd.grad(function(place), place)
        assert float(found) == pytest.approx(slope(function, at), rel=1e-7)
        assert abs(float(found)) > 1e-4


def test_the_importance_weighted_gradient_is_its_gradient_after_the_update():
    policy = policy_of()
    updated = flat_parameters(policy) + torch.linspace(-0.5, 0.5, 12, dtype=DOUBLE)
    found = importance_weighted_gradient(policy, BATCH, updated, outer_discount=0.8)
    moved, worth = policy_of(), torch.tensor(to_go(BATCH.primary.numpy(), 0.8)) * BATCH.mask
    moved.load_state_dict(named_parameters(policy, updated))
    with torch.no_grad():
        ratio = (moved.log_prob(BATCH.x, BATCH.actions) - policy.log_prob(BATCH.x, BATCH.actions)).exp()
    expected = moved.gradient(BATCH.x, BATCH.actions, ratio * worth / len(worth) / 3)
    torch.testing.assert_close(found, torch.cat([part.reshape(-1) for part in expected]))
    still = importance_weighted_gradient(policy, BATCH, flat_parameters(policy), outer_discount=0.8)
    torch.testing.assert_close(still, inner_gradient(policy, BATCH, BATCH.primary, 0.8))  # no update, no ratio
    assert float((found - still).abs().max()) > 1e-3


def test_derivatives_by_a_weight_a_state_and_a_rate_a_parameter():
    policy = policy_of()
    weights = torch.zeros(5, dtype=DOUBLE, requires_grad=True)
    rate = torch.linspace(0.1, 1.0, 12, dtype=DOUBLE)

    def function(weights):
        rewards = BATCH.primary + (BATCH.x @ weights) * BATCH.auxiliary[..., 0]
        return importance_weighted_return(policy, BATCH, rewards, 0.9, learning_rate=rate)

    (found,) = torch.autograd.grad(function(weights), weights)
    for state in range(4):
        unit = torch.eye(5, dtype=DOUBLE)[state]
        assert float(found[state]) == pytest.approx(slope(lambda size, unit=unit: function(size * unit), 0.0), abs=1e-8)
    assert found[4] == 0  # the end


def test_small_updates_align_gradients():
    policy, weight = policy_of(), number(0.4)
    of_primary = inner_gradient(policy, BATCH, BATCH.primary, 0.99)
    of_advice = inner_gradient(policy, BATCH, BATCH.auxiliary[..., 0], 0.9)
    aligned = float(of_primary @ of_advice)
    rate = 1e-6
    objective = importance_weighted_return(policy, BATCH, blended(weight), 0.9, learning_rate=rate)
    assert float(torch.autograd.grad(objective, weight)[0]) / rate == pytest.approx(aligned, rel=1e-4)
    for rate in (1e-6, 1.0):  # the meta-gradient is linear in the rate
        objective = meta_gradient_return(
            policy, BATCH, blended(weight), 0.9, outer_gradient=of_primary, learning_rate=rate
        )
        assert float(torch.autograd.grad(objective, weight)[0]) == pytest.approx(rate * aligned)


def test_given_advantages_are_used():
    policy, weight = policy_of(), number(0.4)
    advantages = torch.ones_like(BATCH.primary)
    objective = importance_weighted_return(
        policy, BATCH, blended(weight), 0.9, learning_rate=RATE, advantages=advantages
    )
    defaults = importance_weighted_return(policy, BATCH, blended(weight), 0.9, learning_rate=RATE)
    objective, defaults = float(objective.detach()), float(defaults.detach())
    assert objective != pytest.approx(defaults)
    assert objective == pytest.approx(1, abs=0.5)  # ratios, averaged
    in_padding = torch.where(BATCH.mask, advantages, 9.0)
    again = importance_weighted_return(policy, BATCH, blended(0.4), 0.9, learning_rate=RATE, advantages=in_padding)
    assert float(again) == pytest.approx(objective)


def test_meta_gradient_is_the_derivative_of_the_primary_return_after_the_update():
    """With exact gradients in place of sampled ones it is one step of exact unrolling."""
    policy, weight = policy_of(), number(0.4)

    def judged(weight):  # any function of the updated parameters
        updated = inner_update(policy, BATCH, blended(weight), 0.9, learning_rate=RATE)
        return (updated.sin() * torch.arange(12)).sum()

    updated = inner_update(policy, BATCH, blended(weight), 0.9, learning_rate=RATE).detach()
    outer = updated.cos() * torch.arange(12)
    objective = meta_gradient_return(policy, BATCH, blended(weight), 0.9, outer_gradient=outer, learning_rate=RATE)
    assert float(torch.autograd.grad(objective, weight)[0]) == pytest.approx(slope(judged, 0.4), rel=1e-7)


def test_mixed_derivative_by_weight_and_discount():
    policy = policy_of()

    def blend(weights):
        return blended(weights[0]), weights[1]

    found = mixed_derivative(policy, BATCH, blend, torch.tensor([0.4, 0.9], dtype=DOUBLE))
    assert found.shape == (12, 2)
    np.testing.assert_allclose(found[:, 0], inner_gradient(policy, BATCH, BATCH.auxiliary[..., 0], 0.9), atol=1e-12)
    width = 1e-5
    high, low = (inner_gradient(policy, BATCH, blended(0.4), 0.9 + side) for side in (width, -width))
    np.testing.assert_allclose(found[:, 1], (high - low) / (2 * width), atol=1e-8)


def test_carried_sensitivities_are_those_of_all_updates():
    """Several updates on one batch are a function of the weights; its derivative, by finite differences."""
    weights, steps = torch.tensor([0.4, -0.2], dtype=DOUBLE), 4

    def blend(weights):
        return blended(weights[0]) + weights[1] * BATCH.x[..., 2], 0.9

    def trained(weights, sensitivity=None):
        policy = policy_of()
        for _ in range(steps):
            rewards, discount = blend(weights)
            if sensitivity is not None:
                product = surrogate_product(policy, BATCH, rewards, discount, entropy_weight=0.1)
                mixed = mixed_derivative(policy, BATCH, blend, weights)
                sensitivity = carried_sensitivity(sensitivity, product, mixed, learning_rate=RATE)
            moved = inner_update(policy, BATCH, rewards, discount, learning_rate=RATE, entropy_weight=0.1)
            policy.load_state_dict(named_parameters(policy, moved.detach()))
        return flat_parameters(policy), sensitivity

    _, found = trained(weights, torch.zeros(12, 2, dtype=DOUBLE))
    width = 1e-5
    for place, unit in enumerate(torch.eye(2, dtype=DOUBLE)):
        high, low = (trained(weights + side * width * unit)[0] for side in (1, -1))
        np.testing.assert_allclose(found[:, place], (high - low) / (2 * width), atol=1e-8)


def test_carried_sensitivities_with_exact_products_are_exact_unrolling():
    world = FiniteMDP.random(4, 3, discount=0.8, rng=1)
    primary, advice = np.random.default_rng(2).normal(size=(2, 4, 3))
    reward, steps = primary + 0.5 * advice, 6
    settings = {"temperature": 0.2}
    logits, sensitivity = np.zeros((4, 3)), torch.zeros(12, 1, dtype=DOUBLE)
    for _ in range(steps):
        curved = torch.tensor(policy_parameters.hessian(world, reward, logits, **settings))
        mixed = policy_parameters.mixed_derivative(world, reward, logits, advice[None], **settings)
        sensitivity = carried_sensitivity(
            sensitivity, lambda u, curved=curved: curved @ u, torch.tensor(mixed).reshape(1, 12).T, learning_rate=RATE
        )
        logits = logits + RATE * policy_parameters.policy_gradient(world, reward, logits, **settings)
    outer = policy_parameters.policy_gradient(world, primary, logits)
    truth = unrolled_hypergradient(world, reward, primary, steps=steps, learning_rate=RATE, **settings)
    assert float(sensitivity[:, 0] @ torch.tensor(outer).reshape(-1)) == pytest.approx((truth.reward * advice).sum())


def bandit(policy, count, seed):
    """Episodes of one step: arm 0 is right, arm 1 is what the heuristic pays for."""
    generator = np.random.default_rng(seed)
    arms = torch.tensor([policy.act(np.zeros(1), generator) for _ in range(count)])[:, None]
    return Batch.of(torch.ones(count, 1, 1, dtype=DOUBLE), arms, (arms == 0).double(), (arms == 1).double()[..., None])


@pytest.mark.parametrize("method", ["importance weighted", "meta-gradient", "incremental"])
def test_a_scalar_weight_learns_to_distrust(method):
    """The ablation of one weight: from a blend that prefers the wrong arm to one that prefers the right one."""
    policy, weight = SoftmaxPolicy(OneHot(1), 2), number(1.5)
    sensitivity = torch.zeros(4, 1, dtype=DOUBLE)
    for update in range(60):
        batch, rate = bandit(policy, 64, update), 0.5
        rewards = batch.primary + weight * batch.auxiliary[..., 0]
        updated = inner_update(policy, batch, rewards, 0.9, learning_rate=rate).detach()
        outer = inner_gradient(policy, bandit(policy, 64, 1000 + update), 1.0 * batch.primary, 0.99)
        if method == "importance weighted":
            found = torch.autograd.grad(
                importance_weighted_return(policy, batch, rewards, 0.9, learning_rate=rate), weight
            )[0]
        elif method == "meta-gradient":
            outer = inner_gradient(policy, batch, batch.primary, 0.99)
            objective = meta_gradient_return(policy, batch, rewards, 0.9, outer_gradient=outer, learning_rate=rate)
            found = torch.autograd.grad(objective, weight)[0]
        else:

            def blend(weights, batch=batch):
                return batch.primary + weights[0] * batch.auxiliary[..., 0], 0.9

            product = surrogate_product(policy, batch, rewards, 0.9)
            mixed = mixed_derivative(policy, batch, blend, weight[None])
            sensitivity = carried_sensitivity(sensitivity, product, mixed, learning_rate=rate)
            found = (inner_gradient(policy, batch, batch.primary, 0.99) @ sensitivity)[0]
        weight = number(float(weight) + 0.1 * np.sign(float(found)))
        policy.load_state_dict(named_parameters(policy, updated))
    assert float(weight) < 0.5
    assert float(policy.log_prob(torch.ones(1, 1, dtype=DOUBLE), torch.tensor([0])).exp()) > 0.8


def test_explicit_mapping_is_theorem_1():
    """On every arm of a bandit, weighted by its probability, the derivative is that of the exact return."""
    policy = SoftmaxPolicy(OneHot(2), 3, rng=4)  # one constant feature, and the weight it is told
    earns = torch.tensor([0.3, -0.5, 1.0], dtype=DOUBLE)

    def exact(weight):
        told = torch.stack([torch.ones((), dtype=DOUBLE), weight])
        return torch.softmax(policy.net(told), -1) @ earns

    weight = number(0.6)
    chances = torch.softmax(policy.net(torch.tensor([1.0, 0.6], dtype=DOUBLE)), -1).detach()
    total = 0.0
    for arm, chance in enumerate(chances):
        ones = torch.ones(1, 1, dtype=DOUBLE)
        batch = Batch.of(ones[..., None], torch.tensor([[arm]]), earns[arm] * ones, ones[..., None])
        total = total + chance * explicit_mapping_return(policy, batch, weight.reshape(1, 1, 1))
    (found,) = torch.autograd.grad(total, weight)
    (truth,) = torch.autograd.grad(exact(weight), weight)
    assert float(found) == pytest.approx(float(truth)) and abs(float(truth)) > 1e-3


def one(value=1.0, *shape):
    return torch.full(shape, value, dtype=DOUBLE)


BAD = {
    "rate": (lambda p: inner_update(p, BATCH, BATCH.primary, 0.9, learning_rate=0.0), "learning_rate is 0.0"),
    "rates": (
        lambda p: inner_update(p, BATCH, BATCH.primary, 0.9, learning_rate=one(1.0, 3)),
        r"learning_rate has shape \(3,\), expected a number or one a parameter: \(12,\)",
    ),
    "rate nan": (
        lambda p: inner_update(p, BATCH, BATCH.primary, 0.9, learning_rate=one(torch.nan)),
        "learning_rate has an entry that is not a finite number above 0",
    ),
    "rewards": (
        lambda p: inner_update(p, BATCH, BATCH.primary[:, :1], 0.9, learning_rate=1.0),
        r"rewards has shape \(\d+, 1\), expected \(episodes, steps\)",
    ),
    "advantages": (
        lambda p: importance_weighted_return(
            p, BATCH, BATCH.primary, 0.9, learning_rate=1.0, advantages=BATCH.primary[:1]
        ),
        r"advantages has shape \(1, 3\), expected \(episodes, steps\)",
    ),
    "outer discount": (
        lambda p: importance_weighted_return(p, BATCH, BATCH.primary, 0.9, learning_rate=1.0, outer_discount=1.5),
        "outer_discount is 1.5",
    ),
    "updated": (
        lambda p: importance_weighted_gradient(p, BATCH, one(1.0, 3)),
        r"the flat vector has shape \(3,\), expected \(12,\)",
    ),
    "outer gradient": (
        lambda p: meta_gradient_return(p, BATCH, BATCH.primary, 0.9, outer_gradient=one(1.0, 3), learning_rate=1.0),
        r"outer_gradient has shape \(3,\), expected one a parameter: \(12,\)",
    ),
    "mixed": (
        lambda p: carried_sensitivity(one(0.0, 12, 2), lambda u: u, one(0.0, 12, 3), learning_rate=1.0),
        r"sensitivity has shape \(12, 2\) and mixed \(12, 3\)",
    ),
    "flat sensitivity": (
        lambda p: carried_sensitivity(one(0.0, 12), lambda u: u, one(0.0, 12), learning_rate=1.0),
        r"sensitivity has shape \(12,\)",
    ),
    "shaping weights": (
        lambda p: explicit_mapping_return(p, BATCH, BATCH.primary),
        r"shaping_weights has shape \(\d+, 3\), expected \(episodes, steps, weights\)",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_inputs(case, without_type_checks):
    call, message = BAD[case]
    with pytest.raises((TypeError, ValueError), match=message):
        call(policy_of())
