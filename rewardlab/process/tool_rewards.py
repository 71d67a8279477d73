"""How right are a model's tool calls? A reward for names, one for parameter names and one for their values.

A predicted call is compared with a gold call of the same name only. The paper speaks of the best matching without
saying so; its released code does, and without it the right parameters of the wrong tool would earn most of the reward.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rewardlab.checks import check_choice
from rewardlab.process.reward_schedules import ORIGINAL_SCALE, RewardScale
from rewardlab.process.tool_calls import ParseFailure, ToolCall, parse_gold_calls, parse_tool_calls
from rewardlab.process.tool_format import DEFAULT_FORMAT, ToolFormat, format_holds, required_tags

DETAILS = ("fine", "strict", "intermediate", "coarse")
MATCHINGS = ("optimal", "greedy")

__all__ = [
    "DETAILS",
    "MATCHINGS",
    "CallScore",
    "ToolReward",
    "score_calls",
    "tool_call_signal",
    "tool_call_signals",
    "tool_reward",
]


@dataclass(frozen=True, slots=True)
class CallScore:
    """What predicted calls earn against gold calls, part by part.

    Args:
        names: For the right tools, in [0, 1].
        parameters: For the right parameter names, summed over pairs of calls.
        values: For the right values, summed over pairs of calls.
        possible: The largest sum of the three; 0 where there is no gold call.
        pairs: Which gold call goes with which predicted one, by position; only pairs that earn something.
    """

    names: float
    parameters: float
    values: float
    possible: float
    pairs: tuple[tuple[int, int], ...]

    @property
    def found(self) -> float:
        """Sum of the three parts."""
        return self.names + self.parameters + self.values

    @property
    def share(self) -> float:
        """Found of what is possible, in [0, 1]; NaN where there is no gold call."""
        return self.found / self.possible if self.possible else math.nan


@dataclass(frozen=True, slots=True)
class ToolReward:
    """Reward of a completion with its parts.

    Args:
        format: Format reward.
        correctness: Correctness reward; 0 where there is no gold call, whatever the model calls.
        calls: Parts of the correctness; all 0 where the calls could not be read.
        failure: Why the calls could not be read, None where they could.
    """

    format: float
    correctness: float
    calls: CallScore
    failure: str | None

    @property
    def total(self) -> float:
        """Format plus correctness: in [-3, 4] by the original scale."""
        return self.format + self.correctness

    def parts(self) -> dict[str, float]:
        """All numbers by name, for a trainer's log."""
        return {
            "total": self.total,
            "format": self.format,
            "correctness": self.correctness,
            "names": self.calls.names,
            "parameters": self.calls.parameters,
            "values": self.calls.values,
            "possible": self.calls.possible,
            "unreadable": float(self.failure is not None),
        }


