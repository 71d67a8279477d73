"""Predicting real MuJoCo recordings: an ensemble's samples, filtered by a dynamics reward or not, and its mean."""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from environments import data
from environments.offline.formats.neorl2 import read_neorl2
from paper_figures.figure import Scale
from rewardlab.dynamics.adversarial import fit_adversarial
from rewardlab.dynamics.adversarial_settings import AdversarialSettings
from rewardlab.dynamics.behaviour import BehaviourSettings
from rewardlab.dynamics.calibration import LEVELS, calibrate, coverage, standardised_errors
from rewardlab.dynamics.candidates import EnsembleCandidates
from rewardlab.dynamics.draws import StepDraws, uniform_index
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_fit import EnsembleSettings, fit_ensemble
from rewardlab.dynamics.noise_ladder import NoiseLadderSettings, fit_noise_ladder
from rewardlab.dynamics.selection import select
from rewardlab.transition_table import TransitionTable

CHEETAH, HOPPER = "SafetyHalfCheetah", "RandomFrictionHopper"
NEW = "SafetyHalfCheetah, validation file"  # its two episodes are of another kind: the cheetah turns over
RECORDINGS = (CHEETAH, HOPPER)
TASKS = (CHEETAH, HOPPER, NEW)  # what is tested
SAMPLE, ARGMAX, SOFTMAX = "random sample", "filter: argmax", "filter: softmax"  # of the noise ladder
ADVERSARIAL = "adversarial: argmax"
MEAN, ORACLE = "mean of elites", "best of 10 (oracle)"
CHOOSERS = (SAMPLE, ADVERSARIAL, SOFTMAX, ARGMAX, MEAN, ORACLE)
HORIZON = 20
TEST_SHARE = 0.2  # of the training file's episodes


@dataclass(frozen=True)
class Size:
    """How much work a run is."""

    seeds: int
    rows: int  # of training
    test_rows: int
    starts: int  # of open-loop predictions
    ensemble: EnsembleSettings
    ladder: NoiseLadderSettings
    adversarial: AdversarialSettings


def size_of(scale: Scale) -> Size:
    """Sizes by scale: seconds, about a minute of one core, or the official networks and a fit to the end."""
    return scale.pick(
        smoke=Size(
            seeds=2,
            rows=1500,
            test_rows=100,
            starts=10,
            ensemble=EnsembleSettings(hidden=(32, 32), max_epochs=2),
            ladder=NoiseLadderSettings(iterations=8, steps=4, snapshots=4),
            adversarial=AdversarialSettings(iterations=3, behaviour=BehaviourSettings(steps=50)),
        ),
        small=Size(
            seeds=3,
            rows=20_000,
            test_rows=1500,
            starts=150,
            ensemble=EnsembleSettings(hidden=(64, 64), max_epochs=25),
            ladder=NoiseLadderSettings(iterations=200, snapshots=20),
            adversarial=AdversarialSettings(iterations=200, behaviour=BehaviourSettings(steps=500)),
        ),
        paper=Size(
            seeds=5,
            rows=20_000,
            test_rows=2000,
            starts=400,
            ensemble=EnsembleSettings(),
            ladder=NoiseLadderSettings(hidden=(128, 128)),
            adversarial=AdversarialSettings(),
        ),
    )


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """Rows `task, seed, measure, chooser, horizon, level, value`; the measures are those of `run`."""
    size = size_of(scale)
    jobs = list(product(RECORDINGS, range(size.seeds)))
    if scale.workers > 1:
        from joblib import Parallel, delayed

        tables = Parallel(n_jobs=scale.workers)(delayed(run)(name, rng, seed, size) for name, seed in jobs)
    else:
        tables = [run(name, rng, seed, size) for name, seed in jobs]
    return pd.concat(tables, ignore_index=True)


