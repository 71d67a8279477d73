"""A 5 x 5 grid with a goal in the far corner, and two heuristics: one that leads there and one that leads astray.

Both can be solved exactly, so that what a heuristic does to the optimal policy, and what a learned blend makes of it,
is a number and not a curve.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from rewardlab.exact.gridworld import Gridworld, gridworld
from rewardlab.exact.mdp import FiniteMDP

__all__ = ["GuidedGrid", "guided_grid"]

_SIDE = 5
_STEP, _GOAL, _TRAP = -0.001, 1.0, 0.5


@dataclass(frozen=True, eq=False)
class GuidedGrid:
    """The world, what the agent is meant to do, and two pieces of advice.

    Attributes:
        grid: The drawing, with the state of every cell.
        primary: What is meant: -0.001 a step and 1 on entering the goal, `(S, A, S)`.
        good: Minus the squared distance of the next cell from the goal, with the sides of the grid 1 long.
        bad: 0.5 whenever the next cell is the trap, which can be entered again and again.
    """

    grid: Gridworld
    primary: Float[np.ndarray, "s a s"]
    good: Float[np.ndarray, "s a s"]
    bad: Float[np.ndarray, "s a s"]

    @property
    def mdp(self) -> FiniteMDP:
        """The world as a finite Markov decision process: 25 states, the goal among them and terminal."""
        return self.grid.mdp


def guided_grid(*, slip: float = 0.1, discount: float = 0.99, trap: tuple[int, int] = (2, 2)) -> GuidedGrid:
    """The 5 x 5 grid, from one corner to the opposite one; at best the primary return is 0.9165.

    Args:
        slip: Probability, in [0, 1], that an action drawn uniformly from all four is taken instead.
        discount: Discount factor in [0, 1].
        trap: Row and column of the cell that the bad advice pays for; by default the one in the middle.

    Raises:
        ValueError: If a number is out of range, or the trap is the goal or outside the grid.
    """
    rows = ["S" + "." * (_SIDE - 1), *["." * _SIDE] * (_SIDE - 2), "." * (_SIDE - 1) + "G"]
    grid = gridworld(rows, slip=slip, discount=discount)
    shape = grid.mdp.transition.shape
    goal, trapped = grid.state(_SIDE - 1, _SIDE - 1), grid.state(*trap)
    if trapped == goal:
        raise ValueError(f"trap is {trap}, the goal; expected another cell")
    place = grid.cells / (_SIDE - 1)
    towards_goal = -((place - place[goal]) ** 2).sum(axis=1)
    states = np.arange(grid.mdp.states)
    return GuidedGrid(
        grid,
        primary=np.broadcast_to(_STEP + _GOAL * (states == goal), shape),
        good=np.broadcast_to(towards_goal, shape),
        bad=np.broadcast_to(_TRAP * (states == trapped), shape),
    )
