"""When is a response good enough? The reference reward that a prompt's rewards are centred at."""

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtri

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_distribution, check_finite, check_same_shape, check_scalar
from rewardlab.transforms.groups import Groups, in_dtype_of

__all__ = ["gaussian_quantile_reference", "mean_reference", "quantile_reference"]


def quantile_reference(
    rewards: Float[Array, "*batch samples"],
    level: float = 0.85,
    *,
    log_probs: Float[Array, "*batch samples"] | None = None,
) -> Float[Array, "*batch 1"]:
    """Reward that a share `level` of the base policy's responses to the prompt do not exceed.

    Args:
        rewards: Rewards of samples of the base policy, from the reward model that will be centred.
        level: From 0 (the smallest) to 1 (the largest). 0.85 cannot be told from the largest with fewer than 7 samples.
        log_probs: Natural logarithms of the samples' probabilities, where `rewards` lists a finite set of responses;
            None for equally likely samples.

    Returns:
        The ceil(level x samples)-th smallest reward of each prompt, or with `log_probs` the smallest reward at which
        the cumulative probability reaches `level`; a last axis of 1 to broadcast against `rewards`.

    Raises:
        ValueError: If there is no sample, a number is NaN, `level` is outside [0, 1], or the probabilities of a prompt
            do not sum to 1 within 1e-6.

    Source: Wang et al. 2024 (arXiv 2402.00742); 0.85 is also hard-coded in the public code of PAR (arXiv 2502.18770).

    Example:
        >>> import numpy as np
        >>> quantile_reference(np.arange(20.0))
        array([16.])
    """
    xp = array_namespace(rewards)
    check_scalar("level", level, low=0.0, high=1.0)
    _check_samples(rewards, 1)
    if log_probs is None:
        rank = max(int(np.ceil(level * rewards.shape[-1] - 1e-9)), 1)  # .85 * 20 is 17, whatever rounding says
        return xp.sort(rewards, axis=-1)[..., rank - 1 : rank]
    check_same_shape("log_probs", log_probs, "rewards", rewards)
    order = xp.argsort(rewards, axis=-1, stable=True)
    ascending = xp.take_along_axis(rewards, order, axis=-1)
    probs = check_distribution("exp(log_probs)", xp.exp(as_float64(log_probs)), over="responses")
    reached = xp.cumulative_sum(xp.take_along_axis(probs, order, axis=-1), axis=-1)
    reached = reached / reached[..., -1:]
    below = xp.sum(xp.astype(reached < level - 1e-9, xp.int64), axis=-1, keepdims=True)
    return xp.take_along_axis(ascending, xp.clip(below, None, rewards.shape[-1] - 1), axis=-1)


def gaussian_quantile_reference(
    rewards: Float[Array, "*batch samples"], level: float = 0.85
) -> Float[Array, "*batch 1"]:
    """The quantile of a normal law with the samples' mean and standard deviation: usable with few samples.

    Biased where rewards are skewed.

    Args:
        rewards: At least two samples of the base policy a prompt.
        level: Between 0 and 1, exclusive.

    Returns:
        mean + z(level) x (standard deviation + 1e-5), with ddof 1; z(0.85) = 1.036433.

    Raises:
        ValueError: If there are fewer than two samples, a number is NaN, or `level` is outside (0, 1).

    Source: public code of PAR (arXiv 2502.18770).

    Example:
        >>> import numpy as np
        >>> gaussian_quantile_reference(np.array([0.0, 1.0, 2.0])).round(4)
        array([2.0364])
    """
    xp = array_namespace(rewards)
    if not 0 < check_scalar("level", level, low=0.0, high=1.0) < 1:
        raise ValueError(f"level is {level}, expected a number between 0 and 1: a normal law has no largest value")
    _check_samples(rewards, 2)
    values = as_float64(rewards)
    mean, deviation = xp.mean(values, axis=-1, keepdims=True), xp.std(values, axis=-1, correction=1, keepdims=True)
    return in_dtype_of(mean + float(ndtri(level)) * (deviation + 1e-5), rewards)


def gaussian_quantile_of_groups(
    groups: Groups, rewards: Float[Array, " samples"], present: Bool[Array, " samples"], level: float
) -> Float[Array, " groups"]:
    """`gaussian_quantile_reference` of each group's present samples; a group of one has standard deviation 0."""
    _, deviation = groups.deviation(rewards, present, correction=1)
    return groups.mean(rewards, present) + float(ndtri(level)) * (deviation + 1e-5)


def mean_reference(rewards: Float[Array, "*batch samples"]) -> Float[Array, "*batch 1"]:
    """The mean reward of the samples of each prompt.

    Args:
        rewards: Samples of the base policy.

    Raises:
        ValueError: If there is no sample or a number is NaN.

    Example:
        >>> import numpy as np
        >>> mean_reference(np.array([[0.0, 2.0], [5.0, 5.0]]))
        array([[1.],
               [5.]])
    """
    _check_samples(rewards, 1)
    xp = array_namespace(rewards)
    return in_dtype_of(xp.mean(as_float64(rewards), axis=-1, keepdims=True), rewards)


def _check_samples(rewards: Array, least: int) -> None:
    if not rewards.ndim or rewards.shape[-1] < least:
        number = rewards.shape[-1] if rewards.ndim else 0
        raise ValueError(f"rewards hold {number} samples a prompt, expected at least {least}")
    check_finite("rewards", rewards)
