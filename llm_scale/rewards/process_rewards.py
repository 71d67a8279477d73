"""Rewards of steps: the section [process] of a reward file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, get_args

import numpy as np

from environments.reasoning.synthetic_prm import SyntheticPRM
from llm_scale.rewards.sample import Sample
from llm_scale.rewards.sources import built, kind_and_settings, problem_of
from llm_scale.tasks.chains import ChainsTask
from llm_scale.tasks.task import Task
from rewardlab.adapters.samples import NUMBER
from rewardlab.checks import check_choice, check_scalar
from rewardlab.process import pad_steps, refine
from rewardlab.process.refine import LastStep, Mode

__all__ = ["Process", "ScoredSteps", "StepSignal", "process_of"]

Credit = Literal["token", "sequence"]


class StepSignal(Protocol):
    """Scores the steps of many samples at once, in [0, 1]; NaN where it cannot, None for a whole sample."""

    def __call__(
        self, samples: Sequence[Sample], steps: Sequence[Sequence[str]], step_ends: Sequence[Sequence[int]]
    ) -> Sequence[Sequence[float] | None]:
        """Scores of the steps of each sample, given their texts and the index of each step's last token."""
        ...


@dataclass(frozen=True)
class StepLabels:
    """The task's own opinion of each step: a process reward model without a fault."""

    task: Task

    def __call__(
        self, samples: Sequence[Sample], steps: Sequence[Sequence[str]], step_ends: Sequence[Sequence[int]]
    ) -> list[Sequence[float] | None]:
        return [
            self.task.step_labels(sample.problem, list(texts)) for sample, texts in zip(samples, steps, strict=True)
        ]


@dataclass(frozen=True)
class FlawedLabels:
    """A process reward model made by hand: lines that state nothing please it as much as right ones.

    For tasks of arithmetic chains. The faults are `environments.reasoning.SyntheticPRM`'s and told there.
    """

    task: ChainsTask
    right: float = 0.9
    wrong: float = 0.1
    filler: float = 0.9
    carried: float | None = None
    blindness: float = 0.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.task, ChainsTask):
            raise ValueError(f"flawed_labels judge arithmetic chains, got task {self.task.name!r}")
        self._judge()

    def __call__(
        self, samples: Sequence[Sample], steps: Sequence[Sequence[str]], step_ends: Sequence[Sequence[int]]
    ) -> list[Sequence[float]]:
        judge = self._judge()
        return [judge(self.task.chain(one.problem), texts) for one, texts in zip(samples, steps, strict=True)]

    def _judge(self) -> SyntheticPRM:
        return SyntheticPRM(**{entry.name: getattr(self, entry.name) for entry in fields(SyntheticPRM)})


@dataclass(frozen=True)
class GivenSteps:
    """Scores of steps from an object with a method `steps(samples, step_ends)`, such as a `LearnedStepReward`."""

    learned: Any

    def __call__(
        self, samples: Sequence[Sample], steps: Sequence[Sequence[str]], step_ends: Sequence[Sequence[int]]
    ) -> Sequence[Sequence[float]]:
        return self.learned.steps(samples, step_ends)


STEP_SOURCES = {"step_labels": StepLabels, "flawed_labels": FlawedLabels}


@dataclass(frozen=True)
class ScoredSteps:
    """The steps of one sample.

    Args:
        texts: What they say.
        ends: Index of each one's last token among the sample's.
        scores: What the process reward model gives each, in [0, 1].
        rewards: What is paid for each: refined and weighted.
    """

    texts: list[str]
    ends: list[int]
    scores: list[float]
    rewards: list[float]


