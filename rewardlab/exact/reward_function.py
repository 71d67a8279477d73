"""Reward functions written by hand, turned into checked arrays."""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

__all__ = ["StepReward", "check_signature", "evaluate_step_reward"]

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
        raise TypeError(
            f"{name}: expected a function of (state, action, next_state), got one of {signature}"
        ) from None
    return function


def evaluate_step_reward(
    function: StepReward, states: np.ndarray, actions: np.ndarray, next_states: np.ndarray, name: str = "reward"
) -> Float[np.ndarray, " n"]:
    """The reward of n transitions: in one call where the function takes arrays, else in one call a transition.

    A function takes arrays if it returns one number for each of n transitions at once. Any other answer (an exception,
    a single number, another shape) means that it was written for one transition, and it is called with those.

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
    try:
        with np.errstate(all="ignore"):
            values = np.asarray(function(states, actions, next_states))
        if values.shape == states.shape[:1] and values.dtype.kind in "biuf":
            return values.astype(np.float64)
    except Exception:  # whatever went wrong goes wrong again below, where the transition can be named
        pass
    rows = zip(*(column.tolist() if column.ndim == 1 else column for column in (states, actions, next_states)), strict=True)
    return np.array([_one(function, row, name) for row in rows])


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
