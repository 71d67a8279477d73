"""Offline training: rollouts in a dynamics model and updates of the policy, in turns, resumable between any two."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np
import torch

from rewardlab.adapters.offline_sac import OfflineSAC
from rewardlab.adapters.offline_settings import OfflineSettings
from rewardlab.checks import check_scalar
from rewardlab.dynamics.candidates import CandidateModel
from rewardlab.dynamics.filtered_model import PlainModel
from rewardlab.dynamics.rollouts import Rollouts, rollout
from rewardlab.transition_table import TransitionTable, check_table

__all__ = ["OfflineTraining", "train_offline"]


class OfflineTraining:
    """A training that goes on round by round: rollouts of the current policy, then updates on a mixed buffer.

    Rollouts start from recorded observations of any step of an episode. A policy, a filtered and a plain model of one
    seed see the same starts and the same chance as long as their numbers agree.

    Args:
        table: Recorded transitions.
        action_space: Box with finite bounds that the table's actions lie in.
        model: What is rolled out: `PlainModel` or `FilteredModel`; with the host MOPO its candidates carry penalties.
        settings: See there.
        seed: Of everything.
        successors: See `OfflineSAC`; needed by MOBILE only.
        device: Of policy, buffer and rollouts; the model must be there too.

    Raises:
        ValueError: See `OfflineSAC` and `MixedReplayBuffer`.

    Source: the training loop of MOREC arXiv 2310.05422 as in its public code.
    """

    def __init__(
        self,
        table: TransitionTable,
        action_space: gymnasium.spaces.Box,
        model: PlainModel,
        settings: OfflineSettings,
        *,
        seed: int,
        successors: CandidateModel | None = None,
        device: torch.device | str = "cpu",
    ):
        check_table(table)
        self.settings, self.model = settings, model
        self.sac = OfflineSAC(table, action_space, settings, seed=seed, successors=successors, device=device)
        streams = np.random.SeedSequence((seed, 1)).generate_state(2, np.uint64)
        names = ("model", "policy")
        self._generators = {
            name: torch.Generator(device).manual_seed(int(stream) >> 1)
            for name, stream in zip(names, streams, strict=True)
        }

    @property
    def updates(self) -> int:
        """Updates done."""
        return self.sac._n_updates

    @property
    def finished(self) -> bool:
        """Whether all updates of the settings are done."""
        return self.updates >= self.settings.updates

    def round(self) -> dict[str, float]:
        """A rollout and the updates after it, fewer where the training ends.

        Returns:
            What happened: `rollout_return` (undiscounted, of the rewards that were stored, a start), `value` (of the
            critics at the starts), `mean_length`, `share_truncated`, `share_terminal`, `non_finite` (rollouts that the
            model broke off), `temperature`, the last losses, and where they are: `penalty`, `dynamics_reward`.

        Raises:
            ValueError: If the training diverged: a loss or value is not finite.
        """
        starts = self.sac.replay_buffer.draw_starts(self.settings.rollout_batch)
        rolled = self._roll_out(starts)
        self.sac.replay_buffer.add_rollouts(
            rolled.observations, rolled.actions, rolled.rewards, rolled.next_observations, rolled.terminals
        )
        self.sac.train(min(self.settings.rollout_every, self.settings.updates - self.updates))
        measured = self._measured(starts, rolled)
        for name in ("value", "actor_loss", "critic_loss"):
            if not math.isfinite(measured[name]):
                raise ValueError(f"the training diverged by update {self.updates}: {name} is {measured[name]}")
        return measured

    def state(self) -> dict[str, Any]:
        """All that is needed to go on, as tensors, numbers and text: `model`, `optimiser` and the `rest`.

        The made-up rows of the buffer are in it, the recorded ones and the dynamics model are not.
        """
        state = self.sac.state()
        state["rest"]["rollout_generators"] = {name: one.get_state() for name, one in self._generators.items()}
        return state

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned: the numbers are those of a training that was never interrupted.

        Raises:
            ValueError: If it is the state of another training; see `OfflineSAC.load_state`.
        """
        self.sac.load_state(state)
        for name, generator in self._generators.items():
            generator.set_state(state["rest"]["rollout_generators"][name].cpu())

    def _roll_out(self, starts: torch.Tensor) -> Rollouts:
        chosen = self.settings
        return rollout(
            self.model,
            lambda observations: self.sac.act(observations, self._generators["policy"]),
            starts,
            horizon=chosen.horizon,
            generator=self._generators["model"],
            truncation=chosen.truncation,
            penalty_weight=chosen.penalty_weight if chosen.host == "mopo" else 0.0,
        )

    def _measured(self, starts: torch.Tensor, rolled: Rollouts) -> dict[str, float]:
        report, logged = rolled.report, self.sac.logger.name_to_value
        found = {name: report[name] for name in ("mean_length", "share_truncated", "share_terminal", "non_finite")}
        found["rollout_return"] = float(rolled.rewards.double().sum()) / len(starts)
        found["value"] = float(self.sac.values(starts).mean())
        found["temperature"] = self.sac.temperature
        kept = {
            "penalty": report.get("mean_penalty", logged.get("train/bellman_inconsistency")),
            "dynamics_reward": report.get("mean_dynamics_reward"),
            "actor_loss": logged.get("train/actor_loss"),
            "critic_loss": logged.get("train/critic_loss"),
        }
        return {**found, **{name: float(value) for name, value in kept.items() if value is not None}}


def train_offline(
    table: TransitionTable,
    action_space: gymnasium.spaces.Box,
    model: PlainModel,
    settings: OfflineSettings,
    *,
    seed: int,
    successors: CandidateModel | None = None,
    device: torch.device | str = "cpu",
    on_step: Callable[[int, dict[str, float]], None] | None = None,
    state: Mapping[str, Any] | None = None,
    save: Callable[[int, dict[str, Any]], None] | None = None,
    save_every: int = 10,
) -> OfflineSAC:
    """Train a policy offline: rounds of `OfflineTraining` until all updates are done.

    Args:
        table: As in `OfflineTraining`, like the next five.
        action_space: See there.
        model: See there.
        settings: See there.
        seed: See there.
        successors: See there.
        device: See there.
        on_step: Called after each round with the updates done and what `OfflineTraining.round` returns.
        state: To go on from; None to begin.
        save: Called with the updates done and the state, to be kept.
        save_every: Rounds between two calls of `save`; there is one more at the end.

    Returns:
        The trained agent: `act` gives its actions.
    """
    check_scalar("save_every", save_every, low=1, whole=True)
    training = OfflineTraining(table, action_space, model, settings, seed=seed, successors=successors, device=device)
    if state is not None:
        training.load_state(state)
    rounds = 0
    while not training.finished:
        measured = training.round()
        rounds += 1
        if on_step is not None:
            on_step(training.updates, measured)
        if save is not None and (rounds % save_every == 0 or training.finished):
            save(training.updates, training.state())
    return training.sac
