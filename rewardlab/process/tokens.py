"""From values of steps to values of tokens: rewards go to a step's last token, advantages to all of them."""

import numpy as np
from array_api_compat import device
from jaxtyping import Bool, Float, Integer, Num

from rewardlab.arrays import Array, all_finite, array_namespace, is_floating, is_torch, to_numpy
from rewardlab.checks import check_array, check_scalar
from rewardlab.process.padded_steps import BLOCK, as_floats, checked_step_mask, on_host, refuse_not_finite, row_blocks

__all__ = ["place_on_tokens", "spread_over_tokens"]


def place_on_tokens(
    step_values: Num[Array, "samples steps"],
    mask: Bool[Array, "samples steps"] | None,
    step_ends: Integer[Array, "samples steps"],
    tokens: int,
) -> Float[Array, "samples tokens"]:
    """Rewards of tokens: each step's value at its last token, 0 at all others.

    Args:
        step_values: One finite value a step, NumPy or torch.
        mask: True where there is a step, the steps first; None where all are steps.
        step_ends: Index of the last token of each step, from 0 to `tokens - 1` and rising from step to step; ignored
            in the padding.
        tokens: Length of the padded completions.

    Returns:
        Values of the tokens, of the float dtype of `step_values`.

    Raises:
        TypeError: If `step_ends` holds no whole numbers.
        ValueError: If a step ends outside the completion or not after the step before it, a value is not finite, or
            shapes disagree.

    Example:
        >>> import numpy as np
        >>> place_on_tokens(np.array([[0.5, -1.0]]), None, np.array([[1, 4]]), 6)
        array([[ 0. ,  0.5,  0. ,  0. , -1. ,  0. ]])
    """
    mask, step_ends = _checked(step_values, mask, step_ends, tokens)
    if is_torch(step_values) and not _plain_memory(step_values):
        values, ends = as_floats(step_values, mask), step_ends if mask is None else step_ends.where(mask, 0)
        placed = values.new_zeros((values.shape[0], tokens))  # to whose token 0 the padding adds 0
        placed = placed.scatter_add_(1, ends, values) if values.numel() and tokens else placed
    else:
        placed = _placed(*(part if part is None else on_host(part) for part in (step_values, mask, step_ends)), tokens)
    if not (all_finite(step_values) or all_finite(placed)):
        refuse_not_finite(step_values, mask, name="step_values")
    return _as_tensor(placed) if is_torch(step_values) and isinstance(placed, np.ndarray) else placed


def spread_over_tokens(
    step_values: Num[Array, "samples steps"],
    mask: Bool[Array, "samples steps"] | None,
    step_ends: Integer[Array, "samples steps"],
    tokens: int,
) -> Float[Array, "samples tokens"]:
    """Advantages of tokens: every token of a step gets the step's value, and what follows the last step 0.

    Tokens that the policy did not write (a tool's output inside a step) are to be masked in the loss, as usual.

    Args:
        step_values: One finite value a step, NumPy or torch.
        mask: True where there is a step, the steps first; None where all are steps.
        step_ends: Index of the last token of each step, as for `place_on_tokens`; a step starts behind the end of the
            one before it, the first at token 0.
        tokens: Length of the padded completions.

    Returns:
        Values of the tokens, of the float dtype of `step_values`.

    Raises:
        TypeError: If `step_ends` holds no whole numbers.
        ValueError: If a step ends outside the completion or not after the step before it, a value is not finite, or
            shapes disagree.

    Example:
        >>> import numpy as np
        >>> spread_over_tokens(np.array([[0.5, -1.0]]), None, np.array([[1, 4]]), 6)
        array([[ 0.5,  0.5, -1. , -1. , -1. ,  0. ]])
    """
    mask, step_ends = _checked(step_values, mask, step_ends, tokens)
    values = as_floats(step_values, mask)
    if not all_finite(values):
        refuse_not_finite(step_values, mask, name="step_values")
    samples = values.shape[0]
    xp = array_namespace(values)
    if 0 in values.shape:
        return xp.zeros((samples, tokens), dtype=values.dtype, device=device(values))
    edge = xp.zeros_like(values[:, :1])
    outer = xp.astype(edge, step_ends.dtype)
    ends = step_ends if mask is None else xp.where(mask, step_ends, outer - 1)
    if mask is not None:  # a step of the padding ends where the last step did, and so has no tokens
        ends = np.maximum.accumulate(ends, axis=1) if isinstance(ends, np.ndarray) else ends.cummax(1).values
    ends = xp.concat([outer - 1, ends, outer + (tokens - 1)], axis=1)
    spread = xp.repeat(
        xp.reshape(xp.concat([values, edge], axis=1), (-1,)), xp.reshape(ends[:, 1:] - ends[:, :-1], (-1,))
    )
    return xp.reshape(spread, (samples, tokens))


