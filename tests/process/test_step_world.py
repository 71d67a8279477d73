import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.process.step_world import StepWorld, evaluate_policy, sample_episodes


@st.composite
def worlds(draw):
    states, actions, seed = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    ends = rng.random((states, actions)) < 0.3
    return StepWorld(
        next_state=rng.integers(0, states, (states, actions)),
        scores=rng.random((states, actions)).round(2),
        ends=ends,
        success=ends & (rng.random((states, actions)) < 0.6),
        horizon=draw(st.integers(1, 5)),
        hazard=rng.choice([0.0, 0.25], (states, actions)),
        initial=int(rng.integers(states)),
    )


def policies(world, rng, *batch):
    return rng.dirichlet(np.ones(world.actions), (*batch, world.states))


def by_enumeration(world, policy):
    """Success, length and use of each action, over every sequence of actions that could be taken."""
    success, length, counts = 0.0, 0.0, np.zeros(world.actions)

    def walk(state, chance, depth):
        nonlocal success, length
        if depth == world.horizon or chance == 0:
            return
        for action in range(world.actions):
            here = chance * policy[state, action]
            length += here
            counts[action] += here
            if world.ends[state, action]:
                success += here * world.success[state, action]
            else:
                walk(world.next_state[state, action], here * (1 - world.hazard[state, action]), depth + 1)

    walk(world.initial, 1.0, 0)
    return success, length, counts


@given(worlds(), st.integers(0, 2**32 - 1))
def test_evaluation_is_the_sum_over_all_solutions(world, seed):
    policy = policies(world, np.random.default_rng(seed), 2, 3)
    found = evaluate_policy(world, policy)
    assert found.success.shape == found.length.shape == (2, 3)
    for run in itertools.product(range(2), range(3)):
        success, length, counts = by_enumeration(world, policy[run])
        assert found.success[run] == pytest.approx(success, abs=1e-12)
        assert found.length[run] == pytest.approx(length, abs=1e-12)
        np.testing.assert_allclose(found.action_counts[run], counts, atol=1e-12)
        assert found.action_counts[run].sum() == pytest.approx(found.length[run])


@given(worlds(), st.integers(0, 2**32 - 1))
def test_episodes_obey_the_world(world, seed):
    rng = np.random.default_rng(seed)
    found = sample_episodes(world, policies(world, rng, 2), 5, rng)
    assert found.states.shape == found.actions.shape == found.mask.shape == (2, 5, world.horizon)
    assert found.correct.shape == (2, 5)
    for run in itertools.product(range(2), range(5)):
        length = int(found.mask[run].sum())
        assert length >= 1 and found.mask[run][:length].all()
        states, actions = found.states[run][:length], found.actions[run][:length]
        assert states[0] == world.initial
        np.testing.assert_array_equal(states[1:], world.next_state[states[:-1], actions[:-1]])
        assert not world.ends[states[:-1], actions[:-1]].any()
        last = states[-1], actions[-1]
        assert found.correct[run] == world.success[last]
        assert length == world.horizon or world.ends[last] or world.hazard[last] > 0
        np.testing.assert_array_equal(found.scores[run][:length], world.scores[states, actions])
        assert (found.scores[run][length:] == 0).all() and (found.actions[run][length:] == 0).all()


def test_sampled_frequencies_are_the_exact_ones():
    rng = np.random.default_rng(0)
    world = StepWorld(
        next_state=np.array([[1, 0, 0], [1, 0, 1]]),
        scores=np.full((2, 3), 0.5),
        ends=np.array([[False, False, True], [False, False, True]]),
        success=np.array([[False, False, False], [False, False, True]]),
        hazard=np.array([[0.1, 0.2, 0.0], [0.0, 0.3, 0.0]]),
        horizon=6,
    )
    policy = policies(world, rng, 2)
    exact, sampled = evaluate_policy(world, policy), sample_episodes(world, policy, 20_000, rng)
    np.testing.assert_allclose(sampled.correct.mean(-1), exact.success, atol=0.015)
    np.testing.assert_allclose(sampled.mask.sum(-1).mean(-1), exact.length, atol=0.04)
    for action in range(3):
        taken = ((sampled.actions == action) & sampled.mask).sum(-1).mean(-1)
        np.testing.assert_allclose(taken, exact.action_counts[:, action], atol=0.04)


