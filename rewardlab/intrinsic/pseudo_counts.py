"""Pseudo-counts: how often a state counts as seen, judged from how a density model learns from it."""

import numpy as np
from jaxtyping import Float

from rewardlab.checks import check_scalar

__all__ = ["pseudo_count", "pseudo_count_bonus"]


def pseudo_count(
    before: Float[np.ndarray, "*shape"] | float, after: Float[np.ndarray, "*shape"] | float
) -> Float[np.ndarray, "*shape"] | float:
    """Visits that would explain how far one look at a state raised its probability.

    A model of exact frequencies gives the count itself: from n of M to n + 1 of M + 1 the answer is n.

    Args:
        before: Probability of the state before the model learned from this visit, in [0, 1).
        after: Of the same state after one update on it, above `before`, at most 1.

    Returns:
        `before (1 - after) / (after - before)`, at least 0, in visits.

    Raises:
        ValueError: If a probability is out of range, or learning did not raise it (the count would be negative or
            infinite): names the first place.

    Source: arXiv 1606.01868.

    Example:
        >>> round(float(pseudo_count(3 / 10, 4 / 11)), 9)
        3.0
    """
    before, after = np.broadcast_arrays(np.asarray(before, float), np.asarray(after, float))
    wrong = ~((before >= 0) & (after <= 1) & (after > before))
    if wrong.any():
        place = tuple(int(at) for at in np.argwhere(wrong)[0])
        where = f"[{', '.join(map(str, place))}]" if place else ""
        raise ValueError(
            f"before{where} is {before[place]:.6g} and after{where} {after[place]:.6g}, "
            f"expected 0 <= before < after <= 1: the model must learn from what it sees"
        )
    return before * (1 - after) / (after - before)


def pseudo_count_bonus(
    count: Float[np.ndarray, "*shape"] | float, *, bonus: float = 0.05, offset: float = 0.01
) -> Float[np.ndarray, "*shape"] | float:
    """Bonus `bonus / sqrt(count + offset)` of a count that leaves the current visit out.

    At count 0 this is 10 times `bonus` with the default offset, where a count that includes the current visit,
    `bonus / sqrt(N)`, begins with `bonus` itself: the same coefficient means something else in the two conventions.

    Args:
        count: Visits before this one, such as `pseudo_count` gives.
        bonus: Coefficient.
        offset: Keeps the bonus of a new state finite.

    Raises:
        ValueError: If a count is negative or not finite, or the offset is not above 0.

    Source: arXiv 1606.01868.

    Example:
        >>> pseudo_count_bonus(np.array([0.0, 0.99])).round(6).tolist()
        [0.5, 0.05]
    """
    check_scalar("bonus", bonus, low=0)
    check_scalar("offset", offset, low=0, open_low=True)
    count = np.asarray(count, float)
    wrong = ~(np.isfinite(count) & (count >= 0))
    if wrong.any():
        place = tuple(int(at) for at in np.argwhere(wrong)[0])
        where = f"[{', '.join(map(str, place))}]" if place else ""
        raise ValueError(f"count{where} is {count[place]}, expected a finite number of at least 0")
    return bonus / np.sqrt(count + offset)
