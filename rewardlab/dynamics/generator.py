"""A dynamics model as an agent: its action is the next observation, and it is paid for being believed."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewardlab.dynamics.behaviour import GaussianPolicy, gaussian_log_density
from rewardlab.dynamics.networks import multilayer, standard_normal
from rewardlab.dynamics.scaling import Standardiser

__all__ = ["DynamicsRollout", "GaussianGenerator", "roll_out_generator"]

_LOG_DEVIATIONS = (-7.0, 1.0)  # of standardised changes


class GaussianGenerator(nn.Module):
    """Next observations that are normal given observation and action.

    The network predicts the standardised change of the observation, so that an untrained one already moves by what the
    data moves by.

    Args:
        observation_size: d.
        action_size: m.
        hidden: Sizes of the hidden layers (ReLU).
        generator: Draws the initial weights; the model lives on its device.
    """

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        hidden: Sequence[int] = (64, 64),
        generator: torch.Generator,
    ):
        super().__init__()
        size = observation_size + action_size
        self.network = multilayer([size, *hidden, 2 * observation_size], generator=generator)
        self.input_scaler = Standardiser(size)
        self.change_scaler = Standardiser(observation_size)
        self.to(generator.device)

    def forward(
        self, observations: Float[Tensor, "*batch d"], actions: Float[Tensor, "*batch m"]
    ) -> tuple[Float[Tensor, "*batch d"], Float[Tensor, "*batch d"]]:
        """Mean and standard deviation of the next observation."""
        values = self.network(self.input_scaler(torch.cat([observations, actions], dim=-1)))
        mean, log_deviation = values.chunk(2, dim=-1)
        deviation = log_deviation.clamp(*_LOG_DEVIATIONS).exp() * self.change_scaler.standard_deviation
        return observations + self.change_scaler.inverse(mean), deviation

    def fit_scalers(
        self,
        observations: Float[Tensor, "n d"],
        actions: Float[Tensor, "n m"],
        next_observations: Float[Tensor, "n d"],
    ) -> None:
        """Take the units of the data."""
        self.input_scaler.fit(torch.cat([observations, actions], dim=-1))
        self.change_scaler.fit(next_observations - observations)


@dataclass(frozen=True)
class DynamicsRollout:
    """What a model did under a policy: T steps of B rollouts.

    Attributes:
        observations, actions, next_observations: `(T, B, .)`.
        log_densities: `(T, B)` of the next observations under the model.
    """

    observations: Float[Tensor, "t b d"]
    actions: Float[Tensor, "t b m"]
    next_observations: Float[Tensor, "t b d"]
    log_densities: Float[Tensor, "t b"]

    def rows(self) -> tuple[Tensor, Tensor, Tensor]:
        """Observations, actions and next observations, `(T B, .)` each."""
        return self.observations.flatten(0, 1), self.actions.flatten(0, 1), self.next_observations.flatten(0, 1)


def roll_out_generator(
    model: GaussianGenerator,
    policy: GaussianPolicy,
    starts: Float[Tensor, "b d"],
    *,
    length: int,
    generator: torch.Generator,
) -> DynamicsRollout:
    """Let the model play `length` steps of the dynamics decision process from `starts`.

    Its state is an observation and an action; what it chooses is the next observation, and the policy's action there
    completes the next state. All is differentiable in the model, through the policy too.
    """
    columns: list[list[Tensor]] = [[], [], [], []]
    observations = starts
    for _ in range(length):
        actions = policy.sample(observations, generator)
        mean, deviation = model(observations, actions)
        after = mean + deviation * standard_normal(mean, generator)
        row = observations, actions, after, gaussian_log_density(after.detach(), mean, deviation)
        for column, value in zip(columns, row, strict=True):
            column.append(value)
        observations = after
    return DynamicsRollout(*(torch.stack(column) for column in columns))
