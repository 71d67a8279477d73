"""Rewards against the published files and the live environments."""

import gymnasium
import numpy as np
import pytest
import torch

from environments import data
from environments.offline.formats.neorl2 import read_neorl2
from environments.offline.task_rewards import TASK_REWARDS, task_reward
from environments.offline.terminations import TERMINATIONS

FILES = {
    "SafetyHalfCheetah-high-100000-train": 1.6e-4,
    "SafetyHalfCheetah-high-20000-val": 1.6e-4,
    "RandomFrictionHopper-high-20000-val": 1.5e-5,
    "DMSD-high-20000-val": 1e-5,
    "RocketRecovery-high-20000-val": 2e-4,  # differences of numbers of a few hundred, in float32
    "Pipeline-high-20000-val": 1e-5,
}


def table_of(name):
    return read_neorl2(data.path(f"neorl2/{name}.npz")).table


@pytest.mark.parametrize(("name", "tolerance"), FILES.items())
def test_published_files(name, tolerance):
    table = table_of(name)
    reward = task_reward(f"neorl2/{name.split('-')[0]}")
    found = reward(table.observations, table.actions, table.next_observations)
    assert np.abs(found - table.rewards).max() < tolerance
    other = reward(table.next_observations, table.actions, table.observations)
    assert np.abs(other - table.rewards).max() > 100 * tolerance
    tensors = reward(*map(torch.from_numpy, (table.observations, table.actions, table.next_observations)))
    np.testing.assert_allclose(tensors, found, atol=tolerance)
    assert found.dtype == np.float32


def test_no_published_half_cheetah_speeds():
    table = table_of("SafetyHalfCheetah-high-100000-train")
    assert len(table) == 18_000
    ends = TERMINATIONS["neorl2/SafetyHalfCheetah"](table.observations, table.actions, table.next_observations)
    assert not ends.any()
    speed = (table.next_observations[:, 0] - table.observations[:, 0]) / 0.05
    assert 3.2 < speed.max() < 3.2096


@pytest.mark.parametrize("task", ["RandomFrictionHopper", "RocketRecovery", "Pipeline", "DMSD"])
def test_published_episodes_end_as_the_functions_say(task):
    table = table_of(f"{task}-high-20000-val")
    ends = TERMINATIONS[f"neorl2/{task}"](table.observations, table.actions, table.next_observations)
    np.testing.assert_array_equal(ends, table.terminals)
    assert table.terminals.any() == (task in ("RandomFrictionHopper", "RocketRecovery"))


@pytest.mark.parametrize(
    ("name", "task", "with_position"),
    [
        ("HalfCheetah-v5", "halfcheetah-v5-with-position", True),
        ("HalfCheetah-v5", "neorl/halfcheetah", True),
        ("Hopper-v5", "hopper-v5-with-position", True),
        ("Walker2d-v5", "walker2d-v5-with-position", True),
        ("InvertedPendulum-v5", "inverted_pendulum-v5", False),
        ("Pendulum-v1", "pendulum", False),
    ],
)
def test_live_environments(name, task, with_position):
    env = gymnasium.make(name, **({"exclude_current_positions_from_observation": False} if with_position else {}))
    env.action_space.seed(0)
    rows, ended = [], 0
    for seed in range(5):
        observation, _ = env.reset(seed=seed)
        for _ in range(60):
            action = env.action_space.sample()
            after, reward, terminated, _, _ = env.step(action)
            rows.append((observation, action, after, reward))
            observation, ended = after, ended + terminated
            if terminated:
                break
    env.close()
    before, actions, after, rewards = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    found = task_reward(task)(before, actions, after)
    np.testing.assert_allclose(found, rewards, atol=1e-6, rtol=1e-6)  # actions are float32, and squared so
    assert ended > 0 or task.startswith(("half", "neorl/half", "pendulum"))
    tensors = task_reward(task)(*(torch.from_numpy(array) for array in (before, actions, after)))
    np.testing.assert_allclose(tensors, found, rtol=1e-12)


def test_version_5_pays_for_standing_and_version_3_for_steps():
    before = np.zeros((2, 12))
    after = before.copy()
    after[0, 1] = 1.25  # stands; the second lies at height 0
    actions = np.zeros((2, 3))
    np.testing.assert_array_equal(TASK_REWARDS["hopper-v5-with-position"](before, actions, after), [1.0, 0.0])
    np.testing.assert_array_equal(TASK_REWARDS["neorl/hopper"](before, actions, after), [1.0, 1.0])
    np.testing.assert_array_equal(TASK_REWARDS["neorl2/RandomFrictionHopper"](before, actions, after), [0.0, 0.0])


def test_speeding_costs_a_hundred_instead_of_all_else():
    before, actions = np.zeros((2, 18)), np.ones((2, 6))
    after = before.copy()
    after[:, 0] = 0.05 * np.array([3.2, 3.22])
    found = TASK_REWARDS["neorl2/SafetyHalfCheetah"](before, actions, after)
    np.testing.assert_allclose(found, [3.2 - 0.6, -100.0])


def test_keeps_batch_and_type():
    before = np.zeros((2, 3, 18), dtype=np.float32)
    for task in ("neorl/halfcheetah", "neorl2/SafetyHalfCheetah"):
        found = TASK_REWARDS[task](before, np.ones((2, 3, 6), dtype=np.float32), before)
        assert found.shape == (2, 3)
        assert found.dtype == np.float32


def test_a_reward_that_is_no_function_of_these_is_not_offered():
    with pytest.raises(ValueError, match="task is 'hopper', expected one of 'neorl/halfcheetah'"):
        task_reward("hopper")
