"""Our side of `dynamics_speed`, and the bare matrix products of the same work."""

import dataclasses
from typing import Any

import numpy as np
import torch

from tests.benchmarks.dynamics_peers import DRAWS, PENALTY, Run, Sizes, numbers

__all__ = ["bare_side", "rewardlab_side"]


def rewardlab_side(kind: str, sizes: Sizes) -> Run:
    """Our part of the work."""
    given = numbers(sizes)
    if kind == "training":
        return _training(sizes, given)
    if kind == "filter":
        return _filter(sizes, given)
    return _rollouts(sizes, given, PENALTY if kind == "rollouts_penalised" else 0.0)


def _training(sizes: Sizes, given: dict[str, Any]) -> Run:
    from rewardlab.dynamics.ensemble_fit import EnsembleFit, EnsembleSettings
    from rewardlab.transition_table import TransitionTable

    rows = np.arange(4)
    table = TransitionTable(
        observations=np.float32(np.eye(4, sizes.observation)),
        actions=np.float32(np.eye(4, sizes.action)),
        rewards=np.float32(rows),
        next_observations=np.float32(np.eye(4, sizes.observation)),
        terminals=rows >= 0,
        timeouts=rows < 0,
        episode_ids=rows,
        steps=0 * rows,
        next_valid=rows >= 0,
    )
    settings = EnsembleSettings(members=sizes.members, elites=sizes.elites, hidden=sizes.hidden)
    fit = EnsembleFit(table, settings, seed=0)  # a stand-in table: what is trained on is put in its place
    inputs, targets = torch.from_numpy(given["training_inputs"]), torch.from_numpy(given["training_targets"])
    _load(fit.ensemble, given)
    fit._inputs, fit._targets = inputs.flatten(0, 1), targets.flatten(0, 1)
    batches = torch.arange(len(fit._inputs)).view(sizes.members, -1).split(sizes.rows, dim=1)

    def steps() -> float:
        return float(torch.stack([fit._step(batch) for batch in batches]).mean())

    steps()
    with torch.no_grad():
        mean, log_variance = fit.ensemble.network(inputs[:, : sizes.rows])
    return Run(steps, sizes.steps, {"mean": mean.numpy(), "log_variance": log_variance.numpy()})


def _rollouts(sizes: Sizes, given: dict[str, Any], penalty_weight: float) -> Run:
    from rewardlab.dynamics.candidates import EnsembleCandidates
    from rewardlab.dynamics.filtered_model import PlainModel
    from rewardlab.dynamics.rollouts import rollout

    ensemble = _ensemble(sizes, given)
    penalty = "aleatoric" if penalty_weight else None
    candidates = EnsembleCandidates(ensemble, samples_per_elite=1, clip=None, penalty=penalty)
    model = PlainModel(candidates, termination=_hopper_ends)
    starts, matrix = torch.from_numpy(given["starts"]), torch.from_numpy(given["policy"])
    generator = torch.Generator().manual_seed(0)

    def policy(observations: torch.Tensor) -> torch.Tensor:
        return torch.tanh(observations @ matrix)

    actions = policy(starts)
    draws = np.random.RandomState(DRAWS)
    noise = draws.normal(size=(sizes.members, sizes.batch, sizes.outputs))
    member = draws.choice(np.arange(sizes.elites), size=sizes.batch)
    own = torch.from_numpy(noise[member, np.arange(sizes.batch)]).float()
    found = candidates.one(starts, actions, own, torch.from_numpy(member))
    rewards = found.rewards if found.penalties is None else found.rewards - penalty_weight * found.penalties
    results = {
        "next_observations": found.next_observations.numpy(),
        "rewards": rewards.numpy(),
        "terminals": _hopper_ends(starts, actions, found.next_observations).numpy(),
    }
    settings = {"horizon": sizes.horizon, "generator": generator, "penalty_weight": penalty_weight}
    return Run(lambda: rollout(model, policy, starts, **settings), sizes.batch * sizes.horizon, results)


def _filter(sizes: Sizes, given: dict[str, Any]) -> Run:
    from rewardlab.dynamics.candidates import EnsembleCandidates
    from rewardlab.dynamics.draws import StepDraws
    from rewardlab.dynamics.filtered_model import FilteredModel

    candidates = EnsembleCandidates(_ensemble(sizes, given), samples_per_elite=sizes.per_elite, clip=25.0)
    dynamics_reward = _dynamics_reward(sizes, given)
    model = FilteredModel(candidates, dynamics_reward, termination=_hopper_ends, selection="softmax")
    starts = torch.from_numpy(given["starts"])
    actions = torch.tanh(starts @ torch.from_numpy(given["policy"]))
    draws = np.random.RandomState(DRAWS)
    shape = (sizes.elites, sizes.batch, sizes.outputs)
    noise = np.stack([draws.normal(size=shape) for _ in range(sizes.per_elite)], axis=1)  # theirs: sample by sample
    found = candidates.candidates(starts, actions, torch.from_numpy(noise).float().flatten(0, 1).movedim(0, 1))
    made = torch.cat([found.next_observations, found.rewards[..., None]], dim=-1)

    def in_their_order(values: torch.Tensor) -> np.ndarray:
        return values.unflatten(1, (sizes.elites, sizes.per_elite)).movedim(0, 2).movedim(0, 1).flatten(0, 1).numpy()

    with torch.no_grad():
        results = {
            "candidates": in_their_order(made),
            "dynamics_rewards": in_their_order(dynamics_reward(starts, actions, found.next_observations)),
            "logits": dynamics_reward.logits(starts, actions, found.next_observations[:, 0]).numpy(),
        }
        dynamics_reward.precision = sizes.precision
        rounded = dynamics_reward(starts, actions, found.next_observations)
    apart = np.abs(in_their_order(rounded) - results["dynamics_rewards"]).max()
    generator, steps = torch.Generator().manual_seed(0), torch.ones(sizes.batch, dtype=torch.long)

    def step() -> Any:
        return model.step(starts, actions, steps, StepDraws.sample(sizes.batch, sizes.outputs, generator=generator))

    return Run(step, sizes.batch, results, {"largest_rounding": float(apart)})


