"""Scalings of inputs, fitted once on the data and kept with the network that was trained on them."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from rewardlab.arrays import Array
from rewardlab.checks import check_array, check_finite, check_scalar

__all__ = ["RangeScaler", "Standardiser"]

_SMALLEST = 1e-12  # a column that varies less is constant: dividing by it would only enlarge rounding errors


class Standardiser(nn.Module):
    """Subtracts the mean of each column and divides by its standard deviation (of the population).

    Before `fit` it changes nothing. A column whose standard deviation is below 1e-12 is divided by 1.

    Args:
        size: Columns.

    Attributes:
        mean: `(size,)`.
        standard_deviation: `(size,)`, 1 for constant columns.

    Source:
        The input scaling of MOREC (arXiv 2310.05422) and of the model-based methods before it.

    Example:
        >>> scaler = Standardiser(2).fit(np.array([[1.0, 5.0], [3.0, 5.0]]))
        >>> scaler(torch.tensor([5.0, 6.0]))
        tensor([3., 1.])
    """

    mean: Tensor
    standard_deviation: Tensor

    def __init__(self, size: int):
        super().__init__()
        check_scalar("size", size, low=1, whole=True)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("standard_deviation", torch.ones(size))

    def fit(self, rows: Float[Array, "n size"]) -> "Standardiser":
        """Take mean and standard deviation of `rows` (at least one), in float64.

        Raises:
            TypeError: If `rows` is no array of numbers.
            ValueError: If it has another number of columns, no row, or a number that is not finite; names the place.
        """
        rows = _checked_rows(rows, len(self.mean))
        deviation = rows.std(dim=0, correction=0)
        self.mean.copy_(rows.mean(dim=0))
        self.standard_deviation.copy_(torch.where(deviation < _SMALLEST, 1.0, deviation))
        return self

    def forward(self, values: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Scaled values."""
        return (values - self.mean) / self.standard_deviation

    def inverse(self, scaled: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """The values whose scaled form this is."""
        return scaled * self.standard_deviation + self.mean


class RangeScaler(nn.Module):
    """Maps each column's range `[low, high]` linearly onto `[-limit, limit]`; beyond the range it extrapolates.

    A column that does not vary (`low == high`) becomes 0 whatever its value; `constant_columns` names such columns.
    Before `fit` the range is `[-limit, limit]` itself, so that nothing changes.

    Args:
        size: Columns.
        limit: Where the ends of the range go, in (0, inf).

    Attributes:
        low: `(size,)` smallest value of each column.
        high: `(size,)` largest value of each column.

    Source:
        MOREC's discriminators (arXiv 2310.05422): limit 0.8 for observations and 1 for actions; next observations go
        through the scaler of the observations.

    Example:
        >>> scaler = RangeScaler(2, limit=0.8).fit(np.array([[0.0, 7.0], [10.0, 7.0]]))
        >>> scaler(torch.tensor([[10.0, 7.0], [5.0, 9.0]]))
        tensor([[0.8000, 0.0000],
                [0.0000, 0.0000]])
        >>> scaler.constant_columns
        [1]
    """

    low: Tensor
    high: Tensor

    def __init__(self, size: int, *, limit: float = 0.8):
        super().__init__()
        check_scalar("size", size, low=1, whole=True)
        self.limit = float(check_scalar("limit", limit, low=0, open_low=True))
        self.register_buffer("low", torch.full((size,), -self.limit))
        self.register_buffer("high", torch.full((size,), self.limit))

    @property
    def constant_columns(self) -> list[int]:
        """Columns that did not vary, and are mapped to 0."""
        return torch.nonzero(self.high <= self.low).flatten().tolist()

    @property
    def factor(self) -> Float[Tensor, " size"]:
        """What a difference of two values is multiplied by; 0 for constant columns."""
        width = self.high - self.low
        return torch.where(width > 0, 2 * self.limit / width, 0.0)

    def fit(self, rows: Float[Array, "n size"]) -> "RangeScaler":
        """Take the smallest and largest value of each column of `rows` (at least one).

        Raises:
            TypeError: If `rows` is no array of numbers.
            ValueError: If it has another number of columns, no row, or a number that is not finite; names the place.
        """
        rows = _checked_rows(rows, len(self.low))
        self.low.copy_(rows.amin(dim=0))
        self.high.copy_(rows.amax(dim=0))
        return self

    def forward(self, values: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """Scaled values."""
        return (values - (self.low + self.high) / 2) * self.factor

    def inverse(self, scaled: Float[Tensor, "*batch size"]) -> Float[Tensor, "*batch size"]:
        """The values whose scaled form this is; of constant columns, the constant."""
        return scaled * (self.high - self.low) / (2 * self.limit) + (self.low + self.high) / 2


def _checked_rows(rows: Array, size: int) -> Tensor:
    check_array("rows", rows)
    if rows.ndim != 2 or rows.shape[1] != size or rows.shape[0] == 0:
        raise ValueError(f"rows has shape {tuple(rows.shape)}, expected (N, {size}) with at least one row")
    check_finite("rows", rows)
    return torch.as_tensor(np.array(rows) if isinstance(rows, np.ndarray) else rows.detach()).double()
