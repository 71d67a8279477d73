"""Worlds with a primary reward and designers' guidance, good and bad; importing this registers them with gymnasium."""

from gymnasium import register as _register
from gymnasium import registry as _registry

__all__ = ["IDS", "register"]

IDS = {
    "rewardlab/GuidedGrid-v0": "environments.guided.grid_env:GuidedGridEnv",
    "rewardlab/GuidedMaze-v0": "environments.guided.maze:GuidedMazeEnv",
    "rewardlab/GuidedCartPole-v0": "environments.guided.cartpole:guided_cartpole",
    "rewardlab/GuidedMountainCar-v0": "environments.guided.mountain_car:guided_mountain_car",
    "rewardlab/GuidedMountainCarContinuous-v0": "environments.guided.mountain_car:guided_mountain_car_continuous",
    "rewardlab/GuidedHalfCheetah-v0": "environments.guided.half_cheetah:guided_half_cheetah",
}
"""The environments, and where gymnasium finds each once it is made."""


def register() -> None:
    """Make the environments known to `gymnasium.make`; those that are known already stay as they are."""
    for name, entry_point in IDS.items():
        if name not in _registry:
            _register(name, entry_point)


register()
