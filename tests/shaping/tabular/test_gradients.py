import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax

from rewardlab.exact import FiniteMDP, policy_return, uniform_policy
from rewardlab.shaping.bilevel.implicit_gradient import implicit_hypergradient
from rewardlab.shaping.rule import shape_episode
from rewardlab.shaping.tabular.episodes import EpisodeSampler
from rewardlab.shaping.tabular.gradients import (
    entropy_gradient,
    fisher_solve,
    returns_to_go,
    score_sums,
    state_means,
)
from tests.strategies import seeds, worlds

discounts = st.sampled_from([0.0, 0.3, 0.9, 1.0])


def bandit(actions=2):
    """One choice, then the end."""
    transition = np.zeros((2, actions, 2))
    transition[..., 1] = 1
    return FiniteMDP(transition, 0.9, np.array([1.0, 0.0]), np.array([False, True]))


def one_of_each(probabilities, episodes):
    """Episodes of a bandit in which each action is taken exactly as often as it is likely."""
    draws = np.zeros((episodes, 2, 2))
    draws[:, 1, 0] = (np.arange(episodes) + 0.5) / episodes
    policy = np.broadcast_to(probabilities, (2, len(probabilities)))
    return EpisodeSampler(bandit(len(probabilities))).replay(policy, draws), policy


@given(worlds(), seeds, discounts)
def test_returns_gradients_and_baselines_by_hand(mdp, seed, discount):
    rng = np.random.default_rng(seed)
    policy = softmax(rng.normal(size=(mdp.states, mdp.actions)), axis=-1)
    found = EpisodeSampler(mdp).sample(policy, episodes=3, horizon=4, rng=rng)
    rewards = found.rewards(rng.normal(size=(mdp.states, mdp.actions, mdp.states)))
    returns = returns_to_go(rewards, discount)
    pushed, seen = np.zeros(policy.shape), {}
    for episode, step in np.argwhere(found.mask):
        expected = sum(discount**later * reward for later, reward in enumerate(rewards[episode, step:]))
        np.testing.assert_allclose(returns[episode, step], expected, atol=1e-12)
        state = found.states[episode, step]
        score = np.eye(mdp.actions)[found.actions[episode, step]] - policy[state]
        pushed[state] += returns[episode, step] * score / 3
        seen.setdefault(state, []).append(returns[episode, step])
    np.testing.assert_allclose(score_sums(found, returns, policy), pushed, atol=1e-12)
    means = state_means(found, returns)
    for episode, step in np.argwhere(found.mask):
        np.testing.assert_allclose(means[episode, step], np.mean(seen[found.states[episode, step]]), atol=1e-12)
    assert (means[~found.mask] == 0).all()


def test_what_is_in_the_padding_does_not_count():
    found, policy = one_of_each([0.5, 0.5], 2)
    longer = np.zeros((2, 4, 2))
    longer[:, :2] = [[[0, 0], [0.25, 0]], [[0, 0], [0.75, 0]]]
    padded = EpisodeSampler(bandit()).replay(policy, longer)
    weights = np.array([[1.0, 7, 7], [2, 7, 7]])
    np.testing.assert_allclose(score_sums(padded, weights, policy), score_sums(found, weights[:, :1], policy))
    np.testing.assert_allclose(state_means(padded, weights), [[1.5, 0, 0], [1.5, 0, 0]])


@given(worlds(), seeds, discounts)
def test_shaping_is_a_baseline_in_every_episode(mdp, seed, discount):
    """Returns with potential shaping are the returns less the potential of the state, and a state's mean removes it."""
    rng = np.random.default_rng(seed)
    found = EpisodeSampler(mdp).sample(uniform_policy(mdp), episodes=4, horizon=6, rng=rng)
    reward = rng.normal(size=(mdp.states, mdp.actions, mdp.states))
    potentials = found.potentials(rng.normal(size=mdp.states))
    added = shape_episode(potentials, discount=discount, ended=True, mask=found.mask)
    plain = returns_to_go(found.rewards(reward), discount)
    shaped = returns_to_go(found.rewards(reward) + added, discount)
    np.testing.assert_allclose(shaped, plain - np.where(found.mask, potentials[:, :-1], 0), atol=1e-12)
    np.testing.assert_allclose(shaped - state_means(found, shaped), plain - state_means(found, plain), atol=1e-11)


