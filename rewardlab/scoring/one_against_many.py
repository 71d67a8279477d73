"""One right answer against several wrong ones: accuracies, reciprocal rank, and what best-of-n would select.

All functions take NumPy arrays or torch tensors and return the same, one value an item; the benchmark's number is the
mean. They depend on scores only through which are higher, so an increasing map of an item's scores changes nothing.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Num

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.checks import check_array, check_scalar

__all__ = [
    "Standing",
    "accuracy",
    "accuracy_at_k",
    "accuracy_with_ties",
    "best_of_n_accuracy",
    "reciprocal_rank",
    "share_of_the_top",
    "standing",
]


class Standing(NamedTuple):
    """How many wrong answers of each item score below, the same as, and above the right one, `(*items)` each."""

    below: Int[Array, "*items"]
    tied: Int[Array, "*items"]
    above: Int[Array, "*items"]


def standing(
    scores: Num[Array, "*items candidates"], present: Bool[Array, "*items candidates"] | None = None
) -> Standing:
    """Count the wrong answers on either side of the right one.

    Args:
        scores: Scores of the candidates, the right answer first. Infinite ones count as what they are.
        present: False where an item has fewer candidates than the array has room for; all by default. Scores there
            are ignored, whatever they are.

    Returns:
        The counts, from which every function of this module starts.

    Raises:
        TypeError: If `scores` is not an array of numbers, or `present` not one of booleans.
        ValueError: If a score is NaN, an item has no right answer or no wrong one, or shapes differ.

    Example:
        >>> import numpy as np
        >>> below, tied, above = standing(np.array([[2.0, 1.0, 2.0, 3.0]]))
        >>> int(below[0]), int(tied[0]), int(above[0])
        (1, 1, 1)
    """
    present = checked_candidates(scores, present)
    xp = array_namespace(scores)
    right, wrong, there = scores[..., :1], scores[..., 1:], present[..., 1:]

    def count(which: Array) -> Array:
        return xp.sum(xp.astype(which & there, xp.int64), axis=-1)

    return Standing(count(wrong < right), count(wrong == right), count(wrong > right))


def accuracy(place: Standing) -> Float[Array, "*items"]:
    """1 where the right answer scores higher than every wrong one, else 0: a tie is a mistake.

    Args:
        place: What `standing(scores)` gives.

    Returns:
        0 or 1 for each item, (*items), in float64.

    Raises:
        TypeError: If `place` is not what `standing` gives.
    """
    _check_standing(place)
    return _as_float(place, (place.tied + place.above) == 0)


def accuracy_with_ties(place: Standing) -> Float[Array, "*items"]:
    """1 where no wrong answer scores higher than the right one, else 0: a tie is as good as a win.

    Coarse ratings tie often; where this is far above `accuracy`, neither number alone says much.

    Args:
        place: What `standing(scores)` gives.

    Returns:
        0 or 1 for each item, (*items), in float64.

    Raises:
        TypeError: If `place` is not what `standing` gives.
    """
    _check_standing(place)
    return _as_float(place, place.above == 0)


def reciprocal_rank(place: Standing) -> Float[Array, "*items"]:
    """1 / rank of the right answer, ties counted against it, so a constant scorer gets 1 / candidates.

    Args:
        place: What `standing(scores)` gives.

    Returns:
        In (0, 1] for each item, (*items), in float64.

    Raises:
        TypeError: If `place` is not what `standing` gives.

    Source: RewardMATH (arXiv 2410.01729), as its evaluation breaks ties.
    """
    _check_standing(place)
    return 1 / _as_float(place, 1 + place.tied + place.above)


def share_of_the_top(place: Standing) -> Float[Array, "*items"]:
    """1 / m where the right answer is among the m highest scores, else 0: a tie is broken by chance.

    Args:
        place: What `standing(scores)` gives.

    Returns:
        In [0, 1] for each item, (*items), in float64.

    Raises:
        TypeError: If `place` is not what `standing` gives.

    Source: RewardBench 2 (arXiv 2506.01937), for reward models and for judges that rate.
    """
    _check_standing(place)
    return accuracy_with_ties(place) / _as_float(place, 1 + place.tied)


def accuracy_at_k(place: Standing, k: int) -> Float[Array, "*items"]:
    """Chance that the right answer scores higher than `k` wrong ones drawn without replacement.

    Joins the two kinds of benchmark: `k = 1` is pairwise accuracy, all wrong answers is `accuracy`. Never grows with k.

    Args:
        place: Counts of `standing`.
        k: Number of wrong answers drawn, at least 1 and at most what every item has.

    Returns:
        C(below, k) / C(wrong, k), in [0, 1].

    Raises:
        TypeError: If `place` is not what `standing` gives.
        ValueError: If an item has fewer wrong answers; names it.
    """
    _check_standing(place)
    check_scalar("k", k, low=1, whole=True)
    wrong = place.below + place.tied + place.above
    if int(array_namespace(wrong).min(wrong)) < k:
        item = to_numpy(wrong).reshape(-1).argmin()
        raise ValueError(f"k is {k}, but item {item} has only {int(wrong.reshape(-1)[item])} wrong answers")
    chance = _as_float(place, wrong >= 0)  # 1
    for drawn in range(k):  # a product of k ratios: no factorial to overflow
        chance = chance * (place.below - drawn) / (wrong - drawn)  # once below is used up a factor is 0, and stays so
    return chance + 0.0  # no -0.0


def best_of_n_accuracy(place: Standing, n: int) -> Float[Array, "*items"]:
    """Chance that best-of-n picks the right answer, when the n are drawn with replacement from the item's candidates.

    Exact: with N candidates, m of them below the right one and e level with it (itself included), the highest of the
    draws is level with probability ((m + e) / N)^n - (m / N)^n, and ties are broken evenly. From 1 / N at n = 1 to
    `share_of_the_top` as n grows.

    Args:
        place: What `standing(scores)` gives.
        n: Number of draws.

    Returns:
        Probabilities, in [0, 1].

    Raises:
        TypeError: If `place` is not what `standing` gives.

    Example:
        >>> import numpy as np
        >>> best_of_n_accuracy(standing(np.array([[3.0, 2.0, 1.0, 0.0]])), 4).round(3)
        array([0.684])
    """
    _check_standing(place)
    check_scalar("n", n, low=1, whole=True)
    below = _as_float(place, place.below)
    level = _as_float(place, 1 + place.tied)
    candidates = below + level + place.above
    return (((below + level) / candidates) ** n - (below / candidates) ** n) / level


def _check_standing(place: Standing) -> None:
    if not isinstance(place, Standing):
        raise TypeError(f"place: expected what standing(scores) gives, got {type(place).__name__}")


def checked_candidates(scores: Array, present: Array | None) -> Array:
    """`present`, all True where it is None, once scores and mask are known to fit."""
    check_array("scores", scores)
    xp = array_namespace(scores)
    if present is None:
        present = xp.ones_like(scores, dtype=xp.bool)
    elif check_array("present", present, like=scores).dtype != xp.bool:
        raise TypeError(f"present has dtype {present.dtype}, expected bool (True where there is a candidate)")
    if tuple(present.shape) != tuple(scores.shape):
        raise ValueError(f"present has shape {tuple(present.shape)}, expected that of scores {tuple(scores.shape)}")
    if scores.ndim < 1 or scores.shape[-1] < 2:
        raise ValueError(
            f"scores has shape {tuple(scores.shape)}, expected (*items, candidates), at least 2 candidates"
        )
    missing = present & (scores != scores)  # NaN alone differs from itself, and integers have none
    if bool(xp.any(missing)):
        raise ValueError(f"scores{_first(missing)} is nan, expected a number; a failed score needs a value of its own")
    lacking = ~present[..., 0] | ~xp.any(present[..., 1:], axis=-1)
    if bool(xp.any(lacking)):
        raise ValueError(f"present{_first(lacking)} lacks the right answer or all wrong ones, expected both")
    return present


def _first(which: Array) -> str:
    """Index of the first True, for a message."""
    return f"[{', '.join(str(index) for index in np.argwhere(to_numpy(which))[0])}]"


def _as_float(place: Standing, values: Array) -> Array:
    xp = array_namespace(place.below)
    return xp.astype(values, xp.float64)
