"""From the scores of a process reward model to rewards of steps: which of them can be farmed, and which cannot."""

import math
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Num

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_choice, check_scalar
from rewardlab.process.padded_steps import as_floats, by_rows, check_scores, checked_step_mask, without_last

__all__ = ["MODES", "LastStep", "Mode", "refine"]

Mode = Literal[
    "raw", "length_normalised", "clip", "delta", "clip_delta", "causal_delta", "clip_causal_delta", "min_form"
]
MODES: tuple[Mode, ...] = get_args(Mode)
LastStep = Literal["drop", "keep"]


def refine(
    step_rewards: Num[Array, "*batch steps"] | Bool[Array, "*batch steps"],
    mask: Bool[Array, "*batch steps"] | None,
    mode: Mode,
    *,
    threshold: float | None = None,
    last_step: LastStep = "drop",
    temperature: float = 0.1,
) -> Float[Array, "*batch steps"]:
    """Reward of each step, made from a process reward model's scores p(1), ..., p(K) of a solution's K steps.

    The sum of raw scores grows with every step that is scored above zero, so a policy is paid for writing more of them.
    What each mode pays instead:

    ==================== =============================== =========================== ================================
    mode                 reward of step k                sum over the steps          reward-to-go at step k
    ==================== =============================== =========================== ================================
    `raw`                p(k)                            grows with K                grows with the steps left
    `length_normalised`  p(k) / K                        at most 1                   at most 1
    `clip`               min(p(k) - threshold, 0)        0 at best, falls with K     0 at best
    `delta`              p(k) - p(k+1); p(K-1); 0        p(1)                        p(k); 0 at the last step
    `clip_delta`         `delta` of the clipped scores   min(p(1) - threshold, 0)    min(p(k) - threshold, 0); 0
    `causal_delta`       p(k) - p(k-1); -p(K-1) at K     0                           -p(k-1): a baseline
    `clip_causal_delta`  `causal_delta` of the clipped   0                           a baseline
    `min_form`           p(k) softmax(-p / T)(k)         close to the lowest p       not above the sum
    ==================== =============================== =========================== ================================

    `delta` and `clip_delta` are for policy gradients with reward-to-go (or GAE) at each step. With one return for the
    whole sample, as in GRPO or RLOO with a scalar, nothing of them is left but the first step's score. Clipping stops
    filler from being paid (if it is scored above the threshold), the difference stops `clip` from paying for giving up
    early; each alone leaves the other fault. The causal modes are potential-based: they cannot change what is optimal,
    nor the expected gradient, only its variance.

    Args:
        step_rewards: Scores of the steps in [0, 1], NumPy or torch; step k's may depend on all of the prefix up to k.
            Whole numbers and booleans (labels right or wrong) are taken as float64.
        mask: True where there is a step: the steps first, padding after them. None where all are steps. Values in
            the padding are ignored, NaN too.
        mode: One of the above.
        threshold: Score from which a step counts as good enough, in [0, 1]; needed by the clip modes, ignored by the
            others. Below most scores of right steps: one above them makes every step cost, and answering at once,
            or filler that scores higher, the better choice.
        last_step: What the difference modes do with the score of the last step, the one with the answer. `drop`, as
            published: it is not used, so nothing is paid for an answer that looks right. `keep`: p(K) is step K's
            reward-to-go too (`delta`), or the potential is not taken back at the end, which pays p(K) in all and is no
            longer policy-invariant (causal modes). A solution that was cut off counts the last step it has as step K.
        temperature: Of `min_form`, above 0; at 0.1 scores that differ by 0.3 already weigh 20 to 1.

    Returns:
        Rewards of the shape and float dtype of `step_rewards`, 0 in the padding. A solution without steps has zeros.

    Raises:
        TypeError: If the scores are complex or no array, or the mask is not boolean.
        ValueError: If a score is NaN or outside [0, 1], the mask has a gap or another shape, the mode is unknown, or a
            clip mode comes without a threshold.

    Source: "On Designing Effective RL Reward at Training Time for LLM Reasoning" (arXiv 2410.15115), PR, PR-Normed,
        Clip and Delta, after independent transcriptions of its equations; no official code has them. The causal modes
        are potential-based shaping with the score as potential (Ng, Harada and Russell 1999), ours. `min_form` is PURE
        (arXiv 2504.15275), whose scores are differences of probabilities in [-1, 1], unlike ours.

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.9, 0.8, 0.2, 0.7])
        >>> refine(scores, None, "clip", threshold=0.5).round(6)
        array([ 0. ,  0. , -0.3,  0. ])
        >>> refine(scores, None, "delta").round(6)
        array([0.1, 0.6, 0.2, 0. ])
        >>> refine(scores, None, "clip_delta", threshold=0.5).round(6)
        array([ 0. ,  0.3, -0.3,  0. ])
    """
    check_choice("mode", mode, MODES)
    check_choice("last_step", last_step, get_args(LastStep))
    if "clip" in mode:
        if threshold is None:
            raise ValueError(
                f"threshold is None, expected a number in [0, 1] for {mode!r}: when is a step good enough?"
            )
        check_scalar("threshold", threshold, low=0.0, high=1.0)
    if mode == "min_form":
        check_scalar("temperature", temperature, low=0.0, open_low=True)
    mask = checked_step_mask(mask, step_rewards)
    check_scores(step_rewards, mask)
    if 0 in step_rewards.shape:
        return as_floats(step_rewards, mask)

    def refined(scores: Array, mask: Array | None) -> Array:
        paid = without_last if mode.endswith("delta") and last_step == "drop" else as_floats
        if "clip" in mode:  # what is 1 in the padding is clipped to 0
            scores = array_namespace(scores).clip(paid(scores, mask, 1.0) - threshold, max=0.0)
        else:
            scores = paid(scores, mask)
        if mode.endswith("delta"):
            return _difference(scores, mask, "causal" in mode)
        if mode == "length_normalised":
            return _length_normalised(scores, mask)
        return _min_form(scores, mask, temperature) if mode == "min_form" else scores

    return by_rows(refined, step_rewards, mask)


