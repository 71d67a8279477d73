"""What a potential is, what it returns for one observation and for several, and observations in messages."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from rewardlab.arrays import is_array, to_numpy
from rewardlab.observations import count_rows, take

__all__ = ["Potential", "each_observation", "excerpt", "one_number"]

Potential: TypeAlias = Callable[[Any], Any]
"""A function of one observation that returns one finite number; its method `batch`, if any, takes several at once."""

_LONGEST_EXCERPT = 120  # characters of an observation in an error message


def each_observation(potential: Potential) -> Callable[[Any], np.ndarray]:
    """The form of a potential that takes observations (n, ...) and returns (n,) float64.

    Args:
        potential: Function of one observation; its method `batch` is used if it has one.

    Returns:
        A function that raises TypeError or ValueError if the potential does not return one number for each.

    Example:
        >>> each_observation(lambda observation: -abs(observation[0]))(np.array([[1.0], [-2.0]]))
        array([-1., -2.])
    """
    batch = getattr(potential, "batch", None)

    def evaluate(observations: Any) -> np.ndarray:
        count = count_rows(observations)
        if batch is None:
            values = [potential(take(observations, row)) for row in range(count)]
            rows = (one_number(value, take(observations, row)) for row, value in enumerate(values))
            return np.fromiter(rows, dtype=np.float64, count=count)
        values = batch(observations)
        values = to_numpy(values) if is_array(values) else np.asarray(values)
        if values.shape != (count,) or values.dtype.kind not in "fiu":
            raise ValueError(
                f"the potential's batch returned shape {values.shape} of {values.dtype} for {count} observations, "
                f"expected ({count},) numbers"
            )
        return values.astype(np.float64, copy=False)

    return evaluate


def one_number(value: Any, observation: Any) -> float:
    """What a potential returned for one observation, as a Python float.

    Raises:
        TypeError: If it is no number.
        ValueError: If it has another shape than a number.
    """
    if isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool):
        return float(value)
    if not is_array(value):
        raise TypeError(f"the potential of {excerpt(observation)} is {type(value).__name__}, expected a number")
    value = to_numpy(value)
    if value.dtype.kind not in "fiu":
        raise TypeError(f"the potential of {excerpt(observation)} has dtype {value.dtype}, expected a number")
    if value.ndim:
        raise ValueError(f"the potential of {excerpt(observation)} has shape {value.shape}, expected one number")
    return float(value)


def excerpt(observation: Any) -> str:
    """An observation in an error message."""
    text = " ".join(repr(observation).split())
    return "observation " + (text if len(text) <= _LONGEST_EXCERPT else text[: _LONGEST_EXCERPT - 3] + "...")
