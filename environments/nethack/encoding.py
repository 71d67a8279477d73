"""Observations of several games at once as rows of numbers: a one-hot crop of the map around the player, and more."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int

from rewardlab.checks import check_scalar

__all__ = ["CLASSES", "CLASS_OF_CHARACTER", "COLUMNS", "ROWS", "SCALARS", "Encoder"]

ROWS, COLUMNS = 21, 79

CLASSES = (
    *("blank", "floor", "wall", "corridor", "door", "stairs down", "stairs up", "human", "trap", "boulder"),
    *("monster", "other"),
)
"""What a character of the map is taken for."""

_CHARACTERS = {
    "blank": "\0 ",
    "floor": ".",
    "wall": "|-",  # open doors too: only their colour tells
    "corridor": "#",
    "door": "+",
    "stairs down": ">",
    "stairs up": "<",
    "human": "@",
    "trap": "^",
    "boulder": "`0",
    "monster": "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ&';:~",
}

# columns of blstats and what each is divided by
_X, _Y, _HP, _MAXIMAL_HP = 0, 1, 10, 11
_DUNGEON, _LEVEL = 23, 24
_SCALED = {"x": (0, COLUMNS), "y": (1, ROWS), "depth": (12, 10), "time": (20, 1000), "experience level": (18, 10)} | {
    "dungeon": (_DUNGEON, 10),
    "hunger": (21, 6),
    "health": (_HP, 1),  # and divided by its maximum
}
SCALARS = tuple(_SCALED)
"""The single numbers of an encoding, in their order."""

_MOST_VISITS = 10


def _class_table() -> np.ndarray:
    table = np.full(256, CLASSES.index("other"), dtype=np.intp)
    for name, characters in _CHARACTERS.items():
        table[[ord(each) for each in characters]] = CLASSES.index(name)
    return table


CLASS_OF_CHARACTER: Int[np.ndarray, "256"] = _class_table()
"""Index into `CLASSES` of every character."""


class Encoder:
    """Encodes what several games show, all in a few array operations.

    A row holds, in this order: `crop` x `crop` cells around the player, each one-hot over `CLASSES` (cells beyond the
    edge of the map are blank); with visits, for the same cells how often the player stood there in this episode,
    min(visits, 10) / 10, which is kept for every level; the `SCALARS`; and the last action, one-hot, all zero at the
    start. With a crop of 9, visits and 23 actions that is 972 + 81 + 8 + 23 = 1084 numbers.

    Args:
        environments: How many games, at least 1.
        actions: How many actions a game has, at least 1.
        crop: Side of the crop, odd.
        with_visits: Whether the visits are shown: a memory for learners that have none.

    Attributes:
        features: Numbers in a row.
        chars: The maps (environments, 21, 79) uint8 as last encoded. Who writes them here, and gives this very array to
            `encode`, saves a copy.

    Raises:
        TypeError, ValueError: If an argument is not what is said above.

    Source: the sizes that learned several tasks within minutes; the two scalars after the first six are ours.

    Example:
        >>> Encoder(8, 23).features, Encoder(8, 23, with_visits=False).features
        (1084, 1003)
    """

    def __init__(self, environments: int, actions: int, *, crop: int = 9, with_visits: bool = True) -> None:
        self.environments = check_scalar("environments", environments, low=1, whole=True)
        self.actions = check_scalar("actions", actions, low=1, whole=True)
        self.crop = check_scalar("crop", crop, low=1, whole=True)
        if crop % 2 == 0:
            raise ValueError(f"crop is {crop}, expected an odd number of cells: the player stands in the middle")
        self.with_visits = with_visits
        cells, reach = crop * crop, crop // 2
        width, height = COLUMNS + 2 * reach, ROWS + 2 * reach
        self._ends = np.cumsum([cells * len(CLASSES), cells if with_visits else 0, len(SCALARS), actions]).tolist()
        self.features: int = self._ends[-1]
        # the maps, with a margin as wide as a crop reaches; places are indices into all of them laid end to end
        self._maps = np.zeros((environments, height, width), dtype=np.uint8)
        self.chars = self._maps[:, reach : reach + ROWS, reach : reach + COLUMNS]
        self._origins = np.arange(environments) * (width * height)
        self._width, self._centre = width, reach * width + reach
        window = np.arange(crop)
        self._window = (window[:, None] * width + window).reshape(-1)
        self._one_hot = np.arange(cells) * len(CLASSES)
        columns, scales = zip(*_SCALED.values(), strict=True)
        self._columns, self._scales = np.array(columns), 1.0 / np.array(scales, dtype=np.float64)
        # visits to the cells of the level that each game is on, up to 10; those of other levels are kept aside
        self._visits = np.zeros((environments, height, width), dtype=np.uint8)
        self._shares = (np.arange(_MOST_VISITS + 1) / _MOST_VISITS).astype(np.float32)
        self._one_more = np.minimum(np.arange(1, _MOST_VISITS + 2), _MOST_VISITS).astype(np.uint8)
        self._levels = np.full((environments, 2), -1, dtype=np.int64)
        self._aside: list[dict[tuple[int, int], np.ndarray]] = [{} for _ in range(environments)]

    def begin(self, rows: Int[np.ndarray, " rows"] | None = None) -> None:
        """Episodes begin, in all games or in those of `rows`: nothing is visited."""
        for row in range(self.environments) if rows is None else rows.tolist():
            self._levels[row] = -1
            self._aside[row].clear()

    def encode(
        self,
        observations: Mapping[str, Any],
        last_actions: Int[np.ndarray, " rows"],
        rows: Int[np.ndarray, " rows"] | None = None,
        seen: Bool[np.ndarray, " rows"] | None = None,
    ) -> Float32[np.ndarray, "rows features"]:
        """The rows of numbers of what the games show now; each call counts a visit.

        Args:
            observations: "chars" (rows, 21, 79) uint8 and "blstats" (rows, 27).
            last_actions: What led there, -1 at the start of an episode.
            rows: The games that the observations are of; None for all.
            seen: Where the observation is a new one, so that it counts as a visit; None for all.

        Returns:
            A new array.
        """
        blstats = observations["blstats"]
        count, origins = len(blstats), self._origins if rows is None else self._origins[rows]
        if observations["chars"] is not self.chars:
            self.chars[slice(None) if rows is None else rows] = observations["chars"]
        corners = origins + blstats[:, _Y] * self._width + blstats[:, _X]
        places = corners[:, None] + self._window
        encoded = np.zeros((count, self.features), dtype=np.float32)
        starts = np.arange(0, count * self.features, self.features)
        flat = encoded.reshape(-1)
        classes = CLASS_OF_CHARACTER.take(self._maps.take(places))
        flat[classes + (starts[:, None] + self._one_hot)] = 1.0
        map_end, visits_end, scalars_end, _ = self._ends
        if self.with_visits:
            self._count_visits(blstats, corners + self._centre, rows, seen)
            encoded[:, map_end:visits_end] = self._shares.take(self._visits.take(places))
        scalars = blstats.take(self._columns, axis=1) * self._scales
        scalars[:, -1] /= np.maximum(blstats[:, _MAXIMAL_HP], 1)
        encoded[:, visits_end:scalars_end] = scalars
        acted = last_actions >= 0
        if acted.all():
            flat[starts + (scalars_end + last_actions)] = 1.0
        else:
            flat[(starts + (scalars_end + last_actions))[acted]] = 1.0
        return encoded

    def _count_visits(self, blstats: np.ndarray, places: np.ndarray, rows: Any, seen: Any) -> None:
        """One more visit to the places that are seen."""
        levels = blstats[:, _DUNGEON : _LEVEL + 1]
        changed = levels != (self._levels if rows is None else self._levels[rows])
        if changed.any():
            for at in np.flatnonzero(changed.any(axis=1)).tolist():
                self._enter(at if rows is None else int(rows[at]), levels[at])
        if seen is not None:
            places = places[seen]
        visits = self._visits.reshape(-1)
        visits[places] = self._one_more.take(visits.take(places))

    def _enter(self, row: int, level: np.ndarray) -> None:
        """The game of this row shows another level: its visits take the place of the last one's."""
        aside, left = self._aside[row], tuple(self._levels[row].tolist())
        if left[0] >= 0:
            aside[left] = self._visits[row].copy()
        self._visits[row] = aside.pop(tuple(level.tolist()), 0)
        self._levels[row] = level
