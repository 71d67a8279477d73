"""A network that tells real transitions from generated ones."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewardlab.arrays import Array, to_numpy
from rewardlab.checks import check_array, check_choice, check_finite, check_scalar, check_sizes
from rewardlab.dynamics.scaling import RangeScaler

__all__ = ["TRANSITION_INPUTS", "Discriminator"]

TRANSITION_INPUTS = ("difference", "standardised_difference", "next_observation")


class Discriminator(nn.Module):
    """Logit of "this transition is real", from the scaled observation, a factor, the scaled action and the transition.

    The input is `[observation, factor, action, transition]`: observations are mapped by the range of the data to
    [-0.8, 0.8], actions to [-1, 1]; the transition is the difference of the scaled next observation and the scaled
    observation. The factor stands for what drives the transition but is not observed; it is 0 unless given. Layers are
    linear with ReLU after each but the last.

    Args:
        observation_size: Numbers in an observation, d.
        action_size: Numbers in an action, m.
        hidden: Widths of the hidden layers. The first two, 128 and 256, are those of the released encoder; the sizes
            of the head after it were not released.
        transition_input: "difference", as above; "standardised_difference", where the difference is divided by its
            standard deviation in the data instead of the observations' range (small steps are easier to tell apart;
            not the paper's); or "next_observation", scaled as the observation.
        factor_size: Numbers in the factor; may be 0.
        generator: Draws the weights, uniform within 1 / sqrt(inputs), as torch's linear layers have them.

    Raises:
        TypeError: If a size is no whole number.
        ValueError: If a size is out of range or `transition_input` is unknown.

    Source: the networks of the released checkpoints of MOREC, arXiv 2310.05422 (official code).
    """

    transition_factor: Tensor

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        hidden: Sequence[int] = (128, 256, 256, 128),
        transition_input: str = "difference",
        factor_size: int = 1,
        generator: torch.Generator,
    ):
        super().__init__()
        check_scalar("factor_size", factor_size, low=0, whole=True)
        check_choice("transition_input", transition_input, TRANSITION_INPUTS)
        self.hidden, self.transition_input = check_sizes("hidden", hidden), transition_input
        self.observation_scaler = RangeScaler(observation_size, limit=0.8)
        self.action_scaler = RangeScaler(action_size, limit=1.0)
        self.register_buffer("transition_factor", torch.ones(observation_size))
        self.observation_size, self.action_size, self.factor_size = observation_size, action_size, factor_size
        widths = (2 * observation_size + factor_size + action_size, *self.hidden, 1)
        device = generator.device
        self.to(device)
        self.layers = nn.ModuleList(_linear(inputs, outputs, generator) for inputs, outputs in pairwise(widths))

    def settings(self) -> dict:
        """Arguments that make a network of the same shape, as plain numbers and text."""
        return {
            "observation_size": self.observation_size,
            "action_size": self.action_size,
            "hidden": list(self.hidden),
            "transition_input": self.transition_input,
            "factor_size": self.factor_size,
        }

    def fit_scalers(
        self, observations: Float[Array, "n d"], actions: Float[Array, "n m"], next_observations: Float[Array, "n d"]
    ) -> "Discriminator":
        """Take the ranges of observations and actions, and the standard deviations of the differences, from data.

        A column that does not vary becomes 0. The range is that of `observations` alone, for next observations too.

        Raises:
            TypeError: If an argument is no array of numbers.
            ValueError: If shapes are wrong or a number is not finite; names the place.
        """
        check_array("next_observations", next_observations)
        if tuple(next_observations.shape) != tuple(observations.shape):
            raise ValueError(
                f"next_observations has shape {tuple(next_observations.shape)}, expected {tuple(observations.shape)}"
            )
        check_finite("next_observations", next_observations)
        self.observation_scaler.fit(observations)
        self.action_scaler.fit(actions)
        factor = self.observation_scaler.factor
        if self.transition_input == "standardised_difference":
            deviation = torch.from_numpy(to_numpy(next_observations - observations)).double().std(dim=0, correction=0)
            factor = torch.where(deviation > 1e-12, 1 / deviation, 0.0)
        self.transition_factor.copy_(factor)
        return self

    def transitions(
        self, observations: Float[Tensor, "*batch d"], next_observations: Float[Tensor, "*batch d"]
    ) -> Float[Tensor, "*batch d"]:
        """What the network is shown of the transition; the two arguments broadcast."""
        if self.transition_input == "next_observation":
            return self.observation_scaler(next_observations)
        return (next_observations - observations) * self.transition_factor

    def forward(
        self,
        observations: Float[Tensor, "*batch d"],
        actions: Float[Tensor, "*batch m"],
        next_observations: Float[Tensor, "*batch d"],
        factors: Float[Tensor, "*batch f"] | None = None,
    ) -> Float[Tensor, " *batch"]:
        """Logits; differentiable in weights and inputs.

        Args:
            observations: In their own units.
            actions: Likewise.
            next_observations: Likewise.
            factors: The unobserved factor where it is known; None for 0.
        """
        if factors is None:
            factors = observations.new_zeros((*observations.shape[:-1], self.factor_size))
        values = torch.cat(
            [
                self.observation_scaler(observations),
                factors,
                self.action_scaler(actions),
                self.transitions(observations, next_observations),
            ],
            dim=-1,
        )
        for layer in self.layers[:-1]:
            values = torch.relu(layer(values))
        return self.layers[-1](values).squeeze(-1)


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs, device=generator.device)
    bound = inputs**-0.5
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer
