"""A model's own answers to sums: what they are worth in truth, and to rewards learned from preferences among them."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from llm_scale.experiments.lm_addition import distinct
from llm_scale.models.language_model import LanguageModel
from llm_scale.models.loading import load
from llm_scale.models.warm_start import WarmUp, warmed_up
from llm_scale.reward_models.features import answer_features
from llm_scale.reward_models.fitting import fit_bradley_terry
from llm_scale.reward_models.preferences import draw_preferences
from llm_scale.rewards.sources import SOURCES
from llm_scale.rollouts.sampling import sample
from llm_scale.tasks.loading import task as task_by_name
from llm_scale.tasks.task import Problem, Task

__all__ = ["Answers", "Asked", "Scores", "answers", "graded", "learned"]

WORTH = {"verifier": 1.0, "digit_overlap": 0.5, "brevity": 0.25}  # of a right, half right and brief answer
JUDGE = 0.2  # temperature of preferences, in units of gold
L2 = 0.1  # of the learned heads, which have more features than preferences

Scores = Float[np.ndarray, "prompts samples"]


@dataclass(frozen=True)
class Asked:
    """What a model is asked.

    Args:
        model: By name.
        task: By name.
        layer: Whose states learned rewards read.
        tokens: Of an answer, at most.
        prompts: Sums, held-out ones first.
        samples: Answers to each that rewards are compared on.
        to_learn: Further answers to each, which rewards are learned from.
        at_once: Sums whose answers are drawn, and kept, together.
        warm_up: Of the model; None takes it as it comes.
        device: Where it runs.
    """

    model: str
    task: str
    layer: int
    tokens: int
    prompts: int
    samples: int
    to_learn: int
    at_once: int
    warm_up: WarmUp | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class Answers:
    """Answers to every prompt.

    Args:
        problems: The sums.
        texts: What was answered, `(prompts, samples + to_learn)`.
        features: Hidden states at the answers' ends, `(prompts, samples + to_learn, width)`.
    """

    problems: Sequence[Problem]
    texts: np.ndarray
    features: Float[np.ndarray, "prompts answers width"]


def answers(asked: Asked, seed: int, folder: Path) -> Answers:
    """Sample answers at temperature 1, and keep them in the folder part by part: an interrupted call goes on."""
    folder.mkdir(parents=True, exist_ok=True)
    task, lm = task_by_name(asked.task), None
    every = [*distinct(task, "test", asked.prompts), *distinct(task, "train", asked.prompts)][: asked.prompts]
    parts = []
    for first in range(0, len(every), asked.at_once):
        kept = folder / f"from_{first}.npz"
        if not kept.is_file():
            lm = lm or _model(asked, task, seed)
            drawn = _drawn(lm, every[first : first + asked.at_once], asked, seed * 10_000 + first)
            with open(kept.with_suffix(".part"), "wb") as file:
                np.savez(file, **drawn)
            os.replace(kept.with_suffix(".part"), kept)
        with np.load(kept, allow_pickle=False) as file:
            parts.append((file["texts"], file["features"]))
    texts, features = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Answers(every, texts, features)


def graded(asked: Asked, given: Answers) -> tuple[Scores, Scores]:
    """What every answer is worth in truth, and its length in characters.

    A right answer is worth 1, the right digits in the right places up to 0.5 more, brevity up to 0.25.
    """
    task = task_by_name(asked.task)
    sources = {name: SOURCES[name](task) for name in WORTH}
    gold = [
        [sum(WORTH[name] * sources[name](None, str(text), problem=problem) for name in WORTH) for text in row]
        for problem, row in zip(given.problems, given.texts, strict=True)
    ]
    return np.array(gold), np.char.str_len(given.texts).astype(float)


def learned(
    asked: Asked, given: Answers, gold: Scores, amounts: Sequence[int], replicates: int, rng: np.random.Generator
) -> dict[tuple[str, float, int], Scores]:
    """Scores of heads fitted to some numbers of preferences between further answers to the same prompts."""
    features = torch.tensor(given.features)
    seen, scored = features[:, asked.samples :].flatten(0, 1), features[:, : asked.samples]
    prompts = np.repeat(np.arange(len(gold)), asked.to_learn)
    found = {}
    for amount in amounts:
        for replicate in range(replicates):
            judged = draw_preferences(
                gold[:, asked.samples :].ravel(), prompts, temperature=JUDGE, pairs=amount, rng=rng
            )
            head = fit_bradley_terry(seen[judged.chosen], seen[judged.rejected], l2=L2)
            found["learned", float(amount), replicate] = head.score(scored)[0].numpy()
    return found


def _model(asked: Asked, task: Task, seed: int) -> LanguageModel:
    if asked.warm_up is None:
        return load(asked.model, device=asked.device, seed=seed)
    return warmed_up(asked.model, task, asked.warm_up, seed=seed, device=asked.device)


def _drawn(lm: LanguageModel, problems: Sequence[Problem], asked: Asked, seed: int) -> dict[str, np.ndarray]:
    group = asked.samples + asked.to_learn
    prompts = [lm.encode(problem.prompt) for problem in problems]
    generator = torch.Generator(device=lm.device).manual_seed(seed)
    drawn = sample(lm, prompts, group=group, max_new_tokens=asked.tokens, generator=generator)
    ids = [drawn.completion_of(row) for row in range(drawn.samples)]
    repeated = [prompt for prompt in prompts for _ in range(group)]
    features = answer_features(lm, repeated, ids, layers=[asked.layer]).cpu().numpy()
    texts = np.array([lm.decode(one) for one in ids], dtype=np.str_)
    return {"texts": texts.reshape(-1, group), "features": features.reshape(len(prompts), group, -1)}
