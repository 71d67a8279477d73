"""RMB: pairs and best-of-n lists, for helpfulness and for harmlessness."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

__all__ = ["RmbScores", "rmb"]


@dataclass(frozen=True)
class RmbScores:
    """Accuracies, each in [0, 1]; `overall` is the plain mean of the other four."""

    helpfulness_pairwise: float
    helpfulness_best_of_n: float
    harmlessness_pairwise: float
    harmlessness_best_of_n: float
    overall: float


def rmb(
    *,
    helpfulness_pairwise: Float[np.ndarray, " pairs"],
    helpfulness_best_of_n: Float[np.ndarray, " lists"],
    harmlessness_pairwise: Float[np.ndarray, " more_pairs"],
    harmlessness_best_of_n: Float[np.ndarray, " more_lists"],
) -> RmbScores:
    """The benchmark's four accuracies and their mean.

    Args:
        helpfulness_pairwise: `pair_accuracy` of each pair.
        helpfulness_best_of_n: `accuracy` of each list: the winner must beat every loser. Lists have 2 to 6 losers, so
            the scores need `standing(scores, present)`.
        harmlessness_pairwise: The same for harmlessness.
        harmlessness_best_of_n: The same for harmlessness.

    Raises:
        ValueError: If one of the four is empty or has a value outside [0, 1].

    Source: RMB (arXiv 2410.09893).
    """
    means = {}
    for name, items in (
        ("helpfulness_pairwise", helpfulness_pairwise),
        ("helpfulness_best_of_n", helpfulness_best_of_n),
        ("harmlessness_pairwise", harmlessness_pairwise),
        ("harmlessness_best_of_n", harmlessness_best_of_n),
    ):
        if not len(items) or not ((items >= 0) & (items <= 1)).all():
            raise ValueError(f"{name}: expected item scores in [0, 1], at least one")
        means[name] = float(np.mean(items))
    return RmbScores(**means, overall=sum(means.values()) / 4)
