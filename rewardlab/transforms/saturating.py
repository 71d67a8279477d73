"""Utilities that stop paying for what is already good: functions of a reward centred at a reference."""

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64, is_floating, is_torch
from rewardlab.checks import check_array, check_finite, check_scalar
from rewardlab.transforms.groups import in_dtype_of

BLOCK = 32_768  # numbers that stay in a core's cache from one step to the next: twice as fast at a million

__all__ = ["clip_at_reference", "concave_utility", "log_sigmoid", "preference_as_reward", "sigmoid"]


def log_sigmoid(rewards: Float[Array, "*shape"], reference: Float[Array, "..."] | float) -> Float[Array, "*shape"]:
    """Log-probability that each response beats the reference response.

    Pushes responses below the reference about as hard as the raw reward does, and stops pushing once they are clearly
    good, so that a sum of several cannot be bought with one property alone.

    Args:
        rewards: Bradley-Terry rewards in nats of log-odds, any shape.
        reference: Reward of a just-good-enough response for the same prompt from the same reward model, broadcastable
            to `rewards`; usually a high quantile under the base policy (`quantile_reference`).

    Returns:
        Utilities in (-inf, 0], of the shape and dtype of `rewards`; finite wherever the rewards are.

    Raises:
        ValueError: If a reward or the reference is NaN or infinite; mask missing rewards instead.

    Source: Wang et al. 2024 (arXiv 2402.00742), log-sigmoid centred transform. Public code writes log(sigmoid(z)),
        which is -inf from z = -746 down in float64; here it is exact on both sides.

    Example:
        >>> import numpy as np
        >>> log_sigmoid(np.array([-800.0, 1.0]), 1.0).round(3)
        array([-8.01e+02, -6.93e-01])
    """
    return log_sigmoid_of_margin(_margin(rewards, reference))


def sigmoid(rewards: Float[Array, "*shape"], reference: Float[Array, "..."] | float) -> Float[Array, "*shape"]:
    """Probability that each response beats the reference response.

    Bounded on both sides: its slope vanishes for very bad responses too, which it thereby gives up on.

    Args:
        rewards: Bradley-Terry rewards in nats of log-odds, any shape.
        reference: Reward of the reference response, broadcastable to `rewards`.

    Returns:
        Values in [0, 1], of the shape and dtype of `rewards`.

    Raises:
        ValueError: If a reward or the reference is NaN or infinite.

    Source: baseline of arXiv 2402.00742; with one reference sample it is PAR (arXiv 2502.18770).

    Example:
        >>> import numpy as np
        >>> sigmoid(np.array([-800.0, 0.0, 2.0]), 0.0).round(3)
        array([0.   , 0.5  , 0.881])
    """
    return sigmoid_of_margin(_margin(rewards, reference))


def preference_as_reward(
    rewards: Float[Array, "*batch samples"], reference_rewards: Float[Array, "*batch references"]
) -> Float[Array, "*batch samples"]:
    """Mean probability of beating each of several reference responses (PAR).

    Args:
        rewards: Rewards of the samples of each prompt.
        reference_rewards: Rewards of the prompt's reference responses, from the same reward model.

    Returns:
        Values in [0, 1], of the shape and dtype of `rewards`.

    Raises:
        ValueError: If there is no reference, or a number is NaN or infinite.

    Source: Fu et al. 2025 (arXiv 2502.18770) and its official code.

    Example:
        >>> import numpy as np
        >>> preference_as_reward(np.array([0.0, 3.0]), np.array([-1.0, 1.0])).round(3)
        array([0.5  , 0.931])
    """
    if not reference_rewards.ndim or reference_rewards.shape[-1] == 0:
        raise ValueError("reference_rewards holds no reference, expected at least one a prompt")
    difference = as_float64(rewards)[..., None] - as_float64(reference_rewards)[..., None, :]
    margins = check_finite("rewards - reference_rewards", difference)
    if tuple(margins.shape[:-1]) != tuple(rewards.shape):
        raise ValueError(
            f"reference_rewards of shape {tuple(reference_rewards.shape)} do not go with rewards of shape "
            f"{tuple(rewards.shape)}"
        )
    return in_dtype_of(array_namespace(margins).mean(sigmoid_of_margin(margins), axis=-1), rewards)


