"""Stochastic policies on features: a softmax over actions, a Gaussian of fixed width."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor, nn

from rewardlab.checks import as_generator, check_scalar
from rewardlab.shaping.sampled.linear_softmax import LinearSoftmax

__all__ = ["GaussianPolicy", "Policy", "SoftmaxPolicy"]


class Policy(nn.Module, ABC):
    """A distribution over actions given features of the observation.

    Args:
        features: From observations (n, dimensions) to features (n, `features.size`); see `features.py`.
        outputs: Numbers that describe the distribution.
        hidden: Widths of hidden layers of tanh units between the features and the outputs.
        rng: Seed of the initial parameters: uniform in +-1/sqrt(inputs), layer by layer, as `torch.nn.Linear`.
        dtype: Of the parameters.
    """

    def __init__(
        self,
        features: Callable[[Tensor], Tensor],
        outputs: int,
        *,
        hidden: Sequence[int] = (),
        rng: int | np.random.Generator = 0,
        dtype: torch.dtype = torch.float64,
    ):
        super().__init__()
        self.features, self.dtype = features, dtype
        generator, layers, inputs = as_generator(rng), [], features.size
        for width in (*hidden, outputs):
            layer = nn.Linear(inputs, width, dtype=dtype)
            with torch.no_grad():
                for parameter in (layer.weight, layer.bias):
                    draw = generator.uniform(-1, 1, tuple(parameter.shape)) / math.sqrt(inputs)
                    parameter.copy_(torch.from_numpy(draw))
            layers += [layer, nn.Tanh()]
            inputs = width
        self.net = nn.Sequential(*layers[:-1])

    @abstractmethod
    def forward(
        self, x: Float[Tensor, "*n features"], actions: Num[Tensor, "*n_and_dimensions"]
    ) -> tuple[Tensor, Tensor]:
        """Logarithms of the probabilities (or densities) of the actions, and entropies of the distributions."""

    def log_prob(self, x: Float[Tensor, "*n features"], actions: Num[Tensor, "..."]) -> Float[Tensor, "*n"]:
        """Logarithm of the probability, or density, of each action."""
        return self(x, actions)[0]

    @abstractmethod
    def entropy(self, x: Float[Tensor, "*n features"]) -> Float[Tensor, "*n"]:
        """Entropy of the distribution at each row, in nats; of a Gaussian the mean over its dimensions."""

    @abstractmethod
    def act(self, observation: np.ndarray, generator: np.random.Generator):
        """An action at one observation: an index, or a vector (action dimensions,)."""

    def outputs(self, observation: np.ndarray) -> np.ndarray:
        """The network's outputs at one observation, without torch where there is one layer."""
        if len(self.net) == 1 and hasattr(self.features, "row"):
            layer = self.net[0]
            return layer.weight.detach().numpy() @ self.features.row(observation) + layer.bias.detach().numpy()
        with torch.no_grad():
            row = torch.as_tensor(observation, dtype=self.dtype).reshape(1, -1)
            return self.net(self.features(row))[0].numpy()

    def gradient(
        self,
        x: Float[Tensor, "*n features"],
        actions: Num[Tensor, "..."],
        weights: Float[Tensor, "*n"],
        entropy_weights: Float[Tensor, "*n"] | None = None,
    ) -> list[Tensor]:
        """Gradient of the weighted sum of the log-probabilities (and of the entropies) in each parameter, in order."""
        with torch.enable_grad():
            log_prob, entropy = self(x, actions)
            total = (weights * log_prob).sum()
            if entropy_weights is not None:
                total = total + (entropy_weights * entropy).sum()
            return list(torch.autograd.grad(total, list(self.parameters())))

    def directional(
        self, x: Float[Tensor, "*n features"], actions: Num[Tensor, "..."], direction: list[Tensor]
    ) -> Float[Tensor, "*n"]:
        """Derivative of each log-probability along a direction of the parameters, given parameter by parameter."""
        own = {name: parameter.detach() for name, parameter in self.named_parameters()}
        along = dict(zip(own, direction, strict=True))
        call = torch.func.functional_call
        return torch.func.jvp(lambda values: call(self, values, (x, actions))[0], (own,), (along,))[1]


