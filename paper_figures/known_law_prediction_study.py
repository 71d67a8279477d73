"""Published DMSD recordings against their law: what an ensemble predicts, and what a dynamics reward adds."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch

from environments.offline.known_laws import dmsd_rollout, dmsd_step
from environments.offline.loading import load
from paper_figures.figure import Scale
from rewardlab.dynamics.candidates import EnsembleCandidates
from rewardlab.dynamics.draws import StepDraws
from rewardlab.dynamics.dynamics_reward import DynamicsReward
from rewardlab.dynamics.ensemble import GaussianEnsemble
from rewardlab.dynamics.ensemble_fit import EnsembleSettings, fit_ensemble
from rewardlab.dynamics.filtered_model import FilteredModel, PlainModel
from rewardlab.dynamics.noise_ladder import NoiseLadderSettings, fit_noise_ladder
from rewardlab.dynamics.selection import select, selection_probabilities
from rewardlab.transition_table import TransitionTable

RANDOM, SOFTMAX, ARGMAX, MEAN, ORACLE = "random", "softmax", "argmax", "mean", "oracle"
RULES = (RANDOM, SOFTMAX, ARGMAX, MEAN, ORACLE)
IN_DATA, UNIFORM, DOUBLED = "in data", "uniform actions", "doubled states"
PLACES = (IN_DATA, UNIFORM, DOUBLED)
MASSES, WHOLE = "masses", "whole record"
COLUMNS = {MASSES: 4, WHOLE: 6}  # of an observation: positions and velocities; the targets follow
PER_ELITE = 2  # candidates: 10 in all
POINTS = 600  # of candidates kept for the scatter


@dataclass(frozen=True)
class Size:
    """How much work a run is."""

    seeds: int
    rows: int  # of training
    more_rows: int
    more_epochs: int | None  # on those; 80 are about as many steps as the fit to 2,000 takes; None: to the end
    test_rows: int
    starts: int  # of open-loop predictions
    horizon: int
    ensemble: EnsembleSettings
    ladder: NoiseLadderSettings


def size_of(scale: Scale) -> Size:
    """Seconds, about a minute and a half of one busy core, or more seeds and longer fits."""
    small = Size(
        seeds=3,
        rows=2000,
        more_rows=10_000,
        more_epochs=80,
        test_rows=2000,
        starts=100,
        horizon=50,
        ensemble=EnsembleSettings(hidden=(64, 64)),
        ladder=NoiseLadderSettings(iterations=600, steps=5, snapshots=40, hidden=(128, 128)),
    )
    smoke = replace(
        small,
        seeds=2,
        rows=300,
        more_rows=900,
        more_epochs=10,
        test_rows=100,
        starts=5,
        ensemble=EnsembleSettings(hidden=(16, 16), max_epochs=10),
        ladder=NoiseLadderSettings(iterations=20, steps=5, snapshots=4, hidden=(16, 16)),
    )
    return scale.pick(smoke=smoke, small=small, paper=replace(small, seeds=10, more_epochs=None))


def run_all(scale: Scale, rng: int) -> pd.DataFrame:
    """One row a number, by column `part`.

    `one step`: root mean square error over rows and masses' numbers, by `record`, `place` and `rule`; `rows` is how
    many the model was trained on, for `epochs`. `correlation`: of dynamics reward and error, over all candidates.
    `candidate`: `reward` and error of some of them. `open loop`: the error after `step` steps of recorded actions
    played from a recorded start. Errors are in standard deviations of the recorded change in one step.
    """
    size = size_of(scale)
    if scale.workers > 1:
        from joblib import Parallel, delayed

        tables = Parallel(n_jobs=scale.workers)(delayed(_run)(size, rng, seed) for seed in range(size.seeds))
    else:
        tables = [_run(size, rng, seed) for seed in range(size.seeds)]
    return pd.concat(tables, ignore_index=True)


def _run(size: Size, rng: int, seed: int) -> pd.DataFrame:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _one_seed(size, np.random.SeedSequence((rng, seed))).assign(seed=seed)
    finally:
        torch.set_num_threads(threads)


def _one_seed(size: Size, sequence: np.random.SeedSequence) -> pd.DataFrame:
    state = int(sequence.generate_state(1)[0])
    rng = np.random.default_rng(sequence)
    train, test = (load(f"neorl2/DMSD-{part}").table for part in ("train", "val"))
    chosen = rng.choice(len(train), size.more_rows, replace=False)
    drawn = rng.choice(len(test), size.test_rows, replace=False)
    tests = test_sets(test.observations[drawn], test.actions[drawn], rng)
    scale = (train.next_observations - train.observations)[:, : COLUMNS[MASSES]].std(axis=0)
    tables = []
    for record in COLUMNS:
        few = rows_as_table(train, chosen[: size.rows], COLUMNS[record])
        ensemble, fit = fit_ensemble(few, size.ensemble, seed=state)
        judge = fit_noise_ladder(few, size.ladder, seed=state)
        found = one_step(ensemble, judge, tests, scale, state)
        tables.append(found.assign(record=record, rows=size.rows, epochs=fit.epochs))
        if record == MASSES:
            tables.append(open_loop(ensemble, judge, test, scale, size, state).assign(record=record))
    settings = replace(size.ensemble, max_epochs=size.more_epochs)
    ensemble, fit = fit_ensemble(rows_as_table(train, chosen, COLUMNS[MASSES]), settings, seed=state)
    more = one_step(ensemble, None, tests, scale, state)
    more = more.assign(record=MASSES, rows=size.more_rows, epochs=fit.epochs)
    return pd.concat([*tables, more], ignore_index=True)


def rows_as_table(table: TransitionTable, rows: np.ndarray, columns: int) -> TransitionTable:
    """Single rows with the first numbers of their observations, each an episode of its own, cut after it."""
    kept, count = table.rows(rows), len(rows)
    for name in ("observations", "next_observations"):
        kept[name] = np.ascontiguousarray(kept[name][:, :columns])
    kept |= {"episode_ids": np.arange(count), "steps": np.zeros(count, np.int64)}
    kept |= {"terminals": np.zeros(count, bool), "timeouts": np.ones(count, bool)}
    return TransitionTable(**kept)


def test_sets(
    observations: np.ndarray, actions: np.ndarray, rng: np.random.Generator
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By place: as recorded, under actions drawn uniformly, and with positions and velocities doubled."""
    uniform = rng.uniform(-1, 1, size=actions.shape).astype(np.float32)
    doubled = observations * np.float32([2, 2, 2, 2, 1, 1])
    return {IN_DATA: (observations, actions), UNIFORM: (observations, uniform), DOUBLED: (doubled, actions)}


