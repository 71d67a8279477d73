import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rewardlab.exact import FiniteMDP, action_values, gridworld, optimal_policy, policy_return
from rewardlab.shaping.tabular.q_learning import first_within, q_learning, q_values_from

GRID = gridworld(["S...", "...G"], discount=0.9)
GOAL = np.broadcast_to((np.arange(8) == 7).astype(float), (8, 4, 8)).copy()
CLOSENESS = optimal_policy(GRID.mdp, GOAL).values
seeds = st.integers(0, 2**32 - 1)


def chain(cells=6, discount=0.9):
    """Left or right along a line whose last cell ends the episode and pays 1."""
    transition = np.zeros((cells, 2, cells))
    for cell in range(cells - 1):
        transition[cell, 0, max(cell - 1, 0)] = transition[cell, 1, cell + 1] = 1.0
    transition[-1, :, -1] = 1.0
    last = np.arange(cells) == cells - 1
    mdp = FiniteMDP(transition, discount, initial=np.eye(cells)[0], terminal=last)
    return mdp, np.broadcast_to(last.astype(float), transition.shape).copy()


def walk(seed, steps=200, states=5, actions=3):
    """Logged steps, some of which end an episode, with the rewards that were paid."""
    rng = np.random.default_rng(seed)
    return (
        rng.integers(states, size=steps),
        rng.integers(actions, size=steps),
        rng.normal(size=steps),
        rng.integers(states, size=steps),
        rng.random(steps) < 0.1,
    )


def by_hand(data, table, discount, rate):
    """Q-learning, one step after another, in plain Python."""
    table, after = [list(row) for row in table], []
    for state, action, reward, following, over in zip(*data, strict=True):
        ahead = 0.0 if over else max(table[following])
        table[state][action] += rate * (reward + discount * ahead - table[state][action])
        after.append([list(row) for row in table])
    return np.array(after)


@given(seeds, st.sampled_from([0.0, 0.5, 0.99, 1.0]), st.sampled_from([0.1, 0.5, 1.0]))
@settings(max_examples=50)
def test_tables_from_logged_steps_are_those_of_the_loop(seed, discount, rate):
    data, first = walk(seed, steps=40), np.random.default_rng(seed).normal(size=(5, 3))
    found = q_values_from(*data, initial_values=first, discount=discount, learning_rate=rate)
    np.testing.assert_allclose(found, by_hand(data, first, discount, rate), atol=1e-12)


@given(seeds, arrays(np.float64, 5, elements=st.floats(-10, 10)), st.sampled_from([0.3, 0.9, 0.99]))
@settings(max_examples=50)
def test_a_potential_as_shaping_is_the_same_potential_as_first_values(seed, potential, discount):
    data = walk(seed, steps=500)
    shaped = q_values_from(*data, initial_values=np.zeros((5, 3)), discount=discount, potential=potential)
    begun = q_values_from(*data, initial_values=np.repeat(potential[:, None], 3, axis=1), discount=discount)
    np.testing.assert_allclose(shaped + potential[:, None], begun, atol=1e-12)


def test_the_two_agree_over_5000_steps_in_a_world():
    rng = np.random.default_rng(0)
    mdp = FiniteMDP.random(6, 3, discount=0.95, rng=0)
    reward, potential = rng.normal(size=(6, 3, 6)), rng.normal(size=6) * 5
    states, actions = [0], rng.integers(3, size=5000)
    for action in actions:
        states.append(rng.choice(6, p=mdp.transition[states[-1], action]))
    now, then = np.array(states[:-1]), np.array(states[1:])
    data = (now, actions, reward[now, actions, then], then, np.zeros(5000, bool))
    shaped = q_values_from(*data, initial_values=np.zeros((6, 3)), discount=0.95, potential=potential)
    begun = q_values_from(*data, initial_values=np.repeat(potential[:, None], 3, axis=1), discount=0.95)
    assert abs(shaped + potential[:, None] - begun).max() < 1e-12
    assert abs(shaped - begun).max() > 1


