"""A helpful and a harmful dense reward beside a sparse one: added up, left out, or weighed by weights that are learned.

A tiny model hardly ever adds up two digits rightly. Whether the sum is right is the primary reward; the share of right
digits helps; what an answer is paid for each character harms, for the longest answers are never right. Weights learned
by bi-level optimisation, in its first-order form, should come to tell the two apart, and need no more samples for it:
the gradients of all rewards are taken of the same ones.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from llm_scale.experiments.blend_gradients import BlendWeights, component_gradients, cosines, put_gradient
from llm_scale.grpo import Batch, Loop
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.warm_start import WarmUp, warmed_up
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.settings import Settings
from llm_scale.tasks.loading import task as task_by_name
from llm_scale.tasks.task import Task
from long_runs.experiment import Cell, Experiment, ScaleName

__all__ = ["ARMS", "EXPERIMENT", "FROM_NOTHING", "FROM_SUM", "NAIVE", "PRIMARY", "SLOW_FROM_SUM", "settings"]

PRIMARY, NAIVE = "primary only", "plain sum"
FROM_NOTHING, FROM_SUM, SLOW_FROM_SUM = "learned, from 0", "learned, from 1", "learned slowly, from 1"
COMPONENTS = ("correct", "overlap", "longer")  # the primary reward, and what may be added to it
REWARDS = """
[sources]  # each is weighed by the learner; the pipeline is not asked
correct = "verifier"
overlap = "digit_overlap"
longer = "length"

[pipeline.signals]
correct = []
overlap = []
longer = []

[pipeline.combine]
kind = "weighted_sum"
"""
# from random weights to a twelfth of two-digit sums: seconds for a decoder of 22 thousand weights
HARDLY_LEARNT = WarmUp(learning_rate=1e-2, until=0.08)


@dataclass(frozen=True)
class Arm:
    """Weights of the two auxiliary rewards at the start, and how far they move a step."""

    start: tuple[float, float]
    step: float = 0.0


# steps of weights were chosen with seeds 100 and 101, of which the slow arm was lost
ARMS = {
    PRIMARY: Arm((0.0, 0.0)),
    NAIVE: Arm((1.0, 1.0)),
    FROM_NOTHING: Arm((0.0, 0.0), 0.05),
    FROM_SUM: Arm((1.0, 1.0), 0.2),
    SLOW_FROM_SUM: Arm((1.0, 1.0), 0.05),
}


@dataclass(frozen=True)
class Size:
    """What differs between scales: seeds, steps between rows, rows between evaluations, pay of a character."""

    seeds: int
    row_every: int
    character: float
    evaluations: int = 2


SIZES = {"smoke": Size(2, 2, 1 / 3), "small": Size(4, 10, 1 / 3), "gpu": Size(3, 5, 1 / 10)}


def settings(scale: ScaleName, seed: int) -> Settings:
    """Of a run; the learning rate was chosen with seed 100: three times as high a rate learned less."""
    shared = {"objective": "dr_grpo", "checkpoint_every": 0, "group": 8, "seed": seed}
    if scale == "gpu":
        size = {"model": "smollm2", "task": "addition", "max_new_tokens": 24, "prompts": 16, "steps": 40}
        return Settings(**shared, **size, learning_rate=1e-5, evaluation_problems=25, evaluation_samples=16)
    smoke = scale == "smoke"
    size = {"model": "tiny-test", "task": "addition:digits=2,style=bare", "max_new_tokens": 6, "device": "cpu"}
    size |= {"prompts": 4 if smoke else 24, "steps": 4 if smoke else 100, "learning_rate": 1e-3}
    return Settings(**shared, **size, evaluation_problems=8 if smoke else 200, evaluation_samples=2 if smoke else 8)


def cells(scale: ScaleName, seed: int) -> dict[str, Cell]:
    """One cell an arm and seed."""
    numbers = range(seed, seed + SIZES[scale].seeds)
    return {f"{arm}, seed {number}": partial(run, scale, arm, number) for number in numbers for arm in ARMS}


def run(scale: ScaleName, arm: str, seed: int, folder: Path) -> pd.DataFrame:
    """Train one arm; rows of the first step, every few steps, and the last."""
    chosen, size = settings(scale, seed), SIZES[scale]
    task = task_by_name(chosen.task)
    loop = Loop(
        chosen, language_model=_start(scale, chosen, task), task=task, reward_path=RewardPath.from_toml(REWARDS, task)
    )
    blend, units = BlendWeights(ARMS[arm].start, step=ARMS[arm].step), torch.tensor([1.0, 1.0, size.character])
    before, since, rows = None, [], []
    for step in range(chosen.steps + 1):
        if step % size.row_every == 0:
            evaluate = step % (size.row_every * size.evaluations) == 0
            rows.append(_row(step, loop.evaluate() if evaluate else {}, blend, since))
            since = []
        if step < chosen.steps:
            batch = loop.roll_out()
            before, measured = _learn(loop, batch, blend, units, before)
            since.append(measured)
            loop.step += 1
    return pd.DataFrame(rows).round(5).assign(arm=arm, seed=seed)


def _learn(
    loop: Loop, batch: Batch, blend: BlendWeights, units: torch.Tensor, before: torch.Tensor | None
) -> tuple[torch.Tensor, dict[str, float]]:
    """Move the weights, then the policy; returns the gradients of the batch, (components, parameters)."""
    rewards = torch.tensor(np.stack([batch.rewards.signals[name] for name in COMPONENTS]))
    gradients = component_gradients(
        loop.lm,
        batch.completions,
        rewards * units[:, None],
        loop.objective,
        present=torch.as_tensor(batch.rewards.present),
        temperature=loop.settings.temperature,
        max_length=loop.max_new_tokens,
    )
    if before is not None:
        blend.move(gradients[0], before[1:])
    put_gradient(loop.lm, blend.blended(gradients))
    torch.nn.utils.clip_grad_norm_(loop.lm.parameters(), loop.settings.max_gradient_norm)
    loop.optimiser.step()
    measured = {name: float(value) for name, value in zip(COMPONENTS, rewards.nanmean(1), strict=True)}
    for name, cosine in zip(COMPONENTS[1:], cosines(gradients[0], gradients[1:]), strict=True):
        measured[f"{name}_cosine"] = float(cosine)
    return gradients, measured


def _row(step: int, evaluated: dict[str, float], blend: BlendWeights, since: list[dict[str, float]]) -> dict:
    """What is known at a step, with means over the steps since the last row."""
    weights = {f"{name}_weight": float(one) for name, one in zip(COMPONENTS[1:], blend.weights, strict=True)}
    accuracy = evaluated.get("evaluation/sampled", np.nan)
    means = pd.DataFrame(since).mean().to_dict() if since else {}
    return {"step": step, "accuracy": accuracy, **weights, **means}


def _start(scale: ScaleName, chosen: Settings, task: Task) -> LanguageModel:
    """Where all arms of a seed begin."""
    if scale == "gpu":
        return load(chosen.model, device="cuda", seed=chosen.seed)
    if scale == "smoke":
        return load(chosen.model, seed=chosen.seed)
    return warmed_up(chosen.model, task, HARDLY_LEARNT, seed=chosen.seed)


EXPERIMENT = Experiment(
    "lm_blend", "a helpful and a harmful reward beside the one that counts, weighed by learning", cells
)
