"""The DMSD law against the published files, and against itself."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from environments import data
from environments.offline.known_laws import (
    DMSD_ACTION_MATRIX,
    DMSD_STATE_MATRIX,
    DMSD_TARGET_CHANGE,
    dmsd_reward,
    dmsd_rollout,
    dmsd_step,
)

LENGTH = 100
FILES = {  # file -> trajectories, and those of them whose targets change
    "neorl2/DMSD-high-100000-train.npz": (1000, 729),
    "neorl2/DMSD-high-20000-val.npz": (200, 157),
}


@pytest.fixture(scope="module", params=FILES)
def recorded(request):
    """Columns of a published file, one trajectory a row, in float64; and what is known of it."""
    with np.load(data.path(request.param), allow_pickle=False) as file:
        columns = {name: file[name].astype(np.float64) for name in ("obs", "action", "next_obs", "reward")}
    rows = FILES[request.param][0]
    return {name: column.reshape(rows, LENGTH, *column.shape[1:]) for name, column in columns.items()}, request.param


def targets_change(columns):
    return (columns["obs"][..., 4:] != columns["next_obs"][..., 4:]).any(axis=-1)


def test_one_step_of_every_recorded_row(recorded):
    columns, _ = recorded
    next_observations = dmsd_step(columns["obs"], columns["action"])
    assert np.abs(next_observations - columns["next_obs"])[..., :4].max() < 1e-6
    assert np.abs(next_observations - columns["next_obs"])[~targets_change(columns)].max() < 1e-6
    in_single = dmsd_step(columns["obs"].astype(np.float32), columns["action"].astype(np.float32))
    assert in_single.dtype == np.float32
    assert np.abs(in_single - columns["next_obs"])[..., :4].max() < 1e-6


def test_targets_change_at_one_step_only(recorded):
    columns, name = recorded
    change = targets_change(columns)
    assert np.flatnonzero(change.any(axis=0)).tolist() == [DMSD_TARGET_CHANGE]
    assert change.any(axis=1).sum() == FILES[name][1]


def test_open_loop_follows_the_recording_until_the_targets_change(recorded):
    columns, _ = recorded
    found = dmsd_rollout(columns["obs"][:, 0], columns["action"][:, :DMSD_TARGET_CHANGE])
    assert np.abs(found - columns["next_obs"][:, :DMSD_TARGET_CHANGE]).max() < 1e-5  # 49 roundings to float32


def test_open_loop_of_masses_follows_the_whole_recording(recorded):
    columns, _ = recorded
    found = dmsd_rollout(columns["obs"][:, 0], columns["action"])
    assert np.abs(found - columns["next_obs"])[..., :4].max() < 1e-5


def test_reward_of_every_recorded_row(recorded):
    columns, _ = recorded
    assert np.abs(dmsd_reward(columns["next_obs"]) - columns["reward"]).max() < 1e-5  # rewards up to 9, in float32


def test_reward_of_the_first_recorded_row(recorded):
    columns, _ = recorded
    first = columns["next_obs"][0, 0]
    np.testing.assert_allclose(np.abs(first[:2] - first[4:]), (0.69889, 0.67889), atol=1e-5)
    assert dmsd_reward(first) == pytest.approx(0.71672, abs=1e-5)


def test_reward_worked_by_hand():
    arrived = np.array([0.69889, -0.5, 9.0, 9.0, 0.0, 0.17889])
    assert dmsd_reward(arrived) == pytest.approx(-np.log(0.70889) - np.log(0.68889))
    assert dmsd_reward(np.zeros((2, 6))) == pytest.approx(np.full(2, -2 * np.log(0.01)))


def test_matrices_are_those_of_the_fitted_law():
    expected = [[1, 0, 0.2, 0], [0, 1, 0, 0.2], [-0.04, 0.02, 0.92, 0.04], [0.02, -0.04, 0.04, 0.92]]
    np.testing.assert_allclose(DMSD_STATE_MATRIX, expected, atol=1e-15)
    np.testing.assert_allclose(DMSD_ACTION_MATRIX, [[0, 0], [0, 0], [0.3, 0], [0, 0.3]], atol=1e-15)


def test_eigenvalues():
    moduli = np.sort(np.abs(np.linalg.eigvals(DMSD_STATE_MATRIX)))
    np.testing.assert_allclose(moduli, [0.94446, 0.94446, 0.98184, 0.98184], atol=1e-5)


def test_published_constants_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        DMSD_STATE_MATRIX[0, 0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        DMSD_ACTION_MATRIX[0, 0] = 2.0


@given(seed=st.integers(0, 2**32 - 1), batch=st.sampled_from([(), (3,), (2, 3)]), steps=st.integers(1, 8))
def test_rollout_is_the_closed_form(seed, batch, steps):
    rng = np.random.default_rng(seed)
    start, actions = rng.normal(size=(*batch, 6)), rng.uniform(-2, 2, size=(*batch, steps, 2))
    found = dmsd_rollout(start, actions)
    assert found.shape == (*batch, steps, 6)
    power, pushed = np.eye(4), np.zeros((*batch, 4))
    for step in range(steps):
        pushed = pushed @ DMSD_STATE_MATRIX.T + np.clip(actions[..., step, :], -1, 1) @ DMSD_ACTION_MATRIX.T
        power = DMSD_STATE_MATRIX @ power
        np.testing.assert_allclose(found[..., step, :4], start[..., :4] @ power.T + pushed, atol=1e-12)
    np.testing.assert_array_equal(found[..., 4:], np.broadcast_to(start[..., None, 4:], found[..., 4:].shape))


@given(seed=st.integers(0, 2**32 - 1))
def test_masses_are_alike(seed):
    """Both masses, springs and forces are the same, so exchanging the masses exchanges what they do."""
    rng = np.random.default_rng(seed)
    observations, actions = rng.normal(size=(5, 6)), rng.uniform(-1, 1, size=(5, 2))
    exchanged = [1, 0, 3, 2, 5, 4]
    there = dmsd_step(observations[:, exchanged], actions[:, ::-1])
    np.testing.assert_allclose(there, dmsd_step(observations, actions)[:, exchanged], atol=1e-14)
    np.testing.assert_allclose(dmsd_reward(observations[:, exchanged]), dmsd_reward(observations), atol=1e-12)


def test_one_start_many_action_sequences():
    start, actions = np.arange(6.0), np.random.default_rng(0).uniform(-1, 1, size=(4, 3, 2))
    found = dmsd_rollout(start, actions)
    for one, sequence in zip(found, actions, strict=True):
        np.testing.assert_allclose(one, dmsd_rollout(start, sequence), rtol=1e-14)


def test_arguments_stay_as_they_are():
    start, actions = np.arange(6.0), np.full((3, 2), 5.0)
    dmsd_rollout(start, actions)
    assert start.tolist() == list(range(6)) and (actions == 5).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_torch_gives_the_same(dtype):
    rng = np.random.default_rng(1)
    observations, actions = rng.normal(size=(7, 6)), rng.uniform(-2, 2, size=(7, 5, 2))
    seen = torch.tensor(observations, dtype=dtype, requires_grad=True)
    found = dmsd_rollout(seen, torch.tensor(actions, dtype=dtype))
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert found.dtype == dtype
    np.testing.assert_allclose(found.detach().numpy(), dmsd_rollout(observations, actions), atol=tolerance)
    rewards = dmsd_reward(found)
    np.testing.assert_allclose(
        rewards.detach().numpy(), dmsd_reward(found.detach().numpy().astype(float)), atol=100 * tolerance
    )
    (slope,) = torch.autograd.grad(dmsd_step(seen, torch.zeros(7, 2, dtype=dtype))[:, 2].sum(), seen)
    np.testing.assert_allclose(slope[0].numpy(), [-0.04, 0.02, 0.92, 0.04, 0, 0], atol=1e-6)


BAD = {
    "a list": (lambda: dmsd_step([0.0] * 6, np.zeros(2)), TypeError, "observations: expected a NumPy array"),
    "whole numbers": (lambda: dmsd_step(np.zeros(6, int), np.zeros(2)), TypeError, "observations has dtype int64"),
    "whole actions": (lambda: dmsd_step(np.zeros(6), np.zeros(2, int)), TypeError, "actions has dtype int64"),
    "targets left out": (lambda: dmsd_step(np.zeros(4), np.zeros(2)), ValueError, r"observations has shape \(4,\)"),
    "one force": (lambda: dmsd_step(np.zeros(6), np.zeros(1)), ValueError, r"actions has shape \(1,\)"),
    "a number": (lambda: dmsd_reward(np.array(1.0)), ValueError, r"next_observations has shape \(\), expected"),
    "two libraries": (lambda: dmsd_step(np.zeros(6), torch.zeros(2)), TypeError, "use one library"),
    "no steps": (lambda: dmsd_rollout(np.zeros(6), np.zeros((0, 2))), ValueError, r"actions has shape \(0, 2\)"),
    "no step axis": (lambda: dmsd_rollout(np.zeros(6), np.zeros(2)), ValueError, r"expected \(..., steps, 2\)"),
    "batches": (lambda: dmsd_step(np.zeros((3, 6)), np.zeros((2, 2))), ValueError, "broadcast"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    case, error, message = BAD[name]
    with pytest.raises(error, match=message):
        case()
