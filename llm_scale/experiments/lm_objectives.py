"""Which objective of the GRPO family suffers from what: the unit of the reward, groups without signal, length.

Four questions on models so small that each takes minutes. Training with the reward in units a hundred times apart; the
share of groups in which all samples are right or all wrong, beside what each problem's own chance says; and, in
`lm_objectives_length`, where the mean length goes when being right depends on length.
"""

import copy
from collections.abc import Sequence
from functools import cache, partial
from math import comb
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from llm_scale.experiments import lm_objectives_length as lengths
from llm_scale.grpo import Loop
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.supervised import warm_up
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sample import samples_of
from llm_scale.rollouts.sampling import sample
from llm_scale.settings import Settings
from llm_scale.tasks.addition import AdditionTask
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = ["EXPERIMENT", "GROUPS", "OBJECTIVES_TRIED", "UNITS", "chance_of_no_signal", "reward_text", "settings"]

OBJECTIVES_TRIED = ("grpo", "dr_grpo", "dapo", "rloo", "gspo", "reinforce_plus_plus")
UNITS = (0.1, 1.0, 10.0)  # what a right answer is worth
GROUPS = (2, 4, 8, 16)  # samples a problem
LEVELS = (0.15, 0.4, 0.7)  # how well the sums are known, as a mean probability
KNOWN = 75  # sums of the training split: few enough to be learned by heart
SAMPLES = 64  # of each problem whose groups are counted, and as many others from which its chance is estimated


def reward_text(unit: float) -> str:
    """The reward file: a right answer is worth `unit`."""
    return (
        '[sources]\ncorrect = "verifier"\n\n'
        f'[pipeline.signals]\ncorrect = [{{ kind = "scale", factor = {float(unit)} }}]\n'
    )


def settings(scale: ScaleName, objective: str, seed: int) -> Settings:
    """Of a training run, with the objective's published KL term; the rest was chosen with seeds from 100 on."""
    shared = {"objective": objective, "evaluation_problems": 1, "evaluation_samples": 1, "evaluate_every": 10_000}
    shared |= {"checkpoint_every": 0, "seed": seed, "group": 8}
    if scale == "gpu":
        size = {"model": "smollm2", "task": "addition", "prompts": 16, "steps": 25, "learning_rate": 1e-5}
        size |= {"precision": "bfloat16"}
    else:
        smoke = scale == "smoke"
        size = {"model": "tiny-test", "task": "addition:style=bare", "device": "cpu", "learning_rate": 1e-3}
        size |= {"prompts": 8 if smoke else 25, "steps": 2 if smoke else 60}
    return Settings(**shared, **size)


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """Training by objective, unit and seed; then a cell a seed for groups and for lengths, always on tiny models."""
    every = range(seed, seed + (1 if scale == "smoke" else 3))
    training = {
        f"training {objective} x{unit:g} seed {number}": partial(train, scale, objective, unit, number)
        for number in (every[:1] if scale == "gpu" else every)  # one seed of SmolLM2 is what ten minutes allow
        for objective in OBJECTIVES_TRIED
        for unit in UNITS
    }
    groups = {f"groups seed {number}": partial(count_groups, scale, number) for number in every}
    return training | groups | lengths.cells(scale, every)


def train(scale: ScaleName, objective: str, unit: float, seed: int, folder: Path) -> pd.DataFrame:
    """Train one objective with the reward in one unit; a row for two steps, of the samples that it learned from."""
    chosen = settings(scale, objective, seed)
    task = AdditionTask(style="chat" if scale == "gpu" else "bare")
    lm = load("smollm2", device="cuda", seed=seed) if scale == "gpu" else half_learnt(seed, LEVELS[scale != "smoke"])
    loop = Loop(chosen, language_model=lm, task=task, reward_path=RewardPath.from_toml(reward_text(unit), task))
    rows = []
    for step in range(chosen.steps):
        batch = loop.roll_out()
        learned = loop.learn(batch)
        loop.step += 1
        correct = batch.rewards.signals["correct"]
        rows.append({"step": step, "accuracy": correct.mean(), "gradient_norm": learned["policy/gradient_norm"]})
    return thinned(pd.DataFrame(rows)).assign(part="training", arm=objective, unit=unit, seed=seed)


