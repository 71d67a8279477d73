"""Scores of a batch's samples, with whatever goes wrong put down to the sample that it went wrong for."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from llm_scale.rewards.process_rewards import Process, ScoredSteps, check_scores
from llm_scale.rewards.sample import Sample
from llm_scale.rewards.sources import Given, Verifier
from llm_scale.rewards.steps import steps_of
from llm_scale.tasks.task import Task
from llm_scale.tasks.verifying import Failure as VerifierFailure
from llm_scale.tasks.verifying import verify_all
from rewardlab.adapters.samples import NUMBER, Signal

__all__ = ["Failure", "RewardError", "score_signals", "score_steps"]

STEPS = "process"  # what the scores of steps are called among the signals


@dataclass(frozen=True)
class Failure:
    """A signal that has no score for a sample because something went wrong.

    Args:
        signal: Its name; "process" for the scores of steps.
        row: The sample's place in the batch.
        sample: The sample, in words: its row, its prompt's, and the beginning of both texts.
        reason: What went wrong.
    """

    signal: str
    row: int
    sample: str
    reason: str

    def __str__(self) -> str:
        return f"signal {self.signal!r} failed for {self.sample}: {self.reason}"


class RewardError(ValueError):
    """A signal failed, and the reward path is to stop then."""


def score_signals(
    signals: Mapping[str, Signal], samples: Sequence[Sample], *, stop: bool
) -> tuple[dict[str, Float[np.ndarray, " samples"]], list[Failure]]:
    """Score every sample with every signal.

    Args:
        signals: Functions of one sample by name.
        samples: The answers.
        stop: Whether a failure is an error.

    Returns:
        Scores in float64, NaN where a signal does not apply or failed; and the failures.

    Raises:
        RewardError: If a signal failed and that is to stop.
        TypeError, ValueError: If a score is no number, or infinite; names signal, prompt and sample.
    """
    scores, failures = {}, []
    for name, signal in signals.items():
        if isinstance(signal, Verifier):
            found = _verified(signal, samples)
        elif isinstance(signal, Given):
            found = _by_batch(signal.batch, samples)
        else:
            found = [_tried(lambda one, signal=signal: _one(signal, one), sample) for sample in samples]
        values = np.full(len(samples), math.nan)
        for row, (sample, score) in enumerate(zip(samples, found, strict=True)):
            if isinstance(score, _Failed):
                failures.append(_failure(name, row, sample, score, stop))
            else:
                values[row] = _number(score, name, sample)
        scores[name] = values
    return scores, failures


def score_steps(
    process: Process, task: Task, samples: Sequence[Sample], absent: set[int], *, stop: bool
) -> tuple[list[ScoredSteps], list[Failure]]:
    """Find, score and pay the steps of every sample.

    Args:
        process: How steps are scored and paid.
        task: Says what the steps are.
        samples: The answers.
        absent: Rows of samples that have no part in training any more; they have no steps.
        stop: Whether a failure is an error.

    Returns:
        The steps of each sample, and the failures: samples whose text could not be cut into steps or not be scored.

    Raises:
        RewardError: If that is to stop.
        TypeError, ValueError: If a score is no number, or outside [0, 1]; names prompt, sample and step.
    """
    cut, failures = {}, []
    for row, sample in enumerate(samples):
        if row in absent:
            continue
        found = _tried(lambda one: steps_of(one, task.steps), sample)
        if isinstance(found, _Failed):
            failures.append(_failure(STEPS, row, sample, found, stop))
        elif found[0]:
            cut[row] = found
    scores: dict[int, list[float]] = {}
    for row, found in zip(cut, _step_scores(process, samples, cut), strict=True):
        checked = found if isinstance(found, _Failed) else check_scores(found, cut[row][0], samples[row])
        if checked is None:
            checked = _Failed("a step has no score")
        if isinstance(checked, _Failed):
            failures.append(_failure(STEPS, row, samples[row], checked, stop))
        else:
            scores[row] = checked
    paid = dict(zip(scores, process.refined(list(scores.values())), strict=True)) if scores else {}
    nothing = ScoredSteps([], [], [], [])
    steps = [ScoredSteps(*cut[row], scores[row], paid[row]) if row in paid else nothing for row in range(len(samples))]
    return steps, failures


@dataclass(frozen=True)
class _Failed:
    reason: str
    error: Exception | None = None


def _tried(score: Callable[[Sample], Any], sample: Sample) -> Any:
    try:
        return score(sample)
    except Exception as error:  # a signal may be anyone's
        return _Failed(f"{type(error).__name__}: {error}", error)


def _one(signal: Signal, sample: Sample) -> Any:
    problem = sample.problem
    return signal(
        problem.prompt,
        sample.completion,
        problem=problem,
        gold=problem.gold,
        number=problem.number,
        completion_ids=sample.ids,
        ended=sample.ended,
    )


def _verified(signal: Verifier, samples: Sequence[Sample]) -> list[Any]:
    problems, texts = [sample.problem for sample in samples], [sample.completion for sample in samples]
    found = verify_all(signal.task, problems, texts, seconds=signal.seconds)
    return [_Failed(score.reason) if isinstance(score, VerifierFailure) else score for score in found]


def _by_batch(score: Callable[..., Sequence], samples: Sequence[Sample], *parts: Sequence) -> list[Any]:
    """Scores of a batch; if that fails, of each sample alone, so that it is known for which."""
    found = _tried(lambda _: _as_list(score(samples, *parts), len(samples)), samples[0]) if samples else []
    if not isinstance(found, _Failed):
        return found
    alone = zip(samples, *parts, strict=True)
    return [_tried(lambda _, one=one: _as_list(score(*([part] for part in one)), 1)[0], one[0]) for one in alone]


def _step_scores(process: Process, samples: Sequence[Sample], cut: Mapping[int, tuple[list, list]]) -> list[Any]:
    return _by_batch(
        process.source,
        [samples[row] for row in cut],
        [texts for texts, _ in cut.values()],
        [ends for _, ends in cut.values()],
    )


def _as_list(scores: Any, number: int) -> list[Any]:
    scores = scores.tolist() if hasattr(scores, "tolist") else list(scores)
    if len(scores) != number:
        raise ValueError(f"there are {len(scores)} scores for {number} samples")
    return scores


def _failure(name: str, row: int, sample: Sample, failed: _Failed, stop: bool) -> Failure:
    failure = Failure(name, row, str(sample), failed.reason)
    if stop:
        raise RewardError(str(failure)) from failed.error
    return failure


def _number(value: Any, name: str, sample: Sample) -> float:
    if value is None:
        return math.nan
    if not isinstance(value, NUMBER):
        raise TypeError(
            f"signal {name!r} is a {type(value).__name__} ({value!r:.60}) for {sample}, expected one number, or None "
            f"where it does not apply"
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if math.isinf(number):
        raise ValueError(f"signal {name!r} is {number} for {sample}, expected a finite number")
    return number