@given(arrays(np.float64, 8, elements=st.floats(-2, 2)), st.integers(0, 1000))
@settings(max_examples=25)
def test_runs_with_either_take_the_same_steps(potential, seed):
    options = {"episodes": 8, "max_steps": 60, "seeds": 3, "rng": seed}
    shaped = q_learning(GRID.mdp, GOAL, potential=potential, **options)
    begun = q_learning(GRID.mdp, GOAL, initial_values=potential, **options)
    np.testing.assert_array_equal(shaped.steps, begun.steps)
    np.testing.assert_array_equal(shaped.returns, begun.returns)
    alive = np.where(GRID.mdp.terminal, 0.0, potential)[:, None]
    difference = shaped.action_values + alive - np.where(GRID.mdp.terminal[:, None], 0.0, begun.action_values)
    np.testing.assert_allclose(difference, 0.0, atol=1e-12)


def test_an_arm_does_not_depend_on_the_others_nor_a_seed_on_how_many_there_are():
    potentials = np.stack([0 * CLOSENESS, CLOSENESS, -CLOSENESS])
    options = {"episodes": 6, "max_steps": 100, "rng": 3}
    together = q_learning(GRID.mdp, GOAL, potential=potentials, seeds=4, **options)
    alone = q_learning(GRID.mdp, GOAL, potential=potentials[1], seeds=4, **options)
    few = q_learning(GRID.mdp, GOAL, potential=potentials, seeds=2, **options)
    for whole, one, part in zip(together, alone, few, strict=True):
        np.testing.assert_array_equal(whole[1], one)
        np.testing.assert_array_equal(whole[:, :2], part)


def test_shapes_of_arms():
    options = {"episodes": 3, "max_steps": 20, "seeds": 2}
    assert q_learning(GRID.mdp, GOAL, **options).steps.shape == (2, 3)
    found = q_learning(GRID.mdp, GOAL, potential=np.zeros((3, 1, 8)), shaping_discount=np.array([0.5, 1.0]), **options)
    assert [part.shape for part in found] == [(3, 2, 2, 3)] * 3 + [(3, 2, 2, 8, 4)]
    assert q_learning(GRID.mdp, GOAL[..., 0], initial_values=np.zeros((0, 8)), **options).steps.shape == (0, 2, 3)


def test_whole_numbers_do_as_potentials():
    floats = q_learning(GRID.mdp, GOAL, episodes=4, max_steps=50, potential=np.arange(8.0), seeds=2)
    whole = q_learning(GRID.mdp, GOAL, episodes=4, max_steps=50, potential=np.arange(8), seeds=2)
    np.testing.assert_array_equal(floats.action_values, whole.action_values)


def test_values_come_out_as_planned():
    mdp, goal = chain()
    optimal = optimal_policy(mdp, goal)
    exact = action_values(mdp, goal, optimal.policy)
    found = q_learning(mdp, goal, episodes=400, max_steps=200, exploration=0.5, seeds=3)
    np.testing.assert_allclose(found.action_values[:, :-1], np.broadcast_to(exact[:-1], (3, 5, 2)), atol=1e-9)
    assert found.terminated.all() and (found.returns == 1).all() and (found.steps >= 5).all()


def test_rewards_of_the_way_are_counted_and_not_the_shaping():
    mdp, goal = chain()
    found = q_learning(mdp, goal - 0.25, episodes=5, max_steps=100, potential=np.arange(6.0), seeds=4)
    np.testing.assert_allclose(found.returns, found.terminated - 0.25 * found.steps)


