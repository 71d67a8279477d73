"""What discriminator and generator minimise in the adversarial training of a dynamics reward."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import softplus

__all__ = ["advantages_of", "clipped_policy_loss", "discriminator_loss", "generator_rewards", "verdict_entropy"]


def discriminator_loss(real: Float[Tensor, " b"], generated: Float[Tensor, " c"]) -> Float[Tensor, ""]:
    """Cross entropy of telling real from generated transitions, each side averaged, from logits.

    Equals log 4 = 1.386 where all logits are 0, and minimised by the logarithm of real over generated density.

    Example:
        >>> discriminator_loss(torch.zeros(3), torch.zeros(2))
        tensor(1.3863)
    """
    return softplus(-real).mean() + softplus(generated).mean()


def generator_rewards(logits: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """What the generator is paid for a transition, `-log(1 - probability) = softplus(logit)`, in nats."""
    return softplus(logits)


def verdict_entropy(logits: Float[Tensor, "*batch"]) -> Float[Tensor, ""]:
    """Mean entropy of the verdicts "real" and "generated", in nats; log 2 where all logits are 0.

    Example:
        >>> verdict_entropy(torch.zeros(3))
        tensor(0.6931)
    """
    size = logits.abs()  # what is exact where the verdict is sure
    return (softplus(-size) + size * torch.sigmoid(-size)).mean()


def advantages_of(
    rewards: Float[Tensor, "t b"],
    values: Float[Tensor, "t b"],
    *,
    discount: float,
    trace: float,
) -> Float[Tensor, "t b"]:
    """Generalised advantage estimates of rollouts that end with their last step.

    Args:
        rewards: Of each step.
        values: Of each step's state, before its choice.
        discount: In [0, 1].
        trace: In [0, 1]: 0 for one-step differences, 1 for the whole sum.

    Source:
        arXiv 1506.02438, equation 16.
    """
    errors = rewards + discount * torch.cat([values[1:], torch.zeros_like(values[:1])]) - values
    advantages = torch.zeros_like(errors)
    following = torch.zeros_like(errors[0])
    for step in reversed(range(len(errors))):
        following = errors[step] + discount * trace * following
        advantages[step] = following
    return advantages


def clipped_policy_loss(
    log_ratio: Float[Tensor, " b"], advantages: Float[Tensor, " b"], *, clip: float
) -> Float[Tensor, ""]:
    """Negative clipped surrogate of proximal policy optimisation; its gradient at ratio 1 is the policy gradient.

    Args:
        log_ratio: Log density now minus log density when the rollouts were made.
        advantages: Of each choice.
        clip: Half width of the interval around 1 beyond which a ratio that would pay gives no gradient.

    Source:
        arXiv 1707.06347, equation 7.
    """
    ratio = log_ratio.exp()
    return -torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages).mean()
