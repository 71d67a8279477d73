"""How hard to train on a preference pair, by the margin an outside reward model gives it: MM-DPO's dynamic beta."""

from collections.abc import Sequence

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64, is_torch
from rewardlab.checks import check_array, check_broadcast, check_finite, check_scalar
from rewardlab.transforms.groups import Groups

__all__ = ["all_pairs_accuracy", "dpo_loss", "dynamic_beta", "margin_accuracy"]

LARGEST_EXPONENT = 700.0  # exp(700) is the last round power of e that float64 holds

Margin = Float[Array, "*#pairs"]


def dynamic_beta(
    margin: Float[Array, "*pairs"],
    *,
    base: float = 0.1,
    gain: float = 0.5,
    sensitivity: float = 0.5,
    clamp: bool = True,
) -> Float[Array, "*pairs"]:
    """DPO's beta for each pair, larger where a frozen reward model is surer of the label.

    beta = base * (1 + gain * (1 - exp(-sensitivity * margin))). It is not a weight of the loss: in DPO beta also sets
    how far a pair is driven, so a pair with a larger beta moves faster at first but comes to rest closer to the
    reference, at log-ratio logit(p) / beta for a label that is right with probability p. `dynamic_beta(margin, base=1)`
    is the same curve as a weight, for `dpo_loss(..., weight=...)`.

    Args:
        margin: Reward of the chosen response minus that of the rejected one, from a reward model that is not being
            trained, any shape. Below 0 where the reward model contradicts the label.
        base: Beta of a pair without a margin, above 0.
        gain: How much larger beta may become, relative to `base`, at least 0; 0 is plain DPO.
        sensitivity: How soon, in 1 / (units of the margin), at least 0: 90% of the range is reached at a margin of
            2.3 / sensitivity. Rescaling the reward model asks for the inverse rescaling here, so set it relative to the
            model's own margins, as in 1 / median(abs(margin)); the default is the paper's, for the paper's model.
        clamp: Keep beta in [base, (1 + gain) * base], as the paper does; only margins below 0 feel it. They still train
            at full strength on a pair that the reward model thinks mislabelled. Without it beta falls below 0 (and DPO
            then trains backwards) under a margin of -log(1 + 1 / gain) / sensitivity.

    Returns:
        Beta, shape and dtype of `margin`; for torch detached, so that no gradient reaches the reward model. Far below 0
        without the clamp it stops at the most negative number of the dtype.

    Raises:
        TypeError, ValueError: If the margin holds NaN or infinity, or a number is out of its range.

    Source: Zhang et al. 2025 (MM-RLHF, arXiv 2502.10391), section on MM-DPO; base .1 and gain = sensitivity = .5 as
    there. The released code computes something else, a beta of the whole batch from the policy's own log-ratios,
    which the paper's ablation advises against; this is the paper's formula.

    Example:
        >>> import numpy as np
        >>> dynamic_beta(np.array([-1.0, 0.0, 2.0, 800.0])).round(4)
        array([0.1   , 0.1   , 0.1316, 0.15  ])
    """
    xp = array_namespace(check_array("margin", margin))
    check_scalar("base", base, low=0, open_low=True)
    check_scalar("gain", gain, low=0)
    check_scalar("sensitivity", sensitivity, low=0)
    dtype = margin.dtype if xp.isdtype(margin.dtype, "real floating") else xp.float64
    exponent = -sensitivity * as_float64(check_finite("margin", _constant(margin)))
    exponent = xp.clip(exponent, None, 0.0 if clamp else LARGEST_EXPONENT)
    beta = base * (1 - gain * xp.expm1(exponent))
    limits = xp.finfo(dtype)
    return xp.astype(xp.clip(beta, float(limits.min), float(limits.max)), dtype)


