"""Best-of-n against simulated ensembles of reward models: the gold that each aggregate earns under each kind of error.

Each seed draws prompts, responses, shared flaws and nine reward models (five pretrained apart, five fine-tuned from one
of them) of its own, so that the numbers depend neither on the number of processes nor on how many seeds there are.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import ndtr

from paper_figures.metric_study import map_worlds
from paper_figures.trained_ensembles import draw_trained
from rewardlab.audit import RewardModelError, Seeds, best_of_n_gold, draw_scores, finetune_ensemble, pretrain_ensemble
from rewardlab.exact import best_of_n_kl_bound
from rewardlab.transforms import mean_minus_std, median, uncertainty_weighted, weighted_mean, worst_case

SIZE = 5  # members of an ensemble, in both papers
MEMBERS = (*pretrain_ensemble(SIZE), *finetune_ensemble(SIZE)[1:])
_PRETRAIN = slice(0, SIZE)
_FINETUNE = [MEMBERS.index(member) for member in finetune_ensemble(SIZE)]

CASES = {
    "normal": RewardModelError(pretraining=0.7, finetuning=0.5),
    "heavy": RewardModelError(pretraining=0.7, finetuning=0.5, degrees_of_freedom=2.5),
    "shared": RewardModelError(shared=0.7, pretraining=0.5, finetuning=0.3, degrees_of_freedom=2.5),
}
TRAINED = "trained"
TITLES = {
    "normal": "Normal errors",
    "heavy": "Heavy-tailed errors",
    "shared": "Heavy-tailed, partly shared",
    TRAINED: "Trained reward models",
}
METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "single": lambda members: members[0],
    "finetune mean": lambda members: weighted_mean(members[_FINETUNE]),
    "finetune min": lambda members: worst_case(members[_FINETUNE]),
    "pretrain mean": lambda members: weighted_mean(members[_PRETRAIN]),
    "pretrain median": lambda members: median(members[_PRETRAIN]),
    "pretrain min": lambda members: worst_case(members[_PRETRAIN]),
    "pretrain mean - std": lambda members: mean_minus_std(members[_PRETRAIN]),
    "pretrain UWO": lambda members: uncertainty_weighted(members[_PRETRAIN], 0.5),
}
SEEDS_OF: dict[str, tuple[Seeds, ...]] = {  # of the methods whose error is a mean of members' errors
    "single": MEMBERS[:1],
    "finetune mean": finetune_ensemble(SIZE),
    "pretrain mean": pretrain_ensemble(SIZE),
}
RESAMPLES = 999


@dataclass(frozen=True)
class Sizes:
    """Seeds, prompts of each, responses to each prompt (and so the largest n)."""

    seeds: int
    prompts: int = 100
    samples: int = 4096

    @property
    def n(self) -> list[int]:
        """Powers of two from 1 to the number of samples."""
        return [2**power for power in range(self.samples.bit_length())]


def best_of_n_distance(n: np.ndarray) -> np.ndarray:
    """sqrt(KL) of best-of-n from the base policy, exact where no two responses tie in the proxy and none repeats."""
    return np.sqrt([best_of_n_kl_bound(int(each)) for each in np.ravel(n)]).reshape(np.shape(n))


def measure(sizes: Sizes, seed: int, workers: int = 1, *, trained: bool = False) -> pd.DataFrame:
    """Let every aggregate choose the best of n in every case, those of CASES and, if asked for, that of trained models.

    Returns:
        One row a seed, case, method and n: mean gold over prompts, and for simulated scores the win rate over a
        response of the base policy.
    """
    measured = partial(_measured, sizes, trained)
    return map_worlds(measured, seed, sizes.seeds, workers).rename(columns={"world": "seed"})


def _measured(sizes: Sizes, trained: bool, rng: np.random.Generator, index: int) -> pd.DataFrame:
    tables = []
    for case, error in CASES.items():
        gold, members = draw_scores(error, MEMBERS, prompts=sizes.prompts, samples=sizes.samples, rng=rng)
        earned = np.stack([gold, ndtr(gold)])  # gold is standard normal: its distribution function is the win rate
        tables.append(_chosen(case, members, sizes.n, earned))
    if trained:
        gold, members = draw_trained(MEMBERS, sizes.prompts, sizes.samples, rng)
        tables.append(_chosen(TRAINED, members, sizes.n, gold[None]))
    return pd.concat(tables, ignore_index=True)


def _chosen(case: str, members: np.ndarray, n: list[int], earned: np.ndarray) -> pd.DataFrame:
    """What best-of-n earns on each aggregate; `earned` is gold and, where it is known, the win rate."""
    tables = []
    for method, aggregate in METHODS.items():
        means = best_of_n_gold(aggregate(members), earned, n).mean(axis=1)
        columns = dict(zip(("gold", "win_rate"), means, strict=False))
        tables.append(pd.DataFrame({"case": case, "method": method, "n": n, **columns}))
    return pd.concat(tables, ignore_index=True)


def curves(frame: pd.DataFrame, value: str = "gold") -> np.ndarray:
    """A column of `measure` as `(seeds, cases, methods, n)`, cases and methods in the order of their first rows."""
    names = [frame[column].drop_duplicates().tolist() for column in ("seed", "case", "method", "n")]
    cells = frame.set_index(["seed", "case", "method", "n"])[value].reindex(pd.MultiIndex.from_product(names))
    return cells.to_numpy().reshape([len(each) for each in names])


def over_seeds(
    values: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray] = lambda means: means
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A statistic of the mean over seeds with its 95% bootstrap interval.

    Args:
        values: `(seeds, *shape)`.
        statistic: From means `(*resamples, *shape)` to `(*resamples, *outcome)`.

    Returns:
        Value, lower and upper end, each `(*outcome)`.
    """
    every = np.arange(len(values))

    def resampled(sample: np.ndarray, axis: int = -1) -> np.ndarray:
        times = (sample[..., None] == every).mean(axis=-2)  # share of each seed in each resample
        found = statistic(np.tensordot(times, values, axes=1))
        return np.moveaxis(found.reshape(*sample.shape[:-1], -1), -1, 0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # a curve that rises in every resample falls by 0
        interval = stats.bootstrap(
            (every,), resampled, n_resamples=RESAMPLES, batch=100, vectorized=True, method="percentile", rng=0
        ).confidence_interval
    value = statistic(values.mean(axis=0))
    return value, *(np.reshape(end, np.shape(value)) for end in interval)


def fall(curve: np.ndarray) -> np.ndarray:
    """How far gold at the largest n lies below its peak, `(..., n)` to `(...)`; 0 where it is still rising."""
    return curve.max(axis=-1) - curve[..., -1]
