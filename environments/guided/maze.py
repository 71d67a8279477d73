"""The continuous maze of the behaviour-alignment study: a square without walls inside, a goal, and a trap on the way.

Moves from the start end in 273 positions only: the world is continuous to a learner that looks at coordinates, but it
is finite, and `exact_maze` has its tables.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium import spaces

from environments.guided.auxiliaries import chosen
from rewardlab.checks import check_scalar

__all__ = ["ACTIONS", "AUXILIARIES", "GOAL", "HOP", "POTENTIALS", "START", "TRAP", "GuidedMazeEnv", "in_goal", "move"]

START = (0.125, 0.125)
GOAL = (0.75, 0.99)  # both coordinates of the box that ends the episode, ends included
TRAP = (0.4, 0.6)  # and of the box that the bad advice pays for
ACTIONS = ("up", "right", "down", "left")
HOPS, HOP = 4, 0.05 - 0.005  # a move is 4 hops of 0.045; the difference, to the last bit, of the published code
STEP_REWARD, GOAL_REWARD, TRAP_REWARD = -0.1, 100.0, 50.0
_DIRECTIONS = {0: (0.0, HOP), 1: (HOP, 0.0), 2: (0.0, -HOP), 3: (-HOP, 0.0)}
_CENTRE = sum(GOAL) / 2

Places: TypeAlias = list[tuple[float, float]]
Rule: TypeAlias = Callable[[Places, int], float]
"""Where the agent was after each hop of a move, and how many of the hops were not stopped by the wall -> reward."""


def in_goal(position: tuple[float, float]) -> bool:
    """Whether a position is in the goal."""
    low, high = GOAL
    return low <= position[0] <= high and low <= position[1] <= high


def move(position: tuple[float, float], action: int) -> tuple[Places, int, bool]:
    """The four hops of a move, fewer where it reaches the goal; there is no noise here.

    Returns:
        Where the agent is after each hop, how many of them the wall did not stop, and whether it is in the goal.
    """
    (x, y), (right, up), (low, high) = position, _DIRECTIONS[action], GOAL
    places: Places = []
    for hop in range(HOPS):
        to_x, to_y = x + right, y + up
        if not (0.0 <= to_x <= 1.0 and 0.0 <= to_y <= 1.0):
            return places + [(x, y)] * (HOPS - hop), hop, False
        x, y = to_x, to_y
        places.append((x, y))
        if low <= x <= high and low <= y <= high:
            return places, hop + 1, True
    return places, HOPS, False


def _distance(*, corner_y: bool = False, free_wall: bool = False) -> Rule:
    """Minus the squared distance from the centre of the goal, added up over the hops of a move.

    Args:
        corner_y: Compare the goal's own corner with its centre in place of the agent's height.
        free_wall: Hops against the wall cost nothing.
    """

    def rule(places: Places, hops: int) -> float:
        total = 0.0
        for x, y in places[:hops] if free_wall else places:
            height = (GOAL[0] if corner_y else y) - _CENTRE
            total -= (x - _CENTRE) ** 2 + height**2
        return total

    return rule


def _trap(places: Places, hops: int) -> float:
    """50 for each hop that ends in the trap."""
    low, high = TRAP
    total = 0.0
    for x, y in places[:hops]:
        if low <= x <= high and low <= y <= high:
            total += TRAP_REWARD
    return total


AUXILIARIES: dict[str, Rule] = {
    "good": _distance(),
    "good with corner y": _distance(corner_y=True),
    "good with free walls": _distance(free_wall=True),
    "good as published": _distance(corner_y=True, free_wall=True),
    "bad": _trap,
    "bad as published": _trap,
}
"""Auxiliary rewards of a move.

"good" is minus the squared distance from the centre of the goal, at each of the 4 hops; "bad" pays 50 for each hop that
ends in the trap, again and again. The published code has two slips in the good one: where the agent's height belongs it
has the height of the goal's own corner, so that only x counts; and hops against a wall cost nothing, so that it is
cheapest to push against one for ever (without noise, or with a discount of 0.9). Each slip has a name of its own.
"""


def _distance_potential(observation: np.ndarray) -> np.ndarray:
    return -HOPS * ((np.asarray(observation) - _CENTRE) ** 2).sum(axis=-1)


def _trap_potential(observation: np.ndarray) -> np.ndarray:
    place = np.asarray(observation)
    return HOPS * TRAP_REWARD * ((place >= TRAP[0]) & (place <= TRAP[1])).all(axis=-1)


POTENTIALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"good": _distance_potential, "bad": _trap_potential}
"""Potentials of the states: what the auxiliary reward of the same name pays for a move that stays where it is.

