"""Checks of arguments at the boundary: what was expected, what came, and where."""

import math

import numpy as np

from rewardlab.arrays import Array, array_namespace, is_array, to_numpy

PROBABILITY_TOLERANCE = 1e-6  # a row may miss 1 by this much: transitions estimated in float32 still pass

__all__ = ["check_array", "check_choice", "check_distribution", "check_finite", "check_scalar"]


def check_array(name: str, value: object, *, where: str = "") -> Array:
    """Return `value` if it is a NumPy array or a torch tensor.

    Raises:
        TypeError: If it is anything else (a list, a data frame, a number).
    """
    if not is_array(value):
        raise TypeError(f"{name}: expected a NumPy array or torch tensor{where}, got {type(value).__name__}")
    return value


def check_finite(name: str, value: Array) -> Array:
    """Return `value` if every entry is finite.

    Raises:
        ValueError: Names the first entry that is NaN or infinite.
    """
    xp = array_namespace(value)
    if math.isfinite(float(xp.sum(value))):  # one pass settles the usual case: NaN and infinity survive a sum
        return value
    finite = xp.isfinite(value)
    if not bool(xp.all(finite)):
        position = np.argwhere(~to_numpy(finite))[0]
        raise ValueError(
            f"{name}{_index(position)} is {to_numpy(value)[tuple(position)]}, expected a finite number; "
            f"mask what is missing instead"
        )
    return value


def check_distribution(name: str, value: Array, *, over: str) -> Array:
    """Return `value` if its last axis holds probabilities: none negative, each row summing to 1 within 1e-6.

    Args:
        name: What to call the array in the message.
        value: Array of floats whose last axis should sum to 1.
        over: What the probabilities are over, for the message ("next states").

    Raises:
        ValueError: Names the first entry that is negative or the first row that does not sum to 1.
    """
    xp = array_namespace(value)
    check_finite(name, value)
    if bool(xp.any(value < 0)):
        position = np.argwhere(to_numpy(value) < 0)[0]
        entry = to_numpy(value)[tuple(position)]
        raise ValueError(f"{name}{_index(position)} is {entry:.6g}, expected a probability of at least 0")
    total = xp.sum(value, axis=-1)
    wrong = xp.abs(total - 1) > PROBABILITY_TOLERANCE
    if bool(xp.any(wrong)):
        position = np.argwhere(to_numpy(wrong))[0]
        raise ValueError(
            f"{name}{_index(position)} sums to {to_numpy(total)[tuple(position)]:.6g}, "
            f"expected 1 within {PROBABILITY_TOLERANCE:g} (a probability over {over})"
        )
    return value


def check_scalar(name: str, value: object, *, low: float = -math.inf, high: float = math.inf, open_low: bool = False):
    """Return `value` if it is a finite number in [low, high], or in (low, high] with `open_low`.

    Raises:
        TypeError: If it is not a number.
        ValueError: If it is outside the interval or NaN.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: expected a number, got {type(value).__name__}")
    inside = (low < value if open_low else low <= value) and value <= high
    if not inside or not math.isfinite(value):
        raise ValueError(f"{name} is {value}, expected a number in {'(' if open_low else '['}{low:g}, {high:g}]")
    return value


def check_choice(name: str, value: object, choices) -> None:
    """Do nothing if `value` is one of `choices`.

    Raises:
        ValueError: Lists the choices.
    """
    if value not in tuple(choices):
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(repr(choice) for choice in choices)}")


def _index(position: np.ndarray) -> str:
    return f"[{', '.join(str(index) for index in position)}]" if len(position) else ""
