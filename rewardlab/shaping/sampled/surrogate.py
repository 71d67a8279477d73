"""The function whose gradient is the sampled policy gradient, differentiable in the reward and the discount too."""

import torch
from jaxtyping import Float
from torch import Tensor

from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.policies import Policy

__all__ = ["reward_to_go", "surrogate"]

BY_PRODUCT = 128  # up to this many steps one triangular product is quicker than doubling


def reward_to_go(
    rewards: Float[Tensor, "episodes steps"], discount: float | Float[Tensor, ""]
) -> Float[Tensor, "episodes steps"]:
    """Discounted sums from each step on, differentiable (twice) in rewards and discount.

    Args:
        rewards: One row an episode, 0 behind its end.
        discount: In [0, 1], a number or a scalar tensor.

    Returns:
        Sums of the shape of `rewards`.
    """
    steps = rewards.shape[1]
    if steps <= BY_PRODUCT:
        lag = torch.arange(steps)[:, None] - torch.arange(steps)  # [later, now]
        power = torch.as_tensor(discount, dtype=rewards.dtype) ** lag.clamp(min=0)
        return rewards @ torch.tril(power)
    reach = 1  # by doubling: sums over 2, 4, 8, ... steps
    while reach < steps:
        later = rewards[:, :-reach] + discount**reach * rewards[:, reach:]
        rewards = torch.cat([later, rewards[:, -reach:]], 1)
        reach *= 2
    return rewards


def surrogate(
    policy: Policy,
    parameters: dict[str, Tensor] | None,
    batch: Batch,
    rewards: Float[Tensor, "episodes steps"],
    discount: float | Float[Tensor, ""],
    *,
    entropy_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """Mean over episodes and steps of log pi(a|s) times the reward-to-go, plus the mean entropy of a step.

    Its gradient in the policy's parameters is the sampled policy gradient. Its value means nothing, and its Hessian
    is not that of the return: the score's outer product is missing (see `curvature_products.exact_product`).

    Args:
        policy: The policy.
        parameters: Parameters by name to put in place of the policy's own; None for its own.
        batch: Episodes.
        rewards: What to accumulate, such as `batch.primary` or a blend; whatever stands in the padding is ignored.
        discount: In [0, 1].
        entropy_weight: Of the mean entropy over all steps of the batch.

    Returns:
        A scalar: sum over steps / `batch.divisor`, averaged over episodes, plus `entropy_weight` times the entropy.

    Raises:
        ValueError: If the rewards are not one a step of the batch.

    Source: Behavior Alignment via Reward Function Optimization (arXiv 2310.19007), as its official code computes it:
        no importance ratios, no gamma^t in front of step t, sums divided by the padded horizon.
    """
    if rewards.shape != batch.mask.shape:
        raise ValueError(
            f"rewards has shape {tuple(rewards.shape)}, expected (episodes, steps) as the batch: "
            f"{tuple(batch.mask.shape)}"
        )
    returns = reward_to_go(torch.where(batch.mask, rewards, 0), discount)
    inputs = (batch.x, batch.actions)
    log_prob, entropy = (
        policy(*inputs) if parameters is None else torch.func.functional_call(policy, parameters, inputs)
    )
    total = torch.where(batch.mask, log_prob * returns, 0).sum() / (len(rewards) * batch.divisor)
    if entropy_weight:
        total = total + entropy_weight * torch.where(batch.mask, entropy, 0).sum() / batch.mask.sum()
    return total
