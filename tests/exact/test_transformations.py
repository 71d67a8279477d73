"""Potential shaping and redistribution: what they do to values and returns, and what they leave alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.exact import (
    FiniteMDP,
    action_values,
    advantages,
    policy_return,
    potential_shaping,
    redistribution,
    state_values,
)
from tests.strategies import (
    KINDS,
    corridor,
    horizon,
    random_policy,
    random_potential,
    random_redistribution,
    seeds,
    worlds,
    worlds_and_rewards,
)


@given(worlds_and_rewards(scale=st.just(1.0)), seeds, st.sampled_from([1e-3, 1.0, 1e3]))
def test_shaping_laws(world, seed, size):
    """V' = V - potential, Q' = Q - potential of the state, A' = A, J' = J - its expectation at the start."""
    mdp, reward = world
    rng = np.random.default_rng(seed)
    policy, potential = random_policy(mdp, rng), random_potential(mdp, rng, size)
    shaped = reward + potential_shaping(mdp, potential)
    small = 1e-12 * horizon(mdp) * (1 + abs(reward).max() + size)
    alive = ~mdp.terminal[:, None]
    np.testing.assert_allclose(
        state_values(mdp, shaped, policy), state_values(mdp, reward, policy) - potential, atol=small
    )
    np.testing.assert_allclose(
        action_values(mdp, shaped, policy), action_values(mdp, reward, policy) - alive * potential[:, None], atol=small
    )
    np.testing.assert_allclose(advantages(mdp, shaped, policy), advantages(mdp, reward, policy), atol=small)
    assert policy_return(mdp, shaped, policy) == pytest.approx(
        policy_return(mdp, reward, policy) - mdp.initial @ potential, abs=small
    )


@given(worlds_and_rewards(scale=st.just(1.0)), seeds, st.sampled_from([1.0, 1e6]))
def test_redistribution_leaves_every_value_alone(world, seed, size):
    mdp, reward = world
    rng = np.random.default_rng(seed)
    policy, moved = random_policy(mdp, rng), random_redistribution(mdp, rng, size)
    np.testing.assert_allclose(np.vecdot(mdp.transition, moved), 0, atol=1e-14 * size)
    small = 1e-14 * horizon(mdp) * (1 + size) * 10
    np.testing.assert_allclose(
        action_values(mdp, reward + moved, policy), action_values(mdp, reward, policy), atol=small
    )
    np.testing.assert_allclose(redistribution(mdp, moved), moved, atol=1e-14 * size)


@given(worlds(kinds=KINDS[:4]), st.floats(-1e3, 1e3))
def test_a_constant_is_shaping_by_a_constant_potential(mdp, constant):
    potential = np.full(mdp.states, -constant / (1 - mdp.discount))
    np.testing.assert_allclose(potential_shaping(mdp, potential), constant, atol=1e-12 * abs(constant) * horizon(mdp))


def test_shaping_by_loops():
    mdp = FiniteMDP(np.stack([corridor().transition] * 2), np.array([0.5, 0.9]), terminal=corridor().terminal)
    potential = np.array([0.0, 1.0, -2.0, 4.0, 0.0])
    shaping = potential_shaping(mdp, potential)
    assert shaping.shape == (2, 5, 2, 5)
    for w, s, a, z in np.ndindex(shaping.shape):
        assert shaping[w, s, a, z] == mdp.discount[w] * potential[z] - potential[s]
    batch = potential_shaping(corridor(), np.stack([potential, 3 * potential]))
    np.testing.assert_array_equal(batch[1], potential_shaping(corridor(), 3 * potential))


def test_a_terminal_potential_changes_what_is_optimal():
    """Why it is refused: two arms pay 1 and 0, and a potential of 5 at the end of the second turns them round."""
    transition = np.zeros((3, 2, 3))
    transition[0, [0, 1], [1, 2]] = transition[1, :, 1] = transition[2, :, 2] = 1
    mdp = FiniteMDP(transition, 0.9, terminal=np.array([False, True, True]))
    with pytest.raises(ValueError, match="potential of terminal state 2 is not 0"):
        potential_shaping(mdp, np.array([0.0, 0.0, 5.0]))
    assert potential_shaping(mdp, np.array([3.0, 0.0, 0.0]))[0, 0, 1] == -3


def test_redistribution_of_a_state_action_reward_is_nothing():
    np.testing.assert_allclose(redistribution(corridor(), np.arange(10.0).reshape(5, 2)), 0, atol=1e-15)
