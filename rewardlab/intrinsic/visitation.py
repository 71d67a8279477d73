"""Bonuses for going where one has rarely been: lifelong counts, first visits of an episode, and both together.

None of them leaves the best policy as it was: a bonus is paid for visiting, whatever the task, and where episodes end
early a constant bonus alone already makes them longer. Potential-based shaping is the form that changes no policy.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from rewardlab.checks import check_choice, check_scalar
from rewardlab.intrinsic.interface import Arrivals, IntrinsicReward, Starts
from rewardlab.intrinsic.state_keys import (
    action_bytes,
    arrival_keys,
    check_environments,
    check_pending,
    check_rows,
    check_state,
    pack_keys,
    start_keys,
    unpack_keys,
)

__all__ = ["EpisodicFirstVisit", "FirstVisitGate", "LifelongCounts", "ProductCounts", "VisitTable", "count_bonus"]

KEYS = ("states", "state_actions", "messages", "observations")


def count_bonus(
    counts: Int[np.ndarray, "*shape"], *, bonus: float = 1.0, power: float = 0.5
) -> Float[np.ndarray, "*shape"]:
    """Bonus of the N-th visit, `bonus / N ** power`; 0 where N is 0 (nothing was visited).

    The first N visits of one state pay `2 sqrt(N) - 1.46` in all at power .5: without a bound, unlike a power above 1.

    Args:
        counts: Visits so far, this one included.
        bonus: Paid for the first visit.
        power: Of the count.

    Raises:
        ValueError: If a count is negative.

    Source: MBIE-EB and count-based exploration (arXiv 1606.01868, 1611.04717).

    Example:
        >>> count_bonus(np.array([0, 1, 4])).tolist()
        [0.0, 1.0, 0.5]
    """
    counts = np.asarray(counts)
    if counts.size and counts.min() < 0:
        place = np.unravel_index(int(counts.argmin()), counts.shape)
        raise ValueError(f"counts{[int(at) for at in place]} is {counts.min()}, expected at least 0")
    return np.where(counts > 0, bonus * np.maximum(counts, 1) ** -float(power), 0.0)


class VisitTable:
    """How often each key was visited. It holds one entry a distinct key, so memory grows with the states seen."""

    def __init__(self) -> None:
        self._counts: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self._counts)

    def visit(self, key: bytes) -> int:
        """Count one more visit; returns how many there are now."""
        count = self._counts[key] = self._counts.get(key, 0) + 1
        return count

    def __getitem__(self, key: bytes) -> int:
        return self._counts.get(key, 0)

    def state_dict(self) -> dict[str, np.ndarray]:
        """Keys, their lengths and their counts as arrays, in the order of the first visits."""
        return {**pack_keys(self._counts), "counts": np.fromiter(self._counts.values(), np.int64, len(self))}

    def load_state_dict(self, state: Mapping[str, np.ndarray]) -> None:
        """Go on from there."""
        counts = np.asarray(state["counts"])
        self._counts = dict(zip(unpack_keys(state), counts.tolist(), strict=True))


class _Pending:
    """Numbers of each step since the last update, one row a step."""

    def __init__(self, environments: int) -> None:
        self.environments = check_scalar("environments", environments, low=1, whole=True)
        self.rows: list[np.ndarray] = []

    def stacked(self, dtype: type) -> np.ndarray:
        return np.array(self.rows, dtype).reshape(-1, self.environments)


class LifelongCounts:
    """Bonus `bonus / N ** power` for the N-th visit of a state in the whole of training.

    N is that of the moment of the visit, which it includes; the first state of an episode counts and is not paid. A
    state not seen (`valid` False) neither counts nor is paid. Memory: one entry a distinct state, and nothing else that
    grows. The reward changes as training goes on, and it changes which policy is best.

    Args:
        environments: How many step at once.
        bonus: Paid for a first visit.
        power: Of the count; .5 is the usual one.
        key: What is counted: "states" (`Arrivals.keys`), "state_actions" (the state left, with the action taken
            there), "messages", "observations" (the bytes of `next_observations`; the first of an episode is not
            known and does not count).

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range, or `key` is none of the above.

    Source: `b / sqrt(N(s'))`, and MBIE-EB's `b / sqrt(N(s, a))`.
    """

    def __init__(self, *, environments: int, bonus: float = 1.0, power: float = 0.5, key: str = "states") -> None:
        check_choice("key", key, KEYS)
        self.bonus = check_scalar("bonus", bonus, low=0)
        self.power = check_scalar("power", power, low=0)
        self.key = key
        self.table = VisitTable()
        self._pending = _Pending(environments)
        self.environments = environments
        self._left: list[bytes] = [b""] * environments  # state each environment is in, for pairs with actions

    def begin(self, starts: Starts) -> None:
        """Episodes begin: their first states count as visited."""
        check_environments(starts, self._pending.environments)
        if self.key == "observations":  # Starts carries none
            return
        for place, key in zip(starts.environments.tolist(), start_keys(starts, self.key), strict=True):
            if self.key == "state_actions":
                self._left[place] = key
            else:
                self.table.visit(key)

    def observe(self, arrivals: Arrivals) -> None:
        """Count one step of all environments."""
        valid = check_rows(arrivals, self._pending.environments)
        keys = arrival_keys(arrivals, "states" if self.key == "state_actions" else self.key)
        counted = keys
        if self.key == "state_actions":
            counted = [left + action for left, action in zip(self._left, action_bytes(arrivals), strict=True)]
            self._left = [key if seen else left for key, seen, left in zip(keys, valid, self._left, strict=True)]
        visit = self.table.visit
        self._pending.rows.append([visit(key) if seen else 0 for key, seen in zip(counted, valid, strict=True)])

    def rewards(self) -> Float[np.ndarray, "steps n"]:
        """Bonus of each step since the last update."""
        return count_bonus(self._pending.stacked(np.int64), bonus=self.bonus, power=self.power)

    def update(self) -> dict[str, float]:
        """Forget these steps; the counts stay."""
        counts = self._pending.stacked(np.int64)
        self._pending.rows = []
        return {"distinct_states": float(len(self.table)), "new_states": float((counts == 1).sum())}

    def state_dict(self) -> dict[str, Any]:
        """Counts, and the steps not yet learned from."""
        return {
            "table": self.table.state_dict(),
            "pending": self._pending.stacked(np.int64),
            "left": pack_keys(self._left),
            "key": self.key,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If the state counted something else, or of another number of environments.
        """
        check_state(state, key=self.key)
        self._pending.rows = check_pending(state["pending"], self._pending.environments)
        self._left = unpack_keys(state["left"])
        self.table.load_state_dict(state["table"])

    def close(self) -> None:
        """Nothing to let go of."""


