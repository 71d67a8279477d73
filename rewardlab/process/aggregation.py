"""From the scores of a solution's steps to one score of the solution."""

import math
from typing import Literal, get_args

from array_api_compat import device
from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_choice, check_scalar
from rewardlab.process.padded_steps import as_floats, check_scores, checked_step_mask

__all__ = ["AGGREGATIONS", "Aggregation", "aggregate_steps"]

Aggregation = Literal[
    "min",
    "max",
    "product",
    "log_product",
    "geometric_mean",
    "mean",
    "mean_logit",
    "sum_log_odds",
    "mean_odds",
    "last",
]
AGGREGATIONS: tuple[Aggregation, ...] = get_args(Aggregation)


def aggregate_steps(
    step_scores: Num[Array, "*solutions steps"] | Bool[Array, "*solutions steps"],
    aggregation: Aggregation,
    mask: Bool[Array, "*solutions steps"] | None = None,
    *,
    clip: float = 0.0,
) -> Float[Array, "*solutions"]:
    """One score for each solution from the probabilities that a process reward model gives its steps.

    Which rule is used can decide more than which model: a product falls with every further step, so it prefers short
    solutions, right or wrong; a sum of log-odds prefers long ones as long as their steps score above one half. Give
    the scores and the numbers of steps to `length_confound` before believing either.

    ================ ======================================== ===================== ==================================
    rule             score of p(1), ..., p(K)                 range                 one more step of score p
    ================ ======================================== ===================== ==================================
    `min`            lowest p(k)                              [0, 1]                lowers it, if p is the lowest
    `max`            highest p(k)                             [0, 1]                raises it, if p is the highest
    `product`        product of the p(k)                      [0, 1]                lowers it, unless p is 1
    `log_product`    sum of log p(k)                          [-inf, 0]             lowers it, unless p is 1
    `geometric_mean` exp of the mean log p(k)                 [0, 1]                raises it, if p is above it
    `mean`           mean of the p(k)                         [0, 1]                raises it, if p is above it
    `mean_logit`     sigmoid of the mean log-odds             [0, 1]                raises it, if p is above it
    `sum_log_odds`   sum of log(p(k) / (1 - p(k)))            [-inf, inf]           raises it, if p is above 1/2
    `mean_odds`      mean of p(k) / (1 - p(k))                [0, inf]              raises it, if p's odds are above it
    `last`           p(K)                                     [0, 1]                replaces it
    ================ ======================================== ===================== ==================================

    Args:
        step_scores: Probability that each step is right, in [0, 1], NumPy or torch. Whole numbers and booleans are
            taken as probabilities 0 and 1.
        aggregation: One of the above. `log_product` ranks as `product` does, and still does where the product of a
            long solution underflows to 0 (from 324 steps of score .1 on).
        mask: True where there is a step: the steps first, padding after them. None where all are steps. Values in
            the padding are ignored, NaN too.
        clip: Under the rules with logarithms or odds, scores are first held within [clip, 1 - clip]. At 0 they count
            as they are and a certain step decides: its score is infinite, or 0. A process reward model in low precision
            returns exact 0 and 1; 1e-12 or so keeps them finite.

    Returns:
        Scores in float64, whatever the dtype of the steps: a product of bfloat16 would tie.

    Raises:
        TypeError: If the scores are no array or complex, or the mask is not boolean.
        ValueError: If a step is no probability, a solution has no step or the mask a gap, the rule is unknown, or a
            solution has both a certain right and a certain wrong step under `mean_logit` or `sum_log_odds`.

    Source: The rules that RewardMATH (arXiv 2410.01729) and "Rethinking Reward Models for Multi-Domain Test-Time
        Scaling" (arXiv 2510.00492) evaluate process reward models with; `log_product` and `sum_log_odds` are the same
        without the underflow, and without the sigmoid and division of `mean_logit`.

    Example:
        >>> import numpy as np
        >>> aggregate_steps(np.array([0.5, 0.9, 0.8]), "product").round(3)
        np.float64(0.36)
    """
    check_choice("aggregation", aggregation, AGGREGATIONS)
    check_scalar("clip", clip, low=0.0, high=0.5)
    steps, mask = _checked_steps(step_scores, mask)
    xp = array_namespace(steps)
    if clip and aggregation in ("log_product", "geometric_mean", "mean_logit", "sum_log_odds", "mean_odds"):
        steps = xp.clip(steps, clip, 1 - clip)

    def filled(values: Array, neutral: float) -> Array:
        return xp.where(mask, values, xp.full_like(values, neutral))

    count = xp.sum(xp.astype(mask, xp.float64), axis=-1)
    if aggregation == "min":
        return xp.min(filled(steps, 1.0), axis=-1)
    if aggregation == "max":
        return xp.max(filled(steps, 0.0), axis=-1)
    if aggregation == "product":
        return xp.prod(filled(steps, 1.0), axis=-1)
    if aggregation == "last":
        place = xp.arange(steps.shape[-1], device=device(steps))
        return xp.sum(xp.where(place == count[..., None] - 1, steps, xp.zeros_like(steps)), axis=-1)
    if aggregation == "mean":
        return xp.sum(filled(steps, 0.0), axis=-1) / count
    if aggregation == "mean_odds":
        unsure = steps < 1
        odds = xp.where(unsure, steps / xp.where(unsure, 1 - steps, xp.ones_like(steps)), xp.full_like(steps, math.inf))
        return xp.sum(filled(odds, 0.0), axis=-1) / count
    if aggregation in ("log_product", "geometric_mean"):
        total = xp.sum(filled(_log(steps), 0.0), axis=-1)
        return total if aggregation == "log_product" else xp.exp(total / count)
    if bool(xp.any(xp.any(steps == 0, axis=-1) & xp.any(steps == 1, axis=-1))):
        raise ValueError(
            "step_scores: a solution has both a 0 and a 1, and the sum of -inf and inf is undefined; give clip"
        )
    total = xp.sum(filled(_log(steps) - _log(1 - steps), 0.0), axis=-1)
    return total if aggregation == "sum_log_odds" else _sigmoid(total / count)


def _checked_steps(step_scores: Array, mask: Array | None) -> tuple[Array, Array]:
    """Steps in float64, one half in the padding, and the mask."""
    mask = checked_step_mask(mask, step_scores, name="step_scores")
    steps = as_float64(check_array("step_scores", step_scores))
    xp = array_namespace(steps)
    if not steps.shape[-1] or (mask is not None and bool(xp.any(~mask[..., 0]))):
        raise ValueError("step_scores: a solution has no step, expected at least one")
    check_scores(steps, mask, name="step_scores")
    every = xp.ones_like(steps, dtype=xp.bool) if mask is None else mask
    return as_floats(steps, mask, padding=0.5), every


def _log(values: Array) -> Array:
    """Logarithm that is -inf at 0 without a warning."""
    xp = array_namespace(values)
    above = values > 0
    return xp.where(above, xp.log(xp.where(above, values, xp.ones_like(values))), xp.full_like(values, -math.inf))


def _sigmoid(logits: Array) -> Array:
    """1 / (1 + exp(-logits)), without overflow on either side."""
    xp = array_namespace(logits)
    small = xp.exp(-xp.abs(logits))
    return xp.where(logits >= 0, xp.ones_like(small), small) / (1 + small)