def one_step(
    ensemble: GaussianEnsemble,
    judge: DynamicsReward | None,
    tests: dict[str, tuple[np.ndarray, np.ndarray]],
    scale: np.ndarray,
    state: int,
) -> pd.DataFrame:
    """Errors by place and rule; without a judge, of the rules that need none.

    Random, softmax and oracle are expectations over the choice: of all ten candidates, by the probabilities, and the
    best of ten.
    """
    tables = []
    for place, (observations, actions) in tests.items():
        truth = dmsd_step(observations.astype(np.float64), actions.astype(np.float64))[:, : COLUMNS[MASSES]]
        seen = torch.from_numpy(np.ascontiguousarray(observations[:, : ensemble.observation_size]))
        acted = torch.from_numpy(actions)
        made = _candidates(ensemble, seen, acted, state)
        errors = squared_errors(made, truth[:, None], scale)
        mean = squared_errors(elite_mean(ensemble, seen, acted), truth, scale)
        found = {RANDOM: errors.mean(), ORACLE: errors.min(axis=1).mean(), MEAN: mean.mean()}
        if judge is not None:
            rewards = judge(seen, acted, made)
            best = select(rewards, torch.zeros(len(rewards)), ARGMAX).numpy()
            found[ARGMAX] = errors[np.arange(len(errors)), best].mean()
            found[SOFTMAX] = (selection_probabilities(rewards).numpy() * errors).sum(axis=1).mean()
            tables.append(_judged(rewards.numpy(), np.sqrt(errors)).assign(place=place))
        values = {"rule": list(found), "value": np.sqrt(list(found.values()))}
        tables.append(pd.DataFrame({"part": "one step", "place": place, **values}))
    return pd.concat(tables, ignore_index=True)


