"""NeoRL's files: starts of trajectories, no timeouts, an x position that may be left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.offline.formats.neorl import read_neorl, write_neorl
from environments.offline.formats.repairs import Repairs
from tests.environments.offline.tables import assert_same, make_table, read_back, tables


@given(tables())
def test_round_trip_but_for_timeouts(table):
    """An end that is not terminal comes back as a timeout, whether it was one or open."""
    loaded = read_back(write_neorl, read_neorl, table)
    assert_same(loaded.table, table.with_open_ends_as_timeouts())
    assert not loaded.report.repaired


@given(tables(), st.data())
def test_the_first_trajectories(table, data):
    count = data.draw(st.integers(1, len(table.episode_starts)))
    part = read_back(write_neorl, read_neorl, table, trajectories=count)
    assert_same(part.table, table.with_open_ends_as_timeouts().episodes(range(count)))
    assert part.report.rows_read == len(part.table)


def test_the_file_holds_starts_and_columns(tmp_path):
    columns = stored(tmp_path, make_table([3, 1, 2], ["terminal", "timeout", "open"]))
    assert columns["index"].tolist() == [0, 3, 4]
    assert columns["reward"].shape == columns["done"].shape == (6, 1)
    assert columns["done"].ravel().tolist() == [0, 0, 1, 0, 0, 0]
    assert {column.dtype for key, column in columns.items() if key != "index"} == {np.dtype("float32")}


def test_x_position_can_be_left_out(tmp_path):
    table = make_table([3, 2], ["terminal", "timeout"])
    path = save(tmp_path, stored(tmp_path, table))
    np.testing.assert_array_equal(read_neorl(path).table.observations, table.observations)
    without = read_neorl(path, x_position="drop").table
    np.testing.assert_array_equal(without.observations, table.observations[:, 1:])
    np.testing.assert_array_equal(without.next_observations, table.next_observations[:, 1:])
    assert_same(without, table, but=("observations", "next_observations"))
    with pytest.raises(ValueError, match="x_position is 'first', expected one of 'keep', 'drop'"):
        read_neorl(path, x_position="first")
    narrow = save(tmp_path, stored(tmp_path, make_table([3], ["timeout"], observation_size=1)))
    with pytest.raises(ValueError, match=r"obs has shape \(3, 1\), expected \(rows, at least 2\)"):
        read_neorl(narrow, x_position="drop")


def test_actions_are_clipped_and_counted(tmp_path):
    columns = stored(tmp_path, make_table([4], ["timeout"]))
    columns["action"][1] = [1.5, -1.0625]
    columns["action"][3, 0] = -1.125
    loaded = read_neorl(save(tmp_path, columns))
    assert loaded.report.clipped_actions == 2 and loaded.report.largest_excess == 0.5
    assert loaded.table.actions[1].tolist() == [1, -1] and loaded.table.actions[3, 0] == -1
    assert "rows with clipped actions, farthest 0.5 outside: 2" in str(loaded.report)


def test_done_at_the_time_limit_can_be_a_timeout(tmp_path):
    path = save(tmp_path, stored(tmp_path, make_table([3, 2, 3], ["terminal", "terminal", "timeout"])))
    loaded = read_neorl(path, repairs=Repairs(time_limit=3))
    assert loaded.table.terminals.tolist() == [False] * 4 + [True] + [False] * 3
    assert np.flatnonzero(loaded.table.timeouts).tolist() == [2, 7]
    assert loaded.report.timed_out == 1 and loaded.report.repaired


WRONG_INDEX = {
    "ends": ([3, 5], "index goes from 3 to 5, expected growing first rows .* at most 4; ends .* read_revive"),
    "late": ([1, 3], "index goes from 1 to 3"),
    "falling": ([0, 3, 2], "index goes from 0 to 2"),
    "twice": ([0, 3, 3], "index goes from 0 to 3"),
    "beyond": ([0, 6], "index goes from 0 to 6"),
    "negative": ([0, -1], "index goes from 0 to -1"),
    "empty": (np.zeros(0, dtype=int), r"index is int64 of shape \(0,\), expected a list of rows"),
    "matrix": ([[0, 3]], r"index is int64 of shape \(1, 2\), expected a list of rows"),
    "numbers": ([0.0, 3.0], "index is float64 of shape"),
}


@pytest.mark.parametrize("name", WRONG_INDEX)
def test_a_wrong_index_is_refused(tmp_path, name):
    index, message = WRONG_INDEX[name]
    columns = stored(tmp_path, make_table([3, 2], ["terminal", "timeout"]))
    with pytest.raises(ValueError, match=message):
        read_neorl(save(tmp_path, columns | {"index": index}))


def test_an_index_that_misses_an_end(tmp_path):
    """Row 2 is done, and the index goes on with the trajectory."""
    table = make_table([3, 2], ["terminal", "timeout"])
    path = save(tmp_path, stored(tmp_path, table) | {"index": [0]})
    with pytest.raises(ValueError, match="row 2 ends its episode, and row 3 goes on with it"):
        read_neorl(path)
    loaded = read_neorl(path, repairs=Repairs(broken_episodes="split"))
    assert_same(loaded.table, table)
    assert loaded.report.splits == 1


def test_more_trajectories_than_there_are(tmp_path):
    path = save(tmp_path, stored(tmp_path, make_table([3, 2], ["terminal", "timeout"])))
    with pytest.raises(ValueError, match="2 trajectories, expected at least the 3 asked for"):
        read_neorl(path, trajectories=3)
    with pytest.raises(ValueError, match="trajectories is 0"):
        read_neorl(path, trajectories=0)


def test_a_row_without_next_observation_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="row 1 lacks its next observation, and NeoRL has no way"):
        write_neorl(tmp_path / "a.npz", make_table([2], ["terminal"], unknown_next=True))


def stored(folder, table):
    """What `write_neorl` puts into a file."""
    write_neorl(folder / "whole.npz", table)
    with np.load(folder / "whole.npz", allow_pickle=False) as file:
        return dict(file)


def save(folder, columns):
    np.savez(folder / "changed.npz", **columns)
    return folder / "changed.npz"
