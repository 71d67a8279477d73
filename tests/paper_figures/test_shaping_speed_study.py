"""The chain and the car behind the figure on learning speed."""

import gymnasium
import numpy as np
import pytest

from paper_figures.shaping_speed_study import (
    CELLS,
    DISCOUNT,
    EPISODES,
    GOAL,
    arms,
    chain,
    chain_rows,
    chain_runs,
    energy,
    exact_rows,
    height,
    table_difference,
)
from rewardlab.exact import optimal_policy
from rewardlab.shaping.tabular.q_learning import LearningRuns


def test_the_value_of_the_chain():
    value = optimal_policy(*chain()).values
    np.testing.assert_allclose(value[:-1], DISCOUNT ** np.arange(CELLS - 2, -1, -1.0))
    np.testing.assert_array_equal(arms()["value"].potential, value)


def test_all_but_the_mismatch_keep_the_optimum():
    assert {row["arm"]: row["value"] for row in exact_rows()} == {name: float(name != "mismatch") for name in arms()}


def test_shaping_is_a_choice_of_first_values():
    assert table_difference(1000, np.random.default_rng(0)) < 1e-12


def test_runs_are_counted_right():
    shape = (len(arms()), 1, EPISODES)
    steps, terminated = np.full(shape, 100), np.ones(shape, bool)
    steps[0, 0, 3:], steps[1, 0, 0], steps[2] = 20, 19, 25
    terminated[2, 0, 0] = False  # cut after 25 steps: not a good run
    tables = np.zeros((len(arms()), 1, CELLS, 2))
    tables[0, 0, :, 1] = 1.0
    rows = chain_rows(LearningRuns(steps, 1.0 * terminated, terminated, tables))
    assert [row["before"] for row in rows[:4]] == [3.0, 0.0, 1.0, EPISODES]
    assert [row["late"] for row in rows[:2]] == [20.0, 100.0]
    assert [row["arrives"] for row in rows[:2]] == [1.0, 0.0]


def test_good_potentials_speed_up_and_the_mismatch_never_learns():
    rows = chain_rows(chain_runs(3, np.random.default_rng(1)))
    before = {name: np.median([row["before"] for row in rows if row["arm"] == name]) for name in arms()}
    assert before["progress"] <= before["value"] <= 4 and before["none"] > 30
    assert not any(row["arrives"] for row in rows if row["arm"] == "mismatch")


def test_energy_is_kept_where_the_car_rolls_and_rises_where_it_is_pushed_along():
    env = gymnasium.make("MountainCar-v0", max_episode_steps=1000)
    observation, _ = env.reset(seed=0)
    rolling = [energy(observation)]
    for _ in range(50):
        observation = env.step(1)[0]
        rolling.append(energy(observation))
    assert np.ptp(rolling) < 0.01
    for _ in range(300):
        observation, _, terminated, _, _ = env.step(2 if observation[1] >= 0 else 0)
        if terminated:
            break
    assert terminated and energy(observation) == 0.0


def test_scale_of_the_energy():
    assert energy(np.array([GOAL, 0.0])) == pytest.approx(0.0, abs=1e-12)
    assert energy(np.array([-np.pi / 6, 0.0])) == pytest.approx(-1.0)
    fast = np.array([-np.pi / 6, 0.07])
    assert height(fast) == pytest.approx(-1.0)
    assert height(fast) < energy(fast) <= 0.0
    assert energy(np.array([GOAL, 0.05])) == 0.0
