import gymnasium
import numpy as np
import pytest
import torch

from rewardlab.distance.transition_index import distinct_rows, index_transitions
from rewardlab.distance.transitions import (
    Transitions,
    collect_transitions,
    cover_transitions,
    evaluate_rewards,
    named_rewards,
    tabular_reward,
    visit_transitions,
)
from rewardlab.exact.evaluation import occupancy
from rewardlab.exact.mdp import FiniteMDP


@pytest.fixture(scope="module")
def mdp():
    return FiniteMDP.random(8, 2, clean=True, episodic=True, rng=3)


def batch(**changes):
    fields = {"states": np.arange(3), "actions": np.zeros((3, 2)), "next_states": np.arange(3)}
    return Transitions(**(fields | changes))


def test_terminated_is_false_by_default():
    assert batch().terminated.tolist() == [False] * 3
    ours = Transitions(torch.zeros(2, 3), torch.zeros(2), torch.ones(2, 3))
    assert ours.terminated.dtype == torch.bool
    assert len(ours) == 2


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"states": [0, 1, 2]}, TypeError, "states: expected a NumPy array or torch tensor, got list"),
        ({"actions": torch.zeros(3)}, TypeError, "actions is a Tensor but states is a ndarray; use one library"),
        ({"actions": np.zeros(4)}, ValueError, r"actions has shape \(4,\), expected 3 rows as in states"),
        ({"next_states": np.zeros((3, 1))}, ValueError, r"next_states has shape \(3, 1\), expected \(3,\) as states"),
        ({"terminated": np.zeros(3)}, ValueError, r"terminated is float64 \(3,\), expected bool \(3,\)"),
        ({"actions": np.array([0, np.nan, 0])}, ValueError, r"actions\[1\] is nan, expected a finite number"),
        ({"states": np.array(0)}, ValueError, "at least one transition"),
        ({"states": np.zeros(0)}, ValueError, "at least one transition"),
    ],
)
def test_bad_batches_say_what_is_wrong(changes, error, message):
    with pytest.raises(error, match=message):
        batch(**changes)


@pytest.mark.parametrize(
    ("reward", "error", "message"),
    [
        (lambda s, a, n, end: np.where(s == 1, np.inf, 0.0), ValueError, r"'mine' is inf at row 1 \(state 1, action"),
        (lambda s, a, n, end: np.zeros((3, 1)), ValueError, r"'mine' returned shape \(3, 1\), expected \(3,\)"),
        (lambda s, a, n, end: [0.0, 0.0, 0.0], TypeError, "value of reward 'mine': expected a NumPy array"),
        (np.zeros((3, 1, 3)), TypeError, "reward 'mine' is a ndarray, .* tabular_reward|Type-check error"),
    ],
)
def test_bad_rewards_are_named(reward, error, message):
    with pytest.raises(error, match=message):
        batch().rewards({"mine": reward})


def test_no_rewards_is_an_error():
    with pytest.raises(ValueError, match="rewards is empty"):
        named_rewards({})


def test_rewards_see_terminated():
    values = batch(terminated=np.array([False, True, False])).rewards([lambda s, a, n, end: 5.0 * end])
    assert values.tolist() == [[0, 5, 0]]


def test_tabular_reward_in_numpy_and_torch():
    table = np.random.default_rng(0).normal(size=(3, 2, 3))
    s, a, n = np.array([0, 2, 1]), np.array([1, 0, 1]), np.array([2, 2, 0])
    expected = [table[0, 1, 2], table[2, 0, 2], table[1, 1, 0]]
    ours = Transitions(*(torch.tensor(part) for part in (s, a, n)))
    assert Transitions(s, a, n).rewards([tabular_reward(table)]).tolist() == [expected]
    assert ours.rewards([tabular_reward(torch.tensor(table))]).tolist() == [expected]
    assert Transitions(s, a, n).rewards([tabular_reward(table[..., 0])])[0, 1] == table[2, 0, 0]
    with pytest.raises(ValueError, match=r"table has shape \(3, 2, 4\)"):
        tabular_reward(np.zeros((3, 2, 4)))


