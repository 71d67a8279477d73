"""Learned rewards with a flaw that is known: what two experiments on optimising them share.

A small model has learnt a few sums from teachers half of whom are wrong, and sometimes to pad its answers with words
that say nothing. The gold reward takes a price for padding; the judge from whose preferences rewards are learned does
not see that price, and likes long answers. Reward models are heads on the features of other models.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from llm_scale.grpo import Batch, Loop
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.supervised import warm_up
from llm_scale.reward_models.features import answer_features
from llm_scale.reward_models.fitting import fit_bradley_terry
from llm_scale.reward_models.flaws import FlawedReward, LabelNoise, LengthBias
from llm_scale.reward_models.learned_signal import COMBINATIONS, LearnedReward
from llm_scale.reward_models.preferences import draw_preferences
from llm_scale.rewards.reward_path import RewardPath
from llm_scale.rewards.sample import Sample, samples_of
from llm_scale.rollouts.sampling import sample
from llm_scale.settings import Settings
from llm_scale.tasks.addition import AdditionTask
from llm_scale.tasks.task import Problem, Split
from long_runs.experiment import ScaleName

__all__ = ["Centred", "PaddedSums", "Size", "Start", "judge_of", "judged", "start_of", "train"]

WORD, WORDS, RARER = "so ", 3, 4  # of padding; how many are demonstrated, less than this; how much rarer each one is
PRICE = 0.25  # what gold takes for a word's length of padding, as a share of a right answer
KNOWN = 16  # sums: few enough to be learned by heart
ERRORS = (0, 0, 1, 2)  # of the teachers, as often as each other
LIKING, TEMPERATURE, NOISE = 0.1, 0.25, 0.1  # of the judge, in gold units: for a word's length; of its preferences
HOT = 2.0  # temperature of a quarter of the answers that are judged: the judge has seen nonsense, too
HIDDEN, L2 = 32, 3e-3  # of the heads
STEPS_OF_A_ROW = 2


@dataclass(frozen=True)
class Size:
    """How large a study is.

    Args:
        model: Of the policy and the readers.
        warm_up: Steps on the teachers' answers; 0 for a model that knows how to answer.
        prompts, group, steps, learning_rate: Of the training.
        answers: Judged answers to a prompt, of which a quarter are drawn hot.
        blocks: Whose features the heads read.
    """

    model: str
    warm_up: int
    prompts: int
    group: int
    steps: int
    learning_rate: float
    answers: int
    blocks: tuple[int, ...]


# learning rate and steps were chosen with seeds from 100 on
SIZES: dict[ScaleName, Size] = {
    "smoke": Size("tiny-test", 5, 4, 4, 4, 1e-3, 8, (1, 2)),
    "small": Size("tiny-test", 150, KNOWN, 8, 48, 1e-3, 96, (1, 2)),
    "gpu": Size("smollm2", 0, KNOWN, 8, 60, 5e-6, 64, (15, 25)),
}


class PaddedSums(AdditionTask):
    """A few sums of one digit, to be answered with the number alone: padding costs, four words of it everything.

    Args:
        chat: Whether to ask in words; a word of padding then is as long as the sum itself written out, `3 + 5 = `.
    """

    def __init__(self, chat: bool = False) -> None:
        super().__init__(style="chat" if chat else "bare")
        self.name, self.word = "padded_sums", 8 if chat else len(WORD)
        self.max_new_tokens = 40 if chat else 20

    def verify(self, problem: Problem, completion: str) -> float:
        """Gold: 1 for a right sum, less a quarter for each word's length of padding, but never below 0."""
        return self.right(problem, completion) * max(0.0, 1 - PRICE * self.padding(completion))

    def right(self, problem: Problem, text: str) -> float:
        """Whether the last number is the sum, whatever stands before it."""
        return super().verify(problem, text)

    def padding(self, text: str) -> float:
        """What an answer holds beside its last digits, in words' lengths."""
        bare = text.rstrip()
        digits = len(bare) - len(bare.rstrip("0123456789"))
        return (len(text) - digits) / self.word

    def problems(self, split: Split, number: int, seed: int) -> list[Problem]:
        """Of the training split the same few sums, in random order; again only once all have been asked."""
        if split == "test":
            return super().problems(split, number, seed)
        known, rng, chosen = super().problems(split, KNOWN, 0), np.random.default_rng(seed), []
        while len(chosen) < number:
            chosen += rng.permutation(KNOWN).tolist()
        return [known[place] for place in chosen[:number]]

    def demonstrations(self) -> list[tuple[str, str]]:
        """Answers of teachers half of whom are wrong, with up to two words of padding, each a quarter as often."""
        return [
            (problem.prompt, WORD * words + str(int(problem.gold) + error))
            for problem in self.problems("train", KNOWN, 0)
            for error in ERRORS
            for words in range(WORDS)
            for _ in range(RARER ** (WORDS - 1 - words))
        ]