class SoftmaxPolicy(Policy):
    """Probabilities proportional to exp(outputs), one output an action.

    Args:
        features: See `Policy`.
        actions: How many there are.
        hidden: See `Policy`; none makes it linear in the features.
        rng: See `Policy`.
        dtype: See `Policy`.
    """

    def __init__(self, features, actions: int, **settings):
        super().__init__(features, check_scalar("actions", actions, low=1, whole=True), **settings)
        self.actions = actions

    def forward(self, x: Float[Tensor, "*n features"], actions: Int[Tensor, "*n"]) -> tuple[Tensor, Tensor]:
        """Log-probabilities of the actions, and entropies."""
        log_all = torch.log_softmax(self.net(x), -1)
        return log_all.gather(-1, actions[..., None])[..., 0], -(log_all.exp() * log_all).sum(-1)

    def entropy(self, x: Float[Tensor, "*n features"]) -> Float[Tensor, "*n"]:
        """Entropy of each row, in nats."""
        log_all = torch.log_softmax(self.net(x), -1)
        return -(log_all.exp() * log_all).sum(-1)

    def act(self, observation: np.ndarray, generator: np.random.Generator) -> int:
        """The index of an action, drawn with one uniform number."""
        outputs = self.outputs(observation)
        cumulated = np.exp(outputs - outputs.max()).cumsum()
        return min(int(cumulated.searchsorted(generator.random() * cumulated[-1], side="right")), self.actions - 1)

    def closed_form(self, x: Float[Tensor, "*n features"], actions: Int[Tensor, "*n"]) -> LinearSoftmax | None:
        """Derivatives in closed form, where there is one layer; None with hidden layers."""
        if len(self.net) > 1:
            return None
        layer = self.net[0]
        return LinearSoftmax(
            x.reshape(-1, x.shape[-1]), actions.reshape(-1), layer.weight.detach(), layer.bias.detach()
        )

    def gradient(self, x, actions, weights, entropy_weights=None) -> list[Tensor]:
        """See `Policy.gradient`; in closed form where there is one layer."""
        closed = self.closed_form(x, actions)
        if closed is None:
            return super().gradient(x, actions, weights, entropy_weights)
        return closed.gradient(weights.reshape(-1), None if entropy_weights is None else entropy_weights.reshape(-1))

    def directional(self, x, actions, direction: list[Tensor]) -> Tensor:
        """See `Policy.directional`; in closed form where there is one layer."""
        closed = self.closed_form(x, actions)
        if closed is None:
            return super().directional(x, actions, direction)
        return closed.directional(direction).reshape(actions.shape)


class GaussianPolicy(Policy):
    """Independent normal distributions of one fixed standard deviation around learned means.

    Args:
        features: See `Policy`.
        dimensions: Of an action.
        standard_deviation: Of every dimension, in the units of the actions; 0.1 as published.
        low: Least mean; with `high` the means are squashed into their range by a sigmoid, as published.
        high: Greatest mean; None for `low` and `high` leaves the means free.
        hidden: See `Policy`.
        rng: See `Policy`.
        dtype: See `Policy`.

    The entropy does not depend on the parameters: an entropy bonus has no effect.
    """

    def __init__(self, features, dimensions: int, standard_deviation: float = 0.1, *, low=None, high=None, **settings):
        super().__init__(features, check_scalar("dimensions", dimensions, low=1, whole=True), **settings)
        self.standard_deviation = check_scalar("standard_deviation", standard_deviation, low=0, open_low=True)
        self.dimensions = dimensions
        self.low = self.span = None
        if low is not None and high is not None:
            self.low = torch.as_tensor(np.broadcast_to(low, dimensions).copy(), dtype=self.dtype)
            self.span = torch.as_tensor(np.broadcast_to(high, dimensions).copy(), dtype=self.dtype) - self.low

    def mean(self, x: Float[Tensor, "*n features"]) -> Float[Tensor, "*n dimensions"]:
        """Centres of the distributions."""
        out = self.net(x)
        return out if self.low is None else torch.sigmoid(out) * self.span + self.low

    def forward(
        self, x: Float[Tensor, "*n features"], actions: Float[Tensor, "*n dimensions"]
    ) -> tuple[Tensor, Tensor]:
        """Log-densities of the actions, and entropies."""
        distance = (actions - self.mean(x)) / self.standard_deviation
        constant = math.log(self.standard_deviation * math.sqrt(2 * math.pi))
        return -(distance * distance / 2 + constant).sum(-1), self.entropy(x)

    def entropy(self, x: Float[Tensor, "*n features"]) -> Float[Tensor, "*n"]:
        """Entropy of one dimension, in nats, the same everywhere."""
        value = 0.5 * math.log(2 * math.pi * math.e) + math.log(self.standard_deviation)
        return torch.full(x.shape[:-1], value, dtype=self.dtype)

    def act(self, observation: np.ndarray, generator: np.random.Generator) -> Float[np.ndarray, " dimensions"]:
        """A draw of the action; it may lie outside `low` and `high`."""
        mean = self.outputs(observation)
        if self.low is not None:
            mean = self.low.numpy() + self.span.numpy() * 0.5 * (1 + np.tanh(mean / 2))
        return mean + self.standard_deviation * generator.standard_normal(self.dimensions)