def score_calls(
    gold: Sequence[ToolCall], predicted: Sequence[ToolCall], *, matching: str = "optimal", detail: str = "fine"
) -> CallScore:
    """Score predicted calls against gold calls.

    Names earn the overlap of the two multisets of names, intersection over union: 1 at most, and less for every call
    too many. Each gold call may be paired with one predicted call of its name. A pair earns the overlap of its
    parameter names, intersection over union (two calls without parameters: 1), and 1 for each gold parameter whose
    value is right as JSON compares values. The order of calls and keys does not matter.

    Args:
        gold: The right calls.
        predicted: The model's calls.
        matching: "optimal", the pairs that earn most; or "greedy", as the released code has it: gold calls in order,
            each takes the unused call of its name that earns most and more than 0. Never more than optimal, and the
            same where the gold calls' names are all different; where they are not, the order of the gold calls counts.
        detail: "fine", as above; "strict", names and parameter names earn 1 if all are right and 0 otherwise;
            "intermediate", names as above and 1 for each pair of equal calls; "coarse", 1 if the multisets of calls are
            equal and 0 otherwise, which counts as names.

    Returns:
        The parts, of at most 1 + |gold| + number of gold parameters ("fine", "strict"), 1 + |gold| ("intermediate") or
        1 ("coarse") in all, attained if and only if the multisets of calls are equal.

    Raises:
        ValueError: If `matching` or `detail` is unknown.
        TypeError: If an entry is no `ToolCall`.

    Source: ToolRL (arXiv 2504.13958), sections 3.3 (fine) and 5.3 (the others; "finegrained" there is "strict" here).
        Departures from the released code: its strict and coarse levels want the same order of names, keys and calls,
        and Python's == takes true for 1.

    Example:
        >>> gold = [ToolCall("weather", {"city": "Paris", "unit": "C"})]
        >>> score_calls(gold, [ToolCall("weather", {"city": "Paris"})])
        CallScore(names=1.0, parameters=0.5, values=1.0, possible=4.0, pairs=((0, 0),))
    """
    check_choice("matching", matching, MATCHINGS)
    check_choice("detail", detail, DETAILS)
    _check_calls("gold", gold)
    _check_calls("predicted", predicted)
    if not gold:
        return CallScore(0.0, 0.0, 0.0, 0.0, ())
    if detail == "coarse":
        return CallScore(float(Counter(gold) == Counter(predicted)), 0.0, 0.0, 1.0, ())
    wanted, called = (Counter(call.name for call in calls) for calls in (gold, predicted))
    names = (wanted & called).total() / (wanted | called).total()
    earned = np.array([[_pair(right, call, detail) for call in predicted] for right in gold])
    earned = earned.reshape(len(gold), len(predicted), 2)
    pairs = (_best_pairs if matching == "optimal" else _greedy_pairs)(earned.sum(axis=-1))
    parameters, values = (math.fsum(earned[pair][part] for pair in pairs) for part in (0, 1))
    possible = 1.0 + len(gold) + (0 if detail == "intermediate" else sum(len(call.frozen) for call in gold))
    return CallScore(float(names == 1) if detail == "strict" else names, parameters, values, possible, pairs)


def tool_reward(
    completion: str,
    answer: str,
    *,
    matching: str = "optimal",
    detail: str = "fine",
    scale: RewardScale = ORIGINAL_SCALE,
    tool_format: ToolFormat = DEFAULT_FORMAT,
) -> ToolReward:
    """Reward a completion against a gold answer: format, and correctness of the tool calls.

    The format is right if the completion has the tags of the answer, each once and in order, and no other. The share
    of the score that the calls earn (`score_calls`) is put on the correctness scale; calls that cannot be read, or are
    missing, get the lowest. An answer without a call makes correctness 0, so a call too many costs the format only,
    and the range differs between prompts: compare within a prompt's group, not across.

    Args:
        completion: The model's text.
        answer: Gold answer, text in the same format.
        matching: As for `score_calls`.
        detail: As for `score_calls`.
        scale: Range of either part; see `rewardlab.process.reward_schedules`.
        tool_format: Tags and keys.

    Returns:
        Format in [0, 1], correctness in [-3, 3] and the total in [-3, 4] by the original scale, with the parts.

    Raises:
        ValueError: If the answer's tags or calls are wrong, or an option is unknown.
        TypeError: If completion or answer is no text.

    Source: ToolRL (arXiv 2504.13958), section 3.3 and released code.

    Example:
        >>> answer = '<think>Ask.</think><tool_call>{"name": "w", "parameters": {"a": 1}}</tool_call>'
        >>> tool_reward(answer, answer).total, tool_reward(answer.replace("1", '"1"'), answer).total
        (4.0, 2.0)
    """
    for name, text in (("completion", completion), ("answer", answer)):
        if not isinstance(text, str):
            hint = "; rewardlab.adapters.samples.completion_text makes text of a conversation"
            raise TypeError(f"{name}: expected text, got {type(text).__name__}{hint if isinstance(text, list) else ''}")
    required, gold = required_tags(answer, tool_format), parse_gold_calls(answer, tool_format)
    predicted = parse_tool_calls(completion, tool_format)
    failure = predicted.reason if isinstance(predicted, ParseFailure) else None
    calls = score_calls(gold, () if failure is not None else predicted, matching=matching, detail=detail)
    low, high = scale.correctness
    return ToolReward(
        format=float(scale.format[format_holds(completion, required, tool_format)]),
        correctness=float(low + (high - low) * calls.share) if gold else 0.0,
        calls=calls,
        failure=failure,
    )