def test_a_policy_that_never_takes_an_action_never_takes_it():
    world = StepWorld(np.zeros((1, 3), int), np.ones((1, 3)), np.zeros((1, 3), bool), np.zeros((1, 3), bool), 4)
    sampled = sample_episodes(world, np.array([[0.0, 1.0, 0.0]]), 200, 0)
    assert (sampled.actions == 1).all()
    assert world.action_names == ("action 0", "action 1", "action 2") and world.state_names == ("state 0",)


def test_same_seed_same_episodes():
    world = StepWorld(np.zeros((1, 3), int), np.ones((1, 3)), np.zeros((1, 3), bool), np.zeros((1, 3), bool), 4)
    policy = np.full((1, 3), 1 / 3)
    first, second, other = (sample_episodes(world, policy, 20, seed).actions for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, second)
    assert (first != other).any()


PARTS = {
    "next_state": np.zeros((2, 2), int),
    "scores": np.full((2, 2), 0.5),
    "ends": np.array([[True, False], [True, False]]),
    "success": np.zeros((2, 2), bool),
    "horizon": 3,
}


@pytest.mark.parametrize(
    ("part", "error", "message"),
    [
        ({"next_state": np.array([[0, 2], [0, 0]])}, ValueError, "next_state[0, 1] is 2, expected 0 to 1"),
        (
            {"next_state": np.zeros((2, 2))},
            TypeError,
            "next_state is a ndarray of float64, expected a NumPy array of w",
        ),
        ({"next_state": np.zeros(2, int)}, ValueError, "next_state has shape (2,), expected (states, actions)"),
        ({"scores": np.full((2, 2), 1.1)}, ValueError, "scores[0, 0] is 1.1, expected a number in [0, 1]"),
        ({"scores": np.full((2, 2), np.nan)}, ValueError, "scores[0, 0] is nan, expected a number in [0, 1]"),
        ({"scores": np.zeros((2, 1))}, ValueError, "scores has shape (2, 1), expected that of next_state (2, 2)"),
        ({"hazard": np.full((2, 2), -0.1)}, ValueError, "hazard[0, 0] is -0.1, expected a number in [0, 1]"),
        (
            {"success": np.ones((2, 2), bool)},
            ValueError,
            "success[0, 1] is True, expected False, as this step does not",
        ),
        ({"ends": np.zeros((2, 2))}, TypeError, "expected a NumPy array of booleans"),
        ({"horizon": 0}, ValueError, "horizon is 0, expected a whole number"),
        ({"initial": 2}, ValueError, "initial is 2, expected a whole number in [0, 1]"),
        ({"action_names": ("a",)}, ValueError, "action_names has 1 names, expected 2"),
    ],
)
def test_worlds_that_cannot_be(part, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        StepWorld(**(PARTS | part))
    assert message in str(caught.value)


def test_policies_that_cannot_be(without_type_checks):
    world = StepWorld(**PARTS)
    for call in (lambda policy: evaluate_policy(world, policy), lambda policy: sample_episodes(world, policy, 2, 0)):
        with pytest.raises(ValueError, match=r"policy has shape \(2, 3\), expected \(\*batch, 2, 2\)"):
            call(np.full((2, 3), 1 / 3))
        with pytest.raises(ValueError, match=r"policy\[0\] sums to 0.8, expected 1"):
            call(np.full((2, 2), 0.4))
    with pytest.raises(ValueError, match="episodes is 0"):
        sample_episodes(world, np.full((2, 2), 0.5), 0, 0)
    with pytest.raises(TypeError, match="rng: expected a seed"):
        sample_episodes(world, np.full((2, 2), 0.5), 1, None)
