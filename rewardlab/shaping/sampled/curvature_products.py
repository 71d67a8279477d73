"""The curvature of an inner problem from sampled episodes, as products with flat vectors: surrogate, Fisher, exact."""

from collections.abc import Callable
from typing import get_args

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, grad, vjp

from rewardlab.checks import check_choice, check_scalar
from rewardlab.shaping.sampled.curvature import Curvature, Product
from rewardlab.shaping.sampled.episodes import Batch
from rewardlab.shaping.sampled.policies import Policy
from rewardlab.shaping.sampled.surrogate import reward_to_go, surrogate

__all__ = [
    "curvature_product",
    "exact_product",
    "fisher_product",
    "flat_parameters",
    "named_parameters",
    "surrogate_product",
]


def flat_parameters(policy: Policy) -> Float[Tensor, " parameters"]:
    """All parameters in one vector, in the order of `policy.parameters()`, detached."""
    return torch.cat([parameter.detach().reshape(-1) for parameter in policy.parameters()])


def named_parameters(policy: Policy, flat: Float[Tensor, " parameters"]) -> dict[str, Tensor]:
    """A flat vector as parameters by name, as `surrogate` and `torch.func.functional_call` take them.

    Raises:
        ValueError: If the vector does not have as many entries as the policy has parameters.
    """
    shapes = {name: parameter.shape for name, parameter in policy.named_parameters()}
    sizes = [shape.numel() for shape in shapes.values()]
    if flat.shape != (sum(sizes),):
        raise ValueError(f"the flat vector has shape {tuple(flat.shape)}, expected ({sum(sizes)},), one a parameter")
    parts = torch.split(flat, sizes)
    return {name: part.reshape(shape) for (name, shape), part in zip(shapes.items(), parts, strict=True)}


def curvature_product(
    kind: Curvature,
    policy: Policy,
    batch: Batch,
    rewards: Float[Tensor, "episodes steps"],
    discount: float | Float[Tensor, ""],
    *,
    entropy_weight: float = 0.0,
) -> Product | None:
    """The product that belongs to a kind of `solve_curvature`.

    Returns:
        None for "first_order"; the surrogate's Hessian for "neumann" (as published) and "surrogate"; `exact_product`;
        and `fisher_product` at the temperature that `entropy_weight` amounts to, or 1 without entropy, where only the
        direction has a meaning.

    Raises:
        ValueError: If the kind is unknown; and as the functions named.
    """
    check_choice("kind", kind, get_args(Curvature))
    if kind == "first_order":
        return None
    if kind == "fisher":
        return fisher_product(policy, batch, temperature=entropy_weight or 1.0)
    product = exact_product if kind == "exact" else surrogate_product
    return product(policy, batch, rewards, discount, entropy_weight=entropy_weight)


def surrogate_product(
    policy: Policy,
    batch: Batch,
    rewards: Float[Tensor, "episodes steps"],
    discount: float | Float[Tensor, ""],
    *,
    entropy_weight: float = 0.0,
) -> Product:
    """Hessian of the surrogate times a vector: what differentiating the sampled policy gradient once more gives.

    It is not the Hessian of the return: the score's outer product is missing, because the surrogate does not know that
    the episodes were drawn from the policy. A constant added to the reward therefore changes it, and its sign.

    Args:
        policy: The policy.
        batch: Episodes.
        rewards: What the inner problem accumulates.
        discount: Of the inner problem, in [0, 1].
        entropy_weight: See `surrogate`.

    Returns:
        A function of a vector (parameters,). The episodes are run through once, when it is made.

    Raises:
        ValueError: As `surrogate`.

    Source: arXiv 2310.19007, as its official code computes it.
    """
    rewards, discount = _constants(rewards, discount)

    def objective(flat: Tensor) -> Tensor:
        parameters = named_parameters(policy, flat)
        return surrogate(policy, parameters, batch, rewards, discount, entropy_weight=entropy_weight)

    return _transposed_jacobian(grad(objective), flat_parameters(policy))