Functions of observations `(*batch, 2)` that return `(*batch)`.
"""


class GuidedMazeEnv(gymnasium.Env):
    """A unit square, from the lower left to a goal in the upper right. Registered as `rewardlab/GuidedMaze-v0`.

    The observation is the position; the actions are up, right, down, left. A move is four hops of 0.045; it stops at
    the wall and in the goal. The reward is the primary one: -0.1 a move and 100 on entering the goal, which terminates
    the episode. After `horizon` moves it is truncated: the observation does not hold the time, so that the state there
    still has a value (a Monte Carlo learner, as the published one, stops there all the same and counts it as 0).
    `info["auxiliary"]` holds the chosen auxiliary rewards of the move.

    Args:
        auxiliary: Names out of `AUXILIARIES`.
        noise: Probability, in [0, 1], that an action drawn uniformly from all four is taken instead.
        horizon: Moves until an episode is truncated.
        as_published: Keep two slips of the published environment: the last move before the horizon does nothing
            and costs nothing (49 moves and a pause), and the observation in the goal is that of one hop before. The
            slips in its auxiliary rewards have names in `AUXILIARIES`.

    Attributes:
        position: Where the agent is, x and y. May be set.

    Example:
        >>> import gymnasium, environments.guided
        >>> env = gymnasium.make("rewardlab/GuidedMaze-v0", auxiliary=("good", "bad"), noise=0.0)
        >>> env.reset(seed=0)
        (array([0.125, 0.125]), {})
        >>> place, reward, terminated, truncated, info = env.step(1)
        >>> place.round(3).tolist(), reward, round(info["auxiliary"]["good"], 4), info["auxiliary"]["bad"]
        ([0.305, 0.125], -0.1, -3.8304, 0.0)

    Source: arXiv 2310.19007, section on grid worlds; geometry, rewards and noise as in its official code.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium has it

    def __init__(
        self,
        auxiliary: Sequence[str] = ("good",),
        *,
        noise: float = 0.1,
        horizon: int = 50,
        as_published: bool = False,
    ):
        self.noise = float(check_scalar("noise", noise, low=0, high=1))
        self.horizon = check_scalar("horizon", horizon, low=1, whole=True)
        self.as_published = as_published
        self._auxiliary = chosen(auxiliary, AUXILIARIES)
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float64)
        self.action_space = spaces.Discrete(len(ACTIONS))
        self.position = START
        self._moves = -1  # none: no episode is under way

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Begin at the start."""
        super().reset(seed=seed)
        self.position, self._moves = START, 0
        return np.array(START), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Move four hops, or until the wall or the goal.

        Raises:
            ValueError: If the action is no whole number from 0 to 3.
            RuntimeError: If the episode has ended, or none has begun.
        """
        if self._moves < 0:
            raise RuntimeError("no episode is under way, expected a call of reset() first")
        if action not in (0, 1, 2, 3):
            raise ValueError(f"action is {action!r}, expected a whole number from 0 to 3")
        self._moves += 1
        if self.as_published and self._moves == self.horizon:
            return self._pause()
        draw = self.np_random.random()  # one number for both: whether there is noise, and which move it makes
        if draw < self.noise:
            action = min(int(draw * len(ACTIONS) / self.noise), len(ACTIONS) - 1)  # rounding may reach the end
        places, hops, reached = move(self.position, int(action))
        self.position = places[-1]
        truncated = self._moves == self.horizon and not reached
        if reached or truncated:
            self._moves = -1
        seen = places[-2] if reached and self.as_published and len(places) > 1 else self.position
        info = {"auxiliary": {name: rule(places, hops) for name, rule in self._auxiliary.items()}}
        reward = STEP_REWARD + GOAL_REWARD if reached else STEP_REWARD
        return np.array(seen), reward, reached, truncated, info

    def _pause(self) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """The last step of the published environment, which finds the time up before it has moved."""
        self._moves = -1
        return np.array(self.position), 0.0, False, True, {"auxiliary": dict.fromkeys(self._auxiliary, 0.0)}
