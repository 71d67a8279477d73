"""Which predictions of a learned dynamics model should a planner believe?

In the order a user needs them:
    TransitionTable: the record of logged transitions; `environments.offline` of the checkout reads every common format.
    fit_ensemble, calibrate: a dynamics model, several networks that each predict with a variance.
    fit_noise_ladder, fit_adversarial: a dynamics reward, which says how much like the real dynamics a transition looks.
    EnsembleCandidates, FilteredModel, rollout: rollouts in the model of which only believable steps are taken; anything
        that offers candidates can stand in for the ensemble.
    mopo_penalty, bellman_inconsistency: what MOPO and MOBILE take off for uncertainty.
    rejection_threshold, mean_probability_reward, selection_probabilities: the filter's parts on plain arrays.
The policy on top is `rewardlab.adapters.offline_training`, with Stable-Baselines3's SAC.

It needs torch: `pip install 'rewardlab[torch]'`.
"""

try:
    import torch  # noqa: F401 - for the message alone
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError(
        "rewardlab.dynamics needs torch: pip install 'rewardlab[torch]'", name=error.name
    ) from error

from rewardlab.dynamics.adversarial import AdversarialFit, fit_adversarial
from rewardlab.dynamics.adversarial_settings import AdversarialSettings, EntropyBonus, ProximalSettings
from rewardlab.dynamics.behaviour import BehaviourSettings, GaussianPolicy, fit_behaviour_cloning
from rewardlab.dynamics.calibration import CalibrationReport, calibrate, coverage, standardised_errors
from rewardlab.dynamics.candidates import CandidateModel, Candidates, EnsembleCandidates, Prediction
from rewardlab.dynamics.discriminator import Discriminator
from rewardlab.dynamics.draws import StepDraws
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_files import load_ensemble, save_ensemble
from rewardlab.dynamics.ensemble_fit import EnsembleFit, fit_ensemble
from rewardlab.dynamics.ensemble_settings import EnsembleReport, EnsembleSettings
from rewardlab.dynamics.filtered_model import FilteredModel, ModelStep, PlainModel
from rewardlab.dynamics.noise_ladder import NoiseLadder, NoiseLadderSettings, fit_noise_ladder
from rewardlab.dynamics.penalties import bellman_inconsistency, mopo_penalty
from rewardlab.dynamics.rejection import rejection_threshold
from rewardlab.dynamics.reward_files import load_dynamics_reward, save_dynamics_reward
from rewardlab.dynamics.reward_formula import dynamics_reward_of_logit, mean_probability_reward, optimal_discriminator
from rewardlab.dynamics.rollouts import Rollouts, rollout
from rewardlab.dynamics.selection import expected_selected_reward, select, selection_probabilities
from rewardlab.dynamics.snapshots import SnapshotQueue
from rewardlab.transition_table import TransitionTable

__all__ = [
    "AdversarialFit",
    "AdversarialSettings",
    "BehaviourSettings",
    "CalibrationReport",
    "CandidateModel",
    "Candidates",
    "Discriminator",
    "DynamicsReward",
    "EnsembleCandidates",
    "EnsembleFit",
    "EnsembleReport",
    "EnsembleSettings",
    "EntropyBonus",
    "FilteredModel",
    "GaussianEnsemble",
    "GaussianPolicy",
    "ModelStep",
    "NoiseLadder",
    "NoiseLadderSettings",
    "PlainModel",
    "Prediction",
    "ProximalSettings",
    "Rollouts",
    "SnapshotQueue",
    "StepDraws",
    "TransitionTable",
    "bellman_inconsistency",
    "calibrate",
    "coverage",
    "dynamics_reward_of_logit",
    "expected_selected_reward",
    "fit_adversarial",
    "fit_behaviour_cloning",
    "fit_ensemble",
    "fit_noise_ladder",
    "load_dynamics_reward",
    "load_ensemble",
    "mean_probability_reward",
    "mopo_penalty",
    "optimal_discriminator",
    "rejection_threshold",
    "rollout",
    "save_dynamics_reward",
    "save_ensemble",
    "select",
    "selection_probabilities",
    "standardised_errors",
]
