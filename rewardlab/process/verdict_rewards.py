"""Rewards for training a judge: was its verdict right, does its analysis agree with it, and could it be read at all?"""

import math
from collections.abc import Hashable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Num, Shaped

from rewardlab.arrays import Array, array_namespace, as_float64, is_array
from rewardlab.checks import check_array, check_choice, check_same_shape, check_scalar
from rewardlab.process.flags import check_library, checked_between, checked_flags
from rewardlab.transforms.groups import in_dtype_of

__all__ = ["SCHEMES", "consistency_reward", "solve_judge_gap", "solve_judge_reward", "verdict_reward"]

SCHEMES = {"pm1": (1.0, -1.0, -1.0), "binary0": (0.0, -1.0, -1.0), "brrm": (0.0, -10.0, -100.0)}

Verdicts = Sequence[Hashable | None] | Shaped[Array, "..."]


def verdict_reward(predicted: Verdicts, gold: Verdicts, scheme: str) -> Float[Array, " samples"]:
    """Reward of each verdict by whether it is right, wrong, or cannot be read.

    =========== ======= ======= ============ =================================
    scheme      right   wrong   unreadable   from
    =========== ======= ======= ============ =================================
    `pm1`       1       -1      -1           RM-R1 (arXiv 2505.02387)
    `binary0`   0       -1      -1           BR-RM, as its guide says it
    `brrm`      0       -10     -100         BR-RM (arXiv 2510.23596), in code
    =========== ======= ======= ============ =================================

    Behind an advantage that divides by the group's standard deviation the schemes are the same as long as every verdict
    can be read: two values with share q of right ones become sqrt((1 - q)/q) and -sqrt(q/(1 - q)), whatever they were.
    One unreadable verdict under `brrm` turns that round: six right, one wrong and one unreadable have advantages .42,
    .11 and -2.63, so the wrong verdict is pushed up. Standardise the two parts apart instead, as in
    `normalise_then_sum(np.stack([right, readable]))` with `right` NaN where there is no verdict.

    Args:
        predicted: Verdict of each sample: labels such as "A" or 1, None where the output could not be parsed; or an
            array of numbers, NaN where it could not.
        gold: The right label of each sample, of the same kind; an array if `predicted` is one.
        scheme: "pm1", "binary0" or "brrm".

    Returns:
        Rewards (samples,) in float64, in the library of `predicted`; NumPy for sequences.

    Raises:
        TypeError: If one side is a single text, or texts on one side meet numbers on the other, which are never equal.
        ValueError: If a gold label is missing, lengths disagree, or the scheme is unknown.

    Source: The papers in the table. Their parsers differ (RM-R1's sees only the last 80 characters, and takes both tags
        for none); parsing is the caller's.

    Example:
        >>> verdict_reward(["A", "B", None], ["A", "A", "B"], "brrm")
        array([   0.,  -10., -100.])
    """
    check_choice("scheme", scheme, SCHEMES)
    if _is_numeric(predicted):
        right, readable = _compared_arrays(predicted, gold)
    else:
        right, readable = _compared_labels(predicted, gold)
    paid, wrong, unreadable = SCHEMES[scheme]
    xp = array_namespace(right)
    zero = xp.zeros_like(right, dtype=xp.float64)
    return xp.where(right, zero + paid, xp.where(readable, zero + wrong, zero + unreadable))


