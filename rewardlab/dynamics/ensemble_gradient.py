"""The gradient of the ensemble's loss, without a graph and without new memory in every step."""

import torch
from jaxtyping import Float
from torch import Tensor

from rewardlab.dynamics.ensemble import GaussianEnsemble

__all__ = ["EnsembleGradient", "ensemble_loss"]


def ensemble_loss(
    mean: Float[Tensor, "members b outputs"],
    log_variance: Float[Tensor, "members b outputs"],
    target: Float[Tensor, "*some b outputs"],
) -> Float[Tensor, ""]:
    """Negative log likelihood, up to factor and constant: averaged over rows and outputs, summed over members.

    `sum_e mean_{b, j} [(mean - target)^2 exp(-log_variance) + log_variance]`

    Source:
        The training of MOREC's model (arXiv 2310.05422). The full loss adds the weight decays and the loss on the
        bounds of the log variance; see `EnsembleFit`.
    """
    error = mean - target
    return (error * error * torch.exp(-log_variance) + log_variance).mean(dim=(1, 2)).sum()


class EnsembleGradient:
    """Fills the gradients of an ensemble's parameters, as `backward` on the same loss would.

    The layers are differentiated by hand, into buffers that are kept from step to step: a graph would take new memory
    for every activation of every step, and the system's work for that is a tenth of a step. What comes after the last
    layer is small, and left to automatic differentiation.

    Args:
        ensemble: Whose gradients.
        log_variance_weight: Weight of the sum of the upper minus the sum of the lower bounds of the log variance.
    """

    def __init__(self, ensemble: GaussianEnsemble, log_variance_weight: float):
        self.ensemble, self.log_variance_weight = ensemble, log_variance_weight
        self._buffers: dict[int, tuple[list[Tensor], list[Tensor], Tensor]] = {}
        for parameter in [*ensemble.weights, *ensemble.biases]:
            parameter.grad = torch.zeros_like(parameter)

    def __call__(
        self, inputs: Float[Tensor, "members b inputs"], target: Float[Tensor, "members b outputs"]
    ) -> Float[Tensor, ""]:
        """Replace the gradients by those at a batch of standardised inputs.

        Returns:
            `ensemble_loss`, without the term of the bounds.
        """
        ensemble = self.ensemble
        hidden, slopes, output = self._buffers_for(inputs)
        with torch.no_grad():
            self._forward(inputs, hidden, slopes, output)
        output = output.detach().requires_grad_()
        loss = ensemble_loss(*ensemble.split(output), target)
        ensemble.max_log_variance.grad = ensemble.min_log_variance.grad = None
        bounds = ensemble.max_log_variance.sum() - ensemble.min_log_variance.sum()
        (loss + self.log_variance_weight * bounds).backward()
        with torch.no_grad():
            self._backward([inputs, *hidden], slopes, output.grad)
        return loss.detach()

    def _forward(self, values: Tensor, hidden: list[Tensor], slopes: list[Tensor], output: Tensor) -> None:
        weights, biases = self.ensemble.weights, self.ensemble.biases
        for weight, bias, into, slope in zip(weights, biases, hidden, slopes, strict=False):
            values = torch.baddbmm(bias, values, weight, out=into)
            self._activate(values, slope)
        torch.baddbmm(biases[-1], values, weights[-1], out=output)

    def _backward(self, layer_inputs: list[Tensor], slopes: list[Tensor], gradient: Tensor) -> None:
        weights, biases = self.ensemble.weights, self.ensemble.biases
        for layer in reversed(range(len(weights))):
            torch.bmm(layer_inputs[layer].mT, gradient, out=weights[layer].grad)
            torch.sum(gradient, dim=1, keepdim=True, out=biases[layer].grad)
            if layer:  # the activations are no longer needed: their buffers take the gradients
                gradient = torch.bmm(gradient, weights[layer].mT, out=layer_inputs[layer])
                gradient.mul_(slopes[layer - 1])

    def _activate(self, values: Tensor, slope: Tensor) -> None:
        """Apply the activation in place, and write its derivative."""
        if self.ensemble.activation == "swish":
            torch.sigmoid(values, out=slope)
            values.mul_(slope)
            slope.addcmul_(slope, values, value=-1).add_(values)  # y = x s(x) has the derivative s - s y + y
        elif self.ensemble.activation == "tanh":
            values.tanh_()
            torch.mul(values, values, out=slope).neg_().add_(1)
        else:
            torch.gt(values, 0, out=slope)
            values.relu_()

    def _buffers_for(self, inputs: Tensor) -> tuple[list[Tensor], list[Tensor], Tensor]:
        rows = inputs.shape[1]
        if rows not in self._buffers:  # two sizes in a fit: whole batches, and the rest at the end of an epoch
            members, sizes = self.ensemble.members, self.ensemble.hidden
            hidden, slopes = ([inputs.new_empty(members, rows, size) for size in sizes] for _ in range(2))
            self._buffers[rows] = hidden, slopes, inputs.new_empty(members, rows, 2 * self.ensemble.output_size)
        return self._buffers[rows]
