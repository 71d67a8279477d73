"""D4RL's files: what each version says of the ends of episodes, and what an HDF5 file may not do."""

import sys

import numpy as np
import pytest
from hypothesis import given

from environments.offline.formats.d4rl import read_d4rl, write_d4rl
from environments.offline.formats.repairs import Repairs
from rewardlab.transition_table import TransitionTable
from tests.environments.offline.tables import DATA, assert_same, make_table, read_back, tables

h5py = pytest.importorskip("h5py")


@given(tables(open_ends="last"))
def test_round_trip(table):
    loaded = read_back(write_d4rl, read_d4rl, table)
    assert_same(loaded.table, table)
    assert not loaded.report.repaired and not loaded.report.casts and not loaded.report.unused


@given(tables(open_ends="last"))
def test_without_next_observations_the_last_rows_go(table):
    """Each part that is left ends where the recording of next observations does: by a timeout."""
    kept = np.append(table.steps[1:] > 0, False)
    if not kept.any():
        with pytest.raises(ValueError, match=r"none of its .* rows can be used"):
            read_back(write_old, read_d4rl, table)
        return
    loaded = read_back(write_old, read_d4rl, table)
    for name in ("observations", "actions", "rewards", "next_observations"):
        np.testing.assert_array_equal(getattr(loaded.table, name), getattr(table, name)[kept])
    assert loaded.table.next_valid.all() and not loaded.table.terminals.any()
    np.testing.assert_array_equal(loaded.table.timeouts, np.append(kept[1:], False)[kept] == 0)
    assert loaded.report.rows_without_next == len(table.episode_starts)


@given(tables(open_ends="last"))
def test_terminals_without_next_observation_can_be_kept(table):
    """A terminal row needs no next observation for a value; a timeout or an open end does, and goes."""
    if not (table.terminals.any() or (table.episode_lengths > 1).any()):
        return
    loaded = read_back(write_old, read_d4rl, table, last_rows="keep_terminals")
    last = np.append(table.steps[1:] == 0, True)
    kept = ~last | table.terminals
    assert loaded.table.next_valid.tolist() == (~table.terminals)[kept].tolist()
    assert loaded.table.terminals.sum() == table.terminals.sum() == loaded.report.unknown_next
    np.testing.assert_array_equal(loaded.table.rewards, table.rewards[kept])
    assert loaded.report.rows_without_next == (last & ~table.terminals).sum()
    known = loaded.table.next_valid
    np.testing.assert_array_equal(
        loaded.table.next_observations[known], table.next_observations[kept & ~(last & table.terminals)]
    )


@given(tables(open_ends="last"))
def test_the_bug_by_its_name_is_the_official_reading(table):
    """Row by row as D4RL's `qlearning_dataset` goes: the next row follows, timeouts and the last row are left out."""
    wanted = [row for row in range(len(table) - 1) if not table.timeouts[row]]
    if not wanted:
        return
    loaded = read_back(write_d4rl, read_d4rl, table, next_observations="next_row")
    np.testing.assert_array_equal(loaded.table.observations, table.observations[wanted])
    np.testing.assert_array_equal(loaded.table.next_observations, table.observations[1:][wanted])
    np.testing.assert_array_equal(loaded.table.terminals, table.terminals[wanted])
    assert loaded.report.wrong_next == table.terminals[wanted].sum()
    assert loaded.report.rows_without_next == len(table) - len(wanted)


def test_a_worked_file(tmp_path):
    """Three episodes: terminal after 2, timeout after 2, and the file ends in the second row of the last."""
    observations = np.arange(6, dtype=np.float32)[:, None]
    columns = {
        "observations": observations,
        "actions": np.zeros((6, 1), dtype=np.float32),
        "rewards": np.arange(6, dtype=np.float32)[:, None],
        "terminals": np.array([0, 1, 0, 0, 0, 0], dtype=bool)[:, None],
        "timeouts": np.array([0, 0, 0, 1, 0, 0], dtype=bool),
    }
    path = save(tmp_path, columns)
    following = read_d4rl(path).table
    assert following.observations.ravel().tolist() == [0, 2, 4]
    assert following.next_observations.ravel().tolist() == [1, 3, 5]
    assert following.episode_ids.tolist() == [0, 1, 2] and following.timeouts.all()
    kept = read_d4rl(path, last_rows="keep_terminals").table
    assert kept.observations.ravel().tolist() == [0, 1, 2, 4]
    assert kept.next_observations.ravel().tolist() == [1, 1, 3, 5]
    assert kept.next_valid.tolist() == [True, False, True, True]
    assert kept.terminals.tolist() == [False, True, False, False]
    assert kept.timeouts.tolist() == [False, False, True, True]
    bug = read_d4rl(path, next_observations="next_row")
    assert bug.table.observations.ravel().tolist() == [0, 1, 2, 4]
    assert bug.table.next_observations.ravel().tolist() == [1, 2, 3, 5]  # 2 is where the next episode began
    assert bug.table.terminals.tolist() == [False, True, False, False]
    assert bug.report.wrong_next == 1
    assert "rows kept with another episode's observation as their next: 1" in str(bug.report)


