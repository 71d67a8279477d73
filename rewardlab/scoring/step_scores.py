"""From the scores of a solution's steps to one score of the solution."""

import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float

from rewardlab.arrays import Array, array_namespace, as_float64, to_numpy
from rewardlab.checks import check_array, check_choice

__all__ = ["AGGREGATIONS", "Aggregation", "aggregate_steps"]

Aggregation = Literal["min", "max", "product", "geometric_mean", "mean", "mean_logit", "mean_odds", "last"]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


def aggregate_steps(
    steps: Float[Array, "*solutions steps"],
    aggregation: Aggregation,
    present: Bool[Array, "*solutions steps"] | None = None,
) -> Float[Array, "*solutions"]:
    """One score for each solution from the probabilities that a process reward model gives its steps.

    Which rule is used decides more than which model: a product falls with every further step, so it prefers short
    solutions, right or wrong. Compare rules on solutions of like length before believing either.

    Args:
        steps: Probability that each step is right, in [0, 1], NumPy or torch.
        aggregation: `min`, `max`, `product`, `geometric_mean`, `mean`; `mean_logit`, the sigmoid of the mean log-odds;
            `mean_odds`, the mean odds p / (1 - p), infinite where a step is certain; `last`, the last step's.
        present: False after a solution's last step; all by default. Values there are ignored.

    Returns:
        Scores in float64; in [0, 1] for all rules but `mean_odds`.

    Raises:
        ValueError: If a step is no probability, a solution has no step or has a step after a missing one, or both
            certain right and certain wrong steps under `mean_logit`.

    Source: The rules that RewardMATH (arXiv 2410.01729) evaluates process reward models with.

    Example:
        >>> import numpy as np
        >>> aggregate_steps(np.array([0.5, 0.9, 0.8]), "product").round(3)
        np.float64(0.36)
    """
    check_choice("aggregation", aggregation, AGGREGATIONS)
    steps, present = _checked_steps(steps, present)
    xp = array_namespace(steps)

    def filled(values: Array, neutral: float) -> Array:
        return xp.where(present, values, xp.full_like(values, neutral))

    count = xp.sum(xp.astype(present, xp.float64), axis=-1)
    if aggregation == "min":
        return xp.min(filled(steps, 1.0), axis=-1)
    if aggregation == "max":
        return xp.max(filled(steps, 0.0), axis=-1)
    if aggregation == "product":
        return xp.prod(filled(steps, 1.0), axis=-1)
    if aggregation == "last":
        last = xp.astype(count, xp.int64)[..., None] - 1
        return xp.sum(xp.where(xp.arange(steps.shape[-1]) == last, steps, xp.zeros_like(steps)), axis=-1)
    if aggregation == "geometric_mean":
        return xp.exp(xp.sum(filled(_log(steps), 0.0), axis=-1) / count)
    if aggregation == "mean":
        return xp.sum(filled(steps, 0.0), axis=-1) / count
    if aggregation == "mean_odds":
        unsure = steps < 1
        odds = xp.where(unsure, steps / xp.where(unsure, 1 - steps, xp.ones_like(steps)), xp.full_like(steps, math.inf))
        return xp.sum(filled(odds, 0.0), axis=-1) / count
    if bool(xp.any(xp.any(steps == 0, axis=-1) & xp.any(steps == 1, axis=-1))):
        raise ValueError("steps: a solution has both a 0 and a 1, and the mean of -inf and inf is undefined")
    logit = xp.sum(filled(_log(steps) - _log(1 - steps), 0.0), axis=-1) / count
    return 1 / (1 + xp.exp(-logit))


def _checked_steps(steps: Array, present: Array | None) -> tuple[Array, Array]:
    steps = as_float64(check_array("steps", steps))
    xp = array_namespace(steps)
    if present is None:
        present = xp.ones_like(steps, dtype=xp.bool)
    elif check_array("present", present, like=steps).dtype != xp.bool:
        raise TypeError(f"present has dtype {present.dtype}, expected bool (True where there is a step)")
    if tuple(present.shape) != tuple(steps.shape) or steps.ndim < 1:
        raise ValueError(f"present has shape {tuple(present.shape)}, expected that of steps {tuple(steps.shape)}")
    gaps = ~present[..., :1] if steps.shape[-1] else xp.ones((*steps.shape[:-1], 1), dtype=xp.bool)
    if bool(xp.any(gaps)) or bool(xp.any(present[..., 1:] & ~present[..., :-1])):
        raise ValueError("present: a solution has no step, or one after a missing step; expected the steps first")
    wrong = present & ~((steps >= 0) & (steps <= 1))  # NaN is wrong too
    if bool(xp.any(wrong)):
        place = tuple(np.argwhere(to_numpy(wrong))[0].tolist())
        raise ValueError(f"steps{list(place)} is {float(steps[place]):g}, expected a probability in [0, 1]")
    return xp.where(present, steps, xp.full_like(steps, 0.5)), present


def _log(values: Array) -> Array:
    """Logarithm that is -inf at 0 without a warning."""
    xp = array_namespace(values)
    above = values > 0
    return xp.where(above, xp.log(xp.where(above, values, xp.ones_like(values))), xp.full_like(values, -math.inf))
