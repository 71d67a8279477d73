"""One-step errors on the refrigerator: candidates of an ensemble, and rewards of several trainings that choose."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from scipy import stats
from torch import Tensor

from environments.offline.refrigerator import (
    SIMPLIFIED,
    Refrigerator,
    make_refrigerator_set,
    next_temperature,
    refrigerator_points,
)
from paper_figures.figure import Scale
from rewardlab.dynamics.adversarial import AdversarialFit
from rewardlab.dynamics.adversarial_settings import AdversarialSettings
from rewardlab.dynamics.behaviour import BehaviourSettings
from rewardlab.dynamics.candidates import EnsembleCandidates
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_fit import EnsembleSettings, fit_ensemble
from rewardlab.dynamics.noise_ladder import NoiseLadder, NoiseLadderSettings
from rewardlab.transition_table import TransitionTable

__all__ = ["ENSEMBLES", "LAW", "REGIONS", "run_all"]

REGIONS = ("in", "ood_a", "ood_sa")
ENSEMBLES = {"short": 256, "long": 32}  # rows a step, in 40 epochs: 8 times as many steps in the second
LAW = 0.98  # the true coefficient of the temperature
_SENSOR = Refrigerator(process_noise=0.0, sensor_noise=0.1, door=False, initial=(10.0, 10.0))


@dataclass(frozen=True)
class Size:
    """How large a run is.

    Args:
        seeds: Recordings, each with its own ensembles and rewards.
        sensor_seeds: Likewise, of the recordings with a noisy sensor.
        iterations: Of each training of a reward; half of it with the noisy sensor.
        batch: Rows a discriminator step.
        epochs: Of the ensemble.
        points: To test at, in each region.
    """

    seeds: int
    sensor_seeds: int
    iterations: int
    batch: int
    epochs: int
    points: int


_SIZES = {
    "smoke": Size(2, 1, 40, 32, 4, 200),
    "small": Size(4, 2, 400, 128, 40, 2000),
    "paper": Size(10, 10, 400, 256, 40, 2000),
}


@dataclass(frozen=True, eq=False)
class Questions:
    """What a model is asked and answers in one region.

    Attributes:
        observations, actions: `(P, 1)`.
        truth: `(P,)` the law's answer without noise.
        candidates: `(P, N, 1)`.
        mean: `(P,)` mean prediction of the elites.
    """

    observations: Tensor
    actions: Tensor
    truth: Tensor
    candidates: Tensor
    mean: Tensor

    @property
    def errors(self) -> Tensor:
        """Absolute error of each candidate, `(P, N)`, degrees."""
        return (self.candidates[..., 0] - self.truth[:, None]).abs()


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """Everything measured, tidy: part, seed, ensemble, variant, region, value.

    Parts: "error" (mean absolute error of the chosen prediction, degrees), "correlation" (of reward and error over the
    candidates in the data), "alarm" (probability that a chosen prediction in the data has a higher reward than one out
    of it, ties half), "slope" (coefficient of the temperature in the predictions, with a noisy sensor), and "loss" (of
    the discriminator; region holds the iteration).
    """
    size = _SIZES.get(scale.name, _SIZES["paper"])
    jobs = [(_simple, seed) for seed in range(size.seeds)] + [(_noisy, seed) for seed in range(size.sensor_seeds)]
    if scale.workers > 1:
        from joblib import Parallel, delayed

        tables = Parallel(n_jobs=scale.workers)(delayed(_alone)(job, rng, seed, size) for job, seed in jobs)
    else:
        tables = [_alone(job, rng, seed, size) for job, seed in jobs]
    return pd.DataFrame([row for table in tables for row in table])


def _alone(job, rng: int, seed: int, size: Size) -> list[dict]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        numbers = np.random.SeedSequence([rng, seed, job is _noisy]).generate_state(4).tolist()
        return [{"seed": seed, **row} for row in job(numbers, size)]
    finally:
        torch.set_num_threads(threads)


def _simple(numbers: list[int], size: Size) -> list[dict]:
    table = make_refrigerator_set(SIMPLIFIED, episodes=20, length=100, rng=numbers[0]).table
    rewards, rows = _train(table, numbers[1], size)
    for name, batch in ENSEMBLES.items():
        ensemble = _ensemble(table, batch, numbers[2], size)
        asked = {region: _ask(ensemble, region, numbers[3], size.points) for region in REGIONS}
        rows += [{"ensemble": name, **row} for row in _judge(asked, rewards)]
    return rows


def _ensemble(table: TransitionTable, batch: int, seed: int, size: Size) -> GaussianEnsemble:
    settings = EnsembleSettings(hidden=(64, 64), max_epochs=size.epochs, patience=size.epochs, batch_size=batch)
    return fit_ensemble(table, settings, seed=seed)[0]


def _train(table: TransitionTable, seed: int, size: Size) -> tuple[dict[str, DynamicsReward], list[dict]]:
    """The rewards by name, and how the games went."""
    cloning = BehaviourSettings(steps=500)
    ahead = AdversarialSettings(iterations=size.iterations, batch_size=size.batch, behaviour=cloning)
    fast = AdversarialSettings(
        iterations=size.iterations,
        batch_size=size.batch,
        behaviour=cloning,
        generator_learning_rate=2e-3,
        discriminator_steps=3,
        history=5 / 6,
    )
    rewards, rows = {}, []
    for name, settings in (("fast", fast), ("ahead", ahead)):
        game = AdversarialFit(table, settings, seed=seed)
        while game.iteration < settings.iterations:
            game.step()
        rewards |= {name: game.reward(rescale="none"), f"{name} rescaled": game.reward(rescale="official")}
        rows += [
            {"part": "loss", "variant": name, "region": str(place), "value": value}
            for place, value in enumerate(game.history["loss"])
            if place % 10 == 0
        ]
    return {**rewards, "ladder": _ladder(table, seed, size.iterations)}, rows


def _ladder(table: TransitionTable, seed: int, iterations: int) -> DynamicsReward:
    settings = NoiseLadderSettings(iterations=iterations, snapshots=min(40, iterations))
    ladder = NoiseLadder(table, settings, seed=seed)
    while ladder.iteration < iterations:
        ladder.step()
    return ladder.reward()


def _ask(ensemble: GaussianEnsemble, region: str, seed: int, count: int) -> Questions:
    return _answers(ensemble, *refrigerator_points(region, count, seed), seed)


@torch.no_grad()
def _answers(ensemble: GaussianEnsemble, shown: np.ndarray, actions: np.ndarray, seed: int) -> Questions:
    model = EnsembleCandidates(ensemble, samples_per_elite=2, mode="sampled", clip=None)
    observations, powers = torch.as_tensor(shown), torch.as_tensor(actions)
    draw = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(shown), model.candidate_count, model.output_size, generator=draw)
    changes, _ = ensemble(observations, powers)
    return Questions(
        observations=observations,
        actions=powers,
        truth=torch.as_tensor(next_temperature(shown, actions))[:, 0],
        candidates=model.candidates(observations, powers, noise).next_observations,
        mean=(observations + changes[ensemble.elite_indices].mean(0)[:, :1])[:, 0],
    )


def _judge(asked: dict[str, Questions], rewards: dict[str, DynamicsReward]) -> list[dict]:
    """Errors without a filter, with each reward's argmax, and with the best choice there is."""
    rows = []
    for region, questions in asked.items():
        errors = questions.errors
        unfiltered = {"random": errors, "mean": (questions.mean - questions.truth).abs(), "best": errors.amin(1)}
        for name, found in unfiltered.items():
            rows.append({"part": "error", "variant": name, "region": region, "value": float(found.mean())})
    for name, reward in rewards.items():
        taken = {}
        for region, questions in asked.items():
            with torch.no_grad():
                values = reward(questions.observations, questions.actions, questions.candidates)
            errors, chosen = questions.errors, values.argmax(1, keepdim=True)
            taken[region] = values.gather(1, chosen)[:, 0].numpy()
            error = float(errors.gather(1, chosen).mean())
            rows.append({"part": "error", "variant": name, "region": region, "value": error})
            if region == "in":
                related = np.corrcoef(values.numpy().ravel(), errors.numpy().ravel())[0, 1]
                rows.append({"part": "correlation", "variant": name, "region": region, "value": float(related)})
        for region in REGIONS[1:]:
            above = stats.mannwhitneyu(taken["in"], taken[region]).statistic / (len(taken["in"]) * len(taken[region]))
            rows.append({"part": "alarm", "variant": name, "region": region, "value": float(above)})
    return rows


