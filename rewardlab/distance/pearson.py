"""Pearson distance: how far two rewards are from being the same up to shift and positive scale."""

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_finite

__all__ = ["pearson_distance"]

_CONSTANT_BELOW = 1e-12  # spread relative to the largest value: below it the spread is rounding


def pearson_distance(
    first: Float[Array, "*#batch n"],
    second: Float[Array, "*#batch n"],
    weights: Float[Array, "*#batch n"] | None = None,
) -> Float[Array, "*batch"]:
    """Root of half of one minus the Pearson correlation, over the last axis.

    Computed as half the distance between the two centred vectors of length 1. The textbook expression takes the root of
    a difference of nearly equal numbers and cannot tell distances below 1e-8 from 0 in float64 (3e-4 in float32).

    Args:
        first: Values, `(*batch, n)`, usually canonical rewards of n transitions.
        second: Values, broadcastable to `first`.
        weights: How much each of the n entries counts, at least 0, in any unit; all the same by default.

    Returns:
        Distances in [0, 1], `(*batch)`, float64: 0 for equal up to shift and positive scale, 1 for opposite. NaN where
        either vector is constant on the entries that count, because a correlation does not exist there.

    Raises:
        ValueError: If an entry is not finite, a weight is negative, or no weight is above 0.

    Source: Gleave et al. 2021 (arXiv 2006.13900), Pearson distance.

    Example:
        >>> import numpy as np
        >>> values = np.array([0.0, 1.0, 3.0])
        >>> round(float(pearson_distance(values, -2 * values)), 12)
        1.0
        >>> bool(pearson_distance(values, 5 * values + 1) < 1e-12)
        True
    """
    first = check_finite("first", as_float64(check_array("first", first)))
    second = check_finite("second", as_float64(check_array("second", second)))
    xp = array_namespace(first, second)
    weights = _checked_weights(weights, first)
    gap = _unit(first, weights) - _unit(second, weights)
    distance = 0.5 * xp.sqrt(xp.sum(weights * gap * gap, axis=-1))
    return xp.where(distance > 1, xp.ones_like(distance), distance)  # rounding of opposite vectors; NaN stays NaN


def _unit(values: Array, weights: Array) -> Array:
    """`values` centred and scaled to weighted length 1; NaN where they are constant."""
    xp = array_namespace(values)
    centred = values - xp.sum(weights * values, axis=-1, keepdims=True)
    length = xp.sqrt(xp.sum(weights * centred * centred, axis=-1, keepdims=True))
    counted = xp.where(weights > 0, xp.abs(values), xp.zeros_like(values))
    constant = length <= _CONSTANT_BELOW * xp.max(counted, axis=-1, keepdims=True)
    return xp.where(constant, xp.full_like(centred, xp.nan), centred / xp.where(constant, xp.ones_like(length), length))


def _checked_weights(weights: Array | None, values: Array) -> Array:
    """Weights that sum to 1 over the last axis."""
    xp = array_namespace(values)
    if weights is None:
        return xp.full_like(values[..., :], 1 / values.shape[-1])
    weights = check_finite("weights", as_float64(check_array("weights", weights)))
    if bool(xp.any(weights < 0)):
        raise ValueError(f"weights has a negative entry ({float(xp.min(weights)):.6g}), expected at least 0")
    total = xp.sum(weights, axis=-1, keepdims=True)
    if bool(xp.any(total <= 0)):
        raise ValueError("weights sum to 0, expected at least one weight above 0")
    return weights / total
