"""Where the mean length of answers goes when being right depends on length, by how tokens are weighed.

A tiny model writes letters and stops after each with probability 0.2. Whether the answer counts as right is a draw
whose chance depends on its length alone: highest for long answers, higher for a single token than for what lies
between, so that the sample-wise and the token-wise mean disagree on which way is up. In the control it does not depend
on length. What is measured: the drift of the expected length under one small step along each objective's gradient.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from llm_scale.grpo import Loop
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.supervised import warm_up
from llm_scale.objectives.advantages import token_level_advantages
from llm_scale.objectives.loss import policy_loss
from llm_scale.objectives.objective import Objective, objective
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rollouts.completions import Completions
from llm_scale.rollouts.sampling import sample
from llm_scale.settings import Settings
from llm_scale.tasks.task import Problem, Task
from llm_scale.training_pass.forward import completion_log_probs
from long_runs.experiment import Cell, ScaleName

__all__ = ["AGGREGATIONS", "LIMIT", "PATTERNS", "cells", "chance_right", "drift", "token_drifts", "weights"]

LIMIT, STOP, GROUP = 30, 0.2, 8
AGGREGATIONS = ("sequence_mean", "token_mean", "constant")
PATTERNS = ("depends on length", "control")
PROMPTS = 64  # of a batch
REDRAWS = 4  # rewards drawn anew for the same samples
LUCK = """
[sources]
lucky = "given"

[pipeline.signals]
lucky = []
"""


class Letters(Task):
    """Write letters, as many as you like."""

    name, max_new_tokens, always_ends = "letters", LIMIT, True

    def problems(self, split, number, seed):
        """Two-digit names of problems that are all the same."""
        numbers = np.random.default_rng([seed, split == "test"]).integers(10, 100, number)
        return [Problem(f"{n}:", "a", int(n)) for n in numbers]

    def verify(self, problem, completion):
        """Whether there is nothing but the letter; what counts in training is `Luck`."""
        return float(set(completion) <= {"a"})


@dataclass
class Luck:
    """A reward of 1 with a chance that depends on the length, else 0."""

    pattern: str
    rng: np.random.Generator

    def __call__(self, samples: Sequence) -> list[float]:
        """One reward a sample."""
        tokens = np.array([len(sample.ids) for sample in samples])
        return (self.rng.random(len(tokens)) < chance_right(tokens, self.pattern)).astype(float).tolist()


def chance_right(tokens: np.ndarray, pattern: str) -> np.ndarray:
    """Chance that an answer of so many tokens is right.

    Example:
        >>> chance_right(np.array([1, 2, 8, 9, 30]), "depends on length")
        array([0.6 , 0.3 , 0.3 , 0.75, 0.75])
    """
    if pattern == "control":
        return np.full(np.shape(tokens), 0.4)
    return np.select([tokens == 1, tokens <= 8], [0.6, 0.3], 0.75)


def cells(scale: ScaleName, seeds: Sequence[int]) -> dict[str, Cell]:
    """Drift of one step a seed, and training by aggregation and seed, where being right depends on length."""
    drifts = {f"drift seed {seed}": partial(measure_drift, scale, seed) for seed in seeds}
    training = {
        f"length {aggregation} seed {seed}": partial(train, scale, PATTERNS[0], aggregation, seed)
        for seed in seeds
        for aggregation in AGGREGATIONS
    }
    return drifts | training


def measure_drift(scale: ScaleName, seed: int, folder: Path) -> pd.DataFrame:
    """Drift of the expected length by pattern and aggregation: one row each, with the standard error over batches."""
    lm, generator, rng = writer(scale, seed), torch.Generator().manual_seed(seed), np.random.default_rng(seed)
    batches = {"smoke": 2, "small": 30, "gpu": 60}[scale]
    direction = _lengthening(lm, [_draw(lm, generator) for _ in range(max(1, batches // 4))])
    found = {(pattern, aggregation): [] for pattern in PATTERNS for aggregation in AGGREGATIONS}
    tokens = []
    for _ in range(batches):
        drawn = _draw(lm, generator)
        tokens.append(float(drawn.lengths.double().mean()))
        along = token_drifts(lm, drawn, direction)
        for (pattern, aggregation), drifts in found.items():
            chances = chance_right(drawn.lengths.numpy(), pattern)
            draws = [torch.as_tensor(rng.random(len(chances)) < chances).double() for _ in range(REDRAWS)]
            drifts.append(np.mean([drift(drawn, rewards, along, aggregation) for rewards in draws]))
    rows = [
        {"pattern": pattern, "arm": aggregation, "drift": np.mean(drifts), "error": _standard_error(drifts)}
        for (pattern, aggregation), drifts in found.items()
    ]
    return pd.DataFrame(rows).assign(part="drift", seed=seed, length=np.mean(tokens), batches=batches)


def train(scale: ScaleName, pattern: str, aggregation: str, seed: int, folder: Path) -> pd.DataFrame:
    """Train with one aggregation; one row a step."""
    chosen = Settings(
        model="tiny-test",
        task="addition",
        objective="dr_grpo",
        device="cpu",
        prompts=16 if scale != "smoke" else 4,
        group=GROUP,
        steps={"smoke": 2, "small": 40, "gpu": 150}[scale],
        learning_rate=1e-3,
        evaluate_every=10_000,
        evaluation_problems=1,
        evaluation_samples=1,
        checkpoint_every=0,
        seed=seed,
    )
    task = Letters()
    luck = Luck(pattern, np.random.default_rng([seed, 1]))
    path = RewardPath.from_toml(LUCK, task, given={"lucky": luck})
    loop = Loop(chosen, language_model=writer(scale, seed), task=task, reward_path=path)
    loop.objective = replace(loop.objective, aggregation=aggregation)
    rows = []
    for step in range(chosen.steps):
        batch = loop.roll_out()
        loop.learn(batch)
        loop.step += 1
        tokens = batch.completions.lengths.numpy()
        rows.append({"step": step, "length": tokens.mean(), "accuracy": chance_right(tokens, pattern).mean()})
    return pd.DataFrame(rows).round(5).assign(part="length", pattern=pattern, arm=aggregation, seed=seed)


def drift(drawn: Completions, rewards: Tensor, along: Tensor, aggregation: str) -> float:
    """Rate at which the expected length changes along the gradient of one objective, in tokens a unit of step.

    Args:
        drawn: Samples.
        rewards: One a sample.
        along: `token_drifts` of them.
        aggregation: How the objective weighs tokens; its advantage is the reward less the group's mean.
    """
    chosen = objective("dr_grpo", aggregation=aggregation)
    return float((weights(drawn, rewards, chosen).double() * along.double()).sum())


def weights(drawn: Completions, rewards: Tensor, chosen: Objective) -> Tensor:
    """How hard the objective's gradient pulls on the log-probability of each token, (B, T), on samples of its own."""
    groups = np.repeat(np.arange(len(drawn.prompts)), drawn.group)
    advantages = token_level_advantages(rewards, drawn.mask, groups, chosen)
    own = drawn.log_probs.clone().requires_grad_()
    loss = policy_loss(own, drawn.log_probs, advantages, drawn.mask, chosen, max_length=LIMIT).loss
    return -torch.autograd.grad(loss, own)[0]


