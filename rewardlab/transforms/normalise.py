"""Rewards on a common scale within each prompt: z-score, min-max, rank, and rank among base-policy samples."""

from collections.abc import Sequence

from jaxtyping import Bool, Float

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_broadcast, check_choice, check_finite
from rewardlab.transforms.groups import Groups, restored, ungrouped

__all__ = ["min_max", "quantile_reward", "rank_reward", "z_score"]

Ids = Sequence | Array | Groups | None


def z_score(
    rewards: Float[Array, "*shape"],
    group_ids: Ids = None,
    present: Bool[Array, "*shape"] | None = None,
    *,
    correction: int = 0,
) -> Float[Array, "*shape"]:
    """Reward less its prompt's mean, in standard deviations of the prompt.

    Args:
        rewards: (samples,) with `group_ids`, or (prompts, samples).
        group_ids: The prompt of each sample; None where each row is a prompt.
        present: Which samples count; by default all that are not NaN.
        correction: 0 for the population standard deviation, 1 for the sample's.

    Returns:
        Scores of mean 0 and standard deviation 1 a prompt; exactly 0 where the prompt's rewards are constant, NaN for
        absent samples.

    Raises:
        ValueError: If a present reward is infinite, or shapes disagree.

    Example:
        >>> import numpy as np
        >>> z_score(np.array([[1.0, 3.0], [2.0, 2.0]]))
        array([[-1.,  1.],
               [ 0.,  0.]])
    """
    check_choice("correction", correction, (0, 1))
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    xp = array_namespace(values)
    deviation, spread = groups.deviation(values, present, correction=correction)
    unit = groups.spread(xp.where(spread > 0, spread, xp.ones_like(spread)))
    return _restored(deviation / unit, present, rewards)


def min_max(
    rewards: Float[Array, "*shape"], group_ids: Ids = None, present: Bool[Array, "*shape"] | None = None
) -> Float[Array, "*shape"]:
    """Where each reward lies between the smallest and the largest of its prompt.

    Args:
        rewards: (samples,) with `group_ids`, or (prompts, samples).
        group_ids: The prompt of each sample; None where each row is a prompt.
        present: Which samples count; by default all that are not NaN.

    Returns:
        Values in [0, 1]; one half where the prompt's rewards are constant but for rounding, NaN for absent samples.

    Raises:
        ValueError: If a present reward is infinite, or shapes disagree.

    Example:
        >>> import numpy as np
        >>> min_max(np.array([[1.0, 2.0, 5.0]]))
        array([[0.  , 0.25, 1.  ]])
    """
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    xp = array_namespace(values)
    low, high = (groups.order_statistic(values, present, level) for level in (0.0, 1.0))
    low, width = groups.spread(low), groups.spread(high - low)
    varies = groups.spread(groups.deviation(values, present, correction=0)[1]) > 0
    between = (values - low) / xp.where(varies, width, xp.ones_like(width))
    return _restored(xp.where(varies, between, xp.full_like(between, 0.5)), present, rewards)


