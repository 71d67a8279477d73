import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewardlab.exact import FiniteMDP, gridworld, uniform_policy
from rewardlab.shaping.tabular.episodes import EpisodeSampler
from tests.strategies import corridor, seeds, worlds


@st.composite
def replays(draw):
    """A world, a policy with impossible actions in it, and draws, 0 and the largest below 1 among them."""
    mdp = draw(worlds())
    rng = np.random.default_rng(draw(seeds))
    policy = rng.random((mdp.states, mdp.actions)) * (rng.random((mdp.states, mdp.actions)) < 0.7) + 1e-9
    policy = np.where(policy > 1e-8, policy, 0) + (policy.max(-1, keepdims=True) <= 1e-8)
    draws = rng.random((draw(st.integers(1, 3)), draw(st.integers(2, 6)), 2))
    edge = rng.random(draws.shape)
    draws = np.where(edge < 0.05, 0.0, np.where(edge > 0.95, np.nextafter(1, 0), draws))
    return mdp, policy / policy.sum(-1, keepdims=True), draws


@given(replays())
def test_an_episode_is_what_its_draws_make_of_it(case):
    mdp, policy, draws = case
    found = EpisodeSampler(mdp).replay(policy, draws)
    assert found.runs == ()
    for row, luck in enumerate(draws):
        state = chosen(mdp.initial, luck[0, 0])
        for step, (for_action, for_state) in enumerate(luck[1:]):
            assert found.states[row, step] == state
            assert found.mask[row, step] == (not mdp.terminal[state])
            if mdp.terminal[state]:
                assert found.actions[row, step] == 0
                continue
            action = chosen(policy[state], for_action)
            assert found.actions[row, step] == action
            likeliest = np.argsort(-mdp.transition[state, action], kind="stable")
            state = likeliest[chosen(mdp.transition[state, action][likeliest], for_state)]
        assert found.states[row, -1] == state
        assert found.ended[row] == mdp.terminal[state]


def chosen(probabilities, draw):
    """The first outcome whose cumulated probability is above the draw, or else the last that is possible."""
    return min(np.searchsorted(np.cumsum(probabilities), draw, side="right"), np.flatnonzero(probabilities)[-1])


@given(worlds(), seeds)
@settings(max_examples=50)
def test_only_what_is_possible_happens(mdp, seed):
    policy = np.eye(mdp.actions)[np.random.default_rng(seed).integers(mdp.actions, size=mdp.states)]
    found = EpisodeSampler(mdp).sample(policy, episodes=20, horizon=8, rng=seed)
    here, following = found.states[..., :-1], found.states[..., 1:]
    assert (mdp.initial[found.states[..., 0]] > 0).all()
    assert (mdp.transition[here, found.actions, following][found.mask] > 0).all()
    assert (policy[here, found.actions][found.mask] == 1).all()
    np.testing.assert_array_equal(found.mask, ~mdp.terminal[here])
    np.testing.assert_array_equal(here[~found.mask], following[~found.mask])


def test_frequencies_are_the_probabilities():
    mdp = FiniteMDP.random(5, 3, rng=1, episodic=True)
    policy = np.random.default_rng(0).dirichlet(np.ones(3), size=5)
    episodes, horizon = 40_000, 4
    found = EpisodeSampler(mdp).sample(policy, episodes=episodes, horizon=horizon, rng=2)
    expected, alive = np.zeros((5, 3)), mdp.initial
    for _ in range(horizon):
        alive = np.where(mdp.terminal, 0, alive)
        expected += alive[:, None] * policy
        alive = np.einsum("s,sa,sat->t", alive, policy, mdp.transition)
    counted = found.state_action_sums(np.ones(found.mask.shape)) / episodes
    np.testing.assert_allclose(counted, expected, atol=5 * np.sqrt(horizon / episodes))
    np.testing.assert_allclose(found.state_sums(np.ones(found.mask.shape)), counted.sum(-1) * episodes)
    np.testing.assert_allclose(found.ended.mean(), 1 - alive[~mdp.terminal].sum(), atol=5 * np.sqrt(0.25 / episodes))


def test_runs_are_policies_by_draws_by_worlds():
    many = FiniteMDP.random(4, 3, batch=2, rng=0, episodic=True)
    start = np.array([[0.1, 0.2, 0.3, 0.4], [0.9, 0.1, 0, 0]])
    many = FiniteMDP(many.transition, 0.95, start, many.terminal)
    rng = np.random.default_rng(1)
    policies, draws = rng.dirichlet(np.ones(3), size=(3, 1, 1, 4)), rng.random((5, 1, 6, 8, 2))
    found = EpisodeSampler(many).replay(policies, draws)
    assert found.runs == (3, 5, 2)
    reward, potential = rng.normal(size=(5, 1, 4, 3, 4)), rng.normal(size=(3, 1, 2, 4))
    rewards, potentials = found.rewards(reward), found.potentials(potential)
    sums = found.state_action_sums(rewards)
    for policy, luck, world in np.ndindex(found.runs):
        alone = EpisodeSampler(many[world]).replay(policies[policy, 0, 0], draws[luck, 0])
        for name in ("states", "actions", "mask", "ended"):
            np.testing.assert_array_equal(getattr(found, name)[policy, luck, world], getattr(alone, name))
        np.testing.assert_array_equal(rewards[policy, luck, world], alone.rewards(reward[luck, 0]))
        np.testing.assert_array_equal(potentials[policy, luck, world], alone.potentials(potential[policy, 0, world]))
        np.testing.assert_array_equal(sums[policy, luck, world], alone.state_action_sums(rewards[policy, luck, world]))