@dataclass(frozen=True, kw_only=True)
class Process:
    """How steps are scored and paid.

    Args:
        source: Scores the steps.
        mode: How scores become rewards; see `rewardlab.process.refine`.
        weight: How much these count beside the reward of the whole answer, at least 0.
        threshold: Of the clip modes, in [0, 1].
        last_step: Of the difference modes.
        temperature: Of `min_form`.
        credit: "token" pays each step at its last token, for advantages of tokens; "sequence" adds their sum to the
            reward of the whole answer, of which the difference modes leave but the first step's score.
    """

    source: StepSignal
    mode: Mode
    weight: float
    threshold: float | None = None
    last_step: LastStep = "drop"
    temperature: float = 0.1
    credit: Credit = "token"

    def __post_init__(self) -> None:
        check_scalar("weight", self.weight, low=0.0)
        for name, choices in {"mode": Mode, "last_step": LastStep, "credit": Credit}.items():
            check_choice(name, getattr(self, name), get_args(choices))
        self.refined([[0.5]])  # its checks, before training

    def refined(self, scores: Sequence[Sequence[float]]) -> list[list[float]]:
        """Rewards of the steps of several samples, weighted."""
        padded = pad_steps(scores)
        options = {"threshold": self.threshold, "last_step": self.last_step, "temperature": self.temperature}
        values = self.weight * refine(padded.values, padded.mask, self.mode, **options)
        return [row[: len(of_sample)].tolist() for row, of_sample in zip(values, scores, strict=True)]

    def step_scores(self, prompt: Any, completion: Any, steps: Sequence[str], **columns: Any) -> Sequence[float]:
        """Score the steps of one completion, in the form of `rewardlab.adapters.trl_steps.StepGRPOTrainer`.

        That one's steps are lines with their ends, which are taken off here.
        """
        ids = [int(token) for token in columns.get("completion_ids") or ()]
        sample = Sample(problem_of(prompt, columns), "".join(steps), ids, True, 0, 0)
        return self.source([sample], [[step.strip() for step in steps]], [[]])[0]


def process_of(table: Any, task: Task, given: Mapping[str, StepSignal]) -> Process:
    """The section [process] of a reward file.

    Raises:
        ValueError: If a setting is missing, unknown or out of range, the task has no steps, or nothing was handed in.
    """
    if not isinstance(table, Mapping):
        raise ValueError(f"process: expected a table, got {table!r}")
    known = [entry.name for entry in fields(Process)]
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise ValueError(f"process: unknown setting {unknown[0]!r}, expected {', '.join(known)}")
    missing = [name for name in ("source", "mode", "weight") if name not in table]
    if missing:
        raise ValueError(f"process: {missing[0]!r} is missing")
    if task.steps("one line") is None:
        raise ValueError(f"process: task {task.name!r} has no steps to reward: its steps(completion) gives None")
    source = _source(table["source"], task, given)
    try:
        return Process(**{**table, "source": source})
    except (TypeError, ValueError) as error:
        raise ValueError(f"process: {error}") from None


def _source(table: Any, task: Task, given: Mapping[str, Any]) -> StepSignal:
    kind, settings = kind_and_settings(table, "process.source")
    if kind != "given":
        return built(STEP_SOURCES, kind, settings, task, "process.source")
    if "process" not in given:
        raise ValueError("process.source: is to be handed in: from_toml(..., given={'process': ...})")
    learned = given["process"]
    return GivenSteps(learned) if hasattr(learned, "steps") else learned


def check_scores(scores: Any, steps: Sequence[str], sample: Sample) -> list[float] | None:
    """One sample's scores as floats; None where one is missing.

    Raises:
        TypeError: If they are no numbers.
        ValueError: If there are not as many as steps, or one is outside [0, 1] or infinite; names sample and step.
    """
    if scores is None:
        return None
    values = np.asarray(scores.tolist() if hasattr(scores, "tolist") else list(scores), dtype=object)
    if values.shape != (len(steps),):
        raise ValueError(f"there are scores of shape {values.shape} for the {len(steps)} steps of {sample}")
    for step, value in enumerate(values):
        if value is None or value != value:
            return None
        if not isinstance(value, NUMBER):
            raise TypeError(
                f"score of step {step} ({steps[step]!r:.60}) of {sample} is {value!r:.60}, expected a number"
            )
        if not 0 <= value <= 1:
            raise ValueError(
                f"score of step {step} ({steps[step]!r:.60}) of {sample} is {value}, expected one in [0, 1]"
            )
    return [float(value) for value in values]
