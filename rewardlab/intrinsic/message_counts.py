"""How often each message was seen in the running episode, and the discount that pays repetitions less."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.special import zeta

from rewardlab.checks import check_scalar

__all__ = ["MessageCounts", "count_discount", "episode_limit"]


def count_discount(counts: Real[np.ndarray, "*shape"], exponent: float) -> Float[np.ndarray, "*shape"]:
    """What the n-th sight of a message in an episode pays of its reward: `n ** -exponent`, and nothing at count 0.

    Args:
        counts: Whole numbers of at least 0; 0 marks a step that was not counted and is not paid.
        exponent: 0 pays every repetition in full, 3 is ONI's and Motif's.

    Raises:
        ValueError: If a count is negative, or the exponent.

    Source: ONI (arXiv 2410.23022) and Motif (arXiv 2310.00166), as released: exponent 3, not the 1/2 of count bonuses.

    Example:
        >>> count_discount(np.array([0, 1, 2, 3]), 3.0).round(4)
        array([0.   , 1.   , 0.125, 0.037])
    """
    exponent = check_scalar("exponent", exponent, low=0.0)
    counts = np.asarray(counts, dtype=np.float64)
    if counts.size and (lowest := counts.min()) < 0:
        raise ValueError(f"counts holds {lowest:g}, expected at least 0")
    return np.where(counts > 0, np.maximum(counts, 1.0) ** -exponent, 0.0)


def episode_limit(distinct: int, exponent: float) -> float:
    """Most that an episode of any length can pay for this many distinct messages with rewards in [0, 1].

    `distinct * zeta(exponent)` for exponents above 1, without bound otherwise.

    Example:
        >>> round(episode_limit(1, 3.0), 7)
        1.2020569
        >>> episode_limit(1, 1.0)
        inf
    """
    check_scalar("distinct", distinct, low=0, whole=True)
    exponent = check_scalar("exponent", exponent, low=0.0)
    if distinct == 0:
        return 0.0
    return float(distinct * zeta(exponent)) if exponent > 1 else float("inf")


class MessageCounts:
    """Counts of messages in the running episode of each environment.

    The state an episode begins in counts too, so a message of the first screen is at 1 before any step.

    Args:
        environments: How many run side by side.
    """

    def __init__(self, environments: int) -> None:
        self.environments = int(check_scalar("environments", environments, low=1, whole=True))
        self._counts: list[dict[int, int]] = [{} for _ in range(self.environments)]

    def begin(self, environments: Iterable[int]) -> None:
        """Episodes begin in these environments: nothing was seen in them yet.

        Raises:
            IndexError: If there is no such environment.
        """
        for environment in environments:
            if not 0 <= environment < self.environments:
                raise IndexError(f"environments holds {environment}, expected 0 to {self.environments - 1}")
            self._counts[environment] = {}

    def see(self, environment: int, message: int) -> int:
        """Count one message in one environment; returns its count, this time included."""
        counts = self._counts[environment]
        counts[message] = count = counts.get(message, 0) + 1
        return count

    def visit(self, ids: Int[np.ndarray, " n"], valid: Bool[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
        """Count one message in every environment.

        Args:
            ids: Message seen in each environment.
            valid: False where nothing was seen.

        Returns:
            Count of each message in its environment's episode, this time included; 0 where not valid.

        Raises:
            ValueError: If there is not one of each for every environment.
        """
        return np.array(self.visit_list(np.asarray(ids).tolist(), np.asarray(valid).tolist()), dtype=np.int64)

    def visit_list(self, ids: Sequence[int], valid: Sequence[bool]) -> list[int]:
        """The same from lists to a list, for callers that go on in Python."""
        if len(ids) != self.environments or len(valid) != self.environments:
            raise ValueError(f"ids and valid have {len(ids)} and {len(valid)} entries, expected {self.environments}")
        counts_now = []
        for counts, message, seen in zip(self._counts, ids, valid, strict=True):
            if seen:
                counts[message] = count = counts.get(message, 0) + 1
                counts_now.append(count)
            else:
                counts_now.append(0)
        return counts_now

    def state_dict(self) -> dict[str, Any]:
        """Ids and counts of every environment's episode so far."""
        return {
            "ids": [list(counts) for counts in self._counts],
            "counts": [list(counts.values()) for counts in self._counts],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on in the middle of these episodes.

        Raises:
            ValueError: If the state is of another number of environments.
        """
        if len(state["ids"]) != self.environments:
            raise ValueError(f"state has {len(state['ids'])} environments, expected {self.environments}")
        pairs = zip(state["ids"], state["counts"], strict=True)
        self._counts = [dict(zip(ids, counts, strict=True)) for ids, counts in pairs]
