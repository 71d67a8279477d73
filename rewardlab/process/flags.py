"""Things that are so or not so, as booleans or 0 and 1, and numbers between two bounds."""

import numpy as np

from rewardlab.arrays import Array, array_namespace, as_float64, to_numpy
from rewardlab.checks import check_array

__all__ = ["check_library", "checked_between", "checked_flags", "index_of_first"]


def check_library(name: str, value: object, other_name: str, other: Array) -> Array:
    """Return `value` if it is an array of real numbers of the library that `other` is of.

    Raises:
        TypeError: If it is not.
    """
    if array_namespace(check_array(name, value)) is not array_namespace(other):
        raise TypeError(
            f"{name} is a {type(value).__name__} but {other_name} a {type(other).__name__}; use one library"
        )
    return value


def checked_flags(name: str, value: object, mask: Array | None = None) -> Array:
    """The flags as 0.0 and 1.0 in float64, 0.0 where the mask is False.

    Raises:
        TypeError: If `value` is no array of booleans or numbers.
        ValueError: Names the first flag that is neither 0 nor 1; NaN is neither.
    """
    flags = as_float64(check_array(name, value))
    if mask is not None:
        flags = array_namespace(flags).where(mask, flags, array_namespace(flags).zeros_like(flags))
    wrong = (flags != 0) & (flags != 1)
    if bool(array_namespace(flags).any(wrong)):
        index, place = index_of_first(wrong)
        raise ValueError(f"{name}{index} is {float(flags[place]):g}, expected 0 or 1 (or a boolean)")
    return flags


def checked_between(name: str, value: object, low: float, high: float) -> Array:
    """The numbers in float64.

    Raises:
        TypeError: If `value` is no array of booleans or numbers.
        ValueError: Names the first number that is outside [low, high]; NaN is.
    """
    numbers = as_float64(check_array(name, value))
    wrong = ~((numbers >= low) & (numbers <= high))
    if bool(array_namespace(numbers).any(wrong)):
        index, place = index_of_first(wrong)
        raise ValueError(f"{name}{index} is {float(numbers[place]):g}, expected a number in [{low:g}, {high:g}]")
    return numbers


def index_of_first(wrong: Array) -> tuple[str, tuple[int, ...]]:
    """Where the first True is, for a message ("[2, 0]", empty for a single number) and to index with."""
    place = tuple(np.argwhere(to_numpy(wrong))[0].tolist())
    return f"[{', '.join(str(number) for number in place)}]" if place else "", place
