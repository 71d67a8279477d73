"""One reward from several reward models: what the members agree on, and how much a disagreement should cost.

Members are stacked on the first axis and must share a scale: a Bradley-Terry reward is known only up to a constant for
each prompt, and minimum, median and spread over members mean nothing until `centre_members` has pinned it down.
Aggregates are computed in float64 and returned in the members' dtype; integer scores give float64. The plain mean and
median of members are `weighted_mean` and `median`.
"""

import numpy as np
from jaxtyping import Float, Real

from rewardlab.arrays import Array, array_namespace, as_float64, to_numpy
from rewardlab.checks import check_array, check_scalar

__all__ = ["centre_members", "mean_minus_std", "uncertainty_weighted", "worst_case"]

Members = Real[Array, "members *shape"]


def centre_members(
    members: Real[Array, "members *batch samples"], base_rewards: Real[Array, "members *batch base"] | None = None
) -> Float[Array, "members *batch samples"]:
    """Take from every member its own mean reward for the prompt, so that members can be compared.

    After it a score says how much better a response is than what the base policy writes for the same prompt, by that
    member's account. Scales are left alone: give each member one temperature first where they differ.

    Args:
        members: Scores of k members, `(k, *batch, samples)`; the samples of a row answer the same prompt.
        base_rewards: Scores that the same members give to responses of the base policy, `(k, *batch, base)`; the
            samples themselves by default, which is right where the base policy wrote them.

    Returns:
        Centred scores, shape of `members`.

    Raises:
        TypeError: If an argument is not an array of real numbers, or the two are of different libraries.
        ValueError: If a score is not finite (names the member), or there is no base reward for each row.

    Source: Eisenstein et al. 2023 (arXiv 2312.09244) pin the constant during training, by a penalty on the sum of the
    rewards of a pair; done afterwards, as here, it costs no ranking accuracy and needs no coefficient.

    Example:
        >>> import numpy as np
        >>> scores = np.array([[[1.0, 2.0, 3.0]], [[11.0, 14.0, 11.0]]])  # member 1 has an offset of its own
        >>> centre_members(scores)[:, 0]
        array([[-1.,  0.,  1.],
               [-1.,  2., -1.]])
    """
    scores = _checked("members", members, axes=2)
    base = scores
    if base_rewards is not None:
        base = _checked("base_rewards", base_rewards, axes=2)
        if array_namespace(members) is not array_namespace(base_rewards):
            raise TypeError(
                f"base_rewards is a {type(base_rewards).__name__} but members is a {type(members).__name__}; "
                f"use one library"
            )
    if tuple(base.shape[:-1]) != tuple(scores.shape[:-1]) or base.shape[-1] == 0:
        raise ValueError(
            f"base_rewards has shape {tuple(base.shape)}, expected {(*scores.shape[:-1], 'base')} with at least one "
            f"base response, for members of shape {tuple(scores.shape)}"
        )
    return _cast(scores - array_namespace(scores).mean(base, axis=-1, keepdims=True), members)


def worst_case(members: Members) -> Float[Array, "*shape"]:
    """Lowest score of the members: worst-case optimisation (WCO).

    Args:
        members: Scores `(k, *shape)`.

    Returns:
        Minima `(*shape)`: good only where every member says so.

    Raises:
        TypeError, ValueError: If the scores are not an array of finite real numbers; the message names the member.

    Source: Coste et al. 2023 (arXiv 2310.02743), equation 4.
    """
    scores = _checked("members", members)
    return _cast(array_namespace(scores).min(scores, axis=0), members)


def uncertainty_weighted(members: Members, weight: float) -> Float[Array, "*shape"]:
    """Mean score less `weight` times the variance over members: uncertainty-weighted optimisation (UWO).

    Not monotone: a member that raises its score can lower the aggregate. Not a matter of units either: the variance
    grows with the square of the reward's scale, so a weight that suits one scale does not suit another.

    Args:
        members: Scores `(k, *shape)`.
        weight: Price of a unit of variance, at least 0, in 1 / reward units. The paper uses 0.5 for best-of-n and 0.1
            for PPO, on rewards of variance about 1. 0 is the mean.

    Returns:
        Penalised means `(*shape)`.

    Raises:
        TypeError, ValueError: As `worst_case`, and if the weight is negative.

    Source: Coste et al. 2023 (arXiv 2310.02743), equation 5: the population variance. The released code takes the
    sample variance in PPO (k / (k - 1) times as much), and reads a weight of 0 as 1; neither is copied here.

    Example:
        >>> import numpy as np
        >>> float(uncertainty_weighted(np.array([1.0, 2.0, 3.0, 4.0, 10.0]), 0.5))
        -1.0
    """
    check_scalar("weight", weight, low=0)
    scores = _checked("members", members)
    centre = _mean(scores)
    return _cast(centre - weight * _mean((scores - centre) ** 2), members)


def mean_minus_std(members: Members, weight: float = 1.0, correction: float = 0.0) -> Float[Array, "*shape"]:
    """Mean score less `weight` times the standard deviation over members.

    In the units of the reward, unlike `uncertainty_weighted`; not monotone either.

    Args:
        members: Scores `(k, *shape)`.
        weight: Price of a standard deviation, at least 0, without unit.
        correction: What the squared deviations' divisor k is reduced by: 0 population, 1 sample; below k.

    Returns:
        Penalised means `(*shape)`.

    Raises:
        TypeError, ValueError: As `worst_case`, and if `weight` or `correction` is out of range.

    Source: Eisenstein et al. 2023 (arXiv 2312.09244), with weight 1; which divisor they use is not known.
    """
    check_scalar("weight", weight, low=0)
    check_scalar("correction", correction, low=0)
    scores = _checked("members", members)
    count = len(members)
    if correction >= count:
        raise ValueError(f"correction is {correction:g} with {count} members, expected less than the number of members")
    xp = array_namespace(scores)
    centre = _mean(scores)
    spread = xp.sqrt(xp.sum((scores - centre) ** 2, axis=0) / (count - correction))
    return _cast(centre - weight * spread, members)


def _mean(scores: Array) -> Array:
    """Mean over members, measured from the first one: where they agree, not even the last bit moves."""
    return scores[0] + array_namespace(scores).mean(scores - scores[0], axis=0)


def _checked(name: str, members: Array, axes: int = 1) -> Array:
    """`members` in float64, if it has members on its first axis and they are all finite."""
    xp = array_namespace(check_array(name, members))
    if members.ndim < axes or members.shape[0] == 0:
        expected = "(members, *shape)" if axes == 1 else "(members, *batch, samples)"
        raise ValueError(f"{name} has shape {tuple(members.shape)}, expected {expected} with at least one member")
    scores = as_float64(members)
    if not bool(xp.all(xp.isfinite(scores))):
        member, *place = (int(index) for index in np.argwhere(~np.isfinite(to_numpy(scores)))[0])
        where = f" at {place}" if place else ""
        raise ValueError(
            f"{name}: member {member} scores {float(scores[(member, *place)])}{where}, expected a finite score; "
            f"leave out the member, or the sample for all members"
        )
    return scores


def _cast(values: Array, members: Array) -> Array:
    xp = array_namespace(members)
    return xp.astype(values, members.dtype, copy=False) if xp.isdtype(members.dtype, "real floating") else values
