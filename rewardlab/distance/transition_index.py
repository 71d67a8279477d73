"""Distinct states and actions of a batch of transitions, numbered: equal ones are evaluated once and averaged."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from rewardlab.arrays import Array, array_namespace, to_numpy
from rewardlab.distance.transitions import RewardFunction, Transitions, evaluate_rewards

__all__ = [
    "ROWS_AT_ONCE",
    "TransitionIndex",
    "distinct_rows",
    "evaluate_numbered",
    "index_transitions",
    "never",
    "take",
]

ROWS_AT_ONCE = 2**17  # hypothetical transitions evaluated in one call of a reward: bounds memory, not the result


@dataclass(frozen=True, eq=False)
class TransitionIndex:
    """Transitions written with numbers of distinct states and actions.

    Attributes:
        states: The distinct states, `(S, ...)`; those of the transitions and any others asked for.
        actions: The distinct actions, `(A, ...)`.
        origin, action, target: Number of state, action and next state of each transition, `(n,)`.
        others: Number of each of the other states.
    """

    states: Array
    actions: Array
    origin: Int[np.ndarray, " n"]
    action: Int[np.ndarray, " n"]
    target: Int[np.ndarray, " n"]
    others: Int[np.ndarray, " m"]

    @property
    def numbers(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers of state, action and next state of each transition."""
        return self.origin, self.action, self.target

    @property
    def action_distribution(self) -> Float[np.ndarray, " a"]:
        """Share of each distinct action among the transitions."""
        return np.bincount(self.action, minlength=len(self.actions)) / len(self.action)


def index_transitions(transitions: Transitions, others: Array | None = None) -> TransitionIndex:
    """Number the distinct states and actions of transitions, and those of `others`, further states."""
    xp = array_namespace(transitions.states)
    pool = [transitions.states, transitions.next_states] + ([] if others is None else [others])
    pool = xp.concat(pool, axis=0)
    first, number = distinct_rows(pool)
    first_action, action = distinct_rows(transitions.actions)
    origin, target, rest = np.split(number, [len(transitions), 2 * len(transitions)])
    return TransitionIndex(take(pool, first), take(transitions.actions, first_action), origin, action, target, rest)


def evaluate_numbered(
    rewards: Mapping[str, RewardFunction],
    states: Array,
    actions: Array,
    numbers: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Float[np.ndarray, "k m"]:
    """Each reward on m transitions, none of them terminating, `(k, m)`.

    Args:
        rewards: k reward functions.
        states: Distinct states.
        actions: Distinct actions.
        numbers: Number of state, action and next state of each transition.
    """
    origin, action, target = numbers
    values = np.empty((len(rewards), len(origin)))
    for start in range(0, len(origin), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        before, acting, after = take(states, origin[part]), take(actions, action[part]), take(states, target[part])
        values[:, part] = evaluate_rewards(rewards, before, acting, after, never(before))
    return values


def distinct_rows(array: Array) -> tuple[Int[np.ndarray, " d"], Int[np.ndarray, " n"]]:
    """Where each distinct row occurs first, and the number of each row among the distinct ones.

    Rows are equal if all their entries are (0.0 and -0.0 are).
    """
    rows = to_numpy(array).reshape(array.shape[0], -1)
    if np.issubdtype(rows.dtype, np.floating):
        rows = rows + 0.0  # makes -0.0 and 0.0 the same bytes
    if rows.shape[1] == 1:
        keys = rows[:, 0]
    else:  # whole rows compared as bytes: one sort instead of one a column
        keys = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.itemsize * rows.shape[1])))[:, 0]
    _, first, number = np.unique(keys, return_index=True, return_inverse=True)
    return first, number


def take(array: Array, rows: Int[np.ndarray, " m"]) -> Array:
    """Rows of an array of either library by NumPy indices."""
    xp = array_namespace(array)
    return array[rows] if xp is array_namespace(rows) else array[xp.asarray(rows, device=array.device)]


def never(states: Array) -> Array:
    """`terminated`, False throughout: EPIC, DARD and SRRD are defined for worlds without an end."""
    return array_namespace(states).zeros(states.shape[0], dtype=array_namespace(states).bool, device=states.device)
