"""The other sides of `dynamics_speed`: OfflineRL-Kit and MOREC's official code, run as they are from a checkout.

Nothing of theirs is copied or changed. Modules that they import and the measured work does not use (old gym, D4RL,
loggers, plots) are replaced, where they are not installed, by empty stand-ins in this process alone. All weights and
inputs come from `numbers`, by seed, so that every side computes the same thing.

MOREC's head sizes are not in its released code, which reads them from checkpoints that were not released either: 256
and 128 are assumed, as in its defaults for other networks.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import numpy as np
import torch

__all__ = ["Run", "Sizes", "numbers", "peer"]

STAND_INS = (
    *("gym", "gym.envs", "gym.envs.mujoco", "gym.logger", "d4rl", "d4rl.gym_mujoco", "neorl"),
    *("smart_logger", "seaborn", "tqdm"),
)
PENALTY = 2.5
LOW, HIGH = -1.0, 1.5  # stored learner and expert value of the first snapshot; later ones a little wider
DRAWS = 7  # seed of the draws of a step whose results are compared
WEIGHT_DECAYS = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)


@dataclass(frozen=True)
class Sizes:
    """What is computed; the defaults are those of Hopper in the published code."""

    observation: int = 11
    action: int = 3
    members: int = 7
    elites: int = 5
    hidden: tuple[int, ...] = (200, 200, 200, 200)
    embedding: tuple[int, int] = (128, 256)
    head: tuple[int, ...] = (256, 128)
    rows: int = 256  # of a training batch, for each member
    steps: int = 20  # training steps in one call
    batch: int = 2000  # starts of a rollout, rows of a filter step
    horizon: int = 5
    per_elite: int = 2  # candidates of each elite
    snapshots: int = 10
    precision: str = "exact"  # of our dynamics reward while it is timed

    @property
    def outputs(self) -> int:
        return self.observation + 1


@dataclass(frozen=True)
class Run:
    """Something to time, and what it computed when its draws were those of the other sides."""

    call: Callable[[], Any]
    units: float  # training steps or transitions in one call
    results: dict[str, np.ndarray]
    facts: dict[str, float] = field(default_factory=dict)  # to print with the times


def numbers(sizes: Sizes) -> dict[str, Any]:
    """Weights, inputs and starts, the same for every side."""
    rng = np.random.default_rng(0)

    def layers(count: int, gain: float, *ends: int) -> list[tuple[np.ndarray, np.ndarray]]:
        return [
            (
                (gain / inputs**0.5 * rng.standard_normal((count, inputs, outputs))).astype(np.float32),
                (0.03 * rng.standard_normal((count, 1, outputs))).astype(np.float32),
            )
            for inputs, outputs in pairwise(ends)
        ]

    inputs = sizes.observation + sizes.action
    ensemble = layers(sizes.members, 0.5, inputs, *sizes.hidden, 2 * sizes.outputs)
    ensemble[-1][1][..., sizes.outputs :] -= 6  # standard deviations of about 0.05, as fitted ones are
    starts = 0.1 * rng.standard_normal((sizes.batch, sizes.observation))
    starts[:, 0] += 1.25  # an upright hopper: few rollouts end early
    starts[:, 1] *= 0.2
    seen = 2 * sizes.observation + 1 + sizes.action  # observation, hidden factor, action, change
    rows = sizes.steps * sizes.rows
    return {
        "ensemble": ensemble,
        "mean": 0.05 * rng.standard_normal((1, inputs)),
        "standard_deviation": 0.5 + rng.random((1, inputs)),
        "training_inputs": rng.standard_normal((sizes.members, rows, inputs)).astype(np.float32),
        "training_targets": (0.3 * rng.standard_normal((sizes.members, rows, sizes.outputs))).astype(np.float32),
        "starts": starts.astype(np.float32),
        "policy": (0.3 * rng.standard_normal((sizes.observation, sizes.action))).astype(np.float32),
        "discriminator": layers(sizes.snapshots, 2.0, seen, *sizes.embedding, *sizes.head, 1),
        "stored": [(LOW - 0.01 * snapshot, HIGH + 0.01 * snapshot) for snapshot in range(sizes.snapshots)],
        "observation_low": -1.0 - rng.random(sizes.observation),
        "observation_high": 1.5 + rng.random(sizes.observation),
    }


def peer(name: str, folder: Path, work: str, sizes: Sizes) -> Run:
    """One side's part of the work, in this process, which can hold one peer only.

    Args:
        name: "offlinerl_kit" or "morec".
        folder: Its checkout.
        work: "training", "rollouts", "rollouts_penalised" or "filter".
        sizes: What is computed.
    """
    package = folder / "offlinerlkit"
    if not package.is_dir():
        raise FileNotFoundError(f"{package}: no such folder; expected a checkout of {name} in {folder}")
    missing = [module for module in STAND_INS if find_spec(module.split(".")[0]) is None]
    sys.modules.update({module: MagicMock() for module in missing})
    sys.path.insert(0, str(folder))
    given = numbers(sizes)
    if work == "filter":
        return _morec_filter(_dynamics(sizes, given, terminal="hopper", penalty=0.0), sizes, given)
    if work == "training":
        return _training(_dynamics(sizes, given, terminal="hopper", penalty=0.0), sizes, given)
    penalty = PENALTY if work == "rollouts_penalised" else 0.0
    return _rollouts(_dynamics(sizes, given, terminal="hopper", penalty=penalty), sizes, given)


def _dynamics(sizes: Sizes, given: dict[str, Any], *, terminal: str, penalty: float) -> Any:
    from offlinerlkit.dynamics import EnsembleDynamics
    from offlinerlkit.modules import EnsembleDynamicsModel
    from offlinerlkit.utils import termination_fns
    from offlinerlkit.utils.scaler import StandardScaler

    model = EnsembleDynamicsModel(
        sizes.observation,
        sizes.action,
        list(sizes.hidden),
        sizes.members,
        sizes.elites,
        weight_decays=[*WEIGHT_DECAYS[: len(sizes.hidden)], WEIGHT_DECAYS[-1]],
    )
    for layer, (weight, bias) in zip([*model.backbones, model.output_layer], given["ensemble"], strict=True):
        layer.weight.data.copy_(torch.from_numpy(weight))
        layer.bias.data.copy_(torch.from_numpy(bias))
    ends = getattr(termination_fns, f"termination_fn_{terminal}")
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    scaler = StandardScaler(given["mean"].copy(), given["standard_deviation"].copy())
    return EnsembleDynamics(model, optimiser, scaler, ends, penalty_coef=penalty)


def _training(dynamics: Any, sizes: Sizes, given: dict[str, Any]) -> Run:
    inputs, targets = given["training_inputs"], given["training_targets"]
    dynamics.learn(inputs, targets, sizes.rows)
    with torch.no_grad():
        mean, log_variance = dynamics.model(inputs[:, : sizes.rows])
    results = {"mean": mean.numpy(), "log_variance": log_variance.numpy()}
    return Run(lambda: dynamics.learn(inputs, targets, sizes.rows), sizes.steps, results)


def _rollouts(dynamics: Any, sizes: Sizes, given: dict[str, Any]) -> Run:
    from offlinerlkit.policy import MOPOPolicy

    starts, matrix = given["starts"], given["policy"]
    holder = SimpleNamespace(select_action=lambda seen: np.tanh(seen @ matrix), dynamics=dynamics)
    np.random.seed(DRAWS)  # noqa: NPY002, where they draw from
    next_observations, rewards, terminals, _ = dynamics.step(starts, holder.select_action(starts))
    results = {"next_observations": next_observations, "rewards": rewards[:, 0], "terminals": terminals[:, 0]}
    transitions = sizes.batch * sizes.horizon
    return Run(lambda: MOPOPolicy.rollout(holder, starts, sizes.horizon), transitions, results)


def _morec_filter(dynamics: Any, sizes: Sizes, given: dict[str, Any]) -> Run:
    dynamics._dynamics_rewards = rewards = _morec_discriminators(sizes, given)
    dynamics._reward_use_type = "softmax_elite"
    dynamics._resample_num_in_transition = sizes.per_elite  # this and the next two: the published launch script
    dynamics._reward_infer_batch_num = 4
    dynamics._d_clip = 1.0
    starts = given["starts"]
    actions = np.tanh(starts @ given["policy"])
    np.random.seed(DRAWS)  # noqa: NPY002, where they draw from
    *_, report = dynamics.step(starts, actions)
    seen = report["detail_data"]
    candidates = np.concatenate([seen["next_obs"], seen["rew"]], axis=-1)
    results = {"candidates": candidates, "dynamics_rewards": seen["dynamics_reward"][..., 0]}
    results["logits"] = _morec_logits(rewards, starts, actions, seen["next_obs"][0])
    return Run(lambda: dynamics.step(starts, actions), sizes.batch, results)


def _morec_logits(rewards: Any, observations: np.ndarray, actions: np.ndarray, following: np.ndarray) -> np.ndarray:
    data = rewards.expert_data
    scaled = [data.normalize_obs(observations), data.normalize_act(actions), data.normalize_obs(following)]
    seen, acted, then = (torch.from_numpy(values).float() for values in scaled)
    with torch.no_grad():
        inputs = torch.cat([seen, torch.zeros(len(seen), 1), acted], dim=-1)
        return rewards.discriminator.run_logits(rewards.encoder.encode(inputs, then - seen))[..., 0].numpy()


def _morec_discriminators(sizes: Sizes, given: dict[str, Any]) -> Any:
    """Their ensemble of snapshots, filled with the given weights in place of a file of theirs."""
    import models.DataLoader as data_loader
    from models.discriminator_ensemble_loader import DiscriminatorEnsemble
    from models.discriminator_restrain import DiscriminatorRestrain

    ends = np.stack([given["observation_low"], given["observation_high"]])
    rows = {
        "observations": ends,
        "next_observations": ends,
        "actions": np.outer([-1.0, 1.0], np.ones(sizes.action)),
        "rewards": np.zeros(2),
        "terminals": np.array([True, True]),
        "timeouts": np.array([False, False]),
    }
    data_loader.gym.make = lambda name: SimpleNamespace(get_dataset=lambda: rows)
    relu = ["relu"]
    activations = relu * len(sizes.head) + ["linear"]
    learner = DiscriminatorRestrain(
        *(sizes.observation, 1, sizes.action, sizes.observation, 0.99, 64, 16),
        *([256, 128], relu * 3, [256, 128], relu * 3, activations, list(sizes.head), list(sizes.head), activations),
        *("d4rl-hopper", 100, 1e-3, 1e-3),
        history_discriminator_interval=1,
        max_maintaining_disc=400,
        mi_regulizer_factor=0.0,
        encoder_type="vanilla",
        vanilla_encoder_hidden_size=list(sizes.embedding[:1]),
        vanilla_encoder_embedding_size=sizes.embedding[1],
    )
    layers = [*learner.encoder.encoder.model.layer_list, *learner.discriminator.model.model.layer_list]
    for snapshot, (low, high) in enumerate(given["stored"]):
        for layer, (weight, bias) in zip(layers, given["discriminator"], strict=True):
            layer.weight.data.copy_(torch.from_numpy(weight[snapshot].T.copy()))
            layer.bias.data.copy_(torch.from_numpy(bias[snapshot, 0]))
        learner.learner_value_backup, learner.expert_value_backup = low, high
        learner.history_discriminator.append(learner.state_dict())
    return DiscriminatorEnsemble(learner, ensemble_choosing_interval=1, load_min_max=False)
