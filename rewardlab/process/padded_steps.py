"""Solutions of different length in one array: steps first, padding after them."""

from collections.abc import Callable, Iterator

import numpy as np
from array_api_compat import device

from rewardlab.arrays import Array, array_namespace, is_floating, is_torch, to_numpy
from rewardlab.checks import check_array

__all__ = [
    "as_floats",
    "by_rows",
    "check_scores",
    "checked_step_mask",
    "on_host",
    "refuse_not_finite",
    "row_blocks",
    "without_last",
]

BLOCK = 2**16  # values worked on together: they stay in the processor's cache from one operation to the next


def checked_step_mask(mask: object, steps: object, *, name: str = "step_rewards") -> Array | None:
    """The mask of `steps (*batch, steps)`, or None where every place holds a step.

    Raises:
        TypeError: If `steps` is no array or the mask is not boolean or of another library.
        ValueError: If the mask has another shape, or a step after padding.
    """
    check_array(name, steps)
    if steps.ndim < 1:
        raise ValueError(f"{name} is a single number, expected shape (*batch, steps)")
    if mask is None:
        return None
    xp = array_namespace(steps)
    if array_namespace(check_array("mask", mask)) is not xp:
        raise TypeError(f"mask is a {type(mask).__name__} but {name} a {type(steps).__name__}; use one library")
    if mask.dtype != xp.bool:
        raise TypeError(f"mask has dtype {mask.dtype}, expected bool (True where there is a step)")
    if tuple(mask.shape) != tuple(steps.shape):
        raise ValueError(f"mask has shape {tuple(mask.shape)}, expected that of {name} {tuple(steps.shape)}")
    plain = on_host(mask)
    if bool(plain.all()):
        return None
    gaps = plain[..., 1:] > plain[..., :-1]
    if bool(gaps.any()):
        place = np.argwhere(to_numpy(gaps))[0]
        place[-1] += 1
        raise ValueError(f"mask{_at(place)} is True after a False, expected the steps first and padding after them")
    return mask


def check_scores(scores: Array, mask: Array | None, *, name: str = "step_rewards") -> None:
    """Do nothing if every score of a step is in [0, 1].

    Raises:
        ValueError: Names the first score that is NaN or outside.
    """
    if 0 in scores.shape or _in_unit(on_host(scores)):
        return
    if mask is not None and all(_in_unit(as_floats(*block)) for block in row_blocks(scores, mask)):
        return  # what is outside is padding
    plain = to_numpy(scores).astype(np.float64)
    wrong = ~((plain >= 0) & (plain <= 1))
    place = np.argwhere(wrong if mask is None else wrong & to_numpy(mask))[0]
    raise ValueError(
        f"{name}{_at(place)} is {plain[tuple(place)]:g}, expected a score in [0, 1]; squash log-odds with a sigmoid "
        f"first, and mask what is padding"
    )


def refuse_not_finite(values: Array, mask: Array | None, *, name: str) -> None:
    """Say which value of a step is NaN or infinite, if one is; for callers whose sums came out that way.

    Raises:
        ValueError: Names the first of them.
    """
    plain = to_numpy(values)
    wrong = np.argwhere(~np.isfinite(plain) if mask is None else ~np.isfinite(plain) & to_numpy(mask))
    if len(wrong):
        value = plain[tuple(wrong[0])]
        raise ValueError(f"{name}{_at(wrong[0])} is {value}, expected a finite number; mask what is padding")


def row_blocks(values: Array, mask: Array | None) -> Iterator[tuple[Array, Array | None]]:
    """Solutions by blocks that fit into the cache, detached: (values, mask), each (solutions, steps); none if empty."""
    if 0 in values.shape:
        return
    values = values.detach() if is_torch(values) else values
    flat, flat_mask = (part if part is None else part.reshape(-1, values.shape[-1]) for part in (values, mask))
    count = _rows_of_a_block(flat)
    for first in range(0, flat.shape[0], count):
        rows = slice(first, first + count)
        yield flat[rows], None if flat_mask is None else flat_mask[rows]


def by_rows(function: Callable[[Array, Array | None], Array], values: Array, mask: Array | None) -> Array:
    """Apply a function of solutions (solutions, steps) and their mask, which keeps the shape, block by block.

    Whole batches pass through main memory once for every operation; a block passes once in all. Tensors that need a
    gradient, and those on an accelerator, are one block.
    """
    flat, flat_mask = (part if part is None else part.reshape(-1, values.shape[-1]) for part in (values, mask))
    count = _rows_of_a_block(flat)
    if flat.shape[0] <= count:
        return function(flat, flat_mask).reshape(values.shape)
    found = None
    for first in range(0, flat.shape[0], count):
        rows = slice(first, first + count)
        part = function(flat[rows], None if flat_mask is None else flat_mask[rows])
        if found is None:
            found = array_namespace(part).empty(flat.shape, dtype=part.dtype, device=device(part))
        found[rows] = part
    return found.reshape(values.shape)


def as_floats(values: Array, mask: Array | None, padding: float = 0.0) -> Array:
    """Values as floats, with `padding` where there is no step."""
    xp = array_namespace(values)
    if not is_floating(values):
        values = xp.astype(values, xp.float64)
    return values if mask is None else xp.where(mask, values, padding)


def without_last(values: Array, mask: Array | None, padding: float = 0.0) -> Array:
    """Values as floats, with `padding` in place of the last step of each solution and where there is no step."""
    xp = array_namespace(values)
    if mask is None:
        first = as_floats(values[..., :-1], None)
        return xp.concat([first, xp.full_like(values[..., -1:], padding, dtype=first.dtype)], axis=-1)
    followed = xp.concat([mask[..., 1:], xp.zeros_like(mask[..., :1])], axis=-1)
    return as_floats(values, followed, padding)


def on_host(values: Array) -> Array:
    """The same memory as NumPy sees it, which reduces booleans many times faster; what is on an accelerator stays."""
    if not is_torch(values) or values.device.type != "cpu":
        return values
    return to_numpy(values)


def _in_unit(values: Array) -> bool:
    return float(values.min()) >= 0 and float(values.max()) <= 1  # NaN compares false


def _rows_of_a_block(flat: Array) -> int:
    if is_torch(flat) and (flat.requires_grad or flat.device.type != "cpu"):
        return max(1, flat.shape[0])
    return max(1, BLOCK // max(1, flat.shape[-1]))


def _at(place: np.ndarray) -> str:
    return f"[{', '.join(str(index) for index in place)}]"
