"""Checks of arguments at the boundary: what was expected, what came, and where."""

import math

import numpy as np

from rewardlab.arrays import Array, all_finite, array_namespace, is_array, is_floating, to_numpy

PROBABILITY_TOLERANCE = 1e-6  # a row may miss 1 by this much: transitions estimated in float32 still pass

__all__ = [
    "as_generator",
    "check_array",
    "check_broadcast",
    "check_choice",
    "check_distribution",
    "check_finite",
    "check_same_shape",
    "check_scalar",
    "check_sizes",
]


def check_array(name: str, value: object, *, like: Array | None = None) -> Array:
    """Return `value` if it is a NumPy array or a torch tensor of real numbers or booleans.

    Args:
        name: What to call the array in the message.
        value: What came.
        like: An array of the MDP, whose library `value` must share; None where any library will do.

    Raises:
        TypeError: If it is anything else (a list, a data frame, a number), holds complex numbers, strings or objects
            (a conversion could drop a part of them without a word), or is of another library than `like`.
    """
    if not is_array(value):
        raise TypeError(f"{name}: expected a NumPy array or torch tensor, got {type(value).__name__}")
    xp = array_namespace(value)
    if not is_floating(value) and not xp.isdtype(value.dtype, ("bool", "integral")):
        raise TypeError(f"{name} has dtype {value.dtype}, expected real numbers")
    if like is not None and xp is not array_namespace(like):
        raise TypeError(f"{name} is a {type(value).__name__} but the MDP holds {type(like).__name__}s; use one library")
    return value


def check_broadcast(**batches: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that the named batch shapes broadcast to.

    Raises:
        ValueError: Names all batches if they do not broadcast against one another.
    """
    try:
        return np.broadcast_shapes(*batches.values())
    except ValueError:
        listed = ", ".join(f"{name} {tuple(batch)}" for name, batch in batches.items())
        raise ValueError(f"batch shapes do not broadcast against one another: {listed}") from None


def check_finite(name: str, value: Array) -> Array:
    """Return `value` if every entry is finite.

    Raises:
        ValueError: Names the first entry that is NaN or infinite.
    """
    if not all_finite(value):
        position = np.argwhere(~np.isfinite(to_numpy(value)))[0]
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
            f"{name}{_index(position)} sums to {to_numpy(total)[tuple(position)]:.9g}, "
            f"expected 1 within {PROBABILITY_TOLERANCE:g} (a probability over {over})"
        )
    return value


def check_same_shape(name: str, value: Array, other_name: str, other: Array) -> None:
    """Do nothing if both arrays have one shape.

    Raises:
        ValueError: Names both shapes if they differ.
    """
    if tuple(value.shape) != tuple(other.shape):
        raise ValueError(f"{name} has shape {tuple(value.shape)}, {other_name} {tuple(other.shape)}; expected the same")


def check_scalar(
    name: str,
    value: object,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    open_low: bool = False,
    whole: bool = False,
):
    """Return `value` if it is a finite number in [low, high], or in (low, high] with `open_low`.

    Raises:
        TypeError: If it is not a number, or with `whole` not of an integer type.
        ValueError: If it is outside the interval or NaN.
    """
    kind = "a whole number" if whole else "a number"
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        raise TypeError(f"{name}: expected {kind}, got {type(value).__name__}")
    if whole and not isinstance(value, int | np.integer):
        raise TypeError(f"{name} is {value}, expected {kind}")
    inside = (low < value if open_low else low <= value) and value <= high
    if not inside or not math.isfinite(value):
        left, right = "(" if open_low or low == -math.inf else "[", ")" if high == math.inf else "]"
        raise ValueError(f"{name} is {value}, expected {kind} in {left}{low:g}, {high:g}{right}")
    return value


def check_choice(name: str, value: object, choices) -> None:
    """Do nothing if `value` is one of `choices`.

    Raises:
        ValueError: Lists the choices.
    """
    if is_array(value) or value not in tuple(choices):
        raise ValueError(f"{name} is {value!r}, expected one of {', '.join(repr(choice) for choice in choices)}")


def as_generator(rng: int | np.random.Generator) -> np.random.Generator:
    """The generator, or a new one with this seed.

    Raises:
        TypeError: If `rng` is neither an integer nor a generator: without a seed nothing could be repeated.
        ValueError: If the seed is negative.
    """
    if isinstance(rng, np.random.Generator):
        return rng
    if isinstance(rng, bool) or not isinstance(rng, int | np.integer):
        raise TypeError(f"rng: expected a seed or a numpy.random.Generator, got {type(rng).__name__}")
    return np.random.default_rng(check_scalar("rng", rng, low=0, whole=True))


def _index(position: np.ndarray) -> str:
    return f"[{', '.join(str(index) for index in position)}]" if len(position) else ""


def check_sizes(name: str, value: object) -> tuple[int, ...]:
    """Return sizes of layers as a tuple if they are whole numbers of at least 1.

    Raises:
        TypeError: If `value` is no list or tuple, or a size is no whole number.
        ValueError: If a size is below 1; names its place.
    """
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name} is {value!r}, expected the sizes of the layers, such as (64, 64)")
    return tuple(check_scalar(f"{name}[{place}]", size, low=1, whole=True) for place, size in enumerate(value))
