"""From samples and a judge with known flaws to a learned reward, measured on prompts that it has not seen."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool

from llm_scale.models.language_model import LanguageModel
from llm_scale.reward_models.features import answer_features, token_features
from llm_scale.reward_models.fitting import fit_bradley_terry, fit_process_head
from llm_scale.reward_models.flaws import Flaw, FlawedReward, flawed_step_labels
from llm_scale.reward_models.head_report import HeadReport, StepReport, report_head, report_steps
from llm_scale.reward_models.learned_signal import LearnedReward, LearnedStepReward, as_read, frozen_weights
from llm_scale.reward_models.preferences import Preferences, draw_preferences
from llm_scale.rewards.sample import Decoder, Sample
from llm_scale.rewards.steps import steps_of
from llm_scale.tasks.task import Problem, Task
from rewardlab.checks import as_generator, check_scalar

__all__ = ["Learned", "LearnedSteps", "learn_reward", "learn_step_reward", "samples_of_texts"]


class Learned(NamedTuple):
    """A learned reward, and how it does on held-out prompts; the preferences drawn among these, by their samples."""

    reward: LearnedReward
    report: HeadReport
    held_out: list[Sample]
    preferences: Preferences


class LearnedSteps(NamedTuple):
    """A learned reward of steps, and how it does on held-out prompts."""

    reward: LearnedStepReward
    report: StepReport


def samples_of_texts(lm: LanguageModel, problems: Sequence[Problem], texts: Sequence[Sequence[str]]) -> list[Sample]:
    """Answers that were written otherwise than by sampling, as samples: some for every problem, all of them ended."""
    decode = Decoder(lm.tokenizer)
    answers = [(row, problem, text) for row, problem in enumerate(problems) for text in texts[row]]
    return [
        Sample(problem, text, lm.encode_completion(text), True, row, prompt_row, decode)
        for row, (prompt_row, problem, text) in enumerate(answers)
    ]


def learn_reward(
    lm: LanguageModel,
    samples: Sequence[Sample],
    judge: FlawedReward,
    *,
    layers: Sequence[int] = (-1,),
    members: int = 1,
    pairs: int | None = None,
    temperature: float = 1.0,
    l2: float = 1e-2,
    hidden: int = 0,
    combine: str = "mean",
    retokenise: bool = False,
    held_out: float = 0.25,
    rng: int | np.random.Generator,
) -> Learned:
    """Fit a Bradley-Terry reward to what a judge prefers among the samples of each prompt.

    Args:
        lm: Its frozen weights' states are the features.
        samples: Several of each prompt, which `prompt_row` tells apart.
        judge: Whose preferences they are; its noise is among its flaws.
        layers: As for `LearnedReward`.
        members: Size of the ensemble.
        pairs: Number of preferences to fit, out of all pairs within prompts; None for all.
        temperature: Of the judge, in units of its scores.
        l2: As for `fit_bradley_terry`.
        hidden: As for `fit_bradley_terry`.
        combine: As for `LearnedReward`.
        retokenise: As for `LearnedReward`.
        held_out: Share of the prompts for the report, above 0 and below 1; at least one prompt on each side.
        rng: Seed or generator.

    Returns:
        The reward; the report is of all pairs of the held-out prompts, with gold the judge's without flaws and lengths
        in characters.

    Raises:
        ValueError: If there are no two prompts, or none of several samples on one of the two sides.
    """
    rng = as_generator(rng)
    samples = [as_read(lm, sample, retokenise=retokenise) for sample in samples]
    tested = _held_out([sample.prompt_row for sample in samples], held_out, rng)
    train, test = ([s for s, out in zip(samples, tested, strict=True) if out == side] for side in (False, True))
    asked = {"temperature": temperature, "flip_rate": judge.flip_rate, "rng": rng}
    fitted, held = (
        draw_preferences(_judged(judge, part), _prompts_of(part), pairs=number, **asked)
        for part, number in ((train, pairs), (test, None))
    )
    with frozen_weights(lm):
        features = answer_features(
            lm, [lm.encode(s.problem.prompt) for s in train], [s.ids for s in train], layers=layers
        )
    seed = int(rng.integers(2**31))
    head = fit_bradley_terry(
        features[torch.tensor(fitted.chosen)],
        features[torch.tensor(fitted.rejected)],
        members=members,
        l2=l2,
        hidden=hidden,
        seed=seed,
    )
    head.facts |= {"model": lm.name, "layers": list(layers)}
    reward = LearnedReward(lm, head, layers=layers, combine=combine, retokenise=retokenise)
    gold = np.array([float(judge.gold(sample.problem, sample.completion)) for sample in test])
    lengths = np.array([len(sample.completion) for sample in test])
    report = report_head(reward.members(test), held, gold=gold, lengths=lengths, group_ids=_prompts_of(test))
    return Learned(reward, report, test, held)


def learn_step_reward(
    lm: LanguageModel,
    task: Task,
    samples: Sequence[Sample],
    flaws: Sequence[Flaw] = (),
    *,
    layers: Sequence[int] = (-1,),
    members: int = 1,
    l2: float = 1e-2,
    hidden: int = 0,
    combine: str = "mean",
    retokenise: bool = False,
    held_out: float = 0.25,
    rng: int | np.random.Generator,
) -> LearnedSteps:
    """Fit a process reward to the labels that a judge with flaws gives the steps of the samples.

    Args:
        lm: Its frozen weights' states at the ends of steps are the features.
        task: Splits answers into steps and has their gold labels.
        samples: The answers.
        flaws: The judge's; see `flawed_step_labels`.
        layers: As for `LearnedReward`.
        members: Size of the ensemble.
        l2: As for `fit_process_head`.
        hidden: As for `fit_process_head`.
        combine: As for `LearnedReward`.
        retokenise: As for `LearnedReward`.
        held_out: As for `learn_reward`.
        rng: Seed or generator.

    Raises:
        ValueError: If the task has no steps or labels of them, there are no two prompts, or no step on one side.
    """
    rng = as_generator(rng)
    samples = [as_read(lm, sample, retokenise=retokenise) for sample in samples]
    tested = _held_out([sample.prompt_row for sample in samples], held_out, rng)
    cut = [steps_of(sample, task.steps) for sample in samples]
    labels = [
        flawed_step_labels(task, s.problem, texts, flaws, rng) for s, (texts, _) in zip(samples, cut, strict=True)
    ]
    train = np.flatnonzero(~tested)
    with frozen_weights(lm):
        features = token_features(
            lm,
            [lm.encode(samples[row].problem.prompt) for row in train],
            [samples[row].ids for row in train],
            [cut[row][1] for row in train],
            layers=layers,
        )
    targets = torch.tensor([label for row in train for label in labels[row]], dtype=torch.float64)
    seed = int(rng.integers(2**31))
    head = fit_process_head(features, targets, members=members, l2=l2, hidden=hidden, seed=seed)
    head.facts |= {"model": lm.name, "layers": list(layers)}
    reward = LearnedStepReward(lm, head, layers=layers, combine=combine, retokenise=retokenise)
    test = np.flatnonzero(tested)
    parts = [samples[row] for row in test], [cut[row][0] for row in test], [cut[row][1] for row in test]
    scores = [score for of_sample in reward(*parts) for score in of_sample]
    gold = [label for row in test for label in task.step_labels(samples[row].problem, cut[row][0])]
    judged = [label for row in test for label in labels[row]]
    return LearnedSteps(reward, report_steps(scores, judged, gold))


def _held_out(prompts: Sequence[int], share: float, rng: np.random.Generator) -> Bool[np.ndarray, " samples"]:
    """Which samples belong to held-out prompts."""
    check_scalar("held_out", share, low=0, high=1)
    distinct = np.unique(prompts)
    if len(distinct) < 2:
        raise ValueError(f"the samples are of {len(distinct)} prompt(s), expected at least two: one has to be held out")
    number = min(max(round(share * len(distinct)), 1), len(distinct) - 1)
    return np.isin(prompts, rng.permutation(distinct)[:number])


def _prompts_of(samples: Sequence[Sample]) -> list[int]:
    return [sample.prompt_row for sample in samples]


def _judged(judge: FlawedReward, samples: Sequence[Sample]) -> np.ndarray:
    return judge.scores([sample.problem for sample in samples], [sample.completion for sample in samples])