def tool_call_signal(prompt: Any, completion: str, answer: str, **columns: Any) -> float:
    """Total of `tool_reward` as a signal of the adapters of language-model trainers, which see one sample a call.

    Args:
        prompt: Not looked at.
        completion: The model's text. A conversation is none: `rewardlab.adapters.samples.completion_text` makes one.
        answer: The data set's column of gold answers.
        columns: The other columns, not looked at.

    Raises:
        ValueError: As `tool_reward`.
        TypeError: As `tool_reward`.

    Example:
        >>> answer = '<think>Ask.</think><tool_call>{"name": "w", "parameters": {}}</tool_call>'
        >>> tool_call_signal("Weather?", answer, answer=answer, source="made up")
        4.0
    """
    return tool_reward(completion, answer).total


def tool_call_signals(
    *, matching: str = "optimal", detail: str = "fine", tool_format: ToolFormat = DEFAULT_FORMAT
) -> dict[str, Callable[..., float]]:
    """Signals "format" and "correctness", whose sum is the reward: a trainer logs both, a pipeline may weigh them anew.

    Args:
        matching: As for `score_calls`.
        detail: As for `score_calls`.
        tool_format: Tags and keys.

    Returns:
        Functions `signal(prompt, completion, answer, **columns)`, by the original scale; see `tool_call_signal`.

    Raises:
        ValueError: If an option is unknown; when called, as `tool_reward`.
        TypeError: When called, as `tool_reward`.
    """
    check_choice("matching", matching, MATCHINGS)
    check_choice("detail", detail, DETAILS)

    def reward(completion: str, answer: str) -> ToolReward:
        return tool_reward(completion, answer, matching=matching, detail=detail, tool_format=tool_format)

    return {
        "format": lambda prompt, completion, answer, **columns: reward(completion, answer).format,
        "correctness": lambda prompt, completion, answer, **columns: reward(completion, answer).correctness,
    }


def _pair(gold: ToolCall, call: ToolCall, detail: str) -> tuple[float, float]:
    """What a predicted call earns for parameter names and for values if it stands for a gold call."""
    if gold.name != call.name:
        return 0.0, 0.0
    if detail == "intermediate":
        return 0.0, float(gold == call)
    right, given = dict(gold.frozen), dict(call.frozen)
    every = right.keys() | given.keys()
    keys = len(right.keys() & given.keys()) / len(every) if every else 1.0
    values = sum(given.get(key) == value for key, value in right.items())
    return (float(keys == 1) if detail == "strict" else keys), float(values)


def _best_pairs(earned: np.ndarray) -> tuple[tuple[int, int], ...]:
    from scipy.optimize import linear_sum_assignment  # slow to import

    rows, columns = linear_sum_assignment(earned, maximize=True)
    return tuple(pair for pair in zip(rows.tolist(), columns.tolist(), strict=True) if earned[pair] > 0)


def _greedy_pairs(earned: np.ndarray) -> tuple[tuple[int, int], ...]:
    left, pairs = earned.copy(), []
    for row in range(left.shape[0]):
        if left.shape[1] and left[row].max() > 0:
            pairs.append((row, int(left[row].argmax())))
            left[:, pairs[-1][1]] = 0
    return tuple(pairs)


def _check_calls(name: str, calls: Sequence[ToolCall]) -> None:
    for place, call in enumerate(calls):
        if not isinstance(call, ToolCall):
            raise TypeError(f"{name}[{place}]: expected a ToolCall, got {type(call).__name__}")
