"""Rules where an answer can be checked, a reward model where it cannot, and a length term against what the model likes.

The paper (HARMO, arXiv 2510.05283) adds up three terms with equal weights and takes the group's mean off without
dividing by its standard deviation. Its formulas for the model's range and for the length term could not be read; what
is written here is a reconstruction that fits every constraint its reviews quote, and each docstring says which part
that is. The whole reward is a composition of functions that are useful by themselves:

    terms = xp.stack([
        hybrid_reward(verifiable, rule, sigmoid(score, reference)),
        group_length_penalty(lengths, rule, max_penalty=0.5, tolerance=0.5, group_ids=ids),
        0.1 * well_formed,
    ])
    advantages = mean_centred(weighted_sum(terms), ids)

`weighted_sum` takes weights other than 1, which the paper does not have. Put every term on [0, 1] first: without a
division by the standard deviation a term counts by its spread within the group. To keep any right answer above any
wrong one, the largest penalty and the format bonus must add up to less than the rule pays.
"""

from collections.abc import Sequence

from array_api_compat import device
from jaxtyping import Bool, Float, Real

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_array, check_broadcast, check_choice, check_finite, check_same_shape, check_scalar
from rewardlab.transforms.groups import Groups

__all__ = ["group_length_penalty", "hybrid_reward"]

SIDES = ("short", "long", "both")


def hybrid_reward(
    verifiable: Bool[Array, "*#shape"],
    rule: Real[Array, "*#shape"],
    model: Real[Array, "*#shape"],
    confidence: Float[Array, "*#shape"] | float | None = None,
) -> Float[Array, "*shape"]:
    """The rule's reward where the prompt can be verified, the model's elsewhere.

    Args:
        verifiable: Whether a rule can decide the prompt. A property of the prompt, fixed in the data, never of the
            response: all samples of a prompt share it, as (prompts, 1) beside (prompts, samples) or repeated in a flat
            batch. Else a response could choose its judge.
        rule: Reward of the rule, usually 0 or 1; NaN where it does not apply.
        model: Score of the reward model, on the rule's range, as a sigmoid of the raw score is (that choice is a
            reconstruction, the paper only asks for a comparable range); NaN where there is none.
        confidence: How far to trust the rule on verifiable prompts, in [0, 1]: the reward there becomes
            `confidence * rule + (1 - confidence) * model`. Ours, the paper has none. 1 by default.

    Returns:
        Rewards of the broadcast shape and the dtype of `rule` (float64 where that is whole); NaN, as "does not apply",
        where a part that is used is NaN. A part without a share may be NaN and does no harm.

    Raises:
        TypeError: If an array is not one, or they are of different libraries.
        ValueError: If a rule or score is infinite, a confidence is outside [0, 1], or shapes do not broadcast.

    Source: Gulhane and Indurthi 2025 (HARMO, arXiv 2510.05283), equation 1 as its reviews describe it.

    Example:
        >>> import numpy as np
        >>> verifiable = np.array([[True], [False]])
        >>> hybrid_reward(verifiable, np.array([[1.0, 0.0], [np.nan, np.nan]]), np.full((2, 2), 0.3))
        array([[1. , 0. ],
               [0.3, 0.3]])
    """
    xp = array_namespace(check_array("rule", rule))
    if not xp.isdtype(rule.dtype, "real floating"):
        rule = as_float64(rule)
    if confidence is None or not hasattr(confidence, "shape"):
        trusted = 1.0 if confidence is None else check_scalar("confidence", confidence, low=0.0, high=1.0)
        confidence = xp.full((), trusted, dtype=rule.dtype, device=device(rule))
    parts = {"verifiable": verifiable, "rule": rule, "model": model, "confidence": confidence}
    for name, part in parts.items():
        if xp is not array_namespace(check_array(name, part)):
            raise TypeError(f"{name} is a {type(part).__name__} but rule a {type(rule).__name__}; use one library")
    if not xp.isdtype(verifiable.dtype, "bool"):
        raise TypeError(f"verifiable has dtype {verifiable.dtype}, expected booleans")
    check_broadcast(**{name: tuple(part.shape) for name, part in parts.items()})
    if bool(xp.any(check_finite("confidence", confidence) < 0)) or bool(xp.any(confidence > 1)):
        least, most = float(xp.min(confidence)), float(xp.max(confidence))
        raise ValueError(f"confidence spans [{least:g}, {most:g}], expected numbers in [0, 1]")
    share = xp.where(verifiable, xp.astype(confidence, rule.dtype), xp.zeros_like(rule))
    return _share_of("rule", rule, share) + _share_of("model", xp.astype(model, rule.dtype), 1 - share)