def token_drifts(lm: LanguageModel, drawn: Completions, direction: Sequence[Tensor], size: float = 1e-2) -> Tensor:
    """Derivative of each token's log-probability along a direction of the weights, (B, T), by central difference.

    The gradient's own length belongs to it: the result is an inner product with `direction`, whatever its norm.
    """
    norm = float(torch.sqrt(sum(part.square().sum() for part in direction)))
    if norm == 0:
        return torch.zeros_like(drawn.log_probs)
    found = []
    with torch.no_grad():
        for sign in (1.0, -1.0):
            _move(lm, direction, sign * size / norm)
            found.append(_log_probs(lm, drawn))
            _move(lm, direction, -sign * size / norm)
    return (found[0] - found[1]) * (norm / (2 * size))


def writer(scale: ScaleName, seed: int) -> LanguageModel:
    """A tiny model that stops after each letter with probability 0.2."""
    taught = _writer(seed, 20 if scale == "smoke" else 200)
    return LanguageModel(copy.deepcopy(taught.model), taught.tokenizer, taught.name, chat=False)


@cache
def _writer(seed: int, steps: int) -> LanguageModel:
    lm, rng = load("tiny-test", seed=seed), np.random.default_rng(seed)
    problems = Letters().problems("train", 2000, seed)
    letters = np.minimum(rng.geometric(STOP, len(problems)), LIMIT) - 1
    shown = [(problem.prompt, "a" * int(number)) for problem, number in zip(problems, letters, strict=True)]
    warm_up(lm, shown, steps=steps, batch_size=64, learning_rate=5e-3, seed=seed)
    return lm


def _draw(lm: LanguageModel, generator: torch.Generator) -> Completions:
    prompts = [lm.encode(f"{number}:") for number in range(10, 10 + PROMPTS)]
    return sample(lm, prompts, group=GROUP, max_new_tokens=LIMIT, generator=generator)


def _lengthening(lm: LanguageModel, batches: Sequence[Completions]) -> list[Tensor]:
    """Gradient of the expected length, estimated from samples that are used for nothing else."""
    total = [torch.zeros_like(parameter) for parameter in lm.parameters()]
    for drawn in batches:
        excess = (drawn.lengths - drawn.lengths.double().mean()).float() / drawn.samples / len(batches)
        value = (_log_probs(lm, drawn).sum(1) * excess).sum()
        for part, slope in zip(total, torch.autograd.grad(value, lm.parameters()), strict=True):
            part += slope
    return total


def _log_probs(lm: LanguageModel, drawn: Completions) -> Tensor:
    return completion_log_probs(lm, drawn.prompts, drawn.ids, drawn.mask, group=drawn.group).log_probs


def _move(lm: LanguageModel, direction: Sequence[Tensor], amount: float) -> None:
    for parameter, part in zip(lm.parameters(), direction, strict=True):
        parameter.add_(part, alpha=amount)


def _standard_error(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))
