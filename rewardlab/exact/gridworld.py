"""Gridworlds drawn as text."""

from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import dedent

import numpy as np
from jaxtyping import Float, Int

from rewardlab.checks import check_choice, check_scalar
from rewardlab.exact.mdp import FiniteMDP

__all__ = ["Gridworld", "gridworld"]

_COMPASS = {"up": (-1, 0), "right": (0, 1), "down": (1, 0), "left": (0, -1)}
_DIAGONAL = {"up-right": (-1, 1), "down-right": (1, 1), "down-left": (1, -1), "up-left": (-1, -1)}
_WALL, _TERMINALS, _START = "#", "GH", "S"
_CELLS = {
    ".": "a free cell",
    _START: "a start cell",
    _WALL: "a wall",
    "G": "a goal that ends the episode",
    "H": "a hole that ends it",
}


@dataclass(frozen=True, eq=False)
class Gridworld:
    """A gridworld and where its states lie.

    Attributes:
        mdp: The world; its states are the cells that are not walls, row by row.
        layout: The rows of the drawing.
        cells: Row and column of each state, `(S, 2)`.
        actions: Name of each action.
    """

    mdp: FiniteMDP
    layout: tuple[str, ...]
    cells: Int[np.ndarray, "s 2"]
    actions: tuple[str, ...]

    def state(self, row: int, column: int) -> int:
        """The state of a cell.

        Raises:
            ValueError: If the cell is a wall or outside the grid.
        """
        found = np.flatnonzero((self.cells == (row, column)).all(axis=1))
        if not len(found):
            raise ValueError(f"row {row}, column {column} is a wall or outside the grid, expected a free cell")
        return int(found[0])

    def draw(self, values: Float[np.ndarray, " s"]) -> Float[np.ndarray, "rows columns"]:
        """One number a state as a picture of the grid, with NaN for walls."""
        picture = np.full((len(self.layout), len(self.layout[0])), np.nan)
        picture[tuple(self.cells.T)] = values
        return picture


def gridworld(
    layout: str | Sequence[str],
    *,
    slip: float = 0.0,
    discount: float = 0.95,
    moves: str = "compass",
    stay: bool = False,
) -> Gridworld:
    """A gridworld drawn as text: `.` free, `S` start, `#` wall, `G` goal, `H` hole; goals and holes end the episode.

    Moving into a wall or off the grid stays put. A diagonal move needs only its destination to be free. The episode
    starts in one of the start cells, or, where none is drawn, in any cell that does not end it, each equally likely.

    Args:
        layout: Rows of equal length, as one text or one string a row.
        slip: Probability, in [0, 1], that an action drawn uniformly from all actions is taken instead.
        discount: Discount factor in [0, 1].
        moves: "compass" for up, right, down, left; "king" for the diagonals as well.
        stay: Add an action that stays put, as the last one.

    Returns:
        The world, with the cell of each state and the name of each action.

    Raises:
        ValueError: If a character is unknown (its row and column are named), rows differ in length, no cell is free,
            or a number is out of range.

    Example:
        >>> grid = gridworld('''
        ...     S.#G
        ...     ....
        ... ''', slip=0.2)
        >>> grid.mdp.states, grid.actions, grid.cells[grid.mdp.terminal].tolist()
        (7, ('up', 'right', 'down', 'left'), [[0, 3]])
    """
    check_scalar("slip", slip, low=0, high=1)
    check_choice("moves", moves, ("compass", "king"))
    rows = _checked_rows(layout)
    drawing = np.array([list(row) for row in rows])
    free = drawing != _WALL
    cells = np.argwhere(free)
    names = {**_COMPASS, **(_DIAGONAL if moves == "king" else {}), **({"stay": (0, 0)} if stay else {})}
    terminal = np.isin(drawing[free], list(_TERMINALS))
    start = drawing[free] == _START
    mdp = FiniteMDP(
        _transition(free, cells, np.array(list(names.values())), terminal, slip),
        discount=discount,
        initial=start / start.sum() if start.any() else None,
        terminal=terminal,
    )
    return Gridworld(mdp, rows, cells, tuple(names))


def _checked_rows(layout: str | Sequence[str]) -> tuple[str, ...]:
    rows = tuple(dedent(layout).strip().splitlines()) if isinstance(layout, str) else tuple(layout)
    if not rows:
        raise ValueError("layout is empty, expected at least one row of cells")
    for number, row in enumerate(rows):
        if len(row) != len(rows[0]):
            raise ValueError(
                f"layout row {number} has {len(row)} cells, expected {len(rows[0])} as row 0; rows must be equally long"
            )
        for column, cell in enumerate(row):
            if cell not in _CELLS:
                known = ", ".join(f"{key!r} ({meaning})" for key, meaning in _CELLS.items())
                raise ValueError(f"layout row {number}, column {column} is {cell!r}, expected one of {known}")
    if not set("".join(rows)) - {_WALL, *_TERMINALS}:
        raise ValueError("layout has no free cell, expected at least one '.' or 'S'")
    return rows


def _transition(
    free: np.ndarray, cells: np.ndarray, steps: np.ndarray, terminal: np.ndarray, slip: float
) -> Float[np.ndarray, "s a s"]:
    """Transition probabilities: the chosen step, mixed with the average of all steps; terminal states absorb."""
    state_of_cell = np.full(np.array(free.shape) + 2, -1)  # a rim of -1 stands for what lies outside the grid
    state_of_cell[1:-1, 1:-1][free] = np.arange(len(cells))
    reached = cells[:, None, :] + 1 + steps  # (S, A, 2), shifted by the rim
    target = state_of_cell[reached[..., 0], reached[..., 1]]
    state = np.arange(len(cells))[:, None]
    target = np.where((target < 0) | terminal[:, None], state, target)
    transition = np.zeros((*target.shape, len(cells)))
    transition[state, np.arange(len(steps)), target] = 1.0
    if slip:
        average = transition.mean(axis=1, keepdims=True)
        transition *= 1 - slip
        transition += slip * average
    return transition