def _plain_memory(values: Array) -> bool:
    """Whether a tensor is what NumPy could hold: on the host, without gradient, of a type that it has."""
    return values.device.type == "cpu" and not values.requires_grad and str(values.dtype) != "torch.bfloat16"


def _as_tensor(values: np.ndarray) -> Array:
    import torch

    return torch.from_numpy(values)


def _placed(values: np.ndarray, mask: np.ndarray | None, ends: np.ndarray, tokens: int) -> np.ndarray:
    """Values written at their ends, a block of samples at a time; the padding at the last token, which is then mended.

    Picking out what is no padding would take longer than writing all of it.
    """
    samples, steps = values.shape
    placed = np.zeros((samples, tokens), values.dtype if is_floating(values) else np.float64)
    if not placed.size or not steps:
        return placed
    count = max(1, BLOCK // steps)
    first_token = np.arange(0, count * tokens, tokens)[:, None]
    for first in range(0, samples, count):
        rows = slice(first, first + count)
        here = ends[rows] if mask is None else np.where(mask[rows], ends[rows], tokens - 1)
        placed[rows].reshape(-1)[first_token[: len(here)] + here] = values[rows]
    if mask is not None:
        number, row = mask.sum(axis=1), np.arange(samples)
        last = np.maximum(number - 1, 0)
        placed[:, -1] = np.where((number > 0) & (ends[row, last] == tokens - 1), values[row, last], 0)
    return placed


def _checked(step_values: Array, mask: Array | None, step_ends: Array, tokens: int) -> tuple[Array | None, Array]:
    """The mask, None where all are steps, and the ends in int64: a narrower type may not hold the number of tokens."""
    mask = checked_step_mask(mask, step_values, name="step_values")
    if step_values.ndim != 2:
        raise ValueError(f"step_values has shape {tuple(step_values.shape)}, expected (samples, steps)")
    check_scalar("tokens", tokens, low=0, whole=True)
    xp = array_namespace(step_values)
    if array_namespace(check_array("step_ends", step_ends)) is not xp:
        kinds = f"step_ends is a {type(step_ends).__name__} but step_values a {type(step_values).__name__}"
        raise TypeError(f"{kinds}; use one library")
    if not xp.isdtype(step_ends.dtype, "integral"):
        raise TypeError(f"step_ends has dtype {step_ends.dtype}, expected whole numbers: indices of tokens")
    if tuple(step_ends.shape) != tuple(step_values.shape):
        raise ValueError(f"step_ends has shape {tuple(step_ends.shape)}, step_values {tuple(step_values.shape)}")
    ends = xp.astype(step_ends, xp.int64, copy=False)
    _check_ends(ends, mask, tokens)
    return mask, ends


def _check_ends(ends: Array, mask: Array | None, tokens: int) -> None:
    """Steps end one after another, so that the first and the last tell whether all are in the completion."""
    if 0 in ends.shape:
        return
    ends, mask = on_host(ends), None if mask is None else on_host(mask)
    first = 0
    for block, here in row_blocks(ends, mask):
        back = block[:, 1:] <= block[:, :-1]
        back = back if here is None else back & here[:, 1:]
        if bool(back.any()):
            row, step = (int(place) for place in np.argwhere(to_numpy(back))[0])
            raise ValueError(
                f"step_ends[{first + row}, {step + 1}] is {int(block[row, step + 1])}, expected more than "
                f"{int(block[row, step])}, where the step before it ends"
            )
        first += block.shape[0]
    plain = to_numpy(ends)
    count = np.full(len(plain), plain.shape[1]) if mask is None else to_numpy(mask).sum(-1)
    last = np.maximum(count - 1, 0)
    for step, wrong in ((np.zeros_like(last), plain[:, 0] < 0), (last, plain[np.arange(len(last)), last] >= tokens)):
        rows = np.flatnonzero(wrong & (count > 0))
        if len(rows):
            row = rows[0]
            found = f"step_ends[{row}, {step[row]}] is {plain[row, step[row]]}"
            raise ValueError(f"{found}, expected a token from 0 to {tokens - 1}")
