"""The maze as tables against the maze that is walked."""

import numpy as np
import pytest

from environments.guided.exact_maze import exact_maze
from environments.guided.maze import AUXILIARIES, GuidedMazeEnv
from rewardlab.exact.evaluation import policy_return
from rewardlab.exact.planning import optimal_policy

MAZE = exact_maze()
START = MAZE.state((0.125, 0.125))
NAMES = tuple(AUXILIARIES)


@pytest.fixture(scope="module")
def best():
    return optimal_policy(MAZE.mdp, MAZE.primary).action


def returns(policy, episodes, horizon, discount, seed=1):
    """Discounted returns of the primary reward and of every auxiliary one, (episodes, 1 + names)."""
    env, rng = GuidedMazeEnv(NAMES, horizon=horizon), np.random.default_rng(seed + 1)
    total = np.zeros((episodes, 1 + len(NAMES)))
    for episode in range(episodes):
        place, _ = env.reset(seed=seed if episode == 0 else None)
        weight, ended = 1.0, False
        while not ended:
            action = rng.choice(4, p=policy[MAZE.state(place)])
            place, reward, terminated, truncated, info = env.step(action)
            total[episode] += weight * np.array([reward, *info["auxiliary"].values()])
            weight, ended = weight * discount, terminated or truncated
    return total


def test_the_states_are_all_that_can_be_reached():
    """In whole hops from the start: the wall is 2 to the left and 19 to the right, the goal is from 14 to 19."""
    reached, ahead = {(0, 0)}, {(0, 0)}
    while ahead:
        x, y = ahead.pop()
        for right, up in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            to_x, to_y = x, y
            for _ in range(4):
                if min(to_x, to_y) < 14 and -2 <= to_x + right <= 19 and -2 <= to_y + up <= 19:
                    to_x, to_y = to_x + right, to_y + up
            ahead |= {(to_x, to_y)} - reached
            reached.add((to_x, to_y))
    assert len(reached) == MAZE.mdp.states == 273
    assert {MAZE.state((0.125 + 0.045 * x, 0.125 + 0.045 * y)) for x, y in reached} == set(range(273))
    inside = {MAZE.state((0.125 + 0.045 * x, 0.125 + 0.045 * y)) for x, y in reached if min(x, y) >= 14}
    assert set(np.flatnonzero(MAZE.mdp.terminal).tolist()) == inside and len(inside) == 9
    assert MAZE.mdp.initial[START] == 1


def test_random_walks_stay_on_the_states():
    env, rng = GuidedMazeEnv(()), np.random.default_rng(5)
    env.reset(seed=0)
    for _ in range(5000):
        place, _, terminated, truncated, _ = env.step(int(rng.integers(4)))
        assert MAZE.mdp.terminal[MAZE.state(place)] == terminated
        if terminated or truncated:
            env.reset()


def test_without_noise_the_tables_are_the_walk():
    maze, env = exact_maze(noise=0.0), GuidedMazeEnv(NAMES, noise=0.0)
    for state in np.flatnonzero(~maze.mdp.terminal):
        for action in range(4):
            env.reset(seed=0)
            env.position = tuple(maze.places[state])
            place, reward, terminated, _, info = env.step(action)
            arrival = maze.state(place)
            assert maze.mdp.transition[state, action, arrival] == 1
            assert maze.mdp.terminal[arrival] == terminated
            assert maze.primary[state, action] == reward
            assert {name: maze.auxiliary[name][state, action] for name in NAMES} == info["auxiliary"]


def test_returns_of_walks_come_to_the_exact_ones():
    discount, policy = 0.9, np.tile([0.3, 0.3, 0.25, 0.15], (273, 1))
    maze = exact_maze(discount=discount)
    walked = returns(policy, 1500, 100, discount)
    rewards = [maze.primary, *maze.auxiliary.values()]
    exact = [float(policy_return(maze.mdp, reward, policy)) for reward in rewards]
    errors = walked.std(axis=0) / np.sqrt(len(walked))
    np.testing.assert_array_less(np.abs(walked.mean(axis=0) - exact), 4 * errors)


def test_the_best_that_can_be_done(best):
    """With noise 99.12 points and 91.65 with the discount of the published study; without noise, by hand."""
    walked = returns(np.eye(4)[best], 2000, 50, 1.0)[:, 0]
    undiscounted = exact_maze(discount=1.0)
    value = float(policy_return(undiscounted.mdp, undiscounted.primary, np.eye(4)[best]))
    assert value == pytest.approx(99.1226, abs=1e-4)
    assert value == pytest.approx(walked.mean(), abs=4 * walked.std() / np.sqrt(2000))
    assert float(optimal_policy(MAZE.mdp, MAZE.primary).values[START]) == pytest.approx(91.6480, abs=1e-4)
    quiet = exact_maze(noise=0.0)
    by_hand = -0.1 * sum(0.99**t for t in range(8)) + 100 * 0.99**7
    assert float(optimal_policy(quiet.mdp, quiet.primary).values[START]) == pytest.approx(by_hand)


@pytest.mark.parametrize(
    ("name", "reaches"),
    [("good", 1), ("good with corner y", 1), ("good with free walls", 0), ("good as published", 0), ("bad", 0)],
)
def test_where_advice_leads_that_is_followed_for_its_own_sake(name, reaches):
    """Free walls, not the height, are what makes the published good advice one not to follow blindly."""
    quiet = exact_maze(noise=0.0)
    action = optimal_policy(quiet.mdp, quiet.auxiliary[name]).action
    arrivals = quiet.mdp.transition[np.arange(273), action]
    assert (np.linalg.matrix_power(arrivals, 50)[START] * quiet.mdp.terminal).sum() == reaches


def test_good_advice_added_to_the_goal_keeps_it_and_bad_advice_does_not(best):
    for name, primary in (("good", 91.60), ("good as published", 91.59), ("bad", -9.74)):
        action = optimal_policy(MAZE.mdp, MAZE.primary + MAZE.auxiliary[name]).action
        assert float(policy_return(MAZE.mdp, MAZE.primary, np.eye(4)[action])) == pytest.approx(primary, abs=0.01)


@pytest.mark.parametrize("position", [(0.125, 0.13), (2.0, 0.125), (-0.01, 0.125), (np.nan, 0.125), (np.inf, 0.1)])
def test_positions_between_the_states(position):
    with pytest.raises(ValueError, match="cannot be reached from the start"):
        MAZE.state(position)


@pytest.mark.parametrize(("name", "value"), [("noise", 1.5), ("noise", np.nan), ("discount", -0.1)])
def test_numbers_out_of_range(name, value):
    with pytest.raises(ValueError, match=name):
        exact_maze(**{name: value})
