"""From the raw columns of a file to the record: what is wrong is an error or a counted repair, never silence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rewardlab.checks import check_choice, check_scalar
from rewardlab.transition_table import TransitionTable

__all__ = ["LoadReport", "Loaded", "Repairs", "assemble"]

FLOATS = ("observations", "actions", "rewards", "next_observations")
FLAGS = ("terminals", "timeouts")


@dataclass(frozen=True, kw_only=True)
class Repairs:
    """What a loader may do about a file that is not as it should be; every repair is counted in the report.

    Numbers of other types are always cast to float32, and the report says which.

    Args:
        bad_rows: Rows that hold NaN, an infinite number or one beyond float32: "error", or "drop" them.
        broken_episodes: Episodes in which a next observation is not the one that follows, or that go on after their
            end: "error", or "split" them there.
        double_ends: Rows that are terminal and timeout: "error", or what they are: "terminal" (gymnasium's reading: the
            problem ended, whatever the clock says) or "timeout" (D4RL's own rule at the time limit).
        actions: Actions outside `action_bounds`: "error", or "clip" them.
        action_bounds: Lowest and highest action; None: nothing is known, nothing checked.
        time_limit: Steps after which the recording was cut. A terminal on row `time_limit - 1` of an episode is then
            that cut and becomes a timeout, as D4RL writes it; None: terminals are believed.

    A cut that a repair makes inside an episode ends its first part by a timeout: the problem went on.
    """

    bad_rows: Literal["error", "drop"] = "error"
    broken_episodes: Literal["error", "split"] = "error"
    double_ends: Literal["error", "terminal", "timeout"] = "error"
    actions: Literal["error", "clip"] = "error"
    action_bounds: tuple[float, float] | None = None
    time_limit: int | None = None

    def __post_init__(self) -> None:
        check_choice("bad_rows", self.bad_rows, ("error", "drop"))
        check_choice("broken_episodes", self.broken_episodes, ("error", "split"))
        check_choice("double_ends", self.double_ends, ("error", "terminal", "timeout"))
        check_choice("actions", self.actions, ("error", "clip"))
        if self.time_limit is not None:
            check_scalar("time_limit", self.time_limit, low=1, whole=True)
        if self.action_bounds is not None:
            low, high = self.action_bounds
            check_scalar("action_bounds", high, low=check_scalar("action_bounds", low), open_low=True)


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """What a loader read, and all that it changed. `str()` of it is readable and leaves out what did not happen.

    Attributes:
        source: The file.
        rows_read: Transitions in the file (or in the part asked for).
        rows: Transitions in the table.
        episodes: Episodes in the table.
        casts: Columns of numbers that were not float32, with the type they had.
        bad_rows: Rows dropped for a number that is not finite.
        rows_without_next: Rows dropped because the file does not hold their next observation.
        unknown_next: Rows kept with `next_valid` False.
        wrong_next: Rows kept whose next observation is known to be another episode's first: the bug, asked for by name.
        splits: Places where an episode was split.
        double_ends: Rows that were terminal and timeout.
        timed_out: Terminals at the time limit, now timeouts; where the file has no timeouts, rows that were given one.
        clipped_actions: Rows with a clipped action.
        largest_excess: How far the farthest action lay outside its bounds.
        filled: Columns that the file does not hold, with what they were filled.
        unused: Columns of the file that were not read.
    """

    source: str
    rows_read: int
    rows: int = 0
    episodes: int = 0
    casts: Mapping[str, str] = field(default_factory=dict)
    bad_rows: int = 0
    rows_without_next: int = 0
    unknown_next: int = 0
    wrong_next: int = 0
    splits: int = 0
    double_ends: int = 0
    timed_out: int = 0
    clipped_actions: int = 0
    largest_excess: float = 0.0
    filled: Mapping[str, str] = field(default_factory=dict)
    unused: tuple[str, ...] = ()

    @property
    def repaired(self) -> bool:
        """Whether the table says anything else than the file, but for the types of its numbers."""
        counts = (self.bad_rows, self.rows_without_next, self.unknown_next, self.wrong_next)
        return any((*counts, self.splits, self.double_ends, self.timed_out, self.clipped_actions, self.filled))

    def __str__(self) -> str:
        said = [f"{self.source}: {self.rows:,} of {self.rows_read:,} rows in {self.episodes:,} episodes"]
        said += [f"{name} cast from {dtype}" for name, dtype in self.casts.items()]
        counted = {
            "rows dropped: not finite": self.bad_rows,
            "rows dropped: next observation not recorded": self.rows_without_next,
            "rows kept without next observation": self.unknown_next,
            "rows kept with another episode's observation as their next": self.wrong_next,
            "episodes split": self.splits,
            "rows both terminal and timeout": self.double_ends,
            "timeouts told by the time limit": self.timed_out,
            f"rows with clipped actions, farthest {self.largest_excess:.3g} outside": self.clipped_actions,
        }
        said += [f"{what}: {count:,}" for what, count in counted.items() if count]
        said += [f"{name} filled with {value}" for name, value in self.filled.items()]
        return "; ".join(said + ([f"not read: {', '.join(self.unused)}"] if self.unused else []))


@dataclass(frozen=True)
class Loaded:
    """A table and the report of how it came about."""

    table: TransitionTable
    report: LoadReport


def assemble(
    raw: Mapping[str, np.ndarray],
    *,
    source: str,
    repairs: Repairs,
    keys: Mapping[str, str] | None = None,
    starts: np.ndarray | None = None,
    next_valid: np.ndarray | None = None,
    drop: np.ndarray | None = None,
    **counted: object,
) -> Loaded:
    """Check raw columns, repair what may be repaired, and make the table.

    Args:
        raw: The six columns `observations` to `timeouts`, of any numeric type, one row a transition.
        source: The file, for messages.
        repairs: What may be repaired.
        keys: The file's own names of the columns, for messages; None: the same.
        starts: True in first rows of episodes; None: after each end.
        next_valid: As in the table; None: all True. Where it is False, rows that are not terminal are dropped.
        drop: Rows to leave out because the file does not hold their next observation; the format has decided.
        **counted: What the format has done already, by the report's names.

    Raises:
        ValueError: Names the file, its column and row.
    """
    names = {name: (keys or {}).get(name, name) for name in raw}
    rows = _check_lengths(raw, names, source)
    columns, casts = _cast(raw, names, source)
    none = np.zeros(rows, dtype=bool)
    drop = none if drop is None else drop
    next_valid = ~none if next_valid is None else next_valid
    terminals, timeouts, double = _single_ends(columns["terminals"], columns["timeouts"], source, repairs)
    starts = np.append(True, (terminals | timeouts)[:-1]) if starts is None else starts
    bad = _bad_rows(columns, raw, names, source, repairs) & ~drop
    broken = _broken(columns, terminals | timeouts, starts, bad | drop, next_valid, source, repairs)
    starts = starts | broken
    terminals, timeouts, timed_out = _time_limit(terminals, timeouts, starts, repairs.time_limit)
    drop = drop | (~next_valid & ~terminals & ~bad)  # a value target could not do without it
    actions, clipped, excess = _clip(columns["actions"], bad | drop, names["actions"], source, repairs)

    kept = np.flatnonzero(~(bad | drop))
    if not len(kept):
        raise ValueError(f"{source}: none of its {rows} rows can be used")
    gap = np.append(True, np.diff(kept) > 1)
    first = starts[kept] | gap
    # A row that the file went on from within the episode, and the table does not: the cut is ours, a timeout.
    went_on = np.append(~starts[1:] | broken[1:], False)[kept]
    cut = went_on & np.append(first[1:], True) & ~terminals[kept]
    table = TransitionTable.from_columns(
        observations=columns["observations"][kept],
        actions=actions[kept],
        rewards=columns["rewards"][kept],
        next_observations=columns["next_observations"][kept],
        terminals=terminals[kept],
        timeouts=timeouts[kept] | cut,
        starts=first,
        next_valid=next_valid[kept],
    )
    same = np.diff(np.cumsum(starts)[kept]) == 0
    counted["timed_out"] = int(counted.get("timed_out", 0)) + timed_out
    report = LoadReport(
        source=source,
        rows_read=rows,
        rows=len(table),
        episodes=len(table.episode_starts),
        casts=casts,
        bad_rows=int(bad.sum()),
        rows_without_next=int(drop.sum()),
        unknown_next=int((~table.next_valid).sum()),
        splits=int((gap[1:] & same).sum()) + int(broken.sum()),
        double_ends=double,
        clipped_actions=clipped,
        largest_excess=excess,
        **counted,
    )
    return Loaded(table, report)


def _check_lengths(raw: Mapping[str, np.ndarray], names: Mapping[str, str], source: str) -> int:
    lengths = {names[name]: len(column) if column.ndim else -1 for name, column in raw.items()}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{source}: columns of different lengths ({listed}), expected one row a transition in each")
    rows = lengths[names["rewards"]]
    if rows < 1:
        raise ValueError(f"{source}: {names['rewards']} has no rows, expected at least one transition")
    wide = ("observations", "actions", "next_observations")
    for name, column in raw.items():
        if name in wide:
            if column.ndim != 2:
                raise ValueError(f"{source}: {names[name]} has shape {column.shape}, expected (rows, size)")
        elif column.shape not in ((rows,), (rows, 1)):
            raise ValueError(f"{source}: {names[name]} has shape {column.shape}, expected ({rows},) or ({rows}, 1)")
    if raw["observations"].shape != raw["next_observations"].shape:
        raise ValueError(
            f"{source}: {names['observations']} has shape {raw['observations'].shape}, "
            f"{names['next_observations']} {raw['next_observations'].shape}; expected the same"
        )
    return rows


def _cast(
    raw: Mapping[str, np.ndarray], names: Mapping[str, str], source: str
) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    columns, casts = {}, {}
    for name, column in raw.items():
        if column.dtype.kind not in "fiub":
            raise ValueError(f"{source}: {names[name]} holds {column.dtype}, expected real numbers")
        wanted = np.dtype(bool if name in FLAGS else np.float32)
        if name in FLAGS and (wrong := (column != 0) & (column != 1)).any():
            place = int(np.flatnonzero(wrong.reshape(len(column)))[0])
            raise ValueError(f"{source}: {names[name]}[{place}] is {column.flat[place]}, expected 0 or 1")
        if name not in FLAGS and column.dtype != wanted:
            casts[names[name]] = str(column.dtype)
        with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, and are found as such
            column = column.astype(wanted)
        columns[name] = column.reshape(len(column)) if name in (*FLAGS, "rewards") else column
    return columns, casts


def _single_ends(
    terminals: np.ndarray, timeouts: np.ndarray, source: str, repairs: Repairs
) -> tuple[np.ndarray, np.ndarray, int]:
    both = terminals & timeouts
    if both.any() and repairs.double_ends == "error":
        raise ValueError(
            f"{source}: row {_first(both)} is terminal and timeout, expected at most one of both; "
            f'say which by Repairs(double_ends="terminal") or "timeout"'
        )
    if repairs.double_ends == "terminal":
        return terminals, timeouts & ~both, int(both.sum())
    return terminals & ~both, timeouts, int(both.sum())


def _bad_rows(
    columns: Mapping[str, np.ndarray],
    raw: Mapping[str, np.ndarray],
    names: Mapping[str, str],
    source: str,
    repairs: Repairs,
) -> np.ndarray:
    bad = np.zeros(len(columns["rewards"]), dtype=bool)
    for name in FLOATS:
        wrong = ~np.isfinite(columns[name])
        if wrong.any() and repairs.bad_rows == "error":
            place = tuple(map(int, np.argwhere(wrong)[0]))
            value = raw[name][place].item() if raw[name].ndim == len(place) else raw[name][place][0].item()
            expected = "a number that fits float32" if np.isfinite(value) else "a finite number"
            raise ValueError(
                f"{source}: {names[name]}{list(place)} is {value}, expected {expected}; "
                f'Repairs(bad_rows="drop") leaves such rows out'
            )
        bad |= wrong.reshape(len(wrong), -1).any(axis=1)
    return bad


def _broken(
    columns: Mapping[str, np.ndarray],
    ends: np.ndarray,
    starts: np.ndarray,
    unusable: np.ndarray,
    next_valid: np.ndarray,
    source: str,
    repairs: Repairs,
) -> np.ndarray:
    """True in rows that do not go on from the row before, though they are of the same episode."""
    inside = ~starts[1:]
    after = inside & ends[:-1]
    follows = (columns["next_observations"][:-1] == columns["observations"][1:]).all(axis=1)
    torn = inside & ~follows & next_valid[:-1] & ~unusable[:-1] & ~unusable[1:]
    if (after | torn).any() and repairs.broken_episodes == "error":
        row = _first(after | torn)
        what = (
            f"row {row} ends its episode, and row {row + 1} goes on with it"
            if after[row]
            else f"the next observation of row {row} is not the observation of row {row + 1} in the same episode"
        )
        raise ValueError(f'{source}: {what}; Repairs(broken_episodes="split") begins a new episode there')
    return np.append(False, after | torn)


def _time_limit(
    terminals: np.ndarray, timeouts: np.ndarray, starts: np.ndarray, limit: int | None
) -> tuple[np.ndarray, np.ndarray, int]:
    if limit is None:
        return terminals, timeouts, 0
    steps = np.arange(len(starts)) - np.flatnonzero(starts)[np.cumsum(starts) - 1]
    told = terminals & (steps == limit - 1)
    return terminals & ~told, timeouts | told, int(told.sum())


def _clip(
    actions: np.ndarray, unusable: np.ndarray, name: str, source: str, repairs: Repairs
) -> tuple[np.ndarray, int, float]:
    if repairs.action_bounds is None:
        return actions, 0, 0.0
    low, high = map(np.float32, repairs.action_bounds)
    excess = np.where(unusable[:, None], 0, np.maximum(low - actions, actions - high))
    outside = excess > 0
    if outside.any() and repairs.actions == "error":
        row, column = map(int, np.argwhere(outside)[0])
        raise ValueError(
            f"{source}: {name}[{row}, {column}] is {actions[row, column]}, expected a number in [{low:g}, {high:g}]; "
            f'Repairs(actions="clip") clips it'
        )
    return np.clip(actions, low, high), int(outside.any(axis=1).sum()), float(max(excess.max(initial=0), 0))


def _first(mask: np.ndarray) -> int:
    return int(np.flatnonzero(mask)[0])
