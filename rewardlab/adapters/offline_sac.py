"""Stable-Baselines3's SAC on recorded and made-up transitions: its own `train`, or MOBILE's target in it."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import gymnasium
import numpy as np
import torch
from jaxtyping import Float
from stable_baselines3 import SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from stable_baselines3.common.utils import polyak_update, update_learning_rate
from torch.nn import functional

from rewardlab.adapters.offline_buffer import MixedReplayBuffer, unscale_actions
from rewardlab.adapters.offline_settings import OfflineSettings
from rewardlab.checks import check_scalar
from rewardlab.dynamics.candidates import CandidateModel
from rewardlab.dynamics.penalties import bellman_inconsistency
from rewardlab.transition_table import TransitionTable

__all__ = ["OfflineSAC", "SpacesOnly"]


class SpacesOnly(gymnasium.Env):
    """What Stable-Baselines3 asks of an environment where none is stepped: its spaces."""

    def __init__(self, observation_space: gymnasium.spaces.Box, action_space: gymnasium.spaces.Box):
        self.observation_space, self.action_space = observation_space, action_space

    def reset(self, *, seed: int | None = None, options: dict | None = None) -> Any:
        """Refused."""
        raise RuntimeError("offline training steps no environment")

    def step(self, action: Any) -> Any:
        """Refused."""
        raise RuntimeError("offline training steps no environment")


class OfflineSAC(SAC):
    """SAC that learns from a `MixedReplayBuffer` and never acts in an environment while it does.

    The plain host and MOPO run Stable-Baselines3's own `train`. MOBILE's differs in the critic's target; with penalty
    weight 0 and without `nonnegative_target` and `deterministic_backup` it gives the same parameters, bit for bit. All
    random numbers come from generators of the object's own, which `state` holds; the global ones are left as they were.

    Args:
        table: Recorded transitions.
        action_space: Box with finite bounds that the table's actions lie in.
        settings: See there.
        seed: Of the networks, the batches and the policy's noise.
        successors: MOBILE: the candidates of `settings.successor_samples` next observations of each elite, those of
            one elite together.
        device: Of the networks and the buffer.

    Raises:
        ValueError: If MOBILE has no successors, or their number is no multiple of the samples; or see
            `MixedReplayBuffer`.

    Source: SAC arXiv 1812.05905; MOBILE (Sun et al., ICML 2023) and MOREC arXiv 2310.05422 as in their public code,
    except that neither clips the learned temperature at 1 here, as Stable-Baselines3 does not.
    """

    replay_buffer: MixedReplayBuffer

    def __init__(
        self,
        table: TransitionTable,
        action_space: gymnasium.spaces.Box,
        settings: OfflineSettings,
        *,
        seed: int,
        successors: CandidateModel | None = None,
        device: torch.device | str = "cpu",
    ):
        self.settings, self.successors = settings, successors
        self.elites = self._elites()
        seeds = np.random.SeedSequence(check_scalar("seed", seed, low=0, whole=True)).generate_state(4, np.uint64)
        first, second, third, buffer_seed = (int(one) >> 1 for one in seeds)
        self.successor_randomness = torch.Generator(device).manual_seed(first)
        self._streams = {"cpu": torch.Generator().manual_seed(second)}
        if torch.device(device).type != "cpu":
            self._streams[str(device)] = torch.Generator(device).manual_seed(third)
        observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (table.observation_size,), np.float32)
        with self.own_randomness():
            super().__init__(
                "MlpPolicy",
                SpacesOnly(observation_space, action_space),
                learning_rate=settings.critic_learning_rate,
                buffer_size=settings.buffer_size,
                learning_starts=0,
                batch_size=settings.batch_size,
                tau=settings.target_step,
                gamma=settings.discount,
                ent_coef="auto" if settings.temperature is None else settings.temperature,
                target_entropy="auto" if settings.target_entropy is None else settings.target_entropy,
                replay_buffer_class=MixedReplayBuffer,
                replay_buffer_kwargs={
                    "table": table,
                    "real_fraction": settings.real_fraction,
                    "seed": buffer_seed,
                },
                policy_kwargs={"net_arch": list(settings.hidden)},
                device=device,
            )
        self.set_logger(Logger(None, []))

    @property
    def temperature(self) -> float:
        """Weight of the entropy ("alpha")."""
        return float(self.log_ent_coef.detach().exp() if self.log_ent_coef is not None else self.ent_coef_tensor)

    @torch.no_grad()
    def act(
        self, observations: Float[torch.Tensor, "n d"], generator: torch.Generator | None = None
    ) -> Float[torch.Tensor, "n m"]:
        """Actions in the environment's space: sampled with a generator, the mean ones without."""
        return unscale_actions(self._scaled_actions(observations, generator), self.action_space)

    @torch.no_grad()
    def values(self, observations: Float[torch.Tensor, "n d"]) -> Float[torch.Tensor, " n"]:
        """The smaller of the critics' values of the mean action."""
        return torch.cat(self.critic(observations, self._scaled_actions(observations, None)), 1).amin(1)

    def train(self, gradient_steps: int, batch_size: int | None = None) -> None:
        """Some updates: Stable-Baselines3's own, or with the host MOBILE those of its target."""
        batch_size = self.settings.batch_size if batch_size is None else batch_size
        with self.own_randomness():
            if self.settings.host == "mobile":
                self._train_mobile(gradient_steps, batch_size)
            else:
                super().train(gradient_steps, batch_size)

    def learn(self, *arguments: Any, **options: Any) -> Any:
        """Refused: there is no environment to learn in."""
        raise NotImplementedError("OfflineSAC learns by train_offline, without an environment")

    @contextmanager
    def own_randomness(self) -> Iterator[None]:
        """Draw what torch draws globally from this object's streams, and leave the global ones as they were."""
        others = [name for name in self._streams if name != "cpu"]
        with torch.random.fork_rng(others):
            torch.set_rng_state(self._streams["cpu"].get_state())
            for name in others:
                torch.cuda.set_rng_state(self._streams[name].get_state(), name)
            yield
            self._streams["cpu"].set_state(torch.get_rng_state())
            for name in others:
                self._streams[name].set_state(torch.cuda.get_rng_state(name))

    def state(self) -> dict[str, Any]:
        """All that training changes, as tensors, numbers and text: `model`, `optimiser` and the `rest`."""
        model = dict(self.policy.state_dict())
        if self.log_ent_coef is not None:
            model["log_temperature"] = self.log_ent_coef.detach()
        return {
            "model": {name: tensor.clone() for name, tensor in model.items()},
            "optimiser": {name: deepcopy(one.state_dict()) for name, one in self._optimisers().items()},
            "rest": {
                "updates": self._n_updates,
                "buffer": self.replay_buffer.state_dict(),
                "generators": {name: one.get_state() for name, one in self._generators().items()},
            },
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned, on any device.

        Raises:
            ValueError: If it is of an object with other settings: names what is missing or does not fit.
        """
        model, optimisers = dict(state["model"]), self._optimisers()
        logarithm = model.pop("log_temperature", None)
        if (logarithm is None) != (self.log_ent_coef is None) or set(state["optimiser"]) != set(optimisers):
            raise ValueError("the state's temperature is learned and this one's is not, or the other way round")
        if set(state["rest"]["generators"]) != set(self._generators()):
            raise ValueError(f"the state has the generators {sorted(state['rest']['generators'])}: another device's")
        try:
            self.policy.load_state_dict(model)
        except RuntimeError as error:
            raise ValueError(f"the state is of other networks: {error}") from None
        if logarithm is not None:
            self.log_ent_coef.data.copy_(logarithm)
        for name, optimiser in optimisers.items():
            optimiser.load_state_dict(deepcopy(state["optimiser"][name]))
        for name, generator in self._generators().items():
            generator.set_state(state["rest"]["generators"][name].cpu())
        self._n_updates = state["rest"]["updates"]
        self.replay_buffer.load_state_dict(state["rest"]["buffer"])

    def _generators(self) -> dict[str, torch.Generator]:
        return {**self._streams, "successors": self.successor_randomness}

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        found = {"actor": self.actor.optimizer, "critic": self.critic.optimizer}
        return found if self.ent_coef_optimizer is None else {**found, "temperature": self.ent_coef_optimizer}

    def _update_learning_rate(self, optimizers: list[torch.optim.Optimizer]) -> None:
        """Called by Stable-Baselines3 before each `train`, with actor, critic and temperature in this order."""
        done = min(self._n_updates / self.settings.updates, 1.0)
        fall = 0.5 * (1 + math.cos(math.pi * done))
        chosen = self.settings
        rates = (chosen.actor_learning_rate * fall, chosen.critic_learning_rate, chosen.temperature_learning_rate)
        for optimiser, rate in zip(optimizers, rates, strict=False):  # no third where the temperature is fixed
            update_learning_rate(optimiser, rate)

    def _scaled_actions(self, observations: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        mean, log_deviation, _ = self.actor.get_action_dist_params(observations)
        if generator is None:
            return torch.tanh(mean)
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return torch.tanh(mean + log_deviation.exp() * noise)

    def _elites(self) -> int:
        """How many elites the successors are of."""
        if self.settings.host != "mobile" or self.settings.penalty_weight == 0:
            return 0
        if self.successors is None:
            raise ValueError("the host 'mobile' needs successors: the candidates that its penalty compares")
        count, samples = self.successors.candidate_count, self.settings.successor_samples
        if count % samples or count < 2 * samples:
            raise ValueError(f"successors offers {count} candidates, expected {samples} of each of at least two elites")
        return count // samples

    def _train_mobile(self, gradient_steps: int, batch_size: int) -> None:
        """The updates of Stable-Baselines3's `train`, in its order, with `_target` as the critic's target."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(list(self._optimisers().values()))
        sums = torch.zeros(3)
        for step in range(gradient_steps):
            batch = self.replay_buffer.sample(batch_size)
            actions, log_probability = self.actor.action_log_prob(batch.observations)
            log_probability = log_probability.reshape(-1, 1)
            temperature = self._learn_temperature(log_probability)
            target, penalty = self._target(batch, temperature)
            critic_loss = 0.5 * sum(
                functional.mse_loss(value, target) for value in self.critic(batch.observations, batch.actions)
            )
            _descend(self.critic.optimizer, critic_loss)
            value = torch.cat(self.critic(batch.observations, actions), dim=1).amin(dim=1, keepdim=True)
            actor_loss = (temperature * log_probability - value).mean()
            _descend(self.actor.optimizer, actor_loss)
            if step % self.target_update_interval == 0:
                polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
            sums += torch.stack([actor_loss, critic_loss, penalty]).detach().cpu()
        self._n_updates += gradient_steps
        names = ("actor_loss", "critic_loss", "bellman_inconsistency")
        for name, mean in zip(names, (sums / gradient_steps).tolist(), strict=True):
            self.logger.record(f"train/{name}", mean)

    def _learn_temperature(self, log_probability: torch.Tensor) -> torch.Tensor:
        """One step of the entropy's weight; returns the weight before it."""
        if self.ent_coef_optimizer is None:
            return self.ent_coef_tensor
        before = torch.exp(self.log_ent_coef.detach())
        loss = -(self.log_ent_coef * (log_probability + self.target_entropy).detach()).mean()
        _descend(self.ent_coef_optimizer, loss)
        return before

    @torch.no_grad()
    def _target(self, batch: ReplayBufferSamples, temperature: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """MOBILE's target `(b, 1)`, and the mean Bellman inconsistency of the made-up rows."""
        chosen = self.settings
        actions, log_probability = self.actor.action_log_prob(batch.next_observations)
        value = torch.cat(self.critic_target(batch.next_observations, actions), dim=1).amin(dim=1, keepdim=True)
        if not chosen.deterministic_backup:
            value = value - temperature * log_probability.reshape(-1, 1)
        rewards, mean_penalty = batch.rewards, torch.zeros((), device=value.device)
        if chosen.penalty_weight:
            real = self.replay_buffer.real_count(len(rewards))
            penalty = self.bellman_penalty(batch.observations[real:], batch.actions[real:])
            mean_penalty = penalty.mean() if len(penalty) else mean_penalty
            rewards = rewards - chosen.penalty_weight * torch.cat([penalty.new_zeros(real), penalty])[:, None]
        target = rewards + (1 - batch.dones) * self.gamma * value
        return target.clamp(min=0) if chosen.nonnegative_target else target, mean_penalty

    @torch.no_grad()
    def bellman_penalty(
        self, observations: Float[torch.Tensor, "n d"], scaled_actions: Float[torch.Tensor, "n m"]
    ) -> Float[torch.Tensor, " n"]:
        """How far the elites' next observations disagree about the value of what comes next, at least 0.

        Args:
            observations: `(n, d)`, n may be 0.
            scaled_actions: `(n, m)`, in [-1, 1].

        Returns:
            `(n,)`, the unbiased standard deviation over elites of the mean, over an elite's next observations, of the
            smaller target value of an action of the current policy there.

        Source: MOBILE; next observations that end the task count like others, as in its public code.
        """
        model, generator = self.successors, self.successor_randomness
        rows, samples = len(observations), self.settings.successor_samples
        if rows == 0:  # nothing has been made up yet
            return observations.new_empty(0)
        shape = (rows, model.candidate_count, model.output_size)
        noise = torch.randn(shape, generator=generator, device=observations.device)
        actions = unscale_actions(scaled_actions, self.action_space)
        following = model.candidates(observations, actions, noise).next_observations.flatten(0, 1)
        value = torch.cat(self.critic_target(following, self._scaled_actions(following, generator)), dim=1).amin(1)
        return bellman_inconsistency(value.view(rows, self.elites, samples).mean(2).T)


def _descend(optimiser: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
