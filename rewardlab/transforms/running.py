"""Mean and standard deviation of everything seen so far, kept between calls."""

import math
from dataclasses import dataclass

from rewardlab.arrays import Array, array_namespace, as_float64
from rewardlab.checks import check_finite, check_scalar

__all__ = ["RunningStatistics"]


@dataclass(slots=True)
class RunningStatistics:
    """Count, mean and summed squared deviation of all values seen, updated batch by batch without cancellation.

    Args:
        count: Number of values seen.
        mean: Their mean.
        squared_deviation: Sum of their squared deviations from it.

    Source: Chan, Golub and LeVeque 1979, pairwise update.

    Example:
        >>> import numpy as np
        >>> statistics = RunningStatistics()
        >>> statistics.update(np.array([1.0, 2.0])); statistics.update(np.array([6.0]))
        >>> statistics.mean, round(statistics.deviation, 4)
        (3.0, 2.1602)
    """

    count: int = 0
    mean: float = 0.0
    squared_deviation: float = 0.0

    def update(self, values: Array) -> None:
        """Take in a batch of values of any shape; an empty one changes nothing.

        Raises:
            ValueError: If a value is NaN or infinite, which would stay in the statistics for good.
        """
        number = math.prod(values.shape)
        if not number:
            return
        xp, values = array_namespace(values), as_float64(check_finite("values", values))
        mean = float(xp.mean(values))
        squared = float(xp.sum((values - mean) ** 2))
        total, shift = self.count + number, mean - self.mean
        self.squared_deviation += squared + shift * shift * self.count * number / total
        self.mean += shift * number / total
        self.count = total

    @property
    def deviation(self) -> float:
        """Population standard deviation; 0 before anything was seen."""
        return math.sqrt(self.squared_deviation / self.count) if self.count else 0.0

    def state_dict(self) -> dict[str, float]:
        """The state as plain numbers."""
        return {"count": self.count, "mean": self.mean, "squared_deviation": self.squared_deviation}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Take over a state.

        Raises:
            ValueError: If a number is missing, unknown, negative where it cannot be, or not finite.
        """
        if set(state) != {"count", "mean", "squared_deviation"}:
            raise ValueError(f"state holds {sorted(state)}, expected count, mean and squared_deviation")
        check_scalar("count", state["count"], low=0, whole=True)
        check_scalar("mean", state["mean"])
        check_scalar("squared_deviation", state["squared_deviation"], low=0.0)
        self.count, self.mean, self.squared_deviation = state["count"], state["mean"], state["squared_deviation"]
