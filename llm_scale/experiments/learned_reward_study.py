"""Learned rewards with a flaw that is known: what two experiments on optimising them share.

A small model has half learnt sums of one digit, and sometimes to pad its answers with words that say nothing. The gold
reward takes a price for padding; the judge from whose preferences rewards are learned does not see that price, and
likes long answers. Reward models are heads on the features of other small models, which know their sums better.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from llm_scale.grpo import Loop
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.supervised import warm_up
from llm_scale.reward_models.features import answer_features
from llm_scale.reward_models.fitting import fit_bradley_terry
from llm_scale.reward_models.flaws import FlawedReward, LabelNoise, LengthBias
from llm_scale.reward_models.learned_signal import LearnedReward
from llm_scale.reward_models.preferences import draw_preferences
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sample import Sample, samples_of
from llm_scale.rewards.sources import BatchSignal
from llm_scale.rollouts.sampling import sample
from llm_scale.settings import Settings
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.task import Problem, Task

__all__ = [
    "JUDGE",
    "LAYERS",
    "TEMPERATURE",
    "Judged",
    "PaddedSums",
    "Pool",
    "draw_pool",
    "fit_reward",
    "half_learnt",
    "padding",
    "reader",
    "right",
]

WORD, WORDS = "so ", 4  # of padding, and how many of them are demonstrated, less than this
PRICE = 0.25  # what gold takes for a word's length of padding, as a share of a right answer
KNOWN = 75  # sums of the training split: few enough to be learned by heart
HALF, WELL = 0.17, 0.42  # probability of a demonstrated answer; 0.51 is the most, as there are four forms of each
LIKING, TEMPERATURE, NOISE = 0.15, 0.25, 0.1  # of the judge, in gold units: for a word's length; of its preferences
LAYERS, HIDDEN, L2 = (1, 2), 32, 1e-3  # of the heads


def right(problem: Problem, text: str) -> float:
    """Whether the last number is the sum, whatever stands before it."""
    return _SUMS.verify(problem, text)


def padding(text: str) -> float:
    """What an answer holds beside its last digits, in words' lengths."""
    bare = text.rstrip()
    digits = len(bare) - len(bare.rstrip("0123456789"))
    return (len(text) - digits) / len(WORD)


_SUMS = AdditionTask(style="bare")
JUDGE = FlawedReward(right, (LengthBias(LIKING, padding), LabelNoise(NOISE)))


class PaddedSums(AdditionTask):
    """Sums of one digit, to be answered with the number alone: padding costs, four words of it the whole reward."""

    def __init__(self) -> None:
        super().__init__(style="bare")
        self.name, self.max_new_tokens = "padded_sums", 26

    def verify(self, problem: Problem, completion: str) -> float:
        """Gold: 1 for a right sum, less a quarter for each word of padding."""
        return right(problem, completion) * max(0.0, 1 - PRICE * padding(completion))

    def demonstrations(self, seed: int) -> list[tuple[str, str]]:
        """Every sum with up to three words of padding, each word half as often as the one before."""
        return [
            (problem.prompt, WORD * words + problem.gold)
            for problem in self.problems("train", KNOWN, seed)
            for words in range(WORDS)
            for _ in range(2 ** (WORDS - 1 - words))
        ]


@cache
def _warmed(seed: int, until: float, steps: int) -> LanguageModel:
    lm = load("tiny-test", seed=seed)
    warm_up(lm, PaddedSums().demonstrations(seed), steps=steps, batch_size=150, learning_rate=1e-2, seed=seed, until=until)
    return lm


def half_learnt(seed: int, steps: int = 500) -> LanguageModel:
    """The policy that all runs of a seed begin with; a copy."""
    lm = _warmed(seed, HALF, steps)
    return LanguageModel(copy.deepcopy(lm.model), lm.tokenizer, lm.name, chat=False)


def reader(seed: int, number: int, steps: int = 400) -> LanguageModel:
    """One of the models whose features are read: each from weights of its own, and knowing most sums."""
    lm = _warmed(1000 * (seed + 1) + number, WELL, steps)
    for parameter in lm.parameters():
        parameter.requires_grad_(False)
    return lm


class Pool(NamedTuple):
    """Answers of a policy before it is trained: `samples` of every prompt, one prompt after the other."""

    samples: list[Sample]
    each: int


def draw_pool(lm: LanguageModel, task: Task, problems: Sequence[Problem], each: int, seed: int) -> Pool:
    """Sample a policy's answers."""
    completions = sample(
        lm,
        [lm.encode(problem.prompt) for problem in problems],
        group=each,
        max_new_tokens=task.max_new_tokens,
        generator=torch.Generator(device=lm.device).manual_seed(seed),
    )
    return Pool(samples_of(lm, problems, completions), each)


def fit_reward(
    lm: LanguageModel, pool: Pool, *, pairs: int, seed: int, members: int = 1, preferences: int | None = None
) -> LearnedReward:
    """Heads on a model's features that make the judge's preferences among a policy's answers likely.

    Args:
        lm: Whose features are read.
        pool: The answers.
        pairs: Number of preferences.
        seed: Of the heads' bootstrap samples and first weights.
        members: Number of heads.
        preferences: Seed of the preferences, by default `seed`.
    """
    samples = pool.samples
    scores = JUDGE.scores([s.problem for s in samples], [s.completion for s in samples])
    told = draw_preferences(
        scores,
        [s.prompt_row for s in samples],
        temperature=TEMPERATURE,
        flip_rate=JUDGE.flip_rate,
        pairs=pairs,
        rng=seed if preferences is None else preferences,
    )
    features = answer_features(lm, [lm.encode(s.problem.prompt) for s in samples], [s.ids for s in samples], layers=LAYERS)
    head = fit_bradley_terry(
        features[torch.tensor(told.chosen)],
        features[torch.tensor(told.rejected)],
        members=members,
        hidden=HIDDEN,
        l2=L2,
        learning_rate=1e-2,
        seed=seed,
        bootstrap=members > 1,
    )
    return LearnedReward(lm, head, layers=LAYERS)


@dataclass(frozen=True)
class Judged:
    """The judge itself as a reward, in log-odds of its preferences: a flawed reward that is known exactly."""

    judge: FlawedReward = JUDGE

    def members(self, samples: Sequence[Sample]) -> Float[np.ndarray, "1 samples"]:
        """The judge's score, as an ensemble of one."""
        scores = self.judge.scores([s.problem for s in samples], [s.completion for s in samples])
        return scores[None] / TEMPERATURE

