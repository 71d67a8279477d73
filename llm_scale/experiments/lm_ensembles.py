"""One reward model or five: gold over training and over best-of-n, for members that share a flaw and more or less else.

Members of a fine-tuning ensemble are heads on one model's features, each fitted to a bootstrap sample of the same
preferences; those of a pretraining ensemble read models that began from weights of their own. All learn from one judge,
who likes length.
"""

from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from llm_scale.experiments.learned_reward_study import Centred, Members, Start, start_of, train
from long_runs.experiment import Cell, Experiment, ScaleName
from rewardlab.audit import best_of_n_gold

__all__ = [
    "ARMS",
    "BEST_OF",
    "COMBINED",
    "CONSERVATIVE",
    "EXPERIMENT",
    "FINETUNE",
    "PRETRAIN",
    "SINGLE",
    "SIZES",
    "TRAINED",
]

SINGLE, FINETUNE, PRETRAIN = "single member", "fine-tuning ensemble", "pretraining ensemble"
COMBINED = {"mean": "mean", "worst_case": "worst case", "mean_minus_std": "mean less std"}
CONSERVATIVE = ("worst_case", "mean_minus_std")
# (kind, combination): of best-of-n, and those that are trained on, too
ARMS = ((SINGLE, "mean"), *((kind, combine) for kind in (FINETUNE, PRETRAIN) for combine in COMBINED))
TRAINED = tuple(arm for arm in ARMS if arm[0] != FINETUNE or arm[1] == "mean")
SINGLES = 2  # members trained on alone, so that less depends on one of them
MEMBERS = 5
SIZES = (1, 2, 4, 8, 16, 32, 64)  # n of best-of-n
BEST_OF = "best of n"
PAIRS = {"smoke": 60, "small": 600, "gpu": 600}  # few, so that members differ


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """A cell for each training run and one for best-of-n, seed by seed."""
    seeds = {"smoke": 1, "small": 3, "gpu": 3}[scale]
    found = {}
    for number in range(seed, seed + seeds):
        found[f"{BEST_OF}, seed {number}"] = partial(best_of, scale, number)
        found |= {
            f"{kind}, {combine}, member {member}, seed {number}": partial(run, scale, kind, combine, member, number)
            for kind, combine in TRAINED
            for member in range(SINGLES if kind == SINGLE and scale != "smoke" else 1)
        }
    return found


def run(scale: ScaleName, kind: str, combine: str, member: int, seed: int, folder: Path) -> pd.DataFrame:
    """Train on one ensemble, or on one of its members."""
    start = start_of(scale, seed)
    signal = Centred(_members(scale, start, kind, member), start.pool, combine=combine, scaled=True)
    table = train(scale, start, signal, "rewards/learned_raw.toml")
    return table.assign(part="training", kind=kind, combination=combine, member=member, seed=seed)


def best_of(scale: ScaleName, seed: int, folder: Path) -> pd.DataFrame:
    """Gold and learned reward of the best of n of the first policy's answers, for all ensembles and single members."""
    start, rows = start_of(scale, seed), []
    pool, each = start.more(16 if scale == "smoke" else 256)
    gold = np.array([start.task.verify(s.problem, s.completion) for s in pool]).reshape(-1, each)
    sizes = [n for n in SIZES if n <= each // 2]
    for kind in (FINETUNE, PRETRAIN):
        members = _kept(_members(scale, start, kind, 0))
        singles = [(SINGLE, "mean", one) for one in range(MEMBERS)] if kind == PRETRAIN else []
        for name, combine, member in [*singles, *((kind, combine, 0) for combine in COMBINED)]:
            own = _one(members, member) if name == SINGLE else members
            learned = Centred(own, start.pool, combine=combine, scaled=True)(pool).reshape(-1, each)
            for column, values in (("gold", gold), ("learned", learned)):
                found = best_of_n_gold(learned, values, sizes).mean(0)
                rows += [(name, combine, member, n, column, value) for n, value in zip(sizes, found, strict=True)]
    table = pd.DataFrame(rows, columns=["kind", "combination", "member", "n", "column", "value"])
    wide = table.pivot(index=["kind", "combination", "member", "n"], columns="column", values="value").reset_index()
    return wide.rename_axis(columns=None).round(5).assign(part=BEST_OF, seed=seed)


def _members(scale: ScaleName, start: Start, kind: str, member: int) -> Members:
    pairs = PAIRS[scale]
    if kind == FINETUNE:
        return start.learned([0], members=MEMBERS, pairs=pairs)
    numbers = [member] if kind == SINGLE else range(MEMBERS)
    return start.learned(numbers, members=1, pairs=pairs)


def _one(members: Members, member: int) -> Members:
    return lambda samples: members(samples)[[member]]


def _kept(members: Members) -> Members:
    """The same scores, computed once for each list of samples."""
    known: dict[int, np.ndarray] = {}

    def scores(samples):
        if id(samples) not in known:
            known[id(samples)] = members(samples)
        return known[id(samples)]

    return scores


EXPERIMENT = Experiment("lm_ensembles", "one reward model or five, over training and best-of-n", cells)
