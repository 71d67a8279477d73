import dataclasses

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from stable_baselines3 import SAC

from rewardlab.adapters.offline_buffer import MixedReplayBuffer, scale_actions, unscale_actions
from rewardlab.adapters.offline_sac import SpacesOnly
from tests.adapters.offline_worlds import BOX, recorded

SEEN = spaces.Box(-np.inf, np.inf, (3,), np.float32)


def buffer(capacity=20, table=None, **options):
    return MixedReplayBuffer(capacity, SEEN, BOX, table=recorded() if table is None else table, **options)


def made_up(rows, first=0):
    """Rows whose reward is their number: first, first + 1, ..."""
    number = torch.arange(first, first + rows, dtype=torch.float32)
    return {
        "observations": number[:, None].expand(-1, 3).clone(),
        "actions": torch.zeros(rows, 2),
        "rewards": number,
        "next_observations": number[:, None].expand(-1, 3) + 1,
        "terminals": number % 2 == 0,
    }


# Actions


def test_actions_are_scaled_as_stable_baselines3_scales_them():
    policy = SAC("MlpPolicy", SpacesOnly(SEEN, BOX), policy_kwargs={"net_arch": [4]}).policy
    actions = recorded().actions
    assert np.array_equal(scale_actions(actions, BOX), policy.scale_action(actions))
    assert np.array_equal(scale_actions(torch.tensor(actions), BOX).numpy(), scale_actions(actions, BOX))
    scaled = np.random.default_rng(0).uniform(-1, 1, (50, 2)).astype(np.float32)
    assert np.array_equal(unscale_actions(scaled, BOX), policy.unscale_action(scaled))


def test_bounds_of_actions_are_minus_one_and_one():
    corners = torch.tensor([[-3.0, -1.0], [3.0, 5.0], [0.0, 2.0]])
    assert scale_actions(corners, BOX).tolist() == [[-1, -1], [1, 1], [0, 0]]
    assert unscale_actions(torch.tensor([[-1.0, 1.0], [0.5, 0.0]]), BOX).tolist() == [[-3, 5], [1.5, 2]]


@given(st.lists(st.floats(-1, 1, width=32), min_size=2, max_size=2))
def test_unscaling_undoes_scaling(scaled):
    scaled = torch.tensor(scaled, dtype=torch.float64)
    assert torch.allclose(scale_actions(unscale_actions(scaled, BOX), BOX), scaled, atol=1e-12)


def test_the_buffer_holds_scaled_actions_of_both_parts():
    kept = buffer(real_fraction=0.5)
    rows = made_up(4)
    rows["actions"] = torch.tensor([[1.5, 0.5]]).expand(4, -1)
    kept.add_rollouts(**rows)
    batch = kept.sample(1000)
    assert (batch.actions[500:] == torch.tensor([0.5, -0.5])).all()
    table = recorded()
    expected = {tuple(row) for row in scale_actions(table.actions, BOX).tolist()}
    assert {tuple(row) for row in batch.actions[:500].tolist()} <= expected
    assert batch.actions.abs().max() <= 1


# What is recorded


def test_recorded_rows_come_back_whole_and_only_terminals_stop_the_target():
    table = recorded()
    batch = buffer(real_fraction=1.0).sample(2000)
    where = {tuple(row): number for number, row in enumerate(table.observations.tolist())}
    index = np.array([where[tuple(row)] for row in batch.observations.tolist()])
    assert set(index) == set(range(len(table)))
    assert np.array_equal(batch.next_observations.numpy(), table.next_observations[index])
    assert np.array_equal(batch.rewards.numpy()[:, 0], table.rewards[index])
    assert np.array_equal(batch.dones.numpy()[:, 0], table.terminals[index].astype(np.float32))
    assert table.timeouts[index].any() and not batch.dones.numpy()[table.timeouts[index], 0].any()


def test_rows_without_their_next_observation_are_used_only_if_terminal():
    table = recorded()
    unknown = table.terminals | table.timeouts
    unknown_next = np.where(unknown[:, None], table.observations, table.next_observations)
    table = dataclasses.replace(table, next_observations=unknown_next, next_valid=~unknown)
    kept = buffer(table=table, real_fraction=1.0)
    assert kept.real_size == len(table) - table.timeouts.sum()
    rewards = set(kept.sample(3000).rewards[:, 0].tolist())
    assert rewards == set(table.rewards[~table.timeouts].tolist())


def test_starts_are_recorded_observations_of_any_step():
    table = recorded()
    drawn = buffer().draw_starts(2000)
    assert {tuple(row) for row in drawn.tolist()} == {tuple(row) for row in table.observations.tolist()}


# What is made up


@given(st.lists(st.integers(0, 30), min_size=1, max_size=6), st.integers(1, 25))
def test_the_newest_rows_stay(sizes, capacity):
    kept, first = buffer(capacity, real_fraction=0.0), 0
    for size in sizes:
        kept.add_rollouts(**made_up(size, first))
        first += size
    assert kept.size() == min(first, capacity)
    if first:
        rewards = set(kept.sample(capacity * 25).rewards[:, 0].tolist())
        assert rewards <= set(range(max(0, first - capacity), first))
        if capacity <= 5:
            assert rewards == set(range(max(0, first - capacity), first))