def consistency_reward(
    right: Num[Array, "*shape"] | Bool[Array, "*shape"],
    consistency: Num[Array, "*shape"],
    well_formed: Num[Array, "*shape"] | Bool[Array, "*shape"],
    *,
    consistency_weight: float = 0.5,
    format_weight: float = 0.5,
    failed_judge: float = 0.0,
) -> Float[Array, "*shape"]:
    """Right verdicts paid by how well the analysis fits them, plus a bonus for form: R (1 + w C) + v F.

    ============================ ======= ======= ========
    consistency                  1       0       -1
    ============================ ======= ======= ========
    right and well formed        2       1.5     1
    right, not well formed       1.5     1       .5
    wrong and well formed        .5      .5      .5
    wrong, not well formed       0       0       0
    ============================ ======= ======= ========

    Consistency multiplies, so an analysis that fits a wrong verdict earns nothing.

    Args:
        right: Whether the chosen answer is the right one, 0 or 1.
        consistency: Another model's opinion whether the analysis supports the choice: 1 yes, -1 no, 0 undecided, or
            a mean of such opinions; NaN where its call failed.
        well_formed: Whether the output has exactly one analysis and one answer, 0 or 1.
        consistency_weight: w, in [0, 1]: above 1 a right answer could earn less than a wrong one.
        format_weight: v, at least 0.
        failed_judge: Consistency where the judge's call failed, in [-1, 0]. The released code pays 1 there, so that
            whatever makes the judge fail is rewarded most; here a failure can never pay.

    Returns:
        Rewards in [0, 1 + w + v], of the dtype of `right` if that is a float, else float64.

    Raises:
        TypeError: If an argument is no array, or they are of different libraries.
        ValueError: If a flag is neither 0 nor 1, an opinion outside [-1, 1], shapes disagree, or a weight is out of its
            range.

    Source: StableReinforce (R1-Reward, arXiv 2505.02835), reward and default weights after notes on the paper that
        agree with its code, but for failures.

    Example:
        >>> import numpy as np
        >>> consistency_reward(np.array([1, 1, 1, 0]), np.array([1, -1, np.nan, 1]), np.array([1, 1, 1, 1]))
        array([2. , 1. , 1.5, 0.5])
    """
    check_scalar("consistency_weight", consistency_weight, low=0.0, high=1.0)
    check_scalar("format_weight", format_weight, low=0.0)
    check_scalar("failed_judge", failed_judge, low=-1.0, high=0.0)
    chosen, form = checked_flags("right", right), checked_flags("well_formed", well_formed)
    for name, value in (("consistency", consistency), ("well_formed", well_formed)):
        check_library(name, value, "right", right)
        check_same_shape(name, value, "right", right)
    xp = array_namespace(right)
    opinion = as_float64(consistency)
    opinion = xp.where(xp.isnan(opinion), xp.full_like(opinion, failed_judge), opinion)
    checked_between("consistency", opinion, -1, 1)
    return in_dtype_of(chosen * (1 + consistency_weight * opinion) + format_weight * form, right)


def solve_judge_reward(
    judged: Num[Array, "*shape"] | Bool[Array, "*shape"],
    solved: Num[Array, "*shape"] | Bool[Array, "*shape"],
    well_formed: Num[Array, "*shape"] | Bool[Array, "*shape"] | None = None,
    *,
    judge_weight: float = 1.0,
    solve_weight: float = 1.0,
) -> Float[Array, "*shape"]:
    """One output holds the judge's own solution and its verdict: reward both, if the form holds.

    Args:
        judged: Whether the verdict is right, 0 or 1.
        solved: What the judge's own solution earns, in [0, 1]: 0 or 1 where the answer can be checked, the squashed
            score of a reward model where it cannot (`rewardlab.transforms.hybrid_reward` makes one of both).
        well_formed: Whether the output can be read, 0 or 1; an unreadable one earns 0. None where all can.
        judge_weight: Weight of the verdict, at least 0.
        solve_weight: Weight of the solution, at least 0.

    Returns:
        Rewards in [0, judge_weight + solve_weight], of the dtype of `solved` if that is a float, else float64.

    Raises:
        TypeError: If an argument is no array, or they are of different libraries.
        ValueError: If a flag is neither 0 nor 1, `solved` outside [0, 1], shapes disagree, or a weight is negative.

    Source: S2J (arXiv 2509.22099). Reconstruction: that both parts of one output are rewarded is the paper's; its
        weights and the gate were not read.

    Example:
        >>> import numpy as np
        >>> solve_judge_reward(np.array([1, 0, 1]), np.array([1.0, 0.25, 1.0]), np.array([1, 1, 0]))
        array([2.  , 0.25, 0.  ])
    """
    check_scalar("judge_weight", judge_weight, low=0.0)
    check_scalar("solve_weight", solve_weight, low=0.0)
    parts = {"judged": judged, "solved": solved} | ({} if well_formed is None else {"well_formed": well_formed})
    for name, value in parts.items():
        check_library(name, value, "solved", check_array("solved", solved))
        check_same_shape(name, value, "solved", solved)
    verdict, solution = checked_flags("judged", judged), checked_between("solved", solved, 0, 1)
    reward = judge_weight * verdict + solve_weight * solution
    return in_dtype_of(reward if well_formed is None else reward * checked_flags("well_formed", well_formed), solved)