def _noisy(numbers: list[int], size: Size) -> list[dict]:
    """A sensor's error makes regression forget the temperature: does a reward notice?"""
    table = make_refrigerator_set(_SENSOR, length=2000, rng=numbers[0]).table
    ensemble = _ensemble(table, ENSEMBLES["short"], numbers[2], size)
    fresh = make_refrigerator_set(_SENSOR, length=size.points, rng=numbers[3]).table
    questions = _answers(ensemble, fresh.observations, fresh.actions, numbers[3])
    settings = AdversarialSettings(
        iterations=size.iterations // 2, batch_size=size.batch, behaviour=BehaviourSettings(steps=500)
    )
    game = AdversarialFit(table, settings, seed=numbers[1])
    while game.iteration < settings.iterations:
        game.step()
    rewards = {"ahead": game.reward(rescale="none"), "ladder": _ladder(table, numbers[1], settings.iterations)}
    shown = {
        "regression": _slope(table.observations, table.actions, table.next_observations[:, 0]),
        "mean": _slope(fresh.observations, fresh.actions, questions.mean.numpy()),
        "random": _slope(fresh.observations, fresh.actions, questions.candidates[..., 0].mean(1).numpy()),
    }
    for name, reward in rewards.items():
        with torch.no_grad():
            values = reward(questions.observations, questions.actions, questions.candidates)
        taken = questions.candidates[..., 0].gather(1, values.argmax(1, keepdim=True))[:, 0]
        shown[name] = _slope(fresh.observations, fresh.actions, taken.numpy())
    return [
        {"part": "slope", "ensemble": "short", "variant": name, "region": "in", "value": value}
        for name, value in shown.items()
    ]


def _slope(shown: np.ndarray, actions: np.ndarray, after: np.ndarray) -> float:
    """Coefficient of the temperature in a least-squares fit of what comes after."""
    inputs = np.concatenate([shown, actions, np.ones_like(shown)], axis=1).astype(np.float64)
    return float(np.linalg.lstsq(inputs, after.astype(np.float64), rcond=None)[0][0])
