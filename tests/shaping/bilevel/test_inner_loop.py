"""Exact training: gradient ascent, and the stationary point of a penalised problem."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.guided.exact_grid import guided_grid
from rewardlab.exact import FiniteMDP, policy_return
from rewardlab.shaping.bilevel.hypergradient import solve_inner
from rewardlab.shaping.bilevel.inner_loop import gradient_ascent, stationary_logits
from rewardlab.shaping.bilevel.policy_parameters import hessian, policy_gradient, regularised_return
from tests.strategies import seeds, worlds


def softmax(logits):
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


def test_ascent_is_the_gradient_added_up():
    rng = np.random.default_rng(0)
    mdp = FiniteMDP(rng.dirichlet(np.ones(4), (4, 3)), 0.9)
    reward, start = rng.normal(size=(2, 4, 3))
    options = {"discount": 0.7, "temperature": 0.2, "penalty": 0.1}
    logits = start
    for _ in range(3):
        logits = logits + 0.5 * policy_gradient(mdp, reward, logits, **options)
    found = gradient_ascent(mdp, reward, steps=3, learning_rate=0.5, start=start, **options)
    np.testing.assert_allclose(found, logits, rtol=1e-14)


def test_forty_steps_on_the_grid():
    world = guided_grid()
    logits = gradient_ascent(world.mdp, world.primary, steps=40, learning_rate=2.0)
    np.testing.assert_allclose(policy_return(world.mdp, world.primary, softmax(logits)), 0.8258, atol=5e-5)
    assert (logits[world.mdp.terminal] == 0).all()


@settings(max_examples=50)
@given(worlds(discounts=(0.5, 0.9)), seeds, st.sampled_from([0.0, 0.2]), st.sampled_from([0.02, 1.0]))
def test_the_stationary_point_is_a_maximum(mdp, seed, temperature, penalty):
    reward = np.random.default_rng(seed).normal(size=(mdp.states, mdp.actions))
    options = {"temperature": temperature, "penalty": penalty}
    logits = stationary_logits(mdp, reward, **options)
    assert abs(policy_gradient(mdp, reward, logits, **options)).max() < 1e-9
    assert np.linalg.eigvalsh(hessian(mdp, reward, logits, **options)).max() < 1e-9
    np.testing.assert_allclose(logits.sum(-1), 0, atol=1e-8)
    start = regularised_return(mdp, reward, np.zeros_like(logits), **options)
    assert regularised_return(mdp, reward, logits, **options) >= start


def test_a_bandit_by_hand():
    """One logit x against -x: 2 * penalty * x = p (1 - p) * 2 * gap, found by bisection."""
    bandit = FiniteMDP(np.ones((1, 2, 1)), 0.0)
    low, high = 0.0, 10.0
    for _ in range(80):
        x = (low + high) / 2
        p = 1 / (1 + np.exp(-2 * x))
        low, high = (x, high) if p * (1 - p) > 0.1 * x else (low, x)
    found = stationary_logits(bandit, np.array([[1.0, 0.0]]), penalty=0.1)
    np.testing.assert_allclose(found, [[x, -x]], rtol=1e-12)


def test_a_small_penalty_comes_to_the_soft_optimum():
    rng = np.random.default_rng(2)
    mdp = FiniteMDP(rng.dirichlet(np.ones(4), (4, 3)), 0.9)
    reward = rng.normal(size=(4, 3))
    logits = stationary_logits(mdp, reward, penalty=1e-9, temperature=0.5)
    np.testing.assert_allclose(softmax(logits), solve_inner(mdp, reward, 0.5).policy, atol=1e-7)


def test_a_batch_is_its_worlds_one_by_one_and_torch_is_numpy():
    rng = np.random.default_rng(3)
    mdp = FiniteMDP(rng.dirichlet(np.ones(5), (6, 5, 3)), 0.95)
    reward = rng.normal(size=(6, 5, 3))
    options = {"penalty": 0.01, "discount": 0.8}
    together = stationary_logits(mdp, reward, **options)
    for world in range(6):
        alone = stationary_logits(mdp[world], reward[world], **options)
        np.testing.assert_allclose(together[world], alone, atol=1e-9)
    theirs = stationary_logits(FiniteMDP(torch.tensor(mdp.transition), 0.95), torch.tensor(reward), **options)
    np.testing.assert_allclose(together, theirs.numpy(), atol=1e-9)


def test_from_wherever_it_starts_it_goes_up_to_a_maximum_and_stays():
    world = guided_grid()
    rng = np.random.default_rng(4)
    starts = 3 * rng.normal(size=(6, 25, 4))
    blended, options = world.primary + 0.2 * world.bad, {"penalty": 1e-3}
    found = stationary_logits(world.mdp, blended, start=starts, **options)
    assert abs(policy_gradient(world.mdp, blended, found, **options)).max() < 1e-9
    before, after = (regularised_return(world.mdp, blended, at, **options) for at in (starts, found))
    assert (after > before).all()
    again = stationary_logits(world.mdp, blended, start=found, **options)
    np.testing.assert_allclose(again, found, atol=1e-7)


WORLD = guided_grid()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: stationary_logits(WORLD.mdp, WORLD.primary, penalty=0), ValueError, "penalty is 0, expected a number"),
        (
            lambda: stationary_logits(WORLD.mdp, WORLD.primary, penalty=1, tolerance=0),
            ValueError,
            "tolerance is 0, expected a number in (0",
        ),
        (
            lambda: stationary_logits(WORLD.mdp, WORLD.primary * np.nan, penalty=1),
            ValueError,
            "reward[0, 0, 0] is nan",
        ),
        (
            lambda: stationary_logits(WORLD.mdp, WORLD.primary, penalty=1, start=np.zeros(4)),
            ValueError,
            "start has shape (4,), expected (*batch, 25, 4)",
        ),
        (
            lambda: gradient_ascent(WORLD.mdp, WORLD.primary, steps=-2, learning_rate=1),
            ValueError,
            "steps is -2, expected",
        ),
        (
            lambda: gradient_ascent(WORLD.mdp, WORLD.primary, steps=1, learning_rate=-1),
            ValueError,
            "learning_rate is -1, expected",
        ),
        (
            lambda: gradient_ascent(WORLD.mdp, WORLD.primary[:, :2], steps=1, learning_rate=1),
            ValueError,
            "reward has shape",
        ),
    ],
)
def test_refusals(call, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