def test_columns_of_a_made_up_row_stay_together():
    kept = buffer(7, real_fraction=0.0)
    kept.add_rollouts(**made_up(5))
    kept.add_rollouts(**made_up(6, 5))
    batch = kept.sample(200)
    number = batch.rewards[:, 0]
    assert set(number.tolist()) == set(range(4, 11))
    assert torch.equal(batch.observations, number[:, None].expand(-1, 3))
    assert torch.equal(batch.next_observations, number[:, None].expand(-1, 3) + 1)
    assert torch.equal(batch.dones[:, 0], (number % 2 == 0).float())


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.05, 12), (0.5, 128), (1.0, 256)])
def test_recorded_rows_come_first_in_their_share(fraction, expected):
    kept = buffer(real_fraction=fraction)
    assert kept.real_count(256) == 256  # nothing is made up yet
    rows = made_up(5)
    rows["rewards"] = torch.full((5,), 1000.0)
    kept.add_rollouts(**rows)
    assert kept.real_count(256) == expected
    real = kept.sample(256).rewards[:, 0] < 999
    assert real.tolist() == [True] * expected + [False] * (256 - expected)


def test_batches_are_drawn_evenly():
    kept = buffer(10, real_fraction=0.0)
    kept.add_rollouts(**made_up(10))
    counts = torch.bincount(kept.sample(20000).rewards[:, 0].long())
    assert ((counts - 2000).abs() < 5 * np.sqrt(20000 * 0.09)).all()


def test_the_seed_and_nothing_else_decides_the_batch():
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - the global generator is what must not matter
    one = buffer(seed=3).sample(50)
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002
    before = torch.get_rng_state()
    assert torch.equal(one.rewards, buffer(seed=3).sample(50).rewards)
    assert not torch.equal(one.rewards, buffer(seed=4).sample(50).rewards)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("rows", [0, 5, 20, 33])
def test_a_loaded_buffer_goes_on_like_the_saved_one(rows):
    one = buffer()
    one.add_rollouts(**made_up(rows))
    one.sample(9)
    other = buffer(seed=9)
    other.add_rollouts(**made_up(3, 500))
    other.load_state_dict(one.state_dict())
    for kept in (one, other):
        kept.add_rollouts(**made_up(4, 100))
    for mine, theirs in zip(one.sample(300)[:5], other.sample(300)[:5], strict=True):
        assert torch.equal(mine, theirs)


def test_a_state_is_no_view_of_the_buffer():
    kept = buffer()
    kept.add_rollouts(**made_up(5))
    state = kept.state_dict()
    kept.reset()
    kept.add_rollouts(**made_up(5, 50))
    assert state["made"]["rewards"][:, 0].tolist() == [0, 1, 2, 3, 4]
    kept.reset()
    assert kept.real_count(10) == 10


# Bad input


def test_an_action_outside_the_space_is_refused():
    table = recorded()
    actions = table.actions.copy()
    actions[7, 1] = 5.5
    with pytest.raises(ValueError, match=r"actions\[7, 1\] of the table is 5.5, expected -1 to 5"):
        buffer(table=dataclasses.replace(table, actions=actions))


def test_an_action_a_rounding_beyond_its_bound_is_its_bound():
    table = recorded()
    actions = table.actions.copy()
    actions[:, 0] = np.nextafter(np.float32(3), np.float32(4))
    assert buffer(table=dataclasses.replace(table, actions=actions), real_fraction=1.0).sample(9).actions.max() == 1


def test_other_spaces_than_the_table_s_are_refused():
    with pytest.raises(ValueError, match=r"observation_space has shape \(3,\), and the table observations of size 4"):
        buffer(table=recorded(observation_size=4))
    free = spaces.Box(-np.inf, np.inf, (2,), np.float32)
    with pytest.raises(ValueError, match="expected finite bounds"):
        MixedReplayBuffer(5, SEEN, free, table=recorded())


@pytest.mark.parametrize("name", ["observations", "rewards", "actions", "next_observations"])
def test_rollouts_of_a_diverged_model_are_refused(name):
    rows = made_up(3)
    rows[name][1] = torch.nan
    with pytest.raises(ValueError, match=f"{name} of a rollout holds NaN"):
        buffer().add_rollouts(**rows)


def test_columns_of_another_world_are_refused():
    rows = made_up(3)
    for name in ("observations", "next_observations"):
        rows[name] = torch.zeros(3, 4)
    with pytest.raises(ValueError, match=r"observations has shape \(3, 4\), expected \(3, 3\)"):
        buffer().add_rollouts(**rows)


@pytest.mark.parametrize("options", [{"capacity": 0}, {"real_fraction": 1.1}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="expected"):
        buffer(**options)


def test_states_of_other_buffers_are_refused():
    small = buffer(5)
    small.add_rollouts(**made_up(9))
    with pytest.raises(ValueError, match="not of a buffer of 20"):
        buffer(20).load_state_dict(small.state_dict())


def test_single_steps_and_normalisation_are_refused():
    with pytest.raises(NotImplementedError, match="add_rollouts"):
        buffer().add(None)
    with pytest.raises(ValueError, match="VecNormalize"):
        buffer().sample(4, env=object())
    with pytest.raises(ValueError, match="n_envs"):
        MixedReplayBuffer(5, SEEN, BOX, n_envs=2, table=recorded())
