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
from rewardlab.dynamics.candidates import EnsembleCandidates
from rewardlab.dynamics.draws import StepDraws
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_files import load_ensemble, save_ensemble
from rewardlab.dynamics.ensemble_fit import fit_ensemble
from rewardlab.dynamics.ensemble_settings import EnsembleSettings
from rewardlab.dynamics.filtered_model import FilteredModel
from rewardlab.dynamics.noise_ladder import NoiseLadderSettings, fit_noise_ladder
from rewardlab.dynamics.reward_files import load_dynamics_reward, save_dynamics_reward
from rewardlab.transition_table import TransitionTable

__all__ = ["Fitted", "FittedSettings", "candidates", "filtered_model", "fitted"]

VERSION = 1  # of the fits
REJECTED = 0.05  # share of the model's steps from recorded observations and actions that the threshold rejects
ROWS = 2000  # from which the threshold is taken
CANDIDATES, TEMPERATURE = 2, 0.1  # of each of five elites; of the softmax


@dataclass(frozen=True)
class FittedSettings:
    """How they are fitted.

    Args:
        hidden: Layers of the ensemble.
        epochs: Most of its epochs.
        iterations: Of the noise ladder.
        snapshots: Discriminators kept.
    """

    hidden: tuple[int, ...] = (128, 128)
    epochs: int = 100
    iterations: int = 400
    snapshots: int = 10


@dataclass(frozen=True, eq=False)
class Fitted:
    """What was learned from a recording.

    Args:
        ensemble: The dynamics model.
        reward: The dynamics reward, of the noise ladder.
        threshold: Dynamics reward that a twentieth of the filtered model's steps from recorded pairs lie below. The
            official 0.6 was chosen for other discriminators: here it would reject most steps of one set and few of the
            other.
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
    facts = [
        VERSION,
        made.env_id,
        made.rows,
        asdict(settings),
        seed,
        hashlib.sha256(table.observations.tobytes()).hexdigest(),
    ]
    place = folder / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    if not place.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as part:
            _fit(Path(part) / "whole", table, settings, seed, device)
            if not place.is_dir():  # else another process was quicker
                os.replace(Path(part) / "whole", place)
    ensemble = load_ensemble(place / "ensemble.safetensors", device=device)
    reward = load_dynamics_reward(place / "reward.safetensors", device=device)
    return Fitted(ensemble, reward, _threshold(ensemble, reward, made, table, seed))


def candidates(ensemble: GaussianEnsemble, *, penalty: str | None = None) -> EnsembleCandidates:
    """What is offered at each step: two samples of each elite."""
    return EnsembleCandidates(ensemble, samples_per_elite=CANDIDATES, penalty=penalty)


def filtered_model(
    ensemble: GaussianEnsemble,
    reward: DynamicsReward,
    made: MadeSet,
    *,
    threshold: float | None,
    penalty: str | None = None,
) -> FilteredModel:
    """The ensemble, filtered by softmax selection at the official temperature."""
    return FilteredModel(
        candidates(ensemble, penalty=penalty),
        reward,
        termination=made.termination,
        selection="softmax",
        temperature=TEMPERATURE,
        threshold=threshold,
    )


def _fit(place: Path, table: TransitionTable, settings: FittedSettings, seed: int, device: torch.device | str) -> None:
    place.mkdir()
    chosen = EnsembleSettings(hidden=settings.hidden, max_epochs=settings.epochs, patience=10)
    ensemble, _ = fit_ensemble(table, chosen, seed=seed, device=device)
    save_ensemble(place / "ensemble.safetensors", ensemble)
    ladder = NoiseLadderSettings(iterations=settings.iterations, snapshots=settings.snapshots, rescale="official")
    save_dynamics_reward(place / "reward.safetensors", fit_noise_ladder(table, ladder, seed=seed, device=device))


@torch.no_grad()
def _threshold(
    ensemble: GaussianEnsemble, reward: DynamicsReward, made: MadeSet, table: TransitionTable, seed: int
) -> float:
    device = next(iter(reward.buffers())).device
    generator = torch.Generator(device).manual_seed(seed)
    rows = torch.as_tensor(np.flatnonzero(table.next_valid), device=device)
    chosen = rows[torch.randint(len(rows), (ROWS,), generator=generator, device=device)].cpu().numpy()
    observations = torch.as_tensor(table.observations[chosen], device=device)
    actions = torch.as_tensor(table.actions[chosen], device=device)
    model = filtered_model(ensemble, reward, made, threshold=None)
    draws = StepDraws.sample(ROWS, model.output_size, generator=generator)
    first = torch.ones(ROWS, dtype=torch.long, device=device)
    judged = model.step(observations, actions, first, draws).dynamics_rewards
    return float(judged.double().quantile(REJECTED))