def _ensemble(sizes: Sizes, given: dict[str, Any]) -> Any:
    from rewardlab.dynamics.ensemble import GaussianEnsemble

    ensemble = GaussianEnsemble(
        sizes.observation,
        sizes.action,
        members=sizes.members,
        elites=sizes.elites,
        hidden=sizes.hidden,
        generator=torch.Generator(),
    )
    _load(ensemble, given)
    return ensemble.requires_grad_(False)


def _load(ensemble: Any, given: dict[str, Any]) -> None:
    with torch.no_grad():
        for weight, bias, values in zip(ensemble.weights, ensemble.biases, given["ensemble"], strict=True):
            weight.copy_(torch.from_numpy(values[0]))
            bias.copy_(torch.from_numpy(values[1]))
        ensemble.input_scaler.mean.copy_(torch.from_numpy(given["mean"][0]))
        ensemble.input_scaler.standard_deviation.copy_(torch.from_numpy(given["standard_deviation"][0]))


def _dynamics_reward(sizes: Sizes, given: dict[str, Any]) -> Any:
    from rewardlab.dynamics.discriminator import Discriminator
    from rewardlab.dynamics.dynamics_reward import DynamicsReward

    network = Discriminator(
        sizes.observation, sizes.action, hidden=(*sizes.embedding, *sizes.head), generator=torch.Generator()
    )
    ends = np.stack([given["observation_low"], given["observation_high"]])
    network.fit_scalers(ends, np.outer([-1.0, 1.0], np.ones(sizes.action)), ends)
    states = []
    for snapshot in range(sizes.snapshots):
        states.append(dict(network.state_dict()))
        for layer, (weight, bias) in enumerate(given["discriminator"]):
            states[-1][f"layers.{layer}.weight"] = torch.from_numpy(weight[snapshot].T.copy())
            states[-1][f"layers.{layer}.bias"] = torch.from_numpy(bias[snapshot, 0])
    low, high = torch.tensor(given["stored"]).T
    return DynamicsReward(network, states, low, high, kind="speed")


def _hopper_ends(observations: torch.Tensor, actions: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
    height, angle = following[:, 0], following[:, 1]
    inside = torch.isfinite(following).all(-1) & (following[:, 1:].abs() < 100).all(-1)
    return ~(inside & (height > 0.7) & (angle.abs() < 0.2))


def bare_side(kind: str, sizes: Sizes) -> Run:
    """The matrix products alone: of all members where a penalty needs them, of one a row otherwise."""
    given = numbers(sizes)
    ensemble = [torch.from_numpy(weight) for weight, _ in given["ensemble"]]
    snapshots = [torch.from_numpy(weight) for weight, _ in given["discriminator"]]
    if kind == "training":
        return Run(lambda: [_step_products(ensemble, sizes.rows) for _ in range(sizes.steps)], sizes.steps, {})
    if kind != "filter":
        members = ensemble if kind == "rollouts_penalised" else [weight[:1] for weight in ensemble]
        rollouts = Run(lambda: [_products(members, sizes.batch) for _ in range(sizes.horizon)], 1.0, {})
        return dataclasses.replace(rollouts, units=sizes.batch * sizes.horizon)
    elites, candidates = [weight[: sizes.elites] for weight in ensemble], sizes.elites * sizes.per_elite
    first, last = [weight[:, -sizes.observation :] for weight in snapshots[:1]], snapshots[1:]
    shared = [weight[:, : -sizes.observation] for weight in snapshots[:1]]

    def step() -> None:
        _products(elites, sizes.batch)
        _products(shared, sizes.batch)
        _products([*first, *last], sizes.batch * candidates)

    return Run(step, sizes.batch, {})


def _products(weights: list[torch.Tensor], rows: int, most: int = 2048) -> None:
    for start in range(0, rows, most):
        for group in range(len(weights[0])):
            values = torch.zeros(min(most, rows - start), weights[0].shape[1])
            for weight in weights:
                values = values @ weight[group]


def _step_products(weights: list[torch.Tensor], rows: int) -> None:
    """Products of a forward and a backward pass."""
    count = len(weights[0])
    for place, weight in enumerate(weights):
        inputs, slopes = torch.zeros(count, rows, weight.shape[1]), torch.zeros(count, rows, weight.shape[2])
        torch.bmm(inputs, weight)
        torch.bmm(inputs.mT, slopes)
        if place:
            torch.bmm(slopes, weight.mT)
