"""RewardMATH: one right solution of a problem against nine wrong ones."""

from dataclasses import dataclass

from jaxtyping import Num

from rewardlab.arrays import Array, array_namespace
from rewardlab.checks import check_array
from rewardlab.scoring.one_against_many import accuracy, accuracy_with_ties, reciprocal_rank, standing

__all__ = ["RewardMathScores", "reward_math"]


@dataclass(frozen=True)
class RewardMathScores:
    """Means over problems, each in [0, 1].

    Args:
        accuracy: The right solution scores highest, alone.
        accuracy_with_ties: No wrong solution scores higher.
        mean_reciprocal_rank: Of the right solution, ties counted against it.
    """

    accuracy: float
    accuracy_with_ties: float
    mean_reciprocal_rank: float


def reward_math(scores: Num[Array, "problems candidates"]) -> RewardMathScores:
    """The three numbers that RewardMATH reports.

    Args:
        scores: The right solution's score first, then the wrong ones'. NumPy or torch. Of a judge that rates, its
            ratings; of one that compares, `scores_of_pairwise_judge`; of a process reward model,
            `rewardlab.process.aggregate_steps`.

    Raises:
        ValueError: If a score is NaN, or there is no problem or no wrong solution.

    Source: RewardMATH (arXiv 2410.01729).

    Example:
        >>> import numpy as np
        >>> reward_math(np.array([[3.0, 2.0, 1.0], [2.0, 2.0, 1.0]]))
        RewardMathScores(accuracy=0.5, accuracy_with_ties=1.0, mean_reciprocal_rank=0.75)
    """
    if hasattr(scores, "scores"):
        raise TypeError(
            f"scores: expected an array (problems, candidates), got {type(scores).__name__}; pass its .scores"
        )
    if check_array("scores", scores).ndim != 2:
        raise ValueError(f"scores has shape {tuple(scores.shape)}, expected (problems, candidates)")
    if not scores.shape[0]:
        raise ValueError("scores has no problem, expected at least one")
    place = standing(scores)
    xp = array_namespace(scores)
    return RewardMathScores(
        *(float(xp.mean(rule(place))) for rule in (accuracy, accuracy_with_ties, reciprocal_rank)),
    )
