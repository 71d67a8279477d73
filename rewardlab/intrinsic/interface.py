"""What environments, intrinsic rewards, reward models and annotators say to one another."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

__all__ = ["AnnotationSource", "Annotator", "Arrivals", "IntrinsicReward", "Item", "MessageRewardModel", "Starts"]

Item: TypeAlias = str | tuple[str, str]
"""What an annotator is asked about: one message, or a pair of messages."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Starts:
    """Episodes that begin.

    Attributes:
        environments: `(k,)` which environments they begin in.
        messages: `(k, 256)` bytes on the screen at the start, zero-padded; None where the game says nothing.
        keys: `k` hashable states, for counts; None where nothing counts states.
    """

    environments: Int[np.ndarray, " k"]
    messages: UInt8[np.ndarray, "k 256"] | None = None
    keys: Sequence[bytes] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class Arrivals:
    """What one step of all environments led to: the last state of a finished episode, never the first of the next.

    Attributes:
        dones: `(n,)` True where the episode ended with this step, by itself or by a time limit.
        valid: `(n,)` False where nothing was seen of the state arrived at (NetHack blanks its last screen): such a
            step is never counted and never paid.
        observations: `(n, ...)` encoded, before the step.
        actions: `(n, ...)`.
        next_observations: `(n, ...)` encoded, arrived at.
        messages: `(n, 256)` bytes on the screen arrived at, zero-padded.
        keys: `n` hashable states arrived at, for counts.
    """

    dones: Bool[np.ndarray, " n"]
    valid: Bool[np.ndarray, " n"]
    observations: np.ndarray | None = None
    actions: np.ndarray | None = None
    next_observations: np.ndarray | None = None
    messages: UInt8[np.ndarray, "n 256"] | None = None
    keys: Sequence[bytes] | None = None


@runtime_checkable
class IntrinsicReward(Protocol):
    """A reward made from experience or feedback, always evaluated when the learner learns.

    The order is `begin` wherever an episode starts, `observe` once for each step, then once for each policy update
    `rewards` and `update`. No coefficient: who adds the reward to the environment's multiplies it.
    """

    def begin(self, starts: Starts) -> None:
        """Episodes begin: their first state counts as visited, and is not paid."""

    def observe(self, arrivals: Arrivals) -> None:
        """Keep what is needed of one step of all environments; called while acting, so it must be cheap."""

    def rewards(self) -> Float[np.ndarray, "steps n"]:
        """Rewards of all steps observed since the last update, evaluated now, with the newest model."""

    def update(self) -> dict[str, float]:
        """Learn from these steps and forget them, after `rewards`; returns numbers for the log."""

    def state_dict(self) -> dict[str, Any]:
        """All that must be kept to go on: numbers, strings, lists, NumPy arrays, torch tensors."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""

    def close(self) -> None:
        """Let go of processes and files."""


@runtime_checkable
class MessageRewardModel(Protocol):
    """A reward that is a function of the message alone, learned from labels that arrive as the agent acts.

    A model that has an attribute `waiting` is told before `requests` how many items still wait for an answer.
    """

    def rewards(self, texts: Sequence[str]) -> Float[np.ndarray, " texts"]:
        """Reward of each message before any count discount; 0 for the empty message."""

    def requests(self, texts: Sequence[str]) -> list[Item]:
        """What should be annotated, given a rollout's messages in order, one for each step, repeats included."""

    def receive(self, answers: Sequence[tuple[Item, int]]) -> dict[str, float]:
        """Labels arrived: learn from them; returns numbers for the log."""

    def update(self) -> dict[str, float]:
        """Called once for each policy update; returns numbers for the log."""

    def state_dict(self) -> dict[str, Any]:
        """All that must be kept to go on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@runtime_checkable
class AnnotationSource(Protocol):
    """Annotation that runs beside training: neither method ever waits."""

    waiting: int
    """Items submitted and not yet answered."""

    def submit(self, items: Sequence[Item]) -> None:
        """Queue items; what finds no room is dropped and counted."""

    def collect(self, step: int) -> list[tuple[Item, int]]:
        """What has been answered by this environment step and not been collected before."""

    def statistics(self) -> dict[str, float]:
        """Numbers for the log."""

    def state_dict(self) -> dict[str, Any]:
        """All that must be kept to go on."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""

    def close(self) -> None:
        """Let go of processes and files."""


@runtime_checkable
class Annotator(Protocol):
    """Judge of messages, such as a language model."""

    def annotate(self, messages: Sequence[str], goal: str, rng: np.random.Generator) -> list[int]:
        """1 for each message that helps towards the goal, else 0."""

    def compare(self, pairs: Sequence[tuple[str, str]], goal: str, rng: np.random.Generator) -> list[int]:
        """For each pair 0 if the first is better, 1 if the second, 2 for a tie, 3 if no answer could be read."""
