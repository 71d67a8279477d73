"""From rewards of steps to their returns and advantages, in the one order that keeps what refinement promised."""

from typing import Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, all_finite, array_namespace, as_float64
from rewardlab.checks import check_array, check_choice, check_finite, check_scalar
from rewardlab.process.padded_steps import as_floats, by_rows, checked_step_mask, refuse_not_finite
from rewardlab.process.refine import LastStep, Mode, refine
from rewardlab.transforms.groups import Groups

__all__ = ["Baseline", "StepAdvantages", "reward_to_go", "step_advantages"]

Baseline = Literal["same_step", "group"]

PART = 32  # steps summed up by one product


class StepAdvantages(NamedTuple):
    """What became of the scores of steps, stage by stage; each (samples, steps), 0 in the padding.

    Args:
        refined: Rewards of the steps, by `refine`.
        returns: `weight` times the refined rewards from each step on, plus the outcome.
        advantages: Returns less their baseline, and in standard deviations where asked.
    """

    refined: Float[Array, "samples steps"]
    returns: Float[Array, "samples steps"]
    advantages: Float[Array, "samples steps"]


def reward_to_go(
    step_rewards: Num[Array, "*batch steps"], mask: Bool[Array, "*batch steps"] | None = None, *, discount: float = 1.0
) -> Float[Array, "*batch steps"]:
    """Discounted sum of the rewards from each step on.

    Args:
        step_rewards: Finite rewards of the steps, NumPy or torch.
        mask: True where there is a step, the steps first; None where all are steps.
        discount: In [0, 1].

    Returns:
        Sums of the shape and float dtype of `step_rewards`, 0 in the padding.

    Raises:
        ValueError: If a reward is NaN or infinite, a sum beyond the range of its dtype, the mask has a gap or another
            shape, or the discount is outside [0, 1].

    Example:
        >>> import numpy as np
        >>> reward_to_go(np.array([1.0, 0.0, 2.0]), discount=0.5)
        array([1.5, 1. , 2. ])
    """
    check_scalar("discount", discount, low=0.0, high=1.0)
    mask = checked_step_mask(mask, step_rewards)
    if 0 in step_rewards.shape:
        return as_floats(step_rewards, mask)
    with np.errstate(over="ignore", invalid="ignore"):
        sums = by_rows(lambda rewards, mask: _summed_back(as_floats(rewards, mask), discount), step_rewards, mask)
    if not all_finite(sums):
        refuse_not_finite(step_rewards, mask, name="step_rewards")
        raise ValueError(f"step_rewards: a sum is beyond the range of {sums.dtype}, expected smaller rewards")
    return sums


def step_advantages(
    step_rewards: Num[Array, "samples steps"] | Bool[Array, "samples steps"],
    mask: Bool[Array, "samples steps"] | None,
    outcomes: Num[Array, " samples"] | Bool[Array, " samples"],
    mode: Mode,
    *,
    weight: float,
    threshold: float | None = None,
    last_step: LastStep = "drop",
    temperature: float = 0.1,
    group_ids=None,
    baseline: Baseline = "same_step",
    standardise: bool = False,
    epsilon: float = 1e-4,
) -> StepAdvantages:
    """Advantage of every step of a batch of sampled solutions: refine, accumulate, add the outcome, only then centre.

    The order is the point. Centring or scaling the rewards of steps first, and summing them afterwards (process
    supervision as GRPO describes it), turns zeros into credit again: a step that `clip` pays nothing for gets the
    positive difference to the group's mean, so that filler is rewarded once more. To try that order, compose it by
    hand from `refine`, `rewardlab.transforms.standardised` and `reward_to_go`.

    Args:
        step_rewards: Scores of a process reward model in [0, 1], padded, (samples, steps).
        mask: True where there is a step, the steps first; None where all are steps.
        outcomes: What the whole solution earned, such as 1 where the answer is right, (samples,), finite.
        mode: How scores become rewards; see `refine`.
        weight: How much the refined rewards count beside an outcome of 1, at least 0; 0.02 to 0.3 in our studies.
        threshold: Of the clip modes; see `refine`.
        last_step: Of the difference modes; see `refine`.
        temperature: Of `min_form`; see `refine`.
        group_ids: One id a sample: the samples of one prompt share theirs. None where all are of one prompt.
        baseline: What is subtracted. `same_step`: the mean return at the same place over the group's solutions that
            are this long, so the last steps of the group's longest solution have advantage 0. `group`: the mean
            return over all steps of the group, which long solutions dominate.
        standardise: Whether to divide by the standard deviation of the group's returns around that baseline
            (population) plus `epsilon`. Once nearly all solutions are right that is small, and a small weight acts
            like a large one: `delta` pads much more (in our studies), `clip_delta` still does not.
        epsilon: Added to the standard deviation, in units of return.

    Returns:
        Refined rewards, returns and advantages, of the float dtype of `step_rewards`. Where nothing can be compared
        (a group of one, equal returns) the advantage is exactly 0.

    Raises:
        TypeError: If `outcomes` is of another library than `step_rewards`, or see `refine`.
        ValueError: If an outcome is not finite, the weight negative, a return beyond the range of its dtype, shapes
            disagree, or see `refine`.

    Source: The refinement is arXiv 2410.15115's; the order is ours, against process supervision in DeepSeekMath
        (arXiv 2402.03300, section 4.1.3), which normalises first.

    Example:
        >>> import numpy as np
        >>> scores = np.array([[0.8, 0.9, 0.9], [0.8, 0.1, 0.1]])
        >>> step_advantages(scores, None, np.array([1.0, 0.0]), "clip_delta", weight=0.5, threshold=0.7).advantages
        array([[ 0.5 ,  0.65,  0.5 ],
               [-0.5 , -0.65, -0.5 ]])
    """
    check_scalar("weight", weight, low=0.0)
    check_scalar("epsilon", epsilon, low=0.0)
    check_choice("baseline", baseline, get_args(Baseline))
    refined = refine(step_rewards, mask, mode, threshold=threshold, last_step=last_step, temperature=temperature)
    if refined.ndim != 2:
        raise ValueError(f"step_rewards has shape {tuple(refined.shape)}, expected (samples, steps)")
    xp = array_namespace(refined)
    outcomes = _checked_outcomes(outcomes, refined)
    mask = xp.ones_like(refined, dtype=xp.bool) if mask is None else mask
    with np.errstate(over="ignore", invalid="ignore"):
        returns = weight * reward_to_go(as_float64(refined), mask) + outcomes[:, None]
        returns = xp.where(mask, returns, xp.zeros_like(returns))
        advantages = returns
        if refined.shape[0] and refined.shape[1]:
            ids = [0] * refined.shape[0] if group_ids is None else group_ids
            advantages = _centred(returns, mask, ids, baseline, standardise, epsilon)
        returns, advantages = (xp.astype(part, refined.dtype, copy=False) for part in (returns, advantages))
    if not (all_finite(returns) and all_finite(advantages)):
        raise ValueError(f"returns are beyond the range of {refined.dtype}, expected smaller outcomes or weight")
    return StepAdvantages(refined, returns, advantages)