def thinned(rows: pd.DataFrame) -> pd.DataFrame:
    """One row for two steps: mean accuracy, and the first one's gradient."""
    kept = {"step": ("step", "first"), "accuracy": ("accuracy", "mean"), "gradient_norm": ("gradient_norm", "first")}
    return rows.groupby(rows.step // 2).agg(**kept).round(7)


def count_groups(scale: ScaleName, seed: int, folder: Path) -> pd.DataFrame:
    """How many groups teach nothing, and how many should: one row a level of skill and size of group."""
    frames = []
    for level in LEVELS[:1] if scale == "smoke" else LEVELS:
        lm = half_learnt(seed, level)
        right = _right(lm, seed, group=2 * SAMPLES)
        counted, separate = right[:, :SAMPLES], right[:, SAMPLES:]
        frames += [_constant(counted, separate, group) | {"level": level} for group in GROUPS]
    return pd.DataFrame(frames).round(6).assign(part="groups", arm="all", seed=seed)


def chance_of_no_signal(right: np.ndarray, group: int) -> np.ndarray:
    """Chance that `group` samples of a problem are all right or all wrong, unbiased, from (problems, samples) of it.

    Of samples drawn without replacement from those at hand; putting the share of right ones into p^G + (1-p)^G would
    be off by the error of that share.

    Example:
        >>> chance_of_no_signal(np.array([[1, 1, 0, 0], [1, 1, 1, 1]]), 2).round(3)
        array([0.333, 1.   ])
    """
    right = np.asarray(right)
    samples = right.shape[1]
    if samples < group:
        raise ValueError(f"there are {samples} samples a problem, expected at least the group's {group}")
    hits = right.sum(1)
    return np.array([(comb(hit, group) + comb(samples - hit, group)) / comb(samples, group) for hit in hits.tolist()])


def half_learnt(seed: int, level: float) -> LanguageModel:
    """A tiny model that gives the right sum with probability `level` on average."""
    known = _half_learnt(seed, level)
    return LanguageModel(copy.deepcopy(known.model), known.tokenizer, known.name, chat=False)


@cache
def _half_learnt(seed: int, level: float) -> LanguageModel:
    task, lm = AdditionTask(style="bare"), load("tiny-test", seed=seed)
    shown = [(problem.prompt, problem.gold) for problem in task.problems("train", KNOWN, seed)]
    warm_up(lm, shown, steps=600, batch_size=KNOWN, learning_rate=1e-2, seed=seed, until=level)
    return lm


def _right(lm: LanguageModel, seed: int, group: int) -> np.ndarray:
    """Which samples are right, (problems, samples)."""
    task = AdditionTask(style="bare")
    problems = task.problems("train", KNOWN, seed)
    prompts = [lm.encode(problem.prompt) for problem in problems]
    generator = torch.Generator().manual_seed(seed)
    drawn = sample(lm, prompts, group=group, max_new_tokens=task.max_new_tokens, generator=generator)
    path = RewardPath.from_toml("rewards/correct.toml", task)
    rewards = path(samples_of(lm, problems, drawn), np.repeat(np.arange(KNOWN), group)).rewards
    return rewards.reshape(KNOWN, group) > 0.5


def _constant(counted: np.ndarray, separate: np.ndarray, group: int) -> dict[str, float]:
    """Share of groups without signal, seen and expected, over problems, and the standard error of the difference."""
    grouped = counted.reshape(len(counted), -1, group)
    seen = (grouped.all(2) | ~grouped.any(2)).mean(1)
    expected = chance_of_no_signal(separate, group)
    mean = separate.mean()
    return {
        "group": group,
        "accuracy": counted.mean(),
        "seen": seen.mean(),
        "expected": expected.mean(),
        "error": _standard_error(seen - expected),
        "from_mean_chance": mean**group + (1 - mean) ** group,
    }


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


EXPERIMENT = Experiment("lm_objectives", "reward scale, groups without signal and length bias by objective", cells)