def test_following_can_be_asked_of_a_file_that_has_its_own(tmp_path):
    table = make_table([3, 2], ["terminal", "timeout"])
    write_d4rl(tmp_path / "a.hdf5", table)
    loaded = read_d4rl(tmp_path / "a.hdf5", next_observations="following")
    np.testing.assert_array_equal(loaded.table.rewards, table.rewards[[0, 1, 3]])
    assert loaded.report.unused == ("next_observations",)


def test_files_without_timeouts_need_the_time_limit(tmp_path):
    """Counted as D4RL counts: from each start, and at the limit the clock goes before the end of the problem."""
    terminals = np.zeros(9, dtype=bool)
    terminals[[1, 4]] = True
    table = make_table([9], ["open"])
    columns = {name: getattr(table, name) for name in ("observations", "actions", "rewards")} | {"terminals": terminals}
    path = save(tmp_path, columns)
    with pytest.raises(ValueError, match=r"no 'timeouts'; say by Repairs\(time_limit=...\)"):
        read_d4rl(path)
    limit = Repairs(time_limit=3)
    loaded = read_d4rl(path, repairs=limit, last_rows="keep_terminals")
    # Episodes: rows 0-1 terminal; 2-4, at the limit and so a timeout; 5-7, the limit; 8, cut by the end of the file.
    assert loaded.table.episode_lengths.tolist() == [2, 2, 2]
    assert loaded.table.terminals.tolist() == [False, True, False, False, False, False]
    np.testing.assert_array_equal(loaded.table.rewards, table.rewards[[0, 1, 2, 3, 5, 6]])
    assert loaded.report.timed_out == 2 and loaded.report.rows_without_next == 3
    official = read_d4rl(path, repairs=limit, next_observations="next_row")
    np.testing.assert_array_equal(official.table.rewards, table.rewards[[0, 1, 2, 3, 5, 6]])
    assert official.report.wrong_next == 1


def test_the_time_limit_beside_timeouts(tmp_path):
    table = make_table([3, 2], ["terminal", "timeout"])
    write_d4rl(tmp_path / "a.hdf5", table)
    loaded = read_d4rl(tmp_path / "a.hdf5", repairs=Repairs(time_limit=3))
    assert np.flatnonzero(loaded.table.timeouts).tolist() == [2, 4] and loaded.report.timed_out == 1
    write_old(tmp_path / "b.hdf5", table)
    loaded = read_d4rl(tmp_path / "b.hdf5", repairs=Repairs(time_limit=3), last_rows="keep_terminals")
    assert loaded.table.next_valid.all()  # row 2 is no terminal any more, and its next observation is not known
    assert loaded.table.episode_lengths.tolist() == [2, 1]
    with pytest.raises(ValueError, match="has timeouts of its own"):
        read_d4rl(tmp_path / "a.hdf5", repairs=Repairs(time_limit=3), next_observations="next_row")


def test_infos_and_metadata_are_left_alone(tmp_path):
    table = make_table([2], ["timeout"])
    columns = {name: getattr(table, name) for name in DATA if name != "next_valid"}
    path = save(tmp_path, columns | {"infos/qpos": np.zeros((2, 3)), "metadata/algorithm": np.bytes_("sac")})
    loaded = read_d4rl(path)
    assert_same(loaded.table, table)
    assert loaded.report.unused == ("infos", "metadata") and not loaded.report.repaired


def test_what_the_format_cannot_say_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="row 1 ends its episode as neither terminal nor timeout, and D4RL"):
        write_d4rl(tmp_path / "a", make_table([2, 2], ["open", "timeout"]))
    unknown = make_table([2, 1], ["terminal", "timeout"], unknown_next=True)
    with pytest.raises(ValueError, match="row 1 lacks its next observation, and D4RL"):
        write_d4rl(tmp_path / "a", unknown)
    assert not list(tmp_path.iterdir())
    write_old(tmp_path / "a", unknown)
    loaded = read_d4rl(tmp_path / "a", last_rows="keep_terminals")
    assert_same(loaded.table, unknown.episodes([0]))


def linked(h5):
    del h5["rewards"]
    h5["rewards"] = h5py.SoftLink("/observations")


def linked_outside(h5):
    del h5["rewards"]
    h5["rewards"] = h5py.ExternalLink("/etc/passwd", "/x")


def grouped(h5):
    del h5["rewards"]
    h5.create_group("rewards")


def virtual(h5):
    del h5["rewards"]
    layout = h5py.VirtualLayout(shape=(5,), dtype="f4")
    layout[:] = h5py.VirtualSource("elsewhere.h5", "rewards", shape=(5,))
    h5.create_virtual_dataset("rewards", layout)


