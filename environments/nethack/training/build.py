"""From settings to what they stand for: games, intrinsic reward, learner."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm

from environments.nethack import potentials
from environments.nethack.encoding import CLASSES, SCALARS
from environments.nethack.games import make_game
from environments.nethack.training.episodes import EpisodeLedger
from environments.nethack.training.rewards import intrinsic_reward
from environments.nethack.training.settings import TrainingSettings
from environments.nethack.vector import NetHackVecEnv
from rewardlab.adapters.intrinsic_stable_baselines3 import VecIntrinsicReward, with_intrinsic_rewards
from rewardlab.intrinsic.interface import AnnotationSource
from rewardlab.shaping.running import RunningBatchShaping

__all__ = ["Training", "build", "facts_of", "games_of"]

POTENTIALS = {
    "depth": potentials.DepthPotential,
    "maximal_depth": potentials.MaximalDepthPotential,
    "score": potentials.ScorePotential,
    "exploration": potentials.ExplorationPotential,
    "health": potentials.HealthPotential,
}


@dataclass(frozen=True)
class Training:
    """What a run is made of.

    Args:
        games: Side by side, encoded.
        rewards: Around them: shows the steps to the intrinsic reward, and pays it when the learner learns.
        ledger: The intrinsic reward with its books.
        annotations: Where labels come from; None where nobody is asked.
        model: The learner.
    """

    games: NetHackVecEnv
    rewards: VecIntrinsicReward
    ledger: EpisodeLedger
    annotations: AnnotationSource | None
    model: BaseAlgorithm

    def labels(self) -> float:
        """Labels received so far."""
        return 0.0 if self.annotations is None else self.annotations.statistics()["delivered"]

    def close(self) -> None:
        """Let go of games and processes."""
        self.rewards.close()


def build(settings: TrainingSettings, folder: Path) -> Training:
    """Make what a run is made of; `folder` is where annotation beside the training keeps its journal.

    Raises:
        ValueError: If a task, an action set or an annotator is unknown.
        ImportError: If something that the settings need is not installed.
    """
    torch.set_num_threads(1)  # the networks are small: threads would wait for one another
    games = games_of(settings, seed=settings.seed)
    features = games.encoder.features
    intrinsic, annotations = intrinsic_reward(settings, folder, features=features, actions=int(games.action_space.n))
    ledger = EpisodeLedger(
        intrinsic, environments=settings.policy.games, window=settings.window, clock=_clock(settings)
    )
    rewards = VecIntrinsicReward(
        games,
        ledger,
        coefficient=0.0 if intrinsic is None else settings.intrinsic.coefficient,
        extrinsic_coefficient=settings.extrinsic_coefficient,
        extrinsic_scale=settings.extrinsic_scale,
        extrinsic_clip=settings.extrinsic_clip,
    )
    model = with_intrinsic_rewards(_learner(settings, rewards))
    return Training(games, rewards, ledger, annotations, model)


def games_of(settings: TrainingSettings, *, seed: int, shaped: bool = True) -> NetHackVecEnv:
    """The games of a run; with `shaped` False they pay what the task pays and no more."""
    game, chosen = settings.game, settings.shaping
    shaping = None
    if shaped and chosen.potential != "none":
        shaping = RunningBatchShaping(POTENTIALS[chosen.potential](chosen.weight), settings.policy.discount)
    make = partial(
        make_game,
        game.task,
        actions=game.actions,
        episode_steps=game.episode_steps,
        penalty_step=game.penalty,
        prompts=game.prompts,
    )
    return NetHackVecEnv(
        make,
        settings.policy.games,
        seed=seed,
        crop=settings.features.crop,
        with_visits=settings.features.visits,
        shaping=shaping,
    )


def _clock(settings: TrainingSettings) -> int:
    """Which feature is the game's clock."""
    cells = settings.features.crop**2
    return cells * (len(CLASSES) + settings.features.visits) + SCALARS.index("time")


def _learner(settings: TrainingSettings, environments: VecIntrinsicReward) -> BaseAlgorithm:
    chosen = settings.policy
    kind, policy = PPO, "MlpPolicy"
    network: dict[str, Any] = {"net_arch": list(chosen.hidden)}
    if chosen.algorithm == "recurrent_ppo":
        try:
            from sb3_contrib import RecurrentPPO
        except ModuleNotFoundError as error:
            raise ImportError("recurrent_ppo needs sb3-contrib: pip install 'rewardlab[nethack]'") from error
        kind, policy = RecurrentPPO, "MlpLstmPolicy"
        network["lstm_hidden_size"] = chosen.memory
    return kind(
        policy,
        environments,
        learning_rate=chosen.learning_rate,
        n_steps=chosen.rollout_steps,
        batch_size=chosen.batch_size,
        n_epochs=chosen.epochs,
        gamma=chosen.discount,
        gae_lambda=chosen.gae_lambda,
        clip_range=chosen.clip,
        ent_coef=chosen.entropy,
        policy_kwargs=network,
        seed=settings.seed,
        device=chosen.device,
    )


def facts_of(info: dict[str, Any]) -> dict[str, float]:
    """What the info of a game that ended says of it."""
    return {
        "score": float(info["game"]["score"]),
        "return": float(info["episode"]["r"]),
        "success": float(info.get("success", np.nan)),
        "depth": float(info["game"]["maximal_depth"]),
        "length": float(info["episode"]["l"]),
    }
