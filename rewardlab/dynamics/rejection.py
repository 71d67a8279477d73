"""Where to put the threshold below which a predicted transition is rejected."""

from collections.abc import Callable

import numpy as np
import torch

from rewardlab.checks import check_scalar
from rewardlab.transition_table import TransitionTable

__all__ = ["judge_recorded", "rejection_threshold"]

_CHUNK = 4096  # rows judged at once


@torch.no_grad()
def judge_recorded(
    dynamics_reward: Callable[..., torch.Tensor], table: TransitionTable, device: torch.device | str = "cpu"
) -> torch.Tensor:
    """Dynamics rewards of the recorded transitions, of those whose next observation was kept.

    Args:
        dynamics_reward: Of observations `(B, d)`, actions `(B, m)` and next observations `(B, d)`; gives `(B,)`.
        table: The recording.
        device: Of the dynamics reward.

    Returns:
        One number a row with `next_valid`, on the CPU.
    """
    rows = table.rows(np.flatnonzero(table.next_valid))
    columns = [torch.from_numpy(rows[name]).to(device) for name in ("observations", "actions", "next_observations")]
    parts = [dynamics_reward(*part).cpu() for part in zip(*(column.split(_CHUNK) for column in columns), strict=True)]
    return torch.cat(parts)


def rejection_threshold(
    dynamics_reward: Callable[..., torch.Tensor],
    table: TransitionTable,
    share: float,
    device: torch.device | str = "cpu",
) -> float:
    """The dynamics reward below which a share of the recorded transitions lies.

    A threshold of 0.6, as in the official scripts, means something for rewards rescaled as there; this one means the
    same for any: how many real transitions one accepts to lose.

    Args:
        dynamics_reward: As in `judge_recorded`, like the next and the last.
        table: See there.
        share: Of the recorded transitions, in [0, 1]; 0 rejects none of them.
        device: See there.

    Raises:
        ValueError: If the share is out of range, no row has a next observation, or a dynamics reward is not finite.
    """
    check_scalar("share", share, low=0, high=1)
    if not table.next_valid.any():
        raise ValueError("table has no row with next_valid, expected at least one to judge")
    judged = judge_recorded(dynamics_reward, table, device).double()
    if bool((wrong := ~torch.isfinite(judged)).any()):
        raise ValueError(f"the dynamics reward of recorded row {int(wrong.nonzero()[0])} is not finite")
    return float(torch.quantile(judged, share, interpolation="lower"))
