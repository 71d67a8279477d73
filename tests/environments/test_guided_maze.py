"""The continuous maze: geometry, rewards, noise, and the published slips by name."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.stats import chisquare

from environments.guided.maze import AUXILIARIES, POTENTIALS, GuidedMazeEnv

UP, RIGHT, DOWN, LEFT = range(4)
EAST_OF_TRAP, STRAIGHT_TO_GOAL = [RIGHT] * 4 + [UP] * 4, [RIGHT, UP] * 4
CENTRE = np.array([0.87, 0.87])


def quiet(names=("good", "bad"), **options):
    env = GuidedMazeEnv(names, noise=0.0, **options)
    env.reset(seed=0)
    return env


def walk(env, actions):
    """(position, reward, terminated, truncated, auxiliary) of every step until the episode ends."""
    steps = []
    for action in actions:
        place, reward, terminated, truncated, info = env.step(action)
        steps.append((place, reward, terminated, truncated, info["auxiliary"]))
        if terminated or truncated:
            break
    return steps


def hops(start, action):
    """An own account of a move: the positions after its hops, and which hops the wall allowed."""
    direction = np.array([[0, 1], [1, 0], [0, -1], [-1, 0]])[action] * 0.045
    place, places, moved = np.array(start, dtype=float), [], 0
    for _ in range(4):
        if np.all((place + direction >= 0) & (place + direction <= 1)):
            place, moved = place + direction, moved + 1
        places.append(place)
        if np.all((place >= 0.75) & (place <= 0.99)):
            break
    return np.array(places), moved


def in_trap(places):
    return np.all((places >= 0.4) & (places <= 0.6), axis=1)


# geometry and the primary reward


def test_a_straight_walk_to_the_goal():
    steps = walk(quiet(), EAST_OF_TRAP)
    places = np.array([step[0] for step in steps])
    np.testing.assert_allclose(places[:4], [[0.305, 0.125], [0.485, 0.125], [0.665, 0.125], [0.845, 0.125]])
    np.testing.assert_allclose(places[-1], [0.845, 0.755])  # two hops into the last move
    assert [step[1] for step in steps] == [-0.1] * 7 + [99.9]
    assert [step[2:4] for step in steps] == [(False, False)] * 7 + [(True, False)]


def test_the_wall_stops_a_move():
    env = quiet()
    np.testing.assert_allclose(walk(env, [LEFT])[0][0], [0.035, 0.125])  # 2 hops of 4
    np.testing.assert_allclose(walk(env, [LEFT])[0][0], [0.035, 0.125])
    np.testing.assert_allclose(walk(env, [DOWN, RIGHT])[1][0], [0.215, 0.035])
    env.position = (0.98, 0.5)
    np.testing.assert_allclose(walk(env, [RIGHT])[0][0], [0.98, 0.5])


@pytest.mark.parametrize(("place", "inside"), [((0.75, 0.705), True), ((0.99, 0.705), True), ((0.995, 0.705), False)])
def test_the_goal_is_a_closed_box(place, inside):
    env = quiet()
    env.position = place
    _, reward, terminated, _, _ = env.step(UP)
    assert (reward, terminated) == ((99.9, True) if inside else (-0.1, False))


@given(st.lists(st.integers(0, 3), min_size=1, max_size=60), st.floats(0, 1), st.integers(0, 10**6))
def test_never_outside_the_square_and_always_on_the_lattice(actions, noise, seed):
    env = GuidedMazeEnv(("good", "bad", "good as published"), noise=noise, horizon=200)
    place, _ = env.reset(seed=seed)
    for action in actions:
        before, (place, reward, terminated, truncated, info) = place, env.step(action)
        assert env.observation_space.contains(place)
        lattice = (place - 0.035) / 0.045
        np.testing.assert_allclose(lattice, lattice.round(), atol=1e-9)
        assert np.abs(place - before).sum() <= 0.18 + 1e-9 and (np.abs(place - before) < 1e-9).any()
        assert terminated == bool(np.all((place >= 0.75) & (place <= 0.99))) and not truncated
        assert reward == (99.9 if terminated else -0.1)
        assert info["auxiliary"]["good"] <= 0 <= info["auxiliary"]["bad"] <= 200
        if terminated:
            break


@given(st.floats(0, 1), st.floats(0, 1), st.integers(0, 3))
def test_a_move_from_anywhere_against_an_account_of_its_hops(x, y, action):
    assume(not (0.75 <= x <= 0.99 and 0.75 <= y <= 0.99))  # there an episode is over
    env = quiet(tuple(AUXILIARIES))
    env.position = (x, y)
    place, _, terminated, _, info = env.step(action)
    places, moved = hops((x, y), action)
    np.testing.assert_allclose(place, places[-1], atol=1e-12)
    distance = ((places - CENTRE) ** 2).sum(axis=1)
    published = (places[:, 0] - 0.87) ** 2 + 0.0144
    assert info["auxiliary"] == pytest.approx(
        {
            "good": -distance.sum(),
            "good with corner y": -published.sum(),
            "good with free walls": -distance[:moved].sum(),
            "good as published": -published[:moved].sum(),
            "bad": 50 * in_trap(places[:moved]).sum(),
            "bad as published": 50 * in_trap(places[:moved]).sum(),
        }
    )
    assert terminated == bool(np.all((places[-1] >= 0.75) & (places[-1] <= 0.99)))


# noise


def test_noise_takes_any_move_with_the_same_probability():
    env, counts = GuidedMazeEnv((), noise=0.4, horizon=2), np.zeros(4)
    env.reset(seed=0)
    for _ in range(8000):
        env.reset()
        right, up = env.step(RIGHT)[0] - 0.125
        counts[(UP if up > 0 else DOWN) if up else (RIGHT if right > 0 else LEFT)] += 1
    assert chisquare(counts, 8000 * np.array([0.1, 0.7, 0.1, 0.1])).pvalue > 0.01


def test_without_noise_nothing_is_left_to_chance():
    steps = [walk(quiet(), STRAIGHT_TO_GOAL) for _ in range(2)]
    np.testing.assert_array_equal(*[[step[0] for step in one] for one in steps])


# the horizon


def test_an_episode_is_truncated_after_its_last_move():
    steps = walk(quiet(), [LEFT] * 60)
    assert len(steps) == 50
    assert steps[-1][1:4] == (-0.1, False, True)
    assert sum(step[1] for step in steps) == pytest.approx(-5)


def test_the_goal_on_the_last_move_is_the_goal():
    steps = walk(quiet(horizon=8), STRAIGHT_TO_GOAL)
    assert steps[-1][1:4] == (99.9, True, False)


# the published slips


def test_as_published_the_last_move_is_lost():
    steps = walk(quiet(("good", "bad"), as_published=True), [LEFT] * 60)
    assert len(steps) == 50
    assert steps[-1][1:] == (0.0, False, True, {"good": 0.0, "bad": 0.0})
    np.testing.assert_array_equal(steps[-1][0], steps[-2][0])
    assert sum(step[1] for step in steps) == pytest.approx(-4.9)
    assert walk(quiet(horizon=8, as_published=True), STRAIGHT_TO_GOAL)[-1][1:4] == (0.0, False, True)


def test_as_published_the_goal_is_seen_from_one_hop_before():
    ours, published = (walk(quiet(as_published=flag), EAST_OF_TRAP)[-1] for flag in (False, True))
    np.testing.assert_allclose(published[0], [0.845, 0.71])
    assert ours[1:] == published[1:]


def test_the_published_advice_pays_for_pushing_against_a_wall():
    """Its best is 0 a step, out of reach in the open; the one meant here costs as much as anywhere so far away."""
    env = quiet(("good", "good as published"))
    walk(env, [LEFT])
    against_the_wall = walk(env, [LEFT])[0][4]
    assert against_the_wall["good as published"] == 0
    assert against_the_wall["good"] == pytest.approx(-4 * (0.835**2 + 0.745**2))


def test_the_trap_can_be_entered_again_and_again():
    env = quiet(("bad",))
    env.position = (0.485, 0.485)
    paid = [step[4]["bad"] for step in walk(env, [LEFT, RIGHT] * 3)]
    assert paid == [50, 100] * 3  # out over 0.44 to 0.305, and back over 0.44 to 0.485


# potentials


def test_potentials_are_what_staying_would_pay():
    places = np.array([[0.125, 0.125], [0.5, 0.5], [0.4, 0.61], [0.87, 0.87]])
    np.testing.assert_allclose(POTENTIALS["good"](places), -4 * ((places - 0.87) ** 2).sum(axis=1))
    np.testing.assert_array_equal(POTENTIALS["bad"](places), [0, 200, 0, 0])


# what is refused


@pytest.mark.parametrize("action", [-1, 4, 1.5, None, "up"])
def test_actions_that_do_not_exist(action):
    with pytest.raises(ValueError, match=r"action is .*, expected a whole number from 0 to 3"):
        quiet().step(action)


def test_nothing_follows_the_end():
    for actions, options in (([], {}), (STRAIGHT_TO_GOAL, {}), ([LEFT], {"horizon": 1})):
        env = GuidedMazeEnv(noise=0.0, **options)
        if actions:
            env.reset(seed=0)
            walk(env, actions)
        with pytest.raises(RuntimeError, match="no episode is under way"):
            env.step(RIGHT)


@pytest.mark.parametrize("noise", [-0.1, 1.1, np.nan, np.inf])
def test_noise_that_is_no_probability(noise):
    with pytest.raises(ValueError, match="noise is"):
        GuidedMazeEnv(noise=noise)