def _difference(scores: Array, mask: Array | None, causal: bool) -> Array:
    """Each score less the next, so that what is to come is worth the score; or, causal, less the one before.

    Where the last score came in as 0, nothing is paid for it, and a potential is taken back there.
    """
    xp = array_namespace(scores)
    if not causal:
        return xp.concat([scores[..., :-1] - scores[..., 1:], scores[..., -1:]], axis=-1)
    rise = xp.concat([scores[..., :1], scores[..., 1:] - scores[..., :-1]], axis=-1)
    return rise if mask is None else xp.where(mask, rise, 0.0)


def _length_normalised(scores: Array, mask: Array | None) -> Array:
    if mask is None:
        return scores / scores.shape[-1]
    xp = array_namespace(scores)
    count = xp.astype(xp.count_nonzero(mask, axis=-1, keepdims=True), scores.dtype)
    return scores / xp.clip(count, min=1.0)


def _min_form(scores: Array, mask: Array | None, temperature: float) -> Array:
    """Each score times its share of a softmax that favours low scores, so that the sum is close to the lowest."""
    xp = array_namespace(scores)
    reached = as_floats(scores, mask, math.inf)  # so that padding weighs nothing
    lowest = xp.min(reached, axis=-1, keepdims=True)
    above = as_float64(reached - xp.where(xp.isfinite(lowest), lowest, 0.0))  # a narrower type may round T to 0
    with np.errstate(over="ignore"):
        weight = xp.exp(-above / temperature)
    total = xp.sum(weight, axis=-1, keepdims=True)
    return scores * xp.astype(weight / xp.where(total > 0, total, 1.0), scores.dtype, copy=False)
