"""Mean and variance of all numbers seen so far, a batch at a time."""

from typing import Any

import numpy as np
from jaxtyping import Float, Real

from rewardlab.checks import check_finite, check_scalar

__all__ = ["RunningMoments"]


class RunningMoments:
    """Running mean and population variance, merged batch by batch.

    It starts as if `count` numbers of mean 0 and variance 1 had been seen, so that it can normalise at once and
    forgets them soon. Merging is exact: any split of the same numbers into batches gives the same moments.

    Args:
        shape: Of one number, `()`, or of one row of features, each with moments of its own.
        count: Weight of the start.

    Attributes:
        mean: Array of `shape`, float64.
        variance: Array of `shape`, float64, dividing by the count and not by one less.
        count: Numbers seen, the start included.

    Source: Chan, Golub and LeVeque's parallel merge. ONI's released code gives it the batch variance that divides by
        n - 1 and merges as if it divided by n: its result is neither variance, and a batch of one number makes it NaN.

    Example:
        >>> moments = RunningMoments()
        >>> moments.update(np.array([1.0, 2.0, 3.0, 4.0]))
        >>> print(f"{moments.mean:.4f} {moments.variance:.4f}")
        2.4999 1.2501
    """

    def __init__(self, shape: tuple[int, ...] = (), *, count: float = 1e-4) -> None:
        self.mean = np.zeros(shape)
        self.variance = np.ones(shape)
        self.count = float(check_scalar("count", count, low=0.0, open_low=True))

    def update(self, values: Real[np.ndarray, "batch *shape"]) -> None:
        """Take in a batch, of any length, also of one number or none.

        Raises:
            ValueError: If a value is NaN or infinite, or the shape is not `(batch, *shape)`.
        """
        values = np.asarray(values, dtype=np.float64)
        if values.ndim == 0 or values.shape[1:] != self.mean.shape:
            wanted = ", ".join(["batch", *map(str, self.mean.shape)])
            raise ValueError(f"values has shape {values.shape}, expected ({wanted})")
        check_finite("values", values)
        if not len(values):
            return
        batch_mean, total = values.mean(axis=0), self.count + len(values)
        difference = batch_mean - self.mean
        squares = self.variance * self.count + values.var(axis=0) * len(values)
        self.variance = np.asarray((squares + difference**2 * (self.count * len(values) / total)) / total)
        self.mean = np.asarray(self.mean + difference * (len(values) / total))
        self.count = total

    def normalise(self, values: Real[np.ndarray, "*batch"]) -> Float[np.ndarray, "*batch"]:
        """Values less the mean, divided by the standard deviation."""
        return np.asarray((np.asarray(values, dtype=np.float64) - self.mean) / self.deviation)

    @property
    def deviation(self) -> Float[np.ndarray, "*shape"]:
        """Standard deviation, never below 1e-8."""
        return np.asarray(np.maximum(np.sqrt(self.variance), 1e-8))

    def state_dict(self) -> dict[str, Any]:
        """Mean, variance and count."""
        return {"mean": self.mean.tolist(), "variance": self.variance.tolist(), "count": self.count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If the state is of numbers of another shape.
        """
        mean, variance = (np.array(state[name], dtype=np.float64) for name in ("mean", "variance"))
        if mean.shape != self.mean.shape or variance.shape != self.mean.shape:
            raise ValueError(f"state has moments of shape {mean.shape}, expected {self.mean.shape}")
        self.mean, self.variance, self.count = mean, variance, float(state["count"])
