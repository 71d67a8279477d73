"""Worlds of known law, alarms fitted to recordings of them, and how well each alarm tells two kinds of rows apart.

Two questions that are easily taken for one another. *Unfamiliar input*: is this observation and action unlike the
recording? *Wrong prediction*: is this next observation not the one that follows? A row is `(observations, actions,
next_observations)`, and an alarm gives it a number, larger for worse.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from scipy.spatial import cKDTree
from scipy.stats import rankdata

from environments.offline.known_laws import dmsd_step
from environments.offline.names import load_named
from environments.offline.refrigerator import (
    SIMPLIFIED,
    make_refrigerator_set,
    next_temperature,
    refrigerator_points,
)
from rewardlab.dynamics.adversarial import AdversarialFit
from rewardlab.dynamics.adversarial_settings import AdversarialSettings
from rewardlab.dynamics.behaviour import BehaviourSettings
from rewardlab.dynamics.candidates import EnsembleCandidates
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_fit import fit_ensemble
from rewardlab.dynamics.ensemble_settings import EnsembleSettings
from rewardlab.dynamics.noise_ladder import NoiseLadderSettings, fit_noise_ladder
from rewardlab.dynamics.reward_formula import mean_probability_reward
from rewardlab.transition_table import TransitionTable

REFRIGERATOR, DMSD = "refrigerator", "DMSD"
IN = "in"
REGIONS = {REFRIGERATOR: (IN, "ood_a", "ood_sa"), DMSD: (IN, "uniform actions", "doubled states")}
FAR = {world: regions[-1] for world, regions in REGIONS.items()}
SIZES = (0.1, 0.25, 0.5, 1.0, 2.0)  # of errors, in standard deviations of the recorded differences
LADDER, SLOW, FAST = "noise ladder", "adversarial", "adversarial, fast generator"
OFFICIAL, STORED = "official", "stored"
ENSEMBLE, NEIGHBOUR = "ensemble", "nearest neighbour"
UNFAMILIAR, TRUE, WRONG, REJECTED = "unfamiliar", "true", "wrong", "rejected"
THRESHOLD = 0.6
STATES = 4  # columns of a DMSD observation that its law moves; the others are targets

Rows = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Alarm = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Judge = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], dict[str, torch.Tensor]]


def rescaled(trainer: str, rescale: str) -> str:
    """Name of an adversarial alarm with a rescale."""
    return f"{trainer}, {rescale} rescale"


ALARMS = (
    *(FAST, rescaled(FAST, OFFICIAL), rescaled(FAST, STORED)),
    *(SLOW, rescaled(SLOW, OFFICIAL), rescaled(SLOW, STORED)),
    LADDER,
    ENSEMBLE,
    NEIGHBOUR,
)


@dataclass(frozen=True)
class Size:
    """How much is trained and tested."""

    seeds: int
    points: int
    iterations: Mapping[str, int]
    epochs: int


@dataclass(frozen=True, eq=False)
class World:
    """A recording, and true rows of the same law in each region."""

    name: str
    table: TransitionTable
    rows: Mapping[str, Rows]
    moving: int  # columns of the observation that errors are added to

    @property
    def deviation(self) -> torch.Tensor:
        """Standard deviation of the recorded differences, 0 for columns without errors."""
        spread = (self.table.next_observations - self.table.observations).std(axis=0)
        spread[self.moving :] = 0
        return torch.from_numpy(spread)


def run_all(size: Size, rng: int, workers: int) -> pd.DataFrame:
    """All worlds and seeds: columns world, seed, alarm, question, region, size, value."""
    cells = [(world, seed) for seed in range(size.seeds) for world in REGIONS]
    found = Parallel(n_jobs=workers)(delayed(_cell)(world, seed, rng, size) for world, seed in cells)
    return pd.concat(found, ignore_index=True)


def area(quiet: np.ndarray, alarming: np.ndarray) -> float:
    """Area under the ROC curve: how often an alarming row has a larger alarm than a quiet one; ties count half."""
    ranks = rankdata(np.concatenate([quiet, alarming]))[len(quiet) :]
    return float((ranks.sum() - len(alarming) * (len(alarming) + 1) / 2) / (len(quiet) * len(alarming)))


def _cell(name: str, seed: int, rng: int, size: Size) -> pd.DataFrame:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same numbers, and the same time, whatever the number of workers
    try:
        generator = np.random.default_rng([rng, seed])
        world = (_refrigerator if name == REFRIGERATOR else _dmsd)(size.points, generator)
        found = pd.DataFrame(_measured(world, size, int(generator.integers(2**31))))
    finally:
        torch.set_num_threads(threads)
    return found.assign(world=name, seed=seed)


def _refrigerator(points: int, generator: np.random.Generator) -> World:
    table = make_refrigerator_set(SIMPLIFIED, episodes=20, length=100, rng=generator).table
    rows = {}
    for region in REGIONS[REFRIGERATOR]:
        observations, actions = refrigerator_points(region, points, generator)
        noise = SIMPLIFIED.process_noise * generator.standard_normal(observations.shape)
        following = next_temperature(observations, actions) + noise
        rows[region] = _rows(observations, actions, following)
    return World(REFRIGERATOR, table, rows, 1)


def _dmsd(points: int, generator: np.random.Generator) -> World:
    recorded = load_named("neorl2/DMSD-train").table
    chosen = generator.permutation(len(recorded.episode_starts))
    table, others = recorded.episodes(chosen[:20]), recorded.episodes(chosen[20 : 20 + points // 50])
    place = generator.choice(len(others), points, replace=False)
    observations, actions = others.observations[place], others.actions[place]
    doubled = observations * np.where(np.arange(observations.shape[1]) < STATES, 2, 1).astype(np.float32)
    uniform = generator.uniform(-1, 1, actions.shape).astype(np.float32)
    inputs = zip(REGIONS[DMSD], (observations, observations, doubled), (actions, uniform, actions), strict=True)
    return World(DMSD, table, {region: _rows(o, a, dmsd_step(o, a)) for region, o, a in inputs}, STATES)


def _rows(*columns: np.ndarray) -> Rows:
    return tuple(torch.from_numpy(np.asarray(column, np.float32)) for column in columns)


def _measured(world: World, size: Size, seed: int) -> list[dict]:
    ensemble, _ = fit_ensemble(world.table, EnsembleSettings(hidden=(64, 64), max_epochs=size.epochs), seed=seed)
    judge, records = _judge(world, size, seed), []
    with torch.inference_mode():
        records += _of_inputs(world, ensemble, judge, seed)
        records += _of_transitions(world, judge, _plain(world, ensemble), seed)
    return records


def _judge(world: World, size: Size, seed: int) -> Judge:
    """Rewards of every trainer by alarm's name; the logits of each are computed once."""
    hidden = (64, 64) if world.name == REFRIGERATOR else (128, 128)
    iterations = size.iterations[world.name]
    slow = {"iterations": iterations, "discriminator_hidden": hidden, "behaviour": BehaviourSettings(steps=500)}
    fast = {**slow, "generator_learning_rate": 2e-3, "discriminator_steps": 3, "history": 5 / 6}
    ladder = NoiseLadderSettings(iterations=iterations, hidden=hidden)
    rewards = {LADDER: fit_noise_ladder(world.table, ladder, seed=seed)}
    for trainer, settings in ((SLOW, slow), *([(FAST, fast)] if world.name == REFRIGERATOR else [])):
        fit = AdversarialFit(world.table, AdversarialSettings(**settings), seed=seed)
        while fit.iteration < iterations:
            fit.step()
        rewards[trainer] = fit.reward(rescale="none")

    def judge(observations: torch.Tensor, actions: torch.Tensor, following: torch.Tensor) -> dict[str, torch.Tensor]:
        found = {}
        for trainer, reward in rewards.items():
            logits = reward.logits(observations, actions, following)
            found[trainer] = mean_probability_reward(logits, rescale="none")
            ordered = reward.high > reward.low  # the others have no range to be rescaled from
            kept = logits[ordered], reward.low[ordered], reward.high[ordered]
            for rescale in (OFFICIAL, STORED) if trainer != LADDER else ():
                found[rescaled(trainer, rescale)] = mean_probability_reward(*kept, rescale=rescale)
        return found

    return judge