def clip_at_reference(
    rewards: Float[Array, "*shape"], reference: Float[Array, "..."] | float
) -> Float[Array, "*shape"]:
    """The reward, but no more than the reference: min(reward - reference, 0).

    Args:
        rewards: Rewards in any unit, any shape.
        reference: The reward from which a response is good enough, broadcastable to `rewards`.

    Returns:
        Values in (-inf, 0], of the shape and dtype of `rewards`. Centred, so that it compares with `log_sigmoid`,
        whose limit it is for rewards of large scale.

    Raises:
        ValueError: If a reward or the reference is NaN or infinite.

    Source: baseline of arXiv 2402.00742.

    Example:
        >>> import numpy as np
        >>> clip_at_reference(np.array([-1.0, 0.5, 4.0]), 1.0)
        array([-2. , -0.5,  0. ])
    """
    margin = _margin(rewards, reference)
    return array_namespace(margin).minimum(margin, array_namespace(margin).zeros_like(margin))


def concave_utility(
    rewards: Float[Array, "*shape"], reference: Float[Array, "..."] | float, *, risk_aversion: float
) -> Float[Array, "*shape"]:
    """Utility of constant relative risk aversion of the probability p of beating the reference: (p^(1-a) - 1) / (1-a).

    The dial between two rewards: a = 0 is `sigmoid` (less 1), a = 1 is `log_sigmoid`. Its slope p^(1-a) (1-p) at bad
    responses grows with a.

    Args:
        rewards: Bradley-Terry rewards in nats of log-odds, any shape.
        reference: Reward of the reference response, broadcastable to `rewards`.
        risk_aversion: a, from 0 to 1. Above 1 the penalty would grow exponentially with the reward's shortfall.

    Returns:
        Utilities in (-inf, 0], of the shape and dtype of `rewards`.

    Raises:
        ValueError: If `risk_aversion` is outside [0, 1], or a number is NaN or infinite.

    Source: ours, in the spirit of the utilities with Inada conditions of Maura-Rivero et al. 2025 (arXiv 2501.06248),
        whose own formula was not at hand.

    Example:
        >>> import numpy as np
        >>> concave_utility(np.array([-2.0, 0.0]), 0.0, risk_aversion=0.5).round(4)
        array([-1.3095, -0.5858])
    """
    check_scalar("risk_aversion", risk_aversion, low=0.0, high=1.0)
    log_probability = log_sigmoid(rewards, reference)
    if risk_aversion == 1:
        return log_probability
    return array_namespace(rewards).expm1((1 - risk_aversion) * log_probability) / (1 - risk_aversion)


def log_sigmoid_of_margin(margin: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`log_sigmoid` of what is centred already and known to be finite."""
    if is_torch(margin):
        from torch.nn.functional import logsigmoid

        return logsigmoid(margin)
    if margin.size <= BLOCK or not margin.flags.c_contiguous:
        return np.minimum(margin, 0) - np.log1p(np.exp(-np.abs(margin)))
    result, flat = np.empty_like(margin), margin.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        block, out = flat[start : start + BLOCK], result.reshape(-1)[start : start + BLOCK]
        np.negative(np.abs(block, out=out), out=out)
        np.log1p(np.exp(out, out=out), out=out)
        np.subtract(np.minimum(block, 0), out, out=out)
    return result


def _margin(rewards: Array, reference: Array | float) -> Array:
    """`rewards - reference` in the dtype of `rewards` (integers: float64); NaN and infinity in either are refused."""
    xp = array_namespace(rewards)
    if not is_floating(rewards):
        rewards = as_float64(check_array("rewards", rewards))
    try:
        margin = rewards - reference
    except (ValueError, RuntimeError):  # NumPy's and torch's, of shapes that do not broadcast
        margin = None
    if margin is None or tuple(margin.shape) != tuple(rewards.shape):
        raise ValueError(
            f"reference of shape {tuple(reference.shape)} does not broadcast to rewards of shape {tuple(rewards.shape)}"
        )
    if margin.dtype != rewards.dtype:  # of a reference in higher precision
        margin = xp.astype(margin, rewards.dtype)
    return check_finite("rewards - reference", margin)


def sigmoid_of_margin(margin: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """`sigmoid` of what is centred already and known to be finite."""
    if is_torch(margin):
        return margin.sigmoid()
    from scipy.special import expit

    return expit(margin).astype(margin.dtype, copy=False)  # it hands back float64 for float16