def _summed_back(rewards: Array, discount: float) -> Array:
    """Discounted sums from each place on; padding, which comes last and holds zeros, keeps them."""
    xp = array_namespace(rewards)
    if rewards.dtype.itemsize < 4:  # in float16 a sum of 2048 stays what it is, whatever is below 1 and added
        return xp.astype(_summed_back(xp.astype(rewards, xp.float32), discount), rewards.dtype)
    if discount == 1:
        if isinstance(rewards, np.ndarray):
            return _cumulated_back(rewards)
        return xp.flip(xp.cumulative_sum(xp.flip(rewards, axis=-1), axis=-1), axis=-1)
    reach = 1  # by doubling: sums over 2, 4, 8, ... steps, in vector operations rather than a loop over steps
    while reach < rewards.shape[-1]:
        later = rewards[..., :-reach] + discount**reach * rewards[..., reach:]
        rewards = xp.concat([later, rewards[..., -reach:]], axis=-1)
        reach *= 2
    return rewards


def _cumulated_back(rewards: np.ndarray) -> np.ndarray:
    """Sums from each place on, by parts: a running sum waits for every addition, a product of matrices does not."""
    rows, steps = rewards.shape
    parts = -(-steps // PART)
    if parts * PART > steps:
        rewards = np.concatenate([rewards, np.zeros((rows, parts * PART - steps), rewards.dtype)], axis=1)
    sums = (rewards.reshape(-1, PART) @ np.tri(PART, dtype=rewards.dtype)).reshape(rows, parts, PART)
    whole = np.cumsum(sums[:, ::-1, 0], axis=1)[:, ::-1]
    sums[:, :-1] += whole[:, 1:, None]
    return sums.reshape(rows, -1)[:, :steps]


def _checked_outcomes(outcomes: Array, refined: Array) -> Array:
    xp = array_namespace(refined)
    if array_namespace(check_array("outcomes", outcomes)) is not xp:
        kinds = f"outcomes is a {type(outcomes).__name__} but step_rewards a {type(refined).__name__}"
        raise TypeError(f"{kinds}; use one library")
    if tuple(outcomes.shape) != (refined.shape[0],):
        raise ValueError(f"outcomes has shape {tuple(outcomes.shape)}, expected one a sample: ({refined.shape[0]},)")
    return check_finite("outcomes", as_float64(outcomes))


def _centred(returns: Array, mask: Array, group_ids, baseline: Baseline, standardise: bool, epsilon: float) -> Array:
    """Returns less their baseline, and divided by the spread around it; both over the steps of the group."""
    xp = array_namespace(returns)
    by_place = xp.permute_dims(returns, (1, 0))  # (steps, samples): the last axis is the one that has groups
    groups = Groups.from_ids(group_ids, like=by_place)
    if baseline == "same_step":
        deviation = xp.permute_dims(groups.deviation(by_place, xp.permute_dims(mask, (1, 0)), correction=0)[0], (1, 0))
    else:
        flat, present = (xp.reshape(part, (-1,)) for part in (returns, mask))
        whole = Groups.from_ids(xp.repeat(groups.index, returns.shape[1]), like=flat)
        deviation = xp.reshape(whole.deviation(flat, present, correction=0)[0], returns.shape)
    if not standardise:
        return deviation
    steps = groups.sum(xp.sum(xp.astype(mask, returns.dtype), axis=-1))
    variance = groups.sum(xp.sum(deviation * deviation, axis=-1)) / xp.maximum(steps, xp.ones_like(steps))
    return deviation / (groups.spread(xp.sqrt(variance)) + epsilon)[:, None]
