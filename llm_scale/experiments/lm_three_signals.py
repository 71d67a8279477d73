"""Right, brief and well formed at once: three signals in one reward, added up, joined, or standardised first.

A tiny model has half learnt sums of one digit, and to wrap them in phrases of three lengths, with or without a full
stop. It is then trained on three signals: is the sum right, does the answer end in a full stop, is it brief? Brevity is
measured once as a share and once in per cent, a unit a hundred times finer, which tells nobody anything new.
"""

import copy
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd

from llm_scale.grpo import Batch, Loop
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.supervised import warm_up
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.settings import Settings
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.task import Task
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = ["ARMS", "EXPERIMENT", "UNITS", "ChattySums", "reward_text", "satisfied", "settings"]

SUM, CONJUNCTION, NORMALISED = "weighted sum", "conjunction", "normalise, then sum"
ARMS = (SUM, CONJUNCTION, NORMALISED)
UNITS = (1, 100)  # brevity as a share, and in per cent
ENOUGH = 0.5  # of each signal, from which it counts as satisfied
PHRASES = ("", "so it is ", "well, so it is ")
STOPS = ("", ".")
HALF_LEARNT = 0.45 / (len(PHRASES) * len(STOPS))  # probability of one demonstrated answer, all forms being likely
KNOWN = 75  # sums of the training split: few enough to be learned by heart

SOURCES = """
[sources]
correct = "verifier"
formatted = "format"
brief = { kind = "brevity", target = 4 }

[pipeline.signals]
"""
# good from a half on: the odds that a signal is satisfied, as in rewards/conjunction.toml
ODDS = (
    '{ kind = "centre", reference = { kind = "fixed", value = 0.5 } }',
    '{ kind = "scale", factor = 8.0 }',
    '{ kind = "log_sigmoid" }',
)
# all signals weigh the same in every arm; without epsilon, standardising forgets the unit altogether
ENDINGS = {
    SUM: '[pipeline.combine]\nkind = "weighted_sum"\n',
    CONJUNCTION: '[pipeline.combine]\nkind = "conjunction"\n',
    NORMALISED: '[pipeline.advantage]\nkind = "normalise_then_sum"\nepsilon = 0.0\n',
}


class ChattySums(AdditionTask):
    """Sums of one digit, to be answered with the number and a full stop; demonstrated in every form, good or not."""

    def __init__(self) -> None:
        super().__init__(digits=1, style="bare")
        self.name, self.max_new_tokens = "chatty_sums", 20

    def format_ok(self, completion: str) -> bool:
        """Whether the answer ends in a full stop."""
        return completion.endswith(".")

    def demonstrations(self, seed: int) -> list[tuple[str, str]]:
        """Every sum in every form."""
        problems = self.problems("train", KNOWN, seed)
        forms = [(phrase, stop) for phrase in PHRASES for stop in STOPS]
        return [(problem.prompt, phrase + problem.gold + stop) for problem in problems for phrase, stop in forms]


def reward_text(arm: str, unit: float) -> str:
    """The reward file of an arm, with brevity measured in a unit `unit` times as fine."""
    odds = ODDS if arm == CONJUNCTION else ()
    chains = dict.fromkeys(("correct", "formatted"), odds)
    chains["brief"] = (f'{{ kind = "scale", factor = {float(unit)} }}', *odds)
    lines = (f"{name} = [{', '.join(stages)}]\n" for name, stages in chains.items())
    return f"{SOURCES}{''.join(lines)}\n{ENDINGS[arm]}"


def settings(scale: ScaleName, seed: int) -> Settings:
    """Of a run; learning rate and steps were chosen with seeds from 100 on."""
    shared = {"objective": "grpo", "kl_weight": 0.0, "evaluation_problems": 1, "evaluation_samples": 1}
    shared |= {"checkpoint_every": 0, "seed": seed, "group": 8, "evaluate_every": 10_000}
    if scale == "gpu":
        size = {"model": "smollm2", "prompts": 16, "steps": 40, "learning_rate": 1e-5, "precision": "bfloat16"}
    else:
        smoke = scale == "smoke"
        size = {"model": "tiny-test", "prompts": 2 if smoke else 25, "steps": 2 if smoke else 80}
        size |= {"learning_rate": 1e-3, "device": "cpu"}
    return Settings(task="addition", **shared, **size)


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell an arm, unit and seed."""
    seeds = {"smoke": 2, "small": 4, "gpu": 3}[scale]
    return {
        f"{arm} x{unit} seed {number}": partial(run, scale, arm, unit, number)
        for number in range(seed, seed + seeds)
        for arm in ARMS
        for unit in UNITS
    }


def run(scale: ScaleName, arm: str, unit: int, seed: int, folder: Path) -> pd.DataFrame:
    """Train one arm; one row a step, of the samples it learned from."""
    chosen = settings(scale, seed)
    task, lm = _start(scale, seed)
    loop = Loop(chosen, language_model=lm, task=task, reward_path=RewardPath.from_toml(reward_text(arm, unit), task))
    rows = []
    for step in range(chosen.steps):
        batch = loop.roll_out()
        learned = loop.learn(batch)
        loop.step += 1
        rows.append({"step": step, **measured(batch), "gradient_norm": learned["policy/gradient_norm"]})
    return pd.DataFrame(rows).round(6).assign(arm=arm, unit=unit, seed=seed)


def measured(batch: Batch) -> dict[str, float]:
    """What a batch of samples is like."""
    good = satisfied(batch.rewards.signals)
    row = {name: float(values.mean()) for name, values in good.items()}
    return row | {"length": float(batch.completions.lengths.double().mean())}


def satisfied(signals: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Which samples satisfy each signal, and all three; a signal that failed is not satisfied."""
    good = {name: values >= ENOUGH for name, values in signals.items()}
    return good | {"all_three": np.logical_and.reduce(list(good.values()))}


def _start(scale: ScaleName, seed: int) -> tuple[Task, LanguageModel]:
    """Where all arms of a seed begin."""
    if scale == "gpu":  # chatty and seldom well formed as it is
        return AdditionTask(), load("smollm2", device="cuda", seed=seed)
    task, half_learnt = _half_learnt(seed, 5 if scale == "smoke" else 600)
    return task, LanguageModel(copy.deepcopy(half_learnt.model), half_learnt.tokenizer, half_learnt.name, chat=False)


@cache
def _half_learnt(seed: int, steps: int) -> tuple[ChattySums, LanguageModel]:
    task, lm = ChattySums(), load("tiny-test", seed=seed)
    warm_up(
        lm, task.demonstrations(seed), steps=steps, batch_size=150, learning_rate=1e-2, seed=seed, until=HALF_LEARNT
    )
    return task, lm


EXPERIMENT = Experiment("lm_three_signals", "right, brief and well formed at once, and in another unit", cells)
