"""Policies learned in a model from recordings of MuJoCo tasks: three hosts, with and without a filtered model.

Every arm of a set and seed has the same recording, ensemble, dynamics reward and stream of chance. What differs is the
host (plain SAC, MOPO's penalty on rewards, MOBILE's on targets), whether a dynamics reward chooses among the model's
candidates and rejects what it does not believe, and what becomes of a rejected step. Beside the return in the real
environment stands the one that the model promised.
"""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pandas as pd
import torch

from environments.offline.experiments.fitted_models import Fitted, FittedSettings, fitted
from environments.offline.experiments.made_sets import SETS, MadeSet
from long_runs.experiment import Cell, Experiment, ScaleName
from rewardlab.adapters.offline_evaluation import evaluate_policy, model_returns
from rewardlab.adapters.offline_settings import OfflineSettings
from rewardlab.adapters.offline_training import OfflineTraining
from rewardlab.dynamics.filtered_model import PlainModel

__all__ = ["ARMS", "EXPERIMENT", "HOSTS", "NO_FILTER", "TRUNCATIONS", "Arm"]

HOSTS = ("plain", "mopo", "mobile")
TRUNCATIONS = ("terminal", "bootstrap", "drop")
NO_FILTER = "none"
TARGET_STEP = 0.02  # four times the official one: with it values would hardly grow past 20 steps of reward


@dataclass(frozen=True)
class Arm:
    """A host, and what becomes of the steps that its filter rejects; `none`: no filter."""

    host: str
    truncation: str = NO_FILTER

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.host}, {'no filter' if self.truncation == NO_FILTER else f'filter, {self.truncation}'}"


ARMS = tuple(Arm(host, mode) for host in HOSTS for mode in (NO_FILTER, *TRUNCATIONS))


@dataclass(frozen=True)
class Size:
    """What differs between scales; the weights of the penalties lie with the sets."""

    sets: tuple[str, ...]
    seeds: int
    updates: int
    rollout_every: int = 250
    rollout_batch: int = 200
    horizon: int = 20
    batch_size: int = 128
    successor_samples: int = 5
    episodes: int = 10
    starts: int = 50
    steps: int = 1000
    models: FittedSettings = field(default_factory=FittedSettings)


SMOKE = FittedSettings(hidden=(16, 16), epochs=2, iterations=4, snapshots=2)
SIZES = {
    "smoke": Size(("random pendulum",), 2, 20, 10, 10, 5, 16, 2, 2, 5, 20, SMOKE),
    "small": Size(("InvertedPendulum", "Hopper"), 3, 3000),
    "gpu": Size(("InvertedPendulum", "Hopper"), 5, 50_000, rollout_every=1000, rollout_batch=2000, batch_size=256),
}


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell a seed, set and arm: those of one seed together, so that half a record is one of fewer seeds."""
    size = SIZES[scale]
    return {
        f"{data}, {arm.name}, seed {number}": partial(run, scale, data, arm, number)
        for number in range(seed, seed + size.seeds)
        for data in size.sets
        for arm in ARMS
    }


def run(scale: ScaleName, data: str, arm: Arm, seed: int, folder: Path) -> pd.DataFrame:
    """Train one arm; one row, of its policy in the end and of its last rollouts."""
    size, made = SIZES[scale], SETS[data]
    device = "cuda" if scale == "gpu" else "cpu"
    table = made.table()
    models = fitted(folder.parent / "shared", made, table, size.models, seed=seed, device=device)
    model = _model(arm, models, models.threshold(table, seed=seed))
    chosen = _settings(size, made, arm, models.penalty_weight(table, seed=seed))
    successors = models.candidates(samples=chosen.successor_samples)
    training = OfflineTraining(table, made.action_space, model, chosen, seed=seed, successors=successors, device=device)
    rounds = []
    while not training.finished:
        rounds.append(training.round())
    last = pd.DataFrame(rounds[-max(1, len(rounds) // 4) :]).mean()  # of the last quarter of the rollouts
    starts = torch.as_tensor(table.observations[table.episode_starts][: size.starts], device=device)
    generator = torch.Generator(device).manual_seed(seed)
    promised = model_returns(model, training.sac.act, starts, horizon=size.steps, generator=generator)
    earned = evaluate_policy(
        training.sac.act,
        lambda: gymnasium.make(made.env_id),
        episodes=size.episodes,
        seed=10_000 + seed,
        max_steps=size.steps,
        device=device,
    )
    row = {
        "real_return": earned.returns.mean(),
        "real_length": earned.lengths.mean(),
        "score": made.score(earned.returns).mean(),
        "promised_return": promised.returns.mean(),
        "promised_length": promised.lengths.mean(),
        "promised_score": made.score(promised.returns).mean(),
        "data_score": made.score(table.episode_returns).mean(),
        "best_data_score": made.score(table.episode_returns).max(),
        **{name: last.get(name, np.nan) for name in ("mean_length", "share_truncated", "share_terminal", "value")},
        **{name: last.get(name, np.nan) for name in ("penalty", "dynamics_reward", "temperature")},
    }
    row = {name: round(float(value), 5) for name, value in row.items()}
    return pd.DataFrame([{"data": data, "host": arm.host, "truncation": arm.truncation, "seed": seed, **row}])


def _model(arm: Arm, models: Fitted, threshold: float) -> PlainModel:
    penalty = "aleatoric" if arm.host == "mopo" else None
    if arm.truncation == NO_FILTER:
        return models.plain_model(penalty=penalty)
    return models.filtered_model(threshold=threshold, penalty=penalty)


def _settings(size: Size, made: MadeSet, arm: Arm, mopo_weight: float) -> OfflineSettings:
    """Learning rates are those of the behaviours: the official ones are meant for a thousand times as many updates."""
    weights = {"plain": 0.0, "mopo": mopo_weight, "mobile": made.mobile_weight}
    return OfflineSettings(
        host=arm.host,
        penalty_weight=weights[arm.host],
        successor_samples=size.successor_samples,
        updates=size.updates,
        batch_size=size.batch_size,
        rollout_every=size.rollout_every,
        rollout_batch=size.rollout_batch,
        horizon=size.horizon,
        truncation="terminal" if arm.truncation == NO_FILTER else arm.truncation,
        hidden=made.hidden,
        target_step=TARGET_STEP,
        actor_learning_rate=made.learning_rate,
        critic_learning_rate=made.learning_rate,
        temperature_learning_rate=made.learning_rate,
    )


EXPERIMENT = Experiment(
    "offline_policies",
    "policies learned in a model of recorded MuJoCo tasks, with and without a filter on the model",
    cells,
    package="environments.offline",
)
