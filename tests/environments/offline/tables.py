"""Small valid tables to test with: hypothesis draws the episodes and their ends, a seed the numbers."""

import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
from hypothesis import strategies as st

from rewardlab.transition_table import TransitionTable

DATA = ("observations", "actions", "rewards", "next_observations", "terminals", "timeouts", "next_valid")
COLUMNS = (*DATA, "episode_ids", "steps")
FOLDER = tempfile.TemporaryDirectory()


def make_table(lengths, ends, seed=0, observation_size=3, action_size=2, unknown_next=False):
    """Table of episodes of these lengths, each ending as `ends` says: "terminal", "timeout" or "open"."""
    rng = np.random.default_rng(seed)
    rows, last = sum(lengths), np.cumsum(lengths) - 1
    walks = [rng.standard_normal((length + 1, observation_size)).astype(np.float32) for length in lengths]
    observations = np.concatenate([walk[:-1] for walk in walks])
    next_observations = np.concatenate([walk[1:] for walk in walks])
    flags = {kind: np.isin(np.arange(rows), last[np.array(ends) == kind]) for kind in ("terminal", "timeout")}
    next_valid = ~(flags["terminal"] & unknown_next)
    next_observations[~next_valid] = observations[~next_valid]
    return TransitionTable.from_columns(
        observations=observations,
        actions=rng.uniform(-1, 1, (rows, action_size)).astype(np.float32),
        rewards=rng.standard_normal(rows).astype(np.float32),
        next_observations=next_observations,
        terminals=flags["terminal"],
        timeouts=flags["timeout"],
        starts=np.isin(np.arange(rows), np.append(0, last[:-1] + 1)),
        next_valid=next_valid,
    )


@st.composite
def tables(draw, open_ends="anywhere", unknown_next=False, max_episodes=4, max_length=5):
    """A table of one to `max_episodes` episodes.

    `open_ends`: whether an end that is neither terminal nor timeout may be "anywhere", only the "last" row, or "none".
    `unknown_next`: whether terminal rows may lack their next observation.
    """
    lengths = draw(st.lists(st.integers(1, max_length), min_size=1, max_size=max_episodes))
    closed = st.sampled_from(["terminal", "timeout"])
    any_end = st.sampled_from(["terminal", "timeout", "open"])
    ends = [draw(any_end if open_ends == "anywhere" else closed) for _ in lengths]
    if open_ends == "last":
        ends[-1] = draw(any_end)
    return make_table(
        lengths,
        ends,
        seed=draw(st.integers(0, 2**32 - 1)),
        observation_size=draw(st.integers(1, 3)),
        action_size=draw(st.integers(1, 2)),
        unknown_next=unknown_next and draw(st.booleans()),
    )


def assert_same(left, right, but=()):
    """Both tables are equal bit by bit, leaving out the columns in `but`."""
    for name in COLUMNS:
        if name not in but:
            np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name, strict=True)


def read_back(write, read, table, **options):
    """What `read` makes of what `write` writes of the table."""
    path = Path(FOLDER.name) / "table"
    with mock.patch("os.fsync"):  # bringing each of hundreds of small files to the disk takes most of the time
        write(path, table)
    return read(path, **options)
