"""Columns that are not as they should be: an error that says where, or a repair that is counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from environments.offline.formats.repairs import Repairs, assemble
from tests.environments.offline.tables import DATA, assert_same, make_table, tables

SIX = DATA[:6]
DROP = Repairs(bad_rows="drop")


def raw_of(table):
    return {name: getattr(table, name).copy() for name in SIX}


def made(raw, repairs=None, starts=None, **options):
    return assemble(raw, source="a file", repairs=repairs or Repairs(), starts=starts, **options)


@pytest.fixture
def raw():
    """Two episodes: rows 0 to 3, terminal, and 4 to 6, a timeout."""
    return raw_of(make_table([4, 3], ["terminal", "timeout"]))


@given(tables(), st.sampled_from(["float32", "float64", "(rows, 1)"]))
def test_a_good_table_comes_back(table, layout):
    raw = raw_of(table)
    if layout == "float64":
        raw = {name: column.astype(np.float64) for name, column in raw.items()}
    if layout == "(rows, 1)":
        raw |= {name: raw[name][:, None] for name in ("rewards", "terminals", "timeouts")}
    loaded = made(raw, starts=table.steps == 0)
    assert_same(loaded.table, table)
    report = loaded.report
    assert not report.repaired
    assert (report.rows_read, report.rows, report.episodes) == (len(table), len(table), table.episode_ids[-1] + 1)
    assert set(report.casts) == (set(SIX[:4]) if layout == "float64" else set())


@given(tables(max_length=8), st.data())
def test_dropping_rows_cuts_episodes_and_nothing_else(table, data):
    """What is left is the rows that were not bad, in their order, in runs that really followed one another."""
    raw = raw_of(table)
    bad = np.array(data.draw(st.lists(st.booleans(), min_size=len(table), max_size=len(table))))
    raw["rewards"][bad] = data.draw(st.sampled_from([np.nan, np.inf, -np.inf]))
    starts = table.steps == 0
    if bad.all():
        with pytest.raises(ValueError, match="a file: none of its"):
            made(raw, DROP, starts)
        return
    loaded = made(raw, DROP, starts)
    kept = np.flatnonzero(~bad)
    for name in ("observations", "actions", "rewards", "next_observations", "terminals"):
        np.testing.assert_array_equal(getattr(loaded.table, name), getattr(table, name)[kept])
    together = (np.diff(kept) == 1) & ~starts[kept][1:]
    np.testing.assert_array_equal(loaded.table.steps[1:] > 0, together)
    cut = np.append(~together, True) & np.append(~starts[1:], False)[kept]
    np.testing.assert_array_equal(loaded.table.timeouts, table.timeouts[kept] | cut)
    same = np.diff(table.episode_ids[kept]) == 0
    assert loaded.report.bad_rows == bad.sum() and loaded.report.splits == (~together & same).sum()
    assert loaded.report.repaired == bad.any()


BAD_NUMBERS = {
    "nan": ("observations", (1, 2), np.nan, r"a file: observations\[1, 2\] is nan, expected a finite number; Repairs"),
    "infinite": ("actions", (0, 1), -np.inf, r"actions\[0, 1\] is -inf"),
    "reward": ("rewards", 5, np.nan, r"rewards\[5\] is nan"),
    "beyond float32": ("next_observations", (6, 0), 1e39, r"next_observations\[6, 0\] is 1e\+39, .* fits float32"),
}


@pytest.mark.parametrize("name", BAD_NUMBERS)
def test_bad_numbers(raw, name):
    column, place, value, message = BAD_NUMBERS[name]
    raw[column] = raw[column].astype(np.float64)
    raw[column][place] = value
    with pytest.raises(ValueError, match=message):
        made(raw)
    report = made(raw, DROP).report
    assert report.bad_rows == 1 and report.casts == {column: "float64"}
    assert "rows dropped: not finite: 1" in str(report)


def test_the_row_is_named_in_a_reward_column_of_a_matrix(raw):
    raw["rewards"] = raw["rewards"][:, None]
    raw["rewards"][3] = np.nan
    with pytest.raises(ValueError, match=r"reward\[3\] is nan"):
        made(raw, keys={"rewards": "reward"})


def test_a_bad_observation_spoils_the_row_before_as_its_next(raw):
    raw["observations"][2] = np.nan
    loaded = made(raw, DROP)  # only its own row: the row before knows what followed
    assert loaded.report.rows == 6 and loaded.report.splits == 1
    raw["next_observations"][1] = np.nan
    loaded = made(raw, DROP)
    assert loaded.table.episode_lengths.tolist() == [1, 1, 3] and loaded.report.bad_rows == 2
    assert np.flatnonzero(loaded.table.timeouts).tolist() == [0, 4]
    assert np.flatnonzero(loaded.table.terminals).tolist() == [1]


def test_a_lost_terminal_is_a_cut(raw):
    raw["rewards"][3] = np.nan
    table = made(raw, DROP).table
    assert not table.terminals.any() and np.flatnonzero(table.timeouts).tolist() == [2, 5]
    assert made(raw, DROP).report.splits == 0


def test_an_open_end_of_the_file_stays_open(raw):
    raw["timeouts"][:] = False
    assert made(raw).table.open_ends.tolist() == [6]
    raw["rewards"][6] = np.nan
    assert made(raw, DROP).table.timeouts.tolist() == [False] * 5 + [True]


@pytest.mark.parametrize(("choice", "terminal"), [("terminal", True), ("timeout", False)])
def test_both_ends_at_once(raw, choice, terminal):
    raw["timeouts"][3] = True
    with pytest.raises(ValueError, match="a file: row 3 is terminal and timeout, expected at most one of both"):
        made(raw)
    loaded = made(raw, Repairs(double_ends=choice))
    assert (loaded.table.terminals[3], loaded.table.timeouts[3]) == (terminal, not terminal)
    assert loaded.table.timeouts[6] and loaded.report.double_ends == 1
    assert "rows both terminal and timeout: 1" in str(loaded.report)


def test_next_observations_that_do_not_follow(raw):
    raw["next_observations"][4, 1] += 1
    with pytest.raises(ValueError, match="next observation of row 4 is not the observation of row 5 in the same epis"):
        made(raw)
    loaded = made(raw, Repairs(broken_episodes="split"))
    assert loaded.table.episode_lengths.tolist() == [4, 1, 2]
    assert np.flatnonzero(loaded.table.timeouts).tolist() == [4, 6] and loaded.report.splits == 1
    np.testing.assert_array_equal(loaded.table.next_observations, raw["next_observations"])


def test_an_episode_that_goes_on_after_its_end(raw):
    starts = np.arange(7) == 0
    with pytest.raises(ValueError, match="row 3 ends its episode, and row 4 goes on with it"):
        made(raw, starts=starts)
    loaded = made(raw, Repairs(broken_episodes="split"), starts)
    assert loaded.table.episode_lengths.tolist() == [4, 3] and loaded.report.splits == 1
    assert np.flatnonzero(loaded.table.timeouts).tolist() == [6]  # row 3 is terminal, and no cut


def test_clipping(raw):
    raw["actions"][2] = [1.25, -3]
    bounded = Repairs(action_bounds=(-1, 1))
    with pytest.raises(ValueError, match=r"actions\[2, 0\] is 1.25, expected a number in \[-1, 1\]; Repairs"):
        made(raw, bounded)
    loaded = made(raw, Repairs(action_bounds=(-1, 1), actions="clip"))
    assert loaded.table.actions[2].tolist() == [1, -1]
    np.testing.assert_array_equal(np.delete(loaded.table.actions, 2, axis=0), np.delete(raw["actions"], 2, axis=0))
    assert (loaded.report.clipped_actions, loaded.report.largest_excess) == (1, 2)
    assert made(raw).report.clipped_actions == 0  # no bounds, nothing to compare with
    raw["rewards"][2] = np.nan
    loaded = made(raw, Repairs(action_bounds=(-1, 1), bad_rows="drop"))
    assert loaded.report.clipped_actions == 0  # the row is gone


def test_the_time_limit(raw):
    loaded = made(raw, Repairs(time_limit=4))
    assert not loaded.table.terminals.any() and np.flatnonzero(loaded.table.timeouts).tolist() == [3, 6]
    assert loaded.report.timed_out == 1 and "timeouts told by the time limit: 1" in str(loaded.report)
    assert made(raw, Repairs(time_limit=3)).report.timed_out == 0
    assert made(raw, Repairs(time_limit=5)).report.timed_out == 0


def test_rows_without_next_observation(raw):
    """Kept where terminal; where nothing ended, no value target could do without it."""
    raw["next_observations"][3] = raw["observations"][3]
    raw["next_observations"][6] = raw["observations"][6]
    loaded = made(raw, next_valid=~np.isin(np.arange(7), [3, 6]))
    assert loaded.table.next_valid.tolist() == [True] * 3 + [False] + [True] * 2
    assert (loaded.report.unknown_next, loaded.report.rows_without_next) == (1, 1)
    assert loaded.table.timeouts.tolist() == [False] * 5 + [True]
    assert "rows kept without next observation: 1" in str(loaded.report)


WRONG_COLUMNS = {
    "text": ("rewards", np.array(["1"] * 7), "rewards holds <U1, expected real numbers"),
    "objects": ("rewards", np.array([None] * 7), "rewards holds object, expected real numbers"),
    "complex": ("observations", np.ones((7, 3), complex), "observations holds complex128"),
    "dates": ("rewards", np.zeros(7, "datetime64[s]"), "rewards holds datetime64"),
    "flag": ("terminals", np.full(7, 0.5), r"terminals\[0\] is 0.5, expected 0 or 1"),
    "flag nan": ("timeouts", np.array([0, 0, np.nan, 0, 0, 0, 0]), r"timeouts\[2\] is nan, expected 0 or 1"),
    "short": ("actions", np.zeros((6, 2)), "different lengths .*actions 6, "),
    "scalar": ("rewards", np.array(1.0), "different lengths"),
    "flat": ("actions", np.zeros(7), r"actions has shape \(7,\), expected \(rows, size\)"),
    "wide": ("rewards", np.zeros((7, 2)), r"rewards has shape \(7, 2\), expected \(7,\) or \(7, 1\)"),
    "narrow": ("next_observations", np.zeros((7, 2)), r"observations has shape \(7, 3\), next_observations \(7, 2\)"),
}


@pytest.mark.parametrize("name", WRONG_COLUMNS)
def test_wrong_columns_are_refused(raw, name):
    column, value, message = WRONG_COLUMNS[name]
    with pytest.raises(ValueError, match=f"a file: .*{message}"):
        made(raw | {column: value}, Repairs(bad_rows="drop", broken_episodes="split", double_ends="terminal"))


def test_no_rows_are_refused(raw):
    with pytest.raises(ValueError, match="a file: rewards has no rows"):
        made({name: column[:0] for name, column in raw.items()})


def test_integers_and_booleans_are_cast(raw):
    raw["rewards"] = np.arange(7)
    raw["actions"] = np.ones((7, 2), dtype=bool)
    raw["terminals"] = raw["terminals"].astype(np.int8)
    loaded = made(raw)
    assert loaded.table.rewards.tolist() == list(range(7)) and loaded.table.actions.all()
    assert loaded.report.casts == {"rewards": "int64", "actions": "bool"} and not loaded.report.repaired
    assert str(loaded.report) == "a file: 7 of 7 rows in 2 episodes; actions cast from bool; rewards cast from int64"


def test_nothing_given_is_changed(raw):
    before = {name: column.copy() for name, column in raw.items()}
    starts = np.arange(7) == 0
    made(raw, Repairs(broken_episodes="split", actions="clip", action_bounds=(-0.1, 0.1), time_limit=4), starts)
    for name, column in raw.items():
        np.testing.assert_array_equal(column, before[name])
    assert starts.sum() == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bad_rows": "skip"}, "bad_rows is 'skip', expected one of 'error', 'drop'"),
        ({"broken_episodes": "drop"}, "broken_episodes is 'drop'"),
        ({"double_ends": "both"}, "double_ends is 'both'"),
        ({"actions": "drop"}, "actions is 'drop'"),
        ({"action_bounds": (1, -1)}, "action_bounds is -1"),
        ({"action_bounds": (-1, np.nan)}, "action_bounds is nan"),
        ({"time_limit": 0}, "time_limit is 0"),
    ],
)
def test_wrong_repairs(options, message):
    with pytest.raises(ValueError, match=message):
        Repairs(**options)
