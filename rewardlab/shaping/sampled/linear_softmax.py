"""Gradients and curvature of a softmax over linear outputs in closed form: an order quicker than by differentiation."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import linear

from rewardlab.shaping.sampled.curvature import Product

__all__ = ["LinearSoftmax"]


class LinearSoftmax:
    """Log-probabilities of given actions as a function of weight and bias, at one point.

    Everything below is a derivative of sum over n of w[n] log p(a[n] | x[n]) + e[n] H(p(. | x[n])), H the entropy.
    Gradients and directions are pairs of weight and bias; the products take and return them as one flat vector.

    Args:
        x: Features, (n, features).
        actions: Indices, (n,).
        weight: One row an action.
        bias: One entry an action.
    """

    def __init__(
        self,
        x: Float[Tensor, "n features"],
        actions: Int[Tensor, " n"],
        weight: Float[Tensor, "actions features"],
        bias: Float[Tensor, " actions"],
    ):
        self.x, self.actions = x, actions[:, None]
        self.log_all = torch.log_softmax(linear(x, weight, bias), 1)
        self.probabilities = self.log_all.exp()

    def gradient(self, weights: Float[Tensor, " n"], entropy_weights: Float[Tensor, " n"] | None) -> list[Tensor]:
        """Of the sum, in weight and bias."""
        weights = weights[:, None]
        by_output = self._pull(weights, entropy_weights).mul_(self.probabilities).neg_()
        by_output.scatter_add_(1, self.actions, weights)
        return [by_output.T @ self.x, by_output.sum(0)]

    def directional(self, direction: list[Tensor]) -> Float[Tensor, " n"]:
        """Derivative of each log-probability along a direction."""
        return self._centred(direction).gather(1, self.actions)[:, 0]

    def hessian_product(self, weights: Float[Tensor, " n"], entropy_weights: Float[Tensor, " n"] | None) -> Product:
        """Hessian of the sum, times a vector."""
        pull = self._pull(weights[:, None], entropy_weights)

        def product(vector: Tensor) -> Tensor:
            change = self._centred(self._split(vector))  # of log p
            moved = self.probabilities * change  # of p
            by_output = moved * pull
            if entropy_weights is not None:
                change -= (moved * self.log_all).sum(1, keepdim=True)
                by_output += change.mul_(self.probabilities).mul_(entropy_weights[:, None])
            return -self._flat(by_output)

        return product

    def fisher_product(self, weights: Float[Tensor, " n"]) -> Product:
        """Minus the sum over n of weights[n] score score^T, times a vector."""

        def product(vector: Tensor) -> Tensor:
            return -torch.cat(
                [part.reshape(-1) for part in self.gradient(weights * self.directional(self._split(vector)), None)]
            )

        return product

    def _pull(self, weights: Tensor, entropy_weights: Tensor | None) -> Tensor:
        """What, times minus p, is the gradient in the outputs, but for the action taken."""
        if entropy_weights is None:
            return weights.expand_as(self.probabilities).clone()
        expected = (self.probabilities * self.log_all).sum(1, keepdim=True)
        return (self.log_all - expected).mul_(entropy_weights[:, None]).add_(weights)

    def _centred(self, direction: list[Tensor]) -> Tensor:
        change = linear(self.x, *direction)
        return change - (self.probabilities * change).sum(1, keepdim=True)

    def _split(self, vector: Tensor) -> list[Tensor]:
        actions = self.probabilities.shape[1]
        return [vector[:-actions].reshape(actions, -1), vector[-actions:]]

    def _flat(self, by_output: Tensor) -> Tensor:
        return torch.cat([(by_output.T @ self.x).reshape(-1), by_output.sum(0)])
