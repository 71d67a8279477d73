"""How far is the policy from its reference? Estimates from the tokens that it sampled."""

from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor

from llm_scale.objectives.objective import KLEstimator
from rewardlab.checks import check_choice

__all__ = ["kl_terms"]


def kl_terms(
    log_probs: Float[Tensor, "*shape"],
    reference_log_probs: Float[Tensor, "*shape"],
    estimator: KLEstimator,
    *,
    input_clamp: float | None = None,
    clamp: float | None = None,
) -> Float[Tensor, "*shape"]:
    """One estimate of KL(policy || reference) for every token that the policy sampled.

    With x = log reference - log policy: k1 = -x, k2 = x^2 / 2, k3 = exp(x) - x - 1. Over the policy's own samples k1
    and k3 are right on average, k3 with less variance and never negative; k2 is biased. Their gradients are another
    matter. Put into a loss as it is, k1 has no gradient on average, k2 that of KL(policy || reference), k3 that of
    KL(reference || policy); k3 times the ratio of new to old probability has that of KL(policy || reference). So k1
    goes into the reward, and k2, or k3 times the ratio, into the loss.

    Args:
        log_probs: Of the sampled tokens under the policy.
        reference_log_probs: Of the same tokens under the reference.
        estimator: "k1", "k2", "k3"; "k1+" and "k3+" have the value of k1 and k3 with the gradient of k2, as in verl.
        input_clamp: Bound on |x|; 20 in verl. No gradient passes beyond it.
        clamp: Bound on the absolute estimate; 10 in verl and OpenRLHF. No gradient passes beyond it.

    Returns:
        Estimates in nats.

    Raises:
        ValueError: If the estimator is unknown or shapes disagree.

    Source: Approximating KL Divergence (Schulman, 2020); the gradients are our own computation.

    Example:
        >>> kl_terms(torch.tensor([-1.0]), torch.tensor([-1.5]), "k3")
        tensor([0.1065])
    """
    check_choice("estimator", estimator, get_args(KLEstimator))
    if log_probs.shape != reference_log_probs.shape:
        raise ValueError(
            f"reference_log_probs has shape {tuple(reference_log_probs.shape)}, log_probs {tuple(log_probs.shape)}"
        )
    excess = reference_log_probs - log_probs
    if input_clamp is not None:
        excess = excess.clamp(-input_clamp, input_clamp)
    terms = _estimate(excess, estimator[:2])
    if clamp is not None:
        terms = terms.clamp(-clamp, clamp)
    if not estimator.endswith("+"):
        return terms
    square = _estimate(excess, "k2")
    return terms.detach() + square - square.detach()


def _estimate(excess: Tensor, estimator: str) -> Tensor:
    if estimator == "k1":
        return -excess
    if estimator == "k2":
        return excess.square() / 2
    return torch.expm1(excess) - excess