def group_length_penalty(
    lengths: Real[Array, "*shape"],
    correct: Bool[Array, "*shape"] | Real[Array, "*shape"],
    *,
    max_penalty: float,
    tolerance: float,
    side: str = "short",
    group_ids: Sequence | Array | None = None,
) -> Float[Array, "*shape"]:
    """Penalty for a length unlike that of the group's right answers, against a model that likes the short or the long.

    With L_ref the mean length of the group's correct responses, the penalty is
    `-max_penalty * clip(gap / (tolerance * L_ref), 0, 1)`, where the gap is the shortfall, the excess or either. A
    group without a correct response is not penalised: nothing says what length its prompt needs.

    L_ref comes from the group itself and moves with the policy: where correct responses are short guesses it follows
    them down, and the long side alone asks every group to be shorter than its own mean.

    Args:
        lengths: Length of each response in tokens, at least 0: (samples,) with `group_ids`, or (prompts, samples).
        correct: Which responses are right: booleans, or a 0/1 rule reward, whose NaN ("no rule applies") is not right.
        max_penalty: Largest penalty, at least 0, in units of the reward.
        tolerance: Gap at which the penalty is full, relative to L_ref, above 0.
        side: "short" penalises responses shorter than L_ref (against brevity, the paper's concern), "long" longer ones,
            "both" either.
        group_ids: One id a sample; None where each row is a group.

    Returns:
        Penalties in [-max_penalty, 0], of the shape of `lengths`, in its dtype where that is a float, else float64. The
        same for any order of the group, and for lengths in any unit.

    Raises:
        ValueError: If a length is negative, NaN or infinite, `correct` holds anything but 0, 1 and NaN, shapes
            disagree, or a parameter is out of its range.

    Source: HARMO (arXiv 2510.05283). Reconstruction: known are the largest penalty, the tolerance, that it depends on
    the group and needs a correct sample in it, and that it works against brevity; not the formula, nor the values.

    Example:
        >>> import numpy as np
        >>> lengths, correct = np.array([[4, 8, 10, 12]]), np.array([[False, False, True, True]])
        >>> group_length_penalty(lengths, correct, max_penalty=0.5, tolerance=0.5).round(6)
        array([[-0.5     , -0.272727, -0.090909,  0.      ]])
    """
    check_scalar("max_penalty", max_penalty, low=0.0)
    check_scalar("tolerance", tolerance, low=0.0, open_low=True)
    check_choice("side", side, SIDES)
    xp = array_namespace(check_array("lengths", lengths))
    if xp is not array_namespace(check_array("correct", correct)):
        raise TypeError(
            f"correct is a {type(correct).__name__} but lengths a {type(lengths).__name__}; use one library"
        )
    check_same_shape("correct", correct, "lengths", lengths)
    length = check_finite("lengths", as_float64(lengths))
    if 0 in length.shape:
        raise ValueError(f"lengths of shape {tuple(length.shape)} hold no sample, expected at least one")
    if bool(xp.any(length < 0)):
        raise ValueError(f"lengths go down to {float(xp.min(length)):g}, expected at least 0 tokens")
    if group_ids is None:
        groups = Groups.of_rows(tuple(length.shape), like=length)
        length = xp.reshape(length, (-1,))
    elif length.ndim == 1:
        groups = Groups.from_ids(group_ids, like=length)
    else:
        raise ValueError(f"lengths have shape {tuple(length.shape)}, expected (samples,) where group_ids are given")
    right = xp.reshape(_right(correct), (-1,))
    reference = groups.spread(groups.mean(length, right))
    gap = {"short": reference - length, "long": length - reference, "both": xp.abs(length - reference)}[side]
    gap = xp.where(groups.spread(groups.sum(xp.astype(right, xp.float64))) > 0, gap, xp.zeros_like(gap))
    allowed = tolerance * reference
    full = (gap >= allowed) & (gap > 0)  # right where correct responses are empty, too
    share = xp.clip(gap, 0, None) / xp.where(allowed > 0, allowed, xp.ones_like(allowed))
    penalty = 0.0 - max_penalty * xp.where(full, xp.ones_like(share), share)
    dtype = lengths.dtype if xp.isdtype(lengths.dtype, "real floating") else xp.float64
    return xp.astype(xp.reshape(penalty, lengths.shape), dtype)


def _share_of(name: str, part: Array, share: Array) -> Array:
    """`share * part`, 0 where there is no share, whatever the part."""
    xp = array_namespace(part)
    check_finite(name, xp.where(xp.isnan(part), xp.zeros_like(part), part))
    product = share * part
    return xp.where(share > 0, product, xp.zeros_like(product))


def _right(correct: Array) -> Array:
    xp = array_namespace(correct)
    if xp.isdtype(correct.dtype, "bool"):
        return correct
    right = correct == 1
    odd = ~right & (correct != 0) & ~xp.isnan(correct)
    if bool(xp.any(odd)):
        found = float(correct[odd][0])
        raise ValueError(f"correct holds {found:g}, expected booleans, or 0 and 1 with NaN where unknown")
    return right
