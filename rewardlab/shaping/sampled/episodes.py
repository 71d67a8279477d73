"""Episodes, batches of them padded to one length, and the buffer that past episodes are drawn from."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Num
from torch import Tensor

from rewardlab.checks import check_scalar

__all__ = ["Batch", "Episode", "EpisodeBuffer"]

FEATURE_BYTES = 2**28  # features of more steps than this holds are computed again whenever they are drawn


class Episode(NamedTuple):
    """What happened from a reset to the end, as NumPy arrays.

    Args:
        observations: What the policy saw before each action, (steps, dimensions).
        actions: Indices (steps,) or vectors (steps, action dimensions).
        primary: Rewards of the task.
        auxiliary: Rewards of the heuristics, (steps, heuristics).
        terminated: Whether it ended in the world; False where a time limit cut it.
    """

    observations: Float[np.ndarray, "steps dimensions"]
    actions: Num[np.ndarray, "steps *dimensions"]
    primary: Float[np.ndarray, " steps"]
    auxiliary: Float[np.ndarray, "steps heuristics"]
    terminated: bool


class Batch(NamedTuple):
    """Episodes of one policy network, padded behind their last step to the length of the longest.

    Args:
        x: Features of the observations, finite in the padding too.
        actions: Indices (episodes, steps) or vectors (episodes, steps, action dimensions).
        primary: Rewards of the task, 0 in the padding.
        auxiliary: Rewards of the heuristics, 0 in the padding.
        mask: True where there is a step, the steps first.
        divisor: What sums over the steps of an episode are divided by: one number for short and long episodes, as
            published (the time limit plus 1), so that episodes of all lengths weigh alike step by step.
    """

    x: Float[Tensor, "episodes steps features"]
    actions: Num[Tensor, "episodes steps *dimensions"]
    primary: Float[Tensor, "episodes steps"]
    auxiliary: Float[Tensor, "episodes steps heuristics"]
    mask: Bool[Tensor, "episodes steps"]
    divisor: float

    @classmethod
    def of(cls, x, actions, primary, auxiliary, mask=None, divisor: float | None = None) -> "Batch":
        """A batch of given tensors: no mask means all are steps, no divisor the number of steps."""
        mask = torch.ones_like(primary, dtype=torch.bool) if mask is None else mask
        return cls(x, actions, primary, auxiliary, mask, float(primary.shape[1]) if divisor is None else divisor)


class EpisodeBuffer:
    """The latest episodes, in arrays that grow as needed.

    Args:
        capacity: Episodes kept; the oldest make room.
        horizon: Most steps an episode may have. Sums over steps are divided by this plus 1, as published.
        features: From observations (n, dimensions) to features (n, features), a torch tensor.
        dtype: Of the tensors in the batches.

    Raises:
        ValueError: If the capacity or the horizon is below 1.
    """

    def __init__(
        self, capacity: int, horizon: int, features: Callable[[Tensor], Tensor], dtype: torch.dtype = torch.float64
    ):
        self.capacity = check_scalar("capacity", capacity, low=1, whole=True)
        self.horizon = check_scalar("horizon", horizon, low=1, whole=True)
        self.features, self.dtype = features, dtype
        self._columns: dict[str, Tensor] = {}
        self._lengths = np.zeros(0, int)
        self._x: Tensor | None = None
        self.added = 0  # over the buffer's life; the newest episode is in row (added - 1) % capacity

    def __len__(self) -> int:
        return min(self.added, self.capacity)

    def add(self, episode: Episode) -> None:
        """Keep an episode.

        Raises:
            ValueError: If it is empty or longer than the horizon, its arrays disagree in length, a number in it is
                NaN or infinite, or its shapes differ from those of the episodes before.
        """
        columns = self._checked(episode)
        steps = len(columns["primary"])
        self._make_room(columns, steps)
        row = self.added % self.capacity
        for name, column in columns.items():
            self._columns[name][row, :steps] = column
            self._columns[name][row, steps:] = 0
        if self._x is not None:
            self._x[row, :steps] = self.features(columns["observations"])
            self._x[row, steps:] = 0
        self._lengths[row] = steps
        self.added += 1

    def newest(self, count: int) -> Batch:
        """The latest `count` episodes (or all there are), the oldest of them first.

        Raises:
            ValueError: If the count is below 1 or the buffer is empty.
        """
        check_scalar("count", count, low=1, whole=True)
        if not self.added:
            raise ValueError("the buffer is empty, expected an episode or more")
        count = min(count, len(self))
        return self.take(np.arange(self.added - count, self.added))

    def sample(self, count: int, generator: np.random.Generator, *, exclude_newest: int = 0) -> Batch:
        """Episodes drawn uniformly with replacement.

        Args:
            count: How many; at most as many as there are to draw from.
            generator: Where the randomness comes from.
            exclude_newest: How many of the latest episodes are not drawn.

        Raises:
            ValueError: If the count is below 1, or nothing is left to draw from.
        """
        return self.take(self.draw(count, generator, exclude_newest=exclude_newest))

    def draw(self, count: int, generator: np.random.Generator, *, exclude_newest: int = 0) -> np.ndarray:
        """Numbers of episodes for `take`, drawn as by `sample`."""
        check_scalar("count", count, low=1, whole=True)
        check_scalar("exclude_newest", exclude_newest, low=0, whole=True)
        available = len(self) - exclude_newest
        if available < 1:
            raise ValueError(
                f"the buffer holds {len(self)} episodes and exclude_newest is {exclude_newest}: nothing to draw from"
            )
        newest = self.added - exclude_newest - 1
        return newest - generator.integers(available, size=min(count, available))

    def take(self, numbers: np.ndarray) -> Batch:
        """The batch of the episodes with these numbers, counted from the first ever added."""
        rows = np.asarray(numbers) % self.capacity
        lengths = self._lengths[rows]
        steps, index = int(lengths.max()), torch.from_numpy(rows)
        part = {name: column[:, :steps][index] for name, column in self._columns.items()}
        if self._x is not None:
            x = self._x[:, :steps][index]
        else:
            observations = part["observations"]
            x = self.features(observations.reshape(-1, observations.shape[-1])).reshape(*observations.shape[:2], -1)
        mask = torch.from_numpy(np.arange(steps) < lengths[:, None])
        return Batch(x, part["actions"], part["primary"], part["auxiliary"], mask, self.horizon + 1.0)

    def episode(self, number: int) -> Episode:
        """One episode as it was added; `terminated` is not kept and reads False."""
        row = number % self.capacity
        kept = {name: column[row, : self._lengths[row]].numpy() for name, column in self._columns.items()}
        return Episode(**kept, terminated=False)

    def state_dict(self) -> dict[str, Tensor]:
        """Tensors from which `load_state_dict` restores the buffer."""
        rows = len(self)
        state = {f"columns.{name}": column[:rows] for name, column in self._columns.items()}
        return state | {"lengths": torch.from_numpy(self._lengths[:rows].copy()), "added": torch.tensor(self.added)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned; the features are computed again."""
        columns = {name.removeprefix("columns."): part for name, part in state.items() if name.startswith("columns.")}
        lengths, added = state["lengths"].numpy(), int(state["added"])
        self._columns, self._lengths, self._x = {}, np.zeros(0, int), None
        self.added = added - len(lengths)
        for number in range(self.added, added):
            row = number % self.capacity
            self.add(
                Episode(**{name: part[row, : lengths[row]].numpy() for name, part in columns.items()}, terminated=False)
            )

    def _checked(self, episode: Episode) -> dict[str, Tensor]:
        columns = {}
        for name in ("observations", "actions", "primary", "auxiliary"):
            values = np.asarray(getattr(episode, name))
            if name != "actions" and values.ndim != (1 if name == "primary" else 2):
                raise ValueError(f"{name} of the episode has shape {values.shape}, expected (steps, ...)")
            if len(values) != len(episode.primary):
                raise ValueError(
                    f"{name} of the episode has {len(values)} steps, primary {len(episode.primary)}; expected the same"
                )
            if not np.isfinite(values).all():
                place = tuple(int(index) for index in np.argwhere(~np.isfinite(values))[0])
                raise ValueError(f"{name} of the episode is {values[place]} at {place}, expected a finite number")
            indices = name == "actions" and np.issubdtype(values.dtype, np.integer)
            columns[name] = torch.from_numpy(np.array(values)).to(torch.int64 if indices else self.dtype)
            stored = self._columns.get(name)
            if stored is not None and stored.shape[2:] != columns[name].shape[1:]:
                raise ValueError(
                    f"{name} of the episode has shape {tuple(values.shape)}, expected (steps, "
                    f"{', '.join(map(str, stored.shape[2:]))}) as before"
                )
        if not 1 <= len(columns["primary"]) <= self.horizon:
            raise ValueError(f"the episode has {len(columns['primary'])} steps, expected 1 to {self.horizon}")
        return columns

    def _make_room(self, columns: dict[str, Tensor], steps: int) -> None:
        """Grow the arrays by doubling, rows and steps, so that the next row takes `steps` steps."""
        rows, width = self._columns["primary"].shape if self._columns else (0, 0)
        wanted_rows = rows if self.added % self.capacity < rows else min(self.capacity, max(16, 2 * rows))
        wanted_width = width if steps <= width else min(self.horizon, max(16, 2 * width, steps))
        if (wanted_rows, wanted_width) == (rows, width):
            return
        for name, column in columns.items():
            grown = torch.zeros((wanted_rows, wanted_width, *column.shape[1:]), dtype=column.dtype)
            if rows:
                grown[:rows, :width] = self._columns[name]
            self._columns[name] = grown
        self._lengths = np.concatenate([self._lengths, np.zeros(wanted_rows - rows, int)])
        self._grow_features(columns["observations"], wanted_rows, wanted_width)

    def _grow_features(self, observations: Tensor, rows: int, width: int) -> None:
        one = self.features(observations[:1])
        before, fits = self._x, rows * width * one.shape[-1] * one.element_size() <= FEATURE_BYTES
        self._x = torch.zeros((rows, width, one.shape[-1]), dtype=one.dtype) if fits else None
        if fits and before is not None:
            self._x[: before.shape[0], : before.shape[1]] = before
