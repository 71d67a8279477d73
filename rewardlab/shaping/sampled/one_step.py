"""Hyper-gradients that look a step or a few ahead: LIRPG's, and the three of BiPaRS.

Each returns a scalar to be differentiated by whatever the blended rewards were made of, or carries a matrix from update
to update; so the same functions serve a network, one weight a state, and a single scalar weight of the heuristic, the
ablation that should always stand beside the larger ones:

    weight = torch.zeros((), requires_grad=True)
    blended = batch.primary + weight * batch.auxiliary[..., 0]
    objective = importance_weighted_return(policy, batch, blended, 0.99, learning_rate=0.1)
    (hyper_gradient,) = torch.autograd.grad(objective, weight)
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, jacfwd

from rewardlab.checks import check_scalar
from rewardlab.shaping.sampled.curvature import Product
from rewardlab.shaping.sampled.curvature_products import flat_parameters, named_parameters
from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.policies import Policy
from rewardlab.shaping.sampled.surrogate import reward_to_go, surrogate

__all__ = [
    "carried_sensitivity",
    "explicit_mapping_return",
    "importance_weighted_gradient",
    "importance_weighted_return",
    "inner_gradient",
    "inner_update",
    "meta_gradient_return",
    "mixed_derivative",
]


def inner_gradient(
    policy: Policy,
    batch: Batch,
    rewards: Float[Tensor, "episodes steps"],
    discount: float | Float[Tensor, ""],
    *,
    entropy_weight: float = 0.0,
) -> Float[Tensor, " parameters"]:
    """Gradient of `surrogate` at the policy's parameters, flat, differentiable in the rewards and the discount.

    Raises:
        ValueError: As `surrogate`.
    """

    def objective(flat: Tensor) -> Tensor:
        parameters = named_parameters(policy, flat)
        return surrogate(policy, parameters, batch, rewards, discount, entropy_weight=entropy_weight)

    return grad(objective)(flat_parameters(policy))


def inner_update(
    policy: Policy,
    batch: Batch,
    rewards: Float[Tensor, "episodes steps"],
    discount: float | Float[Tensor, ""],
    *,
    learning_rate: float | Float[Tensor, " parameters"],
    entropy_weight: float = 0.0,
) -> Float[Tensor, " parameters"]:
    """Parameters after one ascent step on the surrogate, flat, differentiable in the rewards and the discount.

    Args:
        policy: The policy, which is not changed.
        batch: Episodes.
        rewards: The blend.
        discount: Of the inner problem, in [0, 1].
        learning_rate: Above 0, or one a parameter: what RMSprop or Adam divide by is then held constant.
        entropy_weight: See `surrogate`.

    Raises:
        ValueError: If a rate is not above 0, or their number is not that of the parameters; or as `surrogate`.
    """
    start = flat_parameters(policy)
    rate = _checked_rate(learning_rate, start)
    return start + rate * inner_gradient(policy, batch, rewards, discount, entropy_weight=entropy_weight)


def importance_weighted_return(
    policy: Policy,
    batch: Batch,
    rewards: Float[Tensor, "episodes steps"],
    discount: float | Float[Tensor, ""],
    *,
    learning_rate: float | Float[Tensor, " parameters"],
    outer_discount: float = 0.99,
    advantages: Float[Tensor, "episodes steps"] | None = None,
    entropy_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """How the primary return would change after one inner update, judged on the episodes that made it (LIRPG).

    Args:
        policy: The policy that drew the episodes; it is not changed.
        batch: Episodes.
        rewards: The blend, differentiable in what is to be learned.
        discount: Of the inner problem, in [0, 1]; may be learned, too.
        learning_rate: Of the inner update; see `inner_update`.
        outer_discount: Of the primary return, in [0, 1].
        advantages: What an action was worth to the primary return; the sums of primary rewards from each step on, less
            nothing, where None.
        entropy_weight: Of the inner update; see `surrogate`.

    Returns:
        A scalar: mean of ratio * advantage, the ratio that of the probabilities of the action after and before the
        update. To first order its gradient is learning_rate times the inner product of two policy gradients.

    Raises:
        ValueError: As `inner_update`, or if the advantages are not one a step.

    Source: On Learning Intrinsic Rewards for Policy Gradient Methods (arXiv 1804.06459). There an actor-critic, whose
        extrinsic critic gives the advantages; REINFORCE here, with advantages from wherever the caller has them. No
        clipping of the ratio.
    """
    updated = inner_update(policy, batch, rewards, discount, learning_rate=learning_rate, entropy_weight=entropy_weight)
    return _importance_weighted(policy, batch, updated, outer_discount, advantages)


def importance_weighted_gradient(
    policy: Policy,
    batch: Batch,
    updated: Float[Tensor, " parameters"],
    *,
    outer_discount: float = 0.99,
    advantages: Float[Tensor, "episodes steps"] | None = None,
) -> Float[Tensor, " parameters"]:
    """Gradient of `importance_weighted_return` in the updated parameters: what LIRPG has for the plain policy gradient.

    Args:
        policy: The policy that drew the episodes, before the update.
        batch: Episodes.
        updated: Parameters after the update, flat.
        outer_discount: See `importance_weighted_return`.
        advantages: See `importance_weighted_return`.

    Raises:
        ValueError: If the parameters are not as many as the policy's; or as `importance_weighted_return`.
    """
    return grad(lambda flat: _importance_weighted(policy, batch, flat, outer_discount, advantages))(updated.detach())


def meta_gradient_return(
    policy: Policy,
    batch: Batch,
    rewards: Float[Tensor, "episodes steps"],
    discount: float | Float[Tensor, ""],
    *,
    outer_gradient: Float[Tensor, " parameters"],
    learning_rate: float | Float[Tensor, " parameters"],
    entropy_weight: float = 0.0,
) -> Float[Tensor, ""]:
    """One-step unrolling with the primary gradient from elsewhere (BiPaRS, meta-gradient learning, MGL).

    Args:
        policy: The policy before its update, which drew `batch`.
        batch: The episodes of the inner update.
        rewards: The blend, differentiable in what is to be learned.
        discount: Of the inner problem.
        outer_gradient: Gradient of the primary return by the policy's parameters, flat: at the updated policy and on
            episodes of its own, or, to save those, at the policy before (first-order BARFI up to a scale).
        learning_rate: Of the inner update; see `inner_update`.
        entropy_weight: See `surrogate`; it drops out of the derivative.

    Returns:
        A scalar whose derivative is outer_gradient' d(updated parameters).

    Raises:
        ValueError: As `inner_update`, or if the gradient is not one a parameter.

    Source: Learning to Utilize Shaping Rewards (arXiv 2011.02669), from a secondary account of it: the sums there drop
        or keep gamma^t; here they are those of `surrogate`.
    """
    updated = inner_update(policy, batch, rewards, discount, learning_rate=learning_rate, entropy_weight=entropy_weight)
    if outer_gradient.shape != updated.shape:
        raise ValueError(
            f"outer_gradient has shape {tuple(outer_gradient.shape)}, expected one a parameter: {tuple(updated.shape)}"
        )
    return outer_gradient.detach() @ updated


def mixed_derivative(
    policy: Policy,
    batch: Batch,
    blend: Callable[[Tensor], tuple[Tensor, float | Tensor]],
    weights: Float[Tensor, " weights"],
) -> Float[Tensor, "parameters weights"]:
    """How the inner policy gradient moves with each weight of a blend; its entropy does not.

    Args:
        policy: The policy.
        batch: Episodes.
        blend: From a vector of weights to the rewards (episodes, steps) and the discount.
        weights: Where to differentiate.
    """

    def advantages(weights: Tensor) -> Tensor:
        rewards, discount = blend(weights)
        return reward_to_go(torch.where(batch.mask, rewards, 0), discount) / (len(rewards) * batch.divisor)

    moved = jacfwd(advantages)(weights.detach())  # 0 in the padding, as the sums themselves
    columns = [policy.gradient(batch.x, batch.actions, column) for column in moved.unbind(-1)]
    return torch.stack([torch.cat([part.reshape(-1) for part in column]) for column in columns], 1).detach()


def carried_sensitivity(
    sensitivity: Float[Tensor, "parameters weights"],
    product: Product,
    mixed: Float[Tensor, "parameters weights"],
    *,
    learning_rate: float | Float[Tensor, " parameters"],
) -> Float[Tensor, "parameters weights"]:
    """How the parameters depend on the blend after one more inner update (BiPaRS, incremental, IMGL).

    Carried from update to update, starting with zeros, this is forward-mode unrolling: after K updates the
    hyper-gradient `sensitivity.T @ outer_gradient` knows of all K, without keeping any of them; it needs one product
    a weight. The first call is MGL.

    Args:
        sensitivity: Derivative of the parameters by the weights before the update.
        product: Hessian of the inner problem at the policy before the update times a vector; see
            `curvature_products`. The exact one is noisy but right, the surrogate's is what automatic differentiation
            of the sampled gradient gives.
        mixed: See `mixed_derivative`, at the policy before the update, on its batch.
        learning_rate: Of that update; see `inner_update`.

    Returns:
        sensitivity + learning_rate * (H sensitivity + mixed), detached.

    Raises:
        ValueError: If shapes disagree, or a rate is not above 0.

    Source: as `meta_gradient_return`.
    """
    if sensitivity.ndim != 2 or sensitivity.shape != mixed.shape:
        raise ValueError(
            f"sensitivity has shape {tuple(sensitivity.shape)} and mixed {tuple(mixed.shape)}, "
            f"expected (parameters, weights) of both"
        )
    rate = torch.as_tensor(_checked_rate(learning_rate, sensitivity[:, 0]), dtype=sensitivity.dtype)
    curved = torch.stack([product(column) for column in sensitivity.T], 1) if sensitivity.any() else 0.0
    return (sensitivity + rate.reshape(-1, 1) * (curved + mixed)).detach()


def explicit_mapping_return(
    policy: Policy,
    batch: Batch,
    shaping_weights: Float[Tensor, "episodes steps weights"],
    *,
    outer_discount: float = 0.99,
) -> Float[Tensor, ""]:
    """Surrogate of the primary return for a policy that is told the shaping weights (BiPaRS, explicit mapping, EM).

    Nothing is unrolled: the weights of the heuristics reach the primary return through the policy's own inputs.

    Args:
        policy: A policy on the features of the observation followed by the shaping weights at it.
        batch: Episodes with the features of the observation alone.
        shaping_weights: What the policy is told at each step, differentiable in what is to be learned; at its present
            value, the policy that drew the episodes.
        outer_discount: Of the primary return, in [0, 1].

    Returns:
        A scalar whose derivative is the mean of d log pi(a | s, weights) times the primary rewards from there on.

    Raises:
        ValueError: If the weights are not (episodes, steps, weights), or the discount is out of range.

    Source: as `meta_gradient_return`; its Theorem 1.
    """
    check_scalar("outer_discount", outer_discount, low=0.0, high=1.0)
    if shaping_weights.ndim != 3 or shaping_weights.shape[:2] != batch.mask.shape:
        raise ValueError(
            f"shaping_weights has shape {tuple(shaping_weights.shape)}, expected (episodes, steps, weights) with "
            f"{tuple(batch.mask.shape)} episodes and steps"
        )
    told = batch._replace(x=torch.cat([batch.x, shaping_weights], -1))
    return surrogate(policy, None, told, batch.primary, outer_discount)


def _importance_weighted(
    policy: Policy, batch: Batch, updated: Tensor, outer_discount: float, advantages: Tensor | None
) -> Tensor:
    check_scalar("outer_discount", outer_discount, low=0.0, high=1.0)
    worth = _primary_to_go(batch, outer_discount) if advantages is None else advantages
    if worth.shape != batch.mask.shape:
        raise ValueError(
            f"advantages has shape {tuple(worth.shape)}, expected (episodes, steps) as the batch: "
            f"{tuple(batch.mask.shape)}"
        )
    after = functional_call(policy, named_parameters(policy, updated), (batch.x, batch.actions))[0]
    with torch.no_grad():
        before = policy.log_prob(batch.x, batch.actions)
    ratio = torch.where(batch.mask, after - before, 0).exp()
    return torch.where(batch.mask, ratio * worth.detach(), 0).sum() / (len(worth) * batch.divisor)


def _primary_to_go(batch: Batch, discount: float) -> Float[Tensor, "episodes steps"]:
    return reward_to_go(torch.where(batch.mask, batch.primary, 0), discount)


def _checked_rate(learning_rate: float | Tensor, like: Tensor) -> float | Tensor:
    if not isinstance(learning_rate, Tensor):
        return check_scalar("learning_rate", learning_rate, low=0, open_low=True)
    if learning_rate.shape not in (torch.Size([]), like.shape):
        raise ValueError(
            f"learning_rate has shape {tuple(learning_rate.shape)}, expected a number or one a parameter: "
            f"{tuple(like.shape)}"
        )
    if not bool((torch.isfinite(learning_rate) & (learning_rate > 0)).all()):
        raise ValueError("learning_rate has an entry that is not a finite number above 0")
    return learning_rate.detach()
