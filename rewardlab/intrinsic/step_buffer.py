"""Steps of all environments since the last update, and the checks of what comes in."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rewardlab.checks import check_scalar
from rewardlab.intrinsic.interface import Arrivals

__all__ = ["StepBuffer", "check_observations"]


class StepBuffer:
    """Copies of some arrays of each step's arrivals.

    Args:
        environments: How many step at once.
        names: Which attributes of `Arrivals` are kept.

    Raises:
        ValueError: If there are no environments.
    """

    def __init__(self, environments: int, *names: str) -> None:
        self.environments = check_scalar("environments", environments, low=1, whole=True)
        self.names = names
        self._rows: dict[str, list[np.ndarray]] = {name: [] for name in names}

    def __len__(self) -> int:
        return len(self._rows[self.names[0]])

    def add(self, arrivals: Arrivals, **shapes: tuple[int, ...]) -> None:
        """Keep one step.

        Args:
            arrivals: Of all environments.
            shapes: What one row of an array must have as its shape, by name; such an array must be there and finite
                where `valid`.

        Raises:
            ValueError: If an array is missing, of another shape, or not finite.
        """
        if len(arrivals.valid) != self.environments:
            raise ValueError(f"arrivals are of {len(arrivals.valid)} environments, expected {self.environments}")
        for name, shape in shapes.items():
            value = getattr(arrivals, name)
            if value is None:
                raise ValueError(f"arrivals.{name} is None, expected an array {(self.environments, *shape)}")
            check_observations(f"arrivals.{name}", value, shape, rows=self.environments, seen=arrivals.valid)
        for name, rows in self._rows.items():
            rows.append(np.array(getattr(arrivals, name)))

    def stacked(self) -> dict[str, np.ndarray]:
        """Each array as `(steps, n, ...)`."""
        if not len(self):
            return {name: np.zeros((0, self.environments), bool) for name in self.names}
        return {name: np.stack(rows) for name, rows in self._rows.items()}

    def clear(self) -> None:
        """Forget the steps."""
        self._rows = {name: [] for name in self.names}

    def state_dict(self) -> dict[str, Any]:
        """The arrays, stacked."""
        return {"environments": self.environments, "steps": self.stacked()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from there.

        Raises:
            ValueError: If the state is of another number of environments.
        """
        if state["environments"] != self.environments:
            raise ValueError(f"the state is of {state['environments']} environments, expected {self.environments}")
        self._rows = {name: list(np.array(state["steps"][name])) for name in self.names}


def check_observations(
    name: str,
    observations: np.ndarray,
    shape: tuple[int, ...],
    *,
    rows: int | None = None,
    seen: np.ndarray | None = None,
) -> np.ndarray:
    """Return observations that are an array of rows of this shape, finite where they were seen.

    Raises:
        ValueError: Names the shape or the first entry that is wrong.
    """
    observations = np.asarray(observations)
    if observations.shape[1:] != tuple(shape) or rows not in (None, len(observations)):
        count = "n" if rows is None else rows
        raise ValueError(f"{name} has shape {observations.shape}, expected ({count}, {', '.join(map(str, shape))})")
    if observations.dtype.kind == "f":
        wrong = ~np.isfinite(observations)
        if seen is not None:
            wrong[~np.asarray(seen)] = False
        if wrong.any():
            place = [int(at) for at in np.argwhere(wrong)[0]]
            raise ValueError(f"{name}{place} is {observations[tuple(place)]}, expected a finite number")
    return observations
