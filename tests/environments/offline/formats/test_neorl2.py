"""NeoRL-2's files: the published ones say what they should, ours come back as they were, and wrong ones are refused."""

import numpy as np
import pytest
from hypothesis import given

from environments import data
from environments.offline.formats.neorl2 import read_neorl2, write_neorl2
from environments.offline.formats.repairs import Repairs
from tests.environments.offline.tables import assert_same, make_table, read_back, tables

# name: rows, trajectories, length where all are alike, terminals, mean and deviation of the returns
PUBLISHED = {
    "DMSD-high-100000-train": (100_000, 1000, 100, 0, 494, 65),
    "DMSD-high-20000-val": (20_000, 200, 100, 0, 481, 52),
    "Pipeline-high-100000-train": (100_000, 100, 1000, 0, -421, 451),
    "Pipeline-high-20000-val": (20_000, 20, 1000, 0, -287, 370),
    "SafetyHalfCheetah-high-100000-train": (18_000, 18, 1000, 0, 1769, 53),
    "SafetyHalfCheetah-high-20000-val": (2000, 2, 1000, 0, 1657, 19),
    "RandomFrictionHopper-high-20000-val": (20_047, 218, None, 218, 114, 32),
    "RocketRecovery-high-20000-val": (20_077, 146, None, 146, 95, 115),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files(name):
    rows, trajectories, length, terminals, mean, deviation = PUBLISHED[name]
    loaded = read_neorl2(data.path(f"neorl2/{name}.npz"))
    table, report = loaded.table, loaded.report
    assert (len(table), len(table.episode_starts), table.terminals.sum()) == (rows, trajectories, terminals)
    assert table.timeouts.sum() == trajectories - terminals
    if length is not None:
        assert set(table.episode_lengths) == {length}
    inside = table.steps[1:] > 0
    assert np.abs(table.next_observations[:-1] - table.observations[1:])[inside].max() == 0
    assert round(table.episode_returns.mean()) == mean
    assert round(table.episode_returns.std()) == deviation
    assert not report.repaired and not report.casts and report.rows_read == rows


@given(tables(open_ends="last"))
def test_round_trip(table):
    loaded = read_back(write_neorl2, read_neorl2, table)
    assert_same(loaded.table, table)
    assert not loaded.report.repaired and not loaded.report.unused


def test_flags_are_numbers_in_the_file(tmp_path):
    write_neorl2(tmp_path / "a.npz", make_table([2, 1], ["terminal", "timeout"]))
    with np.load(tmp_path / "a.npz", allow_pickle=False) as stored:
        assert {name: (stored[name].dtype, stored[name].tolist()) for name in ("done", "truncated")} == {
            "done": (np.float32, [0, 1, 0]),
            "truncated": (np.float32, [0, 0, 1]),
        }
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_what_the_format_cannot_say_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="row 1 ends its episode as neither terminal nor timeout, and NeoRL-2"):
        write_neorl2(tmp_path / "a.npz", make_table([2, 2], ["open", "open"]))
    with pytest.raises(ValueError, match="row 1 lacks its next observation, and NeoRL-2"):
        write_neorl2(tmp_path / "a.npz", make_table([2], ["terminal"], unknown_next=True))
    assert not list(tmp_path.iterdir())


def test_both_flags_at_once(tmp_path):
    table = make_table([2, 2], ["terminal", "timeout"])
    columns = stored(tmp_path, table)
    columns["truncated"][1] = 1
    path = save(tmp_path, columns)
    with pytest.raises(ValueError, match="row 1 is terminal and timeout"):
        read_neorl2(path)
    loaded = read_neorl2(path, repairs=Repairs(double_ends="terminal"))
    assert_same(loaded.table, table)
    assert loaded.report.double_ends == 1 and loaded.report.repaired
    assert read_neorl2(path, repairs=Repairs(double_ends="timeout")).table.timeouts.tolist() == [False, True] * 2


def test_actions_lie_in_the_box(tmp_path):
    columns = stored(tmp_path, make_table([3], ["timeout"]))
    columns["action"][1, 1] = -1.25
    path = save(tmp_path, columns)
    with pytest.raises(ValueError, match=r"action\[1, 1\] is -1.25, expected a number in \[-1, 1\]"):
        read_neorl2(path)


def stored(folder, table):
    """What `write_neorl2` puts into a file."""
    write_neorl2(folder / "whole.npz", table)
    with np.load(folder / "whole.npz", allow_pickle=False) as file:
        return dict(file)


def save(folder, columns):
    np.savez(folder / "changed.npz", **columns)
    return folder / "changed.npz"
