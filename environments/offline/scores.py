"""Normalised scores: 0 for a task's reference minimum, 100 for its maximum; and scores that papers have published.

A score is `100 * (return - minimum) / (maximum - minimum)`, and is not bounded by either. D4RL has one pair for all
data sets and versions of an environment. Its hopper minimum is negative although uniform actions return about 17 (a
commented table in MOREC's code drops the sign). gymnasium's version 5 is not the environment that D4RL's references
were measured in: its walker2d has other friction, its hopper and walker2d are paid for being alive only while they are,
its ant shows other contact forces. A score of a version 5 beside a published one needs that said.

Minari's own normalised score is on [0, 1]: multiply by 100.
"""

import csv
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
from jaxtyping import Float

from rewardlab.arrays import Array
from rewardlab.checks import check_array, check_choice, check_finite

__all__ = [
    "REFERENCES",
    "PublishedScore",
    "normalised_score",
    "published_scores",
    "return_of_score",
    "scored_tasks",
    "spread",
]

REFERENCES: MappingProxyType[str, tuple[float, float]] = MappingProxyType(
    {
        "d4rl/halfcheetah": (-280.178953, 12135.0),
        "d4rl/hopper": (-20.272305, 3234.3),
        "d4rl/walker2d": (1.629008, 4592.3),
        "d4rl/ant": (-325.6, 3879.7),
        "neorl/halfcheetah": (-298.0, 12284.0),
        "neorl/hopper": (5.0, 3294.0),
        "neorl/walker2d": (1.0, 5143.0),
        "neorl2/Pipeline": (-296.0, 751.0),
        "neorl2/Simglucose": (9.75, 475.0),
        "neorl2/RocketRecovery": (-176.0, 208.0),
        "neorl2/RandomFrictionHopper": (-3.0, 503.0),
        "neorl2/DMSD": (30.60, 849.51),
        "neorl2/Fusion": (-107.601, 98.05),
        "neorl2/Salespromotion": (357.62, 602.21),
        "neorl2/SafetyHalfCheetah": (-283.0, 2507.0),
    }
)
"""Returns that score 0 and 100. Source: D4RL's infos; MOREC's trainer for NeoRL; NeoRL-2's environments."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedScore:
    """A normalised score that a paper or repository reports.

    Args:
        benchmark: "d4rl", "neorl" or "neorl2".
        task: As there: "hopper-medium-v2", "Hopper-L", "DMSD"; "mean" over the tasks of its table.
        method: Its name; "data" is the recording itself.
        score: 100 is the reference maximum.
        status: "read" in the source; "implied" by what the source says; "memory": unverified, may be wrong. Draw one of
            these only so marked, and compare nothing with it.
        source: Where it is from.
    """

    benchmark: str
    task: str
    method: str
    score: float
    status: str
    source: str


def scored_tasks() -> tuple[str, ...]:
    """Names of all tasks that have references."""
    return tuple(REFERENCES)


def normalised_score(task: str, returns: float | Float[Array, "*batch"]) -> float | Float[Array, "*batch"]:
    """Score of returns.

    Args:
        task: One of `scored_tasks()`, like "d4rl/hopper".
        returns: Undiscounted sums of rewards of episodes, or means of such.

    Returns:
        As `returns` came: a number, or an array of the same shape.

    Raises:
        TypeError: If `returns` is neither number nor array.
        ValueError: If the task has no references, or a return is not finite.

    Source: D4RL (arXiv 2004.07219).

    Example:
        >>> round(normalised_score("d4rl/hopper", 1000.0), 4)
        31.3489
    """
    low, high = _reference(task)
    return 100 * (_numbers("returns", returns) - low) / (high - low)


def return_of_score(task: str, scores: float | Float[Array, "*batch"]) -> float | Float[Array, "*batch"]:
    """Return that has a score: the inverse of `normalised_score`, with its arguments and errors."""
    low, high = _reference(task)
    return low + _numbers("scores", scores) * (high - low) / 100


def spread(task: str, standard_deviation: float | Float[Array, "*batch"]) -> float | Float[Array, "*batch"]:
    """Standard deviation of scores from that of returns: `100 * deviation / (maximum - minimum)`.

    The minimum must not be subtracted here: a spread has no origin. MOREC's released code does subtract it.

    Raises:
        TypeError: If it is neither number nor array.
        ValueError: If the task has no references, or a deviation is negative or not finite.
    """
    low, high = _reference(task)
    deviation = _numbers("standard_deviation", standard_deviation)
    if np.any(np.asarray(deviation) < 0):
        raise ValueError(f"standard_deviation is {np.min(np.asarray(deviation)):g}, expected at least 0")
    return 100 * deviation / (high - low)


@cache
def published_scores() -> tuple[PublishedScore, ...]:
    """The tables of published normalised scores that figures draw beside their own."""
    path = Path(__file__).with_name("published_scores.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(PublishedScore(**{**row, "score": float(row["score"])}) for row in csv.DictReader(file))


def _reference(task: str) -> tuple[float, float]:
    check_choice("task", task, REFERENCES)
    return REFERENCES[task]


def _numbers(name: str, value):
    if isinstance(value, bool) or not isinstance(value, int | float):
        return check_finite(name, check_array(name, value))
    if not np.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a finite number")
    return float(value)