def run(recording: str, rng: int, seed: int, size: Size) -> pd.DataFrame:
    """One recording and seed, tested on all that there is of it.

    Measures: `one step` (error of the chosen prediction on held-out rows), `open loop` (the same after `horizon` steps
    under the recorded actions, each prediction being the next one's start), `coverage` (share of outcomes inside the
    central interval, by output in `horizon`, chooser "raw" or "calibrated"). Errors are root mean squares over rows and
    numbers of the observation, in standard deviations of the change in one step of the training episodes.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        state = int(np.random.SeedSequence((rng, seed, RECORDINGS.index(recording))).generate_state(1)[0])
        train, tests = split(recording, state)
        train = train.episodes(range(_episodes_within(train, size.rows)))
        ensemble, report = fit_ensemble(train, size.ensemble, seed=state)
        rewards = {ARGMAX: fit_noise_ladder(train, size.ladder, seed=state)}
        rewards[SOFTMAX] = rewards[ARGMAX]
        rewards[ADVERSARIAL] = fit_adversarial(train, size.adversarial, seed=state)
        calibrated, _ = calibrate(ensemble, train, report.holdout_rows)
        comparison = Comparison(ensemble, rewards, _deviation(train), torch.Generator().manual_seed(state))
        tables = []
        for task, test in tests.items():
            chosen = np.random.default_rng(state).permutation(len(test))[: size.test_rows]
            rows = [
                *comparison.one_step(test.rows(np.sort(chosen))),
                *comparison.open_loop(test, size.starts),
                *_coverages(ensemble, calibrated, test, comparison.alive),
            ]
            tables.append(pd.DataFrame(rows).assign(task=task, seed=seed))
    finally:
        torch.set_num_threads(threads)
    return pd.concat(tables, ignore_index=True)


@cache
def recorded(name: str) -> TransitionTable:
    """A recording of the NeoRL-2 benchmark."""
    return read_neorl2(data.path(f"neorl2/{name}.npz")).table


def split(recording: str, state: int) -> tuple[TransitionTable, dict[str, TransitionTable]]:
    """Training table, and those to test on by name: whole episodes, drawn anew for each state, and what came apart."""
    apart = {NEW: recorded(f"{CHEETAH}-high-20000-val")} if recording == CHEETAH else {}
    table = recorded(f"{CHEETAH}-high-100000-train" if recording == CHEETAH else f"{HOPPER}-high-20000-val")
    episodes = np.random.default_rng(state).permutation(len(table.episode_starts))
    held_out = int(TEST_SHARE * len(episodes))
    return table.episodes(episodes[held_out:]), {recording: table.episodes(episodes[:held_out]), **apart}


def _episodes_within(table: TransitionTable, rows: int) -> int:
    return max(1, int(np.searchsorted(np.cumsum(table.episode_lengths), rows, side="right")))


def _deviation(table: TransitionTable) -> Tensor:
    return torch.from_numpy((table.next_observations - table.observations).std(axis=0))


class Comparison:
    """Ways of choosing among an ensemble's candidates, on the same noise."""

    def __init__(
        self,
        ensemble: GaussianEnsemble,
        rewards: dict[str, DynamicsReward],
        deviation: Tensor,
        generator: torch.Generator,
    ):
        self.ensemble, self.rewards, self.generator = ensemble, rewards, generator
        self.candidates = EnsembleCandidates(ensemble, clip=1e6)
        self.alive = deviation > 0  # a number that never changes, as the hopper's friction, has no error in its units
        self.deviation = deviation
        self.choosers = [name for name in CHOOSERS if name in (SAMPLE, MEAN, ORACLE) or name in rewards]

    def one_step(self, rows: dict[str, np.ndarray]) -> list[dict]:
        """Errors on some rows."""
        observations, actions, truth = (
            torch.from_numpy(rows[name]) for name in ("observations", "actions", "next_observations")
        )
        draws = self._draws(len(observations))
        return [
            _row("one step", name, 1, self._error(self.predict(name, observations, actions, draws, truth), truth))
            for name in self.choosers
        ]

    def open_loop(self, table: TransitionTable, starts: int) -> list[dict]:
        """Errors after 1 to `HORIZON` steps from places spread evenly over those with as many steps to come."""
        lengths = np.repeat(table.episode_lengths, table.episode_lengths)
        possible = np.flatnonzero(table.steps + HORIZON <= lengths)
        places = possible[np.linspace(0, len(possible) - 1, min(starts, len(possible))).astype(int)]
        now = {name: torch.from_numpy(table.observations[places]) for name in self.choosers}
        rows = []
        for step in range(HORIZON):
            actions, truth = (
                torch.from_numpy(array[places + step]) for array in (table.actions, table.next_observations)
            )
            draws = self._draws(len(places))
            for name in self.choosers:
                now[name] = self.predict(name, now[name], actions, draws, truth)
                rows.append(_row("open loop", name, step + 1, self._error(now[name], truth)))
        return rows

    def predict(self, chooser: str, observations: Tensor, actions: Tensor, draws: StepDraws, truth: Tensor) -> Tensor:
        """The next observation that a chooser believes; only the oracle looks at the truth."""
        if chooser == MEAN:
            mean, _ = self.ensemble(observations, actions, self.ensemble.elite_indices)
            return observations + mean.mean(dim=0)[:, :-1]
        count = self.candidates.candidate_count
        found = self.candidates.candidates(observations, actions, draws.all_noise(count))
        if chooser == SAMPLE:
            index = uniform_index(draws.choice, count)
        elif chooser == ORACLE:
            index = self._squares(found.next_observations, truth[:, None]).argmin(dim=1)
        else:
            judged = self.rewards[chooser](observations, actions, found.next_observations)
            index = select(judged, draws.choice, "softmax" if chooser == SOFTMAX else "argmax")
        return found.take(index).next_observations

    def _draws(self, rows: int) -> StepDraws:
        return StepDraws.sample(rows, self.candidates.output_size, generator=self.generator)

    def _squares(self, predicted: Tensor, truth: Tensor) -> Tensor:
        return (((predicted - truth) / self.deviation)[..., self.alive] ** 2).mean(dim=-1)

    def _error(self, predicted: Tensor, truth: Tensor) -> float:
        return float(self._squares(predicted, truth).mean().sqrt())


def _row(measure: str, chooser: str, horizon: int, value: float, level: float = float("nan")) -> dict:
    return {"measure": measure, "chooser": chooser, "horizon": horizon, "level": level, "value": value}


def _coverages(
    raw: GaussianEnsemble, calibrated: GaussianEnsemble, table: TransitionTable, alive: Tensor
) -> list[dict]:
    moves = [*alive.tolist(), True]  # the reward is the last output
    rows = []
    for name, ensemble in (("raw", raw), ("calibrated", calibrated)):
        errors = standardised_errors(ensemble, table)
        for level in LEVELS:
            shares = coverage(errors, level).tolist()
            rows += [
                _row("coverage", name, output, share, level) for output, share in enumerate(shares) if moves[output]
            ]
    return rows
