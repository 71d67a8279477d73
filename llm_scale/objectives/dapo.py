"""What DAPO adds to rewards and batches: a soft penalty near the limit of length, and groups that teach something."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Num
from torch import Tensor

from rewardlab.checks import check_scalar
from rewardlab.transforms.groups import Groups, ungrouped

__all__ = ["keeps_signal", "soft_overlong_penalty"]


def soft_overlong_penalty(lengths: Num[Tensor, " b"], limit: int, cushion: int) -> Float[Tensor, " b"]:
    """Penalty that grows from 0 to -1 over the last `cushion` tokens before the limit, and stays at -1 beyond it.

    Args:
        lengths: Tokens of each completion.
        limit: Largest length, in tokens.
        cushion: Tokens before the limit over which the penalty grows, above 0 and at most `limit`.

    Returns:
        Penalties in [-1, 0], float64, to be added to the rewards.

    Raises:
        ValueError: If `limit` or `cushion` is outside its range.

    Source: DAPO (arXiv 2503.14476), with limit 20480 and cushion 4096. verl's has no lower bound, which makes no
        difference where generation stops at the limit.

    Example:
        >>> import torch
        >>> soft_overlong_penalty(torch.tensor([16384, 17408, 18432, 20480]), 20480, 4096).tolist()
        [0.0, -0.25, -0.5, -1.0]
    """
    check_scalar("limit", limit, low=1, whole=True)
    check_scalar("cushion", cushion, low=1, high=limit, whole=True)
    return (((limit - cushion) - lengths.double()) / cushion).clamp(-1.0, 0.0)


def keeps_signal(
    rewards: Num[Tensor, " b"],
    group_ids: Sequence | Tensor | np.ndarray | Groups,
    present: Bool[Tensor, " b"] | None = None,
) -> Bool[Tensor, " b"]:
    """Whether a sample's group has rewards that differ, so that its advantages are not all 0 (dynamic sampling).

    Where several rewards are normalised before they are summed, ask of each: their sum may be the same for all samples
    of a group whose advantages are not.

    Args:
        rewards: One a sample; NaN where a sample has none.
        group_ids: One id a sample.
        present: Which samples count; by default all whose reward is not NaN.

    Returns:
        True for all samples of a group, absent ones included, or for none.

    Source: DAPO (arXiv 2503.14476), which keeps prompts with some but not all samples right.

    Example:
        >>> import torch
        >>> keeps_signal(torch.tensor([1.0, 0.0, 1.0, 1.0]), ["a", "a", "b", "b"]).tolist()
        [True, True, False, False]
    """
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    return groups.spread(groups.deviation(values, present, correction=0)[1] > 0)
