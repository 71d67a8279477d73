"""The batch of all processes, put together from each one's share: small arrays, one number a token."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["joined", "joined_shares"]


def joined_shares(shares: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Put what each process knows of its own samples one after the other, as arguments of `token_level_advantages`.

    Args:
        shares: For each process, `rewards` (b,), `mask` (b, t), `groups` (b,) counted from 0 by itself, and where there
            are such `step_rewards`, `log_probs`, `reference_log_probs` (b, t) and `step_ends`; else None.

    Returns:
        The same for all samples, (B,) and (B, T) with T the longest of all, `groups` as `group_ids` that are different
        between processes.
    """
    width = max(share["mask"].shape[1] for share in shares)
    offset, group_ids = 0, []
    for share in shares:
        group_ids.append(share["groups"] + offset)
        offset += int(share["groups"].max()) + 1
    return {
        "rewards": torch.cat([share["rewards"] for share in shares]),
        "group_ids": torch.cat(group_ids),
        "mask": _wide([share["mask"] for share in shares], width),
        "step_ends": None
        if shares[0]["step_ends"] is None
        else [ends for share in shares for ends in share["step_ends"]],
        **{
            name: None if shares[0][name] is None else _wide([torch.as_tensor(share[name]) for share in shares], width)
            for name in ("step_rewards", "log_probs", "reference_log_probs")
        },
    }


def _wide(parts: Sequence[Tensor], width: int) -> Tensor:
    return torch.cat([pad(part, (0, width - part.shape[1])) for part in parts])


def joined(shares: Sequence[Any]) -> Any:
    """What the processes know of their samples, one after the other: arrays and lists, in tables or not."""
    if isinstance(shares[0], dict):
        return {name: joined([share[name] for share in shares]) for name in shares[0]}
    if isinstance(shares[0], list):
        return [one for share in shares for one in share]
    return np.concatenate(shares) if isinstance(shares[0], np.ndarray) else shares[0]