def test_a_reward_that_tracks_gradients_is_just_a_reward():
    net = torch.nn.Linear(2, 1)
    states = torch.randn(4, 2)
    values = evaluate_rewards({"net": lambda s, a, n, end: net(s)[:, 0]}, states, states, states, states[:, 0] > 9)
    assert values.shape == (1, 4)


def test_cover_draws_each_transition_once(mdp):
    full = cover_transitions(mdp)
    assert len(full) == (mdp.continuation > 0).sum()
    assert not mdp.terminal[full.states].any()
    assert (full.terminated == mdp.terminal[full.next_states]).all()
    assert full.terminated.any()
    half = cover_transitions(mdp, 0.5, among="all", rng=1)
    triples = set(zip(half.states.tolist(), half.actions.tolist(), half.next_states.tolist(), strict=True))
    assert len(triples) == len(half) == 8 * 2 * 8 / 2
    assert (cover_transitions(mdp, 0.5, among="all", rng=2).states != half.states).any()
    assert len(cover_transitions(mdp, 1e-6)) == 1


def test_visits_follow_the_occupancy(mdp):
    policy = np.tile([0.8, 0.2], (8, 1))
    seen = visit_transitions(mdp, 40_000, policy=policy, rng=0)
    counts = np.zeros((8, 2, 8))
    np.add.at(counts, (seen.states, seen.actions, seen.next_states), 1 / len(seen))
    expected = occupancy(mdp, policy)[..., None] * mdp.transition
    np.testing.assert_allclose(counts, expected / expected.sum(), atol=0.01)
    assert not counts[expected == 0].any()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda mdp: cover_transitions(mdp, 0.0), r"fraction is 0.0, expected a number in \(0, 1\]"),
        (lambda mdp: cover_transitions(mdp, among="some"), "among is 'some'|Type-check error"),
        (lambda mdp: cover_transitions(FiniteMDP.random(4, 2, batch=2)), r"batch shape \(2,\), expected one world"),
        (lambda mdp: visit_transitions(mdp, 0), "count is 0"),
        (lambda mdp: collect_transitions(gymnasium.make("FrozenLake-v1"), 0), "steps is 0"),
    ],
)
def test_bad_draws_say_what_is_wrong(mdp, call, message):
    with pytest.raises((ValueError, TypeError), match=message):
        call(mdp)


def test_collect_from_a_discrete_environment():
    seen = collect_transitions(gymnasium.make("FrozenLake-v1", is_slippery=False), 500, rng=0)
    holes_and_goal = {5, 7, 11, 12, 15}
    assert set(seen.next_states[seen.terminated].tolist()) <= holes_and_goal
    assert not seen.terminated[~np.isin(seen.next_states, list(holes_and_goal))].any()
    starts = np.flatnonzero(seen.terminated[:-1]) + 1
    assert (seen.states[starts] == 0).all()  # restarted, so no transition joins two episodes
    again = collect_transitions(gymnasium.make("FrozenLake-v1", is_slippery=False), 500, rng=0)
    assert (again.next_states == seen.next_states).all()


def test_a_time_limit_is_not_an_end():
    seen = collect_transitions(gymnasium.make("Pendulum-v1", max_episode_steps=5), 20, rng=0)
    assert seen.states.shape == (20, 3)
    assert not seen.terminated.any()
    assert (seen.states[5] != seen.next_states[4]).any()


def test_collect_refuses_what_it_cannot_stack():
    env = gymnasium.make("Blackjack-v1")
    with pytest.raises(TypeError, match="observation space is Tuple"):
        collect_transitions(env, 3)


def test_distinct_rows_by_value():
    first, number = distinct_rows(np.array([[0.0, 1.0], [2.0, 1.0], [-0.0, 1.0]]))
    assert len(first) == 2
    assert number[0] == number[2] != number[1]


def test_index_numbers_states_of_both_ends():
    seen = Transitions(np.array([[1.0, 2], [3, 4]]), np.array([7, 7]), np.array([[3.0, 4], [5, 6]]))
    index = index_transitions(seen, others=np.array([[5.0, 6]]))
    assert len(index.states) == 3
    assert index.target[0] == index.origin[1]
    assert index.others[0] == index.target[1]
    np.testing.assert_array_equal(index.states[index.origin], seen.states)
    assert index.action_distribution.tolist() == [1]