def _plain(world: World, ensemble: GaussianEnsemble) -> dict[str, Alarm]:
    """What needs no dynamics reward: how surprised the ensemble is, and how far the nearest recorded transition is."""
    table = world.table
    moved = table.next_observations - table.observations
    recorded = np.concatenate([table.observations, table.actions, moved], axis=1)
    spread = np.where(recorded.std(axis=0) > 0, recorded.std(axis=0), 1)
    tree = cKDTree(recorded / spread)

    def surprise(observations: torch.Tensor, actions: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        mean, log_variance = ensemble(observations, actions, ensemble.elite_indices)
        error = (following - observations)[:, : world.moving] - mean[..., : world.moving]
        log_variance = log_variance[..., : world.moving]
        return -torch.logsumexp(-0.5 * (error.square() / log_variance.exp() + log_variance).sum(-1), dim=0)

    def distance(observations: torch.Tensor, actions: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        rows = torch.cat([observations, actions, following - observations], dim=1).numpy() / spread
        return torch.from_numpy(tree.query(rows)[0])

    return {ENSEMBLE: surprise, NEIGHBOUR: distance}


def _of_inputs(world: World, ensemble: GaussianEnsemble, judge: Judge, seed: int) -> list[dict]:
    """Predictions at recorded inputs against predictions elsewhere: the reward of the best candidate, or the input."""
    model = EnsembleCandidates(ensemble)
    table, generator = world.table, torch.Generator().manual_seed(seed)
    inputs = np.concatenate([table.observations, table.actions], axis=1)
    spread = np.where(inputs.std(axis=0) > 0, inputs.std(axis=0), 1)
    tree = cKDTree(inputs / spread)
    moving = world.deviation[: world.moving]
    alarms: dict[str, dict[str, np.ndarray]] = {}
    for region, (observations, actions, _) in world.rows.items():
        noise = torch.randn(len(actions), model.candidate_count, model.output_size, generator=generator)
        candidates = model.candidates(observations, actions, noise).next_observations
        found = {name: -reward.amax(1) for name, reward in judge(observations, actions, candidates).items()}
        means, _ = ensemble(observations, actions, ensemble.elite_indices)
        found[ENSEMBLE] = (means[..., : world.moving].std(dim=0) / moving).square().mean(1)
        found[NEIGHBOUR] = torch.from_numpy(tree.query(torch.cat([observations, actions], 1).numpy() / spread)[0])
        alarms[region] = {name: alarm.numpy() for name, alarm in found.items()}
    return [
        _record(name, UNFAMILIAR, region, 0.0, area(alarms[IN][name], alarm))
        for region, found in alarms.items()
        if region != IN
        for name, alarm in found.items()
    ]


def _of_transitions(world: World, judge: Judge, plain: Mapping[str, Alarm], seed: int) -> list[dict]:
    """True transitions elsewhere against recorded ones, wrong ones against true ones, and what a threshold cuts off."""
    generator, records = torch.Generator().manual_seed(seed + 1), []

    def alarms(*rows: torch.Tensor) -> dict[str, np.ndarray]:
        found = {name: -reward for name, reward in judge(*rows).items()}
        return {name: alarm.numpy() for name, alarm in {**found, **{n: a(*rows) for n, a in plain.items()}}.items()}

    quiet = alarms(*world.rows[IN])
    for region in (IN, FAR[world.name]):
        observations, actions, following = world.rows[region]
        noise = torch.randn(following.shape, generator=generator) * world.deviation
        true = alarms(observations, actions, following)
        for size in SIZES:
            wrong = alarms(observations, actions, following + size * noise)
            records += [_record(name, WRONG, region, size, area(true[name], wrong[name])) for name in wrong]
        if region != IN:
            records += [_record(name, TRUE, region, 0.0, area(quiet[name], true[name])) for name in true]
        cut = {name: float((alarm > -THRESHOLD).mean()) for name, alarm in true.items() if OFFICIAL in name}
        records += [_record(name, REJECTED, region, 0.0, share) for name, share in cut.items()]
    return records


def _record(alarm: str, question: str, region: str, size: float, value: float) -> dict:
    return {"alarm": alarm, "question": question, "region": region, "size": size, "value": value}
