"""Preferences between two rewards: the Bradley-Terry model."""

from jaxtyping import Float

from rewardlab.arrays import Array, array_namespace

__all__ = ["bradley_terry_gradient", "bradley_terry_loss", "preference_probability", "preference_target"]


def preference_probability(first: Float[Array, "*pairs"], second: Float[Array, "*pairs"]) -> Float[Array, "*pairs"]:
    """Probability that the second of two is preferred: `exp(r2) / (exp(r1) + exp(r2))`, for rewards of any size.

    Args:
        first: Rewards of the first of each pair.
        second: Of the second.

    >>> import numpy as np
    >>> float(preference_probability(np.array(0.3), np.array(1.1)).round(6))
    0.689974
    """
    xp = array_namespace(first, second)
    zero = xp.zeros_like(second - first)
    return xp.exp(-xp.logaddexp(zero, first - second))


def bradley_terry_loss(
    first: Float[Array, "*pairs"], second: Float[Array, "*pairs"], target: Float[Array, "*pairs"]
) -> Float[Array, "*pairs"]:
    """Cross entropy of each preference: `-(t log P2 + (1 - t) log P1)`, unchanged when both rewards are shifted.

    Args:
        first: Rewards of the first of each pair.
        second: Of the second.
        target: 1 where the second is preferred, 0 where the first is, 0.5 for a tie, whose loss is smallest, log 2,
            where both rewards are equal.

    >>> import numpy as np
    >>> bradley_terry_loss(np.full(3, 0.3), np.full(3, 1.1), np.array([1.0, 0.0, 0.5])).round(6).tolist()
    [0.371101, 1.171101, 0.771101]
    """
    xp = array_namespace(first, second, target)
    difference = second - first
    return xp.logaddexp(xp.zeros_like(difference), difference) - target * difference


def bradley_terry_gradient(
    first: Float[Array, "*pairs"], second: Float[Array, "*pairs"], target: Float[Array, "*pairs"]
) -> Float[Array, "*pairs"]:
    """Derivative of each loss by `second - first`: `P2 - t`."""
    return preference_probability(first, second) - target


def preference_target(label: int) -> float:
    """Target of an annotator's answer: 0 the first is better, 1 the second, 2 a tie, 3 no answer (trained as a tie).

    Raises:
        ValueError: If the answer is none of these.
    """
    if isinstance(label, bool) or label not in (0, 1, 2, 3):
        raise ValueError(f"label is {label!r}, expected 0 (first), 1 (second), 2 (tie) or 3 (no answer)")
    return float(label) if label < 2 else 0.5
