"""The mountain cars: what they are paid, what they are told, and whether it helps."""

import gymnasium
import numpy as np
import pytest

from environments.guided.mountain_car import (
    AUXILIARIES,
    POTENTIALS,
    guided_mountain_car,
    guided_mountain_car_continuous,
)

NAMES = tuple(AUXILIARIES)
VALLEY = -np.pi / 6


def car(continuous, names=NAMES, **options):
    return (guided_mountain_car_continuous if continuous else guided_mountain_car)(names, **options)


def action(continuous, push):
    return np.array([push], np.float32) if continuous else push + 1


def follow(continuous, rule, seed=0, **options):
    """(velocity after, push, reward, terminated, truncated, auxiliary) of every step of an episode."""
    env = car(continuous, **options)
    (_, velocity), _ = env.reset(seed=seed)
    steps, ended = [], False
    while not ended:
        push = rule(velocity)
        (_, velocity), reward, terminated, truncated, info = env.step(action(continuous, push))
        steps.append((velocity, push, reward, terminated, truncated, info["auxiliary"]))
        ended = terminated or truncated
    return steps


@pytest.mark.parametrize("continuous", [False, True])
def test_only_the_top_pays(continuous):
    steps = follow(continuous, lambda velocity: 1 if velocity >= 0 else -1)
    assert len(steps) < 250 and steps[-1][3:5] == (True, False)
    assert [step[2] for step in steps] == [0.0] * (len(steps) - 1) + [1.0]
    assert all(type(step[2]) is float for step in steps)


@pytest.mark.parametrize("continuous", [False, True])
def test_without_the_advice_the_hill_is_too_steep(continuous):
    steps = follow(continuous, lambda velocity: 1)
    assert len(steps) == 2000 and steps[-1][3:5] == (False, True)
    assert sum(step[2] for step in steps) == 0


@pytest.mark.parametrize("continuous", [False, True])
def test_rewards_of_every_kind_of_step(continuous):
    rng = np.random.default_rng(0)
    steps = follow(continuous, lambda velocity: int(rng.integers(-1, 2)), horizon=300)
    for velocity, push, _, _, _, paid in steps[:-1]:
        good = 1 if (velocity > 0 and push == 1) or (velocity < 0 and push == -1) else -1
        assert (paid["good"], paid["bad"], paid["speed"]) == (good, -good, pytest.approx(10 * abs(velocity)))
        assert (paid["good as published"], paid["speed as published"]) == (paid["good"], paid["speed"])
    assert {(np.sign(step[0]), step[1]) for step in steps} >= {(s, p) for s in (-1, 1) for p in (-1, 0, 1)}


@pytest.mark.parametrize("horizon", [30, 2000])
def test_as_published_the_last_step_pays_nothing(horizon):
    last = follow(False, lambda velocity: 1 if velocity >= 0 else -1, horizon=horizon)[-1]
    assert last[4] == (horizon == 30)
    assert last[5]["good as published"] == last[5]["speed as published"] == 0
    assert last[5]["good"] == 1 and last[5]["speed"] > 0


def test_a_gentle_force_counts_as_a_push():
    env = car(True, ("good",))
    env.reset(seed=0)
    paid = []
    for force in (0.01, -0.01, 0.0, 2.0):
        env.unwrapped.state = np.array([VALLEY, 0.02], np.float32)
        paid.append(env.step(np.array([force], np.float32))[4]["auxiliary"]["good"])
    assert paid == [1, -1, -1, 1]


def test_the_dynamics_are_gymnasiums():
    ours, theirs, rng = guided_mountain_car(), gymnasium.make("MountainCar-v0"), np.random.default_rng(1)
    np.testing.assert_array_equal(ours.reset(seed=2)[0], theirs.reset(seed=2)[0])
    for _ in range(150):
        push = int(rng.integers(3))
        np.testing.assert_array_equal(ours.step(push)[0], theirs.step(push)[0])


def test_the_energy_is_0_in_the_valley_1_in_the_goal_and_rises_with_a_push_along():
    potential = POTENTIALS["good"]
    np.testing.assert_allclose(potential(np.array([[VALLEY, 0.0], [0.5, 0.0]])), [0, 1], atol=1e-12)
    enough_speed = np.sqrt(2 * 0.0025 / 3 * (np.sin(1.5) + 1))  # to coast up to the goal
    assert potential(np.array([VALLEY, -enough_speed])) == pytest.approx(1)
    rng = np.random.default_rng(0)
    env = car(False, ("good",))
    env.reset(seed=0)
    for _ in range(300):
        velocity = float(rng.choice([-1, 1]) * rng.uniform(0.01, 0.06))
        state = np.array([rng.uniform(-1.0, 0.4), velocity])
        changes = []
        for push in (0, 1, 2):
            env.unwrapped.state = tuple(state)
            after = env.step(push)[0]
            changes.append(potential(after) - potential(state))
        assert np.all(np.diff(changes) * np.sign(velocity) > 0)
    np.testing.assert_array_equal(POTENTIALS["bad"](state), -potential(state))
    assert POTENTIALS["speed"](np.array([0.1, -0.03])) == pytest.approx(0.3)
