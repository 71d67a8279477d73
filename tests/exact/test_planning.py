"""Planning against the enumeration of all deterministic policies, and soft planning against value iteration."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.special import logsumexp

from rewardlab.exact import (
    FiniteMDP,
    action_values,
    optimal_policy,
    policy_return,
    potential_shaping,
    soft_optimal_policy,
    state_values,
)
from tests.strategies import (
    corridor,
    deterministic_policies,
    horizon,
    random_policy,
    random_potential,
    random_redistribution,
    scales,
    seeds,
    two_state_world,
    visited,
    worlds,
    worlds_and_rewards,
)

small_worlds = worlds(max_states=4, max_actions=2, discounts=(0.0, 0.5, 0.9))
whole = st.integers(0, 2).map(float)  # rewards of few values, so that ties are common


def best_by_enumeration(mdp, reward):
    """Optimal values, and True for the actions taken by some deterministic policy that is optimal in every state."""
    policies = deterministic_policies(mdp)
    values = state_values(mdp, reward, policies)
    best = values.max(axis=0)
    reached = (values >= best - 1e-9 * max(1, abs(best).max())).all(axis=-1)
    return best, policies[reached].any(axis=0)


def near_ties(mdp, reward):
    """Whether some action is worse by next to nothing: published worlds hold gaps of 1e-10 that rounding may close."""
    q = action_values(mdp, reward, optimal_policy(mdp, reward).policy)
    gaps = q.max(-1, keepdims=True) - q
    return bool(((gaps > 1e-13) & (gaps < 1e-6)).any())


@st.composite
def whole_rewards(draw, from_worlds=small_worlds):
    """A world and a state-action reward of 0, 1 and 2: ties abound in deterministic worlds."""
    mdp, rng = draw(from_worlds), np.random.default_rng(draw(seeds))
    return mdp, rng.integers(0, 3, (mdp.states, mdp.actions)).astype(float)


@given(worlds_and_rewards(from_worlds=small_worlds) | whole_rewards())
def test_agrees_with_all_deterministic_policies(world):
    mdp, reward = world
    scale = max(abs(reward).max(), 1e-300)
    found = optimal_policy(mdp, reward)
    best, ties = best_by_enumeration(mdp, reward / scale)
    assume(not near_ties(mdp, reward / scale))
    np.testing.assert_allclose(found.values, best * scale, atol=1e-11 * scale)
    np.testing.assert_array_equal(found.optimal_actions[~mdp.terminal], ties[~mdp.terminal])
    np.testing.assert_array_equal(found.action, found.optimal_actions.argmax(-1))
    np.testing.assert_array_equal(found.policy, np.eye(mdp.actions)[found.action])
    assert found.expected_return == pytest.approx(mdp.initial @ best * scale, abs=1e-11 * scale)
    np.testing.assert_allclose(state_values(mdp, reward, found.policy), found.values, atol=1e-10 * scale)


@given(worlds_and_rewards(), seeds)
def test_no_policy_earns_more(world, seed):
    mdp, reward = world
    found = optimal_policy(mdp, reward)
    policy = random_policy(mdp, np.random.default_rng(seed))
    slack = 1e-11 * horizon(mdp) * max(abs(reward).max(), 1e-300)
    assert (state_values(mdp, reward, policy) <= found.values + slack).all()
    assert policy_return(mdp, reward, policy) <= found.expected_return + slack


@given(whole_rewards(worlds(discounts=(0.5, 0.9, 0.99))), seeds, st.sampled_from([0.01, 1.0, 1e3]))
def test_equivalent_rewards_have_the_same_optimal_actions(world, seed, size):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    assume(not near_ties(mdp, reward))
    shaped = size * reward[..., None] + potential_shaping(mdp, random_potential(mdp, rng, size))
    shaped = shaped + random_redistribution(mdp, rng, size)
    np.testing.assert_array_equal(
        optimal_policy(mdp, shaped).optimal_actions, optimal_policy(mdp, reward).optimal_actions
    )


@given(worlds_and_rewards(from_worlds=visited, scale=st.just(1.0)), seeds)
def test_optimality_preserving_construction(world, seed):
    """R2 = Psi - discount * T Psi - gap, with a gap of 0 exactly on the optimal actions of R1."""
    mdp, reward = world
    rng = np.random.default_rng(seed)
    optimal = optimal_policy(mdp, reward).optimal_actions
    psi = rng.normal(size=mdp.states)
    gap = np.where(optimal, 0.0, rng.uniform(0.01, 5, optimal.shape))
    built = psi[:, None] - mdp.discount * mdp.transition @ psi - gap
    found = optimal_policy(mdp, built)
    np.testing.assert_array_equal(found.optimal_actions, optimal)
    np.testing.assert_allclose(found.values, psi, atol=1e-11)


@given(worlds_and_rewards(scale=st.just(1.0)))
def test_shaping_by_the_optimal_values_leaves_nothing_to_plan(world):
    mdp, reward = world
    found = optimal_policy(mdp, reward)
    shaped = reward + potential_shaping(mdp, found.values)
    again = optimal_policy(mdp, shaped)
    small = 1e-11 * horizon(mdp) * max(1, abs(reward).max())
    np.testing.assert_allclose(again.values, 0, atol=small)
    one_step = mdp.state_action_reward(shaped)
    assert (one_step <= small).all()
    greedy = np.eye(mdp.actions)[one_step.argmax(-1)]
    np.testing.assert_allclose(state_values(mdp, reward, greedy), found.values, atol=small * horizon(mdp))


@given(worlds_and_rewards(from_worlds=small_worlds), seeds)
def test_only_allowed_actions_are_taken(world, seed):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    allowed = rng.random((mdp.states, mdp.actions)) < 0.5
    allowed[np.arange(mdp.states), rng.integers(mdp.actions, size=mdp.states)] = True
    found = optimal_policy(mdp, reward, allowed=allowed)
    policies = deterministic_policies(mdp)
    policies = policies[~(policies.astype(bool) & ~allowed).any(axis=(1, 2))]
    best = state_values(mdp, reward, policies).max(axis=0)
    np.testing.assert_allclose(found.values, best, atol=1e-11 * max(abs(reward).max(), 1e-300))
    assert not (found.optimal_actions & ~allowed).any()
    assert (found.policy <= allowed).all()


@pytest.mark.parametrize("mdp", [corridor(0.9), corridor(1.0)], ids=["discounted", "undiscounted"])
def test_corridor_is_walked_to_the_end_that_pays(mdp):
    reward = np.zeros((5, 2, 5))
    reward[3, :, 4] = 1
    found = optimal_policy(mdp, reward)
    np.testing.assert_array_equal(found.action[1:4], 1)
    np.testing.assert_array_equal(found.values[[0, 4]], 0)
    if mdp.discount == 1:  # a walk that drifts right with odds 9 to 1: the classical ruin probabilities
        np.testing.assert_allclose(found.values[1:4], [(1 - 9.0**-k) / (1 - 9.0**-4) for k in (1, 2, 3)], atol=1e-13)


def test_ties_are_reported_and_the_first_is_taken():
    mdp, *_ = two_state_world()
    found = optimal_policy(mdp, np.array([[0.0, 0.0], [0.0, 1.0]]))
    np.testing.assert_array_equal(found.optimal_actions, [[False, True], [False, True]])
    found = optimal_policy(mdp, np.zeros((2, 2)))
    assert found.optimal_actions.all()
    np.testing.assert_array_equal(found.action, 0)


@pytest.mark.parametrize("size", [1e-200, 1e-6, 1.0, 1e6, 1e200])
def test_scale_does_not_matter(size):
    mdp = FiniteMDP.random(8, 3, rng=0)
    reward = np.random.default_rng(0).normal(size=(8, 3))
    one, other = optimal_policy(mdp, reward), optimal_policy(mdp, size * reward)
    np.testing.assert_array_equal(one.optimal_actions, other.optimal_actions)
    np.testing.assert_allclose(other.values, size * one.values, rtol=1e-12)


def test_batches_broadcast():
    rng = np.random.default_rng(0)
    discount = np.array([[0.5], [0.9]])
    mdp = FiniteMDP(rng.dirichlet(np.ones(4), (2, 1, 4, 3)), discount)
    reward = rng.normal(size=(5, 4, 3, 4))
    found, soft = optimal_policy(mdp, reward), soft_optimal_policy(mdp, reward, 0.3)
    assert found.values.shape == (2, 5, 4)
    allowed = rng.random((2, 1, 4, 3)) < 0.5
    allowed[..., 0] = True
    held = optimal_policy(mdp, reward, allowed=allowed)
    for w, r in np.ndindex(2, 5):
        alone = optimal_policy(mdp[w, 0], reward[r])
        for together, one in zip(found, alone, strict=True):
            np.testing.assert_allclose(together[w, r], one, atol=1e-13)
        one = optimal_policy(mdp[w, 0], reward[r], allowed=allowed[w, 0])
        np.testing.assert_allclose(held.values[w, r], one.values, atol=1e-13)
        one = soft_optimal_policy(mdp[w, 0], reward[r], 0.3)
        np.testing.assert_allclose(soft.policy[w, r], one.policy, atol=1e-10)
    shared = optimal_policy(mdp[0, 0], reward)
    np.testing.assert_allclose(shared.values, found.values[0], atol=1e-13)


def soft_value_iteration(mdp, reward, temperature, steps):
    expected, values = mdp.state_action_reward(reward), np.zeros(mdp.states)
    alive = ~mdp.terminal
    for _ in range(steps):
        q = expected + mdp.discount * mdp.continuation @ values
        values = alive * temperature * logsumexp(q / temperature, axis=-1)
    return np.exp((q - values[:, None]) / temperature), values


@given(
    worlds_and_rewards(from_worlds=worlds(discounts=(0.0, 0.5, 0.8)), scale=st.just(1.0)),
    st.sampled_from([0.05, 0.3, 1.0, 10.0]),
)
def test_soft_policy_agrees_with_soft_value_iteration(world, temperature):
    mdp, reward = world
    found = soft_optimal_policy(mdp, reward, temperature)
    policy, values = soft_value_iteration(mdp, reward, temperature, 150)
    np.testing.assert_allclose(found.values, values, atol=1e-10 * max(1, temperature))
    np.testing.assert_allclose(found.policy[~mdp.terminal], policy[~mdp.terminal], atol=1e-9 / min(temperature, 1))
    np.testing.assert_allclose(found.policy.sum(-1), 1, atol=1e-12)


@given(worlds_and_rewards(scale=scales), seeds)
def test_soft_policy_is_the_same_for_equivalent_rewards(world, seed):
    mdp, reward = world
    size = max(abs(reward).max(), 1e-300)
    rng = np.random.default_rng(seed)
    shaped = reward + size * (potential_shaping(mdp, random_potential(mdp, rng)) + random_redistribution(mdp, rng))
    soft, again = soft_optimal_policy(mdp, np.stack([reward, shaped]), 0.5 * size).policy
    np.testing.assert_allclose(again[~mdp.terminal], soft[~mdp.terminal], atol=1e-9 * horizon(mdp))
    slack = 1e-9 * horizon(mdp) * size
    assert policy_return(mdp, reward, soft) <= optimal_policy(mdp, reward).expected_return + slack


def test_soft_policy_goes_from_optimal_to_uniform_as_it_warms():
    mdp = FiniteMDP.random(6, 3, rng=0)
    reward = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_allclose(soft_optimal_policy(mdp, reward, 1e-4).policy, optimal_policy(mdp, reward).policy)
    np.testing.assert_allclose(soft_optimal_policy(mdp, reward, 1e6).policy, 1 / 3, atol=1e-4)
    returns = [policy_return(mdp, reward, soft_optimal_policy(mdp, reward, t).policy) for t in (0.01, 0.1, 1.0, 10.0)]
    assert (np.diff(returns) < 0).all()


@pytest.mark.parametrize("discount", [0.999, 1 - 1e-6, 1 - 1e-9])
def test_discounts_near_one(discount):
    mdp = FiniteMDP.random(6, 3, discount=discount, clean=True, rng=0)
    reward = np.random.default_rng(1).normal(size=(6, 3, 6))
    found, soft = optimal_policy(mdp, reward), soft_optimal_policy(mdp, reward, 0.5)
    best = state_values(mdp, reward, deterministic_policies(mdp)).max(axis=0)
    np.testing.assert_allclose(found.values, best, rtol=1e-6)
    assert policy_return(mdp, reward, soft.policy) < found.expected_return


def test_a_batch_as_long_as_states_and_actions():
    """Rewards for two state-action pairs in two worlds must not be read as one reward for transitions."""
    mdp, *rewards = two_state_world()
    for solve in (optimal_policy, soft_optimal_policy):
        together = solve(mdp, np.stack(rewards)).values
        np.testing.assert_allclose(together, [solve(mdp, reward).values for reward in rewards], atol=1e-12)


def test_rewards_of_different_sizes_converge_each_for_itself():
    mdp = FiniteMDP.random(4, 3, rng=0)
    reward = np.random.default_rng(0).normal(size=(4, 3))
    scaled = soft_optimal_policy(mdp, 1e-9 * reward, 1e-9)
    np.testing.assert_allclose(scaled.policy, soft_optimal_policy(mdp, reward, 1.0).policy, atol=1e-12)
    together = soft_optimal_policy(mdp, np.stack([reward, 1e9 * reward]), 1.0)
    np.testing.assert_allclose(together.policy[0], soft_optimal_policy(mdp, reward, 1.0).policy, atol=1e-12)
