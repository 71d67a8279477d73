"""The record of logged experience: one row a transition, and what each row's end means."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["TransitionTable", "check_table"]

_FLOATS = ("observations", "actions", "rewards", "next_observations")
_FLAGS = ("terminals", "timeouts", "next_valid")


@dataclass(frozen=True, eq=False, kw_only=True)
class TransitionTable:
    """Transitions in the order they were recorded, episode after episode.

    A *terminal* ends the problem itself: nothing comes after it, its value is 0. A *timeout* ends the recording (a time
    limit, a cut): the problem went on, and its value is that of `next_observations`. The last row of an episode may be
    neither (the file was cut there). So a value target discounts by `discount * ~terminals`, and timeouts never enter.

    Attributes:
        observations: `(N, d)` float32.
        actions: `(N, m)` float32.
        rewards: `(N,)` float32.
        next_observations: `(N, d)` float32, what followed the action, also in the last row of an episode.
        terminals: `(N,)` bool.
        timeouts: `(N,)` bool, never true where `terminals` is.
        episode_ids: `(N,)` int64, 0, 1, 2, ...: rows of one episode are together and in order.
        steps: `(N,)` int64, the row's place in its episode, 0, 1, 2, ...
        next_valid: `(N,)` bool, False where the recording did not keep the next observation, which then repeats
            `observations`. A dynamics model must leave these rows out; a value target may use them if terminal.

    Raises:
        TypeError: If a field is no NumPy array of its dtype.
        ValueError: If shapes disagree, a number is NaN or infinite, a row is both terminal and timeout, an episode is
            torn apart or goes on after its end, or inside an episode a next observation is not the one that follows.
            Names field and row.
    """

    observations: Float[np.ndarray, "n d"]
    actions: Float[np.ndarray, "n m"]
    rewards: Float[np.ndarray, " n"]
    next_observations: Float[np.ndarray, "n d"]
    terminals: Bool[np.ndarray, " n"]
    timeouts: Bool[np.ndarray, " n"]
    episode_ids: Int[np.ndarray, " n"]
    steps: Int[np.ndarray, " n"]
    next_valid: Bool[np.ndarray, " n"]

    def __post_init__(self) -> None:
        self._check_shapes()
        self._check_ends()

    def __len__(self) -> int:
        return len(self.rewards)

    @property
    def observation_size(self) -> int:
        """Numbers in an observation."""
        return self.observations.shape[1]

    @property
    def action_size(self) -> int:
        """Numbers in an action."""
        return self.actions.shape[1]

    @property
    def episode_starts(self) -> Int[np.ndarray, " episodes"]:
        """First row of each episode."""
        return np.flatnonzero(self.steps == 0)

    @property
    def episode_lengths(self) -> Int[np.ndarray, " episodes"]:
        """Rows of each episode; they sum to the rows of the table."""
        return np.diff(np.append(self.episode_starts, len(self)))

    @property
    def episode_returns(self) -> Float[np.ndarray, " episodes"]:
        """Undiscounted sum of rewards of each episode, float64."""
        return np.add.reduceat(self.rewards.astype(np.float64), self.episode_starts)

    def rows(self, index: np.ndarray | slice) -> dict[str, np.ndarray]:
        """Columns by name at some rows, in any order: no table, since rows alone form no episodes."""
        return {field.name: getattr(self, field.name)[index] for field in fields(self)}

    def episodes(self, chosen: Sequence[int] | np.ndarray) -> "TransitionTable":
        """Table of some whole episodes, in the order given, numbered anew.

        Raises:
            TypeError: If they are no whole numbers (a mask is none: `np.flatnonzero` makes some of it).
            IndexError: If there is no such episode.
            ValueError: If none is chosen, or one twice.
        """
        chosen = np.asarray(chosen)
        if chosen.ndim != 1 or (chosen.size and chosen.dtype.kind not in "iu"):
            raise TypeError(f"chosen is {chosen.dtype} of shape {chosen.shape}, expected a list of whole numbers")
        chosen = chosen.astype(np.int64)
        count = len(self.episode_starts)
        if chosen.size == 0 or len(np.unique(chosen)) != chosen.size:
            raise ValueError(f"chosen is {chosen.tolist()}, expected at least one episode, each once")
        if chosen.min() < 0 or chosen.max() >= count:
            raise IndexError(f"chosen holds {chosen[(chosen < 0) | (chosen >= count)][0]}, expected 0 to {count - 1}")
        starts, lengths = self.episode_starts[chosen], self.episode_lengths[chosen]
        index = np.concatenate([np.arange(s, s + n) for s, n in zip(starts, lengths, strict=True)])
        columns = self.rows(index)
        columns["episode_ids"] = np.repeat(np.arange(chosen.size), lengths)
        return TransitionTable(**columns)

    def __iter__(self) -> Iterator["TransitionTable"]:
        """Each episode as a table of its own."""
        return (self.episodes([number]) for number in range(len(self.episode_starts)))

    @classmethod
    def from_columns(
        cls,
        *,
        observations: np.ndarray,
        actions: np.ndarray,
        rewards: np.ndarray,
        next_observations: np.ndarray,
        terminals: np.ndarray,
        timeouts: np.ndarray,
        starts: Bool[np.ndarray, " n"] | None = None,
        next_valid: np.ndarray | None = None,
    ) -> "TransitionTable":
        """Table whose episodes are counted here.

        Args:
            observations: And all other columns: as the attributes of these names.
            actions: See there.
            rewards: See there.
            next_observations: See there.
            terminals: See there.
            timeouts: See there.
            starts: True in the first row of each episode; None: after each row that is terminal or timeout.
            next_valid: None: all True.

        Raises:
            TypeError: As the class does; nothing is cast here.
            ValueError: As the class does, or if `starts` does not begin with True.
        """
        if starts is None:
            starts = np.append(True, (terminals | timeouts)[:-1])
        if len(starts) != len(rewards) or not len(starts) or not starts[0]:
            raise ValueError(f"starts has {len(starts)} entries, expected {len(rewards)}, the first of them True")
        episode_ids = np.cumsum(starts, dtype=np.int64) - 1
        return cls(
            observations=observations,
            actions=actions,
            rewards=rewards,
            next_observations=next_observations,
            terminals=terminals,
            timeouts=timeouts,
            episode_ids=episode_ids,
            steps=np.arange(len(starts)) - np.flatnonzero(starts)[episode_ids],
            next_valid=np.ones(len(starts), dtype=bool) if next_valid is None else next_valid,
        )

    @classmethod
    def concatenate(cls, tables: Sequence["TransitionTable"]) -> "TransitionTable":
        """All episodes of several tables, one table after the other, numbered through.

        Raises:
            ValueError: If there is no table, or their observations or actions differ in size.
        """
        if not tables:
            raise ValueError("tables is empty, expected at least one table")
        sizes = [(table.observation_size, table.action_size) for table in tables]
        if len(set(sizes)) > 1:
            raise ValueError(f"tables have (observation, action) sizes {sizes}, expected the same in all")
        columns = {field.name: np.concatenate([getattr(t, field.name) for t in tables]) for field in fields(cls)}
        before = np.cumsum([0] + [len(table.episode_starts) for table in tables[:-1]])
        columns["episode_ids"] += np.repeat(before, [len(table) for table in tables])
        return cls(**columns)

    @property
    def open_ends(self) -> Int[np.ndarray, " open"]:
        """Last rows of episodes that are neither terminal nor timeout."""
        last = np.append(self.episode_starts[1:], len(self)) - 1
        return last[~(self.terminals | self.timeouts)[last]]

    def with_open_ends_as_timeouts(self) -> "TransitionTable":
        """The same transitions, each open end marked as a timeout; no value target changes by it."""
        timeouts = self.timeouts.copy()
        timeouts[self.open_ends] = True
        return replace(self, timeouts=timeouts)

    def with_rewards(self, rewards: Float[np.ndarray, " n"]) -> "TransitionTable":
        """The same transitions, rewarded otherwise."""
        return replace(self, rewards=rewards)

    def _check_shapes(self) -> None:
        for field in fields(self):
            value, name = getattr(self, field.name), field.name
            expected = np.float32 if name in _FLOATS else np.bool_ if name in _FLAGS else np.int64
            if not isinstance(value, np.ndarray) or value.dtype != expected:
                came = f"{value.dtype} array" if isinstance(value, np.ndarray) else type(value).__name__
                raise TypeError(f"{name} is a {came}, expected a NumPy array of {np.dtype(expected)}")
        if self.observations.ndim != 2 or len(self.observations) == 0:
            raise ValueError(f"observations has shape {self.observations.shape}, expected (N, d) with at least one row")
        rows = len(self.observations)
        for field in fields(self):
            value, name = getattr(self, field.name), field.name
            shape = {"observations": (rows, self.observations.shape[1]), "actions": (rows, self.actions.shape[-1])}
            wanted = shape.get(name.removeprefix("next_"), (rows,))
            if value.shape != wanted:
                raise ValueError(f"{name} has shape {value.shape}, expected {wanted}")
            if name in _FLOATS and not np.isfinite(value).all():
                place = tuple(map(int, np.argwhere(~np.isfinite(value))[0]))
                raise ValueError(f"{name}{list(place)} is {value[place]}, expected finite numbers")

    def _check_ends(self) -> None:
        unknown = ~self.next_valid
        if (wrong := unknown & (self.next_observations != self.observations).any(axis=1)).any():
            raise ValueError(f"next_observations[{_first(wrong)}] is not valid, expected it to repeat observations")
        if (both := self.terminals & self.timeouts).any():
            raise ValueError(f"row {_first(both)} is terminal and timeout, expected at most one of both")
        same = np.diff(self.episode_ids) == 0
        if self.episode_ids[0] != 0 or (np.diff(self.episode_ids)[~same] != 1).any():
            raise ValueError("episode_ids does not count 0, 1, 2, ... with the rows of an episode together")
        expected = np.arange(len(self)) - np.flatnonzero(np.append(True, ~same))[self.episode_ids]
        if (wrong := self.steps != expected).any():
            row = _first(wrong)
            raise ValueError(f"steps[{row}] is {self.steps[row]}, expected {expected[row]}")
        if (after := (self.terminals | self.timeouts)[:-1] & same).any():
            row = _first(after)
            raise ValueError(f"row {row} ends an episode, and row {row + 1} goes on with it")
        follows = (self.next_observations[:-1] == self.observations[1:]).all(axis=1)
        if (torn := same & ~(follows & self.next_valid[:-1])).any():
            row = _first(torn)
            raise ValueError(
                f"next_observations[{row}] is not observations[{row + 1}], which follows it in the same episode"
            )


def check_table(table: object) -> TransitionTable:
    """Return `table` if it is one.

    Raises:
        TypeError: If it is anything else, such as what a loader returns, which holds the table and a report.
    """
    if not isinstance(table, TransitionTable):
        hint = "; take its .table" if hasattr(table, "table") else ""
        raise TypeError(f"table is a {type(table).__name__}, expected a TransitionTable{hint}")
    return table


def _first(mask: np.ndarray) -> int:
    return int(np.flatnonzero(mask)[0])
