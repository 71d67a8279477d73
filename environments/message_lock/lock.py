"""A combination lock that talks: a chain of rooms, one right action in each, and messages most of which are noise.

The way to the end is long and a wrong action often leads back, so a reward at the end alone is hardly ever found. The
messages say when a room is entered, which a reward of messages can pay for; wrong actions are answered by a wall or by
one of many distractors, a few of them frequent. The furthest room of the episode is what a learner must remember where
a message is paid less the more often the episode has seen it.

All lanes (rewards tried, times seeds) step at once, and those of one seed share every random number.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from rewardlab.checks import check_scalar

__all__ = ["LockStep", "LockWorlds", "MessageLock"]

WALL = 0  # id of the message of a wrong even action; then those of the rooms 1, 2, ...; then the distractors


@dataclass(frozen=True)
class MessageLock:
    """The rules.

    Args:
        rooms: In the chain; the episode ends on entering the last.
        actions: In each room, one of them right. A wrong even one meets a wall, a wrong odd one a distractor.
        distractors: Messages, the k-th drawn with probability proportional to 1 / k.
        steps: After which an episode is cut off.
        slip: Probability that a wrong action leads back one room; else one stays.
        reward: For entering the last room.

    Raises:
        TypeError: If a count is not whole.
        ValueError: If a number is out of range.
    """

    rooms: int = 16
    actions: int = 4
    distractors: int = 300
    steps: int = 64
    slip: float = 0.5
    reward: float = 10.0

    def __post_init__(self) -> None:
        for name, low in (("rooms", 2), ("actions", 2), ("distractors", 1), ("steps", 1)):
            check_scalar(name, getattr(self, name), low=low, whole=True)
        check_scalar("slip", self.slip, low=0, high=1)
        check_scalar("reward", self.reward)

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """Every message, by id."""
        rooms = [f"You enter room {room}." for room in range(1, self.rooms)]
        return ("You walk into a wall.", *rooms, *(f"You hear noise {k}." for k in range(self.distractors)))

    @cached_property
    def truth(self) -> Bool[np.ndarray, " messages"]:
        """Which messages deserve a reward: those of rooms entered."""
        ids = np.arange(len(self.texts))
        return (ids > WALL) & (ids < self.rooms)

    @cached_property
    def distractor_odds(self) -> Float[np.ndarray, " distractors"]:
        """Cumulated probabilities of the distractors."""
        weights = 1 / np.arange(1, self.distractors + 1)
        return np.cumsum(weights) / weights.sum()

    def combination(self, rng: np.random.Generator) -> Int[np.ndarray, " rooms"]:
        """The right action of each room; the last room's is never asked for."""
        return rng.integers(self.actions, size=self.rooms)


class LockStep(NamedTuple):
    """What a step led to, `(lanes,)` each."""

    rooms: np.ndarray
    messages: np.ndarray
    rewards: np.ndarray
    dones: np.ndarray


class LockWorlds:
    """One lock a lane, with or without a common combination.

    Args:
        lock: The rules.
        combinations: `(lanes, rooms)` right actions.

    Attributes:
        rooms: `(lanes,)` where each lane is. A lane that is done stays in the last room until `begin`.
        furthest: `(lanes,)` furthest room of the episode.
    """

    def __init__(self, lock: MessageLock, combinations: Int[np.ndarray, "lanes rooms"]) -> None:
        if combinations.ndim != 2 or combinations.shape[1] != lock.rooms:
            raise ValueError(f"combinations has shape {combinations.shape}, expected (lanes, {lock.rooms})")
        self.lock, self.lanes = lock, len(combinations)
        self._combinations, self._rows = combinations.ravel(), np.arange(self.lanes) * lock.rooms
        self.begin()

    def begin(self) -> None:
        """Every lane goes back to the first room."""
        self.rooms, self.furthest = np.zeros((2, self.lanes), np.int64)

    def step(
        self,
        actions: Int[np.ndarray, " lanes"],
        slips: Float[np.ndarray, " lanes"],
        distractors: Int[np.ndarray, " lanes"],
    ) -> LockStep:
        """Take an action in every lane.

        Args:
            actions: One a lane.
            slips: Uniform numbers: a wrong action leads back where it is below the probability.
            distractors: Which distractor answers a wrong odd action.
        """
        last = self.lock.rooms - 1
        right = actions == self._combinations[self._rows + self.rooms]
        moved = np.where(right, 1, -(slips < self.lock.slip).astype(np.int64))
        self.rooms = np.where(self.rooms == last, last, np.maximum(self.rooms + moved, 0))
        self.furthest = np.maximum(self.furthest, self.rooms)
        wrong = np.where(actions % 2 == 0, WALL, self.lock.rooms + distractors)
        messages = np.where(right, self.rooms, wrong)
        dones = self.rooms == last
        return LockStep(self.rooms, messages, self.lock.reward * dones, dones)
