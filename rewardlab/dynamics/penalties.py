"""How far the members of an ensemble may be trusted: what MOPO and MOBILE subtract."""

import torch
from jaxtyping import Float
from torch import Tensor

from rewardlab.checks import check_choice

__all__ = ["PENALTIES", "bellman_inconsistency", "mopo_penalty"]

PENALTIES = ("aleatoric", "pairwise_difference", "ensemble_standard_deviation")


def mopo_penalty(
    mean: Float[Tensor, "members *batch outputs"],
    log_variance: Float[Tensor, "members *batch outputs"],
    kind: str = "aleatoric",
) -> Float[Tensor, "*batch"]:
    """MOPO's penalty on a model's prediction, to be subtracted from the reward with a weight.

    Args:
        mean: Means of all members; the last output is the reward.
        log_variance: Their log variances, used by "aleatoric" only.
        kind: "aleatoric" is the largest, over the members, Euclidean norm of the predicted standard deviations of all
            outputs, reward included. "pairwise_difference" is the largest distance of a member's mean observation from
            that of all members together. "ensemble_standard_deviation" is the root of the members' variance (of the
            population), averaged over the numbers of the observation.

    Returns:
        At least 0, in the raw units of observations.

    Raises:
        ValueError: If there is no such kind, or the shapes differ.

    Source:
        MOPO (arXiv 2005.13239), with the forms of the official implementation that MOREC (arXiv 2310.05422) uses. There
        the penalty is taken over all members, though only the elites predict.

    Example:
        >>> deviations = torch.tensor([[[0.3, 0.4]], [[0.6, 0.8]]])
        >>> mopo_penalty(torch.zeros(2, 1, 2), 2 * deviations.log())
        tensor([1.])
    """
    check_choice("kind", kind, PENALTIES)
    if mean.shape != log_variance.shape or mean.ndim < 2 or mean.shape[-1] < 2:
        raise ValueError(
            f"mean has shape {tuple(mean.shape)} and log_variance {tuple(log_variance.shape)}, expected both (E, B, D) "
            f"with D at least 2: observation and reward"
        )
    if kind == "aleatoric":
        return torch.exp(0.5 * log_variance).norm(dim=-1).amax(dim=0)
    observations = mean[..., :-1]
    if kind == "pairwise_difference":
        return (observations - observations.mean(dim=0)).norm(dim=-1).amax(dim=0)
    return observations.var(dim=0, correction=0).mean(dim=-1).sqrt()


def bellman_inconsistency(values: Float[Tensor, "elites *batch"]) -> Float[Tensor, "*batch"]:
    """MOBILE's uncertainty of a target: the standard deviation over the members of what each predicts to follow.

    Args:
        values: For each elite, the mean over its sampled next observations of the smaller target critic's value.

    Returns:
        The unbiased estimate (divided by one less than the members).

    Raises:
        ValueError: If there are fewer than two members.

    Source:
        MOBILE (ICML 2023), as used by MOREC (arXiv 2310.05422).

    Example:
        >>> bellman_inconsistency(torch.tensor([[1.0], [2.0], [4.0]]))
        tensor([1.5275])
    """
    if values.ndim < 1 or len(values) < 2:
        raise ValueError(f"values has shape {tuple(values.shape)}, expected (L, B) with at least two members")
    return values.std(dim=0, correction=1)