def test_an_action_dependent_baseline_pushes_away_from_what_it_favours():
    """The published form takes the auxiliary reward of the step off its return: -pi0 pi1 on the favoured action."""
    for favoured in (0.1, 0.3, 0.5):
        found, policy = one_of_each([favoured, 1 - favoured], 10)
        auxiliary = found.rewards(np.array([[1.0, 0.0], [0.0, 0.0]]))
        bias = score_sums(found, -auxiliary, policy)
        np.testing.assert_allclose(bias[0], [-favoured * (1 - favoured), favoured * (1 - favoured)], atol=1e-12)
        np.testing.assert_allclose(
            score_sums(found, -auxiliary + state_means(found, auxiliary), policy), bias, atol=1e-12
        )
        of_the_state = score_sums(found, -found.potentials(np.array([1.0, 0.0]))[:, :-1], policy)
        np.testing.assert_allclose(of_the_state, 0, atol=1e-12)


def test_a_mean_that_includes_the_visit_shortens_the_gradient():
    policy = np.array([[0.3, 0.7], [0.5, 0.5]])
    sampled = EpisodeSampler(bandit()).sample(np.broadcast_to(policy, (60_000, 2, 2)), episodes=4, horizon=1, rng=0)
    returns = sampled.rewards(np.array([[1.0, 0.0], [0.0, 0.0]]))
    found = score_sums(sampled, returns - state_means(sampled, returns), policy).mean(0)
    np.testing.assert_allclose(found[0], (1 - 1 / 4) * 0.21 * np.array([1, -1]), atol=2e-3)


def world_with_rewards():
    mdp = FiniteMDP.random(4, 3, rng=5, discount=0.7, episodic=True)
    rng = np.random.default_rng(0)
    primary, auxiliary = rng.normal(size=(2, 4, 3, 4))
    return mdp, primary, auxiliary, rng.normal(size=(4, 3))


def test_the_sampled_hypergradient_is_the_exact_one_in_the_mean():
    """With returns weighed by discount**step and a long horizon; the two batches are independent."""
    mdp, primary, auxiliary, logits = world_with_rewards()
    policy, horizon = softmax(logits, axis=-1), 40
    sampler, found = EpisodeSampler(mdp), []
    for seed, reward in ((1, primary), (2, auxiliary)):
        episodes = sampler.sample(np.broadcast_to(policy, (400, 4, 3)), episodes=100, horizon=horizon, rng=seed)
        weights = mdp.discount ** np.arange(horizon) * returns_to_go(episodes.rewards(reward), mdp.discount)
        found.append(score_sums(episodes, weights, policy))
    for gradients, reward in zip(found, (primary, auxiliary), strict=True):
        exact = by_differences(mdp, reward, logits)
        error = gradients.std(0) / np.sqrt(len(gradients))
        assert (np.abs(gradients.mean(0) - exact) < 4.5 * error + 1e-6).all()
        assert (error < 0.2 * np.abs(exact).max()).all()
    products = (found[0] * found[1]).sum((-2, -1))
    expected = (by_differences(mdp, primary, logits) * by_differences(mdp, auxiliary, logits)).sum()
    with_temperature = implicit_hypergradient(mdp, auxiliary, primary, logits, curvature="first_order").reward
    np.testing.assert_allclose((with_temperature * mdp.state_action_reward(auxiliary)).sum(), expected, rtol=1e-6)
    error = products.std() / np.sqrt(len(products))
    assert abs(products.mean() - expected) < 4.5 * error < abs(expected)