def test_the_time_limit_cuts_and_the_learner_bootstraps_there():
    forever = FiniteMDP(np.ones((1, 1, 1)), 0.9)
    paid, potential = np.ones((1, 1)), np.array([5.0])
    options = {"episodes": 800, "max_steps": 10, "learning_rate": 0.05, "seeds": 1}
    kept = q_learning(forever, paid, potential=potential, **options)
    assert (kept.steps == 10).all() and not kept.terminated.any()
    np.testing.assert_allclose(kept.action_values, 5.0, atol=1e-6)  # 10 less the potential
    zeroed = q_learning(forever, paid, potential=potential, on_truncation="zero", **options)
    # one step in ten lacks 0.9 x 5, and bootstrapping adds that up to 4.5
    np.testing.assert_allclose(zeroed.action_values, 0.5, atol=0.2)


def test_another_discount_in_the_shaping_is_a_wage():
    forever = FiniteMDP(np.ones((1, 1, 1)), 0.9)
    found = q_learning(
        forever,
        np.ones((1, 1)),
        episodes=1,
        max_steps=1000,
        potential=np.array([5.0]),
        shaping_discount=np.array([0.5, 0.9, 1.0]),
        seeds=1,
    )
    # (1 + discount x 5 - 5) / (1 - 0.9)
    np.testing.assert_allclose(found.action_values.ravel(), [-15.0, 5.0, 10.0], atol=1e-9)


def test_rounding_does_not_break_ties():
    mdp, goal = chain(cells=20)  # where shaping by the optimal value, or a part of it, is 0 but for rounding
    value = optimal_policy(mdp, goal).values / 3
    options = {"episodes": 10, "max_steps": 200, "seeds": 10}
    shaped = q_learning(mdp, goal, potential=value, **options)
    np.testing.assert_array_equal(shaped.steps, q_learning(mdp, goal, initial_values=value, **options).steps)


def test_the_learner_reaches_the_best_return_of_the_grid():
    found = q_learning(GRID.mdp, GOAL, episodes=60, max_steps=200, potential=CLOSENESS, seeds=5)
    greedy = np.eye(4)[found.action_values.argmax(-1)]
    best = optimal_policy(GRID.mdp, GOAL).expected_return
    np.testing.assert_allclose(policy_return(GRID.mdp, GOAL, greedy), best, atol=1e-9)


def test_exploration_and_ties_are_uniform():
    transition = np.where(np.arange(5)[:, None, None] > 0, np.eye(5)[:, None], np.eye(5)[1:])
    bandit = FiniteMDP(transition, 0.9, initial=np.eye(5)[0], terminal=np.arange(5) > 0)
    paid = np.broadcast_to(np.arange(5.0), (5, 4, 5)).copy()
    for values, exploration, expected in ((0.0, 1.0, [0.25] * 4), (9.0, 0.2, [0.05] * 3 + [0.85])):
        first = np.array([values, 0, 0, 0, 0])
        found = q_learning(
            bandit, paid, episodes=4000, max_steps=1, exploration=exploration, initial_values=first, seeds=1
        )
        shares = np.bincount(found.returns[0].astype(int)[100:], minlength=5)[1:] / 3900
        np.testing.assert_allclose(shares, expected, atol=0.025)


def test_ties_are_broken_at_random():
    mdp, goal = chain(cells=3)
    first = q_learning(mdp, goal, episodes=1, max_steps=1000, exploration=0.0, seeds=400).steps[:, 0]
    assert first.mean() == pytest.approx(6, abs=0.6)  # a walk on three cells with a wall: 2 + 4 steps


def test_starts_and_next_states_follow_their_probabilities():
    transition = np.zeros((4, 1, 4))
    transition[:2, 0] = [0.0, 0.0, 0.3, 0.7]
    transition[2:, 0, 2:] = np.eye(2)
    mdp = FiniteMDP(transition, 0.9, initial=np.array([0.8, 0.2, 0, 0]), terminal=np.arange(4) > 1)
    paid = np.zeros((4, 1, 4))
    paid[0, 0, 2:], paid[1, 0, 2:] = (1, 2), (3, 4)
    found = q_learning(mdp, paid, episodes=5000, max_steps=5, seeds=1).returns[0]
    shares = np.bincount(found.astype(int), minlength=5)[1:] / 5000
    np.testing.assert_allclose(shares, [0.24, 0.56, 0.06, 0.14], atol=0.02)


