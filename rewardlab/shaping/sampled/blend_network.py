"""The reward that learns how far to trust each heuristic, and the discount that is learned beside it."""

import math
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewardlab.checks import as_generator, check_choice, check_scalar

__all__ = ["BlendKind", "BlendNetwork"]

BlendKind = Literal["linear", "scalar"]


class BlendNetwork(nn.Module):
    """A bonus of the state, plus weight times primary reward, plus the weights times the auxiliary rewards.

    Each weight is a linear function of the features of the state, or one number for all states. The primary reward
    has weight 1 unless `learn_primary`: scaling the whole blend only makes the policy greedier, and never ends.

    Args:
        kind: `linear` in the features, or `scalar`.
        features: Features there are; not needed for `scalar`.
        heuristics: Auxiliary rewards there are.
        learn_bonus: Whether the blend has a bonus of the state.
        learn_primary: Whether the weight of the primary reward is learned.
        start: First value of the weights of the auxiliary rewards (and of the primary one where learned: 1). None
            starts all weights at random, as published: uniform in +-1/sqrt(features), so close to trusting nothing.
        bonus_offset: Added to the bonus, outside the penalty.
        start_bonus: First value of the bonus where `start` is given.
        discount: First value of the discount, in (0, 1).
        rng: Seed of the first values.
        dtype: Of the parameters.

    Source: Behavior Alignment via Reward Function Optimization (arXiv 2310.19007). The official code also has an idle
        weight of the primary reward where that is fixed at 1; it enters nothing but the penalty and is left out here.
    """

    def __init__(
        self,
        kind: BlendKind,
        features: int | None = None,
        heuristics: int = 1,
        *,
        learn_bonus: bool = True,
        learn_primary: bool = False,
        start: float | None = None,
        start_bonus: float = 0.0,
        bonus_offset: float = 0.0,
        discount: float = 0.99,
        rng: int | np.random.Generator = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        check_choice("kind", kind, get_args(BlendKind))
        check_scalar("heuristics", heuristics, low=1, whole=True)
        if not 0 < check_scalar("discount", discount) < 1:
            raise ValueError(f"discount is {discount}, expected a number in (0, 1): its logit is what is learned")
        if kind == "linear":
            check_scalar("features", features, low=1, whole=True)
        self.kind, self.heuristics, self.bonus_offset = kind, heuristics, bonus_offset
        self.learn_bonus, self.learn_primary = learn_bonus, learn_primary
        heads = heuristics + learn_bonus + learn_primary
        first = [start_bonus] * learn_bonus + [1.0] * learn_primary + [start or 0.0] * heuristics
        generator, inputs = as_generator(rng), features if kind == "linear" else 1
        bound = 1 / math.sqrt(inputs) if start is None else 0.0
        values = torch.tensor(first, dtype=dtype) * (start is not None)
        self.values = nn.Parameter(values + torch.from_numpy(generator.uniform(-bound, bound, heads)).to(dtype))
        if kind == "linear":
            self.weight = nn.Parameter(torch.from_numpy(generator.uniform(-bound, bound, (heads, features))).to(dtype))
        self.discount_logit = nn.Parameter(torch.tensor(math.log(discount / (1 - discount)), dtype=dtype))

    def weights(self, x: Float[Tensor, "*n features"]) -> Float[Tensor, "*n heads"]:
        """Bonus, weight of the primary and of the auxiliary rewards, as far as they are learned, at each state."""
        if self.kind == "scalar":
            return self.values.expand(*x.shape[:-1], -1)
        return nn.functional.linear(x, self.weight, self.values)

    def forward(
        self,
        x: Float[Tensor, "*n features"],
        primary: Float[Tensor, "*n"],
        auxiliary: Float[Tensor, "*n heuristics"],
    ) -> Float[Tensor, "*n"]:
        """The blended reward.

        Raises:
            ValueError: If there is another number of auxiliary rewards than the blend has weights for.
        """
        if auxiliary.shape[-1] != self.heuristics:
            raise ValueError(
                f"auxiliary holds {auxiliary.shape[-1]} rewards a step, the blend {self.heuristics} weights"
            )
        weights = self.weights(x)
        blended = (weights[..., -self.heuristics :] * auxiliary).sum(-1)
        blended = blended + (weights[..., int(self.learn_bonus)] * primary if self.learn_primary else primary)
        return blended + weights[..., 0] + self.bonus_offset if self.learn_bonus else blended

    def discount(self) -> Float[Tensor, ""]:
        """The learned discount, in (0, 1)."""
        return torch.sigmoid(self.discount_logit)

    def reward_parameters(self) -> list[nn.Parameter]:
        """Parameters of the blended reward: all but the discount's."""
        return [self.weight, self.values] if self.kind == "linear" else [self.values]

    def penalty(self) -> Float[Tensor, ""]:
        """Sum of the Euclidean norms, not squared, of the weight matrix and of the constant part, as published."""
        return sum(torch.linalg.vector_norm(parameter) for parameter in self.reward_parameters())