def external(h5):
    del h5["rewards"]
    h5.create_dataset("rewards", (5,), "f4", external=[("/etc/passwd", 0, 20)])


def text(h5):
    del h5["rewards"]
    h5["rewards"] = ["1", "2", "3", "4", "5"]


def fixed_text(h5):
    del h5["rewards"]
    h5["rewards"] = np.array([b"1"] * 5)


def compound(h5):
    del h5["rewards"]
    h5["rewards"] = np.zeros(5, dtype=[("a", "f4"), ("b", "f4")])


def complex_numbers(h5):
    del h5["rewards"]
    h5["rewards"] = np.zeros(5, dtype=complex)


def void(h5):
    del h5["rewards"]
    h5["rewards"] = h5py.Empty("f4")


def declared(h5):
    del h5["rewards"]
    h5.create_dataset("rewards", (10**10,), "f4", chunks=(1000,))  # takes no room in the file


def declared_chunk(h5):
    del h5["rewards"]
    h5.create_dataset("rewards", (5,), "f4", chunks=(10**8,), maxshape=(None,))


def short(h5):
    del h5["rewards"]
    h5["rewards"] = np.zeros(4, dtype="f4")


def missing(h5):
    del h5["rewards"]


def scalar(h5):
    del h5["rewards"]
    h5["rewards"] = 1.0


UNTRUSTED = {
    linked: "'rewards' is a SoftLink, expected the data set itself",
    linked_outside: "'rewards' is a ExternalLink",
    grouped: "'rewards' is a group, expected a data set",
    virtual: "'rewards' takes its numbers from another file",
    external: "'rewards' takes its numbers from another file",
    text: "'rewards' holds Python objects, expected real numbers",
    fixed_text: r"'rewards' holds \|S1, expected real numbers",
    compound: "'rewards' holds .*, expected real numbers",
    complex_numbers: "'rewards' holds complex128, expected real numbers",
    void: "'rewards' is empty, expected an array",
    declared: "its arrays take 40,000,000,.* bytes, .* expected at most 67,108,864",
    declared_chunk: "its arrays take 400,000,.* bytes",
    short: "columns of different lengths .*rewards 4",
    missing: "no 'rewards'; the file holds actions, next_observations, observations, terminals, timeouts",
    scalar: "columns of different lengths .*rewards",
}


@pytest.mark.parametrize("damage", UNTRUSTED, ids=lambda damage: damage.__name__)
def test_an_untrusted_file_is_refused(tmp_path, damage):
    path = tmp_path / "a.hdf5"
    write_d4rl(path, make_table([3, 2], ["terminal", "timeout"]))
    with h5py.File(path, "a") as file:
        damage(file)
    for next_observations in ("recorded", "following", "next_row"):
        with pytest.raises(ValueError, match=UNTRUSTED[damage]) as raised:
            read_d4rl(path, next_observations=next_observations)
        assert str(path) in str(raised.value)


def test_more_memory_can_be_allowed(tmp_path):
    path = tmp_path / "a.hdf5"
    table = make_table([3], ["timeout"])
    write_d4rl(path, table)
    with pytest.raises(ValueError, match=r"expected at most 10. If that is right, say so by max_bytes"):
        read_d4rl(path, max_bytes=10)
    assert_same(read_d4rl(path, max_bytes=1000).table, table)


@pytest.mark.parametrize("content", [b"", b"\x89HDF\r\n\x1a\n", b"not a file of numbers" * 100])
def test_no_hdf5_file(tmp_path, content):
    path = tmp_path / "a.hdf5"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.hdf5: not a readable HDF5 file"):
        read_d4rl(path)


def test_a_file_cut_short(tmp_path):
    path = tmp_path / "a.hdf5"
    write_d4rl(path, make_table([300], ["timeout"]))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(ValueError, match="not a readable HDF5 file"):
        read_d4rl(path)


def test_wrong_options(tmp_path):
    with pytest.raises(ValueError, match="next_observations is 'bug', expected one of 'recorded', 'following'"):
        read_d4rl(tmp_path / "a", next_observations="bug")
    with pytest.raises(ValueError, match="last_rows is 'keep', expected one of"):
        read_d4rl(tmp_path / "a", last_rows="keep")
    with pytest.raises(FileNotFoundError):
        read_d4rl(tmp_path / "a")


def test_without_h5py(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'rewardlab\[offline\]'"):
        read_d4rl(tmp_path / "a")
    with pytest.raises(ImportError, match=r"pip install 'rewardlab\[offline\]'"):
        write_d4rl(tmp_path / "a", make_table([2], ["timeout"]))


def write_old(path, table: TransitionTable):
    """As D4RL's versions 0 and 1: without next observations."""
    write_d4rl(path, table, with_next_observations=False)


def save(folder, columns):
    with h5py.File(folder / "changed.hdf5", "w") as file:
        for name, column in columns.items():
            file[name] = column
    return folder / "changed.hdf5"
