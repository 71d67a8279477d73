"""NeoRL-2's npz files: columns obs, action, next_obs, reward, done, truncated.

An episode ends where done or truncated is 1. The documentation speaks of an index of trajectories; the published files
have none, and need none.

Source: NeoRL-2 (arXiv 2503.19267) and its published files.
"""

from pathlib import Path

from environments.offline.formats.array_files import npz_columns, write_npz
from environments.offline.formats.repairs import Loaded, Repairs, assemble
from environments.offline.formats.writing import check_writable
from rewardlab.transition_table import TransitionTable

__all__ = ["read_neorl2", "write_neorl2"]

KEYS = {
    "observations": "obs",
    "actions": "action",
    "rewards": "reward",
    "next_observations": "next_obs",
    "terminals": "done",
    "timeouts": "truncated",
}


def read_neorl2(path: str | Path, *, repairs: Repairs | None = None, max_bytes: int | None = None) -> Loaded:
    """Read a NeoRL-2 npz file.

    Args:
        path: The file.
        repairs: What may be repaired; None: nothing, and actions must lie in [-1, 1].
        max_bytes: Most memory its arrays may take; see `npz_columns`.

    Raises:
        ValueError: If the file is not as it should be and the repair is not allowed. Names file, key and row.
    """
    columns, unused = npz_columns(path, list(KEYS.values()), max_bytes=max_bytes)
    raw = {name: columns[key] for name, key in KEYS.items()}
    repairs = Repairs(action_bounds=(-1.0, 1.0)) if repairs is None else repairs
    return assemble(raw, source=str(path), repairs=repairs, keys=KEYS, unused=unused)


def write_neorl2(path: str | Path, table: TransitionTable) -> None:
    """Write a table as NeoRL-2 does: float32 throughout, flags as 0 and 1. Reading it gives the table back.

    Raises:
        ValueError: If a row lacks its next observation, or an episode before the last has an open end: the file could
            not say where it ends.
    """
    check_writable(table, "NeoRL-2", open_ends="last")
    write_npz(path, {key: getattr(table, name).astype("float32") for name, key in KEYS.items()})