def solve_judge_gap(
    solved: Num[Array, " samples"] | Bool[Array, " samples"],
    judged: Num[Array, " samples"] | Bool[Array, " samples"],
) -> float:
    """Share of the queries that a model can solve and still judges wrongly, P(judged wrong | solved).

    Args:
        solved: Whether the model solves each query itself, 0 or 1.
        judged: Whether it judges others' answers to it rightly, 0 or 1.

    Returns:
        A number in [0, 1]; NaN where no query is solved.

    Raises:
        TypeError: If an argument is no array, or they are of different libraries.
        ValueError: If a flag is neither 0 nor 1, or shapes disagree.

    Source: S2J (arXiv 2509.22099), which reports 14 to 37% before training; the definition is ours.

    Example:
        >>> import numpy as np
        >>> solve_judge_gap(np.array([1, 1, 1, 1, 0]), np.array([1, 1, 0, 1, 0]))
        0.25
    """
    able, found = checked_flags("solved", solved), checked_flags("judged", judged)
    check_library("judged", judged, "solved", solved)
    check_same_shape("judged", judged, "solved", solved)
    number = float(array_namespace(able).sum(able))
    return 1 - float(array_namespace(able).sum(able * found)) / number if number else math.nan


def _is_numeric(labels: object) -> bool:
    return is_array(labels) and not (isinstance(labels, np.ndarray) and labels.dtype.kind in "USO")


def _compared_arrays(predicted: Array, gold: Array) -> tuple[Array, Array]:
    """Which verdicts are right, and which could be read, of arrays of numbers."""
    check_array("predicted", predicted)
    if not _is_numeric(gold):
        raise TypeError(f"gold is a {type(gold).__name__} but predicted an array of numbers; use one kind of label")
    check_library("gold", gold, "predicted", predicted)
    check_same_shape("gold", gold, "predicted", predicted)
    if predicted.ndim != 1:
        raise ValueError(f"predicted has shape {tuple(predicted.shape)}, expected (samples,)")
    verdict, truth = as_float64(predicted), as_float64(gold)
    xp = array_namespace(verdict)
    if bool(xp.any(xp.isnan(truth))):
        raise ValueError(f"gold[{int(xp.argmax(xp.astype(xp.isnan(truth), xp.int64)))}] is NaN, expected a label")
    return verdict == truth, ~xp.isnan(verdict)


def _compared_labels(predicted: Sequence | Array, gold: Sequence | Array) -> tuple[np.ndarray, np.ndarray]:
    """The same, of labels in sequences."""
    for name, labels in (("predicted", predicted), ("gold", gold)):
        if isinstance(labels, str) or not isinstance(labels, Sequence | np.ndarray):
            raise TypeError(f"{name}: expected a sequence with one label a sample, got {type(labels).__name__}")
    predicted, gold = list(predicted), list(gold)
    if len(predicted) != len(gold):
        raise ValueError(f"predicted has {len(predicted)} labels, gold {len(gold)}; expected as many")
    for place, (verdict, truth) in enumerate(zip(predicted, gold, strict=True)):
        if truth is None or truth != truth:
            raise ValueError(f"gold[{place}] is {truth}, expected a label")
        if verdict is not None and isinstance(verdict, str) != isinstance(truth, str):
            raise TypeError(f"predicted[{place}] is {verdict!r} but gold {truth!r}; use one kind of label")
    pairs = zip(predicted, gold, strict=True)
    right = np.array([verdict is not None and verdict == truth for verdict, truth in pairs], bool)
    return right, np.array([verdict is not None for verdict in predicted], bool)