def dpo_loss(
    log_ratio_margin: Float[Array, "*#pairs"], beta: Margin | float, *, weight: Margin | float | None = None
) -> Float[Array, "*pairs"]:
    """DPO's loss of each pair, -log sigmoid(beta * log-ratio margin), finite for any finite input.

    Args:
        log_ratio_margin: log(policy / reference) of the chosen response minus that of the rejected one, in nats.
        beta: Temperature, above 0: one number, or one a pair as from `dynamic_beta`.
        weight: Weight of each pair's loss, at least 0; 1 by default. Unlike a larger beta it leaves the pair's optimum
            where it is: `weight=dynamic_beta(margin, base=1.0)` is the control for a dynamic beta.

    Returns:
        Loss in nats, at least 0, of the broadcast shape. The gradient flows through the log-ratio only: `beta` and
        `weight` are detached, since a policy that may lower its loss by changing them would.

    Raises:
        TypeError, ValueError: If an input is NaN or infinite, beta is not above 0 or a weight is negative.

    Source: Rafailov et al. 2023 (arXiv 2305.18290), equation 7; per-pair beta as in arXiv 2502.10391. The weighted form
    is not in that paper.

    Example:
        >>> import numpy as np
        >>> dpo_loss(np.array([-800.0, 0.0, 800.0]), np.array([1.0, 0.1, 1.0])).round(4)
        array([8.000e+02, 6.931e-01, 0.000e+00])
    """
    xp = array_namespace(check_array("log_ratio_margin", log_ratio_margin))
    beta = _factor("beta", beta, like=log_ratio_margin, positive=True)
    weight = 1.0 if weight is None else _factor("weight", weight, like=log_ratio_margin, positive=False)
    shapes = {"log_ratio_margin": log_ratio_margin, "beta": beta, "weight": weight}
    check_broadcast(**{name: tuple(getattr(value, "shape", ())) for name, value in shapes.items()})
    check_finite("log_ratio_margin", _constant(log_ratio_margin))
    scaled = beta * log_ratio_margin
    return weight * xp.logaddexp(xp.zeros_like(scaled), -scaled)


def margin_accuracy(margin: Float[Array, "*pairs"]) -> Float[Array, ""]:
    """Share of pairs in the right order (ACC), those with a margin above 0; a tie is not right.

    Args:
        margin: Score of the better response minus that of the worse one, any shape; NaN where there is no pair.

    Raises:
        ValueError: If there is no pair, or a margin is infinite.
    """
    right, there = _right(margin)
    xp = array_namespace(margin)
    return xp.sum(xp.astype(right, xp.float64)) / xp.sum(xp.astype(there, xp.float64))


def all_pairs_accuracy(margin: Float[Array, "*shape"], group_ids: Sequence | Array | None = None) -> Float[Array, ""]:
    """Share of samples whose pairs are all in the right order (ACC+), the stricter score of the same paper.

    Args:
        margin: Score of the better response minus that of the worse one: (samples, pairs), NaN where a sample has fewer
            pairs; or (pairs,) with `group_ids`.
        group_ids: The sample each pair belongs to.

    Returns:
        A share in [0, 1], at most `margin_accuracy` where every sample has as many pairs. Samples without pairs are
        left out.

    Raises:
        ValueError: If there is no pair, a margin is infinite, or shapes disagree.

    Example:
        >>> import numpy as np
        >>> margin = np.array([[1.0, 2.0], [1.0, -1.0]])
        >>> float(margin_accuracy(margin)), float(all_pairs_accuracy(margin))
        (0.75, 0.5)
    """
    right, there = _right(margin)
    xp = array_namespace(margin)
    if group_ids is None:
        if margin.ndim != 2:
            raise ValueError(f"margin has shape {tuple(margin.shape)}, expected (samples, pairs), or group_ids with it")
        groups = Groups.of_rows(tuple(margin.shape), like=margin)
    else:
        groups = Groups.from_ids(group_ids, like=margin)
    number, wrong = (groups.sum(xp.astype(xp.reshape(part, (-1,)), xp.float64)) for part in (there, there & ~right))
    return xp.sum(xp.astype((number > 0) & (wrong == 0), xp.float64)) / xp.sum(xp.astype(number > 0, xp.float64))


def _right(margin: Array) -> tuple[Array, Array]:
    """Which pairs are in the right order, and which are there at all."""
    xp = array_namespace(check_array("margin", margin))
    there = ~xp.isnan(margin)
    check_finite("margin", xp.where(there, margin, xp.zeros_like(margin)))
    if not bool(xp.any(there)):
        raise ValueError(f"margin of shape {tuple(margin.shape)} holds no pair, expected at least one")
    return there & (margin > 0), there


def _factor(name: str, value: Array | float, *, like: Array, positive: bool) -> Array | float:
    """A number or an array that multiplies, of the dtype of `like`, detached, and checked for its sign."""
    if not hasattr(value, "shape") or not value.shape:
        return check_scalar(name, float(value) if hasattr(value, "shape") else value, low=0, open_low=positive)
    xp = array_namespace(like)
    if xp is not array_namespace(check_array(name, value)):
        raise TypeError(f"{name} is a {type(value).__name__} but log_ratio_margin a {type(like).__name__}")
    value = check_finite(name, _constant(value))
    wrong = value <= 0 if positive else value < 0
    if bool(xp.any(wrong)):
        least, bound = float(xp.min(value)), "above 0 (clamp it, or give it a floor)" if positive else "at least 0"
        raise ValueError(f"{name} goes down to {least:.6g}, expected numbers {bound}")
    return xp.astype(value, like.dtype, copy=False)


def _constant(value: Array) -> Array:
    return value.detach() if is_torch(value) else value
