"""Raw or log-sigmoid: how much gold a flawed reward yields at equal divergence from the first policy."""

from functools import partial
from pathlib import Path

import pandas as pd

from llm_scale.experiments.learned_reward_study import Centred, judged, start_of, train
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = ["ARMS", "EXPERIMENT", "GROUP", "JUDGE", "LEARNED", "RAW", "REWARDS", "START", "reward_file"]

RAW, START, GROUP = "raw", "log-sigmoid, first policy's quantile", "log-sigmoid, group's quantile"
ARMS = (RAW, START, GROUP)
JUDGE, LEARNED = "the judge itself", "learned from the judge"
REWARDS = (JUDGE, LEARNED)
LEVEL = 0.85
LONGER = {JUDGE: 2, LEARNED: 1}  # times the usual steps: a reward without errors of its own is hacked later

# The reference is taken off before, prompt by prompt.
CENTRED_BEFORE = """
[sources]
learned = "given"

[pipeline.signals]
learned = [{ kind = "log_sigmoid" }]
"""
FILES = {RAW: "rewards/learned_raw.toml", START: CENTRED_BEFORE, GROUP: "rewards/log_sigmoid.toml"}


def reward_file(arm: str) -> str:
    """The reward file of an arm, or its text."""
    return FILES[arm]


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell a reward, arm and seed."""
    seeds = {"smoke": 1, "small": 3, "gpu": 3}[scale]
    return {
        f"{reward}, {arm}, seed {number}": partial(run, scale, reward, arm, number)
        for number in range(seed, seed + seeds)
        for reward in REWARDS
        for arm in ARMS
    }


def run(scale: ScaleName, reward: str, arm: str, seed: int, folder: Path) -> pd.DataFrame:
    """Train one arm."""
    start = start_of(scale, seed)
    pairs = {"smoke": 60, "small": 4000, "gpu": 4000}[scale]
    members = judged(start.task) if reward == JUDGE else start.learned([0], members=1, pairs=pairs)
    signal = Centred(members, start.pool, level=LEVEL if arm == START else None)
    table = train(scale, start, signal, reward_file(arm), longer=LONGER[reward])
    return table.assign(reward=reward, arm=arm, seed=seed)


EXPERIMENT = Experiment("lm_transforms", "a flawed reward as it is, or its log-sigmoid, at equal KL", cells)
