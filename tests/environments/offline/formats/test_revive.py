"""REVIVE's files: ends of trajectories, and columns that the caller names."""

import numpy as np
import pytest
from hypothesis import given

from environments.offline.formats.repairs import Repairs
from environments.offline.formats.revive import read_revive, write_revive
from tests.environments.offline.tables import assert_same, make_table, read_back, tables


@given(tables())
def test_round_trip_but_for_timeouts(table):
    loaded = read_back(write_revive, read_revive, table, terminals="done")
    assert_same(loaded.table, table.with_open_ends_as_timeouts())
    assert not loaded.report.repaired


def test_the_file_holds_ends(tmp_path):
    columns = stored(tmp_path, make_table([3, 1, 2], ["terminal", "timeout", "open"]))
    assert columns["index"].tolist() == [3, 4, 6]


def graph(rows=(3, 2), seed=0):
    """Columns as in REVIVE's refrigerator: one node a column, float64, next temperature but no next door."""
    rng = np.random.default_rng(seed)
    walks = [rng.standard_normal((length + 1, 1)) for length in rows]
    return {
        "door_open": (rng.random((sum(rows), 1)) < 0.5).astype(np.float64),
        "temperature": np.concatenate([walk[:-1] for walk in walks]),
        "action": rng.random((sum(rows), 1)),
        "next_temperature": np.concatenate([walk[1:] for walk in walks]),
        "index": np.cumsum(rows),
    }


def colder(observations, actions, next_observations):
    return -np.abs(next_observations[:, 0] + 2)


def test_nodes_by_name_and_a_reward_function(tmp_path):
    columns = graph()
    loaded = read_revive(
        save(tmp_path, columns),
        observations=["temperature"],
        next_observations=["next_temperature"],
        rewards=colder,
    )
    table, report = loaded.table, loaded.report
    np.testing.assert_array_equal(table.observations, columns["temperature"].astype(np.float32))
    np.testing.assert_array_equal(table.rewards, -np.abs(table.next_observations[:, 0] + 2))
    assert np.flatnonzero(table.timeouts).tolist() == [2, 4] and not table.terminals.any()
    assert report.casts == {"temperature": "float64", "action": "float64", "next_temperature": "float64"}
    assert report.filled == {"rewards": "colder"} and report.repaired
    assert report.unused == ("door_open",)
    assert "rewards filled with colder" in str(report) and "temperature cast from float64" in str(report)


def test_nodes_side_by_side_and_the_next_row(tmp_path):
    """The door has no next node, so the last row of each trajectory cannot be used; row 1 is then the cut."""
    columns = graph()
    loaded = read_revive(
        save(tmp_path, columns),
        observations=["temperature", "door_open"],
        next_observations=None,
        rewards=colder,
    )
    both = np.concatenate([columns["temperature"], columns["door_open"]], axis=1).astype(np.float32)
    np.testing.assert_array_equal(loaded.table.observations, both[[0, 1, 3]])
    np.testing.assert_array_equal(loaded.table.next_observations, both[[1, 2, 4]])
    assert loaded.table.timeouts.tolist() == [False, True, True]
    assert (loaded.report.rows_read, loaded.report.rows, loaded.report.rows_without_next) == (5, 3, 2)


def test_whole_numbers_are_cast_and_said(tmp_path):
    columns = stored(tmp_path, make_table([3], ["terminal"]))
    columns["action"] = np.array([[0], [2], [1]])
    columns["rew"] = np.array([1, 2, 3])
    loaded = read_revive(save(tmp_path, columns), terminals="done")
    assert loaded.table.actions.ravel().tolist() == [0, 2, 1] and loaded.table.rewards.tolist() == [1, 2, 3]
    assert loaded.report.casts == {"action": "int64", "rew": "int64"} and not loaded.report.repaired


WRONG_INDEX = {
    "starts": ([0, 3], "index goes from 0 to 3, expected growing ends of trajectories, the last of them 5; starts"),
    "short": ([3, 4], "index goes from 3 to 4"),
    "beyond": ([3, 6], "index goes from 3 to 6"),
    "falling": ([4, 3, 5], "index goes from 4 to 5"),
    "twice": ([3, 3, 5], "index goes from 3 to 5"),
    "text": (["3", "5"], "'index' holds <U1, expected real numbers"),
    "number": (5, r"index is int64 of shape \(\)"),
}


@pytest.mark.parametrize("name", WRONG_INDEX)
def test_a_wrong_index_is_refused(tmp_path, name):
    index, message = WRONG_INDEX[name]
    columns = stored(tmp_path, make_table([3, 2], ["terminal", "timeout"]))
    with pytest.raises(ValueError, match=message):
        read_revive(save(tmp_path, columns | {"index": index}))


def test_an_index_that_glues_trajectories(tmp_path):
    path = save(tmp_path, graph() | {"index": [5]})
    options = {"observations": ["temperature"], "next_observations": ["next_temperature"], "rewards": colder}
    with pytest.raises(ValueError, match="next observation of row 2 is not the observation of row 3 in the same episo"):
        read_revive(path, **options)
    loaded = read_revive(path, **options, repairs=Repairs(broken_episodes="split"))
    assert loaded.table.episode_lengths.tolist() == [3, 2] and loaded.report.splits == 1
    assert np.flatnonzero(loaded.table.timeouts).tolist() == [2, 4]


def test_what_is_missing_is_named(tmp_path):
    path = save(tmp_path, graph())
    with pytest.raises(ValueError, match="no 'obs', 'next_obs', 'rew'; the file holds door_open, temperature, action"):
        read_revive(path)
    with pytest.raises(ValueError, match=r"the reward function gave \(5, 1\), expected \(5,\)"):
        read_revive(
            path,
            observations=["temperature"],
            next_observations=["next_temperature"],
            rewards=lambda observations, actions, following: following,
        )


def test_nodes_of_different_lengths(tmp_path):
    columns = graph() | {"door_open": np.zeros((4, 1))}
    with pytest.raises(ValueError, match=r"door_open has shape \(4, 1\), expected \(5, size\)"):
        read_revive(
            save(tmp_path, columns), observations=["temperature", "door_open"], next_observations=None, rewards=colder
        )
    columns = stored(tmp_path, make_table([3, 2], ["terminal", "timeout"]))
    with pytest.raises(ValueError, match=r"columns of different lengths .*done 4"):
        read_revive(save(tmp_path, columns | {"done": np.zeros(4)}), terminals="done")


def stored(folder, table):
    """What `write_revive` puts into a file."""
    write_revive(folder / "whole.npz", table)
    with np.load(folder / "whole.npz", allow_pickle=False) as file:
        return dict(file)


def save(folder, columns):
    np.savez(folder / "changed.npz", **columns)
    return folder / "changed.npz"
