"""NeoRL's npz files: columns obs, action, next_obs, reward, done, and `index`, the first row of each trajectory.

Source: NeoRL (arXiv 2102.00714), polixir/NeoRL; the clipping of actions is that of MOREC's loader.
"""

from pathlib import Path
from typing import Literal

import numpy as np

from environments.offline.formats.array_files import npz_columns, write_npz
from environments.offline.formats.repairs import Loaded, Repairs, assemble
from environments.offline.formats.writing import check_writable
from rewardlab.checks import check_choice, check_scalar
from rewardlab.transition_table import TransitionTable

__all__ = ["read_neorl", "write_neorl"]

KEYS = {
    "observations": "obs",
    "actions": "action",
    "rewards": "reward",
    "next_observations": "next_obs",
    "terminals": "done",
}
INDEX = "index"


def read_neorl(
    path: str | Path,
    *,
    trajectories: int | None = None,
    x_position: Literal["keep", "drop"] = "keep",
    repairs: Repairs | None = None,
    max_bytes: int | None = None,
) -> Loaded:
    """Read a NeoRL npz file.

    The format has no column of timeouts: a trajectory whose last row is not done comes back with a timeout there.

    Args:
        path: The file.
        trajectories: Read only the first so many; None: all.
        x_position: HalfCheetah, Hopper and Walker2d have the x position in column 0, which their gymnasium namesakes
            lack: "keep" it, or "drop" column 0. It grows without bound, but only with it is the reward a function of
            observation, action and next observation.
        repairs: What may be repaired; None: actions are clipped to [-1, 1] and counted, nothing else. If the recording
            calls time limits done, say so by `Repairs(time_limit=...)`.
        max_bytes: Most memory its arrays may take; see `npz_columns`.

    Raises:
        ValueError: If the file is not as it should be and the repair is not allowed, or holds fewer trajectories than
            asked for. Names file, key and row.
    """
    check_choice("x_position", x_position, ("keep", "drop"))
    columns, unused = npz_columns(path, [*KEYS.values(), INDEX], max_bytes=max_bytes)
    rows = len(columns["reward"]) if columns["reward"].ndim else 0
    first = _first_rows(columns[INDEX], rows, path)
    if trajectories is not None:
        check_scalar("trajectories", trajectories, low=1, whole=True)
        if trajectories > len(first):
            raise ValueError(f"{path}: {len(first)} trajectories, expected at least the {trajectories} asked for")
        rows = int(np.append(first, rows)[trajectories])
        first = first[:trajectories]
        columns = {key: column[:rows] if column.ndim else column for key, column in columns.items()}
    raw = {name: columns[key] for name, key in KEYS.items()}
    if x_position == "drop":
        raw |= {name: _without_first(raw[name], KEYS[name], path) for name in ("observations", "next_observations")}
    last = np.append(first[1:], rows) - 1
    raw["timeouts"] = np.zeros(rows, dtype=bool)
    if raw["terminals"].size == rows:  # else `assemble` says what is wrong
        raw["timeouts"][last] = raw["terminals"].reshape(-1)[last] == 0
    repairs = Repairs(actions="clip", action_bounds=(-1.0, 1.0)) if repairs is None else repairs
    starts = np.isin(np.arange(rows), first)
    return assemble(raw, source=str(path), repairs=repairs, keys=KEYS, starts=starts, unused=unused)


def write_neorl(path: str | Path, table: TransitionTable) -> None:
    """Write a table as NeoRL does: float32, rewards and done as one column of a matrix.

    Timeouts are not stored: reading gives every end that is not terminal back as a timeout, all else as it was.

    Raises:
        ValueError: If a row lacks its next observation.
    """
    check_writable(table, "NeoRL", open_ends="anywhere")
    columns = {key: getattr(table, name).astype(np.float32) for name, key in KEYS.items()}
    columns |= {key: columns[key][:, None] for key in ("reward", "done")}
    write_npz(path, {**columns, INDEX: table.episode_starts})


def _first_rows(index: np.ndarray, rows: int, path: str | Path) -> np.ndarray:
    if index.dtype.kind not in "iu" or index.ndim != 1 or not len(index):
        raise ValueError(f"{path}: {INDEX} is {index.dtype} of shape {index.shape}, expected a list of rows")
    if index.max() < 2**62:  # a larger one would wrap around in the cast, and be refused for what it is not
        index = index.astype(np.int64)
    if index[0] != 0 or (index[1:] <= index[:-1]).any() or index[-1] >= rows:
        hint = "; ends instead of starts are REVIVE's: read_revive" if index[-1] == rows else ""
        raise ValueError(
            f"{path}: {INDEX} goes from {index[0]} to {index[-1]}, expected growing first rows of trajectories, "
            f"from 0 to at most {rows - 1}{hint}"
        )
    return index


def _without_first(column: np.ndarray, key: str, path: str | Path) -> np.ndarray:
    if column.ndim != 2 or column.shape[1] < 2:
        raise ValueError(f"{path}: {key} has shape {column.shape}, expected (rows, at least 2) to drop its column 0")
    return column[:, 1:]