class EpisodicFirstVisit:
    """Bonus for the first visit of a state in the episode, every episode anew.

    Alone it is no function of the state: the same arrival is paid once and then not, so a learner that does not see
    where it has been cannot fit it. Memory: the states of the running episodes.

    Args:
        environments: How many step at once.
        bonus: Paid for a first visit.
        key: "states" or "messages".

    Raises:
        TypeError: If a number is of another type.
        ValueError: If a number is out of range, or `key` is none of the above.
    """

    def __init__(self, *, environments: int, bonus: float = 1.0, key: str = "states") -> None:
        check_choice("key", key, ("states", "messages"))
        self.bonus = check_scalar("bonus", bonus, low=0)
        self.key = key
        self._pending = _Pending(environments)
        self.environments = environments
        self._seen: list[set[bytes]] = [set() for _ in range(environments)]

    def begin(self, starts: Starts) -> None:
        """Episodes begin in these environments: only their first state has been seen."""
        check_environments(starts, self._pending.environments)
        for place, key in zip(starts.environments.tolist(), start_keys(starts, self.key), strict=True):
            self._seen[place] = {key}

    def observe(self, arrivals: Arrivals) -> None:
        """Note which environments arrive somewhere new."""
        valid = check_rows(arrivals, self._pending.environments)
        new = []
        for seen, key, shown in zip(self._seen, arrival_keys(arrivals, self.key), valid, strict=True):
            new.append(bool(shown) and key not in seen)
            if new[-1]:
                seen.add(key)
        self._pending.rows.append(new)

    def first(self) -> Bool[np.ndarray, "steps n"]:
        """Which steps since the last update were first visits of their episode."""
        return self._pending.stacked(bool)

    def rewards(self) -> Float[np.ndarray, "steps n"]:
        """Bonus of each step since the last update."""
        return self.bonus * self.first()

    def update(self) -> dict[str, float]:
        """Forget these steps, not the running episodes."""
        first = self.first()
        self._pending.rows = []
        return {"first_visits": float(first.sum())}

    def state_dict(self) -> dict[str, Any]:
        """States of the running episodes, and the steps not yet learned from."""
        return {
            "seen": [pack_keys(sorted(seen)) for seen in self._seen],
            "pending": self._pending.stacked(bool),
            "key": self.key,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If the state counted something else, or of another number of environments.
        """
        check_state(state, key=self.key)
        self._pending.rows = check_pending(state["pending"], self._pending.environments)
        self._seen = [set(unpack_keys(keys)) for keys in state["seen"]]

    def close(self) -> None:
        """Nothing to let go of."""


class FirstVisitGate:
    """Another bonus, paid only for the first visit of a state in the episode.

    Args:
        inner: Any intrinsic reward; it learns from every step, paid or not.
        environments: How many step at once.
        key: "states" or "messages": what must be new.

    Raises:
        ValueError: If `key` is none of the above.
    """

    def __init__(self, inner: IntrinsicReward, *, environments: int, key: str = "states") -> None:
        self.inner, self.environments = inner, environments
        self.gate = EpisodicFirstVisit(environments=environments, key=key)

    def begin(self, starts: Starts) -> None:
        """Episodes begin in these environments."""
        self.inner.begin(starts)
        self.gate.begin(starts)

    def observe(self, arrivals: Arrivals) -> None:
        """Keep one step."""
        self.inner.observe(arrivals)
        self.gate.observe(arrivals)

    def rewards(self) -> Float[np.ndarray, "steps n"]:
        """The inner reward at first visits, 0 elsewhere."""
        return np.where(self.gate.first(), self.inner.rewards(), 0.0)

    def update(self) -> dict[str, float]:
        """The inner reward learns from all steps."""
        return {**self.inner.update(), **self.gate.update()}

    def state_dict(self) -> dict[str, Any]:
        """Of both."""
        return {"inner": self.inner.state_dict(), "gate": self.gate.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.inner.load_state_dict(state["inner"])
        self.gate.load_state_dict(state["gate"])

    def close(self) -> None:
        """Closes the inner reward."""
        self.inner.close()


class ProductCounts(FirstVisitGate):
    """Lifelong count bonus of a state, paid at its first visit in the episode: `bonus / N ** power` or 0.

    N counts every visit, paid or not. Arguments as in `LifelongCounts`, where `key` is "states" or "messages".
    """

    def __init__(self, *, environments: int, bonus: float = 1.0, power: float = 0.5, key: str = "states") -> None:
        lifelong = LifelongCounts(environments=environments, bonus=bonus, power=power, key=key)
        super().__init__(lifelong, environments=environments, key=key)