def rank_reward(
    rewards: Float[Array, "*shape"], group_ids: Ids = None, present: Bool[Array, "*shape"] | None = None
) -> Float[Array, "*shape"]:
    """Chance of beating a random sample of the same prompt, itself included and a tie counting half: (rank - 1/2) / n.

    Args:
        rewards: (samples,) with `group_ids`, or (prompts, samples).
        group_ids: The prompt of each sample; None where each row is a prompt.
        present: Which samples count; by default all that are not NaN.

    Returns:
        Values in (0, 1) of mean one half a prompt; NaN for absent samples.

    Raises:
        ValueError: If a present reward is infinite, or shapes disagree.

    Example:
        >>> import numpy as np
        >>> rank_reward(np.array([[-3.0, 7.0, 7.0, 100.0]]))
        array([[0.125, 0.5  , 0.5  , 0.875]])
    """
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    xp = array_namespace(values)
    last = xp.where(present, values, xp.full_like(values, float("inf")))
    by_value = xp.argsort(last, stable=True)
    order = xp.take(by_value, xp.argsort(xp.take(groups.index, by_value), stable=True))
    ascending, group = xp.take(last, order), xp.take(groups.index, order)
    differs = (ascending[1:] != ascending[:-1]) | (group[1:] != group[:-1])
    run = xp.concat([xp.zeros_like(group[:1]), xp.cumulative_sum(xp.astype(differs, group.dtype))])
    start = xp.take(xp.cumulative_sum(groups.sizes) - groups.sizes, group)
    place = xp.astype(xp.cumulative_sum(xp.ones_like(group)) - start, values.dtype) - 0.5
    runs = Groups(run, int(run[-1]) + 1, run)  # the sizes of runs are not used
    mid = runs.spread(runs.mean(place, xp.ones_like(place, dtype=xp.bool)))
    number = groups.sum(xp.astype(present, values.dtype))
    in_place = xp.take(mid, xp.argsort(order))
    return _restored(in_place / groups.spread(xp.clip(number, 1, None)), present, rewards)


def quantile_reward(
    rewards: Float[Array, "*batch samples"], base_rewards: Float[Array, "*batch base"]
) -> Float[Array, "*batch samples"]:
    """Chance of beating a random sample of the base policy, a tie counting half: the base distribution's quantile.

    Args:
        rewards: Rewards of the samples of each prompt.
        base_rewards: Rewards of samples of the base policy for the same prompts, from the same reward model.

    Returns:
        Values in [0, 1], of the shape and dtype of `rewards`.

    Raises:
        ValueError: If there is no base sample, batches disagree, or a reward is not finite.

    Source: arXiv 2507.08068, whose quantile counts ties fully; half makes the mean over the base policy one half
        exactly.

    Example:
        >>> import numpy as np
        >>> quantile_reward(np.array([0.0, 2.0, 9.0]), np.array([1.0, 2.0, 3.0, 4.0]))
        array([0.   , 0.375, 1.   ])
    """
    xp = array_namespace(check_array("rewards", rewards))
    check_array("base_rewards", base_rewards)
    if not base_rewards.ndim or base_rewards.shape[-1] == 0:
        raise ValueError("base_rewards holds no sample of the base policy, expected at least one a prompt")
    batch = check_broadcast(rewards=tuple(rewards.shape[:-1]), base_rewards=tuple(base_rewards.shape[:-1]))
    values = xp.broadcast_to(as_float64(check_finite("rewards", rewards)), (*batch, rewards.shape[-1]))
    base = xp.broadcast_to(as_float64(check_finite("base_rewards", base_rewards)), (*batch, base_rewards.shape[-1]))
    below = _number_before(values, base, ties=False)
    not_above = _number_before(values, base, ties=True)
    if tuple(values.shape) != tuple(rewards.shape):
        raise ValueError(f"base_rewards has batch {tuple(base.shape[:-1])}, rewards {tuple(rewards.shape[:-1])}")
    return restored((below + not_above) / (2 * base.shape[-1]), rewards)


def _number_before(values: Array, base: Array, *, ties: bool) -> Array:
    """How many entries of `base` lie below each value, ties counted or not, along the last axis, by one sort."""
    xp = array_namespace(values)
    parts = (base, values) if ties else (values, base)  # a stable sort leaves equals in this order
    merged = xp.concat(parts, axis=-1)
    order = xp.argsort(merged, axis=-1, stable=True)
    first = base.shape[-1] if ties else 0
    is_base = order < base.shape[-1] if ties else order >= values.shape[-1]
    before = xp.cumulative_sum(xp.astype(is_base, xp.float64), axis=-1)
    in_place = xp.take_along_axis(before, xp.argsort(order, axis=-1), axis=-1)
    return in_place[..., first : first + values.shape[-1]]


def _restored(values: Array, present: Array, rewards: Array) -> Array:
    xp = array_namespace(rewards)
    return restored(xp.where(present, values, xp.full_like(values, float("nan"))), rewards)
