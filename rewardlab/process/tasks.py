"""Tasks solved step by step: what labelling, searching and exploiting need to know of one, and nothing more."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np

from rewardlab.checks import PROBABILITY_TOLERANCE, as_generator, check_scalar

__all__ = [
    "Policy",
    "Rollout",
    "State",
    "Step",
    "StepTask",
    "check_step_task",
    "checked_verdict",
    "draw_step",
    "rollout",
    "uniform_policy",
]

State: TypeAlias = Hashable  # all of the solution so far that matters: a tuple of texts, a board, a number
Step: TypeAlias = Any
Policy: TypeAlias = Callable[[Any], Any]  # state -> probabilities over legal_steps(state), in their order

STEP_LIMIT = 1000  # of a rollout: a task that does not end by then is taken not to end


@runtime_checkable
class StepTask(Protocol):
    """A problem that is solved by one step after another. States are hashable, and equal states are the same prefix."""

    def start(self) -> State:
        """The state before the first step."""
        ...

    def legal_steps(self, state: State) -> Sequence[Step]:
        """The steps that may follow, in a fixed order; none once the episode has ended."""
        ...

    def apply(self, state: State, step: Step) -> State:
        """The state after `step`."""
        ...

    def verify(self, state: State) -> int:
        """What a tool says: 1 for right, -1 for wrong, 0 for undecided.

        Of a state that has ended: is its answer right? Of one on the way: is its last step right?
        """
        ...


@dataclass(frozen=True, slots=True)
class Rollout:
    """A solution from one state to the end.

    Args:
        states: The state it began with and the one after each step.
        steps: The steps taken, one fewer than the states; none where the first state has ended.
    """

    states: tuple[State, ...]
    steps: tuple[Step, ...]

    @property
    def end(self) -> State:
        """The last state, an ended one."""
        return self.states[-1]


def check_step_task(task: object) -> None:
    """Do nothing if `task` offers what a `StepTask` must, as far as its start shows.

    Raises:
        TypeError: If a method is missing, or the start is not hashable.
        ValueError: If no step can be taken from the start.
    """
    missing = [name for name in ("start", "legal_steps", "apply", "verify") if not callable(getattr(task, name, None))]
    if missing:
        raise TypeError(f"task: {type(task).__name__} lacks {', '.join(missing)}, expected a StepTask")
    start = task.start()
    if not isinstance(start, Hashable):
        raise TypeError(f"task.start() is a {type(start).__name__}, expected a hashable state")
    if not len(task.legal_steps(start)):
        raise ValueError("task: no step can be taken from the start, expected at least one")


def checked_verdict(task: StepTask, state: State) -> int:
    """What `task.verify` says of a state.

    Raises:
        ValueError: If it says anything but 1, -1 or 0.
    """
    verdict = task.verify(state)
    if verdict not in (1, -1, 0):
        raise ValueError(f"task.verify({state!r}) is {verdict!r}, expected 1 (right), -1 (wrong) or 0 (undecided)")
    return int(verdict)


def rollout(
    task: StepTask, state: State, policy: Policy, rng: int | np.random.Generator, *, limit: int = STEP_LIMIT
) -> Rollout:
    """Finish a solution from `state` with steps drawn from `policy`.

    Args:
        task: What is to be solved.
        state: Where to begin; where it has ended the rollout has no step.
        policy: From a state to the probabilities of its legal steps, in their order.
        rng: A seed or a generator; one number is drawn for each step.
        limit: The most steps that are taken.

    Raises:
        ValueError: If the policy gives no distribution over the legal steps of a state, or the task goes on after
            `limit` steps.

    Example:
        >>> from rewardlab.process.tasks import rollout, uniform_policy
        >>> class Dice:  # throw until the sum is 3 or more; exactly 3 is right
        ...     start = lambda self: 0
        ...     legal_steps = lambda self, total: (1, 2) if total < 3 else ()
        ...     apply = lambda self, total, throw: total + throw
        ...     verify = lambda self, total: 0 if total < 3 else 1 if total == 3 else -1
        >>> rollout(Dice(), 0, uniform_policy(Dice()), rng=1).states
        (0, 2, 4)
    """
    rng = as_generator(rng)
    check_scalar("limit", limit, low=0, whole=True)
    states, steps = [state], []
    while len(task.legal_steps(states[-1])):
        if len(steps) == limit:
            raise ValueError(f"the task goes on after limit = {limit} steps; expected it to end, or a higher limit")
        steps.append(draw_step(task, states[-1], policy, rng))
        states.append(task.apply(states[-1], steps[-1]))
    return Rollout(tuple(states), tuple(steps))


def uniform_policy(task: StepTask) -> Policy:
    """The policy that takes every legal step with the same probability."""

    def policy(state: State) -> np.ndarray:
        steps = len(task.legal_steps(state))
        return np.full(steps, 1 / steps)

    return policy


def draw_step(task: StepTask, state: State, policy: Policy, rng: np.random.Generator) -> Step:
    """A step drawn from `policy` in a state that has not ended, by one number of the stream.

    Raises:
        ValueError: If the policy gives no distribution over the legal steps.
    """
    steps = task.legal_steps(state)
    given = np.asarray(policy(state), dtype=np.float64)
    if given.shape != (len(steps),):
        raise ValueError(
            f"policy({state!r}) has shape {given.shape}, expected ({len(steps)},), one for each legal step"
        )
    if not (given >= 0).all() or not abs(given.sum() - 1) <= PROBABILITY_TOLERANCE:  # NaN fails both
        raise ValueError(f"policy({state!r}) is {given.tolist()}, expected probabilities of at least 0 that sum to 1")
    edges = np.cumsum(given)
    return steps[int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))]  # never one of probability 0
