"""Regret against enumeration: every mixture of deterministic policies on tiny worlds, and the dual of the program."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from rewardlab.exact import (
    FiniteMDP,
    greedy_regret,
    optimal_policy,
    policy_return,
    project_reward,
    return_range,
    symmetric_greedy_regret,
    worst_case_regret,
)
from tests.strategies import (
    corridor,
    deterministic_policies,
    random_redistribution,
    random_shaping,
    scales,
    seeds,
    two_state_world,
    visited,
    worlds,
    worlds_and_rewards,
)

tiny = worlds(max_states=3, max_actions=2, discounts=(0.0, 0.5, 0.9))


def returns_of_all(mdp, *rewards):
    """Returns of all deterministic policies under each reward, divided by its largest entry."""
    policies = deterministic_policies(mdp)
    return [policy_return(mdp, reward / (abs(reward).max() or 1), policies) for reward in rewards]


def worst_case_by_mixtures(true, proxy):
    """Largest fall of the true return between two mixtures of policies such that the proxy's return does not fall.

    Mixtures differ by mixtures of differences, so the best is one difference of two policies, or a mixture of two such
    differences on which the proxy stands still.
    """
    fall = (true[:, None] - true[None, :]).ravel()
    drop = (proxy[:, None] - proxy[None, :]).ravel()  # must not be above 0
    best = fall[drop <= 0].max()
    below, above = drop < 0, drop > 0
    if above.any():
        low, high = -drop[below][:, None], drop[above][None, :]
        mixed = (high * fall[below][:, None] + low * fall[above][None, :]) / (low + high)
        best = max(best, mixed.max())
    return best


@given(worlds_and_rewards(2, from_worlds=tiny))
def test_worst_case_agrees_with_all_mixtures(world):
    mdp, *pair = world
    true, proxy = returns_of_all(mdp, *pair)
    found = worst_case_regret(mdp, *pair)
    assume(min(np.ptp(true), np.ptp(proxy)) > 1e-7)  # else rounding decides what is allowed
    assert found.regret == pytest.approx(worst_case_by_mixtures(true, proxy) / np.ptp(true), abs=1e-6)


@given(worlds_and_rewards(2, from_worlds=worlds(kinds=("dense", "clean", "episodic"), discounts=(0.5, 0.9))))
def test_worst_case_agrees_with_its_dual(world):
    """The least range of the returns of true - multiplier * proxy, over multipliers of at least 0."""
    mdp, *pair = world
    true, proxy = (reward / (abs(reward).max() or 1) for reward in pair)
    spread, proxy_spread = return_range(mdp, true), return_range(mdp, proxy)
    assume(min(spread, proxy_spread) > 1e-3)
    policies = deterministic_policies(mdp)
    a, b = policy_return(mdp, true, policies), policy_return(mdp, proxy, policies)
    # convex in the multiplier; above this multiple the range only grows
    most = 10 * spread / proxy_spread * max(1, 1 / max(1e-3, abs(np.diff(np.unique(b))).min(initial=1)))
    best = min(
        (minimize_scalar(lambda m: np.ptp(a - m * b), bounds=(0, m), method="bounded", options={"xatol": 1e-12}).fun)
        for m in (most, most / 100, most / 1e4)
    )
    assert worst_case_regret(mdp, true, proxy).regret == pytest.approx(min(best, spread) / spread, abs=1e-5)


@given(
    worlds_and_rewards(2, from_worlds=worlds(discounts=(0.0, 0.5, 0.9)), scale=scales),
    st.sampled_from(["first", "optimistic", "pessimistic"]),
)
def test_witnesses_are_what_they_claim(world, ties):
    mdp, true, proxy = world
    found = worst_case_regret(mdp, true, proxy)
    spread = return_range(mdp, true)
    assert 0 <= found.regret <= 1
    for policy in (found.before, found.after):
        np.testing.assert_allclose(policy.sum(-1), 1, atol=1e-12)
        assert policy.min() >= 0
    rise = policy_return(mdp, proxy, found.after) - policy_return(mdp, proxy, found.before)
    size = max(abs(proxy).max(), 1e-300)
    assert rise >= -1e-7 * size
    fall = policy_return(mdp, true, found.before) - policy_return(mdp, true, found.after)
    if spread > 1e-6 * abs(true).max():
        assert found.regret == pytest.approx(np.clip(fall / spread, 0, 1), abs=1e-7)
        assert greedy_regret(mdp, true, proxy, ties=ties) <= found.regret + 1e-6


@given(worlds_and_rewards(from_worlds=visited, sparse=(1.0,)), seeds)
def test_worst_case_is_zero_for_parallel_rewards_alone_and_one_for_opposite(world, seed):
    mdp, reward = world
    size, rng = abs(reward).max(), np.random.default_rng(seed)
    changed = 3 * reward + size * (random_shaping(mdp, rng) + random_redistribution(mdp, rng))
    assume(return_range(mdp, reward) > 1e-4 * size)
    assert worst_case_regret(mdp, reward, changed).regret == pytest.approx(0, abs=1e-7)
    assert worst_case_regret(mdp, reward, -changed).regret == pytest.approx(1, abs=1e-7)
    other = rng.normal(size=(mdp.states, mdp.actions))
    a, b = project_reward(mdp, reward), project_reward(mdp, other)
    cosine = np.vdot(a, b) / np.linalg.norm(a) / np.linalg.norm(b)
    if cosine < 1 - 1e-4:
        assert worst_case_regret(mdp, reward, other).regret > 1e-6


@given(worlds_and_rewards(2, from_worlds=tiny) | worlds_and_rewards(2, from_worlds=tiny, sparse=(0.0, 0.3)))
def test_greedy_regret_agrees_with_enumeration(world):
    mdp, *pair = world
    true, proxy = returns_of_all(mdp, *pair)
    gaps = proxy.max() - proxy
    assume(np.ptp(true) > 1e-6)
    assume(not ((gaps > 1e-13) & (gaps < 1e-6)).any())
    followed = true[gaps <= 1e-13]
    lost = (true.max() - followed) / np.ptp(true)
    assert greedy_regret(mdp, *pair, ties="optimistic") == pytest.approx(lost.min(), abs=1e-8)
    assert greedy_regret(mdp, *pair, ties="pessimistic") == pytest.approx(lost.max(), abs=1e-8)
    first = greedy_regret(mdp, *pair)
    assert lost.min() - 1e-8 <= first <= lost.max() + 1e-8
    np.testing.assert_allclose(return_range(mdp, pair[0]), np.ptp(true) * abs(pair[0]).max(), rtol=1e-6)


@pytest.mark.parametrize("mdp", [FiniteMDP.random(6, 3, batch=200, rng=0), corridor(), corridor(1.0)])
def test_published_regret_is_the_mean_of_both_directions(mdp):
    pair = np.random.default_rng(1).normal(size=(2, 200, mdp.states, mdp.actions, mdp.states))
    best, worst = (optimal_policy(mdp, sign * pair[0]).expected_return for sign in (1, -1))
    reached = policy_return(mdp, pair[0], optimal_policy(mdp, pair[1]).policy)
    first, back = greedy_regret(mdp, *pair), greedy_regret(mdp, *pair[::-1])
    np.testing.assert_allclose(first, (best - reached) / (best + worst), atol=1e-8)
    np.testing.assert_allclose(symmetric_greedy_regret(mdp, *pair), (first + back) / 2, atol=1e-12)


def test_worked_example():
    mdp, first, second = two_state_world()
    assert greedy_regret(mdp, first, second) == pytest.approx(0.9)
    assert greedy_regret(mdp, second, first) == pytest.approx(1.0)
    assert symmetric_greedy_regret(mdp, first, second) == pytest.approx(0.95)
    assert worst_case_regret(mdp, first, second).regret == pytest.approx(1)
    assert worst_case_regret(mdp, second, first).regret == pytest.approx(1)


@given(worlds(), seeds)
def test_trivial_true_reward_has_no_regret(mdp, seed):
    rng = np.random.default_rng(seed)
    nothing = random_shaping(mdp, rng, 10.0) + random_redistribution(mdp, rng, 10.0)
    proxy = rng.normal(size=nothing.shape)
    assert greedy_regret(mdp, nothing, proxy) == 0
    found = worst_case_regret(mdp, nothing, proxy)
    assert found.regret == 0
    np.testing.assert_array_equal(found.before, found.after)
    assert greedy_regret(mdp, np.zeros_like(nothing), proxy) == 0


def test_batches_broadcast():
    rng = np.random.default_rng(0)
    mdp = FiniteMDP(rng.dirichlet(np.ones(4), (2, 1, 4, 3)), np.array([[0.5], [0.9]]))
    true, proxy = rng.normal(size=(5, 4, 3, 4)), rng.normal(size=(4, 3))
    for function in (greedy_regret, symmetric_greedy_regret):
        together = function(mdp, true, proxy)
        assert together.shape == (2, 5)
        for w, r in np.ndindex(2, 5):
            assert together[w, r] == pytest.approx(float(function(mdp[w, 0], true[r], proxy)), abs=1e-12)


def test_ties_matter():
    """The proxy pays nothing, so everything is tied: nothing or everything may be lost."""
    mdp, reward, _ = two_state_world()
    nothing = np.zeros((2, 2))
    lost = [greedy_regret(mdp, reward, nothing, ties=ties) for ties in ("optimistic", "first", "pessimistic")]
    assert lost == pytest.approx([0, 1, 1])


def test_terminal_states_and_torch():
    world = corridor(1.0)
    true, proxy = np.zeros((5, 2, 5)), np.zeros((5, 2, 5))
    true[3, :, 4], proxy[1, :, 0] = 1, 1
    assert worst_case_regret(world, true, proxy).regret == pytest.approx(1)
    assert greedy_regret(world, true, proxy) == pytest.approx(1)
    many = FiniteMDP(
        torch.tensor(np.stack([world.transition] * 2)),
        torch.tensor([0.5, 0.9], dtype=torch.float64),
        terminal=torch.tensor(world.terminal),
    )
    for index, discount in enumerate((0.5, 0.9)):
        one = worst_case_regret(many[index], torch.tensor(true), torch.tensor(true + 0.3 * proxy)).regret
        expected = worst_case_regret(world.with_discount(discount), true, true + 0.3 * proxy).regret
        assert one == pytest.approx(expected, abs=1e-9)
