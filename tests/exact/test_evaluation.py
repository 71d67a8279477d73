"""Policy evaluation against sums over time, and the identities that returns, values and advantages obey."""

import numpy as np
import pytest
from hypothesis import given

from rewardlab.exact import (
    FiniteMDP,
    action_values,
    advantages,
    flow_matrix,
    occupancy,
    policy_return,
    state_values,
    uniform_policy,
)
from tests.strategies import (
    corridor,
    horizon,
    random_policy,
    seeds,
    two_state_world,
    worlds,
    worlds_and_rewards,
)


def visits_by_time(mdp, policy, steps):
    """Occupancy as a sum over time steps, by loops."""
    visits, state = np.zeros((mdp.states, mdp.actions)), mdp.initial.astype(float).copy()
    for time in range(steps):
        state = np.where(mdp.terminal, 0, state)
        action = state[:, None] * policy
        visits += mdp.discount**time * action
        state = np.einsum("sa,sat->t", action, mdp.transition)
    return visits


@given(worlds(discounts=(0.0, 0.5, 0.9)), seeds)
def test_occupancy_is_the_sum_over_time(mdp, seed):
    policy = random_policy(mdp, np.random.default_rng(seed))
    visits = occupancy(mdp, policy)
    np.testing.assert_allclose(visits, visits_by_time(mdp, policy, 300), atol=1e-12)
    np.testing.assert_array_equal(visits[mdp.terminal], 0)
    np.testing.assert_allclose(flow_matrix(mdp).T @ visits.ravel(), np.where(mdp.terminal, 0, mdp.initial), atol=1e-12)
    if not mdp.terminal.any():
        assert visits.sum() == pytest.approx(1 / (1 - mdp.discount), rel=1e-12)


@given(worlds_and_rewards(), seeds)
def test_values_are_returns_and_returns_are_inner_products(world, seed):
    mdp, reward = world
    policy = random_policy(mdp, np.random.default_rng(seed))
    small = 1e-12 * horizon(mdp) * max(abs(reward).max(), 1e-300)
    values = state_values(mdp, reward, policy)
    expected = mdp.state_action_reward(reward)
    np.testing.assert_allclose(mdp.initial @ values, np.vdot(expected, occupancy(mdp, policy)), atol=small)
    np.testing.assert_allclose(policy_return(mdp, reward, policy), mdp.initial @ values, atol=small)
    np.testing.assert_array_equal(values[mdp.terminal], 0)
    for start in range(mdp.states):
        at_start = FiniteMDP(mdp.transition, mdp.discount, initial=np.eye(mdp.states)[start], terminal=mdp.terminal)
        assert policy_return(at_start, reward, policy) == pytest.approx(values[start], abs=small)


@given(worlds_and_rewards(), seeds)
def test_bellman_equations(world, seed):
    mdp, reward = world
    policy = random_policy(mdp, np.random.default_rng(seed))
    small = 1e-12 * horizon(mdp) * max(abs(reward).max(), 1e-300)
    values, q = state_values(mdp, reward, policy), action_values(mdp, reward, policy)
    alive = ~mdp.terminal[:, None, None]
    target = (mdp.transition * alive * (reward + mdp.discount * values)).sum(-1)
    np.testing.assert_allclose(q, target, atol=small)
    np.testing.assert_allclose((policy * q).sum(-1), values, atol=small)
    advantage = advantages(mdp, reward, policy)
    np.testing.assert_allclose(advantage, q - values[:, None], atol=small)
    np.testing.assert_allclose((policy * advantage).sum(-1), 0, atol=small)
    np.testing.assert_array_equal(advantage[mdp.terminal], 0)
    np.testing.assert_allclose(np.vdot(advantage, occupancy(mdp, policy)), 0, atol=small * horizon(mdp))


@given(worlds_and_rewards(), seeds)
def test_performance_difference(world, seed):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    before, after = random_policy(mdp, rng), random_policy(mdp, rng)
    gained = policy_return(mdp, reward, after) - policy_return(mdp, reward, before)
    promised = np.vdot(advantages(mdp, reward, before), occupancy(mdp, after))
    assert gained == pytest.approx(promised, abs=1e-12 * horizon(mdp) ** 2 * max(abs(reward).max(), 1e-300))


def test_worked_example():
    mdp, reward, _ = two_state_world()
    np.testing.assert_allclose(state_values(mdp, reward), [2.75, 2.25], atol=1e-14)
    np.testing.assert_allclose(advantages(mdp, reward), [[-0.275, 0.275], [-0.225, 0.225]], atol=1e-14)
    np.testing.assert_array_equal(uniform_policy(mdp), 0.5)


def test_gamblers_ruin():
    """A fair walk between two ends pays 1 on the right: probability of ending there, and expected duration."""
    mdp = corridor(1.0)
    fair = np.full((5, 2), 0.5)
    reward = np.zeros((5, 2, 5))
    reward[3, :, 4] = 1
    reward[4] = 100  # never collected
    np.testing.assert_allclose(state_values(mdp, reward, fair), [0, 0.25, 0.5, 0.75, 0], atol=1e-14)
    np.testing.assert_allclose(state_values(mdp, np.ones((5, 2)), fair), [0, 3, 4, 3, 0], atol=1e-13)
    assert occupancy(mdp, fair).sum() == pytest.approx(10 / 3)


@pytest.mark.parametrize("policies", [(), (3,), (2, 1)])
@pytest.mark.parametrize("rewards", [(), (3,), (2, 3)])
@pytest.mark.parametrize("worlds_", [(), (3,), (2, 3), (2, 1)])
def test_batches_broadcast(worlds_, rewards, policies):
    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.ones(4), (*worlds_, 4, 3))
    terminal = np.zeros((*worlds_, 4), bool)
    terminal[..., 1] = True
    transition[..., 1, :, :] = np.eye(4)[1]
    discount = np.full(worlds_, 0.5) + 0.4 * rng.random(worlds_) if worlds_ else 0.9
    mdp = FiniteMDP(transition, discount, terminal=terminal)
    reward = rng.normal(size=(*rewards, 4, 3, 4))
    policy = rng.dirichlet(np.ones(3), (*policies, 4))
    batch = np.broadcast_shapes(worlds_, rewards, policies)
    results = {f: f(mdp, reward, policy) for f in (state_values, action_values, advantages, policy_return)}
    visits = np.broadcast_to(occupancy(mdp, policy), (*batch, 4, 3))
    full = [
        np.broadcast_to(x, batch + x.shape[x.ndim - k :])
        for x, k in ((mdp.transition, 3), (reward, 3), (policy, 2), (np.asarray(discount), 0))
    ]
    for index in np.ndindex(batch):
        one = FiniteMDP(full[0][index], float(full[3][index]), terminal=np.arange(4) == 1)
        for function, result in results.items():
            alone = function(one, full[1][index], full[2][index])
            np.testing.assert_allclose(result[index], alone, rtol=1e-11, atol=1e-13)
        np.testing.assert_allclose(visits[index], occupancy(one, full[2][index]), rtol=1e-11, atol=1e-13)