@given(worlds(), seeds)
@settings(max_examples=50)
def test_rewards_and_potentials_of_the_steps(mdp, seed):
    rng = np.random.default_rng(seed)
    reward, potential = rng.normal(size=(mdp.states, mdp.actions, mdp.states)), rng.normal(size=mdp.states)
    found = EpisodeSampler(mdp).sample(uniform_policy(mdp), episodes=4, horizon=5, rng=rng)
    rewards, potentials = found.rewards(reward), found.potentials(potential)
    by_action, sums = found.rewards(reward[..., 0]), np.zeros((mdp.states, mdp.actions))
    for episode, step in np.ndindex(4, 5):
        state, action, following = (
            found.states[episode, step],
            found.actions[episode, step],
            found.states[episode, step + 1],
        )
        there = found.mask[episode, step]
        assert rewards[episode, step] == (reward[state, action, following] if there else 0)
        assert by_action[episode, step] == (reward[state, action, 0] if there else 0)
        assert potentials[episode, step] == (0 if mdp.terminal[state] else potential[state])
        sums[state, action] += there * (1 + step)
    np.testing.assert_allclose(found.state_action_sums(np.broadcast_to(np.arange(1.0, 6), (4, 5))), sums)
    np.testing.assert_array_equal(potentials[found.ended, -1], 0.0)


def test_the_smallest_worlds():
    bandit = FiniteMDP(np.array([[[0.0, 1.0]], [[0.0, 1.0]]]), 1.0, np.array([1.0, 0.0]), np.array([False, True]))
    found = EpisodeSampler(bandit).sample(np.ones((2, 1)), episodes=1, horizon=1, rng=0)
    assert (found.states.tolist(), found.mask.tolist(), found.ended.tolist()) == ([[0, 1]], [[True]], [True])
    for_ever = FiniteMDP(np.ones((1, 2, 1)), 0.5)
    found = EpisodeSampler(for_ever).sample(np.array([[0.0, 1.0]]), episodes=2, horizon=3, rng=0)
    assert not found.ended.any() and (found.actions == 1).all()
    over = FiniteMDP(gridworld("SG").mdp.transition, 0.9, np.array([0.0, 1.0]), np.array([False, True]))
    found = EpisodeSampler(over).sample(uniform_policy(over), episodes=2, horizon=3, rng=0)
    assert found.ended.all() and not found.mask.any() and (found.rewards(np.ones((2, 4))) == 0).all()


def test_the_seed_decides():
    mdp = corridor()
    sampler, policy = EpisodeSampler(mdp), uniform_policy(mdp)
    first, again, other = (sampler.sample(policy, episodes=8, horizon=9, rng=seed).states for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


one, uniform = corridor(), np.full((5, 2), 0.5)
draws = np.zeros((2, 4, 2))
episodes = EpisodeSampler(one).replay(np.broadcast_to(uniform, (3, 5, 2)), draws)
BAD = {
    "torch": (lambda: EpisodeSampler(FiniteMDP(torch.tensor(one.transition), 0.9)), TypeError, "mdp holds Tensors"),
    "list": (lambda: EpisodeSampler(one).replay(uniform.tolist(), draws), TypeError, "policy: expected a NumPy array"),
    "shape": (lambda: EpisodeSampler(one).replay(uniform[:4], draws), ValueError, "policy has shape (4, 2), expected"),
    "sum": (lambda: EpisodeSampler(one).replay(uniform * 0.9, draws), ValueError, "policy[0] sums to 0.9"),
    "nan": (lambda: EpisodeSampler(one).replay(uniform * np.nan, draws), ValueError, "policy[0, 0] is nan"),
    "draws": (lambda: EpisodeSampler(one).replay(uniform, draws[0]), ValueError, "draws has shape (4, 2)"),
    "no step": (lambda: EpisodeSampler(one).replay(uniform, draws[:, :1]), ValueError, "draws has shape (2, 1, 2)"),
    "draw of 1": (lambda: EpisodeSampler(one).replay(uniform, draws + 1), ValueError, "draws[0, 0, 0] is 1, expected"),
    "nan draw": (lambda: EpisodeSampler(one).replay(uniform, draws * np.nan), ValueError, "draws[0, 0, 0] is nan"),
    "runs": (
        lambda: EpisodeSampler(one).replay(np.broadcast_to(uniform, (3, 5, 2)), np.zeros((2, 1, 4, 2))),
        ValueError,
        "do not broadcast",
    ),
    "no episode": (
        lambda: EpisodeSampler(one).sample(uniform, episodes=0, horizon=3, rng=0),
        ValueError,
        "episodes is 0, expected a whole number",
    ),
    "half a step": (lambda: EpisodeSampler(one).sample(uniform, episodes=1, horizon=0.5, rng=0), TypeError, "horizon"),
    "no seed": (lambda: EpisodeSampler(one).sample(uniform, episodes=1, horizon=1, rng=None), TypeError, "rng"),
    "reward batch": (
        lambda: episodes.rewards(np.ones((2, 1, 5, 2, 5))),
        ValueError,
        "reward has a batch of shape (2, 1)",
    ),
    "reward nan": (lambda: episodes.rewards(np.full((5, 2), np.nan)), ValueError, "reward[0, 0] is nan"),
    "potential shape": (lambda: episodes.potentials(np.ones(4)), ValueError, "potential has shape (4,), expected"),
    "potential inf": (lambda: episodes.potentials(np.full(5, np.inf)), ValueError, "potential[0] is inf"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_an_error_that_says_where(case, without_type_checks):
    call, kind, says = BAD[case]
    with pytest.raises(kind, match=re.escape(says)):
        call()
