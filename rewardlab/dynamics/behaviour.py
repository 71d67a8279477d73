"""Behaviour cloning: which actions the recorded policy would take, also where a model leads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewardlab.checks import check_scalar, check_sizes
from rewardlab.dynamics.networks import multilayer, standard_normal
from rewardlab.dynamics.scaling import Standardiser
from rewardlab.transition_table import TransitionTable, check_table

__all__ = ["BehaviourSettings", "GaussianPolicy", "fit_behaviour_cloning", "gaussian_log_density"]

_LOG_DEVIATIONS = (-5.0, 2.0)  # of standardised actions; narrower than e^-5 only recordings without exploration are


@dataclass(frozen=True)
class BehaviourSettings:
    """How behaviour is cloned.

    Args:
        hidden: Sizes of the hidden layers (ReLU).
        learning_rate: Of Adam, above 0.
        batch_size: Rows a step, at least 1.
        steps: Gradient steps, at least 1.

    Raises:
        TypeError, ValueError: If a number is out of range.
    """

    hidden: Sequence[int] = (64, 64)
    learning_rate: float = 1e-3
    batch_size: int = 256
    steps: int = 2000

    def __post_init__(self) -> None:
        object.__setattr__(self, "hidden", check_sizes("hidden", self.hidden))
        check_scalar("learning_rate", self.learning_rate, low=0, open_low=True)
        for name in ("batch_size", "steps"):
            check_scalar(name, getattr(self, name), low=1, whole=True)


class GaussianPolicy(nn.Module):
    """Actions that are normal given the observation, and clipped to the range that the recording holds.

    Args:
        observation_size: d.
        action_size: m.
        hidden: Sizes of the hidden layers (ReLU).
        generator: Draws the initial weights; the policy lives on its device.

    Attributes:
        low, high: `(m,)` the range of actions; unbounded before a fit.
    """

    low: Tensor
    high: Tensor

    def __init__(
        self,
        observation_size: int,
        action_size: int,
        *,
        hidden: Sequence[int] = (64, 64),
        generator: torch.Generator,
    ):
        super().__init__()
        self.network = multilayer([observation_size, *hidden, 2 * action_size], generator=generator)
        self.observation_scaler = Standardiser(observation_size)
        self.action_scaler = Standardiser(action_size)
        self.register_buffer("low", torch.full((action_size,), -torch.inf))
        self.register_buffer("high", torch.full((action_size,), torch.inf))
        self.to(generator.device)

    def forward(
        self, observations: Float[Tensor, "*batch d"]
    ) -> tuple[Float[Tensor, "*batch m"], Float[Tensor, "*batch m"]]:
        """Mean and standard deviation of the actions before clipping, in the units of the actions."""
        mean, log_deviation = self.network(self.observation_scaler(observations)).chunk(2, dim=-1)
        deviation = log_deviation.clamp(*_LOG_DEVIATIONS).exp() * self.action_scaler.standard_deviation
        return self.action_scaler.inverse(mean), deviation

    def sample(self, observations: Float[Tensor, "*batch d"], generator: torch.Generator) -> Float[Tensor, "*batch m"]:
        """An action for each observation, differentiable in the observations."""
        mean, deviation = self(observations)
        return torch.clamp(mean + deviation * standard_normal(mean, generator), self.low, self.high)


def gaussian_log_density(
    values: Float[Tensor, "*batch k"], mean: Float[Tensor, "*batch k"], deviation: Float[Tensor, "*batch k"]
) -> Float[Tensor, "*batch"]:
    """Log density of independent normal numbers, summed over the last axis.

    Example:
        >>> gaussian_log_density(torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, 2))
        tensor([-1.8379])
    """
    return torch.distributions.Normal(mean, deviation, validate_args=False).log_prob(values).sum(-1)


def fit_behaviour_cloning(
    table: TransitionTable,
    settings: BehaviourSettings | None = None,
    *,
    seed: int,
    device: torch.device | str = "cpu",
    on_step: Callable[[int, dict[str, float]], None] | None = None,
) -> GaussianPolicy:
    """The policy under which the recorded actions are most likely.

    All rows count, those without a next observation too: what was done is known of each.

    Args:
        table: The recording.
        settings: None: `BehaviourSettings()`.
        seed: Of initial weights and batches, at least 0.
        device: Where to fit; randomness is drawn on the CPU whatever it is.
        on_step: Called after each step with its number, from 1, and "loss", the mean negative log density in nats.

    Raises:
        TypeError, ValueError: If `table` is none, or the seed is no whole number of at least 0.

    Source:
        MOREC (arXiv 2310.05422) draws the actions of its dynamics-as-agent rollouts from a cloned policy; the network
        and its size are ours.
    """
    settings = settings or BehaviourSettings()
    check_scalar("seed", seed, low=0, whole=True)
    generator = torch.Generator().manual_seed(seed)
    check_table(table)
    sizes = table.observation_size, table.action_size
    policy = GaussianPolicy(*sizes, hidden=settings.hidden, generator=generator).to(device)
    observations, actions = (torch.as_tensor(x, device=device) for x in (table.observations, table.actions))
    policy.observation_scaler.fit(observations)
    policy.action_scaler.fit(actions)
    policy.low.copy_(actions.amin(0))
    policy.high.copy_(actions.amax(0))
    optimiser = torch.optim.Adam(policy.parameters(), lr=settings.learning_rate)
    for step in range(1, settings.steps + 1):
        rows = torch.randint(len(table), (settings.batch_size,), generator=generator).to(device)
        loss = -gaussian_log_density(actions[rows], *policy(observations[rows])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if on_step is not None:
            on_step(step, {"loss": float(loss.detach())})
    return policy
