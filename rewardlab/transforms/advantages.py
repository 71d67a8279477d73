"""How much better than its group is each sample? Advantages from rewards, as trainers of language models take them.

Every function takes a flat batch (samples,) with `group_ids`, or (prompts, samples) whose rows are the groups,
computes in float64 and hands back the dtype it was given. An absent sample (NaN, or False in `present`) has advantage
0 and no part in its group's statistics. A group with one present sample, or whose spread is rounding, has advantages
of exactly 0: it compares nothing. (Some trainers hand a group of one its raw reward instead.)
"""

from collections.abc import Sequence

from jaxtyping import Bool, Float

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_choice, check_scalar
from rewardlab.transforms.combination import component_weights
from rewardlab.transforms.groups import Groups, restored, ungrouped

__all__ = [
    "batch_standardised",
    "leave_one_out",
    "mean_centred",
    "normalise_then_sum",
    "standardised",
    "token_advantages",
]

Ids = Sequence | Array | Groups | None


def mean_centred(
    rewards: Float[Array, "*shape"], group_ids: Ids = None, present: Bool[Array, "*shape"] | None = None
) -> Float[Array, "*shape"]:
    """Reward less the group's mean: keeps the scale, so a group that is already good pushes little.

    Args:
        rewards: (samples,) with `group_ids`, or (prompts, samples).
        group_ids: One id a sample; None where each row is a group.
        present: Which samples count; by default all that are not NaN.

    Returns:
        Advantages that sum to 0 in every group, 0 for absent samples.

    Raises:
        ValueError: If a present reward is not finite, or shapes disagree.

    Source: Dr. GRPO (arXiv 2503.20783); HARMO (arXiv 2510.05283).

    Example:
        >>> import numpy as np
        >>> mean_centred(np.array([1.0, 0.0, 0.0, 1.0]), [7, 7, 7, 7])
        array([ 0.5, -0.5, -0.5,  0.5])
    """
    deviation, _, _, _ = _group_deviation(rewards, group_ids, present, correction=0)
    return restored(deviation, rewards)


def standardised(
    rewards: Float[Array, "*shape"],
    group_ids: Ids = None,
    present: Bool[Array, "*shape"] | None = None,
    *,
    correction: int = 1,
    epsilon: float = 1e-4,
) -> Float[Array, "*shape"]:
    """Reward less the group's mean, over the group's standard deviation (GRPO).

    Every group pushes alike, whatever it has to say: differences between samples that are all good enough are blown
    up to the size of any other. Do not put it behind a log-sigmoid.

    Args:
        rewards: (samples,) with `group_ids`, or (prompts, samples).
        group_ids: One id a sample; None where each row is a group.
        present: Which samples count; by default all that are not NaN.
        correction: 1 for the sample standard deviation (TRL, verl, OpenRLHF), 0 for the population's.
        epsilon: Added to the standard deviation; 1e-4 in TRL, 1e-6 in verl, 1e-9 in OpenRLHF.

    Returns:
        Advantages that sum to 0 in every group, of size at most (G-1)/sqrt(G) in a group of G with correction 1.

    Raises:
        ValueError: If a present reward is not finite, or shapes disagree.

    Source: GRPO (arXiv 2402.03300), with the conventions of the trainers' code.

    Example:
        >>> import numpy as np
        >>> standardised(np.array([1.0, 0.0, 0.0, 1.0]), [7, 7, 7, 7]).round(5)
        array([ 0.86588, -0.86588, -0.86588,  0.86588])
    """
    _check_convention(correction, epsilon)
    deviation, spread, groups, _ = _group_deviation(rewards, group_ids, present, correction=correction)
    return restored(_divided(deviation, groups.spread(spread), epsilon), rewards)


def leave_one_out(
    rewards: Float[Array, "*shape"], group_ids: Ids = None, present: Bool[Array, "*shape"] | None = None
) -> Float[Array, "*shape"]:
    """Reward less the mean of the group's other samples (RLOO): unbiased, and G/(G-1) times `mean_centred`.

    Args:
        rewards: (samples,) with `group_ids`, or (prompts, samples).
        group_ids: One id a sample; None where each row is a group.
        present: Which samples count; by default all that are not NaN.

    Returns:
        Advantages that sum to 0 in every group, 0 for absent samples.

    Raises:
        ValueError: If a present reward is not finite, or shapes disagree.

    Source: Ahmadian et al. 2024 (arXiv 2402.14740).

    Example:
        >>> import numpy as np
        >>> leave_one_out(np.array([[1.0, 0.0, 0.0, 1.0]])).round(5)
        array([[ 0.66667, -0.66667, -0.66667,  0.66667]])
    """
    deviation, _, groups, present = _group_deviation(rewards, group_ids, present, correction=0)
    xp = array_namespace(deviation)
    number = groups.sum(xp.astype(present, xp.float64))
    factor = number / xp.maximum(number - 1, xp.ones_like(number))  # a group of one has deviation 0
    return restored(deviation * groups.spread(factor), rewards)


