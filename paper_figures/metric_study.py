"""The published study of reward distances: random worlds, lines of rewards through them, distances and regret.

Each world has a random stream of its own, spawned from the seed, so the numbers depend neither on how many processes
share the work nor on how many worlds there are. Two rewards that make a pair are the start of a line and a point on it.
"""

import itertools
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from rewardlab.distance.comparison import PUBLISHED_FAMILY, distance_table
from rewardlab.distance.norms import NORMS
from rewardlab.distance.starc import NORMALISERS, standardise
from rewardlab.exact import FiniteMDP, interpolate_rewards, random_reward, symmetric_greedy_regret

FAMILY = (*PUBLISHED_FAMILY, "minimal")
NAMES = {
    "none": "none",
    "epic": "EPIC",
    "dard": "DARD",
    "srrd": "SRRD",
    "val_potential": "VAL potential",
    "minimal_potential": "minimal potential",
    "minimal": "minimal",
    "val": "VAL",
}
RESAMPLES = 999
_PUBLISHED = Path(__file__).with_name("published_correlations.csv")
_MINIMAL_POTENTIAL_NORMALISERS = ("1", "2")  # those of the published table


@dataclass(frozen=True)
class Sizes:
    """How much of the study is drawn: worlds, lines of rewards in each, and pairs on each line."""

    worlds: int
    lines: int
    steps: int = 16
    states: int = 32
    actions: int = 4


@dataclass(frozen=True)
class World:
    """A world with the rewards compared in it: `start` (lines, 1, S, A, S) against `others` (lines, steps, S, A, S)."""

    mdp: FiniteMDP
    start: np.ndarray
    others: np.ndarray


def column(canonicaliser: str, normaliser: str = "2", metric: str = "2") -> str:
    """Name of the column that holds a distance."""
    return f"{canonicaliser}-{normaliser}-{metric}"


def draw_world(
    rng: np.random.Generator, sizes: Sizes, *, clean: bool = False, discount: float = 0.95, shaped: bool | None = None
) -> World:
    """One world of the study, and the rewards on the lines between random pairs.

    Args:
        rng: The world's own generator.
        sizes: Numbers of states, actions, lines and steps.
        clean: Set transition probabilities that stand for 0 to 0, and draw trivial rewards anew; the published
            generator does neither.
        discount: Discount factor.
        shaped: Force or forbid potential shaping of the rewards; None leaves it to chance, as published.
    """
    mdp = FiniteMDP.random(sizes.states, sizes.actions, discount=discount, clean=clean, rng=rng)
    ends = random_reward(mdp, batch=2 * sizes.lines, shaped=shaped, rng=rng)
    while clean and (trivial := standardise(mdp, ends).trivial).any():
        ends[trivial] = random_reward(mdp, batch=int(trivial.sum()), shaped=shaped, rng=rng)
    start, end = ends[: sizes.lines], ends[sizes.lines :]
    return World(mdp, start[:, None], interpolate_rewards(start, end, sizes.steps))


def measure(
    world: World,
    canonicalisers: Sequence[str] = FAMILY,
    normalisers: Sequence[str] = NORMALISERS,
    metrics: Sequence[str] = NORMS,
) -> pd.DataFrame:
    """Regret and distances of a world's pairs.

    Returns:
        One row a pair: `line`, `step`, `regret` (mean of both directions, each reward optimised once and judged by the
        other), `trivial` (one of the two treats all policies alike), and a column a distance, named as by `column`.
        Combinations of "minimal_potential" that were not published are left out.
    """
    arguments = world.mdp, world.start, world.others
    step, line = np.meshgrid(np.arange(1, world.others.shape[1] + 1), np.arange(world.others.shape[0]))
    trivial = [standardise(world.mdp, reward).trivial for reward in (world.start, world.others)]
    columns = {
        "line": line.ravel(),
        "step": step.ravel(),
        "regret": symmetric_greedy_regret(*arguments).ravel(),
        "trivial": (trivial[0] | trivial[1]).ravel(),
    }
    for norm_bound in (False, True):  # minimal potentials depend on the normaliser, and cost much
        names = [name for name in canonicalisers if (name == "minimal_potential") == norm_bound]
        orders = [order for order in normalisers if not norm_bound or order in _MINIMAL_POTENTIAL_NORMALISERS]
        if names:
            table = distance_table(*arguments, canonicalisers=names, normalisers=orders, metrics=metrics).distance
            cells = itertools.product(names, orders, metrics)
            columns |= dict(zip((column(*cell) for cell in cells), table.reshape(line.size, -1).T, strict=True))
    return pd.DataFrame(columns)


