"""The 3 x 3 gridworld of the EPIC paper with its six rewards.

Five actions (the four moves and staying put), deterministic, endless, discount 0.99. Rewards pay for the cell that the
agent leaves. The published example is the last pair: on the dirt path and on the cliff walk the same policies are
optimal, yet the two rewards are 0.27 apart, because on the cliff a single wrong step costs four times as much.

Source: Gleave et al. 2021 (arXiv 2006.13900), the gridworld example; rewards as in
    HumanCompatibleAI/evaluating-rewards.
"""

import numpy as np
from jaxtyping import Float

from rewardlab.exact.gridworld import Gridworld, gridworld
from rewardlab.exact.transformations import potential_shaping

__all__ = ["CELL_REWARDS", "DISCOUNT", "epic_gridworld", "epic_rewards"]

DISCOUNT = 0.99

CELL_REWARDS = {
    "sparse": ((0, 0, 0), (0, 0, 0), (0, 0, 1)),
    "dense": ((0, 0, 0), (0, 0, 0), (0, 0, 1)),  # and shaped by minus the Manhattan distance to the goal
    "center": ((0, 0, 0), (0, 1, 0), (0, 0, 0)),
    "penalty": ((0, 0, 0), (0, 0, 0), (0, 0, -1)),
    "dirt": ((0, -1, -1), (0, 0, 0), (-1, -1, 4)),
    "cliff": ((0, -1, -1), (0, 0, 0), (-4, -4, 4)),
}
"""What being in each cell pays, by reward."""


def epic_gridworld() -> Gridworld:
    """The world: nine cells, five actions, nothing random, no end."""
    return gridworld(["...", "...", "..."], discount=DISCOUNT, stay=True)


def epic_rewards(grid: Gridworld) -> dict[str, Float[np.ndarray, "9 5 9"]]:
    """The six rewards, by name."""
    shape = grid.mdp.transition.shape
    rewards = {
        name: np.broadcast_to(np.array(cells, dtype=np.float64).reshape(-1, 1, 1), shape)
        for name, cells in CELL_REWARDS.items()
    }
    distance_to_goal = np.abs(grid.cells - grid.cells[-1]).sum(axis=1)
    rewards["dense"] = rewards["dense"] + potential_shaping(grid.mdp, -distance_to_goal.astype(np.float64))
    return rewards
