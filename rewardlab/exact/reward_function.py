"""Reward functions written by hand, turned into checked arrays."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["StepReward", "check_signature", "evaluate_step_reward"]

_PROBE = 50  # transitions on which a function shows whether it takes arrays

StepReward = Callable[[Any, Any, Any], Any]
"""`(state, action, next_state) -> reward`: of one transition, or elementwise of arrays of them."""


def check_signature(function: object, name: str = "reward") -> StepReward:
    """Return `function` if it can be called with a state, an action and a next state.

    Raises:
        TypeError: If it is not callable or takes other arguments; the message shows the ones it takes.
    """
    if not callable(function):
        raise TypeError(f"{name}: expected a function (state, action, next_state) -> reward, got {function!r}")
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # some compiled functions have none to show
        return function
    try:
        signature.bind(None, None, None)
    except TypeError:
        raise TypeError(f"{name}: expected a function of (state, action, next_state), got one of {signature}") from None
    return function


def evaluate_step_reward(
    function: StepReward, states: np.ndarray, actions: np.ndarray, next_states: np.ndarray, name: str = "reward"
) -> Float[np.ndarray, " n"]:
    """The reward of n transitions: in one call where the function takes arrays, else in one call a transition.

    A function takes arrays if it answers a small batch of transitions with one number each, the same ones that it gives
    when asked about them one by one. A function that works on arrays alone is taken at its word.

    Args:
        function: Reward of a transition.
        states: `(n, ...)`.
        actions: `(n, ...)`.
        next_states: `(n, ...)`.
        name: What to call the reward in messages.

    Returns:
        Rewards `(n,)`, float64. They may be NaN or infinite.

    Raises:
        TypeError: If the signature does not fit, or the function returns something that is not a real number.
        ValueError: If the function fails on a transition; the message names it.
    """
    check_signature(function, name)
    columns = (states, actions, next_states)
    if _takes_arrays(function, columns, name):
        values = _all_at_once(function, columns)
        if values is not None:
            return values
    return _one_by_one(function, columns, name)


def _takes_arrays(function: StepReward, columns: tuple, name: str) -> bool:
    rows = len(columns[0])
    size = min(rows, _PROBE)
    spread = np.linspace(0, rows - 1, size).astype(int)
    probe = tuple(column[spread] for column in columns)
    together = _all_at_once(function, probe)
    if together is None:
        return False
    try:
        apart = _one_by_one(function, probe, name)
    except (TypeError, ValueError):
        return True
    return np.allclose(together, apart, rtol=1e-5, atol=0, equal_nan=True)


def _all_at_once(function: StepReward, columns: tuple) -> np.ndarray | None:
    """Rewards `(n,)` from one call with arrays; None where that call fails or returns something else."""
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(function(*columns))
    except Exception:  # whatever went wrong goes wrong again one by one, where the transition can be named
        return None
    return values.astype(np.float64) if values.shape == columns[0].shape[:1] and values.dtype.kind in "biuf" else None


def _one_by_one(function: StepReward, columns: tuple, name: str) -> np.ndarray:
    rows = zip(*(column.tolist() if column.ndim == 1 else column for column in columns), strict=True)
    return np.array([_one(function, row, name) for row in rows], dtype=np.float64)


def _one(function: StepReward, transition: tuple, name: str) -> float:
    try:
        value = function(*transition)
    except Exception as error:
        where = "state {}, action {}, next state {}".format(*transition)
        raise ValueError(f"{name} failed at {where}: {type(error).__name__}: {error}") from error
    try:
        if isinstance(value, str | complex):
            raise TypeError
        return float(value)
    except (TypeError, ValueError):
        where = "state {}, action {}, next state {}".format(*transition)
        raise TypeError(f"{name} returned {value!r} at {where}, expected a number") from None
