"""The record of logged experience: what it refuses, and that cutting and joining it changes no transition."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewardlab.transition_table import TransitionTable, check_table
from tests.environments.offline.tables import COLUMNS, DATA, assert_same, make_table, tables


def rows_as_set(table):
    """Each transition as bytes, sorted: the multiset of transitions."""
    parts = [np.ascontiguousarray(getattr(table, name)).reshape(len(table), -1) for name in DATA]
    return sorted(b"".join(part[row].tobytes() for part in parts) for row in range(len(table)))


def changed(table, **columns):
    """The table with single entries changed: `column=(place, value)`."""
    new = {}
    for name, (place, value) in columns.items():
        new[name] = getattr(table, name).copy()
        new[name][place] = value
    return dataclasses.replace(table, **new)


@pytest.fixture
def table():
    """Two episodes of 3 and 2 rows; the first ends in a terminal, the second in a timeout."""
    return make_table([3, 2], ["terminal", "timeout"])


def test_a_worked_table(table):
    assert len(table) == 5
    assert (table.observation_size, table.action_size) == (3, 2)
    assert table.episode_ids.tolist() == [0, 0, 0, 1, 1]
    assert table.steps.tolist() == [0, 1, 2, 0, 1]
    assert table.episode_starts.tolist() == [0, 3]
    assert table.episode_lengths.tolist() == [3, 2]
    assert table.terminals.tolist() == [False, False, True, False, False]
    assert table.timeouts.tolist() == [False, False, False, False, True]
    assert table.open_ends.tolist() == []
    np.testing.assert_allclose(table.episode_returns, [table.rewards[:3].sum(), table.rewards[3:].sum()], rtol=1e-6)


@given(tables(unknown_next=True))
def test_episodes_tile_the_table(table):
    assert table.episode_lengths.sum() == len(table)
    assert [len(episode) for episode in table] == table.episode_lengths.tolist()
    assert not (table.terminals & table.timeouts).any()
    inside = table.steps[1:] > 0
    np.testing.assert_array_equal(table.next_observations[:-1][inside], table.observations[1:][inside])
    returns = [episode.rewards.sum(dtype=np.float64) for episode in table]
    np.testing.assert_allclose(table.episode_returns, returns)


@given(tables(unknown_next=True), st.randoms())
def test_permuting_episodes_leaves_the_transitions(table, random):
    order = list(range(len(table.episode_starts)))
    random.shuffle(order)
    permuted = table.episodes(order)
    assert rows_as_set(permuted) == rows_as_set(table)
    assert permuted.episode_lengths.tolist() == table.episode_lengths[order].tolist()
    assert_same(permuted.episodes(np.argsort(order)), table)


@given(tables(), st.data())
def test_a_slice_keeps_whole_episodes_only(table, data):
    count = data.draw(st.integers(1, len(table.episode_starts)))
    part = table.episodes(range(count))
    assert len(part) == table.episode_lengths[:count].sum()
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(part, name), getattr(table, name)[: len(part)])


@given(tables(unknown_next=True))
def test_episodes_joined_again_are_the_table(table):
    assert_same(TransitionTable.concatenate(list(table)), table)


@given(tables())
def test_counting_episodes_from_their_starts(table):
    columns = {name: getattr(table, name) for name in DATA}
    assert_same(TransitionTable.from_columns(**columns, starts=table.steps == 0), table)


@given(tables(open_ends="last"))
def test_counting_episodes_from_their_ends(table):
    assert_same(TransitionTable.from_columns(**{name: getattr(table, name) for name in DATA}), table)


@given(tables(), st.floats(0, 1), st.integers(0, 2**32 - 1))
def test_no_target_moves_where_a_recording_is_cut(table, discount, seed):
    """The target of a row that a timeout cuts off equals that of the same row inside the longer episode."""
    weights = np.random.default_rng(seed).standard_normal(table.observation_size)

    def targets(of):
        return of.rewards + discount * ~of.terminals * (of.next_observations @ weights)

    inside = ~(table.terminals | table.timeouts)
    cut = dataclasses.replace(
        table,
        timeouts=table.timeouts | inside,
        episode_ids=np.arange(len(table)),
        steps=np.zeros(len(table), dtype=np.int64),
    )
    np.testing.assert_array_equal(targets(cut), targets(table))


@given(tables())
def test_open_ends_become_timeouts_and_nothing_else_changes(table):
    closed = table.with_open_ends_as_timeouts()
    assert not len(closed.open_ends)
    assert_same(closed, table, but=("timeouts",))
    assert np.flatnonzero(closed.timeouts & ~table.timeouts).tolist() == table.open_ends.tolist()
    last = np.append(table.episode_starts[1:], len(table)) - 1
    assert set(table.open_ends) == {row for row in last if not (table.terminals[row] or table.timeouts[row])}


def test_rows_and_rewards(table):
    rows = table.rows(np.array([4, 0]))
    assert set(rows) == set(COLUMNS)
    np.testing.assert_array_equal(rows["actions"], table.actions[[4, 0]])
    rewarded = table.with_rewards(np.arange(5, dtype=np.float32))
    assert rewarded.rewards.tolist() == [0, 1, 2, 3, 4]
    assert_same(rewarded, table, but=("rewards",))


REFUSED = {
    "nan": ({"observations": ((1, 2), np.nan)}, r"observations\[1, 2\] is nan, expected finite numbers"),
    "infinite": ({"rewards": (3, np.inf)}, r"rewards\[3\] is inf"),
    "two ends": ({"timeouts": (2, True)}, "row 2 is terminal and timeout"),
    "goes on after an end": ({"terminals": (0, True)}, "row 0 ends an episode, and row 1 goes on with it"),
    "torn": ({"next_observations": ((0, 1), 9)}, r"next_observations\[0\] is not observations\[1\], which follows"),
    "unknown inside": ({"next_valid": (0, False)}, r"next_observations\[0\] is not valid, expected it to repeat"),
    "unknown but filled": ({"next_valid": (2, False)}, r"next_observations\[2\] is not valid, expected it to repeat"),
    "episode skipped": ({"episode_ids": (slice(3, 5), 2)}, "episode_ids does not count 0, 1, 2"),
    "episode from 1": ({"episode_ids": (slice(None), 1)}, "episode_ids does not count 0, 1, 2"),
    "episode comes back": ({"episode_ids": (4, 0)}, "episode_ids does not count 0, 1, 2"),
    "steps": ({"steps": (4, 2)}, r"steps\[4\] is 2, expected 1"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_table_is_refused(table, name):
    change, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        changed(table, **change)


def test_unknown_inside_an_episode_is_refused_even_if_it_repeats():
    still = make_table([2], ["timeout"])
    same = np.zeros_like(still.observations)
    with pytest.raises(ValueError, match=r"next_observations\[0\] is not observations\[1\]"):
        dataclasses.replace(still, observations=same, next_observations=same, next_valid=np.array([False, True]))


@pytest.mark.usefixtures("without_type_checks")
def test_wrong_types_and_shapes_are_refused(table):
    for column, value, error, message in [
        ("observations", table.observations.astype(np.float64), TypeError, "observations is a float64 array"),
        ("terminals", table.terminals.astype(np.float32), TypeError, "terminals is a float32 array, expected .* bool"),
        ("steps", table.steps.astype(np.int32), TypeError, "steps is a int32 array, expected .* int64"),
        ("rewards", table.rewards.tolist(), TypeError, "rewards is a list"),
        ("rewards", table.rewards[:, None], ValueError, r"rewards has shape \(5, 1\), expected \(5,\)"),
        ("actions", table.actions[:4], ValueError, r"actions has shape \(4, 2\), expected \(5, 2\)"),
        ("next_observations", table.observations[:, :2], ValueError, r"next_observations has shape \(5, 2\)"),
        ("observations", table.observations[:0], ValueError, r"observations has shape \(0, 3\)"),
    ]:
        with pytest.raises(error, match=message):
            dataclasses.replace(table, **{column: value})


def test_wrong_choices_of_episodes_are_refused(table):
    with pytest.raises(IndexError, match="chosen holds 2, expected 0 to 1"):
        table.episodes([0, 2])
    with pytest.raises(IndexError, match="chosen holds -1"):
        table.episodes([-1])
    for chosen in ([], [0, 0]):
        with pytest.raises(ValueError, match="expected at least one episode, each once"):
            table.episodes(chosen)


def test_tables_that_do_not_fit_are_not_joined(table):
    with pytest.raises(ValueError, match="tables is empty"):
        TransitionTable.concatenate([])
    other = make_table([1], ["open"], observation_size=2)
    with pytest.raises(ValueError, match=r"sizes \[\(3, 2\), \(2, 2\)\], expected the same"):
        TransitionTable.concatenate([table, other])


def test_starts_must_start(table):
    columns = {name: getattr(table, name) for name in DATA}
    for starts in (np.zeros(5, dtype=bool), np.ones(4, dtype=bool)):
        with pytest.raises(ValueError, match="expected 5, the first of them True"):
            TransitionTable.from_columns(**columns, starts=starts)


def test_episodes_are_chosen_by_numbers_only():
    column = np.zeros(2, dtype=np.float32)
    ended = np.ones(2, dtype=bool)
    table = TransitionTable.from_columns(
        observations=column[:, None],
        actions=column[:, None],
        rewards=column,
        next_observations=column[:, None],
        terminals=ended,
        timeouts=~ended,
    )
    for chosen in (np.array([True, False]), np.array([0.7]), np.array([[0, 1]])):
        with pytest.raises(TypeError, match="expected a list of whole numbers"):
            table.episodes(chosen)
    with pytest.raises(ValueError, match="at least one episode"):
        table.episodes([])


def test_what_a_loader_returns_is_no_table():
    class Loaded:
        table = None

    with pytest.raises(TypeError, match=r"table is a Loaded, expected a TransitionTable; take its \.table"):
        check_table(Loaded())
    with pytest.raises(TypeError, match=r"table is a dict, expected a TransitionTable$"):
        check_table({})
