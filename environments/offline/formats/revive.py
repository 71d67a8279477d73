"""REVIVE's npz files: columns named after the nodes of a decision graph, and `index`, the END of each trajectory.

Which columns are what, the file does not say; the caller does.

Source: polixir/revive, its documentation and example files.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from environments.offline.formats.array_files import npz_columns, write_npz
from environments.offline.formats.following import shifted
from environments.offline.formats.repairs import Loaded, Repairs, assemble
from environments.offline.formats.writing import check_writable
from rewardlab.transition_table import TransitionTable

__all__ = ["read_revive", "write_revive"]

INDEX = "index"
RewardFunction = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def read_revive(
    path: str | Path,
    *,
    observations: Sequence[str] = ("obs",),
    actions: Sequence[str] = ("action",),
    next_observations: Sequence[str] | None = ("next_obs",),
    rewards: str | RewardFunction = "rew",
    terminals: str | None = None,
    repairs: Repairs | None = None,
    max_bytes: int | None = None,
) -> Loaded:
    """Read a REVIVE npz file.

    The format has no timeouts: a trajectory whose last row is not terminal ends by a timeout.

    Args:
        path: The file.
        observations: Nodes that make up the observation, their columns side by side in this order.
        actions: Nodes that make up the action.
        next_observations: Nodes that make up the next observation, in the order of `observations`; None: the file has
            none, so the next row's observation is taken, and the last row of each trajectory dropped and counted.
        rewards: Node that holds the reward, or a function of observations `(N, d)`, actions `(N, m)` and next
            observations `(N, d)` (float32) that gives `(N,)`: REVIVE's own files leave rewards to a function.
        terminals: Node that says whether the problem ended; None: it never did.
        repairs: What may be repaired; None: nothing, and no bounds of actions are known.
        max_bytes: Most memory its arrays may take; see `npz_columns`.

    Raises:
        ValueError: If a node is missing, or the file is not as it should be and the repair is not allowed. Names file,
            node and row.
    """
    for name, nodes in (("observations", observations), ("actions", actions)):
        if not nodes:
            raise ValueError(f"{name} names no node, expected at least one")
    named = [*observations, *actions, *(next_observations or ()), INDEX]
    named += [name for name in (rewards, terminals) if isinstance(name, str)]
    columns, unused = npz_columns(path, list(dict.fromkeys(named)), max_bytes=max_bytes)
    ends = _ends(columns[INDEX], len(np.atleast_1d(columns[observations[0]])), path)
    rows = int(ends[-1])
    starts = np.isin(np.arange(rows), np.append(0, ends[:-1]))
    raw = {
        "observations": _side_by_side(columns, observations, rows, path),
        "actions": _side_by_side(columns, actions, rows, path),
        "terminals": np.zeros(rows, dtype=bool) if terminals is None else columns[terminals],
    }
    drop, filled = None, {}
    if next_observations is None:
        raw["next_observations"], drop = shifted(raw["observations"], starts)
    else:
        raw["next_observations"] = _side_by_side(columns, next_observations, rows, path)
    if isinstance(rewards, str):
        raw["rewards"] = columns[rewards]
    else:
        raw["rewards"] = _computed(rewards, raw, path)
        filled["rewards"] = getattr(rewards, "__name__", "a function")
    raw["timeouts"] = np.zeros(rows, dtype=bool)
    if raw["terminals"].size == rows:  # else `assemble` says what is wrong
        raw["timeouts"][ends - 1] = raw["terminals"].reshape(-1)[ends - 1] == 0
    keys = {"observations": "+".join(observations), "actions": "+".join(actions), "rewards": _name(rewards)}
    keys |= {"next_observations": "+".join(next_observations or ("next",)), "terminals": terminals or "terminals"}
    keys["timeouts"] = "timeouts"
    repairs = Repairs() if repairs is None else repairs
    return assemble(
        raw, source=str(path), repairs=repairs, keys=keys, starts=starts, drop=drop, filled=filled, unused=unused
    )


def write_revive(path: str | Path, table: TransitionTable) -> None:
    """Write a table with nodes obs, action, next_obs, rew, done and the ends of its trajectories as index.

    Timeouts are not stored: `read_revive(path, terminals="done")` gives every end that is not terminal back as a
    timeout, and all else as it was.

    Raises:
        ValueError: If a row lacks its next observation.
    """
    check_writable(table, "REVIVE", open_ends="anywhere")
    write_npz(
        path,
        {
            "obs": table.observations,
            "action": table.actions,
            "next_obs": table.next_observations,
            "rew": table.rewards[:, None],
            "done": table.terminals[:, None],
            INDEX: np.append(table.episode_starts[1:], len(table)),
        },
    )


def _ends(index: np.ndarray, rows: int, path: str | Path) -> np.ndarray:
    if index.dtype.kind not in "iu" or index.ndim != 1 or not len(index):
        raise ValueError(f"{path}: {INDEX} is {index.dtype} of shape {index.shape}, expected a list of rows")
    index = index.astype(np.int64)
    if index[0] < 1 or (np.diff(index) <= 0).any() or index[-1] != rows:
        hint = "; starts instead of ends are NeoRL's: read_neorl" if index[0] == 0 else ""
        raise ValueError(
            f"{path}: {INDEX} goes from {index[0]} to {index[-1]}, expected growing ends of trajectories, "
            f"the last of them {rows}{hint}"
        )
    return index


def _side_by_side(columns: dict[str, np.ndarray], nodes: Sequence[str], rows: int, path: str | Path) -> np.ndarray:
    for node in nodes:
        if columns[node].ndim not in (1, 2) or len(columns[node]) != rows:
            raise ValueError(f"{path}: {node} has shape {columns[node].shape}, expected ({rows}, size)")
    return np.concatenate([columns[node].reshape(rows, -1) for node in nodes], axis=1)


def _computed(rewards: RewardFunction, raw: dict[str, np.ndarray], path: str | Path) -> np.ndarray:
    given = (raw[name].astype(np.float32) for name in ("observations", "actions", "next_observations"))
    computed = np.asarray(rewards(*given))
    if computed.shape != (len(raw["observations"]),):
        raise ValueError(f"{path}: the reward function gave {computed.shape}, expected ({len(raw['observations'])},)")
    return computed


def _name(rewards: str | RewardFunction) -> str:
    return rewards if isinstance(rewards, str) else getattr(rewards, "__name__", "the reward function")
