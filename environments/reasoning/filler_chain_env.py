"""The filler chain as a gymnasium environment, and any other finite world of steps with it."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from environments.reasoning.filler_chain import filler_chain
from rewardlab.process.step_world import StepWorld

__all__ = ["FillerChainEnv", "StepWorldEnv"]


class StepWorldEnv(gymnasium.Env):
    """A `StepWorld` to act in: the observation is the state, an action is a step, the reward is the success alone.

    What the process reward model gives each step is in `info["step_score"]`, for a wrapper or a learner to make a
    reward of; after the last step `info["correct"]` says whether the episode ended with a right answer, and
    `info["cut"]` whether it ended without one: by the hazard, or because the horizon is reached.

    An episode that is cut is terminated, not truncated: no reward can follow, so a learner must not bootstrap past it.
    Rewards depend on the state alone, but the time left does not show in it.

    Args:
        world: The world.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 - as gymnasium has it

    def __init__(self, world: StepWorld):
        self.world = world
        self.observation_space = spaces.Discrete(world.states)
        self.action_space = spaces.Discrete(world.actions)
        self._state, self._taken, self._ended = world.initial, 0, True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Begin an episode in the world's initial state."""
        super().reset(seed=seed)
        self._state, self._taken, self._ended = self.world.initial, 0, False
        return np.int64(self._state), {}

    def step(self, action: int) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Take a step.

        Raises:
            ValueError: If the action does not exist.
            RuntimeError: If the episode has ended, or none has begun.
        """
        if self._ended:
            raise RuntimeError("no episode is under way, expected a call of reset() first")
        if not self.action_space.contains(action):
            raise ValueError(f"action is {action!r}, expected a whole number from 0 to {self.world.actions - 1}")
        world, taken = self.world, (self._state, int(action))
        self._taken += 1
        answered, correct = bool(world.ends[taken]), bool(world.success[taken])
        hit = self.np_random.random() < world.hazard[taken]
        self._state = int(world.next_state[taken])
        cut = not answered and (hit or self._taken >= world.horizon)
        self._ended = answered or cut
        info: dict[str, Any] = {"step_score": float(world.scores[taken])}
        if self._ended:
            info |= {"correct": correct, "cut": cut}
        return np.int64(self._state), float(correct), self._ended, False, info


class FillerChainEnv(StepWorldEnv):
    """The world of `filler_chain`, registered as `rewardlab/FillerChain-v0`.

    Args:
        **options: Those of `filler_chain`: the scores of the process reward model, levels, horizon, hazard.

    Example:
        >>> import gymnasium, environments.reasoning
        >>> env = gymnasium.make("rewardlab/FillerChain-v0", levels=1)
        >>> env.reset(seed=0)
        (np.int64(0), {})
        >>> env.step(0)  # solve 0
        (np.int64(2), 0.0, False, False, {'step_score': 0.8})
        >>> env.step(2)  # answer
        (np.int64(2), 1.0, True, False, {'step_score': 0.9, 'correct': True, 'cut': False})
    """

    def __init__(self, **options: float):
        super().__init__(filler_chain(**options))
