"""Worlds: what they accept, what they keep, and what a reward is to them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.exact import FiniteMDP, policy_return, random_transition, state_values
from tests.strategies import corridor, deterministic_policies, forward_world, seeds, worlds, worlds_and_rewards


def test_fields_by_default():
    mdp = corridor()
    assert (mdp.states, mdp.actions, mdp.batch_shape) == (5, 2, ())
    np.testing.assert_array_equal(mdp.initial, [0, 1 / 3, 1 / 3, 1 / 3, 0])
    np.testing.assert_array_equal(mdp.continuation[[0, 4]], 0)
    np.testing.assert_array_equal(mdp.continuation[1:4], mdp.transition[1:4])
    assert not FiniteMDP(mdp.transition, 0.5).terminal.any()


@given(worlds_and_rewards())
def test_state_action_reward_is_the_expectation_while_the_episode_lasts(world):
    mdp, reward = world
    expected = np.zeros((mdp.states, mdp.actions))
    for s in np.flatnonzero(~mdp.terminal):
        for a in range(mdp.actions):
            expected[s, a] = sum(mdp.transition[s, a, z] * reward[s, a, z] for z in range(mdp.states))
    np.testing.assert_allclose(mdp.state_action_reward(reward), expected, rtol=1e-12, atol=1e-14 * abs(reward).max())
    flat = mdp.transition_reward(expected)
    assert flat.shape == reward.shape
    np.testing.assert_array_equal(flat, np.repeat(expected[..., None], mdp.states, axis=-1))
    np.testing.assert_allclose(mdp.state_action_reward(flat), expected, rtol=1e-12, atol=1e-14 * abs(reward).max())


@given(st.integers(2, 4), st.integers(1, 2), seeds)
def test_no_discount_is_accepted_exactly_where_every_policy_terminates(states, actions, seed):
    rng = np.random.default_rng(seed)
    transition = np.eye(states)[rng.integers(states, size=(states, actions))]
    transition = (transition + np.eye(states)[rng.integers(states, size=(states, actions))]) / 2
    transition[-1] = np.eye(states)[-1]
    terminal = np.arange(states) == states - 1
    discounted = FiniteMDP(transition, 0.5, terminal=terminal)
    ends = True
    for policy in deterministic_policies(discounted):
        step = np.einsum("sa,sat->st", policy, transition)
        ends &= bool((np.linalg.matrix_power(step, 2**10)[:, -1] > 1 - 1e-9).all())
    if ends:
        assert discounted.with_discount(1).discount == 1
    else:
        with pytest.raises(ValueError, match="stay away from terminal states for ever from state"):
            discounted.with_discount(1)


@pytest.mark.parametrize("discount", [0.9, np.array([0.5, 0.9, 0.99])], ids=["shared", "batched"])
@pytest.mark.parametrize("library", [np.asarray, torch.asarray], ids=["numpy", "torch"])
def test_an_index_picks_worlds(discount, library):
    transition, terminal = random_transition(4, 3, batch=3, episodic=True, rng=0)
    discount = discount if isinstance(discount, float) else library(discount)
    many = FiniteMDP(library(transition), discount, terminal=library(terminal))
    reward = np.random.default_rng(1).normal(size=(4, 3, 4))
    values = state_values(many, library(reward))
    for world in range(3):
        one = many[world]
        assert one.batch_shape == ()
        assert isinstance(one.discount, float)
        alone = FiniteMDP(transition[world], one.discount, terminal=terminal[world])
        np.testing.assert_allclose(state_values(one, library(reward)), values[world], rtol=1e-12)
        np.testing.assert_allclose(state_values(alone, reward), values[world], rtol=1e-12)
    assert many[1:].batch_shape == (2,)
    assert many[None].batch_shape == (1, 3)
    np.testing.assert_allclose(state_values(many[1:], library(reward)), values[1:], rtol=1e-12)


@pytest.mark.parametrize("library", [np.asarray, torch.tensor], ids=["numpy", "torch"])
@pytest.mark.parametrize("index", [(0, 0), (slice(None), 0), 3, (..., 0)])
def test_an_index_cannot_reach_into_a_world(index, library):
    many = FiniteMDP(library(np.full((2, 2, 3, 2), 0.5)), 0.9)  # two worlds of two states
    with pytest.raises(IndexError, match=r"does not fit|counts from the end"):
        many[index]
    with pytest.raises(IndexError, match=r"index 0 does not fit a batch of shape \(\)"):
        many[0][0]


def test_discount_of_each_world():
    transition, _ = random_transition(4, 3, batch=2, rng=0)
    discounts = np.array([0.3, 0.8])
    reward = np.random.default_rng(0).normal(size=(4, 3, 4))
    together = policy_return(FiniteMDP(transition, discounts), reward)
    apart = [policy_return(FiniteMDP(t, d), reward) for t, d in zip(transition, discounts.tolist(), strict=True)]
    np.testing.assert_allclose(together, apart, rtol=1e-13)


def test_with_discount_keeps_the_rest():
    mdp = corridor(0.9)
    other = mdp.with_discount(0.5)
    assert (mdp.discount, other.discount) == (0.9, 0.5)
    np.testing.assert_array_equal(other.terminal, mdp.terminal)
    np.testing.assert_array_equal(other.initial, mdp.initial)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_computes_in_float64_from_any_real_numbers(dtype):
    mdp = FiniteMDP(np.eye(3)[:, None].astype(dtype), np.float32(0.5), initial=np.array([0, 0, 1]))
    assert mdp.transition.dtype == mdp.initial.dtype == np.float64
    assert mdp.discount == 0.5


def test_transition_estimated_in_single_precision_passes():
    single = FiniteMDP.random(32, 4).transition.astype(np.float32)
    assert abs(single.astype(np.float64).sum(-1) - 1).max() > 1e-9  # else there is nothing to tolerate
    FiniteMDP(single, 0.9)


def test_torch_stays_torch():
    world = corridor()
    mdp = FiniteMDP(torch.tensor(world.transition), 0.9, terminal=torch.tensor(world.terminal))
    assert all(torch.is_tensor(x) for x in (mdp.transition, mdp.initial, mdp.terminal, mdp.continuation))
    np.testing.assert_array_equal(mdp.initial, world.initial)


@given(worlds())
def test_nothing_that_came_in_is_changed(mdp):
    fields = {"initial": mdp.initial.copy(), "terminal": mdp.terminal.copy()}
    transition = mdp.transition.copy()
    for array in (transition, *fields.values()):
        array.flags.writeable = False
    copy = FiniteMDP(transition, mdp.discount, **fields)
    state_values(copy, np.ones((mdp.states, mdp.actions)))
    np.testing.assert_array_equal(transition, mdp.transition)


def test_random_world_is_the_published_one():
    transition, terminal = random_transition(6, 3, batch=2, episodic=True, clean=True, rng=5)
    mdp = FiniteMDP.random(6, 3, discount=0.7, batch=2, episodic=True, clean=True, rng=5)
    np.testing.assert_array_equal(mdp.transition, transition)
    np.testing.assert_array_equal(mdp.terminal, terminal)
    np.testing.assert_array_equal(mdp.initial, 1 / 6)
    assert mdp.discount == 0.7


@given(st.integers(2, 5), st.integers(1, 3), seeds)
def test_forward_worlds_need_no_discount(states, actions, seed):
    mdp = forward_world(states, actions, seed)
    steps = state_values(mdp, np.ones((states, actions)))
    assert (steps[:-1] <= states - 1 + 1e-12).all()
    assert steps[-1] == 0
    assert (steps[:-1] >= 1 - 1e-12).all()