def map_worlds(
    measured: Callable[[np.random.Generator, int], pd.DataFrame], seed: Any, worlds: int, workers: int = 1
) -> pd.DataFrame:
    """Measure each world with a generator of its own, and put the tables under each other with a column `world`.

    Args:
        measured: From a world's generator and number to its table; must survive being sent to another process.
        seed: Integer or `SeedSequence`.
        worlds: Number of worlds.
        workers: Processes to use; does not change the table.
    """
    from joblib import Parallel, delayed

    root = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(seed)
    # spawning from a copy: a sequence that has spawned before would give other children the second time
    streams = np.random.SeedSequence(root.entropy, spawn_key=root.spawn_key).spawn(worlds)
    jobs = (delayed(measured)(np.random.default_rng(stream), index) for index, stream in enumerate(streams))
    tables = Parallel(n_jobs=workers)(jobs)
    return pd.concat([table.assign(world=index) for index, table in enumerate(tables)], ignore_index=True)


def distance_columns(pairs: pd.DataFrame) -> list[str]:
    """Names of the columns that hold distances."""
    return [name for name in pairs.columns if name.split("-")[0] in NAMES]


def correlations(
    pairs: pd.DataFrame, references: Mapping[str, str] | None = None, *, resamples: int = RESAMPLES
) -> pd.DataFrame:
    """Pearson correlation of each distance with regret, with 95% bootstrap intervals over worlds.

    Worlds are resampled whole, because pairs of one world, and all the more those on one line, are not independent.

    Args:
        pairs: As `map_worlds` gives it; a distance may be missing (NaN) in some worlds.
        references: For each distance the column whose lead over it is wanted: the reference's correlation minus its.
        resamples: Number of bootstrap resamples.

    Returns:
        One row a distance: `canonicaliser`, `normaliser`, `metric`, `correlation`, `low`, `high` and, if asked for,
        `lead`, `lead_low`, `lead_high`, taken over the pairs in which both distances are there.
    """
    names = distance_columns(pairs)
    cells = pd.DataFrame([name.split("-") for name in names], columns=["canonicaliser", "normaliser", "metric"])
    distances = pairs[names].to_numpy()
    if references is not None:
        against = pairs[[references[name] for name in names]].to_numpy()
        distances = np.concatenate([distances, np.where(np.isnan(distances), np.nan, against)], axis=1)
    moments = _moments_by_world(distances, pairs.regret.to_numpy(), pairs.world.to_numpy())

    def statistic(sample: np.ndarray, axis: int = -1) -> np.ndarray:
        times = (sample[..., None] == np.arange(len(moments))).sum(axis=-2)  # how often each world was drawn
        found = _pearson(np.tensordot(times.astype(float), moments, axes=1))
        if references is not None:
            own, theirs = np.split(found, 2, axis=-1)
            found = np.concatenate([own, theirs - own], axis=-1)
        return np.moveaxis(found, -1, 0)

    every = np.arange(len(moments))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # the lead of a reference over itself
        interval = stats.bootstrap(
            (every,), statistic, n_resamples=resamples, batch=100, vectorized=True, method="percentile", rng=0
        ).confidence_interval
    values = np.stack([statistic(every), interval.low, interval.high], axis=-1)
    cells[["correlation", "low", "high"]] = values[: len(names)]
    if references is not None:
        cells[["lead", "lead_low", "lead_high"]] = values[len(names) :]
    return cells


def _moments_by_world(distances: np.ndarray, regret: np.ndarray, world: np.ndarray) -> np.ndarray:
    """Each world's sums of 1, x, y, x², xy and y² over pairs, `(worlds, 6, distances)`, without missing distances."""
    there = ~np.isnan(distances)
    count = np.maximum(there.sum(axis=0), 1)
    x = np.where(there, distances, 0.0)
    x = np.where(there, x - x.sum(axis=0) / count, 0.0)  # centred, so that the sums of squares keep their digits
    y = np.where(there, (regret - regret.mean())[:, None], 0.0)
    sums = np.stack([there, x, y, x * x, x * y, y * y], axis=1)
    labels, index = np.unique(world, return_inverse=True)
    total = np.zeros((len(labels), *sums.shape[1:]))
    np.add.at(total, index, sums)
    return total


def _pearson(moments: np.ndarray) -> np.ndarray:
    """Correlations `(..., distances)` from sums `(..., 6, distances)`; NaN where a side does not vary."""
    count, x, y, xx, xy, yy = np.moveaxis(moments, -2, 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (count * xy - x * y) / np.sqrt((count * xx - x * x) * (count * yy - y * y))


def published_correlations() -> pd.DataFrame:
    """The published table: `canonicaliser`, `normaliser`, `metric`, `correlation`; its 222 rows cover 49,152 pairs."""
    return pd.read_csv(_PUBLISHED, comment="#", dtype={"normaliser": str, "metric": str}, keep_default_na=False)
