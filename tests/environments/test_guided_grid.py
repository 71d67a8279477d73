"""The grid that is walked against the grid that is solved."""

import numpy as np
import pytest
from scipy.stats import chisquare

from environments.guided.exact_grid import guided_grid
from environments.guided.grid_env import POTENTIALS, GuidedGridEnv
from rewardlab.exact.evaluation import policy_return

WORLD = guided_grid()
START, MIDDLE, GOAL = 0, 12, 24


def step_from(env, state, action):
    env.reset()
    env.state = state
    return env.step(action)


@pytest.mark.parametrize("slip", [0.0, 0.1, 1.0])
def test_arrivals_are_as_frequent_as_the_table_says(slip):
    mdp, env, draws = guided_grid(slip=slip).mdp, GuidedGridEnv(slip=slip), 1500
    env.reset(seed=0)
    smallest = 1.0
    for state in np.flatnonzero(~mdp.terminal):
        for action in range(mdp.actions):
            counts = np.zeros(mdp.states)
            for _ in range(draws):
                counts[step_from(env, state, action)[0]] += 1
            possible = mdp.transition[state, action] > 0
            assert counts[~possible].sum() == 0
            if possible.sum() > 1:
                expected = mdp.transition[state, action, possible] * draws
                smallest = min(smallest, chisquare(counts[possible], expected).pvalue)
    assert smallest > 0.01 / 96  # one test for each of the 96 pairs


def test_every_reward_is_the_tables():
    env = GuidedGridEnv(("bad", "good"))
    env.reset(seed=1)
    seen = set()
    for state in range(24):
        for action in (0, 1, 2, 3) * 40:
            arrival, reward, terminated, truncated, info = step_from(env, state, action)
            assert reward == WORLD.primary[state, action, arrival]
            assert info["auxiliary"] == {
                "bad": WORLD.bad[state, action, arrival],
                "good": WORLD.good[state, action, arrival],
            }
            assert (terminated, truncated) == (arrival == GOAL, False)
            seen.add((state, arrival))
    assert len(seen) > 24 * 3


def test_returns_come_to_the_exact_ones():
    policy = np.tile([0.1, 0.4, 0.4, 0.1], (25, 1))
    discount, episodes, rng = (
        WORLD.mdp.discount,
        3000,
        np.random.default_rng(1),
    )  # the seed of the world would repeat its noise
    env = GuidedGridEnv(("good",), horizon=None)
    returns = np.zeros((episodes, 2))
    for episode in range(episodes):
        state, _ = env.reset(seed=0 if episode == 0 else None)
        weight, ended = 1.0, False
        while not ended:
            state, reward, ended, _, info = env.step(rng.choice(4, p=policy[state]))
            returns[episode] += weight * np.array([reward, info["auxiliary"]["good"]])
            weight *= discount
    for column, reward in enumerate((WORLD.primary, WORLD.good)):
        exact = float(policy_return(WORLD.mdp, reward, policy))
        error = returns[:, column].std() / np.sqrt(episodes)
        assert returns[:, column].mean() == pytest.approx(exact, abs=4 * error)


def test_potentials_are_what_arriving_pays():
    assert POTENTIALS["good"][GOAL] == 0 and POTENTIALS["good"][START] == -2
    assert POTENTIALS["bad"][MIDDLE] == 0.5 and POTENTIALS["bad"].sum() == 0.5


@pytest.mark.parametrize("action", [-1, 4, 1.5, None, "up"])
def test_actions_that_do_not_exist(action):
    env = GuidedGridEnv()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action is .*, expected a whole number from 0 to 3"):
        env.step(action)


def test_nothing_follows_the_end():
    env = GuidedGridEnv(slip=0.0, horizon=1)
    for begin in (lambda: None, lambda: step_from(env, START, 1), lambda: step_from(env, 23, 1)):
        begin()
        with pytest.raises(RuntimeError, match="no episode is under way"):
            env.step(1)


def test_the_goal_on_the_last_step_is_the_goal():
    assert step_from(GuidedGridEnv(slip=0.0, horizon=1), 23, 1)[2:4] == (True, False)


@pytest.mark.parametrize("slip", [-0.1, 1.1, np.nan, np.inf])
def test_slips_that_are_no_probability(slip):
    with pytest.raises(ValueError, match="slip is"):
        GuidedGridEnv(slip=slip)
