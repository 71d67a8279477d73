"""Terminations against the environments themselves, at their bounds, and for everything that is not finite."""

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from environments.offline.terminations import TERMINATIONS, project_velocities, termination_of

SIZES = {
    "hopper": 11,
    "walker2d": 17,
    "halfcheetah": 17,
    "inverted_pendulum": 4,
    "pendulum": 3,
    "neorl/hopper": 12,
    "neorl/walker2d": 18,
    "neorl/halfcheetah": 18,
    "neorl2/RandomFrictionHopper": 13,
    "neorl2/SafetyHalfCheetah": 18,
    "neorl2/DMSD": 6,
    "neorl2/Fusion": 15,
    "neorl2/Pipeline": 52,
    "neorl2/RocketRecovery": 7,
    "neorl2/Simglucose": 31,
}
STANDING = {"hopper": {0: 1.25}, "walker2d": {0: 1.25}, "neorl/hopper": {1: 1.25}, "neorl/walker2d": {1: 1.25}}
STANDING["neorl2/RandomFrictionHopper"] = STANDING["neorl/hopper"]
STANDING |= {"neorl2/RocketRecovery": {1: 10.0}, "neorl2/Simglucose": {0: 120.0}}


def healthy(task, dtype=np.float64):
    observation = np.zeros(SIZES[task], dtype=dtype)
    for column, value in STANDING.get(task, {}).items():
        observation[column] = value
    return observation


def ends(task, **columns):
    after = healthy(task)
    for column, value in columns.items():
        after[int(column.removeprefix("o"))] = value
    return bool(TERMINATIONS[task](healthy(task), np.zeros(1), after))


def played(name, episodes, rows, **options):
    """Observation pairs and ends of random play, cast as tables cast them."""
    env = gymnasium.make(name, **options)
    env.action_space.seed(0)
    found, count = [], 0
    for seed in range(episodes):
        observation, _ = env.reset(seed=seed)
        over = False
        while not over and count < rows:
            after, _, terminated, truncated, _ = env.step(env.action_space.sample())
            found.append((observation, after, terminated))
            observation, over, count = after, terminated or truncated, count + 1
    env.close()
    before, after, terminated = (np.array(column) for column in zip(*found, strict=True))
    return before.astype(np.float32), after.astype(np.float32), terminated


@pytest.mark.parametrize(
    ("name", "task", "options"),
    [
        ("Hopper-v5", "hopper", {}),
        ("Walker2d-v5", "walker2d", {}),
        ("HalfCheetah-v5", "halfcheetah", {}),
        ("InvertedPendulum-v5", "inverted_pendulum", {}),
        ("Pendulum-v1", "pendulum", {}),
        ("Hopper-v5", "neorl/hopper", {"exclude_current_positions_from_observation": False}),
        ("Walker2d-v5", "neorl/walker2d", {"exclude_current_positions_from_observation": False}),
        ("HalfCheetah-v5", "neorl/halfcheetah", {"exclude_current_positions_from_observation": False}),
    ],
)
def test_agrees_with_random_play(name, task, options):
    before, after, terminated = played(name, episodes=60, rows=1200, **options)
    np.testing.assert_array_equal(TERMINATIONS[task](before, np.zeros((len(before), 1)), after), terminated)
    if task not in ("halfcheetah", "pendulum", "neorl/halfcheetah"):
        assert 20 < terminated.sum() < len(terminated) / 2


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Hopper-v5", "Walker2d-v5", "HalfCheetah-v5", "InvertedPendulum-v5"])
def test_agrees_with_long_random_play(name):
    before, after, terminated = played(name, episodes=100, rows=10_000)
    np.testing.assert_array_equal(termination_of(name)(before, np.zeros((len(before), 1)), after), terminated)


def test_bounds_are_outside():
    assert ends("hopper", o0=0.7)
    assert not ends("hopper", o0=np.nextafter(0.7, 1))
    assert ends("hopper", o1=0.2)
    assert ends("hopper", o1=-0.2)
    assert not ends("hopper", o1=0.1999)
    assert ends("hopper", o10=100.0)
    assert ends("hopper", o10=-100.0)  # what the misplaced parenthesis lets pass
    assert not ends("hopper", o0=1e6)
    assert ends("walker2d", o0=0.8)
    assert ends("walker2d", o0=2.0)
    assert ends("walker2d", o1=1.0)
    assert ends("walker2d", o1=-1.0)
    assert not ends("walker2d", o1=0.999)
    assert ends("walker2d", o16=-100.0)
    assert ends("halfcheetah", o3=100.0)
    assert not ends("halfcheetah", o3=99.9)
    assert not ends("inverted_pendulum", o1=0.2)  # the only closed one
    assert ends("inverted_pendulum", o1=np.nextafter(0.2, 1))
    assert ends("inverted_pendulum", o1=-0.21)