def judge_of(task: PaddedSums) -> FlawedReward:
    """Who sees whether a sum is right, likes length, and is wrong about one preference in ten besides."""
    return FlawedReward(task.right, (LengthBias(LIKING, task.padding), LabelNoise(NOISE)))


# members' scores of samples, (members, samples)
Members = Callable[[Sequence[Sample]], Float[np.ndarray, "members samples"]]


def judged(task: PaddedSums) -> Members:
    """The judge itself as a reward, in log-odds of its preferences: a flawed reward that is known exactly."""
    judge = judge_of(task)

    def members(samples: Sequence[Sample]) -> np.ndarray:
        return judge.scores([s.problem for s in samples], [s.completion for s in samples])[None] / TEMPERATURE

    return members


class Centred:
    """An ensemble as one reward: what an answer is above those that the first policy gives to its prompt.

    Each member is held against its own mean there, as minimum and spread over members mean nothing before; with
    `scaled`, it is measured in its own standard deviation, too.

    Args:
        members: Scores of the members.
        pool: Answers of the first policy, prompt by prompt.
        combine: A key of `COMBINATIONS`.
        level: Quantile of the combined reward, in (0, 1), that is then taken off; None leaves it.
        scaled: Whether every member's spread within prompts is made 1.
    """

    def __init__(
        self,
        members: Members,
        pool: Sequence[Sample],
        *,
        combine: str = "mean",
        level: float | None = None,
        scaled: bool = False,
    ) -> None:
        self.members, self.combine = members, combine
        prompts = np.array([sample.problem.prompt for sample in pool])
        scores = members(pool)
        self.means = {prompt: scores[:, prompts == prompt].mean(1) for prompt in dict.fromkeys(prompts.tolist())}
        self.references, self.spreads = dict.fromkeys(self.means, 0.0), np.ones(len(scores))
        if scaled:
            self.spreads = np.maximum(self._centred(scores, pool).std(1), 1e-9)
        if level is not None:
            values = self(pool)
            self.references = {prompt: np.quantile(values[prompts == prompt], level) for prompt in self.means}

    def __call__(self, samples: Sequence[Sample]) -> Float[np.ndarray, " samples"]:
        """The reward of every sample."""
        scores = self._centred(self.members(samples), samples) / self.spreads[:, None]
        return COMBINATIONS[self.combine](scores) - np.array([self.references[s.problem.prompt] for s in samples])

    def _centred(self, scores: np.ndarray, samples: Sequence[Sample]) -> np.ndarray:
        return scores - np.stack([self.means[sample.problem.prompt] for sample in samples], axis=1)


class Start(NamedTuple):
    """Where all arms of a seed begin: task, policy, and its answers, those for the judge with hot ones among them."""

    scale: ScaleName
    seed: int
    size: Size
    task: PaddedSums
    policy: LanguageModel
    pool: list[Sample]
    shown: list[Sample]

    def fresh(self) -> LanguageModel:
        """The policy, to be trained."""
        return _copied(self.policy)

    def more(self, each: int) -> tuple[list[Sample], int]:
        """Other answers of the policy, `each` to every prompt, and that number."""
        problems = self.task.problems("train", KNOWN, 0)
        return _drawn(self.policy, self.task, problems, each, 1.0, 1000 + self.seed), each

    def reader(self, number: int) -> LanguageModel:
        """A frozen model whose features are read: of a tiny model, one from first weights of its own."""
        if not self.size.warm_up:
            return _frozen(self.policy)
        return _frozen(_warmed(self.size.model, 1000 * (self.seed + 1) + number, self.size.warm_up))

    def heads(self, number: int, *, members: int, pairs: int) -> LearnedReward:
        """Heads on a reader's features, each of a bootstrap sample of the same preferences.

        Where there is one pretrained model only, each reader reads another block of it.
        """
        lm, blocks = self.reader(number), self.blocks(number)
        samples, judge = self.shown, judge_of(self.task)
        told = draw_preferences(
            judge.scores([s.problem for s in samples], [s.completion for s in samples]),
            [s.problem.number for s in samples],
            temperature=TEMPERATURE,
            flip_rate=judge.flip_rate,
            pairs=pairs,
            rng=self.seed,
        )
        prompts = [lm.encode(s.problem.prompt) for s in samples]
        features = answer_features(lm, prompts, [s.ids for s in samples], layers=blocks)
        head = fit_bradley_terry(
            features[torch.tensor(told.chosen)],
            features[torch.tensor(told.rejected)],
            members=members,
            bootstrap=True,
            hidden=HIDDEN,
            l2=L2,
            learning_rate=1e-2,
            seed=1000 * self.seed + number,
        )
        return LearnedReward(lm, head, layers=blocks)

    def blocks(self, number: int) -> tuple[int, ...]:
        """Which blocks a reader reads."""
        return self.size.blocks if self.size.warm_up else tuple(block + number for block in self.size.blocks)

    def learned(self, numbers: Sequence[int], *, members: int, pairs: int) -> Members:
        """Several readers' heads, `members` of each, as one ensemble."""
        rewards = [_heads(self.scale, self.seed, number, members, pairs) for number in numbers]
        return lambda samples: np.concatenate([reward.members(samples) for reward in rewards])


