"""The continuous maze as the finite world that it is, to be solved exactly."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from environments.guided.maze import ACTIONS, AUXILIARIES, GOAL_REWARD, HOP, START, STEP_REWARD, in_goal, move
from rewardlab.checks import check_scalar
from rewardlab.exact.mdp import FiniteMDP

__all__ = ["ExactMaze", "exact_maze"]

_TOLERANCE = 1e-6


@dataclass(frozen=True, eq=False)
class ExactMaze:
    """The maze on all positions at which a move can end, without a horizon.

    Attributes:
        mdp: A state for each position, those in the goal terminal.
        places: x and y of every state, `(S, 2)`.
        primary: What is meant, expected over the noise, `(S, A)`: -0.1 a move and 100 on entering the goal.
        auxiliary: Name -> auxiliary reward, expected over the noise, `(S, A)`.
    """

    mdp: FiniteMDP
    places: Float[np.ndarray, "s 2"]
    primary: Float[np.ndarray, "s a"]
    auxiliary: dict[str, Float[np.ndarray, "s a"]]
    _states: dict[tuple[int, int], int] = field(repr=False)

    def state(self, position: tuple[float, float]) -> int:
        """The state at a position.

        Raises:
            ValueError: If the position cannot be reached from the start.
        """
        found = self._states.get(_cell(position)) if np.isfinite(position).all() else None
        if found is None or np.abs(self.places[found] - position).max() > _TOLERANCE:
            raise ValueError(f"position {position} cannot be reached from the start {START}")
        return found


def exact_maze(*, noise: float = 0.1, discount: float = 0.99) -> ExactMaze:
    """The world of `GuidedMazeEnv` as tables.

    Args:
        noise: Probability, in [0, 1], that an action drawn uniformly from all four is taken instead.
        discount: Discount factor in [0, 1].

    Raises:
        ValueError: If a number is out of range.

    Example:
        >>> from rewardlab.exact.planning import optimal_policy
        >>> maze = exact_maze()
        >>> values = optimal_policy(maze.mdp, maze.primary).values
        >>> round(float(values[maze.state((0.125, 0.125))]), 2)
        91.65
    """
    check_scalar("noise", noise, low=0, high=1)
    places = _reachable()
    states = {_cell(place): state for state, place in enumerate(places)}
    shape = len(places), len(ACTIONS)
    transition, primary = np.zeros((*shape, len(places))), np.zeros(shape)
    auxiliary = {name: np.zeros(shape) for name in AUXILIARIES}
    terminal = np.array([in_goal(place) for place in places])
    for state, place in enumerate(places):
        for action in range(len(ACTIONS)):
            if terminal[state]:
                transition[state, action, state] = 1.0
                continue
            passed, hops, reached = move(place, action)
            transition[state, action, states[_cell(passed[-1])]] = 1.0
            primary[state, action] = STEP_REWARD + GOAL_REWARD * reached
            for name, rule in AUXILIARIES.items():
                auxiliary[name][state, action] = rule(passed, hops)
    start = np.eye(len(places))[states[_cell(START)]]
    mdp = FiniteMDP(_noisy(transition, noise), discount=discount, initial=start, terminal=terminal)
    rewards = {name: _noisy(reward, noise) for name, reward in auxiliary.items()}
    return ExactMaze(mdp, np.array(places), _noisy(primary, noise), rewards, states)


def _reachable() -> list[tuple[float, float]]:
    """Every position at which a move from the start, or from another of them, can end."""
    found = {_cell(START): START}
    ahead = [START]
    while ahead:
        place = ahead.pop()
        for action in () if in_goal(place) else range(len(ACTIONS)):
            arrival = move(place, action)[0][-1]
            if _cell(arrival) not in found:
                found[_cell(arrival)] = arrival
                ahead.append(arrival)
    return [found[cell] for cell in sorted(found)]


def _cell(position: tuple[float, float]) -> tuple[int, int]:
    """How many hops to the right of the start and above it: positions that differ by rounding are one."""
    return round((position[0] - START[0]) / HOP), round((position[1] - START[1]) / HOP)


def _noisy(table: np.ndarray, noise: float) -> np.ndarray:
    """What an action leads to, `(S, A, ...)`, if now and then another one is taken."""
    return (1 - noise) * table + noise * table.mean(axis=1, keepdims=True)
