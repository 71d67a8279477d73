"""The two ways in which a generator learns to be believed: through the rollout's gradient, and by trial."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from rewardlab.dynamics.adversarial_losses import advantages_of, clipped_policy_loss, generator_rewards
from rewardlab.dynamics.adversarial_settings import AdversarialSettings
from rewardlab.dynamics.behaviour import GaussianPolicy, gaussian_log_density
from rewardlab.dynamics.generator import DynamicsRollout, GaussianGenerator, roll_out_generator
from rewardlab.dynamics.networks import multilayer

__all__ = ["ProximalUpdate", "ReparameterisedUpdate", "make_update"]


class ReparameterisedUpdate:
    """One step up the gradient of the discounted reward, through the sampled rollouts.

    Args:
        model: Trained in place.
        settings: Of the training.
        generator: Draws what there is to draw.
    """

    def __init__(self, model: GaussianGenerator, settings: AdversarialSettings, generator: torch.Generator):
        self.settings, self._draw = settings, generator
        self.optimiser = torch.optim.Adam(model.parameters(), lr=settings.generator_learning_rate)

    def step(
        self,
        model: GaussianGenerator,
        policy: GaussianPolicy,
        discriminator: Callable[[Tensor, Tensor, Tensor], Tensor],
        starts: Tensor,
        rollout: DynamicsRollout,
    ) -> float:
        """Update the model; `rollout` is not used: a new one is made, with gradients.

        Returns:
            Mean reward of a step, in nats.
        """
        made = roll_out_generator(model, policy, starts, length=self.settings.rollout_length, generator=self._draw)
        logits = discriminator(made.observations, made.actions, made.next_observations)
        rewards = generator_rewards(logits)
        weights = self.settings.discount ** torch.arange(len(rewards), dtype=rewards.dtype, device=rewards.device)
        loss = -(weights[:, None] * rewards).mean()
        _descend(self.optimiser, loss, model, self.settings.gradient_clip)
        return float(rewards.detach().mean())

    def state_dict(self) -> dict:
        """What is needed to go on, beside the model's own state."""
        return {"optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned."""
        self.optimiser.load_state_dict(state["optimiser"])


class ProximalUpdate:
    """Several epochs of proximal policy optimisation on the rollouts that the discriminator was trained with.

    The agent's state is an observation and an action, its choice the next observation. What is paid is the reward of
    the rollout, which ends with its last step: a value of what might come after would be asked about observations that
    it never learned from, and the generator would run away to where it is wrong. The value of a state, given how much
    of the rollout is over, is learned beside it.

    Args:
        model: Trained in place.
        settings: Of the training.
        generator: Draws what there is to draw.
    """

    def __init__(self, model: GaussianGenerator, settings: AdversarialSettings, generator: torch.Generator):
        self.settings, self._draw = settings, generator
        size = len(model.input_scaler.mean)
        weight = next(model.parameters())
        self.value = multilayer([size + 1, *settings.generator_hidden, 1], generator=generator)
        self.value.to(weight.device, weight.dtype)
        self.optimiser = torch.optim.Adam(
            [
                {"params": list(model.parameters()), "lr": settings.generator_learning_rate},
                {"params": list(self.value.parameters()), "lr": settings.proximal.value_learning_rate},
            ]
        )

    def step(
        self,
        model: GaussianGenerator,
        policy: GaussianPolicy,
        discriminator: Callable[[Tensor, Tensor, Tensor], Tensor],
        starts: Tensor,
        rollout: DynamicsRollout,
    ) -> float:
        """Update the model on `rollout`, rewarded by the discriminator as it is now.

        Returns:
            Mean reward of a step, in nats.
        """
        settings = self.settings.proximal
        with torch.no_grad():
            rewards = generator_rewards(discriminator(rollout.observations, rollout.actions, rollout.next_observations))
            states = self._states(model, rollout)
            values = self.value(states).squeeze(-1)
            advantages = advantages_of(rewards, values, discount=self.settings.discount, trace=settings.trace)
            returns = (advantages + values).flatten()
            advantages = advantages.flatten()
            advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-8)
        columns = [*rollout.rows(), states.flatten(0, 1), rollout.log_densities.flatten(), advantages, returns]
        for _ in range(settings.epochs):
            order = torch.randperm(len(advantages), generator=self._draw).to(advantages.device)
            for rows in order.split(settings.batch_size):
                self._descend_on(model, *(column[rows] for column in columns))
        return float(rewards.mean())

    def state_dict(self) -> dict:
        """What is needed to go on, beside the model's own state."""
        return {"optimiser": self.optimiser.state_dict(), "value": self.value.state_dict()}

    def load_state_dict(self, state: dict) -> None:
        """Go on from what `state_dict` returned."""
        self.optimiser.load_state_dict(state["optimiser"])
        self.value.load_state_dict(state["value"])

    def _descend_on(self, model, observations, actions, after, states, old, advantages, returns) -> None:
        mean, deviation = model(observations, actions)
        log_density = gaussian_log_density(after, mean, deviation)
        loss = clipped_policy_loss(log_density - old, advantages, clip=self.settings.proximal.clip)
        loss = loss - self.settings.proximal.entropy_weight * deviation.log().sum(-1).mean()
        loss = loss + (self.value(states).squeeze(-1) - returns).square().mean()
        _descend(self.optimiser, loss, model, self.settings.gradient_clip)

    def _states(self, model: GaussianGenerator, rollout: DynamicsRollout) -> Tensor:
        """What the value sees: observation and action, standardised, and how much of the rollout is over."""
        scaled = model.input_scaler(torch.cat([rollout.observations, rollout.actions], dim=-1))
        over = torch.arange(len(scaled), dtype=scaled.dtype, device=scaled.device) / len(scaled)
        return torch.cat([scaled, over[:, None, None].expand(*scaled.shape[:-1], 1)], dim=-1)


def make_update(
    model: GaussianGenerator, settings: AdversarialSettings, generator: torch.Generator
) -> ReparameterisedUpdate | ProximalUpdate:
    """The update that the settings name."""
    kinds = {"reparameterised": ReparameterisedUpdate, "ppo": ProximalUpdate}
    return kinds[settings.generator_update](model, settings, generator)


def _descend(optimiser: torch.optim.Optimizer, loss: Tensor, model: nn.Module, clip: float) -> None:
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimiser.step()