def fisher_product(
    policy: Policy,
    batch: Batch,
    *,
    temperature: float = 1.0,
    discount: float | Float[Tensor, ""] = 1.0,
) -> Product:
    """Minus temperature times the empirical Fisher matrix of the policy, times a vector.

    This is the curvature of an entropy-regularised problem at its soft optimum, where advantages vanish. It is negative
    semi-definite on every batch and does not depend on the reward: no offset can turn its sign.

    Args:
        policy: The policy.
        batch: Episodes, drawn from the policy or one close to it.
        temperature: At least 0. The entropy weight of `surrogate`, which is also a mean over steps, is one.
        discount: Step t of an episode counts discount^t; 1 as in `surrogate`, which drops those weights.

    Returns:
        A function of a vector (parameters,): minus temperature times the mean over all steps of score (score . vector).

    Raises:
        TypeError, ValueError: If the temperature is negative or no number.
    """
    check_scalar("temperature", temperature, low=0)
    weight = _weights(batch, discount) * (temperature / int(batch.mask.sum()))
    start = flat_parameters(policy)

    def log_probabilities(flat: Tensor) -> Tensor:
        return functional_call(policy, named_parameters(policy, flat), (batch.x, batch.actions))[0]

    at_start, pulled_back = vjp(log_probabilities, start)
    # pulled_back is linear, so that its transpose is the score times a vector: two backward passes, no new forward one
    _, transposed = vjp(lambda weights: pulled_back(weights)[0], torch.zeros_like(at_start))

    def product(vector: Tensor) -> Tensor:
        return -pulled_back(weight * transposed(vector)[0])[0]

    return product


def exact_product(
    policy: Policy,
    batch: Batch,
    rewards: Float[Tensor, "episodes steps"],
    discount: float | Float[Tensor, ""],
    *,
    entropy_weight: float = 0.0,
    weigh_steps: bool = False,
) -> Product:
    """Unbiased curvature: the derivative of the expected policy gradient, with the episodes moving along.

    Every reward is multiplied by the ratio of the probabilities of all actions up to it, which is 1 at the policy's own
    parameters and brings back the score's outer product (DiCE). Unbiased, but of a far greater variance than the other
    products, and of any sign away from an optimum.

    Args:
        policy: The policy, from which the episodes must have been drawn.
        batch: Episodes.
        rewards: What the inner problem accumulates.
        discount: Of the inner problem, in [0, 1].
        entropy_weight: See `surrogate`; states that the policy leads to move along as well.
        weigh_steps: Whether step t of the gradient counts discount^t. True: the Hessian of the discounted return.
            False: as `surrogate`, whose gradient drops those weights and belongs to no function then; the matrix is not
            symmetric, and this is its transpose, as hyper-gradients need it.

    Returns:
        A function of a vector (parameters,), scaled as the gradient of `surrogate`.

    Raises:
        ValueError: If the rewards are not one a step of the batch.

    Source: the form that is differentiated twice is that of DiCE (Foerster et al. 2018, arXiv 1802.05098), recalled,
        and checked here against all trajectories of a small world.
    """
    rewards, discount = _constants(rewards, discount)
    if rewards.shape != batch.mask.shape:
        raise ValueError(
            f"rewards has shape {tuple(rewards.shape)}, expected (episodes, steps) as the batch: "
            f"{tuple(batch.mask.shape)}"
        )
    rewards = torch.where(batch.mask, rewards, 0) / (len(rewards) * batch.divisor)
    weight = _weights(batch, discount if weigh_steps else 1.0)
    entropy_each = batch.mask.to(rewards.dtype) * (entropy_weight / int(batch.mask.sum()))

    def policy_gradient(flat: Tensor) -> Tensor:
        def forward(flat: Tensor) -> tuple[Tensor, Tensor]:
            return functional_call(policy, named_parameters(policy, flat), (batch.x, batch.actions))

        (log_prob, _), pulled_back = vjp(forward, flat)
        change = log_prob - log_prob.detach()  # 0, but its derivative is the score; padding has no reward to multiply
        so_far = torch.cumsum(change, 1)
        ratio, ratio_before = so_far.exp(), (so_far - change).exp()
        return pulled_back((weight * reward_to_go(rewards * ratio, discount), entropy_each * ratio_before))[0]

    return _transposed_jacobian(policy_gradient, flat_parameters(policy))


def _transposed_jacobian(function: Callable[[Tensor], Tensor], at: Tensor) -> Product:
    _, pulled_back = vjp(function, at)
    return lambda vector: pulled_back(vector)[0]


def _weights(batch: Batch, discount: float | Tensor) -> Float[Tensor, "episodes steps"]:
    """discount^t at step t, 0 in the padding."""
    steps = torch.arange(batch.mask.shape[1])
    return batch.mask * torch.as_tensor(discount, dtype=batch.x.dtype).detach() ** steps


def _constants(rewards: Tensor, discount: float | Tensor) -> tuple[Tensor, float | Tensor]:
    return rewards.detach(), discount.detach() if isinstance(discount, Tensor) else discount
