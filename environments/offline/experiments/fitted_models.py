"""Ensembles and dynamics rewards that the cells of an experiment share: fitted once a set and seed, and kept."""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from environments.offline.experiments.made_sets import MadeSet
from long_runs.kept_folders import made_once
from rewardlab.dynamics.candidates import EnsembleCandidates
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_files import load_ensemble, save_ensemble
from rewardlab.dynamics.ensemble_fit import fit_ensemble
from rewardlab.dynamics.ensemble_settings import EnsembleSettings
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from rewardlab.dynamics.noise_ladder import NoiseLadderSettings, fit_noise_ladder
from rewardlab.dynamics.penalties import mopo_penalty
from rewardlab.dynamics.rejection import rejection_threshold
from rewardlab.dynamics.reward_files import load_dynamics_reward, save_dynamics_reward
from rewardlab.transition_table import TransitionTable

__all__ = ["Fitted", "FittedSettings", "fitted"]

VERSION = 3  # of the fits
REJECTED = 0.05  # share of the model's steps from recorded observations and actions that the threshold rejects
PENALISED = 0.25  # share of the mean reward that MOPO's penalty takes off there
ROWS = 2000  # from which it is taken
TEMPERATURE = 0.1  # of the softmax


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
        made: The recording.
        ensemble: The dynamics model, fitted to changes in units of their standard deviations. Fitted to the raw changes
            of a pendulum, whose positions move by hundredths and speeds by ones, the held-out error is that of the
            speeds, and its smallest is in the sixth of 70 epochs, long before the positions are learned.
        reward: The dynamics reward, of the noise ladder.
    """

    made: MadeSet
    ensemble: GaussianEnsemble
    reward: DynamicsReward

    def candidates(self, *, samples: int = 2, penalty: str | None = None) -> EnsembleCandidates:
        """Samples of each elite, two by default, as in the official code; nothing is clipped."""
        return EnsembleCandidates(self.ensemble, samples_per_elite=samples, clip=None, penalty=penalty)

    def plain_model(self, *, penalty: str | None = None) -> PlainModel:
        """The ensemble as it is."""
        return PlainModel(self.candidates(penalty=penalty), termination=self.made.termination)

    def filtered_model(self, *, threshold: float | None, penalty: str | None = None) -> FilteredModel:
        """The ensemble, filtered by softmax selection at the official temperature."""
        return FilteredModel(
            self.candidates(penalty=penalty),
            self.reward,
            termination=self.made.termination,
            selection="softmax",
            temperature=TEMPERATURE,
            threshold=threshold,
        )

    def threshold(self, table: TransitionTable, *, seed: int) -> float:
        """Dynamics reward that a twentieth of the filtered model's steps from recorded pairs lie below.

        The official 0.6 was chosen for other discriminators: here it would reject most steps of one recording and few
        of the other.
        """
        generator = torch.Generator(self.ensemble.output_scale.device).manual_seed(seed)
        return rejection_threshold(self.filtered_model(threshold=None), table, REJECTED, generator=generator)

    @torch.no_grad()
    def penalty_weight(self, table: TransitionTable, *, seed: int) -> float:
        """MOPO's lambda with which its penalty takes a quarter of the mean reward off the recorded pairs.

        The official weights are meant for surer ensembles: here they would cost more than a step earns.
        """
        chosen = np.random.default_rng(seed).choice(np.flatnonzero(table.next_valid), ROWS)
        device = self.ensemble.output_scale.device
        pairs = (torch.as_tensor(column[chosen], device=device) for column in (table.observations, table.actions))
        penalties = mopo_penalty(*self.ensemble(*pairs), "aleatoric")
        return PENALISED * float(np.abs(table.rewards.mean())) / float(penalties.mean())


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
    facts = [VERSION, asdict(settings), seed, hashlib.sha256(table.observations.tobytes()).hexdigest()]
    place = folder / hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:12]
    made_once(place, lambda part: _fit(part, table, settings, seed, device))
    ensemble = load_ensemble(place / "ensemble.safetensors", device=device)
    reward = load_dynamics_reward(place / "reward.safetensors", device=device)
    return Fitted(made, ensemble, reward)


def _fit(place: Path, table: TransitionTable, settings: FittedSettings, seed: int, device: torch.device | str) -> None:
    chosen = EnsembleSettings(hidden=settings.hidden, max_epochs=settings.epochs, target_units="standard_deviation")
    ensemble, _ = fit_ensemble(table, chosen, seed=seed, device=device)
    save_ensemble(place / "ensemble.safetensors", ensemble)
    ladder = NoiseLadderSettings(iterations=settings.iterations, snapshots=settings.snapshots, rescale="official")
    save_dynamics_reward(place / "reward.safetensors", fit_noise_ladder(table, ladder, seed=seed, device=device))
