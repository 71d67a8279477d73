"""Potentials of NetHack's states, for `rewardlab.shaping` and its wrappers.

Two of them are functions of what happened so far in the episode, not of the screen alone: the state that they are
potentials of is the history. It is part of their observation: `EpisodeHistory` puts it there, `NetHackVecEnv` by
itself. So a potential keeps nothing, and no game or episode can meet the memory of another.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from jaxtyping import Float, Int

from rewardlab.checks import check_scalar
from rewardlab.observations import batch_of_one

__all__ = [
    "HISTORY",
    "DepthPotential",
    "EpisodeHistory",
    "ExplorationPotential",
    "GamePotential",
    "HealthPotential",
    "History",
    "MaximalDepthPotential",
    "ScorePotential",
]

UNSEEN = 2359  # glyph of a cell of the map that was not seen
_SCORE, _HP, _MAXIMAL_HP, _DEPTH, _DUNGEON, _LEVEL = 9, 10, 11, 12, 23, 24
HISTORY = "history"
"""Key of the history in an observation: the maximal depth so far, and the cells seen on all levels visited."""


class GamePotential(ABC):
    """A potential that is a weight times a number read off an observation.

    Args:
        weight: Potential per unit of it, finite.

    Raises:
        TypeError, ValueError: If the weight is no finite number. When asked: if the observation lacks what is read.
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = float(check_scalar("weight", weight))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.weight:g})"

    def __call__(self, observation: Mapping[str, Any]) -> float:
        """The potential of one observation."""
        return float(self.batch(batch_of_one(observation))[0])

    def batch(self, observations: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
        """The potentials of several observations, (n, ...) each."""
        return self.weight * self.measure(observations)

    @abstractmethod
    def measure(self, observations: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
        """The number of each observation that the potential is proportional to."""


class DepthPotential(GamePotential):
    """Weight times the depth that the player is at now: going up again costs what coming down gave.

    Example:
        >>> DepthPotential(2.0).batch({"blstats": np.full((1, 27), 3)})
        array([6.])
    """

    def measure(self, observations: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
        """Depth below the surface, in levels."""
        return _blstats(observations)[:, _DEPTH].astype(np.float64)


class ScorePotential(GamePotential):
    """Weight times log(1 + score) of the game itself.

    The score grows with depth and gold too (about 50 for a level): with a potential of the depth it counts that twice.
    """

    def measure(self, observations: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
        """Logarithm of 1 + score."""
        return np.log1p(np.maximum(_blstats(observations)[:, _SCORE], 0).astype(np.float64))


class HealthPotential(GamePotential):
    """Weight times the share of the hit points that the player has left."""

    def measure(self, observations: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
        """Hit points over their maximum, 0 where there are none."""
        blstats = _blstats(observations)
        return np.maximum(blstats[:, _HP], 0) / np.maximum(blstats[:, _MAXIMAL_HP], 1)


class MaximalDepthPotential(GamePotential):
    """Weight times the greatest depth of the episode so far; a function of the history (see `EpisodeHistory`)."""

    def measure(self, observations: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
        """Greatest depth so far, in levels."""
        return _history(observations, self)[:, 0].astype(np.float64)


class ExplorationPotential(GamePotential):
    """Weight times the cells of the map seen so far, over all levels of the episode; a function of the history.

    Of each level the largest number of cells that were ever on the screen counts, so that it never falls.
    """

    def measure(self, observations: Mapping[str, Any]) -> Float[np.ndarray, " n"]:
        """Cells seen so far."""
        return _history(observations, self)[:, 1].astype(np.float64)


class History:
    """What has happened so far in the episodes of several games.

    Args:
        environments: How many games.
    """

    def __init__(self, environments: int) -> None:
        self._depths = np.zeros(environments, dtype=np.int64)
        self._cells: list[dict[tuple[int, int], int]] = [{} for _ in range(environments)]
        self._sums = np.zeros(environments, dtype=np.int64)

    def begin(self, rows: Any) -> None:
        """Episodes begin in these games: nothing has happened."""
        for row in np.asarray(rows).tolist():
            self._depths[row] = self._sums[row] = 0
            self._cells[row].clear()

    def arrive(self, observations: Mapping[str, Any], rows: Any) -> Int[np.ndarray, "rows 2"]:
        """The history of these games once they show this: greatest depth, cells seen on all levels.

        Args:
            observations: "glyphs" (rows, 21, 79) and "blstats" (rows, 27), never a finished game's blank ones.
            rows: Which games they are of.
        """
        blstats, glyphs = observations["blstats"], observations["glyphs"]
        rows = np.asarray(rows)
        self._depths[rows] = np.maximum(self._depths[rows], blstats[:, _DEPTH])
        seen = np.count_nonzero(glyphs != UNSEEN, axis=(1, 2)).tolist()
        for row, level, cells in zip(rows.tolist(), blstats[:, (_DUNGEON, _LEVEL)].tolist(), seen, strict=True):
            before = self._cells[row].get(tuple(level), 0)
            if cells > before:
                self._cells[row][tuple(level)] = cells
                self._sums[row] += cells - before
        return self.so_far(rows)

    def so_far(self, rows: Any) -> Int[np.ndarray, "rows 2"]:
        """The history of these games as it stands."""
        return np.stack([self._depths[rows], self._sums[rows]], axis=1)


class EpisodeHistory(gymnasium.Wrapper, gymnasium.utils.RecordConstructorArgs):
    """Puts the history of the episode into the observations of a game, under the key "history".

    Put it between the game and the shaping by `MaximalDepthPotential` or `ExplorationPotential`.

    Args:
        env: A game of `make_game`.

    Example:
        >>> from environments.nethack.games import make_game
        >>> from rewardlab.adapters.shaping_gymnasium import PotentialShaping
        >>> game = PotentialShaping(EpisodeHistory(make_game("score")), MaximalDepthPotential(), 0.99)
        >>> int(game.reset(seed=0)[0]["history"][0])
        1
    """

    def __init__(self, env: gymnasium.Env) -> None:
        gymnasium.utils.RecordConstructorArgs.__init__(self)
        gymnasium.Wrapper.__init__(self, env)
        box = gymnasium.spaces.Box(0, np.iinfo(np.int64).max, (2,), np.int64)
        self.observation_space = gymnasium.spaces.Dict({**env.observation_space.spaces, HISTORY: box})
        self._history = History(1)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode, and its history."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._history.begin([0])
        return {**observation, HISTORY: self._history.arrive(batch_of_one(observation), [0])[0]}, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step; a blank observation changes no history."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        blank = info.get("blank_observation", False)
        history = self._history.so_far([0]) if blank else self._history.arrive(batch_of_one(observation), [0])
        return {**observation, HISTORY: history[0]}, reward, terminated, truncated, info


def _blstats(observations: Mapping[str, Any]) -> np.ndarray:
    """The status lines (n, 27)."""
    if not isinstance(observations, Mapping) or "blstats" not in observations:
        raise TypeError(
            "potentials of NetHack read 'blstats' of a game's own observations: shape inside whatever encodes them"
        )
    blstats = np.asarray(observations["blstats"])
    if blstats.ndim != 2 or blstats.shape[1] <= _LEVEL:
        raise ValueError(f"blstats has shape {blstats.shape}, expected (n, 27)")
    return blstats


def _history(observations: Mapping[str, Any], potential: GamePotential) -> np.ndarray:
    """The histories (n, 2)."""
    if not isinstance(observations, Mapping) or HISTORY not in observations:
        raise TypeError(
            f"{type(potential).__name__} needs the episode's history in observations: wrap the game in EpisodeHistory"
        )
    return np.asarray(observations[HISTORY])