def by_differences(mdp, reward, logits, step=1e-6):
    found = np.zeros(logits.shape)
    for place in np.ndindex(logits.shape):
        change = np.zeros(logits.shape)
        change[place] = step
        ahead, behind = (policy_return(mdp, reward, softmax(logits + sign * change, axis=-1)) for sign in (1, -1))
        found[place] = (ahead - behind) / (2 * step)
    return found


@given(seeds, st.integers(1, 4), st.integers(1, 4), st.sampled_from([1e-6, 1e-2, 1.0]))
def test_fisher_solve_solves(seed, states, actions, damping):
    rng = np.random.default_rng(seed)
    policy = softmax(3 * rng.normal(size=(2, states, actions)), axis=-1)
    visits = rng.random((2, states)) * (rng.random((2, states)) < 0.8)
    vector = rng.normal(size=(2, states, actions))
    found = fisher_solve(vector, policy, visits, damping)
    for run, state in np.ndindex(2, states):
        here = policy[run, state]
        matrix = visits[run, state] * (np.diag(here) - np.outer(here, here)) + damping * np.eye(actions)
        np.testing.assert_allclose(matrix @ found[run, state], vector[run, state], atol=1e-8)


def test_fisher_solve_turns_the_policy_gradient_into_the_advantage():
    policy = softmax(np.random.default_rng(0).normal(size=(4, 3)), axis=-1)
    advantages = np.random.default_rng(1).normal(size=policy.shape)
    advantages -= (policy * advantages).sum(-1, keepdims=True)
    visits = np.array([0.5, 1.0, 2.0, 3.0])
    found = fisher_solve(visits[:, None] * policy * advantages, policy, visits, 1e-9)
    np.testing.assert_allclose(found - (policy * found).sum(-1, keepdims=True), advantages, atol=1e-6)


@given(seeds)
@settings(max_examples=30)
def test_entropy_gradient_by_differences(seed):
    rng = np.random.default_rng(seed)
    logits, visits = rng.normal(size=(2, 3)), rng.random(2)

    def entropy(logits):
        policy = softmax(logits, axis=-1)
        return -(visits[:, None] * policy * np.log(policy)).sum()

    found = entropy_gradient(softmax(logits, axis=-1), visits)
    for place in np.ndindex(logits.shape):
        change = np.zeros(logits.shape)
        change[place] = 1e-6
        assert abs(found[place] - (entropy(logits + change) - entropy(logits - change)) / 2e-6) < 1e-8
    assert (entropy_gradient(np.array([[1.0, 0.0]]), np.ones(1)) == 0).all()


def test_returns_of_long_and_of_single_steps():
    np.testing.assert_allclose(returns_to_go(np.ones(500), 0.5)[:3], 2.0)
    np.testing.assert_allclose(returns_to_go(np.ones((2, 3, 1)), 0.5), 1.0)
    np.testing.assert_allclose(returns_to_go(np.array([1.0, 2, 3]), 0.0), [1, 2, 3])
    np.testing.assert_allclose(returns_to_go(np.array([1.0, 2, 3]), 1.0), [6, 5, 3])


half = np.full((1, 2), 0.5)
BAD = {
    "discount": (lambda: returns_to_go(np.ones(2), 1.1), "discount is 1.1, expected a number in [0, 1]"),
    "nan reward": (lambda: returns_to_go(np.array([0.0, np.nan]), 0.9), "rewards[1] is nan"),
    "no damping": (lambda: fisher_solve(half, half, np.ones(1), 0.0), "damping is 0.0, expected a number in (0, inf)"),
    "visits": (lambda: fisher_solve(half, half, -np.ones(1), 0.1), "visits[0] is -1, expected at least 0"),
    "nan vector": (lambda: fisher_solve(half * np.nan, half, np.ones(1), 0.1), "vector[0, 0] is nan"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_says_where(case):
    call, says = BAD[case]
    with pytest.raises(ValueError, match=re.escape(says)):
        call()