def test_the_first_start_of_the_next_episode_is_no_less_random():
    mdp = FiniteMDP(np.tile(np.eye(3)[2], (3, 2, 1)), 0.9, initial=np.array([0.5, 0.5, 0]), terminal=np.arange(3) == 2)
    paid = np.broadcast_to(np.arange(3.0)[:, None], (3, 2)).copy()
    starts = q_learning(mdp, paid, episodes=4000, max_steps=9, exploration=0.1, seeds=1).returns[0]
    assert starts.mean() == pytest.approx(0.5, abs=0.03)
    assert abs(np.corrcoef(starts[1:], starts[:-1])[0, 1]) < 0.05


def test_what_ended_an_episode_does_not_decide_where_the_next_one_starts():
    transition = np.tile(np.eye(3)[:, None], (1, 2, 1))
    transition[:2, 1] = np.eye(3)[2]  # action 0 stays, action 1 ends
    mdp = FiniteMDP(transition, 0.9, initial=np.array([0.5, 0.5, 0]), terminal=np.arange(3) == 2)
    paid = np.array([[1.0, 0.0], [3.0, 2.0], [0.0, 0.0]])
    found = q_learning(mdp, paid, episodes=6000, max_steps=1, exploration=0.2, seeds=1)
    after = found.returns[0, 1:][found.terminated[0, :-1]]  # episodes that follow one ended by exploration
    assert 400 < len(after) < 800 and (after >= 2).mean() == pytest.approx(0.5, abs=0.1)


def test_first_within():
    steps = np.array([[30, 26, 25, 40], [25, 25, 25, 25], [26, 27, 28, 29]])
    assert first_within(steps, 25).tolist() == [3.0, 1.0, np.inf]
    assert first_within(steps[0], 25) == 3.0


DATA = tuple(column[:3] for column in walk(0))
TABLE = np.zeros((5, 3))


