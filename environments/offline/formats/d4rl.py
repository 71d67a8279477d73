"""D4RL's HDF5 files: flat columns at the root, one row a step, episodes one after another.

As D4RL records, the row at the time limit is a timeout and no terminal, even if the problem ended in it; any other end
is a terminal. The last episode may be cut by the end of the file. Files of version 2 hold next observations; older ones
do not, and nothing in them says what followed the last row of an episode.

Source: D4RL (arXiv 2004.07219), Farama-Foundation/D4RL: its offline environments and collection scripts.
"""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from environments.offline.formats.array_files import hdf5_columns, write_hdf5
from environments.offline.formats.following import shifted
from environments.offline.formats.repairs import Loaded, Repairs, assemble
from environments.offline.formats.writing import check_writable
from rewardlab.checks import check_choice
from rewardlab.transition_table import TransitionTable

__all__ = ["read_d4rl", "write_d4rl"]

REQUIRED = ("observations", "actions", "rewards", "terminals")
OPTIONAL = ("next_observations", "timeouts")


def read_d4rl(
    path: str | Path,
    *,
    next_observations: Literal["recorded", "following", "next_row"] = "recorded",
    last_rows: Literal["drop", "keep_terminals"] = "drop",
    repairs: Repairs | None = None,
    max_bytes: int | None = None,
) -> Loaded:
    """Read a D4RL HDF5 file.

    Args:
        path: The file.
        next_observations: "recorded": the file's own, or where it has none as "following".
            "following": the next row's observation, inside an episode only.
            "next_row": the next row's observation whatever that row is, so a terminal row is followed by the first
            observation of the next episode. This is the bug of D4RL's `qlearning_dataset`, here to measure its cost:
            harmless where a value target masks terminals, false for a dynamics model. Timeouts and the file's last row
            are dropped, as there; the report counts the false rows as `wrong_next`.
        last_rows: What to do with last rows of episodes whose next observation is not known: "drop" them, or
            "keep_terminals", with `next_valid` False, and drop the others.
        repairs: What may be repaired; None: nothing, and no bounds of actions are known. Files without timeouts need
            `Repairs(time_limit=...)`: every so many steps after a start there is a timeout.
        max_bytes: Most memory its arrays may take; see `npz_columns`.

    Raises:
        ImportError: If h5py is not installed.
        ValueError: If the file is not as it should be and the repair is not allowed. Names file, key and row.
    """
    check_choice("next_observations", next_observations, ("recorded", "following", "next_row"))
    check_choice("last_rows", last_rows, ("drop", "keep_terminals"))
    repairs = Repairs() if repairs is None else repairs
    optional = OPTIONAL if next_observations == "recorded" else OPTIONAL[1:]
    raw, unused = hdf5_columns(path, REQUIRED, optional, max_bytes=max_bytes)
    counted: dict[str, object] = {"unused": unused}
    if "timeouts" not in raw:
        raw["terminals"], raw["timeouts"], counted["timed_out"] = _timed(raw["terminals"], path, repairs.time_limit)
        repairs = replace(repairs, time_limit=None)
    elif next_observations == "next_row" and repairs.time_limit is not None:
        raise ValueError(f"{path}: has timeouts of its own, and next_row takes these; expected no time_limit")
    drop = next_valid = None
    if "next_observations" not in raw:
        ends = _ends(raw, path)
        if next_observations == "next_row":
            raw["next_observations"], _ = shifted(raw["observations"], np.zeros(len(ends), dtype=bool))
            drop = _flags(raw["timeouts"]) | (np.arange(len(ends)) == len(ends) - 1)
            counted["wrong_next"] = int((ends & ~drop).sum())
        else:
            raw["next_observations"], last = shifted(raw["observations"], np.append(True, ends[:-1]))
            drop, next_valid = (last, None) if last_rows == "drop" else (None, ~last)
    return assemble(raw, source=str(path), repairs=repairs, drop=drop, next_valid=next_valid, **counted)


def write_d4rl(path: str | Path, table: TransitionTable, *, with_next_observations: bool = True) -> None:
    """Write a table as D4RL does, gzip-compressed. With next observations, reading it gives the table back.

    Args:
        path: Where.
        table: What.
        with_next_observations: As version 2 has them. Without, what followed last rows of episodes is lost, as in
            versions 0 and 1.

    Raises:
        ImportError: If h5py is not installed.
        ValueError: If an episode before the last has an open end, or a row lacks its next observation and next
            observations are to be written.
    """
    check_writable(table, "D4RL", open_ends="last", unknown_next="no" if with_next_observations else "terminal")
    names = REQUIRED + (OPTIONAL if with_next_observations else OPTIONAL[1:])
    write_hdf5(path, {name: getattr(table, name) for name in names})


def _timed(terminals: np.ndarray, path: str | Path, limit: int | None) -> tuple[np.ndarray, np.ndarray, int]:
    if limit is None:
        raise ValueError(
            f"{path}: no 'timeouts'; say by Repairs(time_limit=...) after how many steps episodes were cut"
        )
    terminals = _flags(terminals)
    rows = np.arange(len(terminals))
    starts = np.append(True, terminals[:-1])
    timeouts = (rows - np.maximum.accumulate(np.where(starts, rows, 0)) + 1) % limit == 0
    return terminals & ~timeouts, timeouts, int(timeouts.sum())


def _ends(raw: dict[str, np.ndarray], path: str | Path) -> np.ndarray:
    """Where episodes end; whether flags are flags is left to `assemble`, which names the row."""
    lengths = {name: len(column) if column.ndim else 0 for name, column in raw.items()}
    if len(set(lengths.values())) > 1 or not lengths["rewards"]:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{path}: columns of different lengths or without rows ({listed})")
    return _flags(raw["terminals"]) | _flags(raw["timeouts"])


def _flags(column: np.ndarray) -> np.ndarray:
    return (column != 0).reshape(len(column), -1).any(axis=1)