def test_the_position_along_the_track_ends_nothing():
    for task in ("neorl/hopper", "neorl/walker2d", "neorl/halfcheetah", "neorl2/RandomFrictionHopper"):
        assert not ends(task, o0=1e4)
    assert ends("neorl/hopper", o1=0.7)
    assert ends("neorl/hopper", o2=0.2)
    assert ends("neorl/hopper", o11=-100.0)
    assert ends("neorl/walker2d", o1=2.0)
    assert not ends("neorl/halfcheetah", o5=1e4)


def test_safety_half_cheetah_ends_by_speed():
    assert not ends("neorl2/SafetyHalfCheetah", o0=3.2095 * 0.05)
    assert ends("neorl2/SafetyHalfCheetah", o0=3.2097 * 0.05)
    assert not ends("neorl2/SafetyHalfCheetah", o0=-1.0)


def test_landed_and_out_of_range():
    assert ends("neorl2/RocketRecovery", o1=0.05)
    assert ends("neorl2/RocketRecovery", o1=-0.05)
    assert not ends("neorl2/RocketRecovery", o1=-0.0501)
    assert not ends("neorl2/Simglucose", o0=40.0)
    assert not ends("neorl2/Simglucose", o0=600.0)
    assert ends("neorl2/Simglucose", o0=39.9)
    assert ends("neorl2/Simglucose", o0=600.1)


@given(st.data())
@settings(deadline=None)
def test_whatever_is_not_finite_ends(data):
    task = data.draw(st.sampled_from(sorted(TERMINATIONS)))
    column = data.draw(st.integers(0, SIZES[task] - 1))
    value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    assert not ends(task)
    assert ends(task, **{f"o{column}": value})


@given(st.data())
@settings(deadline=None)
def test_batches_and_libraries_agree(data):
    task = data.draw(st.sampled_from(sorted(TERMINATIONS)))
    batch = data.draw(st.sampled_from([(), (0,), (1,), (4,), (2, 3)]))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    scale = data.draw(st.sampled_from([0.05, 0.3, 60.0]))
    before, after = (
        (healthy(task) + scale * rng.standard_normal((*batch, SIZES[task]))).astype(np.float32) for _ in range(2)
    )
    actions = np.zeros((*batch, 2), dtype=np.float32)
    found = TERMINATIONS[task](before, actions, after)
    assert found.shape == batch
    tensors = TERMINATIONS[task](*(torch.from_numpy(array) for array in (before, actions, after)))
    assert tensors.dtype == torch.bool
    np.testing.assert_array_equal(tensors, found)
    one_by_one = [TERMINATIONS[task](before[i], actions[i], after[i]) for i in np.ndindex(batch)]
    np.testing.assert_array_equal(np.reshape(one_by_one, batch), found)


def test_velocities_are_projected_and_nothing_else():
    for task, first in (("hopper", 5), ("walker2d", 8)):
        observations = np.linspace(-30, 30, 2 * SIZES[task]).reshape(2, -1)
        found = project_velocities(task, observations)
        np.testing.assert_array_equal(found[..., :first], observations[..., :first])
        np.testing.assert_array_equal(found[..., first:], np.clip(observations[..., first:], -10, 10))
        np.testing.assert_array_equal(project_velocities(task, torch.from_numpy(observations)), found)
        np.testing.assert_array_equal(project_velocities(task, found), found)


def test_the_environments_own_velocities_need_no_projection():
    for name, task in (("Hopper-v5", "hopper"), ("Walker2d-v5", "walker2d")):
        _, after, _ = played(name, episodes=40, rows=800)
        np.testing.assert_array_equal(project_velocities(task, after), after)
        assert np.abs(after).max() > 5


def test_names():
    assert termination_of("Hopper-v4") is termination_of("hopper")
    assert set(SIZES) == set(TERMINATIONS)
    with pytest.raises(ValueError, match="name is 'Ant-v5', expected one of 'hopper'"):
        termination_of("Ant-v5")
    with pytest.raises(ValueError, match=r"next_observations has shape \(2, 12\), expected \(\.\.\., 11\)"):
        TERMINATIONS["hopper"](np.zeros((2, 12)), np.zeros((2, 3)), np.zeros((2, 12)))
    with pytest.raises(ValueError, match="task is 'halfcheetah', expected one of 'hopper', 'walker2d'"):
        project_velocities("halfcheetah", np.zeros(17))
