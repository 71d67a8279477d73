"""Checks of finite response sets at the boundary: log-probabilities, and what goes with each response."""

import math

import numpy as np

from rewardlab.arrays import Array, array_namespace, as_float64, to_numpy
from rewardlab.checks import PROBABILITY_TOLERANCE, check_array, check_broadcast, check_finite

__all__ = ["check_log_probs", "check_same_library", "check_same_sets", "checked_sets", "positive", "raise_at"]


def check_log_probs(name: str, value: object, *, beside: tuple[str, Array] | None = None) -> Array:
    """Return log-probabilities over the last axis in float64, renormalised.

    Args:
        name: What to call them in the message.
        value: What came.
        beside: Name and array whose library `value` must share.

    Raises:
        TypeError, ValueError: If it is no such array; the message names the first row that does not sum to 1.
    """
    value = check_same_library(name, value, beside)
    if value.ndim == 0 or value.shape[-1] == 0:
        raise ValueError(f"{name} has shape {tuple(value.shape)}, expected (*prompts, responses)")
    value = as_float64(value)
    xp = array_namespace(value)
    raise_at(name, xp.isnan(value), "is nan, expected a log-probability (-inf for 0)")
    raise_at(name, value == math.inf, "is inf, expected a log-probability (-inf for 0)")
    with np.errstate(over="ignore"):  # the message below says it better
        total = xp.sum(xp.exp(value), axis=-1)
    wrong = ~(xp.abs(total - 1) <= PROBABILITY_TOLERANCE)
    if bool(xp.any(wrong)):
        where, index = _first(wrong)
        raise ValueError(
            f"{name}{where}: probabilities sum to {to_numpy(total)[index]:.9g}, "
            f"expected 1 within {PROBABILITY_TOLERANCE:g} (log-probabilities over responses)"
        )
    return value - xp.log(total)[..., None]


def check_same_library(name: str, value: object, beside: tuple[str, Array] | None) -> Array:
    """Return `value` if it is an array of real numbers, of the library of the named array `beside`.

    Raises:
        TypeError: If it is not.
    """
    value = check_array(name, value)
    if beside is not None and array_namespace(value) is not array_namespace(beside[1]):
        raise TypeError(
            f"{name} is a {type(value).__name__} but {beside[0]} is a {type(beside[1]).__name__}; use one library"
        )
    return value


def checked_sets(base: object, name: str, value: object, *, never: bool = False) -> tuple[Array, Array]:
    """Base log-probabilities and what goes with each response, both float64 and broadcast against each other.

    With `never`, the values are log-probabilities of events, which -inf is one of; otherwise they are finite.
    """
    base = check_log_probs("base_log_probs", base)
    value = as_float64(check_same_library(name, value, ("base_log_probs", base)))
    xp = array_namespace(base)
    if never:
        raise_at(name, xp.isnan(value), "is nan, expected a log-probability (-inf for 0)")
        raise_at(name, value > 0, "is above 0, expected a log-probability")
    else:
        check_finite(name, value)
    check_same_sets(**{"base_log_probs": base, name: value})
    return xp.broadcast_arrays(base, value)


def check_same_sets(**named: Array) -> None:
    """Raise if the arrays' response axes differ, or their prompts do not broadcast."""
    (first, one), (second, other) = named.items()
    if other.ndim == 0 or one.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"{second} has shape {tuple(other.shape)}, expected (*prompts, {one.shape[-1]}) as {first} has "
            f"{one.shape[-1]} responses"
        )
    check_broadcast(**{name: tuple(value.shape[:-1]) for name, value in named.items()})


def positive(name: str, value: object, *, like: Array, low: float = 0.0) -> Array:
    """A number or array as a float64 array beside `like`, if all of it is finite and above 0 (at least `low`)."""
    xp = array_namespace(like)
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        value = as_float64(check_same_library(name, value, ("base_log_probs", like)))
    else:
        value = xp.asarray(float(value), dtype=xp.float64, device=like.device)
    good = xp.isfinite(value) & ((value >= low) if low else (value > 0))
    if not bool(xp.all(good)):
        where, index = _first(~good)
        interval = f"[{low:g}, inf)" if low else "(0, inf)"
        raise ValueError(f"{name}{where} is {to_numpy(value)[index]}, expected a number in {interval}")
    return value


def raise_at(name: str, wrong: Array, message: str) -> None:
    """Raise with the message if any entry of `wrong` is True, naming the first."""
    if bool(array_namespace(wrong).any(wrong)):
        raise ValueError(f"{name}{_first(wrong)[0]} {message}")


def _first(wrong: Array) -> tuple[str, tuple[int, ...]]:
    """Where the first True is, as text and as an index."""
    index = tuple(int(i) for i in np.argwhere(to_numpy(wrong))[0])
    return (f"[{', '.join(map(str, index))}]" if index else ""), index