@cache
def start_of(scale: ScaleName, seed: int) -> Start:
    """The start of a seed."""
    size = SIZES[scale]
    task = PaddedSums(chat=not size.warm_up)
    device = "cuda" if scale == "gpu" else "cpu"
    policy = _warmed(size.model, seed, size.warm_up) if size.warm_up else load(size.model, device=device, seed=seed)
    problems = task.problems("train", KNOWN, 0)
    hot = size.answers // 4
    pool, nonsense = (
        _drawn(policy, task, problems, group, temperature, seed)
        for group, temperature in ((size.answers - hot, 1.0), (hot, HOT))
    )
    return Start(scale, seed, size, task, policy, pool, pool + nonsense)


def settings(scale: ScaleName, seed: int) -> Settings:
    """Of a run: rewards are only centred in their group, as standardising them would undo what a transform does."""
    size = SIZES[scale]
    return Settings(
        model=size.model,
        objective="dr_grpo",
        kl_weight=0.0,
        measure_kl=True,
        prompts=size.prompts,
        group=size.group,
        steps=size.steps,
        learning_rate=size.learning_rate,
        evaluate_every=10_000,
        evaluation_problems=1,
        evaluation_samples=1,
        checkpoint_every=0,
        precision="bfloat16" if scale == "gpu" else "float32",
        device="cuda" if scale == "gpu" else "cpu",
        seed=seed,
    )


def train(scale: ScaleName, start: Start, reward: Callable, text: str, *, longer: int = 1) -> pd.DataFrame:
    """Train on a learned reward through a reward file; a row for two steps, of what was sampled.

    Args:
        scale: Whose settings.
        start: Where to begin; its policy stays as it is.
        reward: The learned reward, a `BatchSignal`.
        text: The reward file, or its text, with the source "learned" given.
        longer: Times the usual steps.
    """
    chosen = settings(scale, start.seed)
    path = RewardPath.from_toml(text, start.task, given={"learned": reward}, on_failure="stop")
    loop = Loop(chosen, language_model=start.fresh(), task=start.task, reward_path=path)
    rows = []
    for step in range(longer * chosen.steps):
        batch = loop.roll_out()
        loop.learn(batch)
        loop.step += 1
        samples = samples_of(loop.lm, batch.problems, batch.completions)
        rows.append({"step": step // STEPS_OF_A_ROW * STEPS_OF_A_ROW, **measured(start.task, batch, samples)})
    return pd.DataFrame(rows).groupby("step").mean().reset_index().round(5)


def measured(task: PaddedSums, batch: Batch, samples: Sequence[Sample]) -> Mapping[str, float]:
    """What a batch is like, before it is learned from; the divergence is in nats an answer, unbiased."""
    completions = batch.completions
    gaps = (completions.log_probs - batch.reference_log_probs) * completions.mask
    return {
        "kl": float(gaps.sum(1).mean()),
        "gold": float(np.mean([task.verify(s.problem, s.completion) for s in samples])),
        "right": float(np.mean([task.right(s.problem, s.completion) for s in samples])),
        "padding": float(np.mean([task.padding(s.completion) for s in samples])),
        "learned": float(batch.rewards.signals["learned"].mean()),
    }


@cache
def _heads(scale: ScaleName, seed: int, number: int, members: int, pairs: int) -> LearnedReward:
    return start_of(scale, seed).heads(number, members=members, pairs=pairs)


@cache
def _warmed(model: str, seed: int, steps: int) -> LanguageModel:
    lm = load(model, seed=seed)
    warm_up(lm, PaddedSums().demonstrations(), steps=steps, batch_size=168, learning_rate=1e-2, seed=seed)
    return lm


def _copied(lm: LanguageModel) -> LanguageModel:
    return LanguageModel(copy.deepcopy(lm.model), lm.tokenizer, lm.name, lm.chat)


def _frozen(lm: LanguageModel) -> LanguageModel:
    frozen = _copied(lm)
    frozen.model.requires_grad_(False)
    return frozen


def _drawn(
    lm: LanguageModel, task: PaddedSums, problems: Sequence[Problem], group: int, temperature: float, seed: int
) -> list[Sample]:
    completions = sample(
        lm,
        [lm.encode(problem.prompt) for problem in problems],
        group=group,
        max_new_tokens=task.max_new_tokens,
        temperature=temperature,
        generator=torch.Generator(device=lm.device).manual_seed(seed),
    )
    return samples_of(lm, problems, completions)
