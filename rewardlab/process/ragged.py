"""From lists of different length to one padded array."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

__all__ = ["PaddedSteps", "pad_steps"]


class PaddedSteps(NamedTuple):
    """Values of the steps of several solutions, and where there is a step.

    Args:
        values: (solutions, steps of the longest), 0 in the padding.
        mask: True where there is a step, the steps first.
    """

    values: Float[np.ndarray, "solutions steps"]
    mask: Bool[np.ndarray, "solutions steps"]


def pad_steps(solutions: Sequence[Sequence | np.ndarray]) -> PaddedSteps:
    """Put the scores of solutions of different length into one array, as all functions of this room take them.

    Args:
        solutions: One sequence of numbers, or one-dimensional array, a solution; may be empty.

    Returns:
        Values in float64 and their mask: `refine(*pad_steps(scores), "clip_delta", threshold=0.7)`.

    Raises:
        TypeError: If a solution is no sequence of numbers.

    Example:
        >>> pad_steps([[0.9, 0.8], [0.7]])
        PaddedSteps(values=array([[0.9, 0.8],
               [0.7, 0. ]]), mask=array([[ True,  True],
               [ True, False]]))
    """
    rows = [_row(number, solution) for number, solution in enumerate(solutions)]
    lengths = np.array([len(row) for row in rows], int)
    mask = np.arange(lengths.max(initial=0)) < lengths[:, None]
    values = np.zeros(mask.shape)
    values[mask] = np.concatenate([*rows, np.zeros(0)])
    return PaddedSteps(values, mask)


def _row(number: int, solution: object) -> np.ndarray:
    if isinstance(solution, str) or not isinstance(solution, Sequence | np.ndarray):
        raise TypeError(f"solutions[{number}]: expected a sequence of numbers, got {type(solution).__name__}")
    row = np.asarray(solution) if len(solution) else np.zeros(0)
    if row.ndim != 1 or row.dtype.kind not in "fiub":
        raise TypeError(f"solutions[{number}]: expected numbers, got {row.dtype} of shape {row.shape}")
    return row.astype(np.float64)
