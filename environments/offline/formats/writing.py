"""What a file format cannot say, a writer refuses."""

from typing import Literal

import numpy as np

from rewardlab.transition_table import TransitionTable

__all__ = ["check_writable"]


def check_writable(
    table: TransitionTable,
    file_format: str,
    *,
    open_ends: Literal["anywhere", "last"],
    unknown_next: Literal["no", "terminal"] = "no",
) -> None:
    """Do nothing if a format can hold the table.

    Args:
        table: What is to be written.
        file_format: Its name, for the message.
        open_ends: Where an episode may end without being terminal or timeout: "anywhere", if the format stores where
            episodes begin or end, or only in the "last" row of all.
        unknown_next: Whether `terminal` rows may lack their next observation, or "no" row.

    Raises:
        ValueError: Names the first row that the format cannot hold, and what to do.
    """
    lacking = ~table.next_valid & ~(table.terminals & (unknown_next == "terminal"))
    if lacking.any():
        row = int(np.flatnonzero(lacking)[0])
        raise ValueError(f"row {row} lacks its next observation, and {file_format} has no way to say so; leave it out")
    early = table.open_ends[table.open_ends < len(table) - 1]
    if open_ends == "last" and early.size:
        raise ValueError(
            f"row {early[0]} ends its episode as neither terminal nor timeout, and {file_format} has no way to say so; "
            f"mark such rows by table.with_open_ends_as_timeouts()"
        )
