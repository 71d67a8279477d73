"""Credit token by token: the return from each token on, held against those of the group."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from llm_scale.objectives.objective import Objective
from rewardlab.transforms.groups import LEAST_SPREAD, Groups

__all__ = ["token_deviations", "token_returns"]


def token_returns(
    outcomes: Float[Tensor, " b"], paid: Float[Tensor, "b t"] | None, mask: Bool[Tensor, "b t"], discount: float
) -> Float[Tensor, "b t"]:
    """Discounted sum of what is paid from each token on.

    Args:
        outcomes: Paid at each sample's last token.
        paid: Paid to tokens beside that; None where nothing is.
        mask: Which tokens are the sample's own; there may be others between them.
        discount: In [0, 1]; a token that is not the sample's own discounts like any other.

    Returns:
        Returns, 0 where there is no token.
    """
    rewards = outcomes.new_zeros(mask.shape) if paid is None else paid.clone()
    place = torch.arange(mask.shape[1], device=mask.device)
    rows = mask.any(1).nonzero()[:, 0]
    if len(rows):
        last = torch.where(mask[rows], place, -1).amax(1)
        rewards[rows, last] += outcomes[rows]
    if discount == 1:
        rewards = rewards.flip(1).cumsum(1).flip(1)
    else:
        for token in range(mask.shape[1] - 2, -1, -1):
            rewards[:, token] += discount * rewards[:, token + 1]
    return torch.where(mask, rewards, 0.0)


def token_deviations(
    returns: Float[Tensor, "b t"],
    mask: Bool[Tensor, "b t"],
    groups: Groups,
    objective: Objective,
    step_ends: Sequence[Sequence[int]] | None = None,
) -> Float[Tensor, "b t"]:
    """Returns less their group's baseline, in standard deviations where the objective says so.

    A standard deviation is of the deviations from the baseline; every sample counts once, by the mean over its tokens.

    Args:
        returns: Of the tokens, in float64.
        mask: Which tokens count; a sample without one is absent.
        groups: Which samples are of one prompt.
        objective: The algorithm.
        step_ends: Needed for `step_baseline` "same_step".

    Returns:
        Deviations; exactly 0 where a group compares nothing: one sample, or a spread that is rounding.
    """
    if objective.advantage == "raw":
        return returns
    if step_ends is None and objective.step_baseline == "same_step":
        raise ValueError("step_ends is None, but step_baseline is 'same_step'")
    values, counted, step = _compared(returns, mask, objective, step_ends)
    number = groups.sum(counted.to(returns))  # (steps, groups)
    baseline = groups.spread(groups.mean(values, counted))
    around_mean = _less(returns, baseline, mask & _of_tokens(groups.spread(number > 1), step), step)
    varies = _spread(around_mean, mask, groups, 0) >= LEAST_SPREAD * _centre(returns, mask, groups).abs().clamp(min=1)
    around_mean = torch.where(groups.spread(varies)[:, None], around_mean, 0.0)
    if objective.advantage in ("leave_one_out", "length_weighted"):
        if objective.advantage == "leave_one_out":
            total = torch.where(counted, values, 0.0)
            baseline = (groups.spread(groups.sum(total)) - total) / (groups.spread(number) - 1).clamp(min=1)
        else:
            lengths = mask.sum(1).to(returns)
            baseline = groups.spread(groups.sum(returns.sum(1)) / groups.sum(lengths).clamp(min=1))[None]
        compares = groups.spread((number > 1) & varies)
        return _less(returns, baseline, mask & _of_tokens(compares, step), step)
    if objective.advantage == "mean_centred":
        return around_mean
    if objective.advantage == "batch_standardised":
        whole = Groups.of_rows((1, len(returns)), like=returns)
        around = torch.where(mask, returns - whole.spread(_centre(returns, mask, whole))[:, None], 0.0)
        spread = whole.spread(_spread(around, mask, whole, objective.correction))
    else:
        spread = groups.spread(_spread(around_mean, mask, groups, objective.correction))
    return around_mean / torch.where(spread > 0, spread + objective.epsilon, 1.0)[:, None]


def _compared(returns: Tensor, mask: Tensor, objective: Objective, step_ends):
    """What the baseline is the mean of, (steps, b), which of it exists, and the step of each token, (b, t)."""
    if objective.step_baseline == "group":
        lengths = mask.sum(1)
        mean = returns.sum(1) / lengths.clamp(min=1)
        return mean[None], (lengths > 0)[None], torch.zeros_like(mask, dtype=torch.int64)
    step, steps = _step_of_tokens(mask, step_ends)
    limit = mask.shape[1]
    place = torch.where(mask, torch.arange(limit, device=mask.device), limit)
    first = place.new_full((len(mask), steps), limit).scatter_reduce(1, step, place, "amin")
    begins = torch.cat([returns, returns.new_zeros((len(mask), 1))], 1).gather(1, first)
    return begins.T, (first < limit).T, step


def _step_of_tokens(mask: Tensor, step_ends: Sequence[Sequence[int]]) -> tuple[Tensor, int]:
    """Number of the step that each token belongs to, and how many steps a sample has at most, 1 at least."""
    samples, tokens = mask.shape
    if len(step_ends) != samples:
        raise ValueError(f"step_ends has {len(step_ends)} entries for {samples} samples")
    for row, ends in enumerate(step_ends):
        if any(later <= end for end, later in pairwise([-1, *ends, tokens])):
            raise ValueError(
                f"step_ends[{row}] is {list(ends)}, expected rising numbers of tokens from 0 to {tokens - 1}"
            )
    steps = max([1, *map(len, step_ends)])
    until = [[*ends[:-1], *[tokens] * (steps - max(len(ends), 1) + 1)] for ends in map(list, step_ends)]
    place = torch.arange(tokens, device=mask.device).expand(mask.shape).contiguous()
    return torch.searchsorted(torch.tensor(until, device=mask.device), place), steps


def _of_tokens(of_steps: Tensor, step: Tensor) -> Tensor:
    """Hand each token the value of its step: (steps, b) -> (b, t)."""
    return of_steps.T.gather(1, step)


def _less(returns: Tensor, baseline: Tensor, where: Tensor, step: Tensor) -> Tensor:
    return torch.where(where, returns - _of_tokens(baseline, step), 0.0)


def _spread(deviations: Tensor, mask: Tensor, groups: Groups, correction: int) -> Tensor:
    lengths = mask.sum(1)
    number = groups.sum((lengths > 0).to(deviations))
    squares = groups.sum(deviations.square().sum(1) / lengths.clamp(min=1))
    return (squares / (number - correction).clamp(min=1)).sqrt()


def _centre(returns: Tensor, mask: Tensor, groups: Groups) -> Tensor:
    """Mean of each group's returns; every sample counts once."""
    lengths = mask.sum(1)
    return groups.mean(returns.sum(1) / lengths.clamp(min=1), lengths > 0)
