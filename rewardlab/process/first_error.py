"""Where does a solution first go wrong? From the scores of its steps to one place, and how often that is the place."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Num

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.checks import check_array, check_same_shape, check_scalar
from rewardlab.process.padded_steps import as_floats, check_scores, checked_step_mask

__all__ = ["NO_ERROR", "FirstErrorAccuracy", "first_below", "first_error_accuracy", "largest_drop", "lowest_score"]

NO_ERROR = -1  # the place of the first wrong step in a solution that has none

Scores = Num[Array, "*batch steps"] | Bool[Array, "*batch steps"]


def first_below(
    step_scores: Scores, threshold: float, mask: Bool[Array, "*batch steps"] | None = None
) -> Int[Array, "*batch"]:
    """The first step that is scored below `threshold`, -1 where none is.

    What a solution is cut at where later steps are not to be trusted, and how labels of steps (1 right, 0 wrong) are
    read: their first 0 is the first one below 0.5.

    Args:
        step_scores: Scores of steps in [0, 1], NumPy or torch; labels as whole numbers or booleans, too.
        threshold: In [0, 1]; a score equal to it is not below.
        mask: True where there is a step, steps first; None where all are.

    Returns:
        Places from 0 in int64; -1 for a solution without such a step, and for one without steps.

    Raises:
        TypeError: If the scores are no array of real numbers, or the mask is not boolean.
        ValueError: If a score or the threshold is outside [0, 1], or the mask has a gap or another shape.

    Example:
        >>> import numpy as np
        >>> first_below(np.array([[0.9, 0.4, 0.1], [0.9, 0.8, 0.7]]), 0.5).tolist()
        [1, -1]
    """
    check_scalar("threshold", threshold, low=0.0, high=1.0)
    scores, there = _checked(step_scores, mask)
    return _first(there & (scores < threshold))


def lowest_score(
    step_scores: Scores,
    mask: Bool[Array, "*batch steps"] | None = None,
    *,
    threshold: float | None = None,
) -> Int[Array, "*batch"]:
    """The step with the lowest score, the first of equals.

    Right where the scores of steps stand each for itself: the wrong step then is the one that looks worst. Where the
    score of a step stands for the whole prefix, scores stay low after the first error, and the lowest may be any of
    them: see `largest_drop`.

    Args:
        step_scores: Scores of steps in [0, 1], NumPy or torch.
        mask: True where there is a step, steps first; None where all are.
        threshold: A solution whose lowest score is not below this has no error (-1); None finds one in each solution.

    Returns:
        Places from 0 in int64; -1 for no error, and for a solution without steps.

    Raises:
        TypeError, ValueError: As `first_below`.

    Example:
        >>> import numpy as np
        >>> lowest_score(np.array([[0.9, 0.4, 0.1], [0.9, 0.8, 0.7]]), threshold=0.5).tolist()
        [2, -1]
    """
    scores, there = _checked(step_scores, mask)
    if 0 in scores.shape:
        return _nowhere(scores)
    xp = array_namespace(scores)
    least = xp.min(xp.where(there, scores, xp.full_like(scores, 2.0)), axis=-1, keepdims=True)  # above every score
    found = there & (scores == least)
    if threshold is not None:
        found = found & (scores < check_scalar("threshold", threshold, low=0.0, high=1.0))
    return _first(found)


def largest_drop(
    step_scores: Scores,
    mask: Bool[Array, "*batch steps"] | None = None,
    *,
    least: float | None = None,
) -> Int[Array, "*batch"]:
    """The step at which the score falls most from the step before, the first of equals.

    Right where the score of a step stands for the whole prefix (the value of the state it leads to). The first step
    falls from 1: before it nothing is wrong.

    Args:
        step_scores: Scores of steps in [0, 1], NumPy or torch.
        mask: True where there is a step, steps first; None where all are.
        least: A solution whose largest fall is smaller than this, in [0, 1], has no error (-1); None finds one in each.

    Returns:
        Places from 0 in int64; -1 for no error, and for a solution without steps.

    Raises:
        TypeError, ValueError: As `first_below`.

    Example:
        >>> import numpy as np
        >>> largest_drop(np.array([[0.9, 0.4, 0.1], [0.9, 0.8, 0.7]]), least=0.3).tolist()
        [1, -1]
    """
    scores, there = _checked(step_scores, mask)
    if 0 in scores.shape:
        return _nowhere(scores)
    xp = array_namespace(scores)
    before = xp.concat([xp.ones_like(scores[..., :1]), scores[..., :-1]], axis=-1)
    fall = xp.where(there, before - scores, xp.full_like(scores, -2.0))  # below every fall
    found = there & (fall == xp.max(fall, axis=-1, keepdims=True))
    if least is not None:
        found = found & (fall >= check_scalar("least", least, low=0.0, high=1.0))
    return _first(found)


@dataclass(frozen=True, slots=True)
class FirstErrorAccuracy:
    """How often the first error is found.

    Args:
        wrong: Share of the solutions with an error in which exactly the first wrong step was named.
        right: Share of the solutions without one of which that was said.
        f1: Harmonic mean of the two, 0 where both are 0.
    """

    wrong: Any
    right: Any
    f1: Any


def first_error_accuracy(
    predicted: Int[Array, "*batch solutions"], actual: Int[Array, "*batch solutions"]
) -> FirstErrorAccuracy:
    """Accuracy on wrong and on right solutions, and their harmonic mean, which ProcessBench calls F1.

    It is no F1 of precision and recall: a detector that sees no error anywhere has 0, not a recall of 0 beside a
    precision, and how many of the solutions are wrong does not matter.

    Args:
        predicted: Place of the first wrong step as found, -1 for none.
        actual: The true place, -1 for none.

    Returns:
        Three numbers in [0, 1], or three arrays (*batch,), in float64.

    Raises:
        TypeError: If a place is not a whole number.
        ValueError: If shapes differ, a place is below -1, or a batch lacks right or wrong solutions.

    Source: ProcessBench (arXiv 2412.06559); its published script divides by 0 where both accuracies are 0.

    Example:
        >>> import numpy as np
        >>> first_error_accuracy(np.array([1, 2, -1, 0]), np.array([1, 3, -1, -1]))
        FirstErrorAccuracy(wrong=0.5, right=0.5, f1=0.5)
    """
    for name, places in (("predicted", predicted), ("actual", actual)):
        _check_places(name, places)
    check_same_shape("predicted", predicted, "actual", actual)
    xp = array_namespace(predicted, actual)
    erring, hit = actual != NO_ERROR, predicted == actual
    for kind, among in (("wrong", erring), ("right", ~erring)):
        if not bool(xp.all(xp.any(among, axis=-1))):
            raise ValueError(f"actual has no {kind} solution, so the accuracy on them is undefined")
    wrong, right = (_share(hit, among) for among in (erring, ~erring))
    total = wrong + right
    f1 = 2 * wrong * right / xp.where(total > 0, total, xp.ones_like(total))
    return FirstErrorAccuracy(*(value if value.ndim else float(value) for value in (wrong, right, f1)))


def _share(hit: Array, among: Array) -> Array:
    xp = array_namespace(hit)
    return xp.astype(xp.count_nonzero(hit & among, axis=-1), xp.float64) / xp.count_nonzero(among, axis=-1)


def _check_places(name: str, places: Array) -> None:
    xp = array_namespace(check_array(name, places))
    if not xp.isdtype(places.dtype, "signed integer"):
        raise TypeError(f"{name} has dtype {places.dtype}, expected signed whole numbers")
    if places.ndim < 1:
        raise ValueError(f"{name} is a single number, expected shape (*batch, solutions)")
    if bool(xp.any(places < NO_ERROR)):
        at = np.argwhere(to_numpy(places) < NO_ERROR)[0]
        raise ValueError(f"{name}{at.tolist()} is {to_numpy(places)[tuple(at)]}, expected a place from 0, or -1")


def _checked(step_scores: Array, mask: Array | None) -> tuple[Array, Array]:
    """Scores as floats, and where there is a step."""
    mask = checked_step_mask(mask, step_scores, name="step_scores")
    check_scores(step_scores, mask, name="step_scores")
    scores = as_floats(step_scores, mask)
    xp = array_namespace(scores)
    return scores, xp.ones_like(scores, dtype=xp.bool) if mask is None else mask


def _first(found: Array) -> Array:
    """Place of the first True on the last axis, -1 where there is none; torch's argmax promises no first of equals."""
    xp = array_namespace(found)
    if 0 in found.shape:
        return _nowhere(found)
    steps = found.shape[-1]
    places = xp.cumulative_sum(xp.ones_like(found, dtype=xp.int64), axis=-1) - 1
    place = xp.min(xp.where(found, places, xp.full_like(places, steps)), axis=-1)
    return xp.where(place < steps, place, xp.full_like(place, NO_ERROR))


def _nowhere(like: Array) -> Array:
    xp = array_namespace(like)
    return xp.full_like(xp.sum(xp.zeros_like(like, dtype=xp.int64), axis=-1), NO_ERROR)