def squared_errors(found: torch.Tensor, truth: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Mean square over the masses' numbers, each in units of its `scale`."""
    apart = (found[..., : COLUMNS[MASSES]].numpy().astype(np.float64) - truth) / scale
    return np.square(apart).mean(axis=-1)


def elite_mean(ensemble: GaussianEnsemble, observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
    """Next observations by the mean of the elites' means."""
    with torch.no_grad():
        means, _ = ensemble(observations, actions, ensemble.elite_indices)
    return observations + means.mean(dim=0)[:, :-1]


def open_loop(
    ensemble: GaussianEnsemble, judge: DynamicsReward, test: TransitionTable, scale: np.ndarray, size: Size, state: int
) -> pd.DataFrame:
    """Errors by rule and step: recorded actions, played from recorded starts in the model and by the law."""
    first = test.episode_starts[: size.starts]
    actions = np.stack([test.actions[first + step] for step in range(size.horizon)], axis=1)
    start = test.observations[first]
    truth = dmsd_rollout(start.astype(np.float64), actions.astype(np.float64))[..., : COLUMNS[MASSES]]
    seen = torch.from_numpy(np.ascontiguousarray(start[:, : ensemble.observation_size]))
    candidates = EnsembleCandidates(ensemble, samples_per_elite=PER_ELITE)
    never = {"termination": lambda observations, actions, following: torch.zeros(len(following), dtype=torch.bool)}
    models = {
        RANDOM: PlainModel(candidates, **never),
        SOFTMAX: FilteredModel(candidates, judge, selection=SOFTMAX, threshold=None, **never),
        ARGMAX: FilteredModel(candidates, judge, selection=ARGMAX, threshold=None, **never),
    }
    steps: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
        rule: _stepper(model, len(first), state) for rule, model in models.items()
    }
    steps[MEAN] = lambda observations, actions: elite_mean(ensemble, observations, actions)
    tables = []
    for rule, step in steps.items():
        now, errors = seen, []
        for number in range(size.horizon):
            now = step(now, torch.from_numpy(np.ascontiguousarray(actions[:, number])))
            errors.append(squared_errors(now, truth[:, number], scale).mean())
        columns = {"step": np.arange(1, size.horizon + 1), "value": np.sqrt(errors)}
        tables.append(pd.DataFrame({"part": "open loop", "rule": rule, **columns}))
    return pd.concat(tables, ignore_index=True)


def _stepper(model: PlainModel, rows: int, state: int) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Next observations by a model, drawn from a stream that is the same for every model."""
    generator, counts = torch.Generator().manual_seed(state), torch.zeros(rows, dtype=torch.long)

    def step(observations: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        draws = StepDraws.sample(rows, model.output_size, generator=generator)
        return model.step(observations, actions, counts, draws).next_observations

    return step


def _candidates(
    ensemble: GaussianEnsemble, observations: torch.Tensor, actions: torch.Tensor, state: int
) -> torch.Tensor:
    model = EnsembleCandidates(ensemble, samples_per_elite=PER_ELITE)
    generator = torch.Generator().manual_seed(state)
    noise = torch.randn(len(observations), model.candidate_count, model.output_size, generator=generator)
    return model.candidates(observations, actions, noise).next_observations


def _judged(rewards: np.ndarray, errors: np.ndarray) -> pd.DataFrame:
    """Correlation of reward and error over all candidates, and some of them."""
    value = np.corrcoef(rewards.ravel(), errors.ravel())[0, 1]
    step = max(1, rewards.size // POINTS)
    shown = {"reward": rewards.ravel()[::step], "value": errors.ravel()[::step]}
    correlation = pd.DataFrame({"part": ["correlation"], "value": [value]})
    return pd.concat([correlation, pd.DataFrame({"part": "candidate", **shown})], ignore_index=True)