def batch_standardised(
    rewards: Float[Array, "*shape"],
    group_ids: Ids = None,
    present: Bool[Array, "*shape"] | None = None,
    *,
    correction: int = 1,
    epsilon: float = 1e-4,
) -> Float[Array, "*shape"]:
    """Reward less the group's mean, over the standard deviation of the whole batch of rewards.

    Keeps the proportions between groups, and takes the unit out of the reward.

    Args:
        rewards: (samples,) with `group_ids`, or (prompts, samples).
        group_ids: One id a sample; None where each row is a group.
        present: Which samples count; by default all that are not NaN.
        correction: 1 for the sample standard deviation, 0 for the population's.
        epsilon: Added to the standard deviation.

    Returns:
        Advantages that sum to 0 in every group.

    Raises:
        ValueError: If a present reward is not finite, or shapes disagree.

    Source: Lite PPO (arXiv 2508.08221); `scale_rewards="batch"` in TRL.

    Example:
        >>> import numpy as np
        >>> batch_standardised(np.array([[0.0, 2.0], [5.0, 5.0]]), epsilon=0.0).round(4)
        array([[-0.4082,  0.4082],
               [ 0.    ,  0.    ]])
    """
    _check_convention(correction, epsilon)
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    deviation, _ = groups.deviation(values, present, correction=correction)
    _, spread, whole = _batch_deviation(values, present, correction)
    return restored(_divided(deviation, whole.spread(spread), epsilon), rewards)


def normalise_then_sum(
    signals: Float[Array, "signals *shape"],
    group_ids: Ids = None,
    weights: Sequence[float] | Float[Array, " signals"] | None = None,
    present: Bool[Array, "signals *shape"] | None = None,
    *,
    correction: int = 1,
    epsilon: float = 1e-4,
) -> Float[Array, "*shape"]:
    """Standardise each signal in its group, add them by weight, standardise the sum over the batch (GDPO).

    A sum of raw signals loses which one earned it: pairs of rewards (0, 1) and (0, 2) give the same standardised
    advantages, and a signal of large scale drowns the others. Here each signal counts by its weight alone.

    Args:
        signals: (signals, samples) with `group_ids`, or (signals, prompts, samples).
        group_ids: One id a sample; None where each row is a group.
        weights: One a signal, finite; 1 each by default.
        present: Which entries count; by default all that are not NaN. An absent entry adds nothing to its sample's
            sum; a sample without any signal has advantage 0 and no part in the batch's statistics.
        correction: 1 for the sample standard deviation, 0 for the population's.
        epsilon: Added to each standard deviation.

    Returns:
        Advantages of the shape of one signal.

    Raises:
        ValueError: If a present entry is not finite, or shapes disagree.

    Source: GDPO (arXiv 2601.05242) and TRL's `normalize_then_sum`, whose batch step weights samples alike (verl's
        weights tokens).

    Example:
        >>> import numpy as np
        >>> signals = np.array([[0.0, 1.0, 0.0, 1.0], [0.0, 0.0, 0.0, 1.0]])  # the second pair earns both
        >>> normalise_then_sum(signals, [0, 0, 1, 1]).round(3)
        array([-0.548,  0.548, -1.095,  1.095])
    """
    _check_convention(correction, epsilon)
    check_array("signals", signals)
    if signals.ndim < 2 or not signals.shape[0]:
        raise ValueError(f"signals have shape {tuple(signals.shape)}, expected (signals, samples)")
    shares = component_weights(weights, as_float64(signals))
    total, any_present, groups = 0.0, None, None
    for number in range(signals.shape[0]):
        here = None if present is None else present[number]
        values, groups, here = ungrouped(f"signals[{number}]", signals[number], group_ids, here)
        deviation, spread = groups.deviation(values, here, correction=correction)
        total = total + shares[number] * _divided(deviation, groups.spread(spread), epsilon)
        any_present = here if any_present is None else any_present | here
    deviation, spread, whole = _batch_deviation(total, any_present, correction)
    result = _divided(deviation, whole.spread(spread), epsilon)
    return restored(result, signals[0])


def token_advantages(
    advantages: Float[Array, " samples"], mask: Bool[Array, "samples tokens"]
) -> Float[Array, "samples tokens"]:
    """Give each token of a sample the sample's advantage, and what is no token 0.

    Args:
        advantages: One a sample.
        mask: Which tokens are the sample's own (not padding, prompt or tool output).

    Returns:
        Advantages of the tokens, of the dtype of `advantages`.

    Raises:
        ValueError: If the mask has another number of samples.

    Example:
        >>> import numpy as np
        >>> token_advantages(np.array([1.0, -2.0]), np.array([[True, True], [True, False]]))
        array([[ 1.,  1.],
               [-2.,  0.]])
    """
    if mask.ndim != 2 or mask.shape[0] != advantages.shape[0]:
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected ({advantages.shape[0]}, tokens)")
    xp = array_namespace(advantages)
    return xp.where(xp.astype(mask, xp.bool, copy=False), advantages[:, None], xp.zeros_like(advantages[:, None]))


def _group_deviation(rewards: Array, group_ids: Ids, present: Array | None, *, correction: int):
    values, groups, present = ungrouped("rewards", rewards, group_ids, present)
    return *groups.deviation(values, present, correction=correction), groups, present


def _batch_deviation(values: Array, present: Array, correction: int) -> tuple[Array, Array, Groups]:
    whole = Groups.of_rows((1, values.shape[-1]), like=values)
    return *whole.deviation(values, present, correction=correction), whole


def _divided(deviation: Array, spread: Array, epsilon: float) -> Array:
    """`deviation / (spread + epsilon)`, where a spread of 0 means that there is nothing to compare."""
    xp = array_namespace(deviation)
    compares = spread > 0
    return xp.where(compares, deviation / xp.where(compares, spread + epsilon, xp.ones_like(spread)), 0 * deviation)


def _check_convention(correction: int, epsilon: float) -> None:
    check_choice("correction", correction, (0, 1))
    check_scalar("epsilon", epsilon, low=0.0)
