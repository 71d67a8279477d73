"""Ensembles and dynamics rewards that the cells of an experiment share: fitted once a set and seed, and kept."""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from environments.offline.experiments.made_sets import MadeSet
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_files import load_ensemble, save_ensemble
from rewardlab.dynamics.ensemble_fit import fit_ensemble
from rewardlab.dynamics.ensemble_settings import EnsembleSettings
from rewardlab.dynamics.noise_ladder import NoiseLadderSettings, fit_noise_ladder
from rewardlab.dynamics.reward_files import load_dynamics_reward, save_dynamics_reward
from rewardlab.transition_table import TransitionTable

__all__ = ["Fitted", "FittedSettings", "fitted"]

REJECTED = 0.01  # share of the recorded transitions that the threshold rejects


@dataclass(frozen=True)
class FittedSettings:
    """How they are fitted.

    Args:
        hidden: Layers of the ensemble.
        epochs: Most of its epochs.
        iterations: Of the noise ladder.
        snapshots: Discriminators kept.
    """

    hidden: tuple[int, ...] = (64, 64)
    epochs: int = 60
    iterations: int = 400
    snapshots: int = 10


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was learned from a recording.

    Args:
        ensemble: The dynamics model.
        reward: The dynamics reward, of the noise ladder.
        threshold: Dynamics reward that a hundredth of the recorded transitions lie below.
    """

    ensemble: GaussianEnsemble
    reward: DynamicsReward
    threshold: float


def fitted(
    folder: Path,
    made: MadeSet,
    table: TransitionTable,
    settings: FittedSettings,
    *,
    seed: int,
    device: torch.device | str = "cpu",
) -> Fitted:
    """Fit both, or read what was kept.

    Args:
        folder: Where they are kept, under names that say what they depend on; may be shared by processes.
        made: The recording.
        table: Its rows.
        settings: How to fit.
        seed: Of both fits.
        device: Of what is returned.
    """
    facts = [made.env_id, made.rows, asdict(settings), seed, hashlib.sha256(table.observations.tobytes()).hexdigest()]
    place = folder / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    if not place.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as part:
            _fit(Path(part) / "whole", table, settings, seed, device)
            if not place.is_dir():  # else another process was quicker
                os.replace(Path(part) / "whole", place)
    ensemble = load_ensemble(place / "ensemble.safetensors", device=device)
    reward = load_dynamics_reward(place / "reward.safetensors", device=device)
    return Fitted(ensemble, reward, _threshold(reward, table))


def _fit(
    place: Path, table: TransitionTable, settings: FittedSettings, seed: int, device: torch.device | str
) -> None:
    place.mkdir()
    chosen = EnsembleSettings(hidden=settings.hidden, max_epochs=settings.epochs)
    ensemble, _ = fit_ensemble(table, chosen, seed=seed, device=device)
    save_ensemble(place / "ensemble.safetensors", ensemble)
    ladder = NoiseLadderSettings(iterations=settings.iterations, snapshots=settings.snapshots)
    save_dynamics_reward(place / "reward.safetensors", fit_noise_ladder(table, ladder, seed=seed, device=device))


def _threshold(reward: DynamicsReward, table: TransitionTable) -> float:
    rows = table.rows(np.flatnonzero(table.next_valid))
    device = next(iter(reward.buffers())).device
    names = ("observations", "actions", "next_observations")
    with torch.no_grad():
        judged = reward(*(torch.as_tensor(rows[name], device=device) for name in names))
    return float(judged.double().quantile(REJECTED))
