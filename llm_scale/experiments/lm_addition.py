"""Does GRPO teach addition, and beyond the sums that it was trained on?

SmolLM2 as it comes adds up two digits in words, right in a fifth of its samples. A tiny model, warmed up to be right in
less than half of its two-digit sums, has the same reward. Before and after training both answer sums that training
never asks for and sums that it may ask for, several times each, so that intervals can be had over sums.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd
import torch

from llm_scale.grpo import Loop
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.warm_start import ONE_DIGIT, WarmUp, warmed_up
from llm_scale.rollouts.sampling import sample
from llm_scale.settings import Settings
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.loading import task as task_by_name
from llm_scale.tasks.task import Problem, Split
from llm_scale.tasks.verifying import verify_all
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = ["EXPERIMENT", "ONE", "SPLITS", "TWO", "Arm", "arms", "distinct", "outcomes"]

ONE, TWO = "SmolLM2, one digit", "tiny model, two digits"
SPLITS: dict[str, Split] = {"held-out": "test", "training": "train"}
ASKED_AT_ONCE = 25  # sums; what a batch of samples holds in memory
LOGGED = {"reward/mean": "reward", "evaluation/sampled": "sampled", "length/mean": "length"}


@dataclass(frozen=True)
class Arm:
    """A model and its training.

    Args:
        seeds: How many runs.
        settings: Of a run but for its seed and folder.
        warm_up: Before training; None leaves the model as it comes.
        problems: How many sums of each split are asked before and after, at most.
        samples: Answers to each.
    """

    seeds: int
    settings: dict
    warm_up: WarmUp | None
    problems: int
    samples: int


def arms(scale: ScaleName) -> dict[str, Arm]:
    """What is trained at a scale.

    The tiny model's learning rate was chosen with seed 100 (six times as much does not train it steadily); SmolLM2's is
    a usual one for fine-tuning such a model, and was not tuned.
    """
    shared = {"objective": "grpo", "kl_weight": 0.0, "group": 8, "reward": "rewards/correct.toml"}
    seldom = {"evaluate_every": 10_000, "evaluation_problems": 1, "evaluation_samples": 1}
    curve = {"evaluate_every": 10, "evaluation_problems": 100, "evaluation_samples": 8, "checkpoint_every": 0}
    one = shared | {"model": "smollm2", "task": "addition", "max_new_tokens": 24, "learning_rate": 2e-5}
    two = shared | {"model": "tiny", "task": "addition:digits=2,style=bare", "max_new_tokens": 4, "prompts": 16}
    two |= {"learning_rate": 5e-5, "device": "auto" if scale == "gpu" else "cpu"}
    if scale == "smoke":
        size = {"model": "tiny-test", "prompts": 4, "steps": 2, "checkpoint_every": 0, "device": "cpu"}
        short = WarmUp(**{**ONE_DIGIT.__dict__, "steps": 4})
        return {
            ONE: Arm(1, one | seldom | size | {"task": "addition:style=bare", "max_new_tokens": 3}, short, 8, 2),
            TWO: Arm(2, two | seldom | size, None, 8, 2),
        }
    if scale == "gpu":
        size = {"prompts": 32, "group": 16, "steps": 150, "precision": "bfloat16", "checkpoint_every": 25}
        often = curve | {"evaluate_every": 25, "evaluation_problems": 25, "evaluation_samples": 16}
        return {
            ONE: Arm(3, one | often | size, None, 75, 32),
            TWO: Arm(3, two | curve | {"steps": 80}, WarmUp(), 100, 8),
        }
    size = {"prompts": 4, "steps": 30, "checkpoint_every": 5, "device": "cpu"}
    return {ONE: Arm(1, one | seldom | size, None, 25, 8), TWO: Arm(4, two | curve | {"steps": 80}, WarmUp(), 100, 8)}


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell an arm and seed."""
    return {
        f"{name}, seed {number}": partial(run, scale, name, number)
        for name, arm in arms(scale).items()
        for number in range(seed, seed + arm.seeds)
    }


def run(scale: ScaleName, name: str, seed: int, folder: Path) -> pd.DataFrame:
    """Train one model from where it stopped; rows of sums, asked before and after, and rows of steps."""
    arm = arms(scale)[name]
    settings = Settings(**arm.settings, seed=seed, folder=str(folder / "training"))
    task = task_by_name(settings.task)
    lm = _start(arm, settings, task)
    kept = folder / "before.csv"
    if not kept.is_file():  # of an interrupted run
        _asked(lm, task, arm, settings).to_csv(kept, index=False)
    loop = Loop(settings, language_model=lm, task=task)
    loop.train()
    before, after = pd.read_csv(kept).assign(step=0), _asked(lm, task, arm, settings).assign(step=settings.steps)
    log = pd.read_csv(folder / "training" / "metrics.csv")
    steps = log.rename(columns=LOGGED).reindex(columns=["step", *LOGGED.values()]).assign(kind="step")
    return pd.concat([before, after, steps], ignore_index=True).round(5).assign(arm=name, seed=seed)


def distinct(task: AdditionTask, split: Split, number: int) -> list[Problem]:
    """Different sums of a split, always the same: all of them, or `number` where there are more."""
    asked = task.problems(split, number, seed=0)
    return list({problem.number: problem for problem in asked}.values())


def outcomes(
    lm: LanguageModel, task: AdditionTask, problems: Sequence[Problem], *, samples: int, tokens: int, seed: int
) -> pd.DataFrame:
    """Share of right answers to every sum: of `samples` drawn at temperature 1, and of the greedy one."""
    generator = torch.Generator(device=lm.device).manual_seed(seed)
    rows = []
    for first in range(0, len(problems), ASKED_AT_ONCE):
        some = list(problems[first : first + ASKED_AT_ONCE])
        right = {
            kind: _right(lm, task, some, group, tokens, temperature, generator)
            for kind, group, temperature in (("right", samples, 1.0), ("greedy", 1, 0.0))
        }
        rows += [{"problem": p.number, **{k: v[i] for k, v in right.items()}} for i, p in enumerate(some)]
    return pd.DataFrame(rows)


def _right(lm, task, problems, group, tokens, temperature, generator) -> list[float]:
    prompts = [lm.encode(problem.prompt) for problem in problems]
    drawn = sample(lm, prompts, group=group, max_new_tokens=tokens, temperature=temperature, generator=generator)
    texts = [lm.decode(drawn.completion_of(row)) for row in range(drawn.samples)]
    scores = verify_all(task, problems, texts)
    return [sum(scores[row * group : (row + 1) * group]) / group for row in range(len(problems))]


def _asked(lm: LanguageModel, task: AdditionTask, arm: Arm, settings: Settings) -> pd.DataFrame:
    how = {"samples": arm.samples, "tokens": settings.max_new_tokens, "seed": settings.seed}
    parts = [
        outcomes(lm, task, distinct(task, split, arm.problems), **how).assign(split=name)
        for name, split in SPLITS.items()
    ]
    return pd.concat(parts, ignore_index=True).assign(kind="sum")


def _start(arm: Arm, settings: Settings, task: AdditionTask) -> LanguageModel:
    device = "cuda" if settings.device == "auto" else settings.device
    if arm.warm_up is None:
        return load(settings.model, device=device, seed=settings.seed)
    return warmed_up(settings.model, task, arm.warm_up, seed=settings.seed, device=device)


EXPERIMENT = Experiment("lm_addition", "GRPO on sums: trained ones, and ones never asked for", cells)
