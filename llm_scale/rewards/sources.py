"""Signals that a reward file can name: functions of one sample, which run in any trainer.

Each is called `signal(prompt, completion, **columns)`, the form of `rewardlab.adapters.samples`, and returns a number,
or None where it does not apply. What they need beside the text they find in the columns: `problem`, or the columns
`gold` (or `ground_truth`, as verl calls it, or `label`, as OpenRLHF does), `number` and `data` that `columns_of` makes
of it for another trainer's data set.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal, Protocol, get_args

import torch

from llm_scale.objectives.dapo import soft_overlong_penalty
from llm_scale.rewards.sample import Sample
from llm_scale.tasks.answers import last_number
from llm_scale.tasks.task import Problem, Task
from llm_scale.tasks.verifying import Failure, verify_all
from rewardlab.adapters.samples import Signal, completion_text
from rewardlab.checks import check_choice, check_scalar

__all__ = ["SOURCES", "BatchSignal", "Given", "columns_of", "problem_of", "source_of"]

GOLD = ("gold", "ground_truth", "label")
Unit = Literal["characters", "tokens"]


class BatchSignal(Protocol):
    """A signal that scores many samples at once, as a learned reward does; None or NaN where it does not apply."""

    def __call__(self, samples: Sequence[Sample]) -> Sequence[float | None]:
        """One score a sample."""
        ...


def columns_of(problem: Problem) -> dict[str, Any]:
    """A problem as a row of another trainer's data set, from which signals can rebuild it.

    Raises:
        TypeError: If the problem's data are not what JSON can hold.

    Example:
        >>> columns_of(Problem("1 + 1?", "2", 11, {"left": 1}))
        {'prompt': '1 + 1?', 'gold': '2', 'number': 11, 'data': '{"left": 1}'}
    """
    try:
        data = json.dumps(dict(problem.data))  # as text: rows of a data set must have the same fields
    except TypeError as error:
        raise TypeError(f"data of problem {problem.number} ({problem.prompt!r:.60}) cannot be JSON: {error}") from None
    return {"prompt": problem.prompt, "gold": problem.gold, "number": problem.number, "data": data}


def problem_of(prompt: Any, columns: Mapping[str, Any]) -> Problem:
    """The problem of a sample, from what a trainer passes with it.

    Raises:
        ValueError: If neither the problem nor a gold answer is among the columns.
    """
    if isinstance(columns.get("problem"), Problem):
        return columns["problem"]
    gold = next((columns[name] for name in GOLD if name in columns), None)
    if gold is None:
        raise ValueError(f"columns {sorted(columns)}: expected the right answer under one of {', '.join(GOLD)}")
    text = columns.get("question") if prompt is None else _last_message(prompt)
    data = columns.get("data") or {}
    return Problem(
        text or "", str(gold), int(columns.get("number", 0)), json.loads(data) if isinstance(data, str) else data
    )


def _last_message(prompt: Any) -> str:
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])


@dataclass(frozen=True)
class Verifier:
    """Is the answer right? The task's own rule, in [0, 1].

    In other trainers too it has a time limit. There a failure is an error: a score that is merely missing would leave
    the decision to the other signals.

    Args:
        seconds: Time that it has for one answer.
    """

    task: Task
    seconds: float = 5.0

    def __post_init__(self) -> None:
        check_scalar("seconds", self.seconds, low=0.0, open_low=True)

    def __call__(self, prompt: Any, completion: Any, **columns: Any) -> float:
        problem, text = problem_of(prompt, columns), completion_text(completion)
        score = verify_all(self.task, [problem], [text], seconds=self.seconds)[0]
        if isinstance(score, Failure):
            raise RuntimeError(f"problem {problem.number} (prompt {problem.prompt!r:.60}): {score.reason}")
        return score


@dataclass(frozen=True)
class Format:
    """Does the answer have the form that was asked for? The task's rule, or a pattern that all of it must match.

    Args:
        pattern: Regular expression for the answer without the white space around it; the task's rule where left out.
            It has no time limit: of nested repetitions, such as `(a+)+b`, an answer can make use to halt the training.
    """

    task: Task
    pattern: str | None = None

    def __post_init__(self) -> None:
        if self.pattern is not None:
            try:
                re.compile(self.pattern)
            except re.error as error:
                raise ValueError(f"pattern {self.pattern!r} is no regular expression: {error}") from None

    def __call__(self, prompt: Any, completion: Any, **columns: Any) -> float:
        text = completion_text(completion)
        if self.pattern is None:
            return float(self.task.format_ok(text))
        return float(re.fullmatch(self.pattern, text.strip()) is not None)


@dataclass(frozen=True)
class Length:
    """How long is the answer? In characters, or in tokens, of which the one that ends it is one."""

    task: Task
    unit: Unit = "characters"

    def __post_init__(self) -> None:
        check_choice("unit", self.unit, get_args(Unit))

    def __call__(self, prompt: Any, completion: Any, **columns: Any) -> float:
        if self.unit == "characters":
            return float(len(completion_text(completion)))
        if columns.get("completion_ids") is None:
            raise ValueError(f'columns {sorted(columns)}: no completion_ids to count; use unit = "characters"')
        return float(len(columns["completion_ids"]))


@dataclass(frozen=True)
class Brevity(Length):
    """Is the answer brief? 1 up to the target, from there on target / length: 0.5 at twice the target.

    Args:
        target: Length up to which shorter is no better, above 0.
    """

    target: float = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_scalar("target", self.target, low=0.0, open_low=True)

    def __call__(self, prompt: Any, completion: Any, **columns: Any) -> float:
        return min(1.0, self.target / max(super().__call__(prompt, completion, **columns), 1.0))


@dataclass(frozen=True)
class Overlong(Length):
    """Penalty of answers near the limit: 0 up to limit - cushion, then falling to -1 at the limit and beyond.

    Args:
        limit: Length that is too long, a whole number.
        cushion: How far below the limit the penalty begins, from 1 to the limit.
    """

    limit: int = 0
    cushion: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._penalty(0)  # its checks

    def __call__(self, prompt: Any, completion: Any, **columns: Any) -> float:
        return self._penalty(super().__call__(prompt, completion, **columns))

    def _penalty(self, length: float) -> float:
        return float(soft_overlong_penalty(torch.tensor([length]), self.limit, self.cushion)[0])


@dataclass(frozen=True)
class ContainsDigit:
    """Is there any digit? A reward that is easy to earn and says little: a misspecified one, to study."""

    task: Task

    def __call__(self, prompt: Any, completion: Any, **columns: Any) -> float:
        return float(re.search(r"[0-9]", completion_text(completion)) is not None)


@dataclass(frozen=True)
class DigitOverlap:
    """Which share of the right answer's digits stands where it should in the last number of the answer?

    Digits are compared from the last one on, against the longer of the two numbers: 1 only for the right one.
    """

    task: Task

    def __call__(self, prompt: Any, completion: Any, **columns: Any) -> float:
        right, said = last_number(problem_of(prompt, columns).gold), last_number(completion_text(completion))
        if right is None or said is None:
            return None if right is None else 0.0
        one, other = (str(number)[::-1] for number in (right, said))
        return sum(a == b for a, b in zip(one, other, strict=False)) / max(len(one), len(other))


@dataclass(frozen=True)
class Given:
    """A signal that the caller hands in, such as a learned reward; scores whole batches.

    Args:
        batch: Scores samples at once.
    """

    batch: BatchSignal

    def __call__(self, prompt: Any, completion: Any, **columns: Any) -> float | None:
        """Score one sample, for trainers that have no more at a time; TRL alone passes its tokens too."""
        ids = [int(token) for token in columns.get("completion_ids") or ()]
        sample = Sample(_any_problem(prompt, columns), completion_text(completion), ids, True, 0, 0)
        return self.batch([sample])[0]


def _any_problem(prompt: Any, columns: Mapping[str, Any]) -> Problem:
    known = "problem" in columns or any(name in columns for name in GOLD)
    return problem_of(prompt, columns) if known else Problem(_last_message(prompt), "", 0)


SOURCES: dict[str, Callable[..., Signal]] = {
    "verifier": Verifier,
    "format": Format,
    "length": Length,
    "brevity": Brevity,
    "overlong": Overlong,
    "contains_digit": ContainsDigit,
    "digit_overlap": DigitOverlap,
}


def source_of(name: str, table: Any, task: Task, given: Mapping[str, BatchSignal], seconds: float = 5.0) -> Signal:
    """The signal that an entry of a reward file describes.

    Args:
        name: The signal's name.
        table: Its kind, or a table with its kind and settings.
        task: The task whose rules it may use.
        given: Signals that were handed in, by name, for the kind "given".
        seconds: Time that a verifier has for one answer, where the entry does not say.

    Raises:
        ValueError: If the kind is unknown, a setting is missing, unknown or out of range, or nothing was handed in.
    """
    where = f"sources.{name}"
    kind, settings = kind_and_settings(table, where)
    if kind == "verifier":
        settings = {"seconds": seconds} | settings
    if kind != "given":
        return built(SOURCES, kind, settings, task, where)
    if name not in given:
        raise ValueError(f"{where}: {name!r} is to be handed in: from_toml(..., given={{{name!r}: ...}})")
    if settings:
        raise ValueError(f"{where}: given has no setting {next(iter(settings))!r}, expected none")
    return Given(given[name])


def built(kinds: Mapping[str, Callable], kind: str, settings: Mapping[str, Any], task: Task, where: str) -> Any:
    """An object of one of the kinds, all of which are dataclasses that take the task first.

    Raises:
        ValueError: If the kind is unknown, or a setting is missing, unknown or out of range; says where.
    """
    if kind not in kinds:
        raise ValueError(f"{where}: unknown kind {kind!r}, expected one of {', '.join(sorted([*kinds, 'given']))}")
    known = [entry.name for entry in fields(kinds[kind]) if entry.name != "task"]
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise ValueError(f"{where}: {kind} has no setting {unknown[0]!r}, expected {', '.join(known) or 'none'}")
    try:
        return kinds[kind](task, **settings)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from None


def kind_and_settings(table: Any, where: str) -> tuple[str, dict[str, Any]]:
    """The kind of an entry, and its settings; an entry may be its kind alone.

    Raises:
        ValueError: If it is neither text nor a table with a kind.
    """
    if isinstance(table, str):
        return table, {}
    if not isinstance(table, Mapping) or not isinstance(table.get("kind"), str):
        raise ValueError(f"{where}: expected a kind, or a table with a kind, got {table!r}")
    return table["kind"], {key: value for key, value in table.items() if key != "kind"}
