"""The account of a shaped rollout: what each step should be paid, what it was, and why the two may differ."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rewardlab.adapters.shaping_rollouts import Moved
from rewardlab.adapters.step_signals import COMBINED, SHAPING
from rewardlab.shaping.rule import OnTruncation, learner_bootstraps, shaping_reward, telescoped

__all__ = ["Entry", "Episode", "ShapingLedger"]

_SINGLE = 1e-6  # relative; rewards in single precision cannot agree more closely


@dataclass(eq=False)
class Episode:
    """Rewards of an episode so far, and the potentials of its states on arrival, 0 where the learner stops."""

    environment: int
    number: int
    potentials: list[float]
    observation: Any
    raw: list[float] = field(default_factory=list)
    shaped: list[float] = field(default_factory=list)

    def returns(self, discount: float) -> tuple[float, float, float]:
        """Discounted returns without and with shaping, and what the second should exceed the first by."""
        powers = discount ** np.arange(len(self.raw))
        expected = telescoped(np.array(self.potentials), discount=discount, ended=False)  # 0 at the end already
        return float(powers @ self.raw), float(powers @ self.shaped), float(expected)


@dataclass(slots=True)
class Entry:
    """One step: potentials before and after (0 where the learner does not bootstrap), and what shaping paid."""

    move: Moved
    before: float
    after: float
    paid: float
    expected: float
    allowed: float
    bootstraps: bool
    environment: int
    episode: int
    step: int

    def agrees(self, value: float) -> bool:
        """Whether the step was paid this much, but for rounding."""
        return abs(self.paid - value) <= self.allowed  # False for NaN


class ShapingLedger:
    """Judges step after step.

    Args:
        potential: Function of one observation that returns a float.
        discount: The learner's.
        on_truncation: Whether the learner bootstraps where an episode is cut.
        tolerance: Relative.

    Attributes:
        wrong: The first entry that is not as it should be, None while there is none.
    """

    def __init__(
        self,
        potential: Callable[[Any], float],
        discount: float,
        on_truncation: OnTruncation,
        tolerance: float,
    ) -> None:
        self.potential = potential
        self.discount, self.on_truncation, self.tolerance = discount, on_truncation, tolerance
        self.wrong: Entry | None = None
        self._entries: list[Entry] = []
        self._before_again = self._arrived = math.nan  # potentials around the wrong step, evaluated once more

    def begin(self, environment: int, number: int, first: Any) -> Episode:
        """An episode begins with this observation."""
        return Episode(environment, number, [self.potential(first)], first)

    def enter(self, episode: Episode, move: Moved) -> None:
        """Judge a step of the episode; one that only reset its environment comes after it and should pay nothing."""
        bootstraps = bool(learner_bootstraps(move.terminated, move.truncated, self.on_truncation))
        before = episode.potentials[-1]
        after = self.potential(move.arrived) if bootstraps and not move.only_reset else 0.0
        expected = shaping_reward(before, after, discount=self.discount, bootstraps=bootstraps)
        if move.only_reset:
            expected = 0.0
        relative = max(self.tolerance, _SINGLE if np.asarray(move.shaped).dtype == np.float32 else 0.0)
        allowed = relative * max(1.0, abs(move.raw), abs(before), abs(after))
        place = episode.environment, episode.number, len(episode.raw)
        paid = float(move.shaped) - move.raw
        entry = Entry(move, before, after, paid, expected, allowed, bootstraps, *place)
        self._entries.append(entry)
        if self.wrong is None and not entry.agrees(expected):
            self.wrong = entry  # asked now: the potential may change later
            self._before_again, self._arrived = self._asked(episode.observation), self._asked(move.arrived)
        if not move.only_reset:
            episode.raw.append(move.raw)
            episode.shaped.append(float(move.shaped))
            episode.potentials.append(after)
            episode.observation = move.arrived

    def message(self, several: bool) -> str:
        """Which step is the first that is wrong, by how much, and why as far as can be told."""
        wrong = self.wrong
        if wrong is None:
            raise RuntimeError("no step is wrong")
        step = f"step {wrong.step} of episode {wrong.episode}" + (f" of environment {wrong.environment}" * several)
        if wrong.move.only_reset:
            step = f"the step that resets environment {wrong.environment} after episode {wrong.episode}"
        why = next(self._reasons(wrong), "for no reason that could be told; is the potential the one that was used?")
        return f"{step} was paid {wrong.paid:.6g} for shaping instead of {wrong.expected:.6g}: {why}"

    def _reasons(self, wrong: Entry) -> Iterator[str]:
        """Reasons that explain the wrong step, the surest first."""
        move, info = wrong.move, wrong.move.info
        before = float(info[COMBINED]) - float(info[SHAPING]) if SHAPING in info else move.raw
        if abs(before - move.raw) > wrong.allowed:
            yield (
                f"the reward was changed from {move.raw:.6g} to {before:.6g} before it was shaped; put what changes it "
                f"into the environment"
            )
        if COMBINED in info and wrong.agrees(wrong.expected + float(move.shaped) - float(info[COMBINED])):
            yield (
                f"the shaped reward was right, {float(info[COMBINED]):.6g}, and changed afterwards, to "
                f"{float(move.shaped):.6g} (clipped or normalised?); shape last"
            )
        if move.only_reset:
            yield "it is no transition and should pay nothing"
            return
        yield from self._reasons_at_an_end(wrong)
        if (other := self._discount_used()) is not None:
            yield f"the shaping's discount is {other:.6g}, the learner's {self.discount:g}"
        again = self._before_again
        if wrong.agrees(shaping_reward(again, wrong.after, discount=self.discount, bootstraps=wrong.bootstraps)):
            yield (
                f"the potential of the state before was evaluated again, {again:.6g}, instead of kept from the arrival "
                f"in it, {wrong.before:.6g}"
            )
        if wrong.agrees(0.0):
            yield "nothing was added"

    def _reasons_at_an_end(self, wrong: Entry) -> Iterator[str]:
        move = wrong.move
        if not (move.terminated or move.truncated):
            return
        counted = shaping_reward(wrong.before, self._arrived, discount=self.discount, bootstraps=True)
        if move.first is not None:
            of_the_next = self.potential(move.first)
            if wrong.agrees(shaping_reward(wrong.before, of_the_next, discount=self.discount, bootstraps=True)):
                yield "the next episode's first state was taken for the last state of this one"
        if move.terminated and wrong.agrees(counted):
            yield "the potential of the terminal state was counted, and must be 0 there (no terminal rule)"
        if not move.terminated and wrong.bootstraps and wrong.agrees(-wrong.before):
            yield (
                "the potential was counted as 0 where the episode was cut, but the learner bootstraps there; keep it "
                "(or say on_truncation='zero' if it does not)"
            )
        if not move.terminated and not wrong.bootstraps and wrong.agrees(counted):
            yield (
                "the potential was counted where the episode was cut, but the learner does not bootstrap there; it "
                "should be 0"
            )

    def _asked(self, observation: Any) -> float:
        """The potential, also of states in which it need not be known."""
        try:
            return self.potential(observation)
        except Exception:  # whatever a user's function raises there: a guess at the reason is all that it is for
            return math.nan

    def _discount_used(self) -> float | None:
        """The one discount that explains all steps that do not end an episode, if there is such."""
        there = [entry for entry in self._entries if not (entry.move.terminated or entry.move.truncated)]
        there = [entry for entry in there if not entry.move.only_reset]
        rows = [(entry.before, entry.after, entry.paid, entry.allowed) for entry in there]
        before, after, paid, allowed = np.array(rows).reshape(-1, 4).T
        weight = after @ after
        if not weight or not np.isfinite(paid).all() or (np.abs(after) > allowed).sum() < 2:
            return None
        other = float(after @ (paid + before) / weight)
        if not 0.0 <= other <= 1.0 + _SINGLE:
            return None
        explained = np.abs(shaping_reward(before, after, discount=other, bootstraps=True) - paid) <= 10 * allowed
        return other if explained.all() and self._explains(other) else None

    def _explains(self, other: float) -> bool:
        """Whether another discount would have paid what the wrong step was."""
        wrong = self.wrong
        return wrong.agrees(shaping_reward(wrong.before, wrong.after, discount=other, bootstraps=wrong.bootstraps))