def with_column(index, values):
    return tuple(values if place == index else column for place, column in enumerate(DATA))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"episodes": 0}, ValueError, "episodes is 0, expected a whole number in [1, inf)"),
        ({"episodes": 2.0}, TypeError, "episodes is 2.0, expected a whole number"),
        ({"max_steps": 0}, ValueError, "max_steps is 0"),
        ({"seeds": 0}, ValueError, "seeds is 0"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate is 0.0, expected a number in (0, 1]"),
        ({"exploration": 1.1}, ValueError, "exploration is 1.1"),
        ({"exploration": np.nan}, ValueError, "exploration is nan"),
        ({"on_truncation": "drop"}, ValueError, "on_truncation is 'drop', expected one of 'keep', 'zero'"),
        ({"potential": np.zeros(7)}, ValueError, "potential has shape (7,), expected (*arms, 8)"),
        ({"potential": np.array(1.0)}, ValueError, "potential has shape (), expected (*arms, 8)"),
        ({"potential": [0.0] * 8}, TypeError, "potential: expected a NumPy array"),
        ({"potential": torch.zeros(8)}, TypeError, "potential is a Tensor"),
        ({"potential": np.where(np.arange(8) == 3, np.nan, 0.0)}, ValueError, "potential[3] is nan"),
        ({"initial_values": np.full((2, 8), np.inf)}, ValueError, "initial_values[0, 0] is inf"),
        ({"initial_values": np.zeros((8, 4))}, ValueError, "initial_values has shape (8, 4), expected (*arms, 8)"),
        ({"shaping_discount": 1.5}, ValueError, "shaping_discount is 1.5, expected numbers in [0, 1]"),
        ({"shaping_discount": np.array([0.5, np.nan])}, ValueError, "expected numbers in [0, 1]"),
        (
            {"potential": np.zeros((2, 8)), "shaping_discount": np.ones(3)},
            ValueError,
            "do not broadcast against one another: potential (2,), initial_values (), shaping_discount (3,)",
        ),
        ({"rng": "0"}, TypeError, "rng: expected a seed"),
    ],
)
def test_refusals(options, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        q_learning(GRID.mdp, GOAL, **{"episodes": 2, "max_steps": 5, **options})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: (GRID.mdp, GOAL[:, :2]), ValueError, "reward has shape (8, 2, 8)"),
        (lambda: (GRID.mdp, np.stack([GOAL, GOAL])), ValueError, "reward has batch shape (2,), expected one reward"),
        (lambda: (GRID.mdp, GOAL * np.nan), ValueError, "reward[0, 0, 0] is nan"),
        (lambda: (FiniteMDP.random(4, 2, batch=2), np.zeros((4, 2))), ValueError, "mdp has batch shape (2,)"),
        (
            lambda: (FiniteMDP(torch.tensor(GRID.mdp.transition), 0.9), torch.zeros(8, 4)),
            TypeError,
            "mdp holds Tensors, expected NumPy arrays",
        ),
    ],
)
def test_refusals_of_worlds(call, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        q_learning(*call(), episodes=2, max_steps=5)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("data", "options", "error", "message"),
    [
        (with_column(0, np.array([0, 5, 0])), {}, ValueError, "states[1] is 5, expected 0 to 4"),
        (with_column(1, np.array([0, 0, 3])), {}, ValueError, "actions[2] is 3, expected 0 to 2"),
        (with_column(3, np.array([-1, 0, 0])), {}, ValueError, "next_states[0] is -1, expected 0 to 4"),
        (with_column(0, np.zeros(3)), {}, TypeError, "states has dtype float64, expected whole numbers"),
        (with_column(2, np.array([0, np.nan, 0])), {}, ValueError, "rewards[1] is nan"),
        (with_column(2, np.zeros(2)), {}, ValueError, "rewards has shape (2,), expected one value a step"),
        (with_column(4, np.zeros(3)), {}, TypeError, "terminated has dtype float64, expected bool"),
        (DATA, {"potential": np.zeros(4)}, ValueError, "potential has shape (4,), expected (5,)"),
        (DATA, {"potential": np.full(5, np.inf)}, ValueError, "potential[0] is inf"),
        (DATA, {"initial_values": np.zeros(5)}, ValueError, "initial_values has shape (5,), expected (S, A)"),
        (DATA, {"initial_values": np.full((5, 3), np.nan)}, ValueError, "initial_values[0, 0] is nan"),
        (DATA, {"discount": 1.01}, ValueError, "discount is 1.01"),
        (DATA, {"learning_rate": 0}, ValueError, "learning_rate is 0"),
    ],
)
def test_refusals_of_logged_steps(data, options, error, message, without_type_checks):
    with pytest.raises(error) as caught:
        q_values_from(*data, **{"initial_values": TABLE, "discount": 0.9, **options})
    assert message in str(caught.value)


def test_no_steps_are_no_tables_and_arguments_stay_as_they_were():
    none = tuple(column[:0] for column in DATA)
    assert q_values_from(*none, initial_values=TABLE, discount=0.9).shape == (0, 5, 3)
    potential, first = np.arange(8.0), np.ones(8)
    q_learning(GRID.mdp, GOAL, episodes=2, max_steps=5, potential=potential, initial_values=first, seeds=1)
    q_values_from(*DATA, initial_values=TABLE, discount=0.9)
    assert potential.tolist() == list(range(8)) and (first == 1).all() and (TABLE == 0).all()


def test_episodes_that_begin_at_their_end_are_refused():
    transition = np.zeros((2, 1, 2))
    transition[:, :, 1] = 1
    ends = FiniteMDP(transition, 0.9, initial=np.array([0.5, 0.5]), terminal=np.array([False, True]))
    with pytest.raises(ValueError, match="begins some episodes in a terminal state"):
        q_learning(ends, np.zeros((2, 1)), episodes=1, max_steps=2)
