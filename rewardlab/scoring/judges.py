"""Judges that name a winner instead of giving scores."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["judged", "scores_of_pairwise_judge"]


def judged(
    answers: Sequence | np.ndarray, right: Sequence | np.ndarray, *, unparsed: float
) -> Float[np.ndarray, "*items"]:
    """1 where a judge named the right candidate, 0 where another, and `unparsed` where its answer could not be read.

    Args:
        answers: What the judge named: letters or positions, None where nothing could be read; nested lists will do.
        right: What it should have named, same shape, never None.
        unparsed: What an unreadable answer is worth: 0.5 in RewardBench, 0.25 in RewardBench 2 (rankings), 0 in
            RewardMATH: what guessing would earn in the first two.

    Returns:
        NumPy array of the shape of `answers`.

    Raises:
        ValueError: If shapes differ, or it is not known which candidate is right.

    Example:
        >>> judged(["A", None, "B"], ["A", "A", "A"], unparsed=0.5)
        array([1. , 0.5, 0. ])
    """
    answers, right = np.asarray(answers, dtype=object), np.asarray(right, dtype=object)
    if answers.shape != right.shape:
        raise ValueError(f"right has shape {right.shape}, expected that of answers {answers.shape}")
    if (right == None).any():  # noqa: E711  elementwise
        raise ValueError(f"right{np.argwhere(right == None)[0].tolist()} is None, expected the right candidate")  # noqa: E711
    correct = (answers == right).astype(np.float64)
    return np.where(answers == None, unparsed, correct)  # noqa: E711


def scores_of_pairwise_judge(won: Bool[np.ndarray, "*items wrong"]) -> Float[np.ndarray, "*items candidates"]:
    """Scores that stand for one right answer's duels with several wrong ones, for use in `standing`.

    The right answer, first in the result, gets its number of wins plus 1; a wrong answer gets 1 where it lost its duel
    and 2 plus the number of duels where it won. So every lost duel costs a rank and nothing ties.

    Args:
        won: True where the right answer won; an answer that could not be read is a duel lost.

    Returns:
        Scores, NumPy.

    Source: RewardMATH (arXiv 2410.01729).
    """
    duels = won.shape[-1]
    right = won.sum(axis=-1, keepdims=True) + 1.0
    return np.concatenate([right, np.where(won, 1.0, duels + 2.0)], axis=-1)
